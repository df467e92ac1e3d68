"""Small facts on disk, for several processes. Reads a folder, produces a bounded cache that never unpickles."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import diskcache

from retrieval.errors import BackendError

_PICKLED: Final = 4
"""diskcache's mode of a pickled value (`diskcache.core.MODE_PICKLE`)."""


class _PlainDisk(diskcache.Disk):  # type: ignore[misc] # diskcache has no types
    """Text keys, and numbers, text or bytes only."""

    def get(self, key: object, raw: bool) -> object:
        return super().get(key, _plain(raw))

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> object:
        _plain(mode != _PICKLED)
        return super().fetch(mode, filename, value, read)


def _plain(is_plain: bool) -> bool:
    if not is_plain:
        raise BackendError("it holds what XDRec never wrote")
    return is_plain


def open_disk_cache(folder: Path, size: int, *, tagged: bool = False) -> diskcache.Cache:
    """The cache in a folder, made at first use, of at most `size` bytes; call it within `disk_errors`.

    Args:
        tagged: whether entries are found by their tag.
    """
    return diskcache.Cache(str(folder), disk=_PlainDisk, size_limit=size, tag_index=tagged)


@contextmanager
def disk_errors(what: str, folder: Path, hint: str) -> Iterator[None]:
    """Raises BackendError where the folder cannot be read or written, or holds what was not written here."""
    try:
        yield
    except (OSError, sqlite3.Error, diskcache.Timeout, BackendError) as exc:
        raise BackendError(f"the {what} {folder} failed: {exc}", hint=hint) from exc
