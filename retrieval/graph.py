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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.relation_store import Key, RelationStore
from retrieval.relations import Path, Relation
from retrieval.types import Item

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_DEGREE: Final = 50
"""Relations above which a thing says too little to lead anywhere."""
ATTENUATION: Final = 0.5
"""What each step beyond the first takes off a path's score."""
DAMPING: Final = 0.4
"""The exponent; the value that Himmelstein and Baranzini found best."""

_Numbers = NDArray[np.int64]
_Weights = NDArray[np.float64]
_Edge = tuple[int, int]
"""A relation, and the thing at its other end."""
_Beside = Mapping[int, list[_Edge]]
"""What some starts are related to: each thing with the relations to it and the starts that they come from."""


class _Walk(NamedTuple):
    """A path by position: from one item over relations to another."""

    start: int
    end: int
    edges: tuple[int, ...]


@dataclass(frozen=True)
class _Arrays:
    """The relations of one generation, things by position.

    Attributes:
        numbers: the store's numbers of the things, ascending.
        domains: for each thing a number of its domain, -1 if it is no item; `names` has the domains.
        subject, object, predicate: the ends by position and the predicate by number; `predicates` has the names.
        weight: each relation's factor.
        start, edges, others: the relations of thing i are edges[start[i]:start[i + 1]], the things at their other ends
            others[start[i]:start[i + 1]].
        matrix: the sum of the weights between any two things, both ways.
    """

    numbers: _Numbers
    domains: _Numbers
    names: tuple[str, ...]
    subject: _Numbers
    object: _Numbers
    predicate: _Numbers
    predicates: tuple[str, ...]
    weight: _Weights
    start: _Numbers
    edges: _Numbers
    others: _Numbers
    matrix: csr_array

    @property
    def ends(self) -> tuple[_Numbers, _Numbers, _Numbers]:
        """Subject, predicate and object of the relations."""
        return self.subject, self.predicate, self.object

    @cached_property
    def squares(self) -> csr_array:
        """The squares of the matrix' entries."""
        return self.matrix.power(2)

    @cached_property
    def degree(self) -> _Numbers:
        """How many relations each thing has."""
        return np.diff(self.start)

    def around(self, thing: int) -> Iterator[_Edge]:
        """The relations of a thing, each with its other end."""
        part = slice(self.start[thing], self.start[thing + 1])
        return zip(self.edges[part].tolist(), self.others[part].tolist(), strict=True)

    def positions(self, numbers: Iterable[int]) -> _Numbers:
        """Where things are; those that came after loading are left out."""
        wanted = np.array(sorted(numbers), dtype=np.int64)
        at = np.searchsorted(self.numbers, wanted)
        at = at[at < len(self.numbers)]
        return at[np.isin(self.numbers[at], wanted)]


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
        self._loaded: tuple[int, _Arrays | None] = (0, None)

    def paths(self, starts: Sequence[Key], end: Key, limit: int = 3) -> tuple[Path, ...]:
        """The `limit` best paths from any of the items `starts` to the item `end`, best first."""
        graph = self._graph()
        if graph is None:
            return ()
        first = graph.positions(self.store.numbers(starts).values())
        last = graph.positions(self.store.numbers([end]).values())
        beside = _beside(graph, first)
        found = [path for one in last.tolist() for path in self._best(graph, beside, one, limit)]
        return tuple(self._told(graph, found))

    def between(self, starts: Sequence[Item], end: Item) -> tuple[Path, ...]:
        """As `paths`, for items."""
        return self.paths([(item.domain, item.id) for item in starts], (end.domain, end.id))

    def candidates(self, starts: Sequence[Key], target: str, k: int) -> list[tuple[Key, float, Path]]:
        """The `k` items of the domain `target` that the items `starts` lead to, best first: item, score, best path.

        The score is a sum over paths, above 0 and comparable within one call only. Items in `starts` are not among
        them; whether an item may be recommended is not looked at.
        """
        graph = self._graph()
        if graph is None or target not in graph.names:
            return []
        first = graph.positions(self.store.numbers(starts).values())
        scores = _path_counts(graph, first, self.max_degree).round(12)
        scores[graph.domains != graph.names.index(target)] = 0
        scores[first] = 0
        hits = np.flatnonzero(scores > 0)
        top = hits[np.lexsort((hits, -scores[hits]))[:k]].tolist()
        beside = _beside(graph, first)
        paths = list(self._told(graph, [path for one in top for path in self._best(graph, beside, one, 1)]))
        at = dict(zip(graph.numbers[top].tolist(), top, strict=True))
        ids = self.store.numbers((path.end.domain or "", path.end.id) for path in paths)
        found = [(key, float(scores[at[ids[key]]]), path) for path in paths if (key := (target, path.end.id)) in ids]
        return sorted(found, key=lambda one: (-one[1], one[0]))

    def _graph(self) -> _Arrays | None:
        """The relations as they are now; None if there are none."""
        generation = self.store.generation()
        with self._lock:
            if generation != self._loaded[0]:
                self._loaded = (generation, _load(self.store))
            return self._loaded[1]

    def _best(self, graph: _Arrays, beside: _Beside, end: int, limit: int) -> list[_Walk]:
        found = _simple_paths(graph, beside, end, self.max_degree)
        scored = ((-_score(graph, walk), len(walk.edges), walk) for walk in found)
        return [walk for _, _, walk in heapq.nsmallest(limit, scored)]

    def _told(self, graph: _Arrays, walks: Sequence[_Walk]) -> Iterator[Path]:
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


def _load(store: RelationStore) -> _Arrays | None:
    from scipy.sparse import coo_array

    domain_codes: dict[str | None, int] = {None: -1}
    numbers, domains = [], []
    for number, domain in store.iter_things():
        numbers.append(number)
        domains.append(domain_codes.setdefault(domain, len(domain_codes) - 1))
    predicate_codes: dict[str, int] = {}
    flat = np.fromiter(
        (
            value
            for subject, predicate, object_ in store.iter_relations()
            for value in (subject, predicate_codes.setdefault(predicate, len(predicate_codes)), object_)
        ),
        dtype=np.int64,
    )
    triples = flat.reshape(-1, 3)
    known = np.array(numbers, dtype=np.int64)
    triples = triples[np.isin(triples[:, 0], known) & np.isin(triples[:, 2], known)]  # less what came between the reads
    if not len(triples):
        return None
    subject, object_ = np.searchsorted(known, triples[:, 0]), np.searchsorted(known, triples[:, 2])
    predicate = triples[:, 1]
    weight = (_times(subject, predicate) * _times(object_, predicate)) ** -DAMPING
    rows, size = np.arange(len(triples)), len(known)
    ends = np.concatenate([subject, object_])
    order = np.argsort(ends, kind="stable")
    both = (np.concatenate([weight, weight]), (ends, np.concatenate([object_, subject])))
    return _Arrays(
        numbers=known,
        domains=np.array(domains, dtype=np.int64),
        names=tuple(name for name in domain_codes if name is not None),
        subject=subject,
        object=object_,
        predicate=predicate,
        predicates=tuple(predicate_codes),
        weight=weight,
        start=np.searchsorted(ends[order], np.arange(size + 1)),
        edges=np.concatenate([rows, rows])[order],
        others=np.concatenate([object_, subject])[order],
        matrix=coo_array(both, shape=(size, size)).tocsr(),
    )


def _times(ends: _Numbers, predicate: _Numbers) -> _Weights:
    """For each relation, how many have the same predicate and the same end in the same place."""
    both = ends * (predicate.max() + 1) + predicate
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse], dtype=np.float64)


def _score(graph: _Arrays, walk: _Walk) -> float:
    return round(ATTENUATION ** (len(walk.edges) - 1) * prod(graph.weight[edge] for edge in walk.edges), 12)


def _beside(graph: _Arrays, starts: _Numbers) -> _Beside:
    beside: dict[int, list[_Edge]] = {}
    for start in starts.tolist():
        for edge, other in graph.around(start):
            beside.setdefault(other, []).append((edge, start))
    return beside


def _simple_paths(graph: _Arrays, beside: _Beside, end: int, max_degree: int) -> Iterator[_Walk]:
    """All paths of at most three relations from the starts (which `beside` is made of) to `end`.

    They are walked from the end and meet what lies beside the starts half way.
    """
    degree = graph.degree
    for edge, start in beside.get(end, ()):
        if start != end:
            yield _Walk(start, end, (edge,))
    for last, near in graph.around(end):
        if degree[near] > max_degree:
            continue
        for first, start in beside.get(near, ()):
            if start != end:
                yield _Walk(start, end, (first, last))
        for middle, far in graph.around(near):
            if far == end or degree[far] > max_degree:
                continue
            for first, start in beside.get(far, ()):
                if start not in {near, end}:
                    yield _Walk(start, end, (first, middle, last))


def _path_counts(graph: _Arrays, starts: _Numbers, max_degree: int) -> _Weights:
    """For each thing the sum of the scores of all paths to it; only for what is no start itself.

    Walks of one to three steps are counted by matrix products. Those of three that are no paths are taken off: w_st
    p_s r_s of start-x-start-end and w_st p_t r_t of start-end-x-end, where p is 1 for stepping stones and r sums the
    squared weights to them; start-end-start-end, p_s p_t w_st³, is then taken off twice.
    """
    matrix, rows = graph.matrix, graph.matrix[starts]
    passable = (graph.degree <= max_degree).astype(np.float64)
    back = passable * (graph.squares @ passable)
    one = rows.sum(axis=0)
    two = matrix @ (passable * one)
    three = matrix @ (passable * two)
    three -= rows.T @ back[starts] + back * one - passable * (rows.power(3).T @ passable[starts])
    return np.asarray(one + ATTENUATION * two + ATTENUATION**2 * three)
