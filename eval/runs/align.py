"""Runs over the same cases. Reads run folders, produces their results case by case, or says why they do not fit."""

from __future__ import annotations

from collections.abc import Sequence

from eval.runs.folder import CaseResult, RunFolder
from retrieval.errors import UsageError


def align_runs(folders: Sequence[RunFolder]) -> list[list[CaseResult]]:
    """The cases of each run, in one order for all.

    Raises:
        UsageError: fewer than two runs, runs of other data or another protocol, two of one name, or other cases.
        DataError: a run cannot be read, or a score is no number.
    """
    if len(folders) < 2:
        raise UsageError("a comparison needs two runs", hint="xdrec-eval run makes another one over the same users")
    _same(folders)
    found = [folder.results() for folder in folders]
    _same_cases(folders, found)
    return found


def shared_metrics(found: Sequence[Sequence[CaseResult]], asked: Sequence[str]) -> list[str]:
    """The metrics asked for; none asked: all that the runs have in the same cases.

    Raises:
        UsageError: one that is asked for is not shared, or none is.
    """
    names = dict.fromkeys(name for result in found[0] for name in result.metrics)
    have = {name: [{r.key for r in results if name in r.metrics} for results in found] for name in names}
    shared = [name for name, keys in have.items() if all(k == keys[0] for k in keys)]
    unknown = [metric for metric in asked if metric not in shared]
    if unknown:
        raise UsageError(f"no metric {', '.join(unknown)} in all runs", hint=f"they share: {', '.join(shared)}")
    if not shared:
        raise UsageError("the runs share no metric", hint="make them by the same --task, or see docs/reference/runs.md")
    return list(asked) or shared


def _same(folders: Sequence[RunFolder]) -> None:
    first = folders[0].manifest
    for folder in folders[1:]:
        if folder.manifest.comparable != first.comparable:
            hint = "run both arms with the same --data, --users, --seed and --candidates"
            raise UsageError(f"{folder.path} is of other data or another protocol than {folders[0].path}", hint=hint)
    names = [folder.manifest.name for folder in folders]
    if len(set(names)) < len(names):
        raise UsageError(f"two runs are called {max(names, key=names.count)}", hint="give runs names by --name")


def _same_cases(folders: Sequence[RunFolder], found: Sequence[Sequence[CaseResult]]) -> None:
    for folder, results in zip(folders, found, strict=True):
        if not results:
            raise UsageError(f"{folder.path} has no finished case", hint="xdrec-eval run goes on with it")
        other = {r.key for r in results} ^ {r.key for r in found[0]}
        if other:
            said = f"{folder.path} and {folders[0].path} differ in {len(other)} cases, first {' '.join(min(other))}"
            raise UsageError(said, hint="let both runs finish, with the same --users and --seed")
