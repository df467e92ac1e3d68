"""Replies of the LLM on disk. Reads a request, produces the reply it got before, if any.

A reply is kept under a hash of the model, the template's fingerprint, the path and the whole body (rendered text and
parameters), so that a run can be replayed without a server. It belongs to the person it was asked for: a tag finds and
deletes all of theirs. Bounded in size, the oldest replies go first; safe for several processes (SQLite).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pydantic import Field

from retrieval.types import Frozen
from xdrec_agent.llm.disk_cache import disk_errors, open_disk_cache

_NOTES: Final = "notes "


class Origin(Frozen):
    """What a request was made from and for. `user` is None for nobody in particular."""

    template: str = ""
    """Fingerprint of the template."""
    user: str | None = Field(default=None, repr=False)


class ResponseCache:
    """An open cache; a context manager.

    Args:
        folder: where it lies; made at first use.
        size: bytes that it may take.
        only: whether nothing but the cache may answer.

    Every method raises BackendError if the folder cannot be read or written.
    """

    def __init__(self, folder: Path, size: int, *, only: bool = False) -> None:
        self.folder = folder
        self.only = only
        with _translated(folder):
            self._cache = open_disk_cache(folder, size, tagged=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cache.close()

    def get(self, key: str) -> bytes | None:
        """The reply kept under `key`."""
        with _translated(self.folder):
            found: bytes | None = self._cache.get(key)
        return found

    def put(self, key: str, reply: bytes, user: str | None) -> None:
        """Keep a reply, in place of an older one under the same key."""
        with _translated(self.folder):
            self._cache.set(key, reply, tag=_tag(user))

    def notes(self, model: str) -> bytes | None:
        """What was last learnt about the endpoint that served `model`."""
        return self.get(_NOTES + model)

    def put_notes(self, model: str, notes: bytes) -> None:
        """Keep what was learnt, for replays."""
        if self.notes(model) != notes:
            self.put(_NOTES + model, notes, None)

    def of_user(self, user: str) -> Iterator[tuple[str, bytes]]:
        """Keys and replies that were asked for a person."""
        with _translated(self.folder):
            for key in self._cache.iterkeys():
                reply, tag = self._cache.get(key, tag=True)
                if tag == _tag(user) and reply is not None:
                    yield key, reply

    def delete_user(self, user: str) -> int:
        """Delete what was asked for a person; how many replies went."""
        with _translated(self.folder):
            return int(self._cache.evict(_tag(user)))

    def clear(self) -> int:
        """Delete everything; how many replies went."""
        with _translated(self.folder):
            return int(self._cache.clear())

    def __bool__(self) -> bool:
        """An empty cache is one, too: `if cache` asks whether there is any."""
        return True

    def __len__(self) -> int:
        with _translated(self.folder):
            return len(self._cache)

    @property
    def bytes(self) -> int:
        """Bytes on disk."""
        with _translated(self.folder):
            return int(self._cache.volume())


def key_of(model: str, origin: Origin, path: str, body: Mapping[str, Any]) -> str:
    """Where the reply to a request is kept."""
    text = json.dumps([model, origin.template, path, body], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _tag(user: str | None) -> str | None:
    return None if user is None else f"user {user}"


def _translated(folder: Path) -> AbstractContextManager[None]:
    return disk_errors("response cache", folder, "xdrec llm cache --clear, or set llm.cache = off")
