"""The rows of a batch's files. Reads answers, produces a table: one row for each user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args, get_origin

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
    usage = sum(answer.usage.values(), Usage())
    reason = answer.reason if answer.degraded else _unwritten(answer, no_client)
    return Row(
        user=user,
        items=tuple(map(_item, answer.items)),
        source=answer.source,
        degraded=reason is not None,
        reason=reason,
        notes=answer.notes,
        model=answer.model,
        requests=usage.requests,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
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


def _item(recommendation: Recommendation) -> RowItem:
    explanation = recommendation.explanation
    return RowItem(
        **recommendation.model_dump(include={"rank", "score", "retrieval_rank", "confidence"}),
        id=recommendation.item.id,
        title=recommendation.item.title,
        text=explanation.text if explanation else None,
        written=explanation.source if explanation else None,
        cites=tuple(f"{match.domain}/{match.item}" for match in explanation.cites) if explanation else (),
    )


def table_of(rows: Sequence[Row]) -> pa.Table:
    """The rows as a table of `schema`."""
    import pyarrow as pa

    return pa.Table.from_pylist([row.model_dump() for row in rows], schema=schema())


def schema() -> pa.Schema:
    """The columns of a batch's files: the fields of `Row`."""
    import pyarrow as pa

    return pa.schema(_arrow_type(Row))


def _arrow_type(annotation: Any) -> pa.DataType:  # noqa: ANN401 (types have no common type)
    """The Arrow type of a field: scalars, optional ones, tuples of one type, and models, as structs."""
    import pyarrow as pa

    if inside := [part for part in get_args(annotation) if part not in {type(None), ...}]:
        content = _arrow_type(inside[0])
        return pa.list_(content) if get_origin(annotation) is tuple else content
    if issubclass(annotation, Frozen):
        fields = annotation.model_fields.items()
        return pa.struct([(name, _arrow_type(field.annotation)) for name, field in fields])
    return {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[annotation]
