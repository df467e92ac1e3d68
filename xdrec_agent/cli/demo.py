"""`xdrec demo`. Reads a demo pack, does the whole job on it: models, ingest, index, and then answers or a service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from xdrec_agent.cli.context import overridden, settings
from xdrec_agent.cli.options import Host, Port

if TYPE_CHECKING:
    from retrieval.types import Query
    from xdrec_agent.app import DemoPack, DemoQuery
    from xdrec_agent.recommend import Recommender
    from xdrec_agent.settings import Settings
    from xdrec_agent.types import Recommendations

_DEMO_KEY = "demo"
"""The name of the key that each start of a demo's service makes in place of the last one's."""


def demo(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="A pack's folder, or its name under examples/.")],
    k: Annotated[int, typer.Option("-k", min=1, max=20, help="Recommendations a question.")] = 5,
    keep: Annotated[bool, typer.Option("--keep-server", help="Leave the LLM server running.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Start the service instead of questions and vLLM.")] = False,
    host: Host = None,
    port: Port = None,
) -> None:
    """Set up a demo pack and answer its questions, in one go. What is done already is skipped.

    \b
    Examples:
      xdrec demo films-books
      xdrec demo courses-projects
      xdrec demo examples/films-books -k 3 --keep-server
      xdrec demo films-books --serve --port 8416
    """
    import asyncio

    from xdrec_agent.app import find_pack, load_pack

    folder = find_pack(pack)
    described = load_pack(folder)
    configured = described.settings(settings(), folder)
    steps = Console(stderr=True, highlight=False)
    if serve:
        _serve(overridden(configured, service={"host": host, "port": port}), folder, described, steps)
        return
    _models(configured, steps)
    _catalogues(configured, folder, described, steps)
    with _server(configured, steps, keep=keep):
        asyncio.run(_ask(configured, described, k))


def _serve(configured: Settings, folder: Path, described: DemoPack, steps: Console) -> None:
    """Serve the pack until interrupted; a home that holds it already stays as its users left it."""
    from xdrec_agent.app import open_keys, open_store
    from xdrec_agent.cli.serve import import_service

    service = import_service()
    _pull([configured.encoder.model], configured, steps)
    with open_store(configured) as store:
        # Not only the catalogues: a first start may have been interrupted between two files.
        rated = {summary.domain for summary in store.domains() if summary.interactions}
        loaded = store.has(*described.catalogues) and rated >= set(described.interactions)
    if loaded:
        _index(configured, described, steps)
    else:
        _catalogues(configured, folder, described, steps)
    if service.keys_required(configured.service):
        with open_keys(configured) as keys:
            for key in keys.list():
                if key.name == _DEMO_KEY and key.revoked_at is None:
                    keys.revoke(key.id)
            _, secret = keys.create(_DEMO_KEY)
        typer.echo(f"key of this demo: {secret}")
    service.run(configured)


def _models(configured: Settings, steps: Console) -> None:
    from xdrec_agent.cli.models import needed

    _pull(needed(configured), configured, steps)


def _pull(names: list[str], configured: Settings, steps: Console) -> None:
    from xdrec_agent.cli.models import pulled

    for name in names:
        pulled(name, configured)
        steps.print(f"model {name}: ready")


def _catalogues(configured: Settings, folder: Path, described: DemoPack, steps: Console) -> None:
    from retrieval.ingest import IngestRequest, ingest
    from xdrec_agent.app import open_store

    with open_store(configured) as store:
        files = [*described.catalogues.items(), *described.interactions.items()]
        for domain, name in files:
            (report,) = ingest(store, IngestRequest(folder / name, domain))
            steps.print(f"{domain}: {name}, {report.rows} rows, {report.added} new, {report.rejected} rejected")
        if described.relations is not None:
            (report,) = ingest(store, IngestRequest(folder / described.relations, kind="relations"))
            counts = f"{report.rows} rows, {report.added} new, {report.rejected} rejected"
            steps.print(f"relations: {described.relations}, {counts}")
    _index(configured, described, steps)


def _index(configured: Settings, described: DemoPack, steps: Console) -> None:
    from xdrec_agent.app import open_index, open_store

    with open_store(configured) as store:
        index = open_index(configured)
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
