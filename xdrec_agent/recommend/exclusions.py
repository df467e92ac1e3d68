"""Exclusions. Reads rules, a query and what the store knows of its person, produces the query with a narrower filter.

What somebody has in one domain can forbid items of another: a condition what is contraindicated for it; what they lack
can too: a course that a project requires. The rules are settings and know no field of use.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.errors import UsageError
from retrieval.store import Store
from retrieval.types import Filter, History, Query
from xdrec_agent.settings import ExclusionSettings

_Values = dict[str, tuple[str, ...]]


def excluding(query: Query, rules: Sequence[ExclusionSettings], store: Store) -> Query:
    """The query, less what the rules of its target forbid this person; applied again it changes nothing.

    All that the person has counts, however they liked it, in the query or in the store, whether or not the domain is
    one of the query's sources.
    """
    applying = [rule for rule in rules if rule.target == query.target]
    if not applying:
        return query
    stored = _stored(store, query.history.user, {rule.source for rule in applying})
    entries = (*query.history.entries, *stored.entries)
    barred, open_ = dict(query.filter.not_attributes), dict(query.filter.within_attributes)
    for rule in applying:
        has = tuple(dict.fromkeys(e.item.id for e in entries if e.item.domain == rule.source))
        if rule.when == "has":
            barred[rule.attribute] = tuple(dict.fromkeys((*barred.get(rule.attribute, ()), *has)))
        else:
            open_[rule.attribute] = _both(open_, rule.attribute, has)
    return query.model_copy(update={"filter": _narrowed(query.filter, barred, open_)})


def _stored(store: Store, user: str | None, domains: set[str]) -> History:
    if user is None:
        return History()
    try:
        return store.history(user, sorted(domains))
    except UsageError:  # nobody the store knows: then the query says all
        return History()


def _both(open_: _Values, attribute: str, has: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(v for v in open_[attribute] if v in has) if attribute in open_ else has


def _narrowed(wanted: Filter, barred: _Values, open_: _Values) -> Filter:
    return wanted.model_copy(update={"not_attributes": barred, "within_attributes": open_})
