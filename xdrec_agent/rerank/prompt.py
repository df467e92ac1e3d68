"""What the model is shown. Reads a query and items, produces the variables of the rerank and judge templates.

Instructions and history come first and candidates last, so that all prompts of a person share a prefix, which the
server computes once.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from retrieval.types import Item, Query
from xdrec_agent.llm import Messages
from xdrec_agent.rerank.context import RerankContext

LABELS: Final = tuple(string.ascii_uppercase + string.ascii_lowercase)
"""One token each in the tokenizers of the models in use; the client checks it against the served one."""


@dataclass(frozen=True)
class Labelled:
    """A candidate as the prompt shows it."""

    label: str
    item: Item


def list_prompt(context: RerankContext, query: Query, items: Sequence[Item]) -> Messages:
    """The prompt that shows labelled candidates, in this order; at most as many as there are labels."""
    labelled = [Labelled(label, item) for label, item in zip(LABELS, items, strict=False)]
    return context.templates["rerank"].messages(candidates=labelled, **_person(context, query))


def single_prompt(context: RerankContext, query: Query, item: Item) -> Messages:
    """The prompt that shows one candidate."""
    return context.templates["judge"].messages(candidate=item, **_person(context, query))


def _person(context: RerankContext, query: Query) -> dict[str, Any]:
    history = [e for e in query.history.entries if e.item.domain != query.target]
    limit = context.settings.max_history
    return {
        "liked": [e for e in history if e.liked][-limit:],
        "disliked": [e for e in history if e.disliked][-limit // 2 :],
        "text": query.text,
        "source": " and ".join(dict.fromkeys(e.item.domain for e in history)),
        "target": query.target,
    }
