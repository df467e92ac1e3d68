"""Facets in a table of their own in the store's database. Reads and writes what was generated, by what and when.

Facets hold for the item as it was when they were made: those of an item that has changed since count as not there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from pydantic import ValidationError

from retrieval.errors import StoreError
from retrieval.index import Facets
from retrieval.store import INTEGER, TEXT, Tables, chunks, item_table
from retrieval.types import Frozen, Item

_metadata = sa.MetaData()
_facet_table = sa.Table(
    "generated_facets",
    _metadata,
    sa.Column("domain", TEXT, primary_key=True),
    sa.Column("item_id", TEXT, primary_key=True),
    sa.Column("content_hash", TEXT, nullable=False),
    sa.Column("model", TEXT, nullable=False),
    sa.Column("templates", TEXT, nullable=False),
    sa.Column("made_at", INTEGER, nullable=False),
    sa.Column("payload", TEXT, nullable=False),
    sa.Column("mark", TEXT),
    sa.ForeignKeyConstraint(["domain", "item_id"], [item_table.c.domain, item_table.c.id], ondelete="CASCADE"),
)
_facets = _facet_table.c
_items = item_table.c
_SAME_ITEM: Final = sa.and_(_facets.domain == _items.domain, _facets.item_id == _items.id)
_UNCHANGED: Final = sa.and_(_SAME_ITEM, _facets.content_hash == _items.content_hash)


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


class FacetStore(Tables):
    """The generated facets of a store."""

    metadata = _metadata

    def put(self, domain: str, item: Item, facets: Facets, made_by: MadeBy) -> None:
        """Keep the facets of an item as it is now, in place of older ones; nothing if the item is gone."""
        row = {
            "domain": domain,
            "item_id": item.id,
            "content_hash": item.content_hash(),
            "model": made_by.model,
            "templates": made_by.templates,
            "made_at": int(time.time()),
            "payload": facets.model_dump_json(exclude_defaults=True),
            "mark": None if facets.empty else facets.mark(),
        }
        with self.database.writing() as connection:
            query = sa.select(_items.id).where(_items.domain == domain, _items.id == item.id)
            if connection.execute(query).first() is not None:
                self.database.upsert(connection, _facet_table, [row])
                self.database.increment(connection, _generation_key(domain))

    def get(self, domain: str, item: str) -> FacetsRecord | None:
        """What is kept of an item, whether it has changed since or not.

        Raises:
            StoreError: another version of xdrec has kept it.
        """
        row = self.first(sa.select(_facet_table).where(_facets.domain == domain, _facets.item_id == item))
        if row is None:
            return None
        try:
            return FacetsRecord(
                item=row.item_id,
                content_hash=row.content_hash,
                made_by=MadeBy(model=row.model, templates=row.templates),
                made_at=datetime.fromtimestamp(row.made_at, UTC),
                facets=Facets.model_validate_json(row.payload),
            )
        except ValidationError as exc:
            msg = f"facets of {item!r} were kept by another version of xdrec: {exc.errors()[0]['msg']}"
            raise StoreError(msg, hint="xdrec enrich asks again") from exc

    def pending(self, domain: str, made_by: MadeBy, limit: int | None = None) -> tuple[str, ...]:
        """Ids of the items that this model was not asked about in these words, or that have changed since, by id."""
        asked = sa.and_(_UNCHANGED, _facets.model == made_by.model, _facets.templates == made_by.templates)
        query = sa.select(_items.id).outerjoin(_facet_table, asked).where(_items.domain == domain)
        query = query.where(_facets.item_id.is_(None)).order_by(_items.id).limit(limit)
        return tuple(row.id for row in self.database.fetch(query))

    def facets(self, domain: str, ids: Iterable[str]) -> dict[str, Facets]:
        """The facets of those of the items that have any and have not changed since."""
        query = _current(_facets.item_id, _facets.payload).where(_items.domain == domain)
        with self.database.reading() as connection:
            return {
                item: Facets.model_validate_json(payload)
                for chunk in chunks(list(ids))
                for item, payload in connection.execute(query.where(_items.id.in_(chunk)))
            }

    def marks(self, domain: str) -> dict[str, str]:
        """For every item that has facets, and has not changed since, a hash of them."""
        query = _current(_facets.item_id, _facets.mark).where(_items.domain == domain)
        return dict(self.database.fetch(query))

    def generation(self, domain: str) -> int:
        """How often facets of the domain were kept."""
        return self.counter(_generation_key(domain))


def _current(*columns: sa.Column[Any]) -> sa.Select[Any]:
    """A query of facets that say something about an item that has not changed since."""
    return sa.select(*columns).join(item_table, _UNCHANGED).where(_facets.mark.is_not(None))


def _generation_key(domain: str) -> str:
    return f"facets:{domain}"
