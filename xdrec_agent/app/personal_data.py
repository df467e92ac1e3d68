"""Personal data. Reads and deletes everything that is kept about a person, in every place where it is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from retrieval.errors import BackendError, SetupError, UsageError
from retrieval.files import translated_writes, write_atomic
from retrieval.index import interactions as behaviour
from retrieval.tabular import INTERACTION_COLUMNS
from xdrec_agent.app.keys import Keys
from xdrec_agent.app.parts import open_answers, open_dialogues, open_responses, open_store
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


def _interactions(settings: Settings, user: str) -> list[Record]:
    if not _has_store(settings):
        return []
    with open_store(settings, create=False) as store:
        return [interaction.model_dump() for interaction in store.export_user(user)]


def _delete_interactions(settings: Settings, user: str) -> int:
    if not _has_store(settings):
        return 0
    with open_store(settings, create=False) as store:
        return store.delete_user(user)


def _has_store(settings: Settings) -> bool:
    try:
        open_store(settings, create=False).close()
    except SetupError:
        return False
    return True


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


def _behaviour(settings: Settings, user: str) -> list[Record]:
    kept = behaviour.preferences_of(settings.index_dir, user)
    named = ("domain", "item", "preference", "timestamp")
    return [dict(zip(named, rest, strict=True)) for _, *rest in kept]


def _forget_behaviour(settings: Settings, user: str) -> int:
    return behaviour.forget(settings.index_dir, user)


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


def _answers(settings: Settings, user: str) -> list[Record]:
    if not _has_store(settings):
        return []
    with open_answers(settings, create=False) as answers:
        kept = answers.of_user(user) if answers.exists() else ()
        return [
            one.model_dump(mode="json") | {"events": [e.model_dump() for e in answers.events(one.id)]} for one in kept
        ]


def _delete_answers(settings: Settings, user: str) -> int:
    if not _has_store(settings):
        return 0
    with open_answers(settings, create=False) as answers:
        return answers.delete_user(user) if answers.exists() else 0


def _dialogues(settings: Settings, user: str) -> list[Record]:
    if not _has_store(settings):
        return []
    with open_dialogues(settings, create=False) as dialogues:
        kept = dialogues.of_user(user) if dialogues.exists() else ()
        return [one.model_dump(mode="json") for one in kept]


def _delete_dialogues(settings: Settings, user: str) -> int:
    if not _has_store(settings):
        return 0
    with open_dialogues(settings, create=False) as dialogues:
        return dialogues.delete_user(user) if dialogues.exists() else 0


def _api_keys(settings: Settings, user: str) -> list[Record]:
    if not _has_store(settings):
        return []
    with Keys(settings.store_url) as keys:
        return [key.model_dump() for key in keys.list(user)] if keys.exists() else []


def _delete_api_keys(settings: Settings, user: str) -> int:
    if not _has_store(settings):
        return 0
    with Keys(settings.store_url) as keys:
        return keys.delete_user(user) if keys.exists() else 0


PLACES: Final[Mapping[str, Place]] = {
    "interactions": Place(_interactions, _delete_interactions),
    # After the interactions: an index run that copies them is waited for, and the next one finds none.
    "behaviour": Place(_behaviour, _forget_behaviour),
    "rejected_rows": Place(_rejected_rows, _delete_rejected_rows),
    "llm_replies": Place(_replies, _delete_replies),
    "answers": Place(_answers, _delete_answers),
    "dialogues": Place(_dialogues, _delete_dialogues),
    "api_keys": Place(_api_keys, _delete_api_keys),
}
"""Every place, by name. What keeps something about a person registers here."""
