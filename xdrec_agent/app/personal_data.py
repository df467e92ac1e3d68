"""Personal data. Reads and deletes everything that is kept about a user, in every place where it is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from retrieval import index
from retrieval.errors import BackendError, SetupError, UsageError
from retrieval.files import translated_writes, write_atomic
from retrieval.tabular import INTERACTION_COLUMNS
from xdrec_agent.app.factory import open_dialogues, open_keys, open_recommendation_log, open_responses, open_store
from xdrec_agent.recommend import RecommendationLog
from xdrec_agent.settings import Settings

Record = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A home of personal data.

    Attributes:
        export: what it holds of a user.
        delete: deletes that, and returns how many records went.
    """

    export: Callable[[Settings, str], list[Record]]
    delete: Callable[[Settings, str], int]


def rejects_folder(settings: Settings) -> Path:
    """Where the rows that an import refused are kept."""
    return settings.home / "rejects"


def export_user(settings: Settings, user: str) -> dict[str, Any]:
    """All that is kept about `user`, by place.

    Raises:
        UsageError: nothing is kept about such a user.
        BackendError: a place cannot be read.
    """
    kept = {name: place.export(settings, user) for name, place in PLACES.items()}
    if not any(kept.values()):
        raise UsageError(f"nothing is kept about a user {user!r}", hint="xdrec users list")
    return {"user": user, **kept}


def delete_user(settings: Settings, user: str) -> dict[str, int]:
    """Delete all that is kept about `user`; how many records went, by place.

    Raises:
        UsageError: nothing is kept about such a user.
        BackendError: a place cannot be changed; what other places held may be gone already, so do it again.
    """
    export_user(settings, user)
    return {name: place.delete(settings, user) for name, place in PLACES.items()}


def _rejected_rows(settings: Settings, user: str) -> list[Record]:
    return [
        {"file": file.name, **record}
        for file in _rejects(settings)
        for record in map(json.loads, _lines(file))
        if _user_of(record["row"]) == user
    ]


def _delete_rejected_rows(settings: Settings, user: str) -> int:
    deleted = 0
    for file in _rejects(settings):
        lines = list(_lines(file))
        left = [line for line in lines if not _may_be_of(json.loads(line)["row"], user)]
        if len(left) == len(lines):
            continue
        deleted += len(lines) - len(left)
        with translated_writes(file, "delete the file"):
            write_atomic(file, "".join(f"{line}\n" for line in left))
    return deleted


def _rejects(settings: Settings) -> list[Path]:
    return sorted(rejects_folder(settings).glob("*.jsonl"))


def _lines(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8") as lines:
            yield from (line.rstrip("\n") for line in lines)
    except OSError as exc:
        raise BackendError(f"{file} cannot be read: {exc.strerror}", hint="check its permissions") from exc


def _user_of(row: object) -> str | None:
    """The user that a refused row names in a column of a usual name."""
    columns = {name.casefold(): value for name, value in row.items()} if isinstance(row, dict) else {}
    found = (columns[name] for name in INTERACTION_COLUMNS["user"] if name in columns)
    return next((str(value).strip() for value in found), None)


def _may_be_of(row: object, user: str) -> bool:
    """Whether a refused row is of the user, or could be: it cannot be told in which column a user stands.

    An export must not show other people's rows, a deletion must not leave any: such rows go, but are not shown.
    """
    named = _user_of(row)
    if named is not None:
        return named == user
    if isinstance(row, dict):
        return any(str(value).strip() == user for value in row.values())
    return re.search(rf"(?<!\w){re.escape(user)}(?!\w)", str(row)) is not None


def _indexed_interactions(settings: Settings, user: str) -> list[Record]:
    preferences = index.user_preferences(settings.index_dir, user)
    columns = ("domain", "item", "preference", "timestamp")
    return [dict(zip(columns, values, strict=True)) for _, *values in preferences]


def _replies(settings: Settings, user: str) -> list[Record]:
    if not settings.responses_dir.is_dir():
        return []
    with open_responses(settings) as cache:
        return [{"request": key, "reply": json.loads(reply)} for key, reply in cache.of_user(user)]


def _delete_replies(settings: Settings, user: str) -> int:
    if not settings.responses_dir.is_dir():
        return 0
    with open_responses(settings) as cache:
        return cache.delete_user(user)


class _UserTables(Protocol):
    """Tables of the store's database that keep something about users."""

    def delete_user(self, user: str) -> int: ...
    def exists(self) -> bool: ...
    def close(self) -> None: ...


_T = TypeVar("_T", bound=_UserTables)


def _tables(open_tables: Callable[..., _T], export: Callable[[_T, str], list[Record]]) -> Place:
    """A place in the store's database, where there may be no store, or one without these tables."""

    @contextmanager
    def opened(settings: Settings) -> Iterator[_T | None]:
        try:
            tables = open_tables(settings, create=False)
        except SetupError:
            yield None
            return
        with closing(tables):
            yield tables if tables.exists() else None

    def export_records(settings: Settings, user: str) -> list[Record]:
        with opened(settings) as tables:
            return export(tables, user) if tables else []

    def delete_records(settings: Settings, user: str) -> int:
        with opened(settings) as tables:
            return tables.delete_user(user) if tables else 0

    return Place(export_records, delete_records)


def _answers(log: RecommendationLog, user: str) -> list[Record]:
    return [
        answer.model_dump(mode="json") | {"events": [event.model_dump() for event in log.events(answer.id)]}
        for answer in log.of_user(user)
    ]


PLACES: Final[Mapping[str, Place]] = {
    "interactions": _tables(open_store, lambda store, user: [one.model_dump() for one in store.export_user(user)]),
    # After the interactions: an index run that copies them is waited for, and the next one finds none.
    "indexed_interactions": Place(
        _indexed_interactions, lambda settings, user: index.delete_user(settings.index_dir, user)
    ),
    "rejected_rows": Place(_rejected_rows, _delete_rejected_rows),
    "llm_replies": Place(_replies, _delete_replies),
    "answers": _tables(open_recommendation_log, _answers),
    "dialogues": _tables(
        open_dialogues, lambda dialogues, user: [one.model_dump(mode="json") for one in dialogues.of_user(user)]
    ),
    "api_keys": _tables(open_keys, lambda keys, user: [key.model_dump() for key in keys.list(user)]),
}
"""Every place, by name. What keeps something about a user registers here."""
