"""How batches enter the store. Reads items and interactions, produces rows and an `UpsertReport`.

`run` names one import: of two rows of the same run with the same key and different content, the first wins,
while a row of a later run replaces what is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import sqlalchemy as sa

from retrieval.store.database import INTERACTIONS, Database, chunks_by_group, interaction_table, item_table, title_table
from retrieval.titles import title_keys
from retrieval.types import Frozen, Interaction, Item

ItemKey = tuple[str, str]
InteractionKey = tuple[str, str, str, str]
Refused = tuple[int, str]
"""A row of a batch that was not written: its position in the batch and why."""
_Value = tuple[float, int | None]
_C = TypeVar("_C")


class UpsertReport(Frozen):
    """What became of a batch.

    `unchanged` were in the store already with the same content, `repeated` came earlier in the same run (for
    implicit events: merged into the earlier one). `conflicts` contradict an earlier row of the same run,
    `unknown` name an item that no catalogue has; neither is written.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    repeated: int = 0
    conflicts: tuple[Refused, ...] = ()
    unknown: tuple[Refused, ...] = ()


class _State(NamedTuple, Generic[_C]):
    """What decides whether a stored row and a new one are the same, and the run that wrote it."""

    content: _C
    run: str


def _outcome(before: _State[_C] | None, new: _State[_C]) -> str:
    """The field of `UpsertReport` that a row counts for."""
    if before is None:
        return "added"
    if before.content != new.content:
        return "updated"
    return "repeated" if before.run == new.run else "unchanged"


def upsert_items(database: Database, items: Sequence[Item], run: str) -> UpsertReport:
    """Write items in one transaction."""
    with database.writing() as connection:
        seen = _item_states(connection, ((item.domain, item.id) for item in items))
        counts, conflicts = Counter[str](), []
        rows: dict[ItemKey, Item] = {}
        same: set[ItemKey] = set()
        for index, item in enumerate(items):
            key, state = (item.domain, item.id), _State(item.content_hash(), run)
            before = seen.get(key)
            if before is not None and before.run == run and before.content != state.content:
                conflicts.append((index, f"item {item.id!r} came before with other content"))
                continue
            counts[_outcome(before, state)] += 1
            if before is None or before.content != state.content:
                rows[key] = item
            elif before.run != run:
                same.add(key)
            seen[key] = state
        _write_items(database, connection, rows, run)
        for domain, ids in chunks_by_group(same):
            touched = sa.update(item_table).where(item_table.c.domain == domain, item_table.c.id.in_(ids))
            connection.execute(touched.values(run=run))
    return UpsertReport(**counts, conflicts=tuple(conflicts))


def upsert_interactions(database: Database, interactions: Sequence[Interaction], run: str) -> UpsertReport:
    """Write interactions in one transaction."""
    with database.writing() as connection:
        seen = _interaction_states(connection, interactions)
        known = _item_states(connection, ((new.domain, new.item) for new in interactions)).keys()
        counts, conflicts, unknown = Counter[str](), [], []
        rows: dict[InteractionKey, _Value] = {}
        for index, new in enumerate(interactions):
            if (new.domain, new.item) not in known:
                reason = f"item {new.item!r} is not in catalogue {new.domain!r}; ingest its items first"
                unknown.append((index, reason))
                continue
            key, content = (new.user, new.domain, new.item, new.kind), (new.value, new.timestamp)
            before = seen.get(key)
            if before is not None and before.run == run and before.content != content:
                if new.kind == "rating":
                    reason = f"{new.user!r} rated item {new.item!r} before with another value or time"
                    conflicts.append((index, reason))
                    continue
                content = _merged(content, before.content)
                before = _State(content, run)  # counts as repeated
            counts[_outcome(before, _State(content, run))] += 1
            # An unchanged row is written too: its run must be this one when it is repeated later.
            rows[key], seen[key] = content, _State(content, run)
        columns = ("user_id", "domain", "item_id", "kind", "value", "timestamp")
        values = [{**dict(zip(columns, (*key, *value), strict=True)), "run": run} for key, value in rows.items()]
        database.upsert(connection, interaction_table, values)
        if rows:
            database.increment(connection, INTERACTIONS)
    return UpsertReport(**counts, conflicts=tuple(conflicts), unknown=tuple(unknown))


def generation_key(domain: str) -> str:
    """Where `meta` keeps the domain's generation."""
    return f"generation:{domain}"


def _merged(new: _Value, old: _Value) -> _Value:
    times = [time for _, time in (new, old) if time is not None]
    return max(new[0], old[0]), max(times, default=None)


def _item_states(connection: sa.Connection, keys: Iterable[ItemKey]) -> dict[ItemKey, _State[str]]:
    table = item_table.c
    query = sa.select(table.id, table.content_hash, table.run)
    states = {}
    for domain, ids in chunks_by_group(keys):
        for id_, content, run in connection.execute(query.where(table.domain == domain, table.id.in_(ids))):
            states[domain, id_] = _State(content, run)
    return states


def _interaction_states(connection: sa.Connection, rows: Sequence[Interaction]) -> dict[InteractionKey, _State[_Value]]:
    table = interaction_table.c
    query = sa.select(table.item_id, table.kind, table.value, table.timestamp, table.run)
    states = {}
    for (user, domain), ids in chunks_by_group(((row.user, row.domain), row.item) for row in rows):
        of_user = query.where(table.user_id == user, table.domain == domain, table.item_id.in_(ids))
        for item, kind, value, timestamp, run in connection.execute(of_user):
            states[user, domain, item, kind] = _State((value, timestamp), run)
    return states


def _write_items(database: Database, connection: sa.Connection, items: Mapping[ItemKey, Item], run: str) -> None:
    rows = [
        {"domain": domain, "id": id_, "payload": i.model_dump_json(), "content_hash": i.content_hash(), "run": run}
        for (domain, id_), i in items.items()
    ]
    database.upsert(connection, item_table, rows)
    titles = title_table.c
    for domain, ids in chunks_by_group(items):
        connection.execute(sa.delete(title_table).where(titles.domain == domain, titles.item_id.in_(ids)))
    keys = [
        {"domain": item.domain, "item_id": item.id, "key": key} for item in items.values() for key in title_keys(item)
    ]
    if keys:
        connection.execute(sa.insert(title_table), keys)
    for domain in sorted({domain for domain, _ in items}):
        database.increment(connection, generation_key(domain))
