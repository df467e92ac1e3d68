"""Walking the graph of relations. Reads the stored relations, produces arrays, simple paths over them, and their sums.

What the scores mean: `retrieval.relations.graph`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.store import RelationStore

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ATTENUATION: Final = 0.5
"""What each step beyond the first takes off a path's score."""
DAMPING: Final = 0.4
"""The exponent; the value that Himmelstein and Baranzini found best."""

Numbers = NDArray[np.int64]
Weights = NDArray[np.float64]
_Edge = tuple[int, int]
"""A relation, and the thing at its other end."""
Beside = Mapping[int, list[_Edge]]
"""What some starts are related to: each thing with the relations to it and the starts that they come from."""


class Walk(NamedTuple):
    """A path by position: from one item over relations to another."""

    start: int
    end: int
    edges: tuple[int, ...]


@dataclass(frozen=True)
class Arrays:
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

    numbers: Numbers
    domains: Numbers
    names: tuple[str, ...]
    subject: Numbers
    object: Numbers
    predicate: Numbers
    predicates: tuple[str, ...]
    weight: Weights
    start: Numbers
    edges: Numbers
    others: Numbers
    matrix: csr_array

    @property
    def ends(self) -> tuple[Numbers, Numbers, Numbers]:
        """Subject, predicate and object of the relations."""
        return self.subject, self.predicate, self.object

    @cached_property
    def squares(self) -> csr_array:
        """The squares of the matrix' entries."""
        return self.matrix.power(2)

    @cached_property
    def degree(self) -> Numbers:
        """How many relations each thing has."""
        return np.diff(self.start)

    def around(self, thing: int) -> Iterator[_Edge]:
        """The relations of a thing, each with its other end."""
        part = slice(self.start[thing], self.start[thing + 1])
        return zip(self.edges[part].tolist(), self.others[part].tolist(), strict=True)

    def positions(self, numbers: Iterable[int]) -> Numbers:
        """Where things are; those that came after loading are left out."""
        wanted = np.array(sorted(numbers), dtype=np.int64)
        at = np.searchsorted(self.numbers, wanted)
        at = at[at < len(self.numbers)]
        return at[np.isin(self.numbers[at], wanted)]


def load_arrays(store: RelationStore) -> Arrays | None:
    """All relations of a store; None if there are none."""
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
    return Arrays(
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


def _times(ends: Numbers, predicate: Numbers) -> Weights:
    """For each relation, how many have the same predicate and the same end in the same place."""
    both = ends * (predicate.max() + 1) + predicate
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse], dtype=np.float64)


def score(graph: Arrays, walk: Walk) -> float:
    """A path's score, in (0, 1]."""
    product = prod(float(graph.weight[edge]) for edge in walk.edges)
    return round(product * ATTENUATION ** (len(walk.edges) - 1), 12)


def beside_of(graph: Arrays, starts: Numbers) -> Beside:
    """What the things at these positions are related to."""
    beside: dict[int, list[_Edge]] = {}
    for start in starts.tolist():
        for edge, other in graph.around(start):
            beside.setdefault(other, []).append((edge, start))
    return beside


def simple_paths(graph: Arrays, beside: Beside, end: int, max_degree: int) -> Iterator[Walk]:
    """All paths of at most three relations from the starts (which `beside` is made of) to `end`.

    They are walked from the end and meet what lies beside the starts half way.
    """
    degree = graph.degree
    for edge, start in beside.get(end, ()):
        if start != end:
            yield Walk(start, end, (edge,))
    for last, near in graph.around(end):
        if degree[near] > max_degree:
            continue
        for first, start in beside.get(near, ()):
            if start != end:
                yield Walk(start, end, (first, last))
        for middle, far in graph.around(near):
            if far == end or degree[far] > max_degree:
                continue
            for first, start in beside.get(far, ()):
                if start not in {near, end}:
                    yield Walk(start, end, (first, middle, last))


def path_counts(graph: Arrays, starts: Numbers, max_degree: int) -> Weights:
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
