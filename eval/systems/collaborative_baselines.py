"""Baselines that learn from what people liked together. Read training histories, produce scorers.

All work on one matrix of people and the items of all domains, so that a person who likes things in two domains ties
them together. Factors and neighbours come from implicit, the map between domains from scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from eval.data import Case, CatalogueScores, Dataset, Scorer
from retrieval.errors import optional_packages
from retrieval.types import History

if TYPE_CHECKING:
    from implicit.cpu.als import AlternatingLeastSquares
    from sklearn.linear_model import RidgeCV

NEIGHBOURS: Final = 200
"""Most neighbours that an item keeps, of all domains together."""
FACTORS: Final = 16
"""Of each person and item; on data as sparse as ours more find less."""
PENALTIES: Final = tuple(np.logspace(-3, 3, 7))
"""Strengths of the map's ridge penalty that are tried."""


class ItemColumns:
    """A column for every item of every domain; `of` is a domain's part, in the order of its snapshot."""

    def __init__(self, data: Dataset) -> None:
        self._positions = {domain: data.index.snapshot(domain).positions for domain in data.domains}
        ends = np.cumsum([len(rows) for rows in self._positions.values()]).tolist()
        starts = [0, *ends[:-1]]
        self.of = {d: slice(start, end) for d, start, end in zip(self._positions, starts, ends, strict=True)}
        self._width: int = ends[-1]

    def liked(self, people: Sequence[History]) -> sparse.csr_matrix:
        """1 where a person liked an item, shape (people, items of all domains)."""
        found = [
            (row, self.of[e.item.domain].start + self._positions[e.item.domain][e.item.id])
            for row, person in enumerate(people)
            for e in person.liked
            if e.item.id in self._positions.get(e.item.domain, {})
        ]
        rows, columns = np.array(found, dtype=np.int32).reshape(-1, 2).T
        ones = np.ones(len(found))
        return sparse.csr_matrix((ones, (rows, columns)), shape=(len(people), self._width))


class ItemKNN:
    """Item-kNN: the sum of a candidate's cosines with the liked history, over the people who liked each.

    Sarwar, Karypis, Konstan and Riedl 2001, by implicit.
    """

    def __init__(self, data: Dataset) -> None:
        self._columns = ItemColumns(data)

    def fit(self, training: Sequence[History], rng: np.random.Generator) -> Scorer:
        """Find every item's neighbours; nothing is drawn."""
        with optional_packages("the baseline item-knn", "eval"):
            from implicit.nearest_neighbours import ItemItemRecommender
            from sklearn.preprocessing import normalize
        # Products of unit columns are cosines; implicit's own CosineRecommender warns about what it makes of its input.
        unit = normalize(self._columns.liked(training), axis=0).tocsr()
        model = ItemItemRecommender(K=NEIGHBOURS, num_threads=1)
        model.fit(unit, show_progress=False)

        def score(case: Case) -> CatalogueScores:
            near = self._columns.liked([case.history]) @ model.similarity
            return np.asarray(near[:, self._columns.of[case.target]].toarray()[0], dtype=np.float32)

        return score


class MatrixFactorisation:
    """Matrix factorisation over all domains at once; the case's user is folded in from their source history.

    Hu, Koren and Volinsky 2008, by implicit.
    """

    def __init__(self, data: Dataset) -> None:
        self._columns = ItemColumns(data)

    def fit(self, training: Sequence[History], rng: np.random.Generator) -> Scorer:
        """Factorise; `rng` draws where it starts."""
        model = _factorised(self._columns.liked(training), rng, "matrix-factorisation")

        def score(case: Case) -> CatalogueScores:
            person = model.recalculate_user(0, self._columns.liked([case.history]))
            return np.asarray(model.item_factors[self._columns.of[case.target]] @ person, dtype=np.float32)

        return score


class EMCDR:
    """Like EMCDR (Man, Shen, Jin and Cheng 2017): factors of each domain alone, and linear maps between them.

    A map is a ridge regression from people's source factors to their target factors, learnt from those who liked
    something in both domains; its penalty is chosen by leave-one-out. Without such people all candidates score alike.
    """

    def __init__(self, data: Dataset) -> None:
        self._columns = ItemColumns(data)

    def fit(self, training: Sequence[History], rng: np.random.Generator) -> Scorer:
        """Factorise every domain and learn the maps; `rng` draws where factors start."""
        liked = self._columns.liked(training)
        of = self._columns.of
        parts = {domain: liked[:, of[domain]] for domain in of}
        models = {domain: _factorised(part, rng, "emcdr") for domain, part in parts.items()}
        maps = {
            (source, target): mapped
            for source, target in permutations(of, 2)
            if (mapped := _mapped(source, target, parts, models)) is not None
        }

        def score(case: Case) -> CatalogueScores:
            model, mapped = models[case.target], maps.get((case.source, case.target))
            if mapped is None:
                return np.zeros(len(model.item_factors), dtype=np.float32)
            history = self._columns.liked([case.history])[:, of[case.source]]
            known = models[case.source].recalculate_user(0, history)
            return np.asarray(model.item_factors @ mapped.predict(known[None])[0], dtype=np.float32)

        return score


def _factorised(liked: sparse.csr_matrix, rng: np.random.Generator, baseline: str) -> AlternatingLeastSquares:
    with optional_packages(f"the baseline {baseline}", "eval"):
        from implicit.cpu.als import AlternatingLeastSquares
    # implicit has threads of its own, which those of BLAS get in the way of.
    with threadpool_limits(limits=1, user_api="blas"):
        model = AlternatingLeastSquares(FACTORS, num_threads=1, random_state=rng)
        model.fit(liked, show_progress=False)
    return model


def _mapped(source: str, target: str, parts: Mapping[str, Any], models: Mapping[str, Any]) -> RidgeCV | None:
    with optional_packages("the baseline emcdr", "eval"):
        from sklearn.linear_model import RidgeCV
    both = np.flatnonzero((parts[source].getnnz(axis=1) > 0) & (parts[target].getnnz(axis=1) > 0))
    if len(both) < 2:  # leave-one-out leaves none
        return None
    return RidgeCV(PENALTIES).fit(models[source].user_factors[both], models[target].user_factors[both])
