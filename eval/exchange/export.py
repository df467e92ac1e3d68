"""What another system needs to take part. Reads prepared data and a run's request, produces a folder of plain files.

    export.json                          what it is an export of; written last
    items.jsonl                          every domain's items, with the text that our encoder reads
    fold-F/training.csv                  all that the users of the other folds did
    fold-F/SOURCE-to-TARGET/cases.jsonl  the questions: histories in the source domain, and no answers

Whoever answers the cases of a fold and direction may learn from that folder's cases, its fold's training and the items.
People have no names in it, so that nobody's target interactions can be looked up in another fold's training.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from eval.data import (
    FOLDS,
    Case,
    Dataset,
    OutOfFold,
    RerankTask,
    Say,
    fold,
)
from eval.exchange.files import (
    CASES,
    EXPORT,
    ITEMS,
    TRAINING,
    Export,
    ExportedCase,
    ExportedInteraction,
    case_folder,
    case_id,
)
from eval.runs import RunRequest, TaskName, plan_cases
from retrieval.errors import UsageError
from retrieval.types import History

COLUMNS: Final = ("person", "domain", "item", "preference", "timestamp")
"""Of a training file."""


@dataclass(frozen=True)
class ExchangeCase:
    """A case to be answered; `task` is its reranking task, None where the whole catalogue is asked for."""

    case: Case
    task: RerankTask | None = None

    @property
    def asked(self) -> ExportedCase:
        """What another system gets to see of it."""
        known = [
            ExportedInteraction(item=e.item.id, preference=e.preference, timestamp=e.timestamp)
            for e in self.case.history.entries
        ]
        # In an order that says nothing: that of the task is the retriever's.
        candidates = tuple(sorted(self.task.ranking.ids)) if self.task else None
        return ExportedCase(case=case_id(self.case), history=tuple(known), candidates=candidates)


@dataclass(frozen=True)
class ExchangePlan:
    """What our own run of a request asks, and what it may learn from: everybody's histories, and others by fold."""

    questions: tuple[ExchangeCase, ...]
    training: tuple[History, ...]
    others: OutOfFold


def exchange_plan(data: Dataset, request: RunRequest, say: Say) -> ExchangePlan:
    """The questions of a request; whoever learns leaves out the fold of the question's user.

    Raises:
        UsageError: there is no such task, split or kind of candidates.
        DataError: a case leaks.
    """
    plan = plan_cases(data, request, say)
    if request.task == "rerank":
        asked = tuple(ExchangeCase(task.case, task) for task in plan.tasks())
    else:
        asked = tuple(ExchangeCase(case) for case in plan.cases())
    return ExchangePlan(asked, tuple(plan.training), plan.others)


def export(request: RunRequest, data: Dataset, digest: str, say: Say) -> Export:
    """Write the export of a request to `request.out`.

    Args:
        digest: of the data, see `eval.data.sources.data_hash`.

    Raises:
        UsageError: no such task, split or kind of candidates, or the folder is not empty.
        DataError: a case leaks.
    """
    out = request.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty", hint="give another folder, or delete this one")
    sheet = exchange_plan(data, request, say)
    say(f"writing {len(sheet.questions):,} cases")
    out.mkdir(parents=True, exist_ok=True)
    _write_items(data, out / ITEMS)
    for left_out in range(FOLDS):
        home = out / f"fold-{left_out}"
        home.mkdir()
        others = (person for person in sheet.training if fold(person.user or "", FOLDS) != left_out)
        _write_training(others, home / TRAINING)
    for folder, mine in _by_part(sheet.questions).items():
        (out / folder).mkdir()
        _write_lines((question.asked.model_dump_json(exclude_none=True) for question in mine), out / folder / CASES)
    made = Export(
        task=cast("TaskName", request.task),
        protocol=request.protocol,
        data=digest,
        domains=data.domains,
        cases=len(sheet.questions),
    )
    (out / EXPORT).write_text(made.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return made


def _by_part(asked: Iterable[ExchangeCase]) -> Mapping[Path, list[ExchangeCase]]:
    parts: dict[Path, list[ExchangeCase]] = defaultdict(list)
    for question in asked:
        parts[case_folder(fold(question.case.user, FOLDS), question.case)].append(question)
    return parts


def _write_items(data: Dataset, path: Path) -> None:
    def lines() -> Iterable[str]:
        for domain in data.domains:
            for item in data.store.iter_items(domain):
                told = item.model_dump(mode="json", exclude_defaults=True)
                yield json.dumps(told | {"text": data.index.template.text(item=item)}, ensure_ascii=False)

    _write_lines(lines(), path)


def _write_training(people: Iterable[History], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for number, person in enumerate(people):
            for e in person.entries:
                rows.writerow((f"p{number}", e.item.domain, e.item.id, e.preference, e.timestamp))


def _write_lines(lines: Iterable[str], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
