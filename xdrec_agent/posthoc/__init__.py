"""Kinds of reasons, all computed. Reads kept answers, produces why, why over another, why not, and what if."""

from xdrec_agent.posthoc.contrastive import Contrast, Lean, contrast
from xdrec_agent.posthoc.counterfactual import Moved, WhatIf, what_if
from xdrec_agent.posthoc.markdown import Reason, markdown
from xdrec_agent.posthoc.picture import mermaid
from xdrec_agent.posthoc.picture_svg import svg
from xdrec_agent.posthoc.realisation import Teller, teller
from xdrec_agent.posthoc.why import SUPPORTERS, Supporter, Why, evidence_of, ranked, why
from xdrec_agent.posthoc.why_not import Condition, Lift, WhyNot, why_not

__all__ = [
    "SUPPORTERS",
    "Condition",
    "Contrast",
    "Lean",
    "Lift",
    "Moved",
    "Reason",
    "Supporter",
    "Teller",
    "WhatIf",
    "Why",
    "WhyNot",
    "contrast",
    "evidence_of",
    "markdown",
    "mermaid",
    "ranked",
    "svg",
    "teller",
    "what_if",
    "why",
    "why_not",
]
