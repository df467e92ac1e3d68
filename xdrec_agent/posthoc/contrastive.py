"""Why this one over that one. Reads two items of a kept answer, produces what tells them apart."""

from __future__ import annotations

from retrieval.errors import UsageError
from retrieval.types import Frozen, Item, Path
from xdrec_agent.grounding import Evidence, PathFinder
from xdrec_agent.posthoc.realisation import PosthocExplanation, PosthocLocale, Sections
from xdrec_agent.posthoc.why import evidence_for, item_at
from xdrec_agent.recommend import LoggedAnswer
from xdrec_agent.types import Recommendation

_TRAITS = 4
_LEAST_LEAN = 0.05  # a smaller difference of shares is not worth a sentence


class Lean(Frozen):
    """What part of each item's score a history item has, in [0, 1]; None: it is not among the strongest five."""

    item: Item
    first: float | None
    second: float | None

    @property
    def difference(self) -> float:
        """How much more it speaks for the first."""
        return (self.first or 0) - (self.second or 0)


class Contrastive(PosthocExplanation):
    """What tells two items of an answer apart; `first` is the one that stands above.

    Attributes:
        difference: of the scores that made the order.
        leans: the history items behind either, those that speak most for the first at the top.
        only_first, only_second, both: what they share with what was liked.
        first_paths, second_paths: graph paths from liked items to each.
    """

    first: Item
    second: Item
    ranks: tuple[int, int]
    retrieval_ranks: tuple[int, int]
    scores: tuple[float, float]
    difference: float
    leans: tuple[Lean, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    both: tuple[str, ...]
    first_paths: tuple[Path, ...]
    second_paths: tuple[Path, ...]

    def sections(self, locale: PosthocLocale) -> Sections:
        """Ranks and scores of both, and who speaks for which."""
        both = zip((self.first, self.second), self.ranks, self.retrieval_ranks, self.scores, strict=True)
        lines = [f"{locale.quoted(item)}: {rank} ({before}), {score:.4f}" for item, rank, before, score in both]
        for lean in self.leans:
            first, second = ("–" if share is None else f"{share:.0%}" for share in (lean.first, lean.second))
            lines.append(f"{locale.quoted(lean.item)}: {first} / {second}")
        yield "numbers", lines


def contrastive(
    kept: LoggedAnswer, rank: int, over: int, locale: PosthocLocale, paths: PathFinder | None = None
) -> Contrastive:
    """Why the item at one rank of the answer stands above the one at another, whichever is named first.

    Raises:
        UsageError: the answer lacks one of the ranks, or they are the same.
    """
    if rank == over:
        raise UsageError("an item cannot be compared with itself", hint="name two ranks, as in: 1 --over 2")
    first, second = (item_at(kept, one) for one in sorted((rank, over)))
    evidence = tuple(evidence_for(kept, one, paths) for one in (first, second))
    mine, theirs = ({trait.casefold(): trait for trait in one.traits} for one in evidence)
    contrast = Contrastive(
        answer=kept.id,
        language=locale.language,
        first=first.item,
        second=second.item,
        ranks=(first.rank, second.rank),
        retrieval_ranks=(first.retrieval_rank, second.retrieval_rank),
        scores=(first.score, second.score),
        difference=first.score - second.score,
        leans=_leans(kept, first, second),
        only_first=tuple(trait for key, trait in mine.items() if key not in theirs),
        only_second=tuple(trait for key, trait in theirs.items() if key not in mine),
        both=tuple(trait for key, trait in mine.items() if key in theirs),
        first_paths=evidence[0].paths,
        second_paths=evidence[1].paths,
    )
    return contrast.model_copy(update={"text": _text(contrast, kept.answer.source, locale, evidence)})


def _leans(kept: LoggedAnswer, first: Recommendation, second: Recommendation) -> tuple[Lean, ...]:
    items = {(e.item.domain, e.item.id): e.item for e in kept.query.history.entries}
    of_first, of_second = ({(m.domain, m.item): m.share for m in one.matches} for one in (first, second))
    leans = (
        Lean(item=items[key], first=of_first.get(key), second=of_second.get(key))
        for key in dict.fromkeys((*of_first, *of_second))
        if key in items
    )
    return tuple(sorted(leans, key=lambda lean: -lean.difference))


def _text(contrast: Contrastive, source: str, locale: PosthocLocale, evidence: tuple[Evidence, ...]) -> str:
    """Places and scores, then what speaks for the first; that nothing does, where nothing is found."""
    say = locale.posthoc.contrastive
    items = (contrast.first, contrast.second, *(lean.item for lean in contrast.leans[:1]))
    first, second, *liked = map(locale.namer(*items), items)
    rank_a, rank_b = map(locale.place, contrast.ranks)
    score_a, score_b = (f"{score:.3f}" for score in contrast.scores)
    turned = contrast.retrieval_ranks[0] > contrast.retrieval_ranks[1]
    scores = say["turned" if turned else "scores"]
    parts = [
        say["places"].format(first=first, second=second, rank_a=rank_a, rank_b=rank_b),
        scores.format(first=first, second=second, score_a=score_a, score_b=score_b, source=source),
    ]
    plain = len(parts)
    if contrast.leans and contrast.leans[0].difference >= _LEAST_LEAN:
        share_a, share_b = (f"{share or 0:.0%}" for share in (contrast.leans[0].first, contrast.leans[0].second))
        parts.append(say["leans"].format(first=first, second=second, liked=liked[0], share_a=share_a, share_b=share_b))
    for one in evidence:
        parts += [locale.fact(fact, one) for fact in one.facts if fact.kind == "relation"][:1]
    for item, values in ((first, contrast.only_first), (second, contrast.only_second)):
        if values:
            parts.append(say["only"].format(item=item, values=locale.traits(values[:_TRAITS])))
    if contrast.both:
        parts.append(say["both"].format(values=locale.traits(contrast.both[:_TRAITS])))
    return locale.paragraph(parts if len(parts) > plain else [*parts, say["alike"]])
