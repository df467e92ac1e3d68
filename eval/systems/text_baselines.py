"""Baselines that read what items say. Read item texts and raw vectors, produce scorers; neither learns from people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from eval.data import Case, CatalogueScores, Dataset, Scorer
from retrieval.encoder import Vectors
from retrieval.errors import optional_packages
from retrieval.index import Index
from retrieval.types import History, Item

if TYPE_CHECKING:
    from bm25s import BM25


class MeanEmbedding:
    """Inner product of a candidate's raw unit vector with the mean of the liked history's raw unit vectors."""

    def __init__(self, data: Dataset) -> None:
        self._index = data.index
        self._raw = {domain: raw_vectors(data.index, domain) for domain in data.domains}

    def fit(self, training: Sequence[History], rng: np.random.Generator) -> Scorer:
        """Nothing is learnt."""
        return self._score

    def _score(self, case: Case) -> CatalogueScores:
        rows = self._index.snapshot(case.source).rows(e.item.id for e in case.history.liked)
        mean = self._raw[case.source][rows].sum(axis=0) / max(len(rows), 1)
        return np.asarray(self._raw[case.target] @ mean, dtype=np.float32)


def raw_vectors(index: Index, domain: str) -> Vectors:
    """The unit vectors as the encoder gave them, in the order of the snapshot; shape (items, dims)."""
    ids, vectors = index.vectors.all(domain)
    raw = np.empty_like(vectors)
    raw[index.snapshot(domain).rows(ids)] = vectors
    return raw


class BM25Text:
    """BM25 of the texts of the liked history, as one query, against candidates' texts (the index's item template).

    Robertson and Zaragoza 2009, in Lucene's form, by bm25s with its defaults (k1 1.5, b .75, English stop words).
    """

    def __init__(self, data: Dataset) -> None:
        self._text = data.index.template.text
        self._searches = {domain: self._search(data, domain) for domain in data.domains}

    def fit(self, training: Sequence[History], rng: np.random.Generator) -> Scorer:
        """Nothing is learnt."""
        return self._score

    def _search(self, data: Dataset, domain: str) -> BM25:
        with optional_packages("the baseline bm25", "eval"):
            from bm25s import BM25
        positions = data.index.snapshot(domain).positions
        texts = [""] * len(positions)
        for item in data.store.iter_items(domain):
            if item.id in positions:
                texts[positions[item.id]] = self._text(item=item)
        search = BM25()
        search.index(_words(texts), show_progress=False)
        return search

    def _score(self, case: Case) -> CatalogueScores:
        search = self._searches[case.target]
        query = [word for words in _words([self._text(item=item) for item in _liked(case)]) for word in words]
        return np.asarray(search.get_scores_from_ids(search.get_tokens_ids(query)), dtype=np.float32)


def _liked(case: Case) -> list[Item]:
    return [entry.item for entry in case.history.liked]


def _words(texts: list[str]) -> list[list[str]]:
    from bm25s import tokenize

    words: list[list[str]] = tokenize(texts, return_ids=False, show_progress=False)
    return words
