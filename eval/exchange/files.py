"""What is exchanged with other people's systems. Reads and writes the files of an export and of a folder of rankings.

docs/explanation/baselines.md describes both for whoever writes such a system.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, Field

from eval.data import Case
from eval.runs import TaskName, parse_json
from retrieval.errors import DataError
from retrieval.types import Frozen

EXPORT: Final = "export.json"
ITEMS: Final = "items.jsonl"
TRAINING: Final = "training.csv"
CASES: Final = "cases.jsonl"
RANKINGS: Final = "rankings.jsonl"
SYSTEM: Final = "system.json"

M = TypeVar("M", bound=BaseModel)


class Export(Frozen):
    """What an export is an export of; the first three as in a run's manifest.

    Attributes:
        domains: whose items are there.
        cases: how many are asked.
    """

    task: TaskName
    protocol: dict[str, str | int]
    data: str
    domains: tuple[str, ...]
    cases: int


class ExportedInteraction(Frozen):
    """An item of a case's history: how it was liked, in [-1, 1], and when (Unix seconds)."""

    item: str
    preference: float
    timestamp: int | None


class ExportedCase(Frozen):
    """A case as another system gets it.

    Attributes:
        case: see `case_id`.
        history: items of the source domain, oldest first.
        candidates: what is to be ranked; None: the whole target catalogue.
    """

    case: str
    history: tuple[ExportedInteraction, ...]
    candidates: tuple[str, ...] | None = None


class SystemRanking(Frozen):
    """Another system's answer to a case.

    Attributes:
        items: ids of target items, best first.
        scores: of the items, never rising; equal ones are ties. None: no ties.
        seconds: that the answer took.
    """

    case: str
    items: tuple[str, ...]
    scores: tuple[float, ...] | None = None
    seconds: float = Field(default=0.0, ge=0)


class SystemInfo(Frozen):
    """What a system says of itself: what it was told, and the versions of its packages."""

    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)


def case_id(case: Case) -> str:
    """What an export calls a case, 16 hexadecimal digits.

    Nobody can see from it which cases are of one person: in another direction what is the question here is the answer.
    """
    named = f"case {case.user}\n{case.source}\n{case.target}"
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def case_folder(fold: int, case: Case) -> Path:
    """Folder of a case's fold and direction, relative to the export."""
    return Path(f"fold-{fold}", f"{case.source}-to-{case.target}")


def read_json(kind: type[M], path: Path) -> M:
    """A JSON file as one of the types above. Raises DataError."""
    hint = "see docs/explanation/baselines.md"
    try:
        return parse_json(kind, path.read_text(encoding="utf-8"), str(path), hint)
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"{path} cannot be read: {exc}", hint=hint) from exc
