"""Queries. Reads a user id, titles, words and exclusion rules, produces a `Query` and narrows its filter."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.errors import UsageError
from retrieval.store import Store
from retrieval.titles import resolve_title
from retrieval.types import Filter, History, HistoryEntry, Item, Query
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
    allow_new_user: bool = False,
) -> Query:
    """What `user` is known to like in the source domains, and what is said now, as a query.

    Titles said now count as fully liked or disliked, are the latest of the history, and replace what the store knows of
    the same item. What the user has in the target domain goes along: it is known and will not be recommended.

    Args:
        likes, dislikes: titles in the source domains, or items.
        allow_new_user: whether `user` may be one without any interactions, if there is something else to go by.

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
    stored = _stored_history(store, user, [*sources, target], allow_new=allow_new_user and bool(likes or about))
    stated = [
        HistoryEntry(
            item=title if isinstance(title, Item) else resolve_title(store, sources, title), preference=preference
        )
        for titles, preference in ((likes, 1.0), (dislikes, -1.0))
        for title in titles
    ]
    stated_items = {(entry.item.domain, entry.item.id) for entry in stated}
    earlier = [entry for entry in stored.entries if (entry.item.domain, entry.item.id) not in stated_items]
    history = History(user=user, entries=(*earlier, *stated))
    return Query(history=history, target=target, text=about, filter=filter_ or Filter(), k=k)


def apply_exclusions(query: Query, rules: Sequence[ExclusionSettings], store: Store) -> Query:
    """The query, less what the rules of its target forbid this user; applied again it changes nothing.

    What somebody has in one domain can forbid items of another: a condition forbids what is contraindicated for it. So
    can what they lack: a project requires a course. All that the user has counts, however they liked it, in the query
    or in the store, whether or not the domain is one of the query's sources.
    """
    rules = [rule for rule in rules if rule.target == query.target]
    if not rules:
        return query
    stored = _stored_history(store, query.history.user, sorted({rule.source for rule in rules}), allow_new=True)
    entries = (*query.history.entries, *stored.entries)
    forbidden, allowed = dict(query.filter.not_attributes), dict(query.filter.within_attributes)
    for rule in rules:
        owned = tuple(dict.fromkeys(entry.item.id for entry in entries if entry.item.domain == rule.source))
        name = rule.attribute
        if rule.when == "has":
            forbidden[name] = tuple(dict.fromkeys((*forbidden.get(name, ()), *owned)))
        else:
            allowed[name] = tuple(value for value in allowed.get(name, owned) if value in owned)
    narrowed = query.filter.model_copy(update={"not_attributes": forbidden, "within_attributes": allowed})
    return query.model_copy(update={"filter": narrowed})


def _stored_history(store: Store, user: str | None, domains: Sequence[str], *, allow_new: bool) -> History:
    if user is None:
        return History()
    try:
        return store.history(user, domains)
    except UsageError:  # the store does not know the user: the query says all
        if not allow_new:
            raise
        return History()
