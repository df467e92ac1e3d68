"""Explanations. Reads evidence, produces a checked reason for each recommended item, and sentences in its language."""

from xdrec_agent.explain.explainer import ExplainContext, explain_candidate, explain_without_model, plain_explanation
from xdrec_agent.explain.realisation import SHORT, Locale, load_locale, load_own_sentences, load_sentences

__all__ = [
    "SHORT", "ExplainContext", "Locale", "explain_candidate", "explain_without_model", "load_locale",
    "load_own_sentences", "load_sentences", "plain_explanation",
]  # fmt: skip
