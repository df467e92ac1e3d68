"""Kept dialogues. Reads dialogues, produces rows of the store's database; each is bounded and found by its id only.

The caller of `forget_old` bounds their number and age. An id cannot be guessed: whoever has it can go on with the
dialogue, and only as the user that it belongs to, if it belongs to one.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from pydantic import Field, ValidationError

from retrieval.errors import StoreError, UsageError
from retrieval.store import INTEGER, TEXT, Store, Tables, chunks
from retrieval.types import Frozen, Interaction, Query
from xdrec_agent.converse.state import DialogueState
from xdrec_agent.errors import DialogueBusy
from xdrec_agent.types import Recommendations

MOST_TURNS: Final = 200
"""Turns that are kept of a dialogue, the latest."""
MOST_BYTES: Final = 512 * 1024
"""Size of the kept turns as JSON; the oldest go first."""
MOST_TEXT: Final = 2_000
"""Characters kept of one thing said."""
_FORGOTTEN_AT_ONCE: Final = 500
_DAY_S: Final = 86_400

_tables = sa.MetaData()
_dialogues = sa.Table(
    "dialogues",
    _tables,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("user", TEXT, index=True),
    sa.Column("created_at", INTEGER, nullable=False),
    sa.Column("updated_at", INTEGER, nullable=False, index=True),
    sa.Column("document", TEXT, nullable=False),
)


class Turn(Frozen):
    """What was said, `replied` how it was understood and what was asked back, `at` a time in Unix seconds."""

    said: str = Field(max_length=MOST_TEXT)
    replied: str = Field(default="", max_length=MOST_TEXT)
    at: int


class Dialogue(Frozen):
    """One dialogue. `query` and `answer` are the last ranking's, for questions about it; times are in Unix seconds."""

    id: str
    user: str | None = None
    created_at: int
    updated_at: int
    state: DialogueState
    turns: tuple[Turn, ...] = ()
    query: Query | None = None
    answer: Recommendations | None = None


class DialogueSummary(Frozen):
    """A dialogue in a list."""

    id: str
    user: str | None
    updated_at: int
    turns: int
    first: str


class Dialogues(Tables):
    """The dialogues of a store."""

    metadata = _tables

    def keep(self, dialogue: Dialogue, *, after: Sequence[Turn]) -> Dialogue:
        """Write a started dialogue and return it as it was kept: with the latest turns only, if there are many.

        A dialogue that another process has deleted stays deleted.

        Args:
            after: the turns that it had when it was read or kept last.

        Raises:
            DialogueBusy: it has others by now; writing would undo what another process has understood.
        """
        kept = dialogue.model_copy(update={"turns": _bounded(dialogue.turns), "updated_at": int(time.time())})
        this_dialogue = _this(dialogue.id, dialogue.user)
        with self.database.writing() as connection:
            row = connection.execute(sa.select(_dialogues).where(this_dialogue)).first()
            if row is None:
                return kept
            if _dialogue(row).turns != tuple(after):
                raise DialogueBusy("another turn has changed the dialogue meanwhile", hint="say it once more")
            connection.execute(sa.update(_dialogues).where(this_dialogue).values(_row(kept)))
        return kept

    def start(self, state: DialogueState, user: str | None = None) -> Dialogue:
        """A new dialogue, written. Raises StoreError."""
        dialogue = new_dialogue(state, user)
        self.database.execute(sa.insert(_dialogues).values(_row(dialogue)))
        return dialogue

    def get(self, id_: str, user: str | None = None) -> Dialogue:
        """The dialogue with this id; one that belongs to a user is found for that user only.

        Raises:
            UsageError: there is none, or none for this user.
        """
        row = self.first(sa.select(_dialogues).where(_this(id_, user)))
        if row is None:
            raise _missing()
        return _dialogue(row)

    def list(self, user: str | None = None, limit: int = 100) -> tuple[DialogueSummary, ...]:
        """A user's dialogues (None: those without a user), the latest first."""
        latest = sa.select(_dialogues).where(_same_user(user)).order_by(_dialogues.c.updated_at.desc()).limit(limit)
        return tuple(map(_summary, self._rows(latest)))

    def of_user(self, user: str) -> tuple[Dialogue, ...]:
        """All that is kept of a user's dialogues, oldest first."""
        query = sa.select(_dialogues).where(_dialogues.c.user == user).order_by(_dialogues.c.created_at)
        return tuple(map(_dialogue, self._rows(query)))

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """What a query finds; nothing where no dialogue was ever kept."""
        return self.database.fetch(query) if self.exists() else ()

    def delete(self, id_: str, user: str | None = None) -> None:
        """Delete a dialogue, also one that this version cannot read.

        Raises:
            UsageError: there is none, or none for this user.
        """
        if not (self.exists() and self.database.execute(sa.delete(_dialogues).where(_this(id_, user)))):
            raise _missing()

    def forget_old(self, days: int, most: int) -> int:
        """Delete dialogues without a turn for `days`, and all but the `most` with the latest turns.

        One call deletes a few hundred and returns how many. Call it again until it returns 0.
        """
        table = _dialogues.c
        oldest = sa.select(table.id, table.updated_at).order_by(table.updated_at, table.id).limit(_FORGOTTEN_AT_ONCE)
        with self.database.writing() as connection:
            too_many = (connection.scalar(sa.select(sa.func.count()).select_from(_dialogues)) or 0) - most
            since = time.time() - days * _DAY_S
            rows = connection.execute(oldest).all()
            gone = [row.id for n, row in enumerate(rows) if row.updated_at < since or n < too_many]
            for part in chunks(gone):
                connection.execute(sa.delete(_dialogues).where(table.id.in_(part)))
        return len(gone)

    def delete_user(self, user: str) -> int:
        """Delete a user's dialogues; how many there were."""
        return self.database.execute(sa.delete(_dialogues).where(_dialogues.c.user == user))


def new_dialogue(state: DialogueState, user: str | None = None) -> Dialogue:
    """A dialogue that is not kept yet; its id has 128 random bits."""
    now = int(time.time())
    return Dialogue(id=secrets.token_urlsafe(16), user=user, created_at=now, updated_at=now, state=state)


def save_likes(dialogue: Dialogue, store: Store) -> int:
    """Make the dialogue's opinions ratings of its user; how many were written.

    Raises:
        UsageError: the dialogue has no user.
        StoreError: the store fails.
    """
    if dialogue.user is None:
        raise UsageError("the dialogue belongs to nobody", hint="xdrec chat --user ID")
    opinions = (*dialogue.state.likes, *dialogue.state.dislikes)
    now = int(time.time())
    ratings = [
        Interaction(user=dialogue.user, domain=o.item.domain, item=o.item.id, value=3 + 2 * o.preference, timestamp=now)
        for o in opinions
    ]
    if not ratings:
        return 0
    report = store.upsert_interactions(ratings, f"chat-{dialogue.id}-{now}")
    return report.added + report.updated


def _same_user(user: str | None) -> sa.ColumnElement[bool]:
    return _dialogues.c.user.is_(None) if user is None else _dialogues.c.user == user


def _this(id_: str, user: str | None) -> sa.ColumnElement[bool]:
    return sa.and_(_dialogues.c.id == id_, _same_user(user))


def _missing() -> UsageError:
    return UsageError("there is no such dialogue", hint="xdrec chat --list; for a user's: --user ID")


def _bounded(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    kept = list(turns[-MOST_TURNS:])
    size = sum(map(_bytes, kept))
    while len(kept) > 1 and size > MOST_BYTES:
        size -= _bytes(kept.pop(0))
    return tuple(kept)


def _bytes(turn: Turn) -> int:
    return len(turn.model_dump_json().encode())


def _row(dialogue: Dialogue) -> dict[str, Any]:
    columns = dialogue.model_dump(include={"id", "user", "created_at", "updated_at"})
    return columns | {"document": dialogue.model_dump_json(exclude_defaults=True)}


def _dialogue(row: sa.Row[Any]) -> Dialogue:
    try:
        return Dialogue.model_validate_json(row.document)
    except ValidationError as exc:
        msg = f"dialogue {row.id!r} was kept by another version of xdrec: {exc.errors()[0]['msg']}"
        raise StoreError(msg, hint=f"xdrec chat --delete {row.id}") from exc


def _summary(row: sa.Row[Any]) -> DialogueSummary:
    turns = json.loads(row.document).get("turns", ())
    first = turns[0]["said"] if turns else ""
    return DialogueSummary(id=row.id, user=row.user, updated_at=row.updated_at, turns=len(turns), first=first)
