"""Interaction filter. Reads which interactions to keep, produces the reason to leave one out.

Users are sampled in one pass over the interactions before the real one. They are known by 64-bit hashes, which a
temporary SQLite database counts: memory holds 8 bytes for each user who is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import UsageError
from retrieval.formats import LeftOut, Table, TitledInteraction, scratch_database, scratch_errors
from retrieval.tabular import RefusedRow, RowProblem
from retrieval.types import Interaction

SkipReason = Callable[[Interaction | TitledInteraction], str | None]
"""Why an interaction is left out; None if it is kept."""

# Evaluation splits users by hash too: another hash, so that a sample is not one of its folds.
_SALT: Final = b"xdrec-sample"
TOO_OLD: Final = "before the given date"
NO_TIME: Final = "without a time, while a date was given"
NOT_SAMPLED: Final = "of users who are not in the sample or have too few interactions"


@dataclass(frozen=True)
class InteractionFilter:
    """Which interactions of a data set are kept; items are always kept.

    Attributes:
        since: Unix seconds; older interactions, and those without a time, are left out. None: all are kept.
        sample: how many users are kept with all their interactions, the same ones every time. None: all.
        min_interactions: users with fewer (refused and too old ones do not count) are left out.
    """

    since: int | None = None
    sample: int | None = None
    min_interactions: int = 1

    def __post_init__(self) -> None:
        if (self.sample is not None and self.sample < 1) or self.min_interactions < 1:
            raise UsageError("a sample or a least number of interactions below 1", hint="for example --sample 1000")

    @property
    def samples_users(self) -> bool:
        """Whether users have to be counted in a pass of its own, before anything is written."""
        return self.sample is not None or self.min_interactions > 1

    def fitted(self, tables: Sequence[Table]) -> SkipReason:
        """The filter for the interactions of these tables; reads them once if it has to sample users."""
        if not self.samples_users:
            return lambda record: self._time_reason(record.timestamp)
        names = (user for table in tables if table.kind == "interactions" for user in self._users(table))
        users = sample_users(names, sample=self.sample, min_count=self.min_interactions)
        return lambda record: self._time_reason(record.timestamp) or (None if record.user in users else NOT_SAMPLED)

    def _users(self, table: Table) -> Iterator[str]:
        for row in table.rows():
            if isinstance(row, RowProblem):
                continue
            try:
                record = table.parse(row[1])
            except (RefusedRow, LeftOut):
                continue
            if isinstance(record, Interaction) and self._time_reason(record.timestamp) is None:
                yield record.user

    def _time_reason(self, timestamp: int | None) -> str | None:
        """Why an interaction of that time is left out; None if it is kept."""
        if self.since is None:
            return None
        if timestamp is None:
            return NO_TIME
        return TOO_OLD if timestamp < self.since else None


class UserSample:
    """The users that are kept: those with enough interactions, and of these a sample by hash.

    Whether a user is in the sample depends on nothing but the user: a larger sample contains a smaller one, and the
    samples of two domains hold the same users where both know them and keep as many.
    """

    def __init__(self, hashes: NDArray[np.int64]) -> None:
        self._hashes = hashes  # ascending

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, user: object) -> bool:
        hash_ = np.int64(user_hash(str(user)))
        position = int(np.searchsorted(self._hashes, hash_))
        return position < len(self._hashes) and bool(self._hashes[position] == hash_)


def user_hash(user: str) -> int:
    """A signed 64-bit number that depends on the user alone."""
    digest = hashlib.blake2b(user.encode(), digest_size=8, person=_SALT).digest()
    return int.from_bytes(digest, "big") - (1 << 63)


def sample_users(users: Iterable[str], *, sample: int | None, min_count: int) -> UserSample:
    """Keep users who occur `min_count` times or more, of these the `sample` ones with the lowest hashes (None: all).

    Raises:
        StoreError: the folder for temporary files is full.
    """
    query = "SELECT hash FROM users GROUP BY hash HAVING count(*) >= ? ORDER BY hash LIMIT ?"
    with scratch_database("CREATE TABLE users (hash INTEGER NOT NULL)") as database, scratch_errors():
        database.executemany("INSERT INTO users VALUES (?)", ((user_hash(user),) for user in users))
        kept = database.execute(query, (min_count, -1 if sample is None else sample))
        return UserSample(np.fromiter((hash_ for (hash_,) in kept), dtype=np.int64))
