"""The preference data set. Reads a store, produces items as texts, and the rows that each user liked.

Users are split into those for training and those for validation; the users of evaluation's test fold are in neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import UnreadableFile, UsageError
from retrieval.folds import fold
from retrieval.settings import Section
from retrieval.store import Store
from retrieval.templates import PromptTemplate

FOLDS: Final = 5
TEST_FOLD: Final = 4
"""Evaluation tests on this fold of so many: it is left out of training unless somebody asks for it."""
_VALIDATION_SEED: Final = 1  # a split of its own, independent of the folds

Rows = NDArray[np.int64]
"""Places in `Preferences.texts`."""
LikedRows = Mapping[int, Rows]
"""Of one user: number of a domain → rows of the items liked there, oldest first."""
MIN_LIKED: Final = 2
"""Least liked items of a user: one in the history and one to find."""


class SplitSettings(Section):
    """Which users a model is trained on.

    `users_file` names a file with a user a line; else all but those of the folds `left_out` (evaluation's five, by
    hash). One of `validation_parts` of them is held out for validation.
    """

    users_file: Path | None = None
    left_out: tuple[int, ...] = (TEST_FOLD,)
    validation_parts: int = 20


@dataclass(frozen=True)
class UserSplit:
    """Users for training and for validation, and in words which users are in neither."""

    training: tuple[str, ...]
    validation: tuple[str, ...]
    left_out: str

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of all their ids: tells whether two splits have the same users, and nothing else of them."""
        return hashlib.sha256("\n".join(sorted((*self.training, *self.validation))).encode()).hexdigest()


def split_users(store: Store, settings: SplitSettings) -> UserSplit:
    """The users of a store that a model is trained and validated on.

    Raises:
        UnreadableFile: the file of users cannot be read.
        UsageError: it names a user whom the store does not know, there is no such fold, or a part is empty.
    """
    if wrong := [number for number in settings.left_out if not 0 <= number < FOLDS]:
        raise UsageError(f"there is no fold {wrong[0]}", hint=f"folds are 0 to {FOLDS - 1}")
    if settings.users_file is None:
        users = [user for user in store.users() if fold(user, FOLDS) not in settings.left_out]
        folds = ", ".join(map(str, settings.left_out))
        left_out = f"users of fold {folds} of {FOLDS}" if settings.left_out else "nobody"
    else:
        users = _named_users(settings.users_file, frozenset(store.users()))
        left_out = f"all users but the {len(users)} of {settings.users_file.name}"
    held_out = {user for user in users if fold(user, settings.validation_parts, _VALIDATION_SEED) == 0}
    training = tuple(user for user in users if user not in held_out)
    if not training or not held_out:
        raise UsageError(
            f"{len(users)} users are left to learn from: {len(training)} for training, {len(held_out)} for validation",
            hint="ingest more interactions, or leave fewer folds out",
        )
    return UserSplit(training, tuple(sorted(held_out)), left_out)


def _named_users(path: Path, known: Collection[str]) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise UnreadableFile(f"{path} cannot be read: {exc}", hint="a text file with a user id a line") from exc
    users = sorted({line.strip() for line in lines if line.strip()})
    if unknown := [user for user in users if user not in known]:
        raise UsageError(
            f"{path.name} names {len(unknown)} users that the store does not know", hint="xdrec users list"
        )
    return users


@dataclass(frozen=True)
class Preferences:
    """Catalogues, and who liked which items.

    Attributes:
        domains: their names.
        texts: of all items, as the encoder reads them.
        domain: number of each item's domain, shape (items,).
        training, validation: the liked rows of each user of either part.
    """

    domains: tuple[str, ...]
    texts: tuple[str, ...]
    domain: NDArray[np.int64]
    training: tuple[LikedRows, ...]
    validation: tuple[LikedRows, ...]


def read_preferences(
    store: Store, template: PromptTemplate, domains: Sequence[str], training: Iterable[str], validation: Iterable[str]
) -> Preferences:
    """The items of some domains, and which of them the named users liked.

    Raises:
        UsageError: no user of a part liked enough.
    """
    texts: list[str] = []
    numbers: list[int] = []
    rows: dict[tuple[str, str], int] = {}
    for number, domain in enumerate(domains):
        for item in store.iter_items(domain):
            rows[domain, item.id] = len(texts)
            texts.append(template.text(item=item))
            numbers.append(number)
    parts = [tuple(_liked_rows(store, users, domains, rows)) for users in (training, validation)]
    if not all(parts):
        raise UsageError(
            f"{len(parts[0])} users to learn from and {len(parts[1])} to validate on liked at least {MIN_LIKED} items",
            hint="ingest more interactions, or learn from texts alone: --text",
        )
    return Preferences(tuple(domains), tuple(texts), np.asarray(numbers, dtype=np.int64), *parts)


def _liked_rows(
    store: Store, users: Iterable[str], domains: Sequence[str], rows: Mapping[tuple[str, str], int]
) -> Iterator[LikedRows]:
    for user in users:
        liked: dict[int, list[int]] = {}
        for entry in store.history(user).entries:
            row = rows.get((entry.item.domain, entry.item.id))
            if entry.liked and row is not None:
                liked.setdefault(domains.index(entry.item.domain), []).append(row)
        if sum(map(len, liked.values())) >= MIN_LIKED:
            yield {number: np.asarray(some, dtype=np.int64) for number, some in liked.items()}
