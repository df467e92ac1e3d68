"""Why not this title. Reads a kept answer and a title, produces what keeps it from the list and what would lift it.

What can rule an item out is tested in the order in which the retriever does; what only ranks it low is scored again,
once for each thing that might lift it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from retrieval.index import Positions, Snapshot
from retrieval.ranking import Retriever, eligible
from retrieval.settings import ExclusionSettings
from retrieval.templates import visible
from retrieval.titles import resolve_title
from retrieval.types import Filter, Frozen, HistoryEntry, Item, Query
from xdrec_agent.posthoc.realisation import PosthocExplanation, PosthocLocale, Sections
from xdrec_agent.recommend import LoggedAnswer, apply_exclusions

Verdict = Literal[
    "listed", "known", "same_work", "withdrawn", "not_indexed", "filtered", "excluded", "other_edition",
    "earlier_volume", "ranked", "reranked",
]  # fmt: skip
"""What keeps a title from a list; "ranked": others score higher, "reranked": others were put before it later."""

_ITEMS = 8
_TRAITS = 3
_LIFTS = 3


class Condition(Frozen):
    """A part of a filter that an item does not fulfil: a field, for attributes the name of one, and its values."""

    field: str
    name: str = ""
    values: tuple[str, ...]


class Lift(Frozen):
    """Something that would lift an item, and where to: a rank computed by scoring again.

    `kind` "item": if this history item alone counted; "trait": if this trait of the item, which nothing liked has, were
    asked for as well; "dislikes": if what was disliked did not count.
    """

    kind: Literal["item", "trait", "dislikes"]
    item: Item | None = None
    trait: str = ""
    rank: int


class WhyNot(PosthocExplanation):
    """Why a title is not in a list.

    Attributes:
        conditions: what it does not fulfil ("filtered", "excluded").
        other: what is known ("same_work") or is listed in its place ("other_edition", "earlier_volume").
        rank: where the list has it ("listed"), or where the retriever has it among `total` ("ranked", "reranked");
            editions of a work and volumes of a series count as one.
        lifts: what would lift it, best first.
    """

    item: Item
    verdict: Verdict
    conditions: tuple[Condition, ...] = ()
    other: Item | None = None
    rank: int | None = None
    total: int | None = None
    lifts: tuple[Lift, ...] = ()

    def sections(self, locale: PosthocLocale) -> Sections:
        """The verdict with rank and total, and the rank that each lift would give."""
        rank, total = f": {self.rank}" if self.rank else "", f" / {self.total}" if self.total else ""
        lifts = (f"{one.kind} {one.item.title if one.item else one.trait}: {one.rank}" for one in self.lifts)
        yield "numbers", [f"{self.verdict}{rank}{total}", *lifts]


def why_not(
    retriever: Retriever,
    kept: LoggedAnswer,
    title: str,
    locale: PosthocLocale,
    exclusions: Sequence[ExclusionSettings] = (),
) -> WhyNot:
    """Why the answer does not have the item of its target domain with this title or id.

    Raises:
        UnknownTitle, AmbiguousTitle: the catalogue has no such item, or several.
        SetupError, BackendError: from the retriever.
    """
    target = kept.query.target
    item = retriever.store.items(target, [title]).get(title) or resolve_title(retriever.store, [target], title)
    query = apply_exclusions(kept.query, exclusions, retriever.store)
    finding = _by_facts(kept, query, item) or _by_index(retriever, kept, query, item)
    lifts: list[Lift] = []
    if finding.total is not None and finding.rank is not None:
        tried = sorted(_lifts(retriever, query, item), key=lambda lift: lift.rank)
        lifts = [lift for lift in tried if lift.rank < finding.rank][:_LIFTS]
    result = WhyNot(answer=kept.id, language=locale.language, item=item, lifts=tuple(lifts), **finding._asdict())
    return result.model_copy(update={"text": _text(kept, result, locale)})


class _Finding(NamedTuple):
    """A verdict and what belongs to it."""

    verdict: Verdict
    other: Item | None = None
    rank: int | None = None
    total: int | None = None
    conditions: tuple[Condition, ...] = ()


def _by_facts(kept: LoggedAnswer, query: Query, item: Item) -> _Finding | None:
    """What answer, history and catalogue say."""
    listed = next((one for one in kept.answer.items if one.item.id == item.id), None)
    if listed is not None:
        return _Finding("listed", rank=listed.rank)
    known = [e.item for e in query.history.entries if e.item.domain == query.target]
    same = sorted((one for one in known if _work(one) == _work(item)), key=lambda one: one.id != item.id)
    if same:
        return _Finding("known" if same[0].id == item.id else "same_work", same[0])
    return None if item.available else _Finding("withdrawn")


def _by_index(retriever: Retriever, kept: LoggedAnswer, query: Query, item: Item) -> _Finding:
    """What the index says of an item that may be recommended."""
    snapshot = retriever.index.snapshot(query.target)
    rows = snapshot.rows([item.id]).tolist()
    if not rows:
        return _Finding("not_indexed")
    if conditions := _unfulfilled(snapshot, rows[0], kept.query.filter):
        return _Finding("filtered", conditions=conditions)
    if conditions := _unfulfilled(snapshot, rows[0], query.filter):
        return _Finding("excluded", conditions=conditions)
    edition = next((one.item for one in kept.answer.items if _work(one.item) == _work(item)), None)
    first = edition or _first_unread(retriever, snapshot, rows[0], query)
    if first is not None and first.id != item.id:
        return _Finding("other_edition" if edition else "earlier_volume", first)
    rank, total = _place(retriever, query, rows[0])
    return _Finding("reranked" if rank <= len(kept.answer.items) else "ranked", rank=rank, total=total)


def _work(item: Item) -> str:
    return item.edition_of or item.id


def _unfulfilled(snapshot: Snapshot, row: int, filters: Filter) -> tuple[Condition, ...]:
    """The conditions that a row does not fulfil, each tested by itself as the retriever tests them."""
    return tuple(c for c, alone in _conditions(filters) if not eligible(snapshot, alone)[row])


def _conditions(filters: Filter) -> Iterator[tuple[Condition, Filter]]:
    for field, value in filters.model_dump(exclude_defaults=True).items():
        if isinstance(value, dict):
            for name, values in value.items():
                yield Condition(field=field, name=name, values=values), Filter(**{field: {name: values}})
        else:
            values = value if isinstance(value, tuple) else (str(value),)
            yield Condition(field=field, values=values), Filter(**{field: value})


def _first_unread(retriever: Retriever, snapshot: Snapshot, row: int, query: Query) -> Item | None:
    """The volume that stands for the row's series in a list; None outside any series."""
    series = snapshot.series.get(row)
    if series is None:
        return None
    open_, _ = retriever.scores(query)
    first = snapshot.ids(series[open_[series]][:1])
    return next(iter(retriever.store.items(query.target, first).values()), None)


def _place(retriever: Retriever, query: Query, row: int) -> tuple[int, int]:
    """Rank of a row by its score and the number of all that are ranked, one for each work or series."""
    snapshot = retriever.index.snapshot(query.target)
    open_, scores = retriever.scores(query)
    groups = _groups(snapshot)
    above = set(groups[open_ & (scores > scores[row])].tolist()) - {int(groups[row])}
    return len(above) + 1, len(np.unique(groups[open_]))


def _groups(snapshot: Snapshot) -> Positions:
    """For each row a number that all editions of its work and all volumes of its series share."""
    groups = snapshot.works.copy()
    for row, series in snapshot.series.items():
        groups[row] = -1 - int(series.min())
    return groups


def _lifts(retriever: Retriever, query: Query, item: Item) -> Iterator[Lift]:
    """What might lift the item, each scored again."""
    row = int(retriever.index.snapshot(query.target).rows([item.id])[0])
    sources = [e for e in query.history.entries if e.item.domain != query.target]
    liked = [e for e in sources if e.liked]
    if len(liked) > 1:
        for entry in liked[-_ITEMS:]:
            alone = _with(query, [e for e in query.history.entries if e is entry or e not in sources])
            yield Lift(kind="item", item=entry.item, rank=_place(retriever, alone, row)[0])
    if any(e.disliked for e in sources):
        gentle = _with(query, [e for e in query.history.entries if not (e.disliked and e in sources)])
        if liked or query.text:
            yield Lift(kind="dislikes", rank=_place(retriever, gentle, row)[0])
    has = {trait.casefold() for e in liked for trait in (*e.item.themes, *e.item.categories)}
    missing = [trait for trait in (*item.themes, *item.categories) if trait.casefold() not in has]
    for trait in missing[:_TRAITS]:
        asked = query.model_copy(update={"text": f"{query.text}, {trait}" if query.text else trait})
        yield Lift(kind="trait", trait=trait, rank=_place(retriever, asked, row)[0])


def _with(query: Query, entries: Sequence[HistoryEntry]) -> Query:
    return query.model_copy(update={"history": query.history.model_copy(update={"entries": tuple(entries)})})


def _text(kept: LoggedAnswer, result: WhyNot, locale: PosthocLocale) -> str:
    say = locale.posthoc.why_not
    name = locale.namer(result.item, result.other, *(lift.item for lift in result.lifts))
    verdict = say[result.verdict].format(
        item=name(result.item),
        other=name(result.other),
        place=locale.place(result.rank) if result.rank else "",
        total=result.total,
        k=len(kept.answer.items),
        source=kept.answer.source,
        fields=locale.joined([_condition(condition, locale) for condition in result.conditions]),
    )
    lifts = [
        say[f"lift_{lift.kind}"].format(
            liked=name(lift.item), value=locale.trait(lift.trait), place=locale.place(lift.rank)
        )
        for lift in result.lifts
    ]
    if result.verdict in {"ranked", "reranked"} and not lifts:
        lifts = [say["no_lift"]]
    return locale.paragraph([verdict, *lifts])


def _condition(condition: Condition, locale: PosthocLocale) -> str:
    show = locale.trait if "categories" in condition.field else visible
    value = locale.joined([show(value) for value in condition.values])
    return locale.posthoc.conditions[condition.field].format(name=visible(condition.name), value=value)
