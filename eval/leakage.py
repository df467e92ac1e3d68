"""Leakage guards. Reads a case as the recommender gets it, produces nothing or an error that fails the run."""

from __future__ import annotations

from eval.protocol import Case
from retrieval.errors import DataError


def guard(case: Case) -> None:
    """Make sure that the recommender sees nothing of the target domain and nothing from the cut on.

    Raises:
        DataError: the history holds a target interaction, one at or after the cut, or one without a time.
    """
    for entry in case.history.entries:
        what = f"{case.user}, {case.source} to {case.target}: {entry.item.domain} {entry.item.id}"
        if entry.item.domain == case.target:
            raise DataError(f"leak: {what} is of the target domain", hint="look at the split")
        if entry.timestamp is None or entry.timestamp >= case.cut:
            raise DataError(f"leak: {what} is not known to lie before the cut", hint="look at the split")
