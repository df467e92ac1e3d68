"""Explanations of an answer, all computed. Reads kept answers, produces why, why over another, why not, and what if."""

from xdrec_agent.posthoc.contrastive import Contrastive, contrastive
from xdrec_agent.posthoc.counterfactual import Counterfactual, counterfactual
from xdrec_agent.posthoc.picture import draw, mermaid, svg
from xdrec_agent.posthoc.realisation import PosthocExplanation, PosthocLocale, load_posthoc_locale, markdown
from xdrec_agent.posthoc.why import Why, evidence_for, item_at, why
from xdrec_agent.posthoc.why_not import WhyNot, why_not

__all__ = [
    "Contrastive", "Counterfactual", "PosthocExplanation", "PosthocLocale", "Why", "WhyNot", "contrastive",
    "counterfactual", "draw", "evidence_for", "item_at", "load_posthoc_locale", "markdown", "mermaid", "svg", "why",
    "why_not",
]  # fmt: skip
