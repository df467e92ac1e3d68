"""The rows of a batch's files. Reads answers, produces a table: one row for each user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from retrieval.types import Frozen
from xdrec_agent.llm import Usage
from xdrec_agent.types import Recommendation, Recommendations

if TYPE_CHECKING:
    import pyarrow as pa


class RowItem(Frozen):
    """A recommended item. `text` is its reason, `written` what the reason comes from (`Explanation.source`)."""

    rank: int
    id: str
    title: str
    score: float
    retrieval_rank: int
    confidence: float | None
    text: str | None
    written: str | None
    cites: tuple[str, ...]


class Row(Frozen):
    """What came out for a user.

    Attributes:
        source: the stage that made the order; "none" if there is nothing to go by, and `reason` says what.
        degraded, reason: the model should have taken part, in the order or in the reasons, and failed.
    """

    user: str
    items: tuple[RowItem, ...] = ()
    source: str = "none"
    degraded: bool = False
    reason: str | None = None
    notes: tuple[str, ...] = ()
    model: str | None = None
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def row_of(user: str, answer: Recommendations, no_client: str) -> Row:
    """The row of an answer.

    Args:
        no_client: why no model was asked for reasons, where the answer was made without one.
    """
    spent = sum(answer.usage.values(), Usage())
    reason = answer.reason if answer.degraded else _unwritten(answer, no_client)
    return Row(
        user=user,
        items=tuple(map(_item, answer.items)),
        source=answer.source,
        degraded=reason is not None,
        reason=reason,
        notes=answer.notes,
        model=answer.model,
        requests=spent.requests,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
    )


def _unwritten(answer: Recommendations, no_client: str) -> str | None:
    """Why the first reason that the model should have written was not; None if it wrote all of them.

    A sentence of the model's that the check refused is no failure of the model: its template is noted.
    """
    for one in answer.items:
        said = one.explanation
        if said and said.source == "evidence" and said.template is None:
            return f"reasons from facts alone: {said.reason if answer.model else no_client}"
    return None


def _item(one: Recommendation) -> RowItem:
    said = one.explanation
    return RowItem(
        rank=one.rank,
        id=one.item.id,
        title=one.item.title,
        score=one.score,
        retrieval_rank=one.retrieval_rank,
        confidence=one.confidence,
        text=said.text if said else None,
        written=said.source if said else None,
        cites=tuple(f"{match.domain}/{match.item}" for match in said.cites) if said else (),
    )


def table_of(rows: Sequence[Row]) -> pa.Table:
    """The rows as a table of `schema`."""
    import pyarrow as pa

    return pa.Table.from_pylist([row.model_dump() for row in rows], schema=schema())


def schema() -> pa.Schema:
    """The columns of a batch's files: the fields of `Row`."""
    import pyarrow as pa

    texts = pa.list_(pa.string())
    item: Any = pa.struct(
        {
            "rank": pa.int32(),
            "id": pa.string(),
            "title": pa.string(),
            "score": pa.float64(),
            "retrieval_rank": pa.int32(),
            "confidence": pa.float64(),
            "text": pa.string(),
            "written": pa.string(),
            "cites": texts,
        }
    )
    return pa.schema(
        {
            "user": pa.string(),
            "items": pa.list_(item),
            "source": pa.string(),
            "degraded": pa.bool_(),
            "reason": pa.string(),
            "notes": texts,
            "model": pa.string(),
            "requests": pa.int64(),
            "prompt_tokens": pa.int64(),
            "completion_tokens": pa.int64(),
        }
    )
