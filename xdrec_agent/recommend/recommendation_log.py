"""The recommendation log. Reads answers and the feedback on them, keeps both in the store's database.

An answer is kept with the query that it answers, so that it can be explained, asked about and evaluated later. Its id
is short enough to type and too long to guess. The log is bounded in age and number by whoever calls `forget_old`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from math import isfinite
from typing import Any, Final, Literal, get_args

import sqlalchemy as sa
from pydantic import ValidationError

from retrieval.errors import StoreError, UsageError
from retrieval.store import INTEGER, ROW_NUMBER, TEXT, Tables, chunks
from retrieval.types import Frozen, Query
from xdrec_agent.types import Recommendations

FeedbackKind = Literal["click", "rating", "conversion", "known"]
"""What a user did with a recommended item; "known": they said that they know it already."""

_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # without those that look alike
_LENGTH: Final = 16  # of 31 letters: 79 bits
_PAGE: Final = 200
_FORGOTTEN_AT_ONCE: Final = 500
"""A short transaction: whoever gives an answer meanwhile hardly waits."""
_DAY_S: Final = 86_400

_tables = sa.MetaData()

_answers = sa.Table(
    "answers",
    _tables,
    sa.Column("number", ROW_NUMBER, primary_key=True, autoincrement=True),
    sa.Column("id", TEXT, nullable=False, unique=True),
    sa.Column("user", TEXT, index=True),
    sa.Column("created_at", INTEGER, nullable=False),
    sa.Column("arm", TEXT, nullable=False),
    sa.Column("query", TEXT, nullable=False),
    sa.Column("payload", TEXT, nullable=False),
)
_events = sa.Table(
    "answer_events",
    _tables,
    sa.Column("number", ROW_NUMBER, primary_key=True, autoincrement=True),
    sa.Column("answer_id", TEXT, sa.ForeignKey(_answers.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("domain", TEXT, nullable=False),
    sa.Column("item", TEXT, nullable=False),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("value", sa.Double()),
    sa.Column("at", INTEGER, nullable=False),
)


class LoggedAnswer(Frozen):
    """An answer as it was given. `created_at` is in Unix seconds; `arm` names the arm of an experiment, or is empty."""

    id: str
    user: str | None
    created_at: int
    arm: str
    query: Query
    answer: Recommendations


class FeedbackEvent(Frozen):
    """What a user did with an item of an answer, `at` a time in Unix seconds.

    `value` is 1 to 5 for a rating; for a conversion what it was worth, if somebody counts that; else None.
    """

    answer: str
    domain: str
    item: str
    kind: FeedbackKind
    value: float | None = None
    at: int


class RecommendationLog(Tables):
    """The answers of a store, with what users did with them."""

    metadata = _tables

    def add(self, query: Query, answer: Recommendations, *, arm: str = "", at: int | None = None) -> str:
        """Log an answer; its new id. `at` is in Unix seconds, None: now."""
        id_ = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
        row = {
            "id": id_,
            "user": query.history.user,
            "created_at": _now(at),
            "arm": arm,
            "query": query.model_dump_json(exclude_defaults=True),
            "payload": answer.model_copy(update={"id": id_}).model_dump_json(exclude_defaults=True),
        }
        self.database.execute(sa.insert(_answers).values(row))
        return id_

    def update(self, id_: str, answer: Recommendations) -> None:
        """Replace an answer, as when its reasons have been written.

        Raises:
            UsageError: there is none with this id.
        """
        payload = answer.model_copy(update={"id": id_}).model_dump_json(exclude_defaults=True)
        if not self.database.execute(sa.update(_answers).where(_answers.c.id == id_).values(payload=payload)):
            raise UsageError(f"no answer {id_!r} is kept", hint="log it first")

    def get(self, id_: str) -> LoggedAnswer:
        """The answer with this id.

        Raises:
            UsageError: there is none.
        """
        missing = UsageError(f"no answer {id_!r} is kept", hint="xdrec explain --last, or recommend again")
        return self._first(sa.select(_answers).where(_answers.c.id == id_), missing)

    def last(self) -> LoggedAnswer:
        """The answer that was kept last.

        Raises:
            UsageError: there is none.
        """
        missing = UsageError("no answer is kept yet", hint="xdrec recommend --from DOMAIN --to DOMAIN --user ID")
        return self._first(sa.select(_answers).order_by(_answers.c.number.desc()), missing)

    def of_user(self, user: str) -> tuple[LoggedAnswer, ...]:
        """All answers given to a user, oldest first."""
        return tuple(map(_answer, self._pages(_answers, sa.select(_answers).where(_answers.c.user == user))))

    def delete_user(self, user: str) -> int:
        """Delete a user's answers with their events; how many answers there were."""
        return self.database.execute(sa.delete(_answers).where(_answers.c.user == user))

    def forget_old(self, days: int, most: int) -> int:
        """Delete the oldest answers, with their events: those older than `days` and all but the latest `most`.

        One call deletes a few hundred; how many it did. Call it again until it is 0.
        """
        oldest = sa.select(_answers.c.number, _answers.c.created_at).order_by(_answers.c.number)
        with self.database.writing() as connection:
            newest = connection.scalar(sa.select(sa.func.max(_answers.c.number))) or 0
            rows = connection.execute(oldest.limit(_FORGOTTEN_AT_ONCE)).all()
            since = time.time() - days * _DAY_S
            gone = [row.number for row in rows if row.created_at < since or row.number <= newest - most]
            for part in chunks(gone):
                connection.execute(sa.delete(_answers).where(_answers.c.number.in_(part)))
        return len(gone)

    def add_event(
        self,
        answer: str,
        domain: str,
        item: str,
        kind: FeedbackKind,
        *,
        value: float | None = None,
        at: int | None = None,
    ) -> FeedbackEvent:
        """Note what was done with an item of an answer. `at` is in Unix seconds, None: now.

        Raises:
            UsageError: no such answer, an item that it does not have, or a value that is none.
        """
        _check(kind, value)
        items = [recommended.item for recommended in self.get(answer).answer.items]
        if (domain, item) not in {(one.domain, one.id) for one in items}:
            shown = ", ".join(one.id for one in items) or "nothing"
            raise UsageError(f"answer {answer!r} has no item {item!r} of {domain!r}", hint=f"it has: {shown}")
        event = FeedbackEvent(answer=answer, domain=domain, item=item, kind=kind, value=value, at=_now(at))
        row = event.model_dump(exclude={"answer"}) | {"answer_id": answer}
        self.database.execute(sa.insert(_events).values(row))
        return event

    def events(self, answer: str) -> tuple[FeedbackEvent, ...]:
        """What was done with an answer's items, in the order in which it was noted."""
        return tuple(map(_event, self._pages(_events, sa.select(_events).where(_events.c.answer_id == answer))))

    def iter_answers(self, *, since: int = 0, arm: str | None = None) -> Iterator[LoggedAnswer]:
        """Answers given at `since` (Unix seconds) or later, of one arm (None: any), oldest first, a page in memory."""
        yield from map(_answer, self._pages(_answers, _of_arm(sa.select(_answers), since, arm)))

    def iter_events(self, *, since: int = 0, arm: str | None = None) -> Iterator[FeedbackEvent]:
        """Events of the answers that `iter_answers` gives, in the order in which they were noted, a page in memory."""
        query = sa.select(_events).join(_answers, _answers.c.id == _events.c.answer_id)
        yield from map(_event, self._pages(_events, _of_arm(query, since, arm)))

    def _first(self, query: sa.Select[Any], missing: UsageError) -> LoggedAnswer:
        if (row := self.first(query)) is None:
            raise missing
        return _answer(row)

    def _pages(self, table: sa.Table, query: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
        return self.pages(query, table.c.number, _PAGE, 0)


def _of_arm(query: sa.Select[Any], since: int, arm: str | None) -> sa.Select[Any]:
    query = query.where(_answers.c.created_at >= since)
    return query if arm is None else query.where(_answers.c.arm == arm)


def _now(at: int | None) -> int:
    return int(time.time()) if at is None else at


def _check(kind: str, value: float | None) -> None:
    if kind not in get_args(FeedbackKind):
        raise UsageError(f"no event {kind!r}", hint=f"one of: {', '.join(get_args(FeedbackKind))}")
    if kind == "rating" and (value is None or not 1 <= value <= 5):
        raise UsageError(f"rating {value} is not in 1 to 5", hint="give the stars as value")
    if kind in {"click", "known"} and value is not None:
        raise UsageError(f"a {kind} has no value", hint="leave the value out")
    if value is not None and not isfinite(value):
        raise UsageError(f"value {value} is no number", hint="give a finite one")


def _answer(row: sa.Row[Any]) -> LoggedAnswer:
    try:
        return LoggedAnswer(
            id=row.id,
            user=row.user,
            created_at=row.created_at,
            arm=row.arm,
            query=Query.model_validate_json(row.query),
            answer=Recommendations.model_validate_json(row.payload),
        )
    except ValidationError as exc:
        msg = f"answer {row.id!r} was kept by another version of xdrec: {exc.errors()[0]['msg']}"
        raise StoreError(msg, hint="recommend again") from exc


def _event(row: sa.Row[Any]) -> FeedbackEvent:
    return FeedbackEvent(
        answer=row.answer_id, domain=row.domain, item=row.item, kind=row.kind, value=row.value, at=row.at
    )
