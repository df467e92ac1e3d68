"""Atomic writes. Reads content, produces files and folders that a reader sees whole, old or new, or not at all.

What is written lies beside its place as `.partial-NAME` and moves there in one step. The part that a killed process
left has the same name, so that the next write replaces it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval.errors import BackendError


def write_atomic(path: Path, content: str | bytes, *, private: bool = False, concurrent: bool = False) -> None:
    """Replace a file's content (text as UTF-8, newlines as they are); its folder is made where it is missing.

    Args:
        private: the file is the owner's alone (mode 600).
        concurrent: other processes may write it at the same time; the last one wins.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    with atomic_file(path, concurrent=concurrent) as partial:
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666), "wb") as file:
            file.write(data)


@contextmanager
def atomic_file(path: Path, *, concurrent: bool = False) -> Iterator[Path]:
    """Where to write a file that replaces `path` when the block ends well; else nothing of it is left."""
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}" if concurrent else f".partial-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder that replaces `path` when the block ends well; else nothing of it is left."""
    partial = path.with_name(f".partial-{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        # A folder cannot be replaced in one step while it holds anything.
        shutil.rmtree(path, ignore_errors=True)
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)
        raise


@contextmanager
def translated_writes(path: Path, hint: str) -> Iterator[None]:
    """Raise BackendError with `hint` where the disk refuses to write `path`."""
    try:
        yield
    except OSError as exc:
        raise BackendError(f"{path} cannot be written: {exc.strerror or exc}", hint=hint) from exc
