"""Other systems' rankings. Reads their files and what was asked, produces scores or an error that says what is off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.data import Dataset
from eval.exchange.export import ExchangeCase
from eval.exchange.files import RANKINGS, SystemRanking
from eval.runs import parse_json
from retrieval.errors import DataError

HINT: Final = "see docs/explanation/baselines.md, Rankings"


@dataclass(frozen=True)
class RankedRows:
    """An answer.

    Attributes:
        rows: of the ranked items in the target's snapshot.
        levels: one for each row, at least 1, higher is better, equal for ties. What was not ranked has level 0.
        seconds: that the answer took.
    """

    rows: NDArray[np.int64]
    levels: NDArray[np.float32]
    seconds: float

    def scores(self, items: int) -> NDArray[np.float32]:
        """For all rows of the snapshot, shape (items,); what was not ranked is tied in the last place."""
        scores = np.zeros(items, dtype=np.float32)
        scores[self.rows] = self.levels
        return scores


def read_rankings(folder: Path, data: Dataset, asked: Mapping[str, ExchangeCase]) -> dict[str, RankedRows]:
    """The answers in all `rankings.jsonl` in or below a folder, by case.

    Args:
        asked: by case what has to be answered.

    Raises:
        DataError: there is no such file, or a line is no answer to what was asked: an unknown case or item, one that is
            there twice, scores that rise or are none, a candidate left out; or a case has no answer.
    """
    found: dict[str, RankedRows] = {}
    for where, answer in _answers(folder):
        question = asked.get(answer.case)
        if question is None:
            raise DataError(f"{where}: the case {answer.case} was not asked", hint="is it of another export?")
        if answer.case in found:
            raise DataError(f"{where}: the case {answer.case} is there twice", hint=HINT)
        found[answer.case] = _ranked(where, answer, question, data)
    missing = sorted(asked.keys() - found.keys())
    if missing:
        raise DataError(
            f"{folder} has no answer to {len(missing):,} of {len(asked):,} cases, the first is {missing[0]}",
            hint="every case needs a line; without an opinion its items are []",
        )
    return found


def _answers(folder: Path) -> Iterator[tuple[str, SystemRanking]]:
    """Every answer and where it stands, file by file."""
    files = sorted(folder.rglob(RANKINGS))
    if not files:
        raise DataError(f"there is no {RANKINGS} in or below {folder}", hint=HINT)
    for path in files:
        try:
            with path.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    where = f"{path}, line {number}"
                    yield where, parse_json(SystemRanking, line, where, HINT)
        except (OSError, UnicodeDecodeError) as exc:
            raise DataError(f"{path} cannot be read: {exc}", hint=HINT) from exc


def _ranked(where: str, answer: SystemRanking, question: ExchangeCase, data: Dataset) -> RankedRows:
    target = question.case.target
    positions = data.index.snapshot(target).positions
    unknown = [item for item in answer.items if item not in positions]
    if unknown:
        raise DataError(f"{where}: {unknown[0]} is no item of {target} ({len(unknown):,} are not)", hint=HINT)
    (item, times), *_ = Counter(answer.items).most_common(1) or [("", 0)]
    if times > 1:
        raise DataError(f"{where}: {item} is there {times} times", hint=HINT)
    if question.task is not None and set(answer.items) != set(question.task.ranking.ids):
        raise DataError(f"{where}: the ranking is not one of the case's candidates, all of them", hint=HINT)
    rows = np.array([positions[item] for item in answer.items], dtype=np.int64)
    return RankedRows(rows, _levels(where, answer), answer.seconds)


def _levels(where: str, answer: SystemRanking) -> NDArray[np.float32]:
    """Whole numbers in the order of the scores: float32 would tie what is only nearly equal."""
    if answer.scores is None:
        return np.arange(len(answer.items), 0, -1, dtype=np.float32)
    scores = np.array(answer.scores, dtype=np.float64)
    if len(scores) != len(answer.items):
        raise DataError(f"{where}: {len(answer.items)} items have {len(scores)} scores", hint=HINT)
    if not np.isfinite(scores).all():
        raise DataError(f"{where}: a score is no finite number", hint=HINT)
    if (np.diff(scores) > 0).any():
        raise DataError(f"{where}: the scores rise from one item to the next", hint="the best item comes first")
    return np.asarray(np.unique(scores, return_inverse=True)[1] + 1, dtype=np.float32)
