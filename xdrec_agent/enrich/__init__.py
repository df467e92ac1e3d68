"""Enrichment. Reads a catalogue and asks the language model, produces facets that are kept apart from the catalogue.

`asking` asks about one item twice and keeps what both answers agree on, `kept` is the table, `running` goes through a
domain; what it has kept a killed run need not ask again.
"""

from xdrec_agent.enrich.enrichment import Enrichment, EnrichReport, Estimate
from xdrec_agent.enrich.facet_questions import load_wordings
from xdrec_agent.enrich.facet_store import FacetStore

__all__ = ["EnrichReport", "Enrichment", "Estimate", "FacetStore", "load_wordings"]
