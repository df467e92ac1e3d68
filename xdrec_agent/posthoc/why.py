"""Why this one. Reads a kept answer and a rank, produces the reason with all that bears it out."""

from __future__ import annotations

from retrieval.errors import UsageError
from retrieval.types import Frozen, Item, Path
from xdrec_agent.explain import plain_text
from xdrec_agent.grounding import Claim, Evidence, PathFinder, gather
from xdrec_agent.posthoc.realisation import Teller
from xdrec_agent.recommend import LoggedAnswer
from xdrec_agent.types import ExplanationSource, Recommendation

_TOLD = frozenset({"creator", "person", "series", "period", "asked"})  # themes and categories stand with supporters
SUPPORTERS = 5
"""History items that are told of at most: a candidate carries no more matches."""


class Supporter(Frozen):
    """A liked item that speaks for a recommended one.

    `similarity` is in [-1, 1], `share` its part of the score in [0, 1], `shared` what both have.
    """

    item: Item
    similarity: float
    share: float
    shared: tuple[str, ...]


class Why(Frozen):
    """Why an item is recommended.

    Attributes:
        answer: id of the answer.
        text: the reason as it was given, if it was given in `language`, else one from the catalogue's facts.
        source, claims: of that reason, as in `Explanation`.
        supporters: the history items that speak for it, those with the best evidence first.
        facts: what else it shares with them (creators, people, series, period), a sentence each.
        paths: how they hang together by relations; `paths_told` says so in sentences.
    """

    answer: str
    rank: int
    item: Item
    score: float
    retrieval_rank: int
    text: str
    source: ExplanationSource
    claims: tuple[Claim, ...]
    supporters: tuple[Supporter, ...]
    facts: tuple[str, ...]
    paths: tuple[Path, ...]
    paths_told: tuple[str, ...]
    language: str


def ranked(kept: LoggedAnswer, rank: int) -> Recommendation:
    """The answer's item of this rank. Raises UsageError: it has none."""
    found = next((one for one in kept.answer.items if one.rank == rank), None)
    if found is None:
        last = len(kept.answer.items)
        hint = f"it has ranks 1 to {last}" if last else "it has no items"
        raise UsageError(f"answer {kept.id!r} has no rank {rank}", hint=hint)
    return found


def evidence_of(kept: LoggedAnswer, one: Recommendation, paths: PathFinder | None) -> Evidence:
    """All that may be said for an item of the answer."""
    return gather(one.candidate, kept.query.history, kept.query.text, SUPPORTERS, paths)


def why(kept: LoggedAnswer, rank: int, teller: Teller, paths: PathFinder | None = None) -> Why:
    """Why the answer's item of this rank is recommended; no model is asked.

    Raises:
        UsageError: the answer has no such rank.
    """
    one = ranked(kept, rank)
    evidence = evidence_of(kept, one, paths)
    given = one.explanation
    language = teller.voice.language
    if given is not None and given.language == language:
        text, source, claims = given.text, given.source, given.claims
    else:
        text, source, claims = plain_text(evidence, teller.voice)[0], "evidence", ()
    return Why(
        answer=kept.id,
        rank=rank,
        item=one.item,
        score=one.score,
        retrieval_rank=one.retrieval_rank,
        text=text,
        source=source,
        claims=claims,
        supporters=tuple(
            Supporter(item=k.item, similarity=k.match.similarity, share=k.match.share, shared=k.shared)
            for k in evidence.known
        ),
        facts=tuple(teller.fact(fact, evidence) for fact in evidence.facts if fact.kind in _TOLD),
        paths=evidence.paths,
        paths_told=tuple(teller.fact(fact, evidence) for fact in evidence.facts if fact.path),
        language=language,
    )
