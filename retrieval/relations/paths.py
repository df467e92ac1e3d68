"""Graph arrays and paths. Reads the stored relations, produces arrays, simple paths, and sums of path scores.

What the scores mean: `retrieval.relations.graph`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.store import RelationStore

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ATTENUATION: Final = 0.5
"""Factor of a path's score for each step beyond the first."""
DAMPING: Final = 0.4
"""The exponent; the value that Himmelstein and Baranzini found best."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
_Step = tuple[int, int]
"""A relation, and the node at its other end."""
Adjacency = Mapping[int, list[_Step]]
"""What some starts are related to: each node with the relations to it and the starts that they come from."""


class GraphPath(NamedTuple):
    """A path by position: from one node over relations to another."""

    start: int
    end: int
    edges: tuple[int, ...]


@dataclass(frozen=True)
class GraphArrays:
    """The relations of one generation; a node is an entity by position.

    Attributes:
        numbers: the store's number of each node, ascending.
        domains: each node's place in `domain_names`, -1 if it is no item.
        subject, object, predicate: of each relation, the nodes by position and the place in `predicate_names`.
        weight: each relation's factor.
        start, edges, others: the relations of node i are edges[start[i]:start[i + 1]], the nodes at their other ends
            others[start[i]:start[i + 1]].
        matrix: the sum of the weights between any two nodes, both ways.
    """

    numbers: Integers
    domains: Integers
    domain_names: tuple[str, ...]
    subject: Integers
    object: Integers
    predicate: Integers
    predicate_names: tuple[str, ...]
    weight: Floats
    start: Integers
    edges: Integers
    others: Integers
    matrix: csr_array

    @cached_property
    def squares(self) -> csr_array:
        """The squares of the matrix' entries."""
        return self.matrix.power(2)

    @cached_property
    def degree(self) -> Integers:
        """How many relations each node has."""
        return np.diff(self.start)

    def steps_from(self, node: int) -> Iterator[_Step]:
        """The relations of a node, each with its other end."""
        part = slice(self.start[node], self.start[node + 1])
        return zip(self.edges[part].tolist(), self.others[part].tolist(), strict=True)

    def positions(self, numbers: Iterable[int]) -> Integers:
        """Positions of the nodes with these numbers; unknown numbers are left out."""
        wanted = np.array(sorted(numbers), dtype=np.int64)
        places = np.searchsorted(self.numbers, wanted)
        places = places[places < len(self.numbers)]
        return places[np.isin(self.numbers[places], wanted)]


def load_arrays(store: RelationStore) -> GraphArrays | None:
    """All relations of a store; None if there are none."""
    from scipy.sparse import coo_array

    domain_codes: dict[str | None, int] = {None: -1}
    nodes = ((number, domain_codes.setdefault(d, len(domain_codes) - 1)) for number, d in store.iter_things())
    numbers, domains = _table(nodes, 2).T.copy()
    predicate_codes: dict[str, int] = {}
    relations = ((s, predicate_codes.setdefault(p, len(predicate_codes)), o) for s, p, o in store.iter_relations())
    triples = _table(relations, 3)
    # Without entities that came between the two reads.
    triples = triples[np.isin(triples[:, 0], numbers) & np.isin(triples[:, 2], numbers)]
    if not len(triples):
        return None
    subject, object_ = np.searchsorted(numbers, triples[:, 0]), np.searchsorted(numbers, triples[:, 2])
    predicate = triples[:, 1]
    weight = (_degrees(subject, predicate) * _degrees(object_, predicate)) ** -DAMPING
    # Every relation twice, once from each of its ends.
    ends, others = np.concatenate([subject, object_]), np.concatenate([object_, subject])
    order = np.argsort(ends, kind="stable")
    matrix = coo_array((np.concatenate([weight, weight]), (ends, others)), shape=(len(numbers), len(numbers)))
    return GraphArrays(
        numbers=numbers,
        domains=domains,
        domain_names=tuple(name for name in domain_codes if name is not None),
        subject=subject,
        object=object_,
        predicate=predicate,
        predicate_names=tuple(predicate_codes),
        weight=weight,
        start=np.searchsorted(ends[order], np.arange(len(numbers) + 1)),
        edges=np.tile(np.arange(len(triples)), 2)[order],
        others=others[order],
        matrix=matrix.tocsr(),
    )


def _table(rows: Iterable[tuple[int, ...]], columns: int) -> Integers:
    return np.fromiter(chain.from_iterable(rows), dtype=np.int64).reshape(-1, columns)


def _degrees(ends: Integers, predicate: Integers) -> Floats:
    """For each relation, how many have the same predicate and the same end in the same place."""
    pairs = ends * (predicate.max() + 1) + predicate
    _, inverse, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse], dtype=np.float64)


def path_score(graph: GraphArrays, path: GraphPath) -> float:
    """A path's score, in (0, 1]."""
    product = prod(float(graph.weight[edge]) for edge in path.edges)
    return round(product * ATTENUATION ** (len(path.edges) - 1), 12)


def adjacency_of(graph: GraphArrays, starts: Integers) -> Adjacency:
    """What the nodes at these positions are related to."""
    adjacency: dict[int, list[_Step]] = {}
    for start in starts.tolist():
        for edge, other in graph.steps_from(start):
            adjacency.setdefault(other, []).append((edge, start))
    return adjacency


def simple_paths(graph: GraphArrays, adjacency: Adjacency, end: int, max_degree: int) -> Iterator[GraphPath]:
    """All paths of at most three relations from the starts (those of `adjacency`) to `end`.

    The search goes from the end and meets the starts' adjacency half way.
    """
    degree = graph.degree
    for edge, start in adjacency.get(end, ()):
        if start != end:
            yield GraphPath(start, end, (edge,))
    for last, near in graph.steps_from(end):
        if degree[near] > max_degree:
            continue
        for first, start in adjacency.get(near, ()):
            if start != end:
                yield GraphPath(start, end, (first, last))
        for middle, far in graph.steps_from(near):
            if far == end or degree[far] > max_degree:
                continue
            for first, start in adjacency.get(far, ()):
                if start not in {near, end}:
                    yield GraphPath(start, end, (first, middle, last))


def path_score_sums(graph: GraphArrays, starts: Integers, max_degree: int) -> Floats:
    """For each node the sum of the scores of all paths to it; only valid for nodes that are no starts.

    Walks of one to three steps are summed by matrix products. Those of three that are no paths are taken off: w_st
    p_s r_s of start-x-start-end and w_st p_t r_t of start-end-x-end, where p is 1 for nodes that a path may lead
    through and r sums the squared weights to them; start-end-start-end, p_s p_t w_st³, is then taken off twice.
    """
    matrix, rows = graph.matrix, graph.matrix[starts]
    passable = (graph.degree <= max_degree).astype(np.float64)
    back = passable * (graph.squares @ passable)
    one = rows.sum(axis=0)
    two = matrix @ (passable * one)
    three = matrix @ (passable * two)
    three -= rows.T @ back[starts] + back * one - passable * (rows.power(3).T @ passable[starts])
    return np.asarray(one + ATTENUATION * two + ATTENUATION**2 * three)
