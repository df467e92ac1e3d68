"""The benchmark of retrieval: quality, speed, indexing. Reads the data folder, produces a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.figures import Report, make_report
from benchmarks.retrieval.indexing import measure_index
from benchmarks.retrieval.quality import measure_quality
from benchmarks.retrieval.speed import measure_speed
from eval.data import Say, open_dataset
from retrieval.encoder import SentenceEncoder
from retrieval.templates import load_template


def bench_retrieval(data: Path, encoder: SentenceEncoder, say: Say, seed: int = 0) -> Report:
    """Measure everything; minutes if the data was prepared before, else about ten more.

    Raises:
        DataError: `data` is not what `open_dataset` expects.
    """
    with open_dataset(data, encoder, load_template("item"), say) as dataset:
        figures = [
            *measure_speed(dataset, encoder.folder, say),
            *measure_quality(dataset, np.random.default_rng(seed), say),
            *measure_index(dataset, encoder, say),
        ]
    return make_report("retrieval", figures)
