"""A person's question. Reads a user id, titles and words, produces a `Query`."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.errors import UsageError
from retrieval.store import Store
from retrieval.titles import resolve_any
from retrieval.types import Filter, History, HistoryEntry, Item, Query
from xdrec_agent.recommend.exclusions import excluding
from xdrec_agent.settings import ExclusionSettings


def build_query(
    store: Store,
    *,
    sources: Sequence[str],
    target: str,
    user: str | None = None,
    likes: Sequence[str | Item] = (),
    dislikes: Sequence[str | Item] = (),
    about: str | None = None,
    filter_: Filter | None = None,
    k: int = 5,
    may_be_new: bool = False,
    exclusions: Sequence[ExclusionSettings] = (),
) -> Query:
    """What `user` is known to like in the source domains, and what is said now, as a query.

    Titles said now count as fully liked or disliked, are the latest of the history, and replace what the store knows of
    the same item. What the user has in the target domain goes along: it is known and will not be recommended.

    Args:
        likes, dislikes: titles in the source domains, or items.
        may_be_new: whether `user` may be one without any interactions, if there is something else to go by.
        exclusions: rules that become part of the filter; a `Recommender` applies its own in any case.

    Raises:
        UsageError: a domain without items, a source that is the target, an unknown user, or nothing to go by.
        UnknownTitle, AmbiguousTitle: a title does not name one item of the sources.
    """
    if not store.has(*sources, target):
        known = store.domain_names()
        missing = next(domain for domain in (*sources, target) if domain not in known)
        have = ", ".join(known) or "none yet"
        raise UsageError(f"there is no domain {missing!r} (domains: {have})", hint=f"xdrec ingest {missing} FILE")
    if target in sources:
        raise UsageError(f"{target!r} is both source and target", hint="name different domains in --from and --to")
    if not (user or likes or about):
        raise UsageError("nothing to go by", hint="give --user ID, --like TITLE or --about TEXT")
    stored = _stored(store, user, [*sources, target], may_be_new and bool(likes or about))
    said = [
        HistoryEntry(
            item=title if isinstance(title, Item) else resolve_any(store, sources, title), preference=preference
        )
        for titles, preference in ((likes, 1.0), (dislikes, -1.0))
        for title in titles
    ]
    now = {(e.item.domain, e.item.id) for e in said}
    before = [e for e in stored.entries if (e.item.domain, e.item.id) not in now]
    history = History(user=user, entries=(*before, *said))
    query = Query(history=history, target=target, text=about, filter=filter_ or Filter(), k=k)
    return excluding(query, exclusions, store)


def _stored(store: Store, user: str | None, domains: Sequence[str], may_be_new: bool) -> History:
    if user is None:
        return History()
    try:
        return store.history(user, domains)
    except UsageError:
        if not may_be_new:
            raise
        return History()
