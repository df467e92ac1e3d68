"""What a run is asked for. Reads options and manifests, produces checked requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar, get_args

from eval.data import (
    CandidateKind,
    CasePlan,
    Dataset,
    RerankTask,
    Say,
    ShownHistory,
    SplitName,
    plan_cases,
    rerank_tasks,
)
from eval.runs.folder import TaskName
from eval.systems import BASELINES
from retrieval.errors import DataError, UsageError

RETRIEVER: Final = "retriever"

T = TypeVar("T")


@dataclass(frozen=True)
class Protocol:
    """What must be equal for two runs to be compared; made by `of_options` or `of_record`.

    Attributes:
        candidates: of the task "rerank" alone.
        users: so many by hash who have a case.
        seed: of users and candidates.
    """

    task: TaskName
    split: SplitName
    candidates: CandidateKind
    users: int
    seed: int

    @classmethod
    def of_options(cls, task: str, split: str, candidates: str, users: int, seed: int) -> Protocol:
        """The protocol that a command line names. Raises UsageError where task, split or candidates are unknown."""
        return cls(
            known_option("--task", task, get_args(TaskName)),
            known_option("--split", split, get_args(SplitName)),
            known_option("--candidates", candidates, get_args(CandidateKind)),
            users,
            seed,
        )

    @classmethod
    def of_record(cls, task: TaskName, record: Mapping[str, str | int]) -> Protocol:
        """The protocol of a manifest or an export.

        Raises:
            DataError: users or seed are missing.
            UsageError: split or candidates are unknown.
        """
        try:
            users, seed = int(record["users"]), int(record["seed"])
        except (KeyError, ValueError) as exc:
            raise DataError(f"the protocol lacks {exc}", hint="xdrec-eval makes a new one") from exc
        candidates = str(record.get("candidates", "count-matched"))
        return cls.of_options(task, str(record.get("split", "")).replace(" ", "-"), candidates, users, seed)

    @property
    def record(self) -> dict[str, str | int]:
        """As it stands in a manifest."""
        common: dict[str, str | int] = {"split": self.split.replace("-", " "), "users": self.users, "seed": self.seed}
        return common | ({"candidates": self.candidates} if self.task == "rerank" else {})

    def plan(self, data: Dataset, say: Say) -> CasePlan:
        """Its cases, and what may be learnt for them. Raises as `plan_cases`."""
        return plan_cases(data, self.split, self.seed, say)

    def tasks(self, plan: CasePlan, shown: ShownHistory = "own") -> list[RerankTask]:
        """Its reranking tasks. Raises as `rerank_tasks`."""
        return rerank_tasks(plan, self.users, self.candidates, shown)


@dataclass(frozen=True)
class RunRequest:
    """What `xdrec-eval run` was asked for.

    Attributes:
        system: of the task "catalogue": the retriever or a baseline.
        repeats: of the task "rerank": seeds of shuffles to average over.
        history: what the system is shown of one (`eval.data.history_ablation`).

    Raises:
        UsageError: there is no such system.
    """

    out: Path
    name: str
    protocol: Protocol
    system: str = RETRIEVER
    repeats: int = 1
    history: ShownHistory = "own"

    def __post_init__(self) -> None:
        known_option("--system", self.system, (RETRIEVER, *BASELINES))


def known_option(option: str, given: str, known: Sequence[T]) -> T:
    """The one of the known values that is given. Raises UsageError where it is none of them."""
    for value in known:
        if value == given:
            return value
    raise UsageError(f"{option} {given!r} is not known", hint=f"one of: {', '.join(map(str, known))}")
