"""User sampling. Reads the users of all interactions, produces a sample of those with enough of them.

One pass over the interactions before the real one. Users are known by 64-bit hashes. These go to temporary files by
their leading byte, so that counting takes memory for one 256th of the interactions, and 8 bytes for each user kept.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import StoreError

_PARTS: Final = 256
_HELD: Final = 1 << 20  # hashes in memory before they go to the files
# Evaluation splits users by hash too: another hash, so that a sample is not one of its folds.
_SALT: Final = b"xdrec-sample"


class UserSample:
    """The users that are kept: those with enough interactions, and of these a sample by hash.

    Whether somebody is in the sample depends on nothing but who they are: a larger sample contains a smaller one, and
    the samples of two domains hold the same users where both know them and keep as many.
    """

    def __init__(self, kept: NDArray[np.uint64]) -> None:
        self._kept = kept

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, user: object) -> bool:
        hash_ = np.uint64(user_hash(str(user)))
        position = int(np.searchsorted(self._kept, hash_))
        return position < len(self._kept) and bool(self._kept[position] == hash_)


def user_hash(user: str) -> int:
    """64 bits that depend on the user alone."""
    return int.from_bytes(hashlib.blake2b(user.encode(), digest_size=8, person=_SALT).digest(), "big")


def sample_users(users: Iterable[str], *, sample: int | None, min_count: int) -> UserSample:
    """Keep users who occur `min_count` times or more, of these the `sample` ones with the lowest hashes (None: all).

    Raises:
        StoreError: the folder for temporary files is full.
    """
    try:
        return UserSample(_counted(users, sample, min_count))
    except OSError as exc:
        msg = f"users cannot be counted: {exc.strerror or exc}"
        raise StoreError(msg, hint="make room in the folder for temporary files (TMPDIR)") from exc


def _counted(users: Iterable[str], sample: int | None, min_count: int) -> NDArray[np.uint64]:
    with ExitStack() as stack:
        files: list[BinaryIO] = []
        kept: list[NDArray[np.uint64]] = []
        for hashes in _hashes(users):
            if len(hashes) < _HELD and not files:
                return _frequent(hashes, min_count)[:sample]
            files = files or _open_files(stack)
            _write(files, hashes)
        for file in files:
            file.seek(0)
            kept.append(_frequent(np.frombuffer(file.read(), dtype=np.uint64), min_count))
            if sample is not None and sum(map(len, kept)) >= sample:
                break
    return np.concatenate(kept)[:sample]


def _hashes(users: Iterable[str]) -> Iterator[NDArray[np.uint64]]:
    """Hashes by the `_HELD`; the last ones may be fewer, and there is always a last."""
    left = iter(users)
    while True:
        held = np.fromiter((user_hash(user) for user in islice(left, _HELD)), dtype=np.uint64)
        yield held
        if len(held) < _HELD:
            return


def _frequent(hashes: NDArray[np.uint64], min_count: int) -> NDArray[np.uint64]:
    unique, counts = np.unique(hashes, return_counts=True)
    return unique[counts >= min_count]


def _open_files(stack: ExitStack) -> list[BinaryIO]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xdrec-users-")))
    return [stack.enter_context((folder / f"{part}").open("w+b")) for part in range(_PARTS)]


def _write(files: Sequence[BinaryIO], hashes: NDArray[np.uint64]) -> None:
    ordered = np.sort(hashes)
    ends = np.searchsorted(ordered >> np.uint64(56), np.arange(_PARTS, dtype=np.uint64), side="right")
    for file, part in zip(files, np.split(ordered, ends[:-1]), strict=True):
        file.write(part.tobytes())
