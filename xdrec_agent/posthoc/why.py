"""Why this one. Reads a kept answer and a rank, produces the reason with all that bears it out."""

from __future__ import annotations

from retrieval.errors import UsageError
from retrieval.types import Frozen, Item, Path
from xdrec_agent.grounding import Claim, Evidence, PathFinder, gather
from xdrec_agent.posthoc.realisation import PosthocExplanation, PosthocLocale, Sections
from xdrec_agent.recommend import LoggedAnswer
from xdrec_agent.types import ExplanationSource, Recommendation

_FACTS_TOLD = frozenset({"creator", "person", "series", "period", "asked"})  # traits stand with the supporters
_SUPPORTERS = 5  # a candidate carries no more matches


class Supporter(Frozen):
    """A liked item that speaks for a recommended one.

    `similarity` is in [-1, 1], `share` its part of the score in [0, 1], `shared` what both have.
    """

    item: Item
    similarity: float
    share: float
    shared: tuple[str, ...]


class Why(PosthocExplanation):
    """Why an item is recommended.

    Attributes:
        text: the reason as it was given, if it was given in `language`, else one from the catalogue's facts.
        source, claims: of that reason, as in `Explanation`.
        supporters: the history items that speak for it, those with the best evidence first.
        facts: what else it shares with them (creators, people, series, period), a sentence each.
        paths: graph paths from them to the item; `paths_told`: the same as sentences.
    """

    rank: int
    item: Item
    score: float
    retrieval_rank: int
    source: ExplanationSource
    claims: tuple[Claim, ...]
    supporters: tuple[Supporter, ...]
    facts: tuple[str, ...]
    paths: tuple[Path, ...]
    paths_told: tuple[str, ...]

    def title(self, locale: PosthocLocale) -> str:
        """ "Why “Solaris”"."""
        return locale.posthoc.headings["why"].format(item=locale.quoted(self.item))

    def sections(self, locale: PosthocLocale) -> Sections:
        """Supporters, paths, facts, and the claims of the text."""
        supporters = [
            f"{locale.quoted(s.item)}: {s.share:.0%} (cos {s.similarity:.2f})"
            + (f" – {locale.traits(s.shared)}" if s.shared else "")
            for s in self.supporters
        ]
        claims = [f"{'✓' if c.supported else '✗'} {' – '.join(filter(None, (c.text, c.support)))}" for c in self.claims]
        yield "speaks", supporters
        yield "path", list(self.paths_told)
        yield "facts", list(self.facts)
        yield "claims", list(dict.fromkeys(claims))


def item_at(kept: LoggedAnswer, rank: int) -> Recommendation:
    """The answer's item of this rank. Raises UsageError: it has none."""
    recommendation = next((one for one in kept.answer.items if one.rank == rank), None)
    if recommendation is None:
        last = len(kept.answer.items)
        hint = f"it has ranks 1 to {last}" if last else "it has no items"
        raise UsageError(f"answer {kept.id!r} has no rank {rank}", hint=hint)
    return recommendation


def evidence_for(kept: LoggedAnswer, recommendation: Recommendation, paths: PathFinder | None) -> Evidence:
    """All that may be said for an item of the answer."""
    return gather(recommendation.candidate, kept.query.history, kept.query.text, _SUPPORTERS, paths)


def why(kept: LoggedAnswer, rank: int, locale: PosthocLocale, paths: PathFinder | None = None) -> Why:
    """Why the answer's item of this rank is recommended; no model is asked.

    Raises:
        UsageError: the answer has no such rank.
    """
    recommendation = item_at(kept, rank)
    evidence = evidence_for(kept, recommendation, paths)
    given = recommendation.explanation
    if given is not None and given.language == locale.language:
        text, source, claims = given.text, given.source, given.claims
    else:
        text, source, claims = locale.fallback(evidence)[0], "evidence", ()
    return Why(
        answer=kept.id,
        language=locale.language,
        text=text,
        rank=rank,
        item=recommendation.item,
        score=recommendation.score,
        retrieval_rank=recommendation.retrieval_rank,
        source=source,
        claims=claims,
        supporters=tuple(
            Supporter(item=k.item, similarity=k.match.similarity, share=k.match.share, shared=k.shared)
            for k in evidence.known
        ),
        facts=tuple(locale.fact(fact, evidence) for fact in evidence.facts if fact.kind in _FACTS_TOLD),
        paths=evidence.paths,
        paths_told=tuple(locale.fact(fact, evidence) for fact in evidence.facts if fact.path),
    )
