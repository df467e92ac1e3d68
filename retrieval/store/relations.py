"""Relations in the store. Reads triples of names, keeps them beside the items that they name, produces them again.

A thing that relations are about is a row of `things`: an item, which goes with its relations when the item is deleted,
or anything else with a name. Relations join two things by number: a million of them fit where the names fit once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar, TypeVarTuple

import sqlalchemy as sa

from retrieval.store.database import INTEGER, RELATIONS, ROW_NUMBER, TEXT, Tables, chunks, chunks_by_group, item_table
from retrieval.types import Entity, Item

Key = tuple[str, str]
"""An item: its domain and id."""

_PAGE: Final = 50_000
_Columns = TypeVarTuple("_Columns")
_Domain = TypeVar("_Domain", str, str | None)
_tables = sa.MetaData()
thing_table = sa.Table(
    "things",
    _tables,
    sa.Column("number", ROW_NUMBER, primary_key=True, autoincrement=True),
    sa.Column("domain", TEXT),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("label", TEXT),
    # A key with a NULL in it refers to nothing: the names that are no items.
    sa.ForeignKeyConstraint(["domain", "name"], [item_table.c.domain, item_table.c.id], ondelete="CASCADE"),
    sa.Index("things_items", "domain", "name", unique=True),
    sa.Index(
        "things_names",
        "name",
        unique=True,
        sqlite_where=sa.text("domain IS NULL"),
        postgresql_where=sa.text("domain IS NULL"),
    ),
)
relation_table = sa.Table(
    "relations",
    _tables,
    sa.Column("subject", ROW_NUMBER, sa.ForeignKey(thing_table.c.number, ondelete="CASCADE"), primary_key=True),
    sa.Column("predicate", TEXT, primary_key=True),
    sa.Column("object", ROW_NUMBER, sa.ForeignKey(thing_table.c.number, ondelete="CASCADE"), primary_key=True),
    sa.Column("run", INTEGER, nullable=False),
    sa.Index("relations_by_object", "object"),
)
_ENDS: Final = (relation_table.c.subject, relation_table.c.object)


class RelationStore(Tables):
    """Relations in the store's database."""

    metadata = _tables

    def generation(self) -> int:
        """How often the relations have changed, 0 if there never were any; a reader that sees another one reloads."""
        return self.counter(RELATIONS)

    def iter_things(self) -> Iterator[tuple[int, str | None]]:
        """Number and domain (None: no item) of everything that relations are about, by number."""
        numbers = thing_table.c.number
        yield from map(tuple, self.pages(sa.select(numbers, thing_table.c.domain), numbers, _PAGE, 0))

    def iter_relations(self) -> Iterator[tuple[int, str, int]]:
        """Subject, predicate and object of all relations, the ends by number, in their order."""
        columns = relation_table.c.subject, relation_table.c.predicate, relation_table.c.object
        query = sa.select(*columns).order_by(*columns).execution_options(yield_per=_PAGE)
        with self.database.reading() as connection:
            for row in connection.execute(query):
                yield row.subject, row.predicate, row.object

    def numbers(self, keys: Iterable[Key]) -> dict[Key, int]:
        """The numbers of items; those without relations are left out."""
        with self.database.reading() as connection:
            return dict(numbers_of(connection, dict.fromkeys(keys)))

    def names(self, numbers: Iterable[int]) -> dict[int, str]:
        """The names of the things with these numbers: of an item its id; those that are gone are left out."""
        return dict(self._things(sa.select(thing_table.c.number, thing_table.c.name), numbers))

    def entities(self, numbers: Iterable[int]) -> dict[int, Entity]:
        """The things with these numbers, items with their titles; those that are gone are left out."""
        table, items = thing_table.c, item_table.c
        joined = thing_table.outerjoin(item_table, sa.and_(table.domain == items.domain, table.name == items.id))
        query = sa.select(table.number, table.domain, table.name, table.label, items.payload).select_from(joined)
        entities = {}
        for number, domain, name, label, payload in self._things(query, numbers):
            title = Item.model_validate_json(payload).title if payload is not None else label or name
            entities[number] = Entity(domain=domain, id=name, name=title)
        return entities

    def _things(self, query: sa.Select[*_Columns], numbers: Iterable[int]) -> Iterator[sa.Row[*_Columns]]:
        with self.database.reading() as connection:
            for chunk in chunks(list(dict.fromkeys(numbers))):
                yield from connection.execute(query.where(thing_table.c.number.in_(chunk)))

    def unlinked(self) -> int:
        """Number of relations between two names that no other relation links to an item: no path uses them yet."""
        subject, object_, other = thing_table.alias(), thing_table.alias(), thing_table.alias()
        linked = sa.union(
            *(
                sa.select(end).join(other, other.c.number == far_end).where(other.c.domain.is_not(None))
                for end, far_end in (_ENDS, _ENDS[::-1])
            )
        )
        query = (
            sa.select(sa.func.count())
            .select_from(relation_table)
            .join(subject, subject.c.number == relation_table.c.subject)
            .join(object_, object_.c.number == relation_table.c.object)
            .where(
                subject.c.domain.is_(None),
                object_.c.domain.is_(None),
                relation_table.c.subject.not_in(linked),
                relation_table.c.object.not_in(linked),
            )
        )
        return int(self.database.fetch(query)[0][0])


def numbers_of(
    connection: sa.Connection, keys: Iterable[tuple[_Domain, str]]
) -> Iterator[tuple[tuple[_Domain, str], int]]:
    """Keys (domain, None for no item, and name) and numbers of the things that are there."""
    table = thing_table.c
    for domain, names in chunks_by_group(keys):
        same = table.domain.is_(None) if domain is None else table.domain == domain
        query = sa.select(table.name, table.number).where(same, table.name.in_(names))
        yield from (((domain, name), number) for name, number in connection.execute(query))
