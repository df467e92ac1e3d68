"""Kinds of reasons, all computed. Reads kept answers, produces why, why over another, why not, and what if."""

from xdrec_agent.posthoc.contrastive import Contrast, Lean, contrast
from xdrec_agent.posthoc.counterfactual import Moved, WhatIf, what_if
from xdrec_agent.posthoc.markdown import Reason, markdown
from xdrec_agent.posthoc.realisation import Teller, teller
from xdrec_agent.posthoc.why import Supporter, Why, why
from xdrec_agent.posthoc.why_not import Condition, Lift, WhyNot, why_not

__all__ = [
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
    "markdown",
    "teller",
    "what_if",
    "why",
    "why_not",
]
