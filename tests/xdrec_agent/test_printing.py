"""Promises of what recommendations look like in a terminal: who speaks for an item stands beside it, in one line."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from retrieval.types import History, HistoryEntry, Item, Query
from xdrec_agent.cli.printing import print_recommendations
from xdrec_agent.types import Recommendation, Recommendations

FILM = Item(domain="films", id="f", title="Alien")
QUERY = Query(history=History(entries=(HistoryEntry(item=FILM),)), target="books")


def printed(stages):
    book = Item(domain="books", id="b", title="Solaris", creators=("Lem",), year=1961)
    entry = Recommendation(rank=1, item=book, score=1.0, retrieval_rank=3, stages=stages)
    answer = Recommendations(user=None, sources=("films",), target="books", items=(entry,), source="retrieval")
    out = Console(file=io.StringIO(), width=200)
    print_recommendations(answer, QUERY, out)
    (line,) = [line for line in out.file.getvalue().splitlines() if "Solaris" in line]
    return line.strip()


@pytest.mark.parametrize(
    ("stages", "shown"),
    [
        ({"text": 6.2, "popularity": 1.8, "bm25": 2.0}, " (text 62%, bm25 20%, popularity 18%)"),
        ({"text": 0.9, "bm25": 0.1, "neighbours": 0.001}, " (text 90%, bm25 10%)"),
        ({"text": 1.0, "bm25": 1.0, "popularity": -0.5}, " (text 50%, bm25 50%)"),
        ({"text": 1.0, "bm25": 1.0, "llm": 40.0}, " (text 50%, bm25 50%)"),
        ({"text": 1.0}, ""),
        ({"text": -1.0, "bm25": 0.0}, ""),
        ({"llm": 3.0}, ""),
        ({}, ""),
    ],
)
def test_who_speaks_for_an_item_is_shown(stages, shown):
    """Sources by their share of what speaks for it, the largest first; not if one source says it all."""
    assert printed(stages) == f"1  Solaris by Lem, 1961  retriever: 3{shown}"
