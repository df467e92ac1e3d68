"""Which interactions are wanted. Reads what the command line asks for, produces the reason to leave one out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from retrieval.errors import UsageError
from retrieval.formats import LeftOut, Mention, Table
from retrieval.ingest.user_sampling import People, choose
from retrieval.tabular import RefusedRow
from retrieval.tabular.lines import RowProblem
from retrieval.types import Interaction

TOO_OLD: Final = "before the given date"
NO_TIME: Final = "without a time, while a date was given"
NOT_CHOSEN: Final = "of users who are not in the sample or have too few interactions"


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a data set; items are always wanted.

    Attributes:
        since: Unix seconds; older interactions, and those without a time, are left out. None: all.
        sample: how many users, with all their interactions, the same ones every time. None: all.
        min_interactions: users with fewer (refused and too old ones do not count) are left out.
    """

    since: int | None = None
    sample: int | None = None
    min_interactions: int = 1

    def __post_init__(self) -> None:
        if (self.sample is not None and self.sample < 1) or self.min_interactions < 1:
            raise UsageError("a sample or a least number of interactions below 1", hint="for example --sample 1000")

    @property
    def chooses_people(self) -> bool:
        """Whether users have to be counted in a pass of its own, before anything is written."""
        return self.sample is not None or self.min_interactions > 1

    def sieve(self, tables: Sequence[Table]) -> Sieve:
        """What lets through the wanted interactions of these tables; reads them once if it has to choose people."""
        if not self.chooses_people:
            return Sieve(self, None)
        users = (user for table in tables if table.kind == "interactions" for user in self._users(table))
        return Sieve(self, choose(users, sample=self.sample, least=self.min_interactions))

    def _users(self, table: Table) -> Iterator[str]:
        for row in table.rows():
            if isinstance(row, RowProblem):
                continue
            try:
                record = table.parse(row[1])
            except (RefusedRow, LeftOut):
                continue
            if isinstance(record, Interaction) and self.time_reason(record.timestamp) is None:
                yield record.user

    def time_reason(self, timestamp: int | None) -> str | None:
        """Why something of that time is not wanted; None if it is."""
        if self.since is None:
            return None
        if timestamp is None:
            return NO_TIME
        return TOO_OLD if timestamp < self.since else None


class Sieve:
    """Tells wanted interactions from others. `people` are the chosen users, None: all."""

    def __init__(self, wanted: Wanted, people: People | None) -> None:
        self._wanted = wanted
        self._people = people
        self._last: tuple[str, bool] = ("", False)  # data sets are usually sorted by user

    def reason(self, record: Interaction | Mention) -> str | None:
        """Why it is left out; None if it is wanted."""
        if (reason := self._wanted.time_reason(record.timestamp)) is not None:
            return reason
        if self._people is None:
            return None
        if self._last[0] != record.user:
            self._last = (record.user, record.user in self._people)
        return None if self._last[1] else NOT_CHOSEN
