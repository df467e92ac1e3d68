"""Promises of the graph: every short simple path and no other, the best first, and the same sums by another way."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.ingest import IngestRequest, ingest
from retrieval.relations import RelationGraph
from retrieval.relations.paths import ATTENUATION, DAMPING
from retrieval.store import RelationStore
from retrieval.types import Entity, Item


class Relations:
    """Relations in memory, as the store gives them. Things below `items` are items, films if even and books if odd."""

    def __init__(self, triples, items=8):
        self.triples = sorted(triples)
        self._items = items

    def generation(self):
        return 1

    def iter_things(self):
        return ((n, self._domain(n)) for n in sorted({n for s, _, o in self.triples for n in (s, o)}))

    def iter_relations(self):
        return iter(self.triples)

    def numbers(self, keys):
        return {key: int(key[1]) for key in keys if any(int(key[1]) in (s, o) for s, _, o in self.triples)}

    def names(self, numbers):
        return {n: str(n) for n in numbers}

    def entities(self, numbers):
        return {n: Entity(domain=self._domain(n), id=str(n), name=f"thing {n}") for n in numbers}

    def _domain(self, n):
        return ("films", "books")[n % 2] if n < self._items else None


def walks(triples, start, end, max_degree):
    """Brute force: all simple paths of at most three relations."""

    def degree(n):
        return sum(n in (s, o) for s, _, o in triples)

    def go(at, seen, steps):
        if at == end and steps:
            yield tuple(steps)
            return
        if len(steps) == 3 or (steps and degree(at) > max_degree):
            return
        for triple in triples:
            s, _, o = triple
            if at in (s, o):
                other = o if at == s else s
                if other not in seen:
                    yield from go(other, {*seen, other}, [*steps, triple])

    return list(go(start, {start}, []))


def score(triples, path):
    """The formula of the module, written down once more."""
    product = ATTENUATION ** (len(path) - 1)
    for s, p, o in path:
        as_subject = sum((s, p) == (s2, p2) for s2, p2, _ in triples)
        as_object = sum((p, o) == (p2, o2) for _, p2, o2 in triples)
        product *= (as_subject * as_object) ** -DAMPING
    return product


def told(path):
    return tuple((int(r.subject.id), r.predicate, int(r.object.id)) for r in path.relations)


THINGS = st.integers(0, 11)
TRIPLES = st.sets(
    st.tuples(THINGS, st.sampled_from("pq"), THINGS).filter(lambda t: t[0] != t[2]), min_size=1, max_size=30
)


@given(TRIPLES, st.sets(st.sampled_from([0, 2, 4]), min_size=1), st.integers(2, 12))
def test_paths_and_scores_are_those_of_a_brute_force_walk(triples, starts, max_degree):
    """Any graph, with cycles and parallel relations: all simple paths, best first; candidates have their sums."""
    graph = RelationGraph(Relations(triples), max_degree)
    keys = [("films", str(start)) for start in sorted(starts)]
    expected = {}
    for end in (1, 3, 5, 7):
        paths = [path for start in starts for path in walks(triples, start, end, max_degree)]
        found = graph.paths(keys, ("books", str(end)), 10_000)
        assert sorted(map(told, found)) == sorted(paths)
        scores = [score(triples, told(path)) for path in found]
        assert scores == sorted(scores, reverse=True) or scores == pytest.approx(sorted(scores, reverse=True))
        assert all(path.start.id in {str(s) for s in starts} and path.end.id == str(end) for path in found)
        assert graph.paths(keys, ("books", str(end)), 2) == found[:2]
        if paths:
            expected["books", str(end)] = sum(score(triples, path) for path in paths)
    candidates = graph.candidates(keys, "books", 100)
    assert {key: total for key, total, _ in candidates} == pytest.approx(expected, abs=1e-9)
    assert [total for _, total, _ in candidates] == sorted((total for _, total, _ in candidates), reverse=True)
    for key, _, path in candidates:
        assert path == graph.paths(keys, key, 1)[0]
    assert graph.candidates(keys, "books", 2) == candidates[:2]
    assert graph.ranked_items(keys, "books", 100) == tuple(id_ for (_, id_), *_ in candidates)


def test_a_path_walks_relations_in_either_direction_and_keeps_theirs():
    """The steps lead from the start to the end; each relation stays as it was written."""
    graph = RelationGraph(Relations({(10, "p", 0), (10, "q", 11), (1, "p", 11)}))
    (path,) = graph.paths([("films", "0")], ("books", "1"))
    assert told(path) == ((10, "p", 0), (10, "q", 11), (1, "p", 11))
    assert (path.start.id, path.end.id) == ("0", "1")


def test_what_many_share_says_less_and_hubs_nothing():
    """A rare entity comes before a common one; above the limit it leads nowhere, as an end it still may be one."""
    crowd = {(n, "won", 100) for n in range(10)}
    graph = RelationGraph(Relations({*crowd, (0, "by", 101), (1, "by", 101)}, items=50), max_degree=10)
    paths = graph.paths([("films", "0")], ("books", "1"))
    assert [r.predicate for path in paths for r in path.relations] == ["by", "by", "won", "won"]
    strict = RelationGraph(Relations({*crowd, (0, "by", 101), (1, "by", 101)}, items=50), max_degree=9)
    assert len(strict.paths([("films", "0")], ("books", "1"))) == 1
    popular = {(0, "by", n) for n in range(100, 130)} | {(1, "by", 105)}
    assert RelationGraph(Relations(popular, items=50), max_degree=5).paths([("films", "0")], ("books", "1"))


def test_who_is_not_in_the_graph_has_no_path():
    """Unknown items, an unknown domain, an empty store and no starts: nothing, and no error."""
    graph = RelationGraph(Relations({(0, "p", 1)}))
    assert graph.paths([("films", "77")], ("books", "1")) == ()
    assert graph.paths([], ("books", "1")) == ()
    assert graph.paths([("films", "0")], ("books", "77")) == ()
    assert graph.candidates([("films", "0")], "music", 5) == []
    assert graph.candidates([], "books", 5) == []
    assert graph.ranked_items([("films", "0")], "music", 5) == graph.ranked_items([], "books", 5) == ()
    assert RelationGraph(Relations(set())).candidates([("films", "0")], "books", 5) == []


def test_the_graph_follows_its_store(store, tmp_path):
    """Loaded at first use; new relations and deleted items are seen at the next question."""
    for domain in ("films", "books"):
        store.upsert_items([Item(domain=domain, id=f"{domain}-{n}", title=f"{domain} {n}") for n in range(3)], "run")
    files = count()

    def add(text):
        path = tmp_path / f"{next(files)}.csv"
        path.write_text(f"subject,predicate,object\n{text}")
        ingest(store, IngestRequest(path, kind="relations"))

    with RelationStore.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as relations:
        graph = RelationGraph(relations)
        start = [("films", "films-0")]
        assert graph.candidates(start, "books", 5) == []
        add("films-0,based_on,books-1\nfilms-0,directed_by,Mary\nbooks-2,written_by,Mary\n")
        found = graph.candidates(start, "books", 5)
        assert [(key[1], path.start.name, path.end.name) for key, _, path in found] == [
            ("books-1", "films 0", "books 1"),
            ("books-2", "films 0", "books 2"),
        ]
        store.delete_items("books", ["books-1"])
        assert [key[1] for key, _, _ in graph.candidates(start, "books", 5)] == ["books-2"]
        store.delete_items("films", ["films-0"])
        assert graph.candidates(start, "books", 5) == []


def test_the_reasons_of_one_answer_look_once_whether_relations_have_changed():
    """Ten candidates cost one question about changes, and the paths are those that are found one by one."""

    class Counted(Relations):
        asked = 0

        def generation(self):
            self.asked += 1
            return super().generation()

    relations = Counted({(0, "p", 4), (0, "q", 5)})
    graph = RelationGraph(relations)
    starts = [Item(domain="films", id="0", title="0")]
    ends = [Item(domain="books", id=str(n), title=str(n)) for n in range(8)]
    singly = [graph.paths_between(starts, end) for end in ends]
    before = relations.asked
    find = graph.path_finder()
    assert relations.asked == before
    assert [find(starts, end) for end in ends] == singly
    assert relations.asked == before + 1
    assert any(singly)
