"""Explanations. Reads evidence, produces a checked reason for each recommended item."""

from xdrec_agent.explain.explainer import ExplainContext, explain_one, unasked
from xdrec_agent.explain.fallback import plain_text
from xdrec_agent.explain.realisation import SHORT, Voice, load_voice

__all__ = ["SHORT", "ExplainContext", "Voice", "explain_one", "load_voice", "plain_text", "unasked"]
