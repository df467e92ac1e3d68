"""The store: the truth about catalogues and interactions. Reads items and interactions, produces them again.

Everything else (vectors, indexes) is derived from it and can be made again. Each method is one transaction
(the iterators: one a page), batches are written as a whole or not at all, and every failure of the database
is a `StoreError`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import sqlalchemy as sa

from retrieval.errors import UsageError
from retrieval.store.database import (
    INTERACTIONS,
    Tables,
    chunks,
    interaction_table,
    item_table,
    meta_table,
    metadata,
    relations_changed,
    title_table,
)
from retrieval.store.upsert import UpsertReport, generation_key, upsert_interactions, upsert_items
from retrieval.types import Frozen, History, HistoryEntry, Interaction, Item, Preference

_PAGE = 1000
_IDS = (12, 100)
"""Ids that one statement asks for. Its text is made once: that takes longer than to look up what it asks for."""


def _by_ids(count: int) -> sa.Select[tuple[str, str]]:
    ids: list[sa.BindParameter[str]] = [sa.bindparam(f"id{n}") for n in range(count)]
    query = sa.select(item_table.c.id, item_table.c.payload)
    return query.where(item_table.c.domain == sa.bindparam("domain"), item_table.c.id.in_(ids))


_BY_IDS = {count: _by_ids(count) for count in _IDS}


class DomainSummary(Frozen):
    """The size of a domain. `generation` grows with every change of its items."""

    domain: str
    items: int
    interactions: int
    users: int
    generation: int


class Store(Tables):
    """Items and interactions in SQLite or Postgres."""

    metadata = metadata

    def upsert_items(self, items: Sequence[Item], run: str) -> UpsertReport:
        """Write items; `run` names the import, within which the first of two rows with the same id wins."""
        return upsert_items(self.database, items, run)

    def upsert_interactions(self, interactions: Sequence[Interaction], run: str) -> UpsertReport:
        """Write interactions with items that the store knows; one for each user, item and kind.

        Within one `run` the first of two ratings wins; repeated implicit events (a song played twice) become
        one, the strongest value and the latest time.
        """
        return upsert_interactions(self.database, interactions, run)

    def items(self, domain: str, ids: Iterable[str]) -> dict[str, Item]:
        """The items with these ids, in their order; unknown ids are left out."""
        unique_ids = list(dict.fromkeys(ids))
        items = {}
        size = next((size for size in _IDS if size >= len(unique_ids)), _IDS[-1])
        with self.database.reading() as connection:
            for start in range(0, len(unique_ids), size):
                chunk = unique_ids[start : start + size]
                chunk += chunk[-1:] * (size - len(chunk))
                values = {"domain": domain, **{f"id{n}": id_ for n, id_ in enumerate(chunk)}}
                rows = connection.execute(_BY_IDS[size], values).all()
                items.update({row.id: Item.model_validate_json(row.payload) for row in rows})
        return {id_: items[id_] for id_ in unique_ids if id_ in items}

    def iter_items(self, domain: str, batch: int = _PAGE) -> Iterator[Item]:
        """All items of the domain by id (byte order), `batch` of them in memory at a time."""
        for _, payload in self._item_pages(domain, item_table.c.payload, batch):
            with self.database.translated():
                item = Item.model_validate_json(payload)
            yield item

    def item_hashes(self, domain: str) -> Iterator[tuple[str, str]]:
        """Id and content hash of all items of the domain by id (byte order)."""
        return self._item_pages(domain, item_table.c.content_hash, 10 * _PAGE)

    def _item_pages(self, domain: str, column: sa.Column[str], size: int) -> Iterator[tuple[str, str]]:
        query = sa.select(item_table.c.id, column).where(item_table.c.domain == domain)
        return ((id_, value) for id_, value in self.pages(query, item_table.c.id, size, ""))

    def generation(self, domain: str) -> int:
        """How often the domain's items have changed; a reader that sees another number reloads."""
        return self.counter(generation_key(domain))

    def interactions_generation(self) -> int:
        """How often interactions have changed, in any domain."""
        return self.counter(INTERACTIONS)

    def domains(self) -> tuple[DomainSummary, ...]:
        """The domains that have items, by name."""
        items, events, count = item_table.c, interaction_table.c, sa.func.count()
        by_domain = sa.select(events.domain, count, sa.func.count(events.user_id.distinct())).group_by(events.domain)
        with self.database.reading() as connection:
            sizes = connection.execute(sa.select(items.domain, count).group_by(items.domain)).all()
            totals = {domain: (total, users) for domain, total, users in connection.execute(by_domain)}
            counters = dict(connection.execute(sa.select(meta_table.c.key, meta_table.c.value)).all())
        summaries = []
        for domain, size in sorted(tuple(row) for row in sizes):
            total, users = totals.get(domain, (0, 0))
            generation = counters.get(generation_key(domain), 0)
            summary = DomainSummary(domain=domain, items=size, interactions=total, users=users, generation=generation)
            summaries.append(summary)
        return tuple(summaries)

    def has(self, *domains: str) -> bool:
        """Whether each of the domains has items; unlike `domains` it counts nothing."""
        query = sa.select(*(sa.exists().where(item_table.c.domain == domain) for domain in domains))
        return all(self.database.fetch(query)[0])

    def domain_names(self) -> tuple[str, ...]:
        """The domains that have items, by name; one step through the key for each, however many items there are."""
        names: list[str] = []
        table = item_table.c
        with self.database.reading() as connection:
            query = sa.select(table.domain).order_by(table.domain).limit(1)
            while (name := connection.scalar(query.where(table.domain > names[-1]) if names else query)) is not None:
                names.append(name)
        return tuple(names)

    def history(self, user: str, domains: Sequence[str] | None = None) -> History:
        """What the user knows in these domains (None: all), oldest first; entries without a time lead.

        One entry for each item: a rating wins over implicit events, else the strongest counts; its time is
        the latest.

        Raises:
            UsageError: the user has no interaction in any domain.
        """
        events, items = interaction_table.c, item_table.c
        query = (
            sa.select(events.domain, events.item_id, events.kind, events.value, events.timestamp, items.payload)
            .join(item_table, sa.and_(events.domain == items.domain, events.item_id == items.id))
            .where(events.user_id == user)
        )
        with self.database.reading() as connection:
            rows = connection.execute(query).all()
            if not rows:
                hint = "name a user that the store knows, or titles that the person likes"
                raise UsageError(f"user {user!r} has no interactions", hint=hint)
            by_item = defaultdict(list)
            for *fields, payload in rows:
                if domains is None or fields[0] in domains:
                    by_item[fields[0], fields[1]].append((_interaction(user, *fields), payload))
            entries = [
                HistoryEntry(
                    item=Item.model_validate_json(events[0][1]),
                    preference=_preference([event for event, _ in events]),
                    timestamp=_last_time([event for event, _ in events]),
                )
                for events in by_item.values()
            ]
        entries.sort(key=lambda e: (e.timestamp is not None, e.timestamp or 0, e.item.domain, e.item.id))
        return History(user=user, entries=tuple(entries))

    def preferences(self) -> Iterator[Preference]:
        """What everybody did, by user; one for each item, as in `history`."""
        table, last = interaction_table.c, ""
        columns = (table.user_id, table.domain, table.item_id, table.kind, table.value, table.timestamp)
        while users := self._next_users(last):
            query = sa.select(*columns).where(table.user_id > last, table.user_id <= users[-1])
            rows = self.database.fetch(query.order_by(table.user_id, table.domain, table.item_id))
            for (user, domain, item), uses in groupby(rows, key=lambda row: tuple(row[:3])):
                events = [_interaction(*row) for row in uses]
                yield user, domain, item, _preference(events), _last_time(events)
            last = users[-1]

    def _next_users(self, last: str) -> list[str]:
        table = interaction_table.c
        query = sa.select(table.user_id).distinct().where(table.user_id > last).order_by(table.user_id).limit(_PAGE)
        return [row[0] for row in self.database.fetch(query)]

    def users(self, domain: str | None = None, limit: int | None = None) -> tuple[str, ...]:
        """Users with interactions in `domain` (None: any), in byte order, at most `limit` (None: all)."""
        query = sa.select(interaction_table.c.user_id).distinct().order_by(interaction_table.c.user_id).limit(limit)
        if domain is not None:
            query = query.where(interaction_table.c.domain == domain)
        return tuple(row[0] for row in self.database.fetch(query))

    def item_ids_by_title(self, domain: str, key: str) -> tuple[str, ...]:
        """Ids of the items that have this key (`titles.normalise`) as title or alias."""
        table = title_table.c
        query = sa.select(table.item_id).where(table.domain == domain, table.key == key).order_by(table.item_id)
        return tuple(row[0] for row in self.database.fetch(query))

    def title_keys(self, domain: str) -> list[tuple[str, str]]:
        """All (key, item id) pairs of the domain."""
        table = title_table.c
        query = sa.select(table.key, table.item_id).where(table.domain == domain)
        return [(key, id_) for key, id_ in self.database.fetch(query)]

    def delete_items(self, domain: str, ids: Iterable[str]) -> int:
        """Delete items with their titles and interactions; how many there were."""
        table, deleted = item_table, 0
        with self.database.writing() as connection:
            for chunk in chunks(list(ids)):
                deleted += connection.execute(
                    sa.delete(table).where(table.c.domain == domain, table.c.id.in_(chunk))
                ).rowcount
            if deleted:
                self.database.increment(connection, generation_key(domain))
                relations_changed(connection)  # those of the items went with them
                self.database.increment(connection, INTERACTIONS)
        return deleted

    def popularity(self, domain: str) -> dict[str, int]:
        """How many users each item has; items without any are left out."""
        table = interaction_table.c
        users = sa.func.count(table.user_id.distinct())
        query = sa.select(table.item_id, users).where(table.domain == domain).group_by(table.item_id)
        return dict(self.database.fetch(query))

    def export_user(self, user: str) -> list[Interaction]:
        """Everything the store holds about a user, by domain, item and kind."""
        table = interaction_table.c
        query = (
            sa.select(table.domain, table.item_id, table.kind, table.value, table.timestamp)
            .where(table.user_id == user)
            .order_by(table.domain, table.item_id, table.kind)
        )
        return [_interaction(user, *row) for row in self.database.fetch(query)]

    def delete_user(self, user: str) -> int:
        """Delete everything the store holds about a user; how many interactions there were."""
        with self.database.writing() as connection:
            query = sa.delete(interaction_table).where(interaction_table.c.user_id == user)
            deleted = connection.execute(query).rowcount
            if deleted:
                self.database.increment(connection, INTERACTIONS)
        return deleted


def _interaction(user: str, domain: str, item: str, kind: str, value: float, timestamp: int | None) -> Interaction:
    return Interaction(user=user, domain=domain, item=item, kind=kind, value=value, timestamp=timestamp)


def _last_time(events: Sequence[Interaction]) -> int | None:
    """The latest known time of several events with one item."""
    return max((event.timestamp for event in events if event.timestamp is not None), default=None)


def _preference(events: Sequence[Interaction]) -> float:
    """A rating wins over implicit events, else the strongest event counts."""
    ratings = [event.preference for event in events if event.kind == "rating"]
    return ratings[0] if ratings else max(event.preference for event in events)
