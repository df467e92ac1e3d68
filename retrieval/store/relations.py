"""Relations in the store. Reads triples of names, keeps them beside the items that they name, produces them again.

A thing that relations are about is a row of `things`: an item, which goes with its relations when the item is deleted,
or anything else with a name. Relations join two things by number: a million of them fit where the names fit once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import sqlalchemy as sa

from retrieval.store import database as db
from retrieval.types import Entity, Item

Key = tuple[str, str]
"""An item: its domain and id."""

_PAGE: Final = 50_000
_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up in INTEGER columns only

_tables = sa.MetaData()
things = sa.Table(
    "things",
    _tables,
    sa.Column("number", _Number, primary_key=True, autoincrement=True),
    sa.Column("domain", _Text),
    sa.Column("name", _Text, nullable=False),
    sa.Column("label", _Text),
    # A key with a NULL in it refers to nothing: the names that are no items.
    sa.ForeignKeyConstraint(["domain", "name"], [db.items.c.domain, db.items.c.id], ondelete="CASCADE"),
    sa.Index("things_items", "domain", "name", unique=True),
    sa.Index(
        "things_names",
        "name",
        unique=True,
        sqlite_where=sa.text("domain IS NULL"),
        postgresql_where=sa.text("domain IS NULL"),
    ),
)
relations = sa.Table(
    "relations",
    _tables,
    sa.Column("subject", _Number, sa.ForeignKey(things.c.number, ondelete="CASCADE"), primary_key=True),
    sa.Column("predicate", _Text, primary_key=True),
    sa.Column("object", _Number, sa.ForeignKey(things.c.number, ondelete="CASCADE"), primary_key=True),
    sa.Column("run", sa.BigInteger(), nullable=False),
    sa.Index("relations_by_object", "object"),
)
_ENDS: Final = (relations.c.subject, relations.c.object)


class RelationStore(db.Tables):
    """Relations in the store's database."""

    metadata = _tables

    def generation(self) -> int:
        """How often the relations have changed, 0 if there never were any; a reader that sees another one reloads."""
        return self.counter(db.RELATIONS)

    def iter_things(self) -> Iterator[tuple[int, str | None]]:
        """Number and domain (None: no item) of everything that relations are about, by number."""
        yield from self.pages(sa.select(things.c.number, things.c.domain), things.c.number, _PAGE, 0)

    def iter_relations(self) -> Iterator[tuple[int, str, int]]:
        """Subject, predicate and object of all relations, the ends by number, in their order."""
        columns = relations.c.subject, relations.c.predicate, relations.c.object
        query = sa.select(*columns).order_by(*columns).execution_options(yield_per=_PAGE)
        with self.database.reading() as connection:
            for row in connection.execute(query):
                yield row.subject, row.predicate, row.object

    def numbers(self, keys: Iterable[Key]) -> dict[Key, int]:
        """The numbers of items; those without relations are left out."""
        by_domain: dict[str, list[str]] = {}
        for domain, id_ in dict.fromkeys(keys):
            by_domain.setdefault(domain, []).append(id_)
        numbers: dict[Key, int] = {}
        with self.database.reading() as connection:
            for domain, ids in by_domain.items():
                numbers |= {(domain, name): number for name, number in numbers_of(connection, domain, ids)}
        return numbers

    def names(self, numbers: Iterable[int]) -> dict[int, str]:
        """The names of the things with these numbers: of an item its id; those that are gone are left out."""
        names: dict[int, str] = {}
        with self.database.reading() as connection:
            for chunk in db.chunks(list(dict.fromkeys(numbers))):
                query = sa.select(things.c.number, things.c.name).where(things.c.number.in_(chunk))
                names.update(dict(connection.execute(query).all()))
        return names

    def entities(self, numbers: Iterable[int]) -> dict[int, Entity]:
        """The things with these numbers, items with their titles; those that are gone are left out."""
        columns = things.c.number, things.c.domain, things.c.name, things.c.label, db.items.c.payload
        joined = things.outerjoin(
            db.items, sa.and_(things.c.domain == db.items.c.domain, things.c.name == db.items.c.id)
        )
        query = sa.select(*columns).select_from(joined)
        entities = {}
        with self.database.reading() as connection:
            for chunk in db.chunks(list(dict.fromkeys(numbers))):
                for number, domain, name, label, payload in connection.execute(query.where(things.c.number.in_(chunk))):
                    shown = Item.model_validate_json(payload).title if payload is not None else label or name
                    entities[number] = Entity(domain=domain, id=name, name=shown)
        return entities

    def unlinked(self) -> int:
        """Number of relations between two names that no other relation links to an item: no path uses them yet."""
        subject, object_, other = things.alias(), things.alias(), things.alias()
        linked = sa.union(
            *(
                sa.select(end).join(other, other.c.number == far_end).where(other.c.domain.is_not(None))
                for end, far_end in (_ENDS, _ENDS[::-1])
            )
        )
        query = (
            sa.select(sa.func.count())
            .select_from(relations)
            .join(subject, subject.c.number == relations.c.subject)
            .join(object_, object_.c.number == relations.c.object)
            .where(
                subject.c.domain.is_(None),
                object_.c.domain.is_(None),
                relations.c.subject.not_in(linked),
                relations.c.object.not_in(linked),
            )
        )
        with self.database.reading() as connection:
            return connection.scalar(query) or 0


def numbers_of(connection: sa.Connection, domain: str | None, names: list[str]) -> Iterator[tuple[str, int]]:
    """Name and number of the things of a domain (None: of no domain) that are there."""
    same = things.c.domain.is_(None) if domain is None else things.c.domain == domain
    for chunk in db.chunks(names):
        query = sa.select(things.c.name, things.c.number).where(same, things.c.name.in_(chunk))
        yield from (tuple(row) for row in connection.execute(query))
