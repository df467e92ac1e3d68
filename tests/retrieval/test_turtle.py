"""Promises of the RDF readers: a broken line costs itself, whatever is around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.ingest.turtle import n_triples, turtle
from retrieval.tabular.lines import MAX_ROW, RowProblem

PREFIXES = "@prefix ex: <http://e/> .\n"


def read(parse, text):
    """Triples as "subject predicate object" of last parts, and the lines of the problems."""
    raw = text.encode() if isinstance(text, str) else text
    found = list(parse(iter(enumerate(raw.splitlines(keepends=True), 1))))
    good = [
        " ".join(getattr(end, "value", "_").rpartition("/")[2] for end in (quad.subject, quad.predicate, quad.object))
        for _, quad in (one for one in found if not isinstance(one, RowProblem))
    ]
    return good, [one.line for one in found if isinstance(one, RowProblem)]


def test_a_broken_n_triple_is_a_problem_with_its_line():
    """All other lines are read; comments and blank lines are nothing."""
    text = '<http://e/a> <http://e/p> <http://e/b> .\n# note\n\n<http://e/a> <oops\n<http://e/a> <http://e/p> "x y" .\n'
    assert read(n_triples, text) == (["a p b", "a p x y"], [4])


def test_the_forms_of_turtle():
    """Prefixes (also re-declared, also in SPARQL's form), bases, lists with ; and , and long strings over lines."""
    text = (
        "@prefix ex: <http://e/> . # a comment with a dot .\n"
        "PREFIX wd: <http://w/>\n"
        "@base <http://base/> .\n"
        "ex:a ex:p ex:b , ex:c ; # not the end.\n"
        '  ex:q """one .\nex:z ex:z ex:z .\ntwo "quoted" """@en .\n'
        "<rel> ex:p wd:Q1 . ex:d ex:p 1.5 .\n"
        "@prefix ex: <http://other/> .\n"
        "ex:a a ex:b .\n"
    )
    good, bad = read(turtle, text)
    assert bad == []
    assert good == [
        "a p b",
        "a p c",
        'a q one .\nex:z ex:z ex:z .\ntwo "quoted" ',
        "rel p Q1",
        "d p 1.5",
        "a 22-rdf-syntax-ns#type b",
    ]


@pytest.mark.parametrize(
    ("broken", "kept", "lines"),
    [
        ("ex:x ex:p bad bad .\n", [], [3]),
        ('ex:x ex:p "cut\n', [], [3]),
        ("ex:x ex:p <cut\n", [], [3]),
        ("ex:x ex:p ex:y\n", [], [3]),
        ("un:known ex:p ex:y .\n", [], [3]),
        ("]]) .\n", [], [3]),
        ("@prefix .\n", [], [3]),
        ("\\\x00 \x01 .\n", [], [3]),
        ('ex:x ex:p """never closed .\n', [], [3]),
        ('ex:x ex:p ex:y ;\n  ex:q "cut\n  ex:r ex:z , ex:v .\n', ["x p y", "x r z", "x r v"], [4]),
        ("ex:x ex:p ex:y ; ex:q bad .\n", [], [3]),
    ],
)
def test_a_broken_statement_costs_its_own_lines(broken, kept, lines):
    """What stands before and behind it is read, and of its own parts those that are whole."""
    text = f"{PREFIXES}ex:a ex:p ex:b .\n{broken}ex:c ex:p ex:d .\nex:e ex:p ex:f .\n"
    assert read(turtle, text) == (["a p b", *kept, "c p d", "e p f"], lines)


def test_a_file_that_is_cut_off_gives_no_half_names():
    """The last line may be half an IRI: it is refused, although it would parse."""
    assert read(turtle, f"{PREFIXES}ex:a ex:p ex:b .\nex:a ex:p ex:hal") == (["a p b"], [3])


def test_blank_nodes_are_given_as_they_are():
    """A blank node breaks nothing: the caller decides."""
    nodes = [
        type(node).__name__
        for _, quad in turtle(iter([(1, b"<http://e/a> <http://e/p> [ <http://e/q> <http://e/b> ], <http://e/c> .\n")]))
        for node in (quad.subject, quad.object)
    ]
    assert nodes.count("BlankNode") == 2
    assert nodes.count("NamedNode") == 4


def test_an_endless_string_is_given_up_in_bounded_time():
    """A quote that is never closed loses its line, also where megabytes follow."""
    line = "ex:a ex:p ex:b .\n"
    many = 2 * MAX_ROW // len(line)
    good, bad = read(turtle, f'{PREFIXES}ex:x ex:p """open\n{line * many}')
    assert (len(good), bad) == (many, [2])


@given(st.binary(max_size=300))
def test_any_bytes_are_read_to_the_end(raw):
    """Whatever stands in a file, each line is read or is a problem, and a good statement behind it is found."""
    text = raw.replace(b'"""', b"").replace(b"'''", b"") + b"\n<http://e/a> <http://e/p> <http://e/b> .\n"
    for parse in (turtle, n_triples):
        good, _ = read(parse, text)
        assert good[-1:] == ["a p b"]
