"""Promises of relations in the store: what names mean, what is refused and kept, and what deletions take along."""

from __future__ import annotations

import json
import re
import sqlite3
import tracemalloc
from pathlib import Path

import pytest

from retrieval.errors import BadRow, DataError, UnreadableFile, UsageError
from retrieval.ingest import IngestRequest, ingest
from retrieval.ingest.relations import BATCH, RelationWriter, predicate_name
from retrieval.store import RelationStore
from retrieval.tabular import TRIPLE_READERS, RowProblem, Source
from retrieval.types import Item

FILMS = ("alien", "heat", "ran", "same")
BOOKS = ("dune", "emma", "same")


@pytest.fixture
def filled(store):
    for domain, ids in (("films", FILMS), ("books", BOOKS)):
        store.upsert_items([Item(domain=domain, id=id_, title=id_.title()) for id_ in ids], "run")
    return store


@pytest.fixture
def kept(tmp_path, filled):
    with RelationStore.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as relations:
        yield relations


@pytest.fixture
def load(kept, filled, tmp_path):
    """Ingests a text; by default CSV without its header."""

    def load(text, name="triples.csv", **options):
        path = tmp_path / name
        head = "subject,predicate,object\n" if name == "triples.csv" else ""
        path.write_bytes(f"{head}{text}".encode())
        (report,) = ingest(filled, IngestRequest(path, kind="relations", **options))
        return report

    return load


def facts(kept):
    """The stored relations in words: items as domain:id."""
    rows = list(kept.iter_relations())
    things = kept.entities({end for subject, _, object_ in rows for end in (subject, object_)})
    told = {n: f"{t.domain}:{t.id}" if t.is_item else t.name for n, t in things.items()}
    return sorted(f"{told[subject]} {predicate} {told[object_]}" for subject, predicate, object_ in rows)


def test_a_name_is_an_item_or_a_name(load, kept):
    """`domain:id`, or an id that one domain has, is an item; everything else is what it says."""
    report = load(
        "alien,directed_by,Ridley Scott\nbooks:same,about,Alien: Covenant\ndune,influenced_by,heat\nHal,knows,Ran\n"
    )
    assert facts(kept) == [
        "Hal knows Ran",
        "books:dune influenced_by films:heat",
        "books:same about Alien: Covenant",
        "films:alien directed_by Ridley Scott",
    ]
    assert (report.added, report.rejected, report.unlinked) == (4, 0, 1)
    assert report.predicates["about"].added == 1


def test_what_means_nothing_is_refused_and_said(load, kept, tmp_path):
    """Ambiguous ids, unknown items, missing parts, loops and lists: each with its line, all of them in the file."""
    rejects = tmp_path / "bad.jsonl"
    report = load(
        "same,about,Hal\nfilms:nothing,about,Hal\n,about,Hal\nalien,-,Hal\nalien,about,films:alien\nalien,about,sp\0ce\n"
        "alien,about,fear,more\nran,about,war\n",
        rejects=rejects,
    )
    assert facts(kept) == ["films:ran about war"]
    assert [problem.line for problem in report.problems] == [2, 3, 4, 5, 6, 7, 8]
    assert "films:same or books:same" in report.problems[0].reason or "books:same or films:same" in (
        report.problems[0].reason
    )
    assert "films:nothing" in report.problems[1].reason
    assert "subject" in report.problems[2].reason
    assert "predicate" in report.problems[3].reason
    assert [json.loads(line)["line"] for line in rejects.read_text().splitlines()] == [2, 3, 4, 5, 6, 7, 8]
    assert report.rows == report.added + report.rejected == 8
    assert report.predicates["about"].rejected == 3  # those that were read


def test_again_is_unchanged_and_repeated_counts_once(load, kept):
    """Within a file a repeated triple is repeated; a file again changes nothing, not even the generation."""
    first = load("alien,about,space\nalien,about,space\nAlien,About,Space\nfilms:alien,wasAbout,space\n")
    generation = kept.generation()
    again = load("alien,about,space\nalien,about,space\n")
    assert (first.added, first.repeated) == (3, 1)
    assert (again.added, again.unchanged, again.repeated) == (0, 1, 1)
    assert kept.generation() == generation


def test_relations_over_several_batches_are_counted_right(load):
    """More rows than a batch, with repeats across batches."""
    rows = "".join(f"alien,about,theme {n % (BATCH + 10)}\n" for n in range(2 * BATCH))
    report = load(rows)
    assert (report.added, report.repeated) == (BATCH + 10, BATCH - 10)


def test_predicates_have_one_spelling():
    """Humps, blanks, IRIs and Wikidata's numbers come to the same name."""
    for text in ("basedOn", "based on", "Based-On", "http://schema.org/basedOn", "https://x/#based_on"):
        assert predicate_name(text) == "based_on"
    assert predicate_name("http://www.wikidata.org/prop/direct/P144") == "based_on"
    assert predicate_name("改编自") == "改编自"
    assert predicate_name("—!") == ""


def test_jsonl_with_other_columns(load, kept):
    """Columns can be named, IRIs count by their last part, and a list is refused."""
    report = load(
        '{"film": "http://catalogue/alien", "predicate": "about", "object": "http://d/resource/Deep%20Space"}\n'
        '{"film": ["alien"], "predicate": "about", "object": "x"}\nnot json\n',
        "triples.jsonl",
        columns={"subject": "film"},
    )
    assert facts(kept) == ["films:alien about Deep Space"]
    assert [problem.line for problem in report.problems] == [2, 3]


def test_rdf_with_blank_nodes_and_broken_lines(load, kept):
    """They are reported like bad rows and lose nothing else; labels name what is no item."""
    turtle = (
        "@prefix c: <http://catalogue/> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n"
        "@prefix wd: <http://www.wikidata.org/entity/> . @prefix wdt: <http://www.wikidata.org/prop/direct/> .\n"
        "c:alien wdt:P57 wd:Q56005 .\n"
        "c:alien wdt:P57 [ c:name 'nobody' ] .\n"
        "c:alien c:oops oops .\n"
        'wd:Q56005 rdfs:label "雷德利·斯科特"@zh, "Ridley Scott"@en, "Ridley"@de .\n'
        'c:alien rdfs:label "Something else" .\n'
        'c:dune c:firstYear "1965"^^<http://www.w3.org/2001/XMLSchema#gYear> .\n'
    )
    report = load(turtle, "triples.ttl")
    assert facts(kept) == ["books:dune first_year 1965", "films:alien directed_by Ridley Scott"]
    assert (report.added, report.labels, report.rejected) == (2, 4, 3)
    assert sorted(problem.line for problem in report.problems) == [4, 4, 5]
    nt = "<http://catalogue/ran> <http://x/about> _:b1 .\n<http://catalogue/ran> <http://x/about> <http://x/War> .\n"
    report = load(nt, "triples.nt")
    assert (report.added, report.rejected) == (1, 1)


def test_what_has_only_names_is_kept_apart_until_its_items_come(load, kept, filled):
    """Nothing is lost: with the catalogue there, the same file again finds the items behind the names."""
    rows = "kitchen,written_by,Banana Yoshimoto\nBanana Yoshimoto,born_in,Tokyo\nkitchen,about,books:dune\n"
    assert load("kitchen,written_by,Banana Yoshimoto\nBanana Yoshimoto,born_in,Tokyo\n").unlinked == 2
    filled.upsert_items([Item(domain="books", id="kitchen", title="Kitchen")], "run")
    report = load(rows)
    assert (report.added, report.unchanged, report.unlinked) == (1, 2, 0)
    assert facts(kept) == [
        "Banana Yoshimoto born_in Tokyo",
        "books:kitchen about books:dune",
        "books:kitchen written_by Banana Yoshimoto",
    ]


def test_a_name_and_the_item_that_it_becomes_are_merged(load, kept, filled, tmp_path):
    """Where an item has relations already, those of its former name join them, without repetition or loop."""
    load("kitchen,about,love\nkitchen,about,death\nHal,knows,kitchen\nkitchen,about,nothing\n")
    filled.upsert_items([Item(domain="books", id="kitchen", title="Kitchen")], "run")
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:  # as two writers at once might have left it
        connection.execute("insert into things (domain, name) values ('books', 'kitchen')")
        connection.execute(
            "insert into relations select n.number, 'about', o.number, 1 from things n, things o"
            " where n.domain = 'books' and o.name = 'love'"
        )
    connection.close()
    RelationWriter(kept)
    assert facts(kept) == [
        "Hal knows books:kitchen",
        "books:kitchen about death",
        "books:kitchen about love",
        "books:kitchen about nothing",
    ]


def test_deleting_items_deletes_their_relations(load, kept, filled):
    """Also those that lead to them; what stays is unchanged, and readers are told."""
    load("alien,about,space\nran,influenced_by,alien\nran,about,war\ndune,about,space\n")
    generation = kept.generation()
    filled.delete_items("films", ["alien"])
    assert facts(kept) == ["books:dune about space", "films:ran about war"]
    assert kept.generation() > generation
    generation = kept.generation()
    filled.delete_items("books", BOOKS)
    assert facts(kept) == ["films:ran about war"]
    assert kept.generation() > generation


def test_a_store_without_relations_says_so(filled, tmp_path):
    """Looking makes no tables; deleting works where there never were relations."""
    with RelationStore(f"sqlite:///{tmp_path / 'store.sqlite'}") as relations:
        assert relations.generation() == 0
    filled.delete_items("films", ["alien"])
    connection = sqlite3.connect(tmp_path / "store.sqlite")
    tables = connection.execute("select name from sqlite_master where name = 'things'").fetchall()
    connection.close()
    assert tables == []


def test_errors_of_files(load, filled, tmp_path):
    """Strict stops at the first bad row; what is no file of triples is an error with a hint."""
    with pytest.raises(BadRow, match="line 3"):
        load("alien,about,space\nsame,about,space\n", strict=True)
    with pytest.raises(DataError, match="no column for predicate"):
        load("a,b,c\n1,2,3\n", "other.csv", columns={"subject": "a", "object": "c"})
    with pytest.raises(DataError):
        load("", "empty.csv")
    with pytest.raises(UnreadableFile):
        load("x", "what.txt")
    with pytest.raises(UnreadableFile):
        ingest(filled, IngestRequest(tmp_path / "nowhere.ttl", kind="relations"))
    with pytest.raises(UsageError):
        load("alien,about,space\n", rejects=tmp_path / "triples.csv")


def test_the_query_of_the_docs_gives_a_file_that_goes_in(kept, load, filled):
    """Over a little of Wikidata: the film's and the book's relations, each of its own item, and nothing else."""
    from pyoxigraph import QueryResultsFormat, RdfFormat
    from pyoxigraph import Store as Graph

    docs = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "relations.md"
    query = re.search("```sparql\n(.*?)```", docs.read_text(encoding="utf-8"), re.DOTALL)[1]
    graph = Graph()
    graph.load(
        """
        @prefix wd: <http://www.wikidata.org/entity/> . @prefix wdt: <http://www.wikidata.org/prop/direct/> .
        @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
        wd:Q1 wdt:P31 wd:Q24862 ; wdt:P144 wd:Q2, wd:Q9 ; wdt:P345 "alien" ; wdt:P57 wd:Q3 .
        wd:Q24862 wdt:P279 wd:Q11424 .
        wd:Q2 wdt:P648 "dune" ; wdt:P50 wd:Q4 ; rdfs:label "Dune"@en .
        wd:Q9 rdfs:label "A book that Open Library lacks"@en .
        wd:Q3 rdfs:label "Ridley Scott"@en, "雷德利·斯科特"@zh . wd:Q4 rdfs:label "Frank Herbert"@en .
        wd:Q5 wdt:P57 wd:Q3 .
        """.encode(),
        RdfFormat.TURTLE,
    )
    table = graph.query(query).serialize(format=QueryResultsFormat.CSV).decode()
    assert load(table, "wikidata.csv").rejected == 0
    assert facts(kept) == [
        "books:dune written_by Frank Herbert",
        "films:alien based_on books:dune",
        "films:alien directed_by Ridley Scott",
    ]


def peak(work):
    """The most memory that a call took, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_an_import(kept, filled, tmp_path):
    """Three batches take the memory of one."""

    def load(count):
        path = tmp_path / f"{count}.csv"
        path.write_text("subject,predicate,object\n" + "".join(f"a {n // 3},about,b {n}\n" for n in range(count)))
        return lambda: ingest(filled, IngestRequest(path, kind="relations"))

    load(10)()  # what is loaded at first use
    assert peak(load(3 * BATCH)) < 1.5 * peak(load(BATCH))


@pytest.mark.parametrize("suffix", ["nt", "ttl", "jsonl"])
def test_memory_does_not_grow_with_a_file(tmp_path, suffix):
    """However long the file is, a reader holds a part of it."""
    row = (
        '{"subject": "a", "predicate": "p", "object": "b"}'
        if suffix == "jsonl"
        else "<http://a> <http://p> <http://b> ."
    )

    def read(count):
        path = tmp_path / f"{count}.{suffix}"
        path.write_text(f"{row}\n" * count)
        return lambda: sum(not isinstance(row, RowProblem) for row in TRIPLE_READERS[suffix](Source(path)))

    assert read(10)() == 10
    short, long = read(1500), read(6000)
    for work in (short, long, short):  # what the first calls load and keep is some ten kilobytes, as much as a part
        peak(work)
    assert peak(long) < 1.5 * peak(short)
