"""`xdrec explain`. Reads a kept answer, prints why an item is in it, why another is not, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.errors import UsageError
from retrieval.templates import visible
from xdrec_agent.cli.context import settings

if TYPE_CHECKING:
    from retrieval.ranking import Retriever
    from xdrec_agent.grounding import PathFinder
    from xdrec_agent.posthoc import PosthocExplanation, PosthocLocale
    from xdrec_agent.recommend import LoggedAnswer
    from xdrec_agent.settings import Settings

_PICTURES = (".svg", ".mmd")


def explain(
    answer: Annotated[
        str | None, typer.Argument(metavar="ANSWER_ID", help="The answer's id, from `xdrec recommend`.")
    ] = None,
    rank: Annotated[int | None, typer.Argument(metavar="RANK", help="Which of its items; default: the first.")] = None,
    last: Annotated[bool, typer.Option("--last", help="The answer that was kept last, instead of an id.")] = False,
    over: Annotated[int | None, typer.Option(metavar="RANK", help="Why this one over the item of that rank.")] = None,
    why_not: Annotated[str | None, typer.Option(metavar="TITLE", help="Why this title is not in the list.")] = None,
    without: Annotated[
        str | None, typer.Option(metavar="TITLE", help="What the list would be without this item of the history.")
    ] = None,
    lang: Annotated[str | None, typer.Option(help="Code of a language; default: the configured one.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, with all evidence.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the item's evidence as a picture, .svg or .mmd (Mermaid)."),
    ] = None,
) -> None:
    """Say why: why this item, why not another, and what would change the list. Nothing is asked of a model.

    \b
    Examples:
      xdrec explain --last
      xdrec explain k3m9x2v7q8w4e6rt 2 --picture why.svg
      xdrec explain --last 1 --over 3
      xdrec explain --last --why-not Dune --lang zh
      xdrec explain --last --without "Blade Runner" --json
    """
    if last and rank is None and (answer or "").isdecimal():
        answer, rank = None, int(answer or "")
    if last == (answer is not None):
        raise UsageError("name one answer", hint="xdrec explain ANSWER_ID, or xdrec explain --last")
    if sum(chosen is not None for chosen in (over, why_not, without)) > 1:
        raise UsageError("one question at a time", hint="give one of --over, --why-not and --without")
    if markdown and json_:
        raise UsageError("--markdown and --json are two forms", hint="give one of them")
    if picture is not None and picture.suffix not in _PICTURES:
        raise UsageError(f"{picture}: the name does not tell what kind of picture", hint="end it in .svg or .mmd")
    form = "json" if json_ else "markdown" if markdown else "text"
    _explain(settings(), answer, rank or 1, (over, why_not, without), lang, picture, form)


def _explain(
    configured: Settings,
    answer: str | None,
    rank: int,
    question: tuple[int | None, str | None, str | None],
    lang: str | None,
    picture: Path | None,
    form: str,
) -> None:
    from xdrec_agent.app import open_recommendation_log
    from xdrec_agent.posthoc import draw, evidence_for, item_at, load_posthoc_locale, markdown, mermaid, svg

    locale = load_posthoc_locale(lang or configured.explain.language)
    with open_recommendation_log(configured, create=False) as log:
        kept = log.get(answer) if answer is not None else log.last()
    with _paths(configured) as paths:
        explanation = _computed(configured, kept, rank, question, locale, paths)
        wanted = picture is not None or (form == "markdown" and question == (None, None, None))
        drawing = draw(evidence_for(kept, item_at(kept, rank), paths), locale) if wanted else None
    if picture is not None and drawing is not None:
        _write(picture, mermaid(drawing) if picture.suffix == ".mmd" else svg(drawing))
    if form == "json":
        typer.echo(explanation.model_dump_json(indent=2))
    elif form == "markdown":
        typer.echo(markdown(explanation, locale, mermaid(drawing) if drawing else ""), nl=False)
    else:
        _print(explanation, locale)


@contextmanager
def _paths(configured: Settings) -> Iterator[PathFinder]:
    from retrieval.relations import RelationGraph
    from xdrec_agent.app import open_relations

    with open_relations(configured, create=False) as relations:
        yield RelationGraph(relations).paths_between


def _computed(
    configured: Settings,
    kept: LoggedAnswer,
    rank: int,
    question: tuple[int | None, str | None, str | None],
    locale: PosthocLocale,
    paths: PathFinder,
) -> PosthocExplanation:
    from xdrec_agent.posthoc import contrastive, counterfactual, why, why_not

    over, missing, without = question
    if over is not None:
        return contrastive(kept, rank, over, locale, paths)
    if missing is None and without is None:
        return why(kept, rank, locale, paths)
    with _retriever(configured) as retriever:
        if missing is not None:
            return why_not(retriever, kept, missing, locale, configured.exclusions)
        return counterfactual(retriever, kept, without or "", locale, configured.exclusions)


@contextmanager
def _retriever(configured: Settings) -> Iterator[Retriever]:
    from retrieval.relations import RelationGraph
    from xdrec_agent.app import open_relations, open_retriever, open_store

    with open_store(configured, create=False) as store, open_relations(configured, create=False) as relations:
        yield open_retriever(configured, store, RelationGraph(relations))


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot write {file}: {exc.strerror}", hint="give a file that you may write") from exc
    typer.echo(f"written to {file}", err=True)


def _print(explanation: PosthocExplanation, locale: PosthocLocale) -> None:
    from xdrec_agent.posthoc import Why

    if not isinstance(explanation, Why):
        typer.echo(visible(explanation.text))
        return
    typer.echo(f"{explanation.rank}  {locale.quoted(explanation.item)}")
    typer.echo(visible(explanation.text))
    for one in explanation.supporters:
        shared = f"  {locale.traits(one.shared)}" if one.shared else ""
        typer.echo(f"  {one.share:>4.0%}  {locale.quoted(one.item)}{shared}")
    for told in (*explanation.paths_told, *explanation.facts):
        typer.echo(f"        {told}")
