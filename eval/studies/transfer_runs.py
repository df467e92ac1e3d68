"""Runs that transfer is measured by. Reads prepared data, trains encoders where need be, produces a run folder an arm.

- `ZERO_SHOT` is the configured encoder.
- `DOMAIN_ADAPTED` is trained on the catalogues, and on nothing of any user.
- `ALL_PAIRS` is trained on the users of the other folds, all pairs of domains.
- `OTHER_PAIRS` is trained on the same users, but never from one domain of a case's pair to the other, either way.

Each arm ranks by the text alone, because it is the encoder that carries taste from domain to domain; some rank again
by all signals of the retriever, beside popularity. A training is kept with the vectors that it led to, so a stopped
measurement goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from eval.data import (
    COLD_TARGET,
    FOLDS,
    Case,
    CatalogueScores,
    Dataset,
    OutOfFold,
    Say,
    fold,
    histories,
    plan_cases,
)
from eval.fitting import cross_fit_weights
from eval.runs import RunFolder, manifest_of, remaining_cases, run_catalogue
from eval.systems import BASELINES, cross_fitted
from retrieval.adapt import ReportProgress, SplitSettings, TrainingProgress
from retrieval.files import atomic_file
from retrieval.index import Index, Snapshot, centred
from retrieval.ranking import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.templates import PromptTemplate
from retrieval.types import History, Query
from xdrec_agent.adapt import (
    EncoderTrainingSettings,
    Pair,
    Workspace,
    encode_with_adapter,
    ordered_pairs,
    train_on_item_views,
    train_on_preferences,
)
from xdrec_agent.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZERO_SHOT: Final = "zero-shot"
DOMAIN_ADAPTED: Final = "domain-adapted"
ALL_PAIRS: Final = "all-pairs"
OTHER_PAIRS: Final = "other-pairs"
POPULARITY: Final = "popularity"
ARMS: Final = (ZERO_SHOT, DOMAIN_ADAPTED, ALL_PAIRS, OTHER_PAIRS)
FUSED: Final = (ZERO_SHOT, ALL_PAIRS)
"""Arms that are also ranked by all signals."""
CHOOSABLE: Final = (DOMAIN_ADAPTED, ALL_PAIRS)
"""What somebody could put to use; `OTHER_PAIRS` shows what a pair without common users can hope for."""
_PROGRESS_EVERY_S: Final = 30.0


@dataclass(frozen=True)
class Training:
    """A training: its name, the pairs it uses (None: catalogues only), and the fold of users that it leaves out."""

    name: str
    pairs: tuple[Pair, ...] | None = None
    fold: int | None = None


def training_of(arm: str, case: Case, domains: Sequence[str]) -> Training | None:
    """The training whose encoder an arm uses for a case; None: none."""
    own = fold(case.user, FOLDS)
    pairs = tuple(ordered_pairs(domains))
    if arm == DOMAIN_ADAPTED:
        return Training("catalogues")
    if arm == ALL_PAIRS:
        return Training(f"pairs-{own}", pairs, own)
    if arm == OTHER_PAIRS:
        hidden = {case.source, case.target}
        others = tuple(pair for pair in pairs if set(pair) != hidden)
        return Training(f"without-{'-'.join(sorted(hidden))}-{own}", others, own)
    return None


class RevectoredIndex(Index):
    """An index whose item vectors come from another encoder; it embeds no free text."""

    def __init__(self, index: Index, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__(index.folder, index.encoder, index.template, index.settings)
        self._snapshots: dict[str, Snapshot] = {}
        for domain, found in vectors.items():
            mean = found.mean(axis=0)
            snapshot = index.snapshot(domain)
            self._snapshots[domain] = replace(snapshot, vectors=centred(found, mean), mean=mean, quantized=None)

    def snapshot(self, domain: str) -> Snapshot:
        """The domain's snapshot with the other vectors."""
        return self._snapshots[domain]


@dataclass(frozen=True)
class TrainedEncoders:
    """Encoders by training, over one dataset.

    Attributes:
        workspace: where trainings happen; its `adapters_dir` holds the vectors, too.
        settings: `users` is overridden for each.
    """

    data: Dataset
    workspace: Workspace
    template: PromptTemplate
    settings: EncoderTrainingSettings
    say: Say

    def index(self, training: Training | None) -> Index:
        """The index by a training's encoder, trained if it is not there. Raises as `train_on_preferences`."""
        if training is None:
            return self.data.index
        path = self.workspace.adapters_dir / f"{training.name}.npy"
        if not path.exists():
            self._train(training)
            self._encode(training, path)
        sizes = [self.data.catalogue[domain] for domain in self.data.domains]
        parts = np.split(np.load(path).astype(np.float32), np.cumsum(sizes)[:-1])
        return RevectoredIndex(self.data.index, dict(zip(self.data.domains, parts, strict=True)))

    def _train(self, training: Training) -> None:
        name, store = training.name, self.data.store
        if (self.workspace.adapters_dir / name).is_dir():
            return
        users = SplitSettings(left_out=() if training.fold is None else (training.fold,))
        settings, report = self.settings.model_copy(update={"users": users}), self._report(name)
        if training.pairs is None:
            train_on_item_views(name, store, self.data.domains, self.template, self.workspace, settings, report=report)
        else:
            train_on_preferences(name, store, training.pairs, self.template, self.workspace, settings, report=report)

    def _encode(self, training: Training, path: Path) -> None:
        self.say(f"{training.name}: encoding all items")
        texts = []
        for domain in self.data.domains:
            items = {item.id: item for item in self.data.store.iter_items(domain)}
            snapshot = self.data.index.snapshot(domain)
            texts += [self.template.text(item=items[i]) for i in snapshot.ids(np.arange(snapshot.manifest.items))]
        vectors = encode_with_adapter(training.name, self.workspace, texts).astype(np.float16)
        with atomic_file(path) as unfinished:
            np.save(unfinished, vectors)

    def _report(self, name: str) -> ReportProgress:
        said_at = -_PROGRESS_EVERY_S

        def report(progress: TrainingProgress) -> None:
            nonlocal said_at
            if time.monotonic() - said_at < _PROGRESS_EVERY_S:
                return
            said_at = time.monotonic()
            step, left = f"step {progress.step} of {progress.planned}", f"{progress.left / 60:.0f} min left"
            self.say(f"{name}: {step}, loss {progress.loss:.3f}, {left}")

        return report


@dataclass(frozen=True)
class TransferStudy:
    """The runs of a transfer study; a stopped study goes on where it was.

    Attributes:
        out: folder of the runs.
        users: by hash; all their directions.
        left_out_folds: of how many folds of users `OTHER_PAIRS` is measured; each takes a training for each pair of
            domains, while `ALL_PAIRS` takes one for each of the five. 0: not at all.
    """

    encoders: TrainedEncoders
    settings: Settings
    out: Path
    users: int = 1008
    left_out_folds: int = 2

    def run_arms(self) -> list[RunFolder]:
        """Rank by the text alone with every arm.

        Raises:
            UsageError, DataError, BackendError: as `TrainedEncoders.index`, and if the folder holds other runs.
        """
        data, folders = self.encoders.data, []
        others, cases = OutOfFold(data), self._cases()
        for arm in ARMS:
            folds = self.left_out_folds if arm == OTHER_PAIRS else FOLDS
            if not folds:
                continue
            folder = self._folder(arm)
            asked = [case for case in cases if fold(case.user, FOLDS) < folds]
            for retriever, part in self._by_encoder(arm, remaining_cases(folder, asked)):
                run_catalogue(folder, data, part, others, partial(_scores, retriever), self.encoders.say)
            folder.finish()
            folders.append(folder)
        return folders

    def run_fused(self) -> list[RunFolder]:
        """Rank by popularity, and by all signals with the weights that users of the other folds gave; as `run_arms`."""
        data, say, cases = self.encoders.data, self.encoders.say, self._cases()
        users, rng = list(histories(data.store)), np.random.default_rng(0)
        folder = self._folder(POPULARITY)
        scorer = cross_fitted(BASELINES[POPULARITY](data), users, FOLDS, rng)
        run_catalogue(folder, data, cases, OutOfFold(data), scorer, say)
        folder.finish()
        return [folder, *(self._run_fused_arm(arm, cases, users) for arm in FUSED)]

    def _run_fused_arm(self, arm: str, cases: Sequence[Case], users: Sequence[History]) -> RunFolder:
        data, say = self.encoders.data, self.encoders.say
        folder = self._folder(f"{arm}, all sources")
        if left := remaining_cases(folder, cases):
            open_index = cache(self.encoders.index)
            others = OutOfFold(data, index_of=lambda case: open_index(training_of(arm, case, data.domains)))
            say(f"{arm}: fitting the sources' weights")
            weights = cross_fit_weights(data, users, others, np.random.default_rng(0), say)

            def score(case: Case) -> CatalogueScores:
                return _scores(others.retriever(case, self.settings.retriever, weights(case.user)), case)

            run_catalogue(folder, data, left, others, score, say)
        folder.finish()
        return folder

    def _cases(self) -> list[Case]:
        data = self.encoders.data
        return plan_cases(data, say=self.encoders.say).cases(self.users)

    def _folder(self, name: str) -> RunFolder:
        encoders = self.encoders
        protocol: dict[str, str | int] = {"split": COLD_TARGET.name.replace("-", " "), "users": self.users, "seed": 0}
        manifest = manifest_of(
            name,
            "catalogue",
            self.settings,
            protocol,
            encoders.data.digest,
            {"item": encoders.template},
            options={"arm": name, "training": encoders.settings.model_dump(mode="json")},
            catalogue=encoders.data.catalogue,
        )
        return RunFolder.create(self.out / name.replace(", ", "-").replace(" ", "-"), manifest)

    def _by_encoder(self, arm: str, cases: Sequence[Case]) -> Iterator[tuple[Retriever, list[Case]]]:
        """The cases, with the retriever of the encoder that they are measured by; one encoder is open at a time."""
        data = self.encoders.data
        trainings = [(training_of(arm, case, data.domains), case) for case in cases]
        trainings.sort(key=lambda pair: pair[0].name if pair[0] else "")
        settings = RetrieverSettings(signals=("text",))
        for training, part in groupby(trainings, key=lambda pair: pair[0]):
            yield Retriever(data.store, self.encoders.index(training), settings), [case for _, case in part]


def _scores(retriever: Retriever, case: Case) -> CatalogueScores:
    return retriever.scores(Query(history=case.history, target=case.target))[1]
