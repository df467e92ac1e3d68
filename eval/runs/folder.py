"""A run is a folder. Reads and writes `manifest.json`, `cases.jsonl` and, once it is done, `summary.json`.

The format is open: any system's results can be compared that come as such a folder (docs/reference/runs.md). A run
that was stopped goes on where it was: finished cases are in `cases.jsonl`, one line each, and a line that was cut off
is made again.
"""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from eval.stats import coverage
from retrieval.errors import DataError, UsageError
from retrieval.files import write_atomic
from retrieval.types import Frozen
from xdrec_agent.llm import Usage

MANIFEST: Final = "manifest.json"
CASES: Final = "cases.jsonl"
SUMMARY: Final = "summary.json"

_HINT: Final = "see docs/reference/runs.md"

TaskName = Literal["rerank", "catalogue"]
M = TypeVar("M", bound=BaseModel)


class Manifest(Frozen):
    """What a run is a run of.

    Attributes:
        name: what tables and verdicts call it.
        task: "rerank" orders given candidates, "catalogue" the whole target catalogue.
        protocol: users, seed, kind of candidates: what must be equal for two runs to be compared.
        data: hash of the data; runs over different data are not compared.
        settings: what the system was told; free for other people's systems.
        templates: fingerprints by task.
        catalogue: items by target domain; for coverage.
    """

    name: str
    task: TaskName
    protocol: dict[str, str | int]
    data: str
    catalogue: dict[str, int] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    model: str | None = None
    server_version: str | None = None
    templates: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    commit: str | None = None

    @property
    def comparable(self) -> tuple[str, str, str]:
        """Equal for runs that may be compared."""
        return self.task, json.dumps(self.protocol, sort_keys=True), self.data


class CaseResult(Frozen):
    """One case of one user.

    Attributes:
        slices: by the name of a slicing ("history length") the part that the case is in.
        ranking: the first item ids, best first, at most 100.
        metrics: by name, higher is better; never NaN. A metric that does not apply to the case is left out.
        references: the same metrics of rules that know nobody's taste, by name (`eval.stats.reference_scores`).
        seconds: wall time, while other users were being served.
    """

    user: str
    source: str
    target: str
    slices: dict[str, str] = Field(default_factory=dict)
    ranking: tuple[str, ...] = ()
    metrics: dict[str, float]
    references: dict[str, dict[str, float]] = Field(default_factory=dict)
    seconds: float = 0.0
    usage: Usage = Usage()
    degraded: bool = False
    reason: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells the cases of a run apart."""
        return self.user, self.source, self.target


class Summary(Frozen):
    """What a run came to: means of the metrics over users, and what it cost a user.

    `references` are the metrics of rules that know nobody's taste, where every case has them. `coverage` is that of
    `eval.stats.metrics`, of the first ten; None where the manifest does not tell the catalogue's size.
    """

    users: int
    cases: int
    metrics: dict[str, float]
    tokens: float
    cached_tokens: float
    requests: float
    cache_hits: float
    seconds: float
    degraded: float
    references: dict[str, dict[str, float]] = Field(default_factory=dict)
    coverage: float | None = None


class RunFolder:
    """A run on disk; make it by `create` or `open`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(cls, path: Path, manifest: Manifest) -> RunFolder:
        """A new run, or one that was stopped and goes on.

        Raises:
            UsageError: the folder holds another run, or something else.
        """
        if (path / MANIFEST).exists():
            found = cls.open(path)
            if found.manifest != manifest:
                hint = "give --out another folder, or delete this one"
                raise UsageError(f"{path} holds another run ({found.manifest.name})", hint=hint)
            found._mend()
            return found
        if path.is_dir() and any(path.iterdir()):
            raise UsageError(f"{path} is not empty and holds no run", hint="give --out another folder")
        path.mkdir(parents=True, exist_ok=True)
        _write(path / MANIFEST, manifest.model_dump_json(indent=2))
        return cls(path, manifest)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that is there. Raises DataError if it is none."""
        try:
            text = (path / MANIFEST).read_bytes()
        except OSError as exc:
            raise DataError(f"{path} holds no run: {exc.strerror}", hint="xdrec-eval run makes one") from exc
        return cls(path, parse_json(Manifest, text, str(path / MANIFEST), _HINT))

    def append(self, result: CaseResult) -> None:
        """Keep a finished case."""
        with (self.path / CASES).open("a", encoding="utf-8") as file:
            file.write(result.model_dump_json() + "\n")

    def results(self) -> list[CaseResult]:
        """The finished cases, by user, source and target.

        Raises:
            DataError: a line is no case, a metric is not finite, or a case is there twice.
        """
        found = {}
        for number, line in enumerate(self._lines(), 1):
            where = f"{self.path / CASES}, line {number}"
            result = parse_json(CaseResult, line, where, _HINT)
            for name, value in result.metrics.items():
                if not np.isfinite(value):
                    raise DataError(f"{where}: {name} is {value}", hint="a metric must be a number")
            if result.key in found:
                raise DataError(f"{where}: the case {' '.join(result.key)} is there twice", hint=_HINT)
            found[result.key] = result
        return [found[key] for key in sorted(found)]

    def finish(self) -> Summary:
        """Write the summary of what is there."""
        summary = summarise(self.results(), self.manifest.catalogue)
        _write(self.path / SUMMARY, summary.model_dump_json(indent=2))
        return summary

    def _lines(self) -> Iterator[str]:
        try:
            with (self.path / CASES).open(encoding="utf-8") as lines:
                yield from lines
        except FileNotFoundError:
            return

    def _mend(self) -> None:
        """Take away a last line that was cut off."""
        lines = list(self._lines())
        if lines and not lines[-1].endswith("\n"):
            _write(self.path / CASES, "".join(lines[:-1]))


def summarise(results: Sequence[CaseResult], catalogue: Mapping[str, int] = MappingProxyType({})) -> Summary:
    """Means over users, each user the mean over their cases; needs at least one.

    Args:
        catalogue: items by target domain; empty: no coverage.
    """
    if not results:
        raise DataError("the run has no cases", hint="xdrec-eval run goes on with it")
    users = [result.user for result in results]
    # A rule counts where every case has it.
    rules = sorted(set.intersection(*(set(result.references) for result in results)))
    usages = [result.usage for result in results]
    return Summary(
        users=len(set(users)),
        cases=len(results),
        metrics=_metric_means([r.metrics for r in results], users),
        references={rule: _metric_means([r.references[rule] for r in results], users) for rule in rules},
        tokens=_user_mean([u.prompt_tokens + u.completion_tokens for u in usages], users),
        cached_tokens=_user_mean([u.cached_tokens for u in usages], users),
        requests=_user_mean([u.requests for u in usages], users),
        cache_hits=_user_mean([u.cache_hits for u in usages], users),
        seconds=_user_mean([r.seconds for r in results], users),
        degraded=_user_mean([r.degraded for r in results], users),
        coverage=coverage(((r.target, r.ranking) for r in results), catalogue),
    )


def _metric_means(metrics: Sequence[Mapping[str, float]], users: Sequence[str]) -> dict[str, float]:
    names = dict.fromkeys(name for of_case in metrics for name in of_case)
    return {name: _user_mean([of_case.get(name) for of_case in metrics], users) for name in names}


def _user_mean(values: Sequence[float | None], users: Sequence[str]) -> float:
    """Mean over users, each the mean over their cases; cases without a value do not count."""
    by_user: dict[str, list[float]] = defaultdict(list)
    for user, value in zip(users, values, strict=True):
        if value is not None:
            by_user[user].append(value)
    return float(np.mean([np.mean(own) for own in by_user.values()]))


def _write(path: Path, text: str) -> None:
    write_atomic(path, text if text.endswith("\n") or not text else text + "\n")


def parse_json(kind: type[M], text: str | bytes, where: str, hint: str) -> M:
    """JSON as a model. Raises DataError that begins with `where` and names the first field that is wrong."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False)[0]
        problem = f"{'.'.join(map(str, error['loc']))} {error['msg']}".strip()
        raise DataError(f"{where}: {problem}", hint=hint) from exc


def commit() -> str | None:
    """The commit of the working folder's checkout, with + if it was changed; None outside of one."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "status", "--porcelain"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changes else head
