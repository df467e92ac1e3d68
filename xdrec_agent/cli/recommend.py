"""`xdrec recommend`. Reads who or what to go by, prints recommendations with their reasons."""

from __future__ import annotations

from typing import Annotated

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import overridden, print_json, settings
from xdrec_agent.cli.options import Count, Explain, Json, KnownUser, Language, Sources, Style, Target, Texts

_STRATEGIES = "identity, listwise-logprob, pointwise-logprob, listwise-generate or hybrid."


def recommend(
    source: Sources,
    target: Target,
    user: KnownUser = None,
    like: Annotated[Texts | None, typer.Option("--like", metavar="TITLE", help="A title that was liked.")] = None,
    dislike: Annotated[Texts | None, typer.Option("--dislike", metavar="TITLE", help="A title that was not.")] = None,
    about: Annotated[str | None, typer.Option("--about", metavar="TEXT", help="What is wanted, in words.")] = None,
    k: Count = 5,
    year_from: Annotated[int | None, typer.Option(help="Earliest year.")] = None,
    year_to: Annotated[int | None, typer.Option(help="Latest year.")] = None,
    category: Annotated[Texts | None, typer.Option(help="Only this category; again for another.")] = None,
    not_category: Annotated[Texts | None, typer.Option(help="Never this category.")] = None,
    creator: Annotated[Texts | None, typer.Option(help="Only by this creator.")] = None,
    language: Annotated[Texts | None, typer.Option(help="Only in this language (as the catalogue writes it).")] = None,
    where: Annotated[Texts | None, typer.Option(metavar="NAME=VALUE", help="Only with this attribute.")] = None,
    not_where: Annotated[Texts | None, typer.Option(metavar="NAME=VALUE", help="Never with this attribute.")] = None,
    diversity: Annotated[float | None, typer.Option(min=0, max=1, help="0: relevance alone, to 1: variety.")] = None,
    popularity: Annotated[float | None, typer.Option(min=0, help="Factor of what everybody likes; 0: out.")] = None,
    rerank: Annotated[str | None, typer.Option(metavar="STRATEGY", help=_STRATEGIES)] = None,
    judge: Annotated[str | None, typer.Option(help="Whose judgement hybrid mixes in; default: the fitted one.")] = None,
    weight: Annotated[float | None, typer.Option(min=0, max=1, help="Of the judge in hybrid.")] = None,
    candidates: Annotated[int | None, typer.Option(min=1, help="How many are reranked; any number.")] = None,
    shuffles: Annotated[int | None, typer.Option(min=1, help="At most so many orders are tried.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the shuffles.")] = None,
    lang: Language = None,
    style: Style = None,
    explain: Explain = True,
    json_: Json = False,
) -> None:
    """Recommend from one domain to another, with reasons.

    \b
    Examples:
      xdrec recommend --from films --to books --user ada
      xdrec recommend --from films --to books --like "Blade Runner" --like Alien -k 3
      xdrec recommend --from books --to films --about "a quiet story about memory" --year-from 1990
      xdrec recommend --from films --to books --user ada --lang zh --style detailed
      xdrec recommend --from films --to books --user ada --no-explain --json
      xdrec recommend --from films --to books --user ada --rerank pointwise-logprob --candidates 100
    """
    import asyncio

    from retrieval.types import Filter
    from xdrec_agent.app import open_recommender
    from xdrec_agent.cli.printing import print_recommendations
    from xdrec_agent.recommend import build_query

    filter_ = Filter(
        year_from=year_from,
        year_to=year_to,
        categories=tuple(category or ()),
        not_categories=tuple(not_category or ()),
        creators=tuple(creator or ()),
        languages=tuple(language or ()),
        attributes=_attributes("--where", where or []),
        not_attributes=_attributes("--not-where", not_where or []),
    )
    configured = overridden(
        settings(),
        retriever={"diversity": diversity, "popularity": popularity},
        rerank={
            "strategy": rerank,
            "judge": judge,
            "weight": weight,
            "candidates": candidates,
            "max_shuffles": shuffles,
            "seed": seed,
        },
        explain={"language": lang, "style": style},
    )

    async def run() -> None:
        async with open_recommender(configured) as recommender:
            query = build_query(
                recommender.store,
                sources=source,
                target=target,
                user=user,
                likes=like or (),
                dislikes=dislike or (),
                about=about,
                filter_=filter_,
                k=k,
            )
            answer = await recommender.recommend(query, explain=explain)
        if json_:
            print_json(answer)
        else:
            print_recommendations(answer, query)

    asyncio.run(run())


def _attributes(option: str, pairs: list[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {pair!r} is not NAME=VALUE", hint=f"for example {option} themes=memory")
        found[name] = (*found.get(name, ()), value)
    return found
