"""The store, the truth. Reads items, interactions and relations, keeps them in SQL, produces them again.

What keeps something beside the store (answers, dialogues, facets) declares `Tables` of its own in the same database.
"""

from retrieval.store.database import (
    INTEGER,
    RELATIONS,
    ROW_NUMBER,
    TEXT,
    Database,
    Tables,
    chunks,
    chunks_by_group,
    item_table,
)
from retrieval.store.relations import Key, RelationStore, numbers_of, relation_table, thing_table
from retrieval.store.store import DomainSummary, Store
from retrieval.store.upsert import UpsertReport

__all__ = [
    "INTEGER", "RELATIONS", "ROW_NUMBER", "TEXT", "Database", "DomainSummary", "Key", "RelationStore", "Store",
    "Tables", "UpsertReport", "chunks", "chunks_by_group", "item_table", "numbers_of", "relation_table",
    "thing_table",
]  # fmt: skip
