"""Files into the store. Reads tables and triples, produces rows in the store and a report of what was refused."""

from retrieval.ingest.ingest import IngestReport, Wanted, ingest_format
from retrieval.ingest.relations import RelationReport, ingest_relations

__all__ = ["IngestReport", "RelationReport", "Wanted", "ingest_format", "ingest_relations"]
