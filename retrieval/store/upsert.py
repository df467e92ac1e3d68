"""How batches enter the store. Reads items and interactions, produces rows and an `UpsertReport`.

`run` names one import: of two rows of the same run with the same key and different content, the first wins,
while a row of a later run replaces what is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import sqlalchemy as sa

from retrieval.store import database as db
from retrieval.titles import title_keys
from retrieval.types import Frozen, Interaction, Item

ItemKey = tuple[str, str]
InteractionKey = tuple[str, str, str, str]
Refused = tuple[int, str]
"""A row of a batch that was not written: its position in the batch and why."""
_INTERACTION_KEY = ("user_id", "domain", "item_id", "kind")
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


def upsert_items(database: db.Database, items: Sequence[Item], run: str) -> UpsertReport:
    """Write items in one transaction."""
    with database.writing() as connection:
        seen = _item_states(connection, items)
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
        _touch(connection, same, run)
    return UpsertReport(**counts, conflicts=tuple(conflicts))


def upsert_interactions(database: db.Database, interactions: Sequence[Interaction], run: str) -> UpsertReport:
    """Write interactions in one transaction."""
    with database.writing() as connection:
        seen = _interaction_states(connection, interactions)
        known = set(_item_states(connection, interactions))
        counts, conflicts, unknown = Counter[str](), [], []
        rows: dict[InteractionKey, _Value] = {}
        for index, new in enumerate(interactions):
            if (new.domain, new.item) not in known:
                reason = f"item {new.item!r} is not in catalogue {new.domain!r}; ingest its items first"
                unknown.append((index, reason))
                continue
            key, content = _key(new), (new.value, new.timestamp)
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
        _write_interactions(database, connection, rows, run)
        if rows:
            db.next_value(database, connection, db.INTERACTIONS)
    return UpsertReport(**counts, conflicts=tuple(conflicts), unknown=tuple(unknown))


def next_generation(database: db.Database, connection: sa.Connection, domain: str) -> None:
    """Tell readers, with the commit of this transaction, that the domain's items changed."""
    db.next_value(database, connection, generation_key(domain))


def generation_key(domain: str) -> str:
    """Where `meta` keeps the domain's generation."""
    return f"generation:{domain}"


def _key(interaction: Interaction) -> InteractionKey:
    return interaction.user, interaction.domain, interaction.item, interaction.kind


def _merged(new: _Value, old: _Value) -> _Value:
    times = [time for _, time in (new, old) if time is not None]
    return max(new[0], old[0]), max(times, default=None)


def _item_states(connection: sa.Connection, rows: Sequence[Item] | Sequence[Interaction]) -> dict[ItemKey, _State[str]]:
    table = db.items.c
    query = sa.select(table.id, table.content_hash, table.run)
    states = {}
    for domain, ids in _grouped((r.domain, r.id if isinstance(r, Item) else r.item) for r in rows):
        for id_, content, run in connection.execute(query.where(table.domain == domain, table.id.in_(ids))):
            states[domain, id_] = _State(content, run)
    return states


def _grouped(keys: Iterable[ItemKey]) -> Iterator[tuple[str, Sequence[str]]]:
    """Domains, each with ids for one statement: SQLite would scan the table for (domain, id) pairs."""
    by_domain: dict[str, dict[str, None]] = {}
    for domain, id_ in keys:
        by_domain.setdefault(domain, {})[id_] = None
    for domain, ids in sorted(by_domain.items()):
        for chunk in db.chunks(list(ids)):
            yield domain, chunk


def _interaction_states(connection: sa.Connection, rows: Sequence[Interaction]) -> dict[InteractionKey, _State[_Value]]:
    table = db.interactions.c
    query = sa.select(table.item_id, table.kind, table.value, table.timestamp, table.run)
    by_user: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        by_user.setdefault((row.user, row.domain), {})[row.item] = None
    states = {}
    # A user at a time: for a list of (user, domain, item, kind) SQLite would scan the table.
    for (user, domain), ids in by_user.items():
        of_user = query.where(table.user_id == user, table.domain == domain)
        for chunk in db.chunks(list(ids)):
            for item, kind, value, timestamp, run in connection.execute(of_user.where(table.item_id.in_(chunk))):
                states[user, domain, item, kind] = _State((value, timestamp), run)
    return states


def _write_items(database: db.Database, connection: sa.Connection, items: Mapping[ItemKey, Item], run: str) -> None:
    if not items:
        return
    statement = database.insert(db.items)
    changed = {name: statement.excluded[name] for name in ("payload", "content_hash", "run")}
    rows = [
        {"domain": domain, "id": id_, "payload": i.model_dump_json(), "content_hash": i.content_hash(), "run": run}
        for (domain, id_), i in items.items()
    ]
    connection.execute(statement.on_conflict_do_update(index_elements=["domain", "id"], set_=changed), rows)
    titles = db.item_titles
    for domain, ids in _grouped(items):
        connection.execute(sa.delete(titles).where(titles.c.domain == domain, titles.c.item_id.in_(ids)))
    keys = [
        {"domain": item.domain, "item_id": item.id, "key": key} for item in items.values() for key in title_keys(item)
    ]
    connection.execute(sa.insert(titles), keys)
    for domain in sorted({domain for domain, _ in items}):
        next_generation(database, connection, domain)


def _touch(connection: sa.Connection, keys: Iterable[ItemKey], run: str) -> None:
    table = db.items
    for domain, ids in _grouped(keys):
        connection.execute(sa.update(table).where(table.c.domain == domain, table.c.id.in_(ids)).values(run=run))


def _write_interactions(
    database: db.Database, connection: sa.Connection, rows: Mapping[InteractionKey, _Value], run: str
) -> None:
    if not rows:
        return
    statement = database.insert(db.interactions)
    changed = {name: statement.excluded[name] for name in ("value", "timestamp", "run")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=_INTERACTION_KEY, set_=changed),
        [
            {**dict(zip(_INTERACTION_KEY, key, strict=True)), "value": value, "timestamp": timestamp, "run": run}
            for key, (value, timestamp) in rows.items()
        ],
    )
