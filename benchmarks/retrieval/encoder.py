"""What 8 bits cost and bring. Reads the data folder and one encoder in both forms, produces figures.

Speed: the same texts by both, in turn, in one process, as `xdrec index` hands them over. Quality: the text alone, over
indexes of all items by either form, on the same cases; the ratio is paired, people are resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

import numpy as np

from benchmarks.figures import Figure
from eval.data import Case, Dataset, Say, cases, histories, open_dataset
from eval.stats import METRICS, mean, ratio_of_means, tied_ranks
from eval.stats.bootstrap import Floats
from retrieval.encoder import Encoder, Int8Encoder, SentenceEncoder
from retrieval.ranking import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.templates import PromptTemplate, load_template
from retrieval.types import Query

TEXTS: Final = 512
"""Of each domain, for speed."""
ROUNDS: Final = 5
_FASTER: Final = 2.0
_KEPT: Final = 0.98
_DECISIVE: Final = "recall@100"
_SHOWN: Final = ("recall@10", "recall@50", "recall@100", "ndcg@10")
_TOLD_EVERY: Final = 1_000


def measure_encoder(data: Path, plain: SentenceEncoder, small: Int8Encoder, say: Say, seed: int = 0) -> list[Figure]:
    """Speed, then quality; the first run embeds all items with either form, which takes minutes.

    Raises:
        DataError: `data` is not what `open_dataset` expects.
        SetupError, UsageError: there is no 8-bit form.
    """
    template, rng = load_template("item"), np.random.default_rng(seed)
    with open_dataset(data, plain, template, say) as dataset:
        figures = _speed(_texts(dataset, template), plain, small, say)
        asked = [
            case
            for person in dataset.without_training_users(histories(dataset.store))
            for case in cases(person, dataset.domains)
        ]
        before = _scored(dataset, asked, say)
    with open_dataset(data, small, template, say) as dataset:
        after = _scored(dataset, asked, say)
    return [*figures, *_quality([case.user for case in asked], before, after, rng)]


def _texts(data: Dataset, template: PromptTemplate) -> list[list[str]]:
    return [[template.text(item=item) for item in islice(data.store.iter_items(d), TEXTS)] for d in data.domains]


def _speed(portions: Sequence[list[str]], plain: Encoder, small: Encoder, say: Say) -> list[Figure]:
    forms = {"float32, torch": plain, "8 bits, ONNX Runtime": small}
    for encoder in forms.values():
        encoder.encode(portions[0][:64])
    taken, worked = np.empty((2, ROUNDS)), np.empty((2, ROUNDS))
    for at in range(ROUNDS):
        say(f"speed, round {at + 1} of {ROUNDS}")
        for form, encoder in enumerate(forms.values()):
            began, idle = perf_counter(), process_time()
            for texts in portions:
                encoder.encode(texts)
            taken[form, at], worked[form, at] = perf_counter() - began, process_time() - idle
    count = sum(map(len, portions))
    rates = [
        Figure(name=f"encoding, {name}", value=count / times.min(), unit="texts/s", n=count, note=f"best of {ROUNDS}")
        for name, times in zip(forms, taken, strict=True)
    ]
    # Each round's two forms met the same other load; the median round is the verdict.
    ratios = taken[0] / taken[1]
    work = float(np.median(worked[0] / worked[1]))
    faster = float(np.median(ratios))
    return [
        Figure(
            name="encoding, 8 bits / float32",
            value=faster,
            unit="ratio",
            target=f">= {_FASTER:g}",
            met=faster >= _FASTER,
            n=count,
            note=f"median of {ROUNDS} rounds in turn, {ratios.min():.2f} to {ratios.max():.2f}; by CPU time {work:.2f}",
        ),
        *rates,
    ]


def _scored(data: Dataset, asked: Sequence[Case], say: Say) -> dict[str, Floats]:
    """By metric one value a case, of the text alone over the whole catalogue."""
    retriever = Retriever(data.store, data.index, RetrieverSettings(signals=("text",)))
    values: dict[str, list[float]] = {metric: [] for metric in _SHOWN}
    for at, case in enumerate(asked):
        if at % _TOLD_EVERY == 0:
            say(f"scoring case {at:,} of {len(asked):,}, {data.index.encoder.name}")
        scores = retriever.scores(Query(history=case.history, target=case.target))[1]
        found = tied_ranks(scores, data.index.snapshot(case.target).rows(case.truth))
        for metric in _SHOWN:
            values[metric].append(METRICS[metric](found))
    return {metric: np.asarray(some) for metric, some in values.items()}


def _quality(
    users: Sequence[str], before: dict[str, Floats], after: dict[str, Floats], rng: np.random.Generator
) -> list[Figure]:
    figures = []
    for metric in _SHOWN:
        kept = ratio_of_means(after[metric], before[metric], users, rng)
        target = {"target": f">= {_KEPT:g}", "met": kept.value >= _KEPT} if metric == _DECISIVE else {}
        note = f"95% {kept}, {kept.cases:,} cases; n: users"
        figures.append(
            Figure(
                name=f"{metric}, 8 bits / float32", value=kept.value, unit="ratio", n=kept.users, note=note, **target
            )
        )
        for form, values in (("float32", before), ("8 bits", after)):
            value = mean(values[metric], users, rng)
            note = f"95% {value}"
            figures.append(Figure(name=f"{metric}, text alone, {form}", value=value.value, n=value.users, note=note))
    return figures
