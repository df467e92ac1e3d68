"""Grounding. Reads a text and evidence, produces the claims of the text, each supported or not; asks no model."""

from xdrec_agent.grounding.attribution import Claim, ClaimKind
from xdrec_agent.grounding.check import check, cited, foreign, sentences
from xdrec_agent.grounding.evidence import Evidence, Fact, FactKind, Known, PathFinder, gather
from xdrec_agent.grounding.language_rules import LanguageRules, load_rules
from xdrec_agent.grounding.scope import Scope

__all__ = [
    "Claim", "ClaimKind", "Evidence", "Fact", "FactKind", "Known", "LanguageRules", "PathFinder", "Scope", "check",
    "cited", "foreign", "gather", "load_rules", "sentences",
]  # fmt: skip
