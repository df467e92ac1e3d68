"""`xdrec explain`. Reads a logged answer, prints why an item is in it, why another is not, and what would change it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import print_json, settings, write_file
from xdrec_agent.cli.options import Json, Language

if TYPE_CHECKING:
    from retrieval.relations import RelationGraph
    from retrieval.store import Store
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
    lang: Language = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, with all evidence.")] = False,
    json_: Json = False,
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
    _explain(settings(), answer, rank or 1, _Question(over, why_not, without), lang, picture, json_, markdown)


class _Question(NamedTuple):
    """At most one is set; none: why this item."""

    over: int | None
    why_not: str | None
    without: str | None


def _explain(
    configured: Settings,
    answer: str | None,
    rank: int,
    question: _Question,
    lang: str | None,
    picture: Path | None,
    json_: bool,
    as_markdown: bool,
) -> None:
    from retrieval.relations import RelationGraph
    from retrieval.store import RelationStore
    from xdrec_agent.app import open_recommendation_log, open_store
    from xdrec_agent.posthoc import draw, evidence_for, item_at, load_posthoc_locale, markdown, mermaid, svg

    locale = load_posthoc_locale(lang or configured.explain.language)
    with open_recommendation_log(configured, create=False) as log:
        logged = log.get(answer) if answer is not None else log.last()
    with open_store(configured, create=False) as store:
        graph = RelationGraph(RelationStore(store.database))
        explanation = _compute(configured, store, graph, logged, rank, question, locale)
        wanted = picture is not None or (as_markdown and question == (None, None, None))
        drawing = draw(evidence_for(logged, item_at(logged, rank), graph.paths_between), locale) if wanted else None
    if picture is not None and drawing is not None:
        write_file(picture, mermaid(drawing) if picture.suffix == ".mmd" else svg(drawing))
    if json_:
        print_json(explanation)
    elif as_markdown:
        typer.echo(markdown(explanation, locale, mermaid(drawing) if drawing else ""), nl=False)
    else:
        _print(explanation, locale)


def _compute(
    configured: Settings,
    store: Store,
    graph: RelationGraph,
    logged: LoggedAnswer,
    rank: int,
    question: _Question,
    locale: PosthocLocale,
) -> PosthocExplanation:
    from xdrec_agent.app import open_retriever
    from xdrec_agent.posthoc import contrastive, counterfactual, why, why_not

    if question.over is not None:
        return contrastive(logged, rank, question.over, locale, graph.paths_between)
    if question.why_not is None and question.without is None:
        return why(logged, rank, locale, graph.paths_between)
    retriever = open_retriever(configured, store, graph)
    if question.why_not is not None:
        return why_not(retriever, logged, question.why_not, locale, configured.exclusions)
    return counterfactual(retriever, logged, question.without or "", locale, configured.exclusions)


def _print(explanation: PosthocExplanation, locale: PosthocLocale) -> None:
    from retrieval.templates import visible
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
