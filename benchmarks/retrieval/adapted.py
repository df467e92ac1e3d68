"""What adapting an encoder brought. Reads the data and an adapted encoder, produces figures beside its base.

The same cases of people whom it has not met are answered by both, from the text alone and from all sources; ratios are
paired, people are resampled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.figures import Figure, estimate_figure
from benchmarks.retrieval.quality import (
    DECISIVE,
    OURS,
    TEXT,
    Table,
    all_sources,
    cases_of_others,
    ratio_figures,
    score_arms,
    text_alone,
)
from eval.data import FOLDS, Dataset, OutOfFold, Say, histories, open_dataset
from eval.stats import mean
from eval.systems import BASELINES, cross_fitted
from retrieval.encoder import SentenceEncoder
from retrieval.errors import DataError
from retrieval.templates import load_template

_POPULARITY: Final = "popularity"
_PARTS: Final = ("all", "seen", "unseen")
_BETTER: Final = 1.3
"""Least ratio to the base, by the text alone."""
_BEYOND: Final = 1.2
"""Least ratio of all sources to popularity, among seen items."""


def measure_adapted(
    data: Path, base: SentenceEncoder, adapted: SentenceEncoder, say: Say, seed: int = 0
) -> list[Figure]:
    """Recall of either in every slice, and the ratios; the first run embeds all items with either, which takes minutes.

    Raises:
        DataError: `data` is not what `open_dataset` expects, or the adapted encoder has met everybody.
    """
    rng, template = np.random.default_rng(seed), load_template("item")
    with open_dataset(data, adapted, template, say) as dataset:
        met = dataset.training_users
        after = _table(dataset, rng, say)
    with open_dataset(data, base, template, say) as dataset:
        before = _table(replace(dataset, training_users=met), rng, say)
    say("drawing intervals")
    tables = {base.name: before, adapted.name: after}
    return [*_ratios(tables, rng), *_values(tables, rng)]


def _table(data: Dataset, rng: np.random.Generator, say: Say) -> Table:
    people = list(histories(data.store))
    asked = cases_of_others(data, people)
    if not asked:
        raise DataError(f"{data.index.encoder.name} has met everybody", hint="leave a fold out when adapting: --folds")
    others = OutOfFold(data)
    scorers = {
        TEXT: text_alone(data),
        OURS: all_sources(data, asked, others, rng, say),
        _POPULARITY: cross_fitted(BASELINES[_POPULARITY](data), people, FOLDS, rng),
    }
    return score_arms(data, asked, others, scorers, say)


def _ratios(tables: dict[str, Table], rng: np.random.Generator) -> Iterator[Figure]:
    (base, before), (adapted, after) = tables.items()
    for arm in (TEXT, OURS):
        for part in _PARTS:
            least = _BETTER if arm == TEXT and part != "all" else None
            name = f"{part}, {arm}, {adapted} / {base}"
            yield from ratio_figures(name, after[arm, part], before[arm, part], rng, least)
    for model, table in tables.items():
        name = f"seen, {OURS} / {_POPULARITY}, {model}"
        yield from ratio_figures(name, table[OURS, "seen"], table[_POPULARITY, "seen"], rng, _BEYOND)


def _values(tables: dict[str, Table], rng: np.random.Generator) -> Iterator[Figure]:
    arms = [(next(iter(tables.values())), _POPULARITY, _POPULARITY)]
    arms += [(table, arm, f"{arm}, {name}") for arm in (TEXT, OURS) for name, table in tables.items()]
    for table, arm, name in arms:
        for part in _PARTS:
            results = table[arm, part]
            for metric in (DECISIVE, "ndcg@10") if results.users else ():
                yield estimate_figure(f"{metric}, {part}, {name}", mean(results.of(metric), results.users, rng))
