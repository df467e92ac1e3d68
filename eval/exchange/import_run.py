"""A run of another system. Reads an export and the rankings that answer it, produces a run folder like ours.

The metrics are made here, from the rankings, by what makes those of our own runs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.data import Dataset, OutOfFold, Say
from eval.exchange.export import ExchangeCase, exchange_plan
from eval.exchange.files import EXPORT, RANKINGS, SYSTEM, Export, SystemInfo, case_id, read_json
from eval.exchange.rankings import RankedRows, read_rankings
from eval.runs import (
    CaseResult,
    Manifest,
    RunFolder,
    RunRequest,
    Summary,
    measure_case,
    reference_metrics,
    rerank_metrics,
)
from eval.stats import tied_ranks
from retrieval.errors import DataError


@dataclass(frozen=True)
class ImportRequest:
    """What is imported: the run's folder and name, the export that was answered, and the folder of the answers."""

    out: Path
    name: str
    export: Path
    folder: Path


def read_export(path: Path, digest: str) -> Export:
    """What the export in this folder is of.

    Args:
        digest: of the data, see `eval.data.sources.data_hash`.

    Raises:
        DataError: it is no whole export, or one of other data or of another version.
    """
    found = read_json(Export, path / EXPORT)
    if found.data != digest:
        raise DataError(f"{path} is an export of other data", hint="xdrec-eval export makes one of this data")
    if _request(found).protocol != found.protocol:
        raise DataError(f"{path} has another protocol: {found.protocol}", hint="xdrec-eval export makes a new one")
    return found


def import_run(given: ImportRequest, data: Dataset, digest: str, say: Say) -> Summary:
    """Check all rankings, then measure them into a new run folder.

    Raises:
        DataError: see `read_export` and `eval.exchange.rankings.read_rankings`; then nothing is written.
        UsageError: the folder holds another run, or something else.
    """
    export = read_export(given.export, digest)
    system = read_json(SystemInfo, given.folder / SYSTEM) if (given.folder / SYSTEM).exists() else SystemInfo()
    sheet = exchange_plan(data, _request(export), say)
    asked = {case_id(question.case): question for question in sheet.questions}
    say(f"reading the rankings of {len(asked):,} cases")
    answers = read_rankings(given.folder, data, asked)
    manifest = Manifest(
        name=given.name,
        task=export.task,
        protocol=export.protocol,
        data=export.data,
        settings=system.settings | {"rankings": _hash(given.folder)},
        versions=system.versions,
        catalogue=data.catalogue,
    )
    folder = RunFolder.create(given.out, manifest)
    done = {result.key for result in folder.results()}
    for case, question in asked.items():
        if (question.case.user, question.case.source, question.case.target) not in done:
            folder.append(_result(data, sheet.others, question, answers[case]))
    return folder.finish()


def _result(data: Dataset, others: OutOfFold, question: ExchangeCase, answer: RankedRows) -> CaseResult:
    case, task = question.case, question.task
    snapshot = data.index.snapshot(case.target)
    scores = answer.scores(len(snapshot.positions))
    if task is None:
        found = measure_case(data, case, others.touched(case), lambda _: scores)
        return found.model_copy(update={"ranking": found.ranking[: len(answer.rows)], "seconds": answer.seconds})
    at = tied_ranks(scores[snapshot.rows(task.ranking.ids)], np.array([task.truth]))
    return CaseResult(
        user=case.user,
        source=case.source,
        target=case.target,
        slices=task.slices,
        ranking=tuple(snapshot.ids(answer.rows)),
        metrics=rerank_metrics(at),
        references=reference_metrics(task),
        seconds=answer.seconds,
    )


def _request(export: Export) -> RunRequest:
    """Our own run's request that has the same cases."""
    protocol = export.protocol
    try:
        users, seed = int(protocol["users"]), int(protocol["seed"])
    except (KeyError, ValueError) as exc:
        raise DataError(f"the export's protocol lacks {exc}", hint="xdrec-eval export makes a new one") from exc
    kind = str(protocol.get("candidates", "count-matched"))
    split = str(protocol.get("split", "")).replace(" ", "-")
    return RunRequest(Path(), "", export.task, "", kind, users, seed, 1, split)


def _hash(folder: Path) -> str:
    """SHA-256 (hex) of all ranking files: other rankings are another run."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob(RANKINGS)):
        digest.update(path.read_bytes())
    return digest.hexdigest()
