"""Measuring transfer. Reads prepared data and encoders, produces a run folder for each arm.

Ranked is by the text alone, because it is the encoder that carries taste from domain to domain, and then by all sources
of the retriever, beside popularity: what is left of it where other people's behaviour speaks, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Final

import numpy as np

from eval.data import (
    COLD_TARGET,
    FOLDS,
    Case,
    CatalogueScores,
    OutOfFold,
    fold,
    guarded_cases,
    histories,
    in_hash_order,
)
from eval.fitting import UserWeights, cross_fit_weights
from eval.runs import RunFolder, manifest_of, remaining_cases, run_catalogue
from eval.studies.transfer_encoders import (
    ALL_PAIRS,
    DOMAIN_ADAPTED,
    OTHER_PAIRS,
    ZERO_SHOT,
    Encoders,
    Lesson,
    lesson_of,
)
from eval.systems import BASELINES, cross_fitted
from retrieval.index import Index
from retrieval.ranking import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import Query
from xdrec_agent.settings import Settings

POPULARITY: Final = "popularity"
ARMS: Final = (ZERO_SHOT, DOMAIN_ADAPTED, ALL_PAIRS, OTHER_PAIRS)
FUSED: Final = (ZERO_SHOT, ALL_PAIRS)
"""Arms that are also ranked by all sources."""
CHOOSABLE: Final = (DOMAIN_ADAPTED, ALL_PAIRS)
"""What somebody could put to use; `OTHER_PAIRS` shows what a pair without common users can hope for."""


@dataclass(frozen=True)
class TransferRequest:
    """What is measured.

    Attributes:
        users: by hash; all their directions.
        left_out_folds: of how many folds of users `OTHER_PAIRS` is measured; each takes a training for each pair of
            domains, while `ALL_PAIRS` takes one for each of the five. 0: not at all.
    """

    out: Path
    users: int = 1008
    left_out_folds: int = 2


def run_arms(encoders: Encoders, request: TransferRequest, settings: Settings, data: str) -> list[RunFolder]:
    """Rank by the text alone with every arm, or go on where it was stopped.

    Args:
        data: hash of the data.

    Raises:
        UsageError, DataError, BackendError: as `Encoders.index`, and if the folder holds other runs.
    """
    asked, others, folders = _asked(encoders, request), OutOfFold(encoders.data), []
    for arm in ARMS:
        left_out = request.left_out_folds if arm == OTHER_PAIRS else FOLDS
        if not left_out:
            continue
        folder = _folder(encoders, request, settings, data, arm)
        mine = [case for case in asked if fold(case.user, FOLDS) < left_out]
        for retriever, some in _by_encoder(encoders, arm, remaining_cases(folder, mine)):
            run_catalogue(folder, encoders.data, some, others, partial(_scores, retriever), encoders.say)
        folder.finish()
        folders.append(folder)
    return folders


def run_fused(encoders: Encoders, request: TransferRequest, settings: Settings, data: str) -> list[RunFolder]:
    """Rank by popularity, and by all sources with the weights that people of the other folds gave; as `run_arms`."""
    asked, dataset, say = _asked(encoders, request), encoders.data, encoders.say
    people, rng = list(histories(dataset.store)), np.random.default_rng(0)
    folder = _folder(encoders, request, settings, data, POPULARITY)
    scorer = cross_fitted(BASELINES[POPULARITY](dataset), people, FOLDS, rng)
    run_catalogue(folder, dataset, asked, OutOfFold(dataset), scorer, say)
    folder.finish()
    folders = [folder]
    for arm in FUSED:
        folder = _folder(encoders, request, settings, data, f"{arm}, all sources")
        if left := remaining_cases(folder, asked):
            others = OutOfFold(dataset, index_of=_index_of(encoders, arm))
            say(f"{arm}: fitting the sources' weights")
            weights = cross_fit_weights(dataset, people, others, np.random.default_rng(0), say)
            run_catalogue(folder, dataset, left, others, partial(_fused, settings, others, weights), say)
        folder.finish()
        folders.append(folder)
    return folders


def _asked(encoders: Encoders, request: TransferRequest) -> list[Case]:
    dataset = encoders.data
    encoders.say("reading histories")
    people = in_hash_order(histories(dataset.store), 0)
    with_cases = (mine for person in people if (mine := list(guarded_cases(person, dataset.domains, COLD_TARGET))))
    return [case for mine in islice(with_cases, request.users) for case in mine]


def _index_of(encoders: Encoders, arm: str) -> Callable[[Case], Index]:
    opened: dict[Lesson | None, Index] = {}

    def index_of(case: Case) -> Index:
        lesson = lesson_of(arm, case, encoders.data.domains)
        if lesson not in opened:
            opened[lesson] = encoders.index(lesson)
        return opened[lesson]

    return index_of


def _folder(encoders: Encoders, request: TransferRequest, settings: Settings, data: str, name: str) -> RunFolder:
    protocol: dict[str, str | int] = {"split": COLD_TARGET.name.replace("-", " "), "users": request.users, "seed": 0}
    manifest = manifest_of(name, "catalogue", settings, protocol, data, {"item": encoders.template})
    told = {"arm": name, "training": encoders.settings.model_dump(mode="json")}
    changes = {"settings": manifest.settings | told, "catalogue": encoders.data.catalogue}
    return RunFolder.create(
        request.out / name.replace(", ", "-").replace(" ", "-"), manifest.model_copy(update=changes)
    )


def _by_encoder(encoders: Encoders, arm: str, asked: Sequence[Case]) -> Iterator[tuple[Retriever, list[Case]]]:
    """The cases, with the retriever of the encoder that they are measured by."""
    taught = [(lesson_of(arm, case, encoders.data.domains), case) for case in asked]
    taught.sort(key=lambda pair: pair[0].name if pair[0] else "")
    settings = RetrieverSettings(signals=("text",))
    for lesson, some in groupby(taught, key=lambda pair: pair[0]):
        yield Retriever(encoders.data.store, encoders.index(lesson), settings), [case for _, case in some]


def _scores(retriever: Retriever, case: Case) -> CatalogueScores:
    return retriever.scores(Query(history=case.history, target=case.target))[1]


def _fused(settings: Settings, others: OutOfFold, weights: UserWeights, case: Case) -> CatalogueScores:
    retriever = others.retriever(case, settings.retriever, weights(case.user))
    return _scores(retriever, case)
