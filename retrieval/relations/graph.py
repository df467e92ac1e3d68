"""The relation graph. Reads the stored relations, produces paths between items and candidates for retrieval.

A path leads over n ≤ 3 relations, in whatever direction they were written, and visits nothing twice. Its score, in
(0, 1], is over its relations

    2^(1-n) · Π (d_p(subject) · d_p(object))^-0.4

where d_p(x) counts the relations with that predicate in which x has that place: "won the Golden Bear" is shared with
many and says little, "based on" with one book and says much. The product is the path degree product of Himmelstein and
Baranzini (2015, "Heterogeneous network edge prediction"), the halving with each step the attenuation of Katz (1953, "A
new status index"). A candidate's score is the sum over all its paths. No path leads through an entity with more than
`max_degree` relations, which bounds the work.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from threading import Lock
from typing import Final

import numpy as np

from retrieval.relations.paths import (
    Adjacency,
    GraphArrays,
    GraphPath,
    Integers,
    adjacency_of,
    load_arrays,
    path_score,
    path_score_sums,
    simple_paths,
)
from retrieval.store import Key, RelationStore
from retrieval.types import Item, Path, Relation

MAX_DEGREE: Final = 50

PathFinder = Callable[[Sequence[Item], Item], tuple[Path, ...]]
"""The best paths from any of some items to an item, best first."""


class RelationGraph:
    """Paths and candidates from the relations of a store, loaded at first use and again when they have changed.

    Args:
        store: where the relations are.
        max_degree: most relations of an entity inside a path; the ends of a path may have any number.

    Raises:
        StoreError: from every method, if the database fails.
    """

    def __init__(self, store: RelationStore, max_degree: int = MAX_DEGREE) -> None:
        self.store = store
        self.max_degree = max_degree
        self._lock = Lock()
        self._loaded: tuple[int, GraphArrays | None] = (0, None)

    def paths(self, starts: Sequence[Key], end: Key, limit: int = 3) -> tuple[Path, ...]:
        """The `limit` best paths from any of the items `starts` to the item `end`, best first."""
        return self._paths(self._graph(), starts, end, limit)

    def paths_between(self, starts: Sequence[Item], end: Item) -> tuple[Path, ...]:
        """As `paths`, for items."""
        return self.path_finder()(starts, end)

    def path_finder(self) -> PathFinder:
        """`paths_between` for one answer: checks only once, at the first use, whether the relations have changed."""
        graph = cache(self._graph)

        def find(starts: Sequence[Item], end: Item) -> tuple[Path, ...]:
            return self._paths(graph(), [(item.domain, item.id) for item in starts], (end.domain, end.id))

        return find

    def candidates(self, starts: Sequence[Key], target: str, k: int) -> list[tuple[Key, float, Path]]:
        """The `k` items of the domain `target` that the items `starts` lead to, best first: item, score, best path.

        The score is a sum over paths, above 0 and comparable within one call only. Items in `starts` are excluded;
        withdrawn items are not.
        """
        graph = self._graph()
        if graph is None:
            return []
        first = graph.positions(self.store.numbers(starts).values())
        top, scores = self._top(graph, first, target, k)
        adjacency = adjacency_of(graph, first)
        paths = list(self._stored(graph, [path for end in top for path in self._best(graph, adjacency, end, 1)]))
        positions = dict(zip(graph.numbers[top].tolist(), top, strict=True))
        numbers = self.store.numbers((path.end.domain or "", path.end.id) for path in paths)
        candidates = []
        for path in paths:
            key = (target, path.end.id)
            if numbers.get(key) in positions:  # else deleted, or deleted and stored again, since the loading
                candidates.append((key, float(scores[positions[numbers[key]]]), path))
        return sorted(candidates, key=lambda candidate: (-candidate[1], candidate[0]))

    def ranked_items(self, starts: Sequence[Key], target: str, k: int) -> tuple[str, ...]:
        """Ids of the `k` items of the domain `target` that the items `starts` lead to, best first.

        As `candidates`, without scores and paths, which take most of the time; deleted items may be among them.
        """
        graph = self._graph()
        if graph is None:
            return ()
        first = graph.positions(self.store.numbers(starts).values())
        numbers = graph.numbers[self._top(graph, first, target, k)[0]].tolist()
        names = self.store.names(numbers)
        return tuple(names[number] for number in numbers if number in names)

    def _graph(self) -> GraphArrays | None:
        """The relations as they are now; None if there are none."""
        generation = self.store.generation()
        with self._lock:
            if generation != self._loaded[0]:
                self._loaded = (generation, load_arrays(self.store))
            return self._loaded[1]

    def _paths(self, graph: GraphArrays | None, starts: Sequence[Key], end: Key, limit: int = 3) -> tuple[Path, ...]:
        if graph is None:
            return ()
        numbers = self.store.numbers([*starts, end])
        adjacency = adjacency_of(graph, graph.positions(number for key, number in numbers.items() if key in starts))
        ends = graph.positions([numbers[end]] if end in numbers else []).tolist()
        return tuple(self._stored(graph, [path for one in ends for path in self._best(graph, adjacency, one, limit)]))

    def _top(self, graph: GraphArrays, starts: Integers, target: str, k: int) -> tuple[list[int], np.ndarray]:
        """Positions of the `k` items of the target with the largest sums over paths, best first; the sums of all."""
        scores = path_score_sums(graph, starts, self.max_degree).round(12)
        if target not in graph.domain_names:
            return [], scores
        scores[graph.domains != graph.domain_names.index(target)] = 0
        scores[starts] = 0
        reached = np.flatnonzero(scores > 0)
        return reached[np.lexsort((reached, -scores[reached]))[:k]].tolist(), scores

    def _best(self, graph: GraphArrays, adjacency: Adjacency, end: int, limit: int) -> list[GraphPath]:
        paths = simple_paths(graph, adjacency, end, self.max_degree)
        scored = ((-path_score(graph, path), len(path.edges), path) for path in paths)
        return [path for _, _, path in heapq.nsmallest(limit, scored)]

    def _stored(self, graph: GraphArrays, paths: Sequence[GraphPath]) -> Iterator[Path]:
        """The paths with their entities, less those over entities that were deleted since the relations were loaded."""
        edges = sorted({edge for path in paths for edge in path.edges})
        subjects, objects = graph.subject[edges], graph.object[edges]
        nodes = np.unique(np.concatenate([subjects, objects]))
        by_number = self.store.entities(graph.numbers[nodes].tolist())
        entities = {
            node: by_number[number]
            for node, number in zip(nodes.tolist(), graph.numbers[nodes].tolist(), strict=True)
            if number in by_number
        }
        relations = {
            edge: Relation(subject=entities[s], predicate=graph.predicate_names[p], object=entities[o])
            for edge, s, p, o in zip(
                edges, subjects.tolist(), graph.predicate[edges].tolist(), objects.tolist(), strict=True
            )
            if s in entities and o in entities
        }
        for path in paths:
            if all(edge in relations for edge in path.edges):
                steps = tuple(relations[edge] for edge in path.edges)
                yield Path(start=entities[path.start], end=entities[path.end], relations=steps)
