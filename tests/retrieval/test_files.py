"""Files and folders that are written whole or not at all."""

from __future__ import annotations

from contextlib import suppress

import pytest

from retrieval.errors import BackendError
from retrieval.files import atomic_file, atomic_folder, translated_writes, write_atomic


def test_a_file_is_replaced_whole(tmp_path):
    """Missing folders are made, text stays as it is, and nothing lies beside the file."""
    path = tmp_path / "a" / "b.txt"
    for content in ("one\r\ntwo\n", "é", b"\x00\xff"):
        write_atomic(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_a_private_file_is_the_owners_alone(tmp_path):
    """It is never readable by others, whatever the mode of the file that it replaces."""
    path = tmp_path / "key"
    path.write_text("old")
    write_atomic(path, "new", private=True, concurrent=True)
    assert (path.stat().st_mode & 0o777, path.read_text()) == (0o600, "new")


def test_an_error_leaves_the_old_file(tmp_path):
    """What was there stays, and the unfinished part goes."""
    path = tmp_path / "file"
    path.write_text("old")
    with suppress(KeyboardInterrupt), atomic_file(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("file", "old")]


def test_a_folder_is_replaced_whole(tmp_path):
    """What a killed process left is cleared first; of the old folder nothing stays; an error leaves it."""
    path, left = tmp_path / "model", tmp_path / ".partial-model"
    for folder in (path, left):
        folder.mkdir()
        (folder / "old").write_text("old")
    with suppress(KeyboardInterrupt), atomic_folder(path) as partial:
        assert not list(partial.iterdir())
        raise KeyboardInterrupt
    assert [p.name for p in path.iterdir()] == ["old"]
    with atomic_folder(path) as partial:
        (partial / "new").write_text("new")
    assert [p.name for p in path.iterdir()] == ["new"]
    assert not left.exists()


def test_a_disk_that_refuses_is_an_error_with_a_hint(tmp_path):
    """The message names the file, the hint is the caller's; nothing half-written stays."""
    (tmp_path / "file").write_text("where a folder is needed")
    path = tmp_path / "file" / "below"
    with pytest.raises(BackendError, match="below cannot be written") as refused, translated_writes(path, "make room"):
        write_atomic(path, "x")
    assert refused.value.hint == "make room"
