"""Facets in a table of their own in the store's database. Reads and writes what was generated, by what and when.

Facets hold for the item as it was when they were made: those of an item that has changed since count as not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from pydantic import ValidationError

from retrieval.errors import StoreError
from retrieval.index import Facets
from retrieval.store import database as db
from retrieval.types import Frozen, Item

_tables = sa.MetaData()
_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_facets = sa.Table(
    "generated_facets",
    _tables,
    sa.Column("domain", _Text, primary_key=True),
    sa.Column("item_id", _Text, primary_key=True),
    sa.Column("content_hash", _Text, nullable=False),
    sa.Column("model", _Text, nullable=False),
    sa.Column("templates", _Text, nullable=False),
    sa.Column("made_at", sa.BigInteger(), nullable=False),
    sa.Column("payload", _Text, nullable=False),
    sa.Column("mark", _Text),
    sa.ForeignKeyConstraint(["domain", "item_id"], [db.items.c.domain, db.items.c.id], ondelete="CASCADE"),
)
_EMPTY: Final = Facets()


class MadeBy(Frozen):
    """What made facets: the model's name and the fingerprints of both templates, joined."""

    model: str
    templates: str


class FacetsRecord(Frozen):
    """Facets of an item, marked as generated. `content_hash` is the item's when it was asked about."""

    item: str
    content_hash: str
    made_by: MadeBy
    made_at: datetime
    facets: Facets


class FacetStore(db.Tables):
    """The generated facets of a store."""

    metadata = _tables

    def put(self, domain: str, rows: Sequence[FacetsRecord]) -> None:
        """Keep facets, in place of older ones; all of them or none. Items that are gone are left out."""
        table = _facets
        with self.database.writing() as connection:
            there: set[str] = set()
            for chunk in db.chunks([row.item for row in rows]):
                query = sa.select(db.items.c.id).where(db.items.c.domain == domain, db.items.c.id.in_(chunk))
                there.update(connection.scalars(query))
            values = [_values(domain, row) for row in rows if row.item in there]
            for value in values:
                statement = self.database.insert(table).values(value)
                changes = {name: new for name, new in value.items() if name not in {"domain", "item_id"}}
                connection.execute(statement.on_conflict_do_update(index_elements=["domain", "item_id"], set_=changes))
            if values:
                db.next_value(self.database, connection, _generation_key(domain))

    def get(self, domain: str, item: str) -> FacetsRecord | None:
        """What is kept of an item, whether it has changed since or not."""
        query = sa.select(_facets).where(_facets.c.domain == domain, _facets.c.item_id == item)
        with self.database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _kept(row)

    def pending(self, domain: str, made_by: MadeBy, limit: int | None = None) -> tuple[str, ...]:
        """Ids of the items that this model was not asked about in these words, or that have changed since, by id."""
        query = (
            sa.select(db.items.c.id)
            .outerjoin(
                _facets,
                sa.and_(
                    _same_item(),
                    _facets.c.content_hash == db.items.c.content_hash,
                    _facets.c.model == made_by.model,
                    _facets.c.templates == made_by.templates,
                ),
            )
            .where(db.items.c.domain == domain, _facets.c.item_id.is_(None))
            .order_by(db.items.c.id)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return tuple(connection.scalars(query))

    def facets(self, domain: str, ids: Iterable[str]) -> dict[str, Facets]:
        """The facets of those of the items that have any and have not changed since."""
        found = {}
        with self.database.reading() as connection:
            for chunk in db.chunks(list(ids)):
                query = self._current(_facets.c.item_id, _facets.c.payload).where(
                    db.items.c.domain == domain, db.items.c.id.in_(chunk)
                )
                found.update({item: Facets.model_validate_json(text) for item, text in connection.execute(query)})
        return found

    def marks(self, domain: str) -> dict[str, str]:
        """For every item that has facets, and has not changed since, a hash of them."""
        query = self._current(_facets.c.item_id, _facets.c.mark).where(db.items.c.domain == domain)
        with self.database.reading() as connection:
            return dict(connection.execute(query).all())

    def generation(self, domain: str) -> int:
        """How often facets of the domain were kept."""
        query = sa.select(db.meta.c.value).where(db.meta.c.key == _generation_key(domain))
        with self.database.reading() as connection:
            return connection.scalar(query) or 0

    def delete(self, domain: str) -> int:
        """Delete a domain's facets; how many items had some."""
        with self.database.writing() as connection:
            deleted = connection.execute(sa.delete(_facets).where(_facets.c.domain == domain)).rowcount
            if deleted:
                db.next_value(self.database, connection, _generation_key(domain))
        return deleted

    def _current(self, *columns: sa.Column[Any]) -> sa.Select[Any]:
        joined = sa.and_(_same_item(), _facets.c.content_hash == db.items.c.content_hash)
        return sa.select(*columns).join(db.items, joined).where(_facets.c.mark.is_not(None))


def _same_item() -> sa.ColumnElement[bool]:
    return sa.and_(_facets.c.domain == db.items.c.domain, _facets.c.item_id == db.items.c.id)


def _generation_key(domain: str) -> str:
    return f"facets:{domain}"


def facets_record(item: Item, facets: Facets, made_by: MadeBy, made_at: datetime) -> FacetsRecord:
    """Facets of an item as it is now."""
    return FacetsRecord(item=item.id, content_hash=item.content_hash(), made_by=made_by, made_at=made_at, facets=facets)


def _values(domain: str, row: FacetsRecord) -> dict[str, Any]:
    return {
        "domain": domain,
        "item_id": row.item,
        "content_hash": row.content_hash,
        "model": row.made_by.model,
        "templates": row.made_by.templates,
        "made_at": int(row.made_at.timestamp()),
        "payload": row.facets.model_dump_json(exclude_defaults=True),
        "mark": None if row.facets == _EMPTY else row.facets.mark(),
    }


def _kept(row: sa.Row[Any]) -> FacetsRecord:
    try:
        return FacetsRecord(
            item=row.item_id,
            content_hash=row.content_hash,
            made_by=MadeBy(model=row.model, templates=row.templates),
            made_at=datetime.fromtimestamp(row.made_at, UTC),
            facets=Facets.model_validate_json(row.payload),
        )
    except ValidationError as exc:
        msg = f"facets of {row.item_id!r} were kept by another version of xdrec: {exc.errors()[0]['msg']}"
        raise StoreError(msg, hint="xdrec enrich asks again") from exc
