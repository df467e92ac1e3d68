"""`xdrec demo`. Reads a demo pack, does the whole job on it: models, ingest, index, vLLM, recommendations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from xdrec_agent.cli.context import settings

if TYPE_CHECKING:
    from retrieval.types import Query
    from xdrec_agent.app import DemoPack, DemoQuery
    from xdrec_agent.recommend import Recommender
    from xdrec_agent.settings import Settings
    from xdrec_agent.types import Recommendations


def demo(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="A pack's folder, or its name under examples/.")],
    k: Annotated[int, typer.Option("-k", min=1, max=20, help="Recommendations a question.")] = 5,
    keep: Annotated[bool, typer.Option("--keep-server", help="Leave the LLM server running.")] = False,
) -> None:
    """Set up a demo pack and answer its questions, in one go. What is done already is skipped.

    \b
    Examples:
      xdrec demo films-books
      xdrec demo courses-projects
      xdrec demo examples/films-books -k 3 --keep-server
    """
    import asyncio

    from xdrec_agent.app import find_pack, load_pack

    folder = find_pack(pack)
    described = load_pack(folder)
    configured = described.settings(settings(), folder)
    steps = Console(stderr=True, highlight=False)
    _models(configured, steps)
    _catalogues(configured, folder, described, steps)
    with _server(configured, steps, keep=keep):
        asyncio.run(_ask(configured, described, k))


def _models(configured: Settings, steps: Console) -> None:
    from xdrec_agent.cli.models import needed, pulled

    for name in needed(configured):
        pulled(name, configured)
        steps.print(f"model {name}: ready")


def _catalogues(configured: Settings, folder: Path, described: DemoPack, steps: Console) -> None:
    from retrieval.ingest import IngestRequest, ingest
    from xdrec_agent.app import open_index, open_store

    with open_store(configured) as store:
        index = open_index(configured)
        files = [*described.catalogues.items(), *described.interactions.items()]
        for domain, name in files:
            (report,) = ingest(store, IngestRequest(folder / name, domain))
            steps.print(f"{domain}: {name}, {report.rows} rows, {report.added} new, {report.rejected} rejected")
        if described.relations is not None:
            (report,) = ingest(store, IngestRequest(folder / described.relations, kind="relations"))
            counts = f"{report.rows} rows, {report.added} new, {report.rejected} rejected"
            steps.print(f"relations: {described.relations}, {counts}")
        for domain in described.catalogues:
            with steps.status(f"{domain}: embedding") as status:
                built = index.build(
                    store, domain, progress=lambda done, total: status.update(f"embedding {done}/{total}")
                )
            steps.print(f"{domain}: index of {built.items} items, {built.embedded} newly embedded")


@contextmanager
def _server(configured: Settings, steps: Console, *, keep: bool) -> Iterator[None]:
    """The LLM server: ours if it runs, else started, and then stopped at the end."""
    from xdrec_agent.cli.llm import start_server
    from xdrec_agent.server import lifecycle

    if configured.llm.base_url is not None:
        yield
        return
    running = lifecycle.status(configured.server_dir).condition == "running"
    start_server(configured, steps)
    steps.print(f"LLM server: {configured.llm.model} is ready")
    try:
        yield
    finally:
        if not (running or keep):
            lifecycle.down(configured.server_dir)
            steps.print("LLM server: stopped")


async def _ask(configured: Settings, described: DemoPack, k: int) -> None:
    from retrieval.types import Filter
    from xdrec_agent.app import open_recommender
    from xdrec_agent.cli.printing import print_recommendations
    from xdrec_agent.recommend import build_query

    out = Console(highlight=False)
    async with open_recommender(configured) as recommender:
        for ask in described.asks:
            query = build_query(
                recommender.store,
                sources=[ask.source],
                target=ask.target,
                user=ask.user,
                likes=ask.like,
                dislikes=ask.dislike,
                about=ask.about,
                filter_=Filter(not_attributes=ask.not_where),
                k=k,
            )
            answer = await recommender.recommend(query)
            out.print(f"\n$ {_command(ask, k)}", style="bold green", soft_wrap=True)
            print_recommendations(answer, query, out)
            out.print(await _orders(recommender, query, answer))


async def _orders(recommender: Recommender, query: Query, answer: Recommendations) -> Table:
    """The retriever's order, the model's alone, and the final one, side by side."""
    from xdrec_agent.rerank import RERANKERS

    retrieved = recommender.retrieve(query)
    model = (await RERANKERS["listwise-logprob"](recommender.rerank_context, query, retrieved)).ranking
    table = Table("", "the retriever", "the model alone", "final order", box=SIMPLE_HEAD)
    for place, entry in enumerate(answer.items):
        first, second = (ranking.candidates[place].item.title for ranking in (retrieved, model))
        table.add_row(str(place + 1), first, second, entry.item.title)
    return table


def _command(ask: DemoQuery, k: int) -> str:
    words = [f"xdrec recommend --from {ask.source} --to {ask.target} -k {k}"]
    words += [f"--user {ask.user}"] if ask.user else []
    words += [f'--like "{title}"' for title in ask.like]
    words += [f'--dislike "{title}"' for title in ask.dislike]
    words += [f'--about "{ask.about}"'] if ask.about else []
    words += [f'--not-where "{name}={value}"' for name, values in ask.not_where.items() for value in values]
    return " ".join(words)
