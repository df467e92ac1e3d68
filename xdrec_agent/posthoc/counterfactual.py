"""What would be without. Reads a kept answer and an item of its history, produces the list that would be without it.

Nothing is asserted: the retriever is asked twice, with the item and without.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.errors import UnknownTitle, UsageError
from retrieval.ranking import Retriever
from retrieval.settings import ExclusionSettings
from retrieval.titles import label, normalise, title_keys
from retrieval.types import Candidate, Frozen, History, HistoryEntry, Item
from xdrec_agent.posthoc.realisation import PosthocExplanation, PosthocLocale, Sections
from xdrec_agent.recommend import LoggedAnswer, apply_exclusions

_DEPTH = 5  # times k: how deep is looked for where an item comes from or goes
_TOLD = 3


class RankChange(Frozen):
    """An item and its ranks in the retriever's list with and without; None: below five times the list's length."""

    item: Item
    before: int | None
    after: int | None


class Counterfactual(PosthocExplanation):
    """What the retriever's first `k` would be without one item of the history.

    Attributes:
        share: the item's part of the scores of the first k as they are, their mean, in [0, 1].
        leaves, enters: items that only the one or the other list has.
        moves: items that both have, at another rank.
    """

    without: Item
    k: int
    share: float
    leaves: tuple[RankChange, ...]
    enters: tuple[RankChange, ...]
    moves: tuple[RankChange, ...]

    @property
    def changed(self) -> tuple[RankChange, ...]:
        """All that would be different."""
        return (*self.leaves, *self.enters, *self.moves)

    def sections(self, locale: PosthocLocale) -> Sections:
        """The item's share, and each rank with and without it."""
        lines = [f"{locale.quoted(self.without)}: {self.share:.0%}"]
        for change in self.changed:
            before, after = (str(rank or f"> {_DEPTH * self.k}") for rank in (change.before, change.after))
            lines.append(f"{locale.quoted(change.item)}: {before} → {after}")
        yield "numbers", lines


def counterfactual(
    retriever: Retriever,
    kept: LoggedAnswer,
    title: str,
    locale: PosthocLocale,
    exclusions: Sequence[ExclusionSettings] = (),
) -> Counterfactual:
    """What would change without the history item that has this title or id.

    Raises:
        UnknownTitle: the history has none.
        UsageError: without it there would be nothing to go by.
        SetupError, BackendError: from the retriever.
    """
    query = apply_exclusions(kept.query, exclusions, retriever.store)
    entry = _entry_of(query.history, title)
    rest = tuple(e for e in query.history.entries if e is not entry)
    if not query.text and not any(e.liked and e.item.domain != query.target for e in rest):
        msg = f"{entry.item.title!r} is all there is to go by"
        raise UsageError(msg, hint="ask about another item, or recommend from a longer history")
    deep = query.model_copy(update={"k": query.k * _DEPTH})
    less = deep.model_copy(update={"history": query.history.model_copy(update={"entries": rest})})
    before, after = (retriever.rank(one).candidates for one in (deep, less))
    result = Counterfactual(
        answer=kept.id,
        language=locale.language,
        without=entry.item,
        k=query.k,
        share=_share(before[: query.k], entry.item),
        **_changes(before, after, query.k),
    )
    return result.model_copy(update={"text": _text(result, locale)})


def _entry_of(history: History, title: str) -> HistoryEntry:
    """The latest entry whose item has this id, else this title as people write it. Raises UnknownTitle."""
    key = normalise(title)
    by_id = [e for e in history.entries if e.item.id == title]
    if entries := by_id or [e for e in history.entries if key in title_keys(e.item)]:
        return entries[-1]
    near = tuple(label(e.item) for e in history.entries[:_TOLD])
    hint = "name an item of the history by its title or id"
    raise UnknownTitle(f"the history has no {title!r}", nearest=near, hint=hint)


def _changes(before: Sequence[Candidate], after: Sequence[Candidate], k: int) -> dict[str, tuple[RankChange, ...]]:
    """What leaves, enters and moves within the first k."""
    old, new = ({c.item.id: rank for rank, c in enumerate(ranking, 1)} for ranking in (before, after))
    items = {c.item.id: c.item for c in (*after[:k], *before[:k])}
    changes = [RankChange(item=item, before=old.get(id_), after=new.get(id_)) for id_, item in items.items()]
    changes.sort(key=lambda c: (c.before or len(before) + 1, c.after or 0))
    was, stays = ({id_ for id_, rank in ranks.items() if rank <= k} for ranks in (old, new))
    return {
        "leaves": tuple(c for c in changes if c.item.id not in stays),
        "enters": tuple(c for c in changes if c.item.id not in was),
        "moves": tuple(c for c in changes if c.item.id in was & stays and c.before != c.after),
    }


def _share(candidates: Sequence[Candidate], item: Item) -> float:
    shares = [m.share for c in candidates for m in c.matches if (m.domain, m.item) == (item.domain, item.id)]
    return sum(shares) / max(1, len(candidates))


def _text(result: Counterfactual, locale: PosthocLocale) -> str:
    say, k = locale.posthoc.counterfactual, result.k
    name = locale.namer(result.without, *(change.item for change in result.changed))
    liked = name(result.without)
    if not result.changed:
        return locale.paragraph([say["same"].format(liked=liked, k=k)])
    leaves, enters = (locale.joined([name(one.item) for one in ones]) for ones in (result.leaves, result.enters))
    parts = [say["leaves" if leaves else "moves_only"].format(liked=liked, items=leaves, k=k)]
    if enters:
        parts.append(say["enters"].format(items=enters))
    for change in result.moves[:_TOLD]:
        before, after = (locale.place(rank) for rank in (change.before, change.after) if rank)
        parts.append(say["moved"].format(item=name(change.item), before=before, after=after))
    return locale.paragraph(parts)
