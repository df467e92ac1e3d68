"""What 8 bits cost and bring. Reads the data folder and one encoder in both forms, produces figures.

Speed: the same texts by both, in turn, in one process, as `xdrec index` hands them over. Quality: the text alone, over
indexes of all items by either form, on the same cases; the ratio is paired, people are resampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

import numpy as np

from benchmarks.figures import Figure, estimate_figure, figure
from benchmarks.retrieval.quality import DECISIVE, Results, cases_of_others, text_alone
from eval.data import Case, Dataset, Say, histories, open_dataset
from eval.stats import mean, ratio_of_means, tied_ranks
from retrieval.encoder import Encoder, Int8Encoder, SentenceEncoder
from retrieval.templates import PromptTemplate, load_template

TEXTS: Final = 512
"""Of each domain, for speed."""
ROUNDS: Final = 5
_FASTER: Final = 2.0
_KEPT: Final = 0.98
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
        asked = cases_of_others(dataset, histories(dataset.store))
        before = _scored(dataset, asked, say)
    with open_dataset(data, small, template, say) as dataset:
        after = _scored(dataset, asked, say)
    return [*figures, *_quality(before, after, rng)]


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
    # Each round's two forms met the same other load; the median round is the verdict.
    ratios, work = taken[0] / taken[1], float(np.median(worked[0] / worked[1]))
    rounds = f"{ROUNDS} rounds in turn, {ratios.min():.2f} to {ratios.max():.2f}"
    note = f"median of {rounds}; by CPU time {work:.2f}"
    faster = figure("encoding, 8 bits / float32", float(np.median(ratios)), "ratio", count, note, f">= {_FASTER:g}")
    best = f"best of {ROUNDS}"
    rates = zip(forms, (count / taken.min(axis=1)).tolist(), strict=True)
    return [faster, *(figure(f"encoding, {name}", rate, "texts/s", count, best) for name, rate in rates)]


def _scored(data: Dataset, asked: Sequence[Case], say: Say) -> Results:
    """Results of the text alone over the whole catalogue."""
    scorer, results = text_alone(data), Results()
    for at, case in enumerate(asked):
        if at % _TOLD_EVERY == 0:
            say(f"scoring case {at:,} of {len(asked):,}, {data.index.encoder.name}")
        results.add(case.user, tied_ranks(scorer(case), data.index.snapshot(case.target).rows(case.truth)))
    return results


def _quality(before: Results, after: Results, rng: np.random.Generator) -> Iterator[Figure]:
    for metric in _SHOWN:
        kept = ratio_of_means(after.of(metric), before.of(metric), before.users, rng)
        note, target = f"95% {kept}, {kept.cases:,} cases; n: users", f">= {_KEPT:g}" if metric == DECISIVE else None
        yield figure(f"{metric}, 8 bits / float32", kept.value, "ratio", kept.users, note, target)
        for form, results in (("float32", before), ("8 bits", after)):
            value = mean(results.of(metric), results.users, rng)
            yield estimate_figure(f"{metric}, text alone, {form}", value)
