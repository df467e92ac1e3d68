"""Rows: what is told of an answer, and what counts as degraded."""

from __future__ import annotations

import pytest

from retrieval.types import Item, Match
from xdrec_agent.batch.rows import row_of, table_of
from xdrec_agent.llm import Usage
from xdrec_agent.types import Explanation, Recommendation, Recommendations

BOOK = Item(domain="books", id="b1", title="Emma")
SAID = Explanation(text="Because.", cites=(Match(domain="films", item="f1", similarity=1, share=1),), source="llm")
DEAD = Explanation(text="Plain.", source="evidence", reason="refused")
CHECKED = Explanation(text="Plain.", source="evidence", reason="it names nobody", template="0" * 64)


def answer(*explanations, **changed):
    items = tuple(
        Recommendation(rank=n, item=BOOK, score=1.5, retrieval_rank=3, explanation=said)
        for n, said in enumerate(explanations, 1)
    )
    spent = Usage(requests=2, prompt_tokens=30, completion_tokens=4)
    base = {"user": "ada", "sources": ("films",), "target": "books", "items": items, "source": "hybrid", "model": "m"}
    return Recommendations(**(base | {"usage": {"rerank": spent, "explain": spent}} | changed))


def test_a_row_tells_items_reasons_and_cost():
    """Everything a reader of the file needs of an answer comes back out of the table."""
    (row,) = table_of([row_of("ada", answer(SAID, None), "")]).to_pylist()
    first, second = row.pop("items")
    assert first["cites"] == ["films/f1"]
    assert (first["rank"], first["id"], first["text"], first["written"]) == (1, "b1", "Because.", "llm")
    assert (second["rank"], second["text"], second["cites"]) == (2, None, [])
    assert row == {
        "user": "ada",
        "source": "hybrid",
        "degraded": False,
        "reason": None,
        "notes": [],
        "model": "m",
        "requests": 4,
        "prompt_tokens": 60,
        "completion_tokens": 8,
    }


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        (answer(SAID), None),
        (answer(CHECKED), None),
        (answer(None), None),
        (answer(SAID, DEAD), "reasons from facts alone: refused"),
        (answer(DEAD, model=None), "reasons from facts alone: no server"),
        (answer(SAID, degraded=True, reason="too slow"), "too slow"),
    ],
)
def test_degraded_is_where_the_model_failed(answered, reason):
    """A row is degraded if the order or a reason lacks the model's part; a sentence that the check refused does not."""
    row = row_of("ada", answered, "no server")
    assert (row.degraded, row.reason) == (reason is not None, reason)
