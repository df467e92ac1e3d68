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
from typing import Final

from eval.data import FOLDS, Case, CasePlan, Dataset, RerankTask, Say, fold
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
from eval.runs import Protocol
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


def exchange_cases(plan: CasePlan, protocol: Protocol) -> list[ExchangeCase]:
    """What our own run by this protocol asks. Raises as `plan_cases` and `rerank_tasks`."""
    if protocol.task == "rerank":
        return [ExchangeCase(task.case, task) for task in protocol.tasks(plan)]
    return [ExchangeCase(case) for case in plan.cases(protocol.users)]


def export(protocol: Protocol, out: Path, data: Dataset, say: Say) -> Export:
    """Write the export of a protocol's cases; whoever learns from it leaves out the fold of the question's user.

    Raises:
        UsageError: the folder is not empty.
        DataError: a case leaks.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty", hint="give another folder, or delete this one")
    plan = protocol.plan(data, say)
    questions = exchange_cases(plan, protocol)
    say(f"writing {len(questions):,} cases")
    out.mkdir(parents=True, exist_ok=True)
    _write_items(data, out / ITEMS)
    for left_out in range(FOLDS):
        home = out / f"fold-{left_out}"
        home.mkdir()
        others = (person for person in plan.training if fold(person.user or "", FOLDS) != left_out)
        _write_training(others, home / TRAINING)
    for folder, mine in _by_part(questions).items():
        (out / folder).mkdir()
        _write_lines((question.asked.model_dump_json(exclude_none=True) for question in mine), out / folder / CASES)
    made = Export(
        task=protocol.task,
        protocol=protocol.record,
        data=data.digest,
        domains=data.domains,
        cases=len(questions),
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
