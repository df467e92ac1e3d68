"""What recommendations look like in a terminal. Reads `Recommendations`, prints them to stdout."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from retrieval.ranking import SIGNALS
from retrieval.templates import visible
from retrieval.types import Item, Query
from xdrec_agent.types import Recommendation, Recommendations

_SOURCES: Final = {
    "llm": "written by the model, checked",
    "repaired": "written by the model, corrected and checked",
    "evidence": "from the catalogue's facts",
}

_LEAST: Final = 0.05
"""Share of the score from which a signal is named."""


def print_recommendations(answer: Recommendations, query: Query, console: Console | None = None) -> None:
    """A heading, then each item with its place, where the retriever had it, and its reason."""
    out = console or Console(highlight=False)
    out.print(_heading(answer, query))
    if not answer.items:
        out.print("  Nothing fits. Fewer filters would leave more to choose from.", style="yellow")
    for item in answer.items:
        out.print(_line(item))
        if item.explanation:
            reason = Text(visible(item.explanation.text)).append(
                f"  ({_SOURCES[item.explanation.source]})", style="dim"
            )
            out.print(Padding(reason, (0, 0, 0, 4)))
    if answer.degraded:
        out.print(Text(f"degraded: this is the retriever's order, because {answer.reason}", style="bold yellow"))
    for note in answer.notes:
        out.print(Text(f"note: {note}", style="dim"))
    out.print(Text(_cost(answer), style="dim"))
    if answer.id:
        out.print(Text(f"why, why not, what if: xdrec explain {answer.id}", style="dim"))


def _heading(answer: Recommendations, query: Query) -> Text:
    said = [visible(e.item.title) for e in query.history.liked if e.item.domain != query.target]
    who = answer.user or ", ".join(said) or f"“{query.text}”"
    head = Text(f"{answer.target} for {who}", style="bold")
    return head.append(f"  from {', '.join(answer.sources)}" if answer.sources else "", style="dim")


def _line(entry: Recommendation) -> Table:
    """The place, and beside it title and makers, which may need a second line."""
    title = Text(visible(entry.item.title), style="bold cyan").append(_by(entry.item), style="not bold default")
    title.append(f"  retriever: {entry.retrieval_rank}{_signal_shares(entry)}", style="not bold dim default")
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(justify="right", min_width=2)
    line.add_column()
    line.add_row(str(entry.rank), title)
    return line


def _signal_shares(entry: Recommendation) -> str:
    """Each signal's share of the item's score; empty where one signal gives it all."""
    scores = {name: entry.stages[name] for name in SIGNALS if entry.stages.get(name, 0) > 0}
    total = sum(scores.values())
    shares = sorted(((value / total, name) for name, value in scores.items() if value / total >= _LEAST), reverse=True)
    return f" ({', '.join(f'{name} {share:.0%}' for share, name in shares)})" if len(shares) > 1 else ""


def _by(item: Item) -> str:
    creators = f" by {visible(', '.join(item.creators))}" if item.creators else ""
    return creators + (f", {item.year}" if item.year else "")


def _cost(answer: Recommendations) -> str:
    stages = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in answer.seconds.items())
    requests = sum(u.requests for u in answer.usage.values())
    tokens = sum(u.prompt_tokens + u.completion_tokens for u in answer.usage.values())
    asked = f"; {requests} requests, {tokens} tokens to {answer.model}" if requests else ""
    hits = sum(u.cache_hits for u in answer.usage.values())
    kept = f"; {hits} replies from the cache" if hits else ""
    sure = f"; {answer.shuffles} shuffles, tau {answer.tau:.2f}" if answer.tau is not None else ""
    return f"order: {answer.source}{sure}; {stages}{asked}{kept}"
