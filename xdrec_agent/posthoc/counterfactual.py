"""What if. Reads a kept answer and an item of its history, produces the list that would be without it.

Nothing is asserted: the retriever is asked twice, with the item and without.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.errors import UnknownTitle, UsageError
from retrieval.ranking import Retriever
from retrieval.titles import label, normalise, title_keys
from retrieval.types import Candidate, Frozen, History, HistoryEntry, Item
from xdrec_agent.posthoc.realisation import Teller
from xdrec_agent.recommend import LoggedAnswer, apply_exclusions
from xdrec_agent.settings import ExclusionSettings

_DEPTH = 5  # times k: how deep is looked for where an item comes from or goes
_TOLD = 3


class Moved(Frozen):
    """An item and its ranks in the retriever's list with and without; None: below five times the list's length."""

    item: Item
    before: int | None
    after: int | None


class WhatIf(Frozen):
    """What the retriever's first `k` would be without one item of the history.

    Attributes:
        share: the item's part of the scores of the first k as they are, their mean, in [0, 1].
        leaves, enters: items that only the one or the other list has.
        moves: items that both have, at another rank.
    """

    answer: str
    without: Item
    k: int
    share: float
    leaves: tuple[Moved, ...]
    enters: tuple[Moved, ...]
    moves: tuple[Moved, ...]
    language: str
    text: str

    @property
    def changes(self) -> bool:
        """Whether anything would be different."""
        return bool(self.leaves or self.enters or self.moves)


def what_if(
    retriever: Retriever,
    kept: LoggedAnswer,
    title: str,
    teller: Teller,
    exclusions: Sequence[ExclusionSettings] = (),
) -> WhatIf:
    """What would change without the history item that has this title or id.

    Raises:
        UnknownTitle: the history has none.
        UsageError: without it there would be nothing to go by.
        SetupError, BackendError: from the retriever.
    """
    query = apply_exclusions(kept.query, exclusions, retriever.store)
    entry = entry_of(query.history, title)
    rest = tuple(e for e in query.history.entries if e is not entry)
    if not query.text and not any(e.liked and e.item.domain != query.target for e in rest):
        msg = f"{entry.item.title!r} is all there is to go by"
        raise UsageError(msg, hint="ask about another item, or recommend from a longer history")
    deep = query.model_copy(update={"k": query.k * _DEPTH})
    less = deep.model_copy(update={"history": query.history.model_copy(update={"entries": rest})})
    before, after = (retriever.rank(one).candidates for one in (deep, less))
    leaves, enters, moves = _changes(before, after, query.k)
    told = WhatIf(
        answer=kept.id,
        without=entry.item,
        k=query.k,
        share=_share(before[: query.k], entry.item),
        leaves=leaves,
        enters=enters,
        moves=moves,
        language=teller.voice.language,
        text="",
    )
    return told.model_copy(update={"text": _text(told, teller)})


def entry_of(history: History, title: str) -> HistoryEntry:
    """The entry whose item has this id, or this title as people write it. Raises UnknownTitle."""
    key = normalise(title)
    for fits in (lambda item: item.id == title, lambda item: key in title_keys(item)):
        found = [e for e in history.entries if fits(e.item)]
        if found:
            return found[-1]
    near = tuple(label(e.item) for e in history.entries[:_TOLD])
    hint = "name an item of the history by its title or id"
    raise UnknownTitle(f"the history has no {title!r}", nearest=near, hint=hint)


def _changes(
    before: Sequence[Candidate], after: Sequence[Candidate], k: int
) -> tuple[tuple[Moved, ...], tuple[Moved, ...], tuple[Moved, ...]]:
    old, new = ({c.item.id: rank for rank, c in enumerate(ranking, 1)} for ranking in (before, after))
    items = {c.item.id: c.item for c in (*after[:k], *before[:k])}
    moved = [Moved(item=item, before=old.get(id_), after=new.get(id_)) for id_, item in items.items()]
    moved.sort(key=lambda m: (m.before or len(before) + 1, m.after or 0))

    def within(rank: int | None) -> bool:
        return rank is not None and rank <= k

    return (
        tuple(m for m in moved if within(m.before) and not within(m.after)),
        tuple(m for m in moved if not within(m.before) and within(m.after)),
        tuple(m for m in moved if within(m.before) and within(m.after) and m.before != m.after),
    )


def _share(candidates: Sequence[Candidate], item: Item) -> float:
    shares = [m.share for c in candidates for m in c.matches if (m.domain, m.item) == (item.domain, item.id)]
    return sum(shares) / max(1, len(candidates))


def _text(told: WhatIf, teller: Teller) -> str:
    say = teller.say.what_if
    called = teller.names(told.without, *(m.item for m in (*told.leaves, *told.enters, *told.moves)))

    def name(item: Item) -> str:
        return called[item.domain, item.id]

    liked = name(told.without)
    if not told.changes:
        return teller.text([say.same.format(liked=liked, k=told.k)])
    first = say.leaves if told.leaves else say.moves_only
    parts = [first.format(liked=liked, items=teller.voice.joined([name(m.item) for m in told.leaves]), k=told.k)]
    if told.enters:
        parts.append(say.enters.format(items=teller.voice.joined([name(m.item) for m in told.enters])))
    parts += [
        say.moved.format(item=name(m.item), before=teller.place(m.before), after=teller.place(m.after))
        for m in told.moves[:_TOLD]
        if m.before is not None and m.after is not None
    ]
    return teller.text(parts)
