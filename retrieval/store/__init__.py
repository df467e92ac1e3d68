"""The store, the truth. Reads items, interactions and relations, keeps them in SQL, produces them again."""

from retrieval.store.database import Tables, chunks
from retrieval.store.relations import Key, RelationStore, numbers_of, things
from retrieval.store.store import DomainSummary, Store, UpsertReport

__all__ = ["DomainSummary", "Key", "RelationStore", "Store", "Tables", "UpsertReport", "chunks", "numbers_of", "things"]
