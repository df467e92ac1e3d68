"""Why this one over that one. Reads two items of a kept answer, produces what tells them apart."""

from __future__ import annotations

from retrieval.errors import UsageError
from retrieval.types import Frozen, Item, Path
from xdrec_agent.grounding import Evidence, PathFinder
from xdrec_agent.posthoc.realisation import Teller, percent
from xdrec_agent.posthoc.why import evidence_of, ranked
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


class Contrast(Frozen):
    """What tells two items of an answer apart; `first` is the one that stands above.

    Attributes:
        difference: of the scores that made the order.
        leans: the history items behind either, those that speak most for the first at the top.
        only_first, only_second, both: what they share with what was liked.
        first_paths, second_paths: how each hangs together with what was liked.
    """

    answer: str
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
    language: str
    text: str


def contrast(kept: LoggedAnswer, rank: int, over: int, teller: Teller, paths: PathFinder | None = None) -> Contrast:
    """Why the item at one rank of the answer stands above the one at another, whichever is named first.

    Raises:
        UsageError: the answer lacks one of the ranks, or they are the same.
    """
    if rank == over:
        raise UsageError("an item cannot be compared with itself", hint="name two ranks, as in: 1 --over 2")
    a, b = (ranked(kept, one) for one in sorted((rank, over)))
    for_a, for_b = (evidence_of(kept, one, paths) for one in (a, b))
    mine, theirs = ({t.casefold(): t for t in evidence.traits} for evidence in (for_a, for_b))
    told = Contrast(
        answer=kept.id,
        first=a.item,
        second=b.item,
        ranks=(a.rank, b.rank),
        retrieval_ranks=(a.retrieval_rank, b.retrieval_rank),
        scores=(a.score, b.score),
        difference=a.score - b.score,
        leans=_leans(kept, a, b),
        only_first=tuple(t for key, t in mine.items() if key not in theirs),
        only_second=tuple(t for key, t in theirs.items() if key not in mine),
        both=tuple(t for key, t in mine.items() if key in theirs),
        first_paths=for_a.paths,
        second_paths=for_b.paths,
        language=teller.voice.language,
        text="",
    )
    return told.model_copy(update={"text": _text(kept, told, teller, (for_a, for_b))})


def _leans(kept: LoggedAnswer, a: Recommendation, b: Recommendation) -> tuple[Lean, ...]:
    items = {(e.item.domain, e.item.id): e.item for e in kept.query.history.entries}
    first, second = ({(m.domain, m.item): m.share for m in one.matches} for one in (a, b))
    leans = (
        Lean(item=items[key], first=first.get(key), second=second.get(key))
        for key in dict.fromkeys((*first, *second))
        if key in items
    )
    return tuple(sorted(leans, key=lambda lean: -lean.difference))


def _text(kept: LoggedAnswer, told: Contrast, teller: Teller, evidence: tuple[Evidence, Evidence]) -> str:
    say = teller.say.contrast
    called = teller.names(told.first, told.second, *(lean.item for lean in told.leans[:1]))

    def name(item: Item) -> str:
        return called[item.domain, item.id]

    names = {"first": name(told.first), "second": name(told.second)}
    places = {"rank_a": teller.place(told.ranks[0]), "rank_b": teller.place(told.ranks[1])}
    parts = [say.places.format(**names, **places)]
    if told.retrieval_ranks[0] > told.retrieval_ranks[1]:
        parts.append(say.turned.format(**names, source=kept.answer.source))
    else:
        scores = {"score_a": f"{told.scores[0]:.3f}", "score_b": f"{told.scores[1]:.3f}"}
        parts.append(say.scores.format(**names, **scores))
    plain = len(parts)
    if told.leans and told.leans[0].difference >= _LEAST_LEAN:
        lean = told.leans[0]
        shares = {"share_a": percent(lean.first or 0), "share_b": percent(lean.second or 0)}
        parts.append(say.leans.format(**names, liked=name(lean.item), **shares))
    for one in evidence:
        fact = next((fact for fact in one.facts if fact.kind == "relation"), None)
        parts += [teller.fact(fact, one)] if fact else []
    for item, values in ((told.first, told.only_first), (told.second, told.only_second)):
        if values:
            parts.append(say.only.format(item=name(item), values=teller.traits(values[:_TRAITS])))
    if told.both:
        parts.append(say.both.format(values=teller.traits(told.both[:_TRAITS])))
    return teller.text(parts if len(parts) > plain else [*parts, say.alike])
