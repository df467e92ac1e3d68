"""Encoders that transfer is measured with. Reads prepared data, produces an index by each, trained where need be.

- `ZERO_SHOT` is the configured encoder.
- `DOMAIN_ADAPTED` has read the catalogues, and nothing of any person.
- `ALL_PAIRS` learnt from the people of the other folds, all pairs of domains.
- `OTHER_PAIRS` learnt from the same people, but never from one domain of a case's pair to the other, either way.

A training is kept with the vectors that it led to, so a stopped measurement goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.data import FOLDS, Case, Dataset, Say, fold
from retrieval.adapt import Progress, Report, WhoLearns
from retrieval.files import atomic_file
from retrieval.index import Index, Snapshot, centred
from retrieval.templates import PromptTemplate
from xdrec_agent.adapt import EncoderRunSettings, Pair, Place, encoded, ordered_pairs, train_taste, train_views

ZERO_SHOT: Final = "zero-shot"
DOMAIN_ADAPTED: Final = "domain-adapted"
ALL_PAIRS: Final = "all-pairs"
OTHER_PAIRS: Final = "other-pairs"
_TOLD_EVERY_S: Final = 30.0


@dataclass(frozen=True)
class Lesson:
    """A training: its name, the pairs that it learns (None: it reads catalogues), and the fold that it leaves out."""

    name: str
    pairs: tuple[Pair, ...] | None = None
    fold: int | None = None


def lesson_of(arm: str, case: Case, domains: Sequence[str]) -> Lesson | None:
    """The training whose encoder an arm uses for a case; None: none."""
    own = fold(case.user, FOLDS)
    pairs = tuple(ordered_pairs(domains))
    if arm == DOMAIN_ADAPTED:
        return Lesson("catalogues")
    if arm == ALL_PAIRS:
        return Lesson(f"pairs-{own}", pairs, own)
    if arm == OTHER_PAIRS:
        hidden = {case.source, case.target}
        kept = tuple(pair for pair in pairs if set(pair) != hidden)
        return Lesson(f"without-{'-'.join(sorted(hidden))}-{own}", kept, own)
    return None


class Revectored(Index):
    """An index whose item vectors come from another encoder; free text is not its business."""

    def __init__(self, index: Index, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__(index.folder, index.encoder, index.template, index.settings)
        self._snapshots = {domain: _revectored(index.snapshot(domain), some) for domain, some in vectors.items()}

    def snapshot(self, domain: str) -> Snapshot:
        """The domain's snapshot with the other vectors."""
        return self._snapshots[domain]


def _revectored(snapshot: Snapshot, vectors: NDArray[np.float32]) -> Snapshot:
    mean = vectors.mean(axis=0)
    return replace(snapshot, vectors=centred(vectors, mean), mean=mean, quantized=None)


@dataclass(frozen=True)
class Encoders:
    """Trainings of one kind over one dataset.

    Attributes:
        place: where they happen; `place.adapters_dir` holds the vectors, too.
        settings: who learns is overridden for each.
    """

    data: Dataset
    place: Place
    template: PromptTemplate
    settings: EncoderRunSettings
    say: Say

    def index(self, lesson: Lesson | None) -> Index:
        """The index by a training's encoder. Raises as `train_taste` and `train_views`."""
        if lesson is None:
            return self.data.index
        path = self.place.adapters_dir / f"{lesson.name}.npy"
        if not path.exists():
            self._train(lesson)
            self._encode(lesson, path)
        found = np.load(path).astype(np.float32)
        vectors, start = {}, 0
        for domain in self.data.domains:
            stop = start + self.data.catalogue[domain]
            vectors[domain] = found[start:stop]
            start = stop
        return Revectored(self.data.index, vectors)

    def _train(self, lesson: Lesson) -> None:
        if (self.place.adapters_dir / lesson.name).is_dir():
            return
        report = self._report(lesson.name)
        who = WhoLearns(left_out=() if lesson.fold is None else (lesson.fold,))
        settings = self.settings.model_copy(update={"who": who})
        store = self.data.store
        if lesson.pairs is None:
            train_views(lesson.name, store, self.data.domains, self.template, self.place, settings, report=report)
        else:
            train_taste(lesson.name, store, lesson.pairs, self.template, self.place, settings, report=report)

    def _encode(self, lesson: Lesson, path: Path) -> None:
        self.say(f"{lesson.name}: encoding all items")
        texts = []
        for domain in self.data.domains:
            items = {item.id: item for item in self.data.store.iter_items(domain)}
            snapshot = self.data.index.snapshot(domain)
            texts += [self.template.text(item=items[i]) for i in snapshot.ids(np.arange(snapshot.manifest.items))]
        vectors = encoded(lesson.name, self.place, texts).astype(np.float16)
        with atomic_file(path) as partial:
            np.save(partial, vectors)

    def _report(self, name: str) -> Report:
        told = -_TOLD_EVERY_S

        def report(progress: Progress) -> None:
            nonlocal told
            if time.monotonic() - told < _TOLD_EVERY_S:
                return
            told = time.monotonic()
            left = "" if progress.left is None else f", {progress.left / 60:.0f} min left"
            self.say(f"{name}: step {progress.step} of {progress.planned or '?'}, loss {progress.loss:.3f}{left}")

        return report
