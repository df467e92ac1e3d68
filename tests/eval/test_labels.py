"""Promises of the labelled explanations: how they are counted, and what was found."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from eval.cli import app
from eval.studies import SHEET, agreements, label_report, read_labels, read_sheet, write_sheet
from eval.studies.explanations import Explained
from eval.studies.labels import Labelled, LabelledClaim, SheetRow
from retrieval.errors import UsageError
from retrieval.types import Item
from xdrec_agent.grounding import Claim
from xdrec_agent.types import Explanation

CHECKED = Claim(text="Ann", kind="person", supported=True, support="its creators and people")

SHEET_ROWS = [
    SheetRow(
        id=id_,
        user=user,
        language="en",
        source="llm",
        text="It is by Ann.",
        item={},
        liked=(),
        closest=None,
        relations=(),
        model="m",
    )
    for id_, user in (("ada/1", "ada"), ("ada/2", "ada"), ("bo/1", "bo"), ("cy/1", "cy"))
]


def labels(objected, kind="person"):
    """Two claims an explanation, the second wrong where it is named."""
    return [
        Labelled(
            id=row.id,
            claims=(
                LabelledClaim(text="by Ann", kind="person", supported=True),
                LabelledClaim(text="sad", kind=kind, supported=row.id not in objected),
            ),
        )
        for row in SHEET_ROWS
    ]


@pytest.fixture
def folder(tmp_path):
    def filled(**by):
        for name, rows in {SHEET: SHEET_ROWS, **{f"labels-{n}.jsonl": rows for n, rows in by.items()}}.items():
            (tmp_path / name).write_text("".join(f"{row.model_dump_json()}\n" for row in rows), encoding="utf-8")
        return tmp_path

    return filled


def test_shares_are_of_all_claims_and_statements_are_counted_apart():
    """One wrong claim of eight; it counts as plot or mood only if it is such a claim."""
    found = label_report("x", SHEET_ROWS, labels({"bo/1"}))
    assert (found.claims, found.unsupported[0], found.statements[0]) == (8, 1 / 8, 0)
    assert found.objected == {"bo/1": ("sad: person",)}
    assert found.unsupported[1] < 1 / 8 < found.unsupported[2]
    told = label_report("x", SHEET_ROWS, labels({"bo/1"}, "statement"))
    assert told.statements[0] == 1 / 8


def test_agreement_is_over_explanations():
    """Three of four the same; kappa is that of the table (1, 1, 0, 2); who objects to nothing has none."""
    a, b, none = (
        label_report(n, SHEET_ROWS, labels(s)) for n, s in (("a", {"ada/1"}), ("b", {"ada/1", "cy/1"}), ("c", ()))
    )
    (one,) = agreements([a, b])
    assert (one.same, one.kappa) == (0.75, 0.5)
    assert [two.kappa for two in agreements([a, none])] == [None]


def test_labels_of_another_sheet_are_refused(folder):
    """Left out, twice, or broken: whose they are, and what a line is."""
    with pytest.raises(UsageError, match="b labelled other explanations"):
        read_labels(folder(a=labels(()), b=labels(())[1:]))
    with pytest.raises(UsageError, match="b labelled other explanations"):
        read_labels(folder(b=[*labels(())[1:], labels(())[1]]))
    with pytest.raises(UsageError, match=r"labels-b\.jsonl cannot be read") as caught:
        read_labels(folder(b=[SHEET_ROWS[0]]))
    assert "README" in caught.value.hint


def test_a_sheet_grows_by_each_model_and_tells_nothing_of_the_check(tmp_path):
    """Two models' reasons stand in one sheet, each once, without the check's claims; who has labels keeps the sheet."""
    item = Item(domain="books", id="b", title="Book", creators=("Ann",))
    said = Explanation(text="It is by Ann.", source="llm", claims=(CHECKED,))
    parts = {"item": item, "liked": (), "closest": None, "relations": (), "seconds": 0.1, "right_language": True}
    rows = [Explained(id=f"{user}/b", user=user, rank=1, explanation=said, **parts) for user in ("ada", "bo")]
    folder = tmp_path / "labels"
    assert write_sheet(rows, "small", folder) == len(rows)
    assert write_sheet(rows, "large", folder) == 2 * len(rows)
    sheet = read_sheet(folder)
    assert {one.model for one in sheet} == {"small", "large"}
    assert [one.text for one in sheet[: len(rows)]] == [row.explanation.text for row in rows]
    assert CHECKED.support not in (folder / SHEET).read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="already"):
        write_sheet(rows, "small", folder)
    (folder / "labels-ann.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="another sheet"):
        write_sheet(rows, "third", folder)


def test_a_sheet_is_not_made_without_a_folder_and_a_model(tmp_path):
    """The command says what is missing and writes nothing."""
    for given in ([str(tmp_path / "new")], ["--model", "m"]):
        result = CliRunner().invoke(app, ["labels", *given, "--make", "reasons.jsonl"])
        assert result.exit_code == 2
        assert "--model" in result.output
    assert not (tmp_path / "new").exists()


def test_the_command_prints_shares_agreement_and_objections(folder):
    """As a table and as JSON."""
    where = str(folder(ann=labels({"bo/1"}), ben=labels({"bo/1", "cy/1"})))
    said = CliRunner().invoke(app, ["labels", where]).output
    assert "12.50%" in said
    assert "ann and ben: the same of 75.0%" in said
    assert "ann, bo/1: sad" in said
    found = json.loads(CliRunner().invoke(app, ["labels", where, "--json"]).output)
    assert [one["labeller"] for one in found["labellers"]] == ["ann", "ben"]


def test_the_labels_in_the_repository_say_what_the_docs_say():
    """At least 200 explanations as people saw them, half of them the model's, and at most 1% of claims unsupported."""
    sheet = read_sheet()
    assert len(sheet) >= 200
    assert sum(one.source != "evidence" for one in sheet) >= len(sheet) / 2
    reports = [label_report(name, sheet, found) for name, found in read_labels().items()]
    assert len(reports) >= 2
    for one in reports:
        assert one.unsupported[0] <= 0.01, one.objected
