"""Promises of the RDF readers: a broken line costs itself, whatever is around it."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from retrieval.tabular import RowProblem, Source, last_part
from retrieval.tabular.rdf import read_ntriples, read_turtle
from retrieval.tabular.readers import MAX_ROW

PREFIXES = "@prefix ex: <http://e/> .\n"


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Triples as "subject predicate object" of last parts, and the lines of the problems."""
    path = tmp_path_factory.mktemp("rdf") / "triples"

    def read(parse, text):
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        rows = list(parse(Source(path)))
        good = [
            f"{row['subject']} {last_part(row['predicate'])} {row['object']}"
            for _, row in (row for row in rows if not isinstance(row, RowProblem))
        ]
        return good, [row.line for row in rows if isinstance(row, RowProblem)]

    return read


def test_a_broken_n_triple_is_a_problem_with_its_line(read):
    """All other lines are read; comments and blank lines are nothing."""
    text = '<http://e/a> <http://e/p> <http://e/b> .\n# note\n\n<http://e/a> <oops\n<http://e/a> <http://e/p> "x y" .\n'
    assert read(read_ntriples, text) == (["a p b", "a p x y"], [4])


def test_the_forms_of_turtle(read):
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
    good, bad = read(read_turtle, text)
    assert bad == []
    assert good == [
        "a p b",
        "a p c",
        'a q one .\nex:z ex:z ex:z .\ntwo "quoted" ',
        "rel p Q1",
        "d p 1.5",
        "a type b",
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
def test_a_broken_statement_costs_its_own_lines(read, broken, kept, lines):
    """What stands before and behind it is read, and of its own parts those that are whole."""
    text = f"{PREFIXES}ex:a ex:p ex:b .\n{broken}ex:c ex:p ex:d .\nex:e ex:p ex:f .\n"
    assert read(read_turtle, text) == (["a p b", *kept, "c p d", "e p f"], lines)


def test_a_file_that_is_cut_off_gives_no_half_names(read):
    """The last line may be half an IRI: it is refused, although it would parse."""
    assert read(read_turtle, f"{PREFIXES}ex:a ex:p ex:b .\nex:a ex:p ex:hal") == (["a p b"], [3])


def test_a_blank_node_breaks_nothing_else(read):
    """Triples with one are problems of their line; the others of the statement are read."""
    text = "<http://e/a> <http://e/p> [ <http://e/q> <http://e/b> ], <http://e/c> .\n"
    assert read(read_turtle, text) == (["a p c"], [1, 1])


def test_an_endless_string_is_given_up_in_bounded_time(read):
    """A quote that is never closed loses its line, also where megabytes follow."""
    line = "ex:a ex:p ex:b .\n"
    many = 2 * MAX_ROW // len(line)
    good, bad = read(read_turtle, f'{PREFIXES}ex:x ex:p """open\n{line * many}')
    assert (len(good), bad) == (many, [2])


@given(st.binary(max_size=300))
def test_any_bytes_are_read_to_the_end(read, raw):
    """Whatever stands in a file, each line is read or is a problem, and a good statement behind it is found."""
    assume(not raw.startswith(b"\x1f\x8b"))  # that is gzip, whatever the file's name
    text = raw.replace(b'"""', b"").replace(b"'''", b"") + b"\n<http://e/a> <http://e/p> <http://e/b> .\n"
    for parse in (read_turtle, read_ntriples):
        good, _ = read(parse, text)
        assert good[-1:] == ["a p b"]


def seconds(parse, path, text):
    """The least processor time of three runs over a text."""
    path.write_text(text)
    times = []
    for _ in range(3):
        began = process_time()
        for _row in parse(Source(path)):
            pass
        times.append(process_time() - began)
    return min(times)


LONG = {
    "one literal": lambda n: f'{PREFIXES}ex:a ex:p "{"a" * n}" .\n',
    "one name": lambda n: f"{PREFIXES}ex:a ex:p ex:{'a' * n} .\n",
    "long strings over lines": lambda n: f'{PREFIXES}ex:a ex:p """' + '""" , """\n' * (n // 10) + '""" .\n',
    "long strings that are broken": lambda n: f'{PREFIXES}ex:a ex:p """' + '""" , """\n' * (n // 10),
    "open quotes": lambda n: f'{PREFIXES}ex:a ex:p "' + '\\"' * n + "\n",
    "open long quotes": lambda n: f'{PREFIXES}ex:a ex:p """' + '\\"""' * (n // 4) + "\n",
    "a statement over lines": lambda n: f"{PREFIXES}ex:a ex:p ex:b" + " ,\n ex:c" * (n // 8) + " .\n",
    "a broken statement": lambda n: f"{PREFIXES}ex:a ex:p ex:b" + " ;\n ex:q ex:c" * (n // 13) + " ; bad bad .\n",
    "colons": lambda n: f"{PREFIXES}PREFIX {'a:' * n}\nex:a ex:p ex:b .\n",
    "endless brackets": lambda n: f"{PREFIXES}ex:a ex:p " + "[ " * (n // 100) + "<" * n + "\n",
}


@pytest.mark.parametrize("name", LONG)
def test_the_work_grows_with_the_file(tmp_path, name):
    """Four times the text takes about four times the time; were the work quadratic it would take sixteen times."""
    size, path = 20_000, tmp_path / "x.ttl"
    seconds(read_turtle, path, LONG[name](1000))  # what is loaded at first use
    assert seconds(read_turtle, path, LONG[name](4 * size)) < 9 * seconds(read_turtle, path, LONG[name](size)) + 0.02
