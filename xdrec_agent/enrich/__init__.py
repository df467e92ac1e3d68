"""Enrichment. Reads a catalogue and asks the language model, produces facets that are kept apart from the catalogue.

`facet_questions` asks about one item twice and keeps what both answers agree on, `facet_store` is the table, and
`enrichment` goes through a domain; a killed run does not ask again what it has kept.
"""

from xdrec_agent.enrich.enrichment import Enrichment, EnrichReport, Estimate
from xdrec_agent.enrich.facet_questions import load_wordings
from xdrec_agent.enrich.facet_store import FacetStore

__all__ = ["EnrichReport", "Enrichment", "Estimate", "FacetStore", "load_wordings"]
