"""Measuring transfer. Reads prepared data and encoders, produces a run folder for each arm.

Ranked is by the text alone, because it is the encoder that carries taste from domain to domain; popularity and the
crowd say the same whatever the encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Final

from eval.arms import manifest_of
from eval.baseline_types import Scores
from eval.choices import in_hash_order
from eval.datasets import Dataset
from eval.leakage import guarded_cases
from eval.others import Others
from eval.protocol import COLD_TARGET, FOLDS, Case, fold, histories
from eval.run_catalogue import run_catalogue
from eval.run_folder import RunFolder
from eval.transfer_encoders import ALL_PAIRS, DOMAIN_ADAPTED, OTHER_PAIRS, ZERO_SHOT, Encoders, lesson_of
from retrieval.retriever import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import Query
from xdrec_agent.settings import Settings

ARMS: Final = (ZERO_SHOT, DOMAIN_ADAPTED, ALL_PAIRS, OTHER_PAIRS)
CHOOSABLE: Final = (DOMAIN_ADAPTED, ALL_PAIRS)
"""What somebody could put to use; `OTHER_PAIRS` shows what a pair without common users can hope for."""


@dataclass(frozen=True)
class TransferRequest:
    """What is measured.

    Attributes:
        users: by hash; all their directions.
        left_out_folds: of how many folds of users `OTHER_PAIRS` is measured; each takes a training for each pair of
            domains, while `ALL_PAIRS` takes one for each of the five.
    """

    out: Path
    users: int = 1008
    left_out_folds: int = 2


def run_arms(encoders: Encoders, request: TransferRequest, settings: Settings, data: str) -> list[RunFolder]:
    """Measure every arm, or go on where it was stopped.

    Args:
        data: hash of the data.

    Raises:
        UsageError, DataError, BackendError: as `Encoders.index`, and if the folder holds other runs.
    """
    dataset, say = encoders.data, encoders.say
    say("reading histories")
    people = in_hash_order(histories(dataset.store), 0)
    with_cases = (mine for person in people if (mine := list(guarded_cases(person, dataset.domains, COLD_TARGET))))
    asked = [case for mine in islice(with_cases, request.users) for case in mine]
    others = Others(dataset)
    folders = []
    for arm in ARMS:
        folder = _folder(dataset, request, settings, data, arm, encoders)
        left_out = request.left_out_folds if arm == OTHER_PAIRS else FOLDS
        mine = [case for case in asked if fold(case.user, FOLDS) < left_out]
        for retriever, some in _by_encoder(encoders, arm, mine, {r.key for r in folder.results()}):
            run_catalogue(folder, dataset, some, others, partial(_scores, retriever), say)
        folder.finish()
        folders.append(folder)
    return folders


def _folder(
    dataset: Dataset, request: TransferRequest, settings: Settings, data: str, arm: str, encoders: Encoders
) -> RunFolder:
    protocol: dict[str, str | int] = {"split": COLD_TARGET.name.replace("-", " "), "users": request.users, "seed": 0}
    manifest = manifest_of(arm, "catalogue", settings, protocol, data, {"item": encoders.template})
    told = {"system": "text alone", "arm": arm, "training": encoders.settings.model_dump(mode="json")}
    changes = {"settings": manifest.settings | told, "catalogue": dataset.catalogue}
    return RunFolder.create(request.out / arm, manifest.model_copy(update=changes))


def _by_encoder(
    encoders: Encoders, arm: str, asked: Sequence[Case], done: set[tuple[str, str, str]]
) -> Iterator[tuple[Retriever, list[Case]]]:
    """The cases that are not done, with the retriever of the encoder that they are measured by."""
    left = [
        (lesson_of(arm, case, encoders.data.domains), case)
        for case in asked
        if (case.user, case.source, case.target) not in done
    ]
    left.sort(key=lambda pair: pair[0].name if pair[0] else "")
    settings = RetrieverSettings(sources=("text",))
    for lesson, some in groupby(left, key=lambda pair: pair[0]):
        yield Retriever(encoders.data.store, encoders.index(lesson), settings), [case for _, case in some]


def _scores(retriever: Retriever, case: Case) -> Scores:
    return retriever.scores(Query(history=case.history, target=case.target))[1]
