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

from eval.baselines import BASELINES, cross_fitted
from eval.bench_quality import DECISIVE, OURS, TEXT, Table, all_sources, figure, score_arms, text_alone
from eval.bench_report import Figure
from eval.datasets import Dataset, Say, open_dataset
from eval.intervals import mean, ratio_of_means
from eval.others import Others
from eval.protocol import FOLDS, cases, histories
from retrieval.encoder import SentenceEncoder
from retrieval.errors import DataError
from retrieval.templates import load_template

_POPULARITY: Final = "popularity"
_PARTS: Final = ("all", "seen", "unseen")


def measure_adapted(
    data: Path, base: SentenceEncoder, adapted: SentenceEncoder, say: Say, seed: int = 0
) -> list[Figure]:
    """Recall of either in every slice, and the ratios; the first run embeds all items with either, which takes minutes.

    Raises:
        DataError: `data` is not what `open_dataset` expects, or the adapted encoder has met everybody.
    """
    rng, template = np.random.default_rng(seed), load_template("item")
    with open_dataset(data, adapted, template, say) as dataset:
        met = dataset.met
        after = _table(dataset, rng, say)
    with open_dataset(data, base, template, say) as dataset:
        before = _table(replace(dataset, met=met), rng, say)
    say("drawing intervals")
    tables = {base.name: before, adapted.name: after}
    return [*_ratios(tables, rng), *_values(tables, rng)]


def _table(data: Dataset, rng: np.random.Generator, say: Say) -> Table:
    people = list(histories(data.store))
    asked = [case for person in data.unmet(people) for case in cases(person, data.domains)]
    if not asked:
        raise DataError(f"{data.index.encoder.name} has met everybody", hint="adapt it without some folds: --leave-out")
    others = Others(data)
    scorers = {
        TEXT: text_alone(data),
        OURS: all_sources(data, asked, others, rng, say),
        _POPULARITY: cross_fitted(BASELINES[_POPULARITY](data), people, FOLDS, rng),
    }
    return score_arms(data, asked, others, scorers, say)


def _ratios(tables: dict[str, Table], rng: np.random.Generator) -> Iterator[Figure]:
    (base, before), (adapted, after) = tables.items()
    for arm, least in ((TEXT, 1.3), (OURS, None)):
        for part in _PARTS:
            above, below = after[arm, part], before[arm, part]
            ratio = ratio_of_means(above.of(DECISIVE), below.of(DECISIVE), above.users, rng)
            wanted = least and part != "all"
            target = {"target": f">= {least}, lower end > 1", "met": ratio.value >= (least or 0) and ratio.low > 1}
            name = f"{DECISIVE}, {part}, {arm}, {adapted} / {base}"
            yield figure(name, ratio, unit="ratio", **(target if wanted else {}))
    for name, table in tables.items():
        above, below = table[OURS, "seen"], table[_POPULARITY, "seen"]
        ratio = ratio_of_means(above.of(DECISIVE), below.of(DECISIVE), above.users, rng)
        target = {"target": ">= 1.2, lower end > 1", "met": ratio.value >= 1.2 and ratio.low > 1}
        yield figure(f"{DECISIVE}, seen, {OURS} / {_POPULARITY}, {name}", ratio, unit="ratio", **target)


def _values(tables: dict[str, Table], rng: np.random.Generator) -> Iterator[Figure]:
    for name, table in tables.items():
        for arm in (TEXT, OURS, _POPULARITY):
            for part in _PARTS:
                for metric in (DECISIVE, "ndcg@10"):
                    found = table[arm, part]
                    yield figure(f"{metric}, {part}, {arm}, {name}", mean(found.of(metric), found.users, rng))
