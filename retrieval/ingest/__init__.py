"""Files into the store. Reads tables and triples, produces rows in the store and a report of what was refused."""

from retrieval.ingest.ingest import IngestReport, RelationReport, ingest
from retrieval.ingest.interaction_filter import InteractionFilter
from retrieval.ingest.tables import IngestRequest

__all__ = ["IngestReport", "IngestRequest", "InteractionFilter", "RelationReport", "ingest"]
