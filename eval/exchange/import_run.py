"""A run of another system. Reads an export and the rankings that answer it, produces a run folder like ours.

The metrics are made here, from the rankings, by what makes those of our own runs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from eval.data import Dataset, OutOfFold, Say
from eval.exchange.export import ExchangeCase, exchange_cases
from eval.exchange.files import EXPORT, RANKINGS, SYSTEM, Export, SystemInfo, case_id, read_json
from eval.exchange.rankings import RankedRows, read_rankings
from eval.runs import (
    CaseResult,
    Manifest,
    Protocol,
    RunFolder,
    Summary,
    measure_case,
    reference_metrics,
    rerank_metrics,
)
from eval.stats import tied_ranks
from retrieval.errors import DataError


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
    if Protocol.of_record(found.task, found.protocol).record != found.protocol:
        raise DataError(f"{path} has another protocol: {found.protocol}", hint="xdrec-eval export makes a new one")
    return found


def import_run(out: Path, name: str, export: Path, rankings: Path, data: Dataset, say: Say) -> Summary:
    """Check all rankings, then measure them into a new run folder.

    Args:
        export: the folder of the export that was answered.
        rankings: the folder of the answers.

    Raises:
        DataError: see `read_export` and `eval.exchange.rankings.read_rankings`; then nothing is written.
        UsageError: the folder holds another run, or something else.
    """
    found = read_export(export, data.digest)
    system = read_json(SystemInfo, rankings / SYSTEM) if (rankings / SYSTEM).exists() else SystemInfo()
    protocol = Protocol.of_record(found.task, found.protocol)
    plan = protocol.plan(data, say)
    asked = {case_id(question.case): question for question in exchange_cases(plan, protocol)}
    say(f"reading the rankings of {len(asked):,} cases")
    answers = read_rankings(rankings, data, asked)
    manifest = Manifest(
        name=name,
        task=found.task,
        protocol=found.protocol,
        data=found.data,
        settings=system.settings | {"rankings": _hash(rankings)},
        versions=system.versions,
        catalogue=data.catalogue,
    )
    folder = RunFolder.create(out, manifest)
    done = {result.key for result in folder.results()}
    for case, question in asked.items():
        if (question.case.user, question.case.source, question.case.target) not in done:
            folder.append(_result(data, plan.others, question, answers[case]))
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


def _hash(folder: Path) -> str:
    """SHA-256 (hex) of all ranking files: other rankings are another run."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob(RANKINGS)):
        digest.update(path.read_bytes())
    return digest.hexdigest()
