"""A reply as plain text. Reads the events of a conversation, produces the pieces of text that a chat client shows."""

from __future__ import annotations

from retrieval.templates import visible
from retrieval.titles import label
from retrieval.types import Item
from xdrec_agent.converse import Asked, Event, Explained, Ranked, Said


def spoken(event: Event) -> str:
    """What the event adds to the text; empty for events that say nothing."""
    if isinstance(event, Said):
        return f"{event.text}\n"
    if isinstance(event, Asked):
        return "".join(f"{line}\n" for line in (event.text, *(f"- {option}" for option in event.options)))
    if isinstance(event, Ranked):
        lines = [f"{one.rank}. {_named(one.item)}\n" for one in event.answer.items]
        degraded = f"({visible(event.answer.reason or '')})\n" if event.answer.degraded else ""
        return "".join(lines) + degraded + ("\n" if lines else "")
    if isinstance(event, Explained) and event.item.explanation:
        return f"{event.item.rank}. {visible(event.item.explanation.text)}\n"
    return ""


def _named(item: Item) -> str:
    by = f" — {visible(', '.join(item.creators))}" if item.creators else ""
    return visible(label(item)) + by
