"""Who is learnt from. Reads a store's users, produces those for training and those for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from retrieval.errors import UnreadableFile, UsageError
from retrieval.folds import fold
from retrieval.settings import Section
from retrieval.store import Store

FOLDS: Final = 5
TEST_FOLD: Final = 4
"""Evaluation tests on this fold of so many, so that nothing is learnt from it unless somebody asks for that."""
_VALIDATION_SEED: Final = 1  # a split of its own, independent of the folds


class WhoLearns(Section):
    """Which users are learnt from.

    `users_file` names a file with a user a line; else all but those of the folds `left_out` (evaluation's five, by
    hash). One of `validation_parts` of them is kept for validation.
    """

    users_file: Path | None = None
    left_out: tuple[int, ...] = (TEST_FOLD,)
    validation_parts: int = 20


@dataclass(frozen=True)
class Learners:
    """Users for training and for validation, and in words whom neither holds."""

    training: tuple[str, ...]
    validation: tuple[str, ...]
    left_out: str

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of all their ids: whether others are the same people can be seen from it, and no more."""
        return hashlib.sha256("\n".join(sorted((*self.training, *self.validation))).encode()).hexdigest()


def learners(store: Store, who: WhoLearns) -> Learners:
    """The users of a store that are learnt from.

    Raises:
        UnreadableFile: the file of users cannot be read.
        UsageError: it names a user whom the store does not know, a fold is none, or nobody is left.
    """
    if wrong := [number for number in who.left_out if not 0 <= number < FOLDS]:
        raise UsageError(f"there is no fold {wrong[0]}", hint=f"folds are 0 to {FOLDS - 1}")
    if who.users_file is None:
        chosen = [user for user in store.users() if fold(user, FOLDS) not in who.left_out]
        folds = ", ".join(map(str, who.left_out))
        words = f"users of fold {folds} of {FOLDS}" if who.left_out else "nobody"
    else:
        chosen = _named(who.users_file, frozenset(store.users()))
        words = f"all users but the {len(chosen)} of {who.users_file.name}"
    kept = {user for user in chosen if fold(user, who.validation_parts, _VALIDATION_SEED) == 0}
    training = tuple(user for user in chosen if user not in kept)
    if not training or not kept:
        raise UsageError(
            f"{len(chosen)} users are left to learn from: {len(training)} for training, {len(kept)} for validation",
            hint="ingest more interactions, or leave fewer folds out",
        )
    return Learners(training, tuple(sorted(kept)), words)


def _named(path: Path, known: Collection[str]) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise UnreadableFile(f"{path} cannot be read: {exc}", hint="a text file with a user id a line") from exc
    named = sorted({line.strip() for line in lines if line.strip()})
    if unknown := [user for user in named if user not in known]:
        raise UsageError(
            f"{path.name} names {len(unknown)} users that the store does not know", hint="xdrec users list"
        )
    return named
