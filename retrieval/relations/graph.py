"""The graph of relations. Reads the stored relations, produces paths between items and candidates for retrieval.

A path leads over n ≤ 3 relations, in whatever direction they were written, and visits nothing twice. Its score, in
(0, 1], is over its relations

    2^(1-n) · Π (d_p(subject) · d_p(object))^-0.4

where d_p(x) counts the relations with that predicate in which x has that place: "won the Golden Bear" is shared with
many and says little, "based on" with one book and says much. The product is the path degree product of Himmelstein and
Baranzini (2015, "Heterogeneous network edge prediction"), the halving with each step the attenuation of Katz (1953, "A
new status index"). A candidate's score is the sum over all its paths. What has more than `max_degree` relations is no
stepping stone at all: that bounds the work.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from threading import Lock
from typing import Final

import numpy as np

from retrieval.relations.paths import (
    Arrays,
    Beside,
    Numbers,
    Walk,
    Weights,
    beside_of,
    load_arrays,
    path_counts,
    score,
    simple_paths,
)
from retrieval.store import Key, RelationStore
from retrieval.types import Item, Path, Relation

MAX_DEGREE: Final = 50
"""Relations above which a thing says too little to lead anywhere."""


class RelationGraph:
    """Paths and candidates from the relations of a store, loaded at first use and again when they have changed.

    Args:
        store: where the relations are.
        max_degree: relations above which a thing is no stepping stone; the ends of a path may have any number.

    Raises:
        StoreError: from every method, if the database fails.
    """

    def __init__(self, store: RelationStore, max_degree: int = MAX_DEGREE) -> None:
        self.store = store
        self.max_degree = max_degree
        self._lock = Lock()
        self._loaded: tuple[int, Arrays | None] = (0, None)

    def paths(self, starts: Sequence[Key], end: Key, limit: int = 3) -> tuple[Path, ...]:
        """The `limit` best paths from any of the items `starts` to the item `end`, best first."""
        return self._paths(self._graph(), starts, end, limit)

    def _paths(self, graph: Arrays | None, starts: Sequence[Key], end: Key, limit: int = 3) -> tuple[Path, ...]:
        if graph is None:
            return ()
        numbers = self.store.numbers([*starts, end])
        first = graph.positions(number for key, number in numbers.items() if key in starts)
        last = graph.positions(number for key, number in numbers.items() if key == end)
        beside = beside_of(graph, first)
        found = [path for one in last.tolist() for path in self._best(graph, beside, one, limit)]
        return tuple(self._told(graph, found))

    def between(self, starts: Sequence[Item], end: Item) -> tuple[Path, ...]:
        """As `paths`, for items."""
        return self.paths([(item.domain, item.id) for item in starts], (end.domain, end.id))

    def between_now(self) -> Callable[[Sequence[Item], Item], tuple[Path, ...]]:
        """`between`, for one answer: whether the relations have changed is asked once, at the first use."""
        look = cache(self._graph)

        def between(starts: Sequence[Item], end: Item) -> tuple[Path, ...]:
            return self._paths(look(), [(item.domain, item.id) for item in starts], (end.domain, end.id))

        return between

    def candidates(self, starts: Sequence[Key], target: str, k: int) -> list[tuple[Key, float, Path]]:
        """The `k` items of the domain `target` that the items `starts` lead to, best first: item, score, best path.

        The score is a sum over paths, above 0 and comparable within one call only. Items in `starts` are not among
        them; whether an item may be recommended is not looked at.
        """
        graph = self._graph()
        if graph is None:
            return []
        first = graph.positions(self.store.numbers(starts).values())
        top, scores = self._leading(graph, first, target, k)
        beside = beside_of(graph, first)
        paths = list(self._told(graph, [path for one in top for path in self._best(graph, beside, one, 1)]))
        at = dict(zip(graph.numbers[top].tolist(), top, strict=True))
        ids = self.store.numbers((path.end.domain or "", path.end.id) for path in paths)
        found = []
        for path in paths:
            key = (target, path.end.id)
            if ids.get(key) in at:  # else deleted, or deleted and back under another number, since the loading
                found.append((key, float(scores[at[ids[key]]]), path))
        return sorted(found, key=lambda one: (-one[1], one[0]))

    def ranked(self, starts: Sequence[Key], target: str, k: int) -> tuple[str, ...]:
        """Ids of the `k` items of the domain `target` that the items `starts` lead to, best first.

        As `candidates`, without scores and paths, which take most of the time; deleted items may be among them.
        """
        graph = self._graph()
        if graph is None:
            return ()
        first = graph.positions(self.store.numbers(starts).values())
        numbers = graph.numbers[self._leading(graph, first, target, k)[0]].tolist()
        names = self.store.names(numbers)
        return tuple(names[number] for number in numbers if number in names)

    def _leading(self, graph: Arrays, first: Numbers, target: str, k: int) -> tuple[list[int], Weights]:
        """Positions of the `k` items of the target with the largest sums over paths, best first; the sums of all."""
        scores = path_counts(graph, first, self.max_degree).round(12)
        if target not in graph.names:
            return [], scores
        scores[graph.domains != graph.names.index(target)] = 0
        scores[first] = 0
        hits = np.flatnonzero(scores > 0)
        return hits[np.lexsort((hits, -scores[hits]))[:k]].tolist(), scores

    def _graph(self) -> Arrays | None:
        """The relations as they are now; None if there are none."""
        generation = self.store.generation()
        with self._lock:
            if generation != self._loaded[0]:
                self._loaded = (generation, load_arrays(self.store))
            return self._loaded[1]

    def _best(self, graph: Arrays, beside: Beside, end: int, limit: int) -> list[Walk]:
        found = simple_paths(graph, beside, end, self.max_degree)
        scored = ((-score(graph, walk), len(walk.edges), walk) for walk in found)
        return [walk for _, _, walk in heapq.nsmallest(limit, scored)]

    def _told(self, graph: Arrays, walks: Sequence[Walk]) -> Iterator[Path]:
        """Walks in words, less those over what was deleted since the relations were loaded."""
        edges = sorted({edge for walk in walks for edge in walk.edges})
        ends = np.unique(np.concatenate([graph.subject[edges], graph.object[edges]])) if edges else graph.subject[:0]
        things = self.store.entities(graph.numbers[ends].tolist())
        named = {i: things[n] for i, n in zip(ends.tolist(), graph.numbers[ends].tolist(), strict=True) if n in things}
        told = {
            edge: Relation(subject=named[s], predicate=graph.predicates[p], object=named[o])
            for edge, s, p, o in zip(edges, *(part[edges].tolist() for part in graph.ends), strict=True)
            if s in named and o in named
        }
        for walk in walks:
            if all(edge in told for edge in walk.edges):
                relations = tuple(told[edge] for edge in walk.edges)
                yield Path(start=named[walk.start], end=named[walk.end], relations=relations)
