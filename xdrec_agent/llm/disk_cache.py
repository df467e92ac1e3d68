"""Small facts on disk, for several processes. Reads a folder, produces a bounded cache that never unpickles."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from retrieval.errors import BackendError

if TYPE_CHECKING:
    import diskcache

_PICKLED: Final = 4
"""diskcache's mode of a pickled value (`diskcache.core.MODE_PICKLE`)."""


@cache
def _plain_disk() -> type[diskcache.Disk]:
    """diskcache's disk for text keys, and numbers, text or bytes only."""
    import diskcache

    class PlainDisk(diskcache.Disk):  # type: ignore[misc] # diskcache has no types
        def get(self, key: object, raw: bool) -> object:
            return super().get(key, _plain(raw))

        def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> object:
            _plain(mode != _PICKLED)
            return super().fetch(mode, filename, value, read)

    return PlainDisk


def _plain(is_plain: bool) -> bool:
    if not is_plain:
        raise BackendError("it holds what XDRec never wrote")
    return is_plain


def open_disk_cache(folder: Path, size: int, *, tagged: bool = False) -> diskcache.Cache:
    """The cache in a folder, made at first use, of at most `size` bytes; call it within `disk_errors`.

    Args:
        tagged: whether entries are found by their tag.
    """
    import diskcache

    return diskcache.Cache(str(folder), disk=_plain_disk(), size_limit=size, tag_index=tagged)


@contextmanager
def disk_errors(what: str, folder: Path, hint: str) -> Iterator[None]:
    """Raises BackendError where the folder cannot be read or written, or holds what was not written here."""
    import diskcache

    try:
        yield
    except (OSError, sqlite3.Error, diskcache.Timeout, BackendError) as exc:
        raise BackendError(f"the {what} {folder} failed: {exc}", hint=hint) from exc
