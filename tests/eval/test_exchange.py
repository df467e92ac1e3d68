"""Promises of the exchange with other systems: exports without answers, rankings that are checked, runs like ours."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner
from word_encoder import WordEncoder

from eval.cli import app, context
from eval.data import FOLDS, OutOfFold, fold, histories, in_hash_order, open_dataset
from eval.exchange import export, import_run
from eval.exchange.export import ExchangeCase, exchange_cases
from eval.exchange.files import case_folder, case_id
from eval.exchange.rankings import read_rankings
from eval.runs import Manifest, Protocol, RunFolder, compare_runs, run_catalogue
from eval.systems import BASELINES, cross_fitted
from retrieval.errors import DataError, UsageError
from retrieval.templates import load_template

USERS = 30
PRETENDER = """
import csv, json, sys
from collections import Counter
from pathlib import Path
export, out = map(Path, sys.argv[1:])
items = [json.loads(line) for line in (export / "items.jsonl").open()]
for asked in export.glob("fold-*/*-to-*/cases.jsonl"):
    touched = Counter((r["domain"], r["item"]) for r in csv.DictReader((asked.parent.parent / "training.csv").open()))
    target = asked.parent.name.split("-to-")[1]
    counts = {i["id"]: touched[target, i["id"]] for i in items if i["domain"] == target}
    order = sorted(counts, key=counts.get, reverse=True)
    (out / asked.parent.relative_to(export)).mkdir(parents=True)
    with (out / asked.parent.relative_to(export) / "rankings.jsonl").open("w") as file:
        for case in map(json.loads, asked.open()):
            mine = [i for i in order if i in case["candidates"]] if "candidates" in case else order
            line = {"case": case["case"], "items": mine, "scores": [counts[i] for i in mine]}
            print(json.dumps(line), file=file)
"""


def quiet(_line):
    """Nobody listens."""


def protocol(task="catalogue", split="cold-target"):
    return Protocol.of_options(task, split, "count-matched", USERS, 0)


def questions(data, asked):
    return exchange_cases(asked.plan(data, quiet), asked)


@pytest.fixture(scope="module")
def amazon(tmp_path_factory):
    """A small folder in the layout of the benchmark's data: 40 people, 60 items a domain, some that nobody touched."""
    folder = tmp_path_factory.mktemp("data") / "amazon-three-domains"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for domain in ("books", "films", "music"):
        with gzip.open(folder / f"items_{domain}.csv.gz", "wt") as file:
            file.write("item_id,title,creator,categories\n")
            for n in range(60):
                file.write(f"{domain}{n},{domain} number {n},Somebody {n % 9},kind {n % 6}\n")
        with gzip.open(folder / f"interactions_{domain}.csv.gz", "wt") as file:
            file.write("user_id,item_id,rating,timestamp\n")
            for user in range(40):
                for n in rng.choice(50, size=8, replace=False):
                    rating, time = int(rng.choice([2, 4, 5, 5])), 1000 + int(rng.integers(900))
                    file.write(f"somebody{user},{domain}{n},{rating},{time}\n")
    return folder.parent


@pytest.fixture(scope="module")
def data(amazon, tmp_path_factory):
    with open_dataset(amazon, WordEncoder(), load_template("item"), quiet, cache=tmp_path_factory.mktemp("c")) as found:
        yield found


@pytest.fixture(scope="module")
def people(data):
    return in_hash_order(histories(data.store), 0)


@pytest.fixture(scope="module")
def asked(data):
    """The questions of the export, by what it calls them."""
    return by_id(questions(data, protocol()))


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "export"
    export(protocol(), out, data, quiet)
    return out


@pytest.fixture(scope="module")
def answered(exported, tmp_path_factory):
    """What a pretended system, in a process of its own, makes of the export: popularity."""
    return answers_of(exported, tmp_path_factory.mktemp("answers"))


def answers_of(export_, out):
    subprocess.run([sys.executable, "-c", PRETENDER, export_, out], check=True)
    return out


def training(folder):
    with (folder / "training.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def did(person):
    """What a person did, without a name."""
    return frozenset((e.item.domain, e.item.id, e.timestamp) for e in person.entries)


def test_the_training_of_a_fold_is_all_that_the_others_did_and_nothing_else(exported, people):
    """Whoever is asked in a fold is in its training with no interaction, source or target."""
    for number in range(FOLDS):
        found = {}
        for row in training(exported / f"fold-{number}"):
            found.setdefault(row["person"], set()).add((row["domain"], row["item"], int(row["timestamp"])))
        others = [did(person) for person in people if fold(person.user, FOLDS) != number]
        assert Counter(map(frozenset, found.values())) == Counter(others)


def test_a_question_holds_its_history_and_no_answer(exported, asked, people):
    """Every case stands once, in its fold and direction, with source items before the cut and nothing of the target."""
    assert {q.case.user for q in asked.values()} < {p.user for p in people}
    found = {}
    for path in exported.glob("fold-*/*-to-*/cases.jsonl"):
        for line in path.read_text().splitlines():
            told = json.loads(line)
            case = asked[told["case"]].case
            assert path.parent == exported / case_folder(fold(case.user, FOLDS), case)
            assert set(told) == {"case", "history"}
            assert [known["item"] for known in told["history"]] == [e.item.id for e in case.history.entries]
            assert all(k["item"].startswith(case.source) and k["timestamp"] < case.cut for k in told["history"])
            assert told["case"] not in found
            found[told["case"]] = told
    assert found.keys() == asked.keys()


def test_an_export_names_nobody(exported, people):
    """A name would lead from a case to the same person's answers in another fold's training."""
    text = "".join(path.read_text() for path in exported.rglob("*") if path.is_file())
    assert not [person.user for person in people if f'{person.user}"' in text or f"{person.user}," in text]


def test_seen_is_what_stands_in_the_training(exported, data, asked):
    """Another system can tell seen items from unseen ones as the metrics do."""
    others = OutOfFold(data)
    for question in list(asked.values())[:12]:
        case = question.case
        rows = training(exported / f"fold-{fold(case.user, FOLDS)}")
        seen = {row["item"] for row in rows if row["domain"] == case.target}
        positions = data.index.snapshot(case.target).positions
        assert seen == {item for item, row in positions.items() if others.touched(case)[row]}


def test_candidates_stand_in_an_order_that_says_nothing(data, amazon, tmp_path):
    """By id: neither the truth nor the retriever's order can be seen."""
    export(protocol("rerank"), tmp_path / "export", data, quiet)
    lists = [
        json.loads(line)["candidates"]
        for path in (tmp_path / "export").glob("fold-*/*-to-*/cases.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert len(lists) == USERS
    assert all(len(set(mine)) == 20 and mine == sorted(mine) for mine in lists)


def test_a_temporal_export_teaches_nothing_from_its_moment_on(data, amazon, tmp_path):
    """What others did after everybody's cut is no training, and histories end before it."""
    export(protocol(split="temporal"), tmp_path / "export", data, quiet)
    rows = [row for number in range(FOLDS) for row in training(tmp_path / "export" / f"fold-{number}")]
    (moment,) = {question.case.cut for question in questions(data, protocol(split="temporal"))}
    assert rows
    assert all(int(row["timestamp"]) < moment for row in rows)


def test_a_folder_with_something_in_it_is_not_written_to(exported, data, amazon, tmp_path):
    """Nor is a task that there is not."""
    with pytest.raises(UsageError, match="not empty"):
        export(protocol(), exported, data, quiet)
    with pytest.raises(UsageError, match="--task 'guess'"):
        protocol("guess")


def test_the_same_recommender_outside_and_inside_has_the_same_numbers(
    answered, exported, data, amazon, people, asked, tmp_path
):
    """Popularity in a process of its own, through export and import, is popularity: no metric of any case differs."""
    summary = import_run(tmp_path / "theirs", "theirs", exported, answered, data, quiet)
    manifest = Manifest(name="ours", task="catalogue", protocol=protocol().record, data=data.digest)
    ours = RunFolder.create(tmp_path / "ours", manifest)
    scorer = cross_fitted(BASELINES["popularity"](data), people, FOLDS, np.random.default_rng(0))
    cases = [question.case for question in asked.values()]
    run_catalogue(ours, data, cases, OutOfFold(data), scorer, quiet)
    theirs = RunFolder.open(tmp_path / "theirs")
    assert summary.cases == len(cases)
    for one, other in zip(ours.results(), theirs.results(), strict=True):
        named = {name for name in one.metrics if "@" in name and not name.startswith(("diversity", "novelty"))}
        assert {n: one.metrics[n] for n in named} == {n: other.metrics[n] for n in named}
        assert one.slices == other.slices
    found = compare_runs([ours, theirs], ["recall@10"], np.random.default_rng(0))
    assert found.comparisons[0].difference.p_value is None


def test_a_rerank_export_comes_back_as_a_rerank_run(data, amazon, tmp_path):
    """With the metrics of our reranking runs; count-matched candidates leave popularity at chance."""
    export(protocol("rerank"), tmp_path / "export", data, quiet)
    answers = answers_of(tmp_path / "export", tmp_path / "answers")
    summary = import_run(tmp_path / "run", "theirs", tmp_path / "export", answers, data, quiet)
    assert summary.users == USERS
    assert set(summary.metrics) == {"ndcg@10", "mrr", "hit@1", "hit@5"}


def test_what_is_not_ranked_is_tied_in_the_last_place(data, asked, tmp_path):
    """A list of one item and an empty one are answers; near scores stay apart, equal ones are ties."""
    three = dict(list(asked.items())[:3])
    target = [list(data.index.snapshot(q.case.target).positions) for q in three.values()]
    ids = list(three)
    lines = [
        {"case": ids[0], "items": [target[0][7]]},
        {"case": ids[1], "items": []},
        {"case": ids[2], "items": target[2][3:6], "scores": [1.0, 1.0 - 1e-12, 1.0 - 1e-12]},
    ]
    found = read_rankings(written(tmp_path, lines), data, three)
    one, none, near = (found[line["case"]].scores(60) for line in lines)
    assert np.flatnonzero(one > 0).tolist() == [7]
    assert not none.any()
    assert near[3] > near[4] == near[5] > 0 == near[6]


def by_id(asked: list[ExchangeCase]):
    return {case_id(question.case): question for question in asked}


def written(folder, lines):
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (folder / "rankings.jsonl").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: line | {"case": "0123456789abcdef"}, "was not asked"),
        (lambda line: line | {"items": ["atlantis1", *line["items"]]}, "atlantis1 is no item of"),
        (lambda line: line | {"items": [*line["items"], line["items"][0]]}, "is there 2 times"),
        (lambda line: line | {"scores": [1.0]}, "items have 1 scores"),
        (lambda line: line | {"scores": [float("nan")] * len(line["items"])}, "no finite number"),
        (lambda line: line | {"scores": list(range(len(line["items"])))}, "the scores rise"),
        (lambda line: line | {"opinion": "good"}, "opinion Extra inputs"),
        (lambda line: "{", "line 1: Invalid JSON"),
    ],
)
def test_a_bad_ranking_is_refused_with_its_line(change, said, data, asked, tmp_path):
    """Never a number made of it."""
    question = next(iter(asked.values()))
    target = list(data.index.snapshot(question.case.target).positions)
    line = {"case": case_id(question.case), "items": target[:4]}
    with pytest.raises(DataError, match=said) as caught:
        read_rankings(written(tmp_path, [change(line)]), data, by_id([question]))
    assert "rankings.jsonl, line 1" in str(caught.value)
    assert caught.value.hint


def test_missing_and_repeated_cases_are_refused(data, asked, tmp_path):
    """Each case once; and a folder without any rankings is no system that has no opinion."""
    first, second = list(asked.values())[:2]
    line = {"case": case_id(first.case), "items": []}
    with pytest.raises(DataError, match="no answer to 1 of 2 cases"):
        read_rankings(written(tmp_path, [line]), data, by_id([first, second]))
    with pytest.raises(DataError, match=r"line 2: the case \w+ is there twice"):
        read_rankings(written(tmp_path, [line, line]), data, by_id([first, second]))
    with pytest.raises(DataError, match=r"no rankings\.jsonl"):
        read_rankings(tmp_path / "nowhere", data, by_id([first]))


def test_candidates_are_ranked_all_and_alone(data, exported, tmp_path):
    """In reranking a list that lacks one, or has another item of the catalogue, is refused."""
    question = questions(data, protocol("rerank"))[0]
    given = list(question.asked.candidates)
    other = next(i for i in data.index.snapshot(question.case.target).positions if i not in given)
    for items in (given[:-1], [*given[:-1], other], [*given, other]):
        with pytest.raises(DataError, match="not one of the case's candidates"):
            read_rankings(
                written(tmp_path, [{"case": case_id(question.case), "items": items}]), data, by_id([question])
            )


def test_an_import_that_is_refused_leaves_nothing(answered, exported, data, amazon, tmp_path):
    """Other data, and rankings of half the cases, make no run folder."""
    with pytest.raises(DataError, match="of other data"):
        import_run(tmp_path / "run", "x", exported, answered, replace(data, digest="other"), quiet)
    half = next(answered.glob("fold-*/*-to-*"))
    with pytest.raises(DataError, match="no answer to"):
        import_run(tmp_path / "run", "x", exported, half, data, quiet)
    assert not (tmp_path / "run").exists()


def test_other_rankings_are_another_run(answered, exported, data, amazon, asked, tmp_path):
    """They are not mixed with what is there; the same ones again change nothing."""
    given = (tmp_path / "run", "x", exported)
    first = import_run(*given, answered, data, quiet)
    assert import_run(*given, answered, data, quiet) == first
    lines = [{"case": case, "items": []} for case in asked]
    other = written(tmp_path, lines)
    with pytest.raises(UsageError, match="another run"):
        import_run(*given, other, data, quiet)


def test_the_command_line_takes_a_pretended_system_all_the_way(amazon, tmp_path, monkeypatch):
    """export, a program of somebody's, import-run, ab: beside a run of ours, over the same users."""
    monkeypatch.setattr(context, "pulled_encoder", lambda _settings: WordEncoder())
    monkeypatch.chdir(tmp_path)

    def call(*words, code=0):
        done = CliRunner().invoke(app, [str(w) for w in words])
        assert done.exit_code == code, done.output
        return done.stderr if code else done.stdout

    call("export", "export", "--data", amazon, "--users", USERS)
    answers = answers_of(tmp_path / "export", tmp_path / "answers")
    (answers / "system.json").write_text('{"settings": {"kind": "counts"}, "versions": {"pretender": "1"}}')
    given = ("--rankings", answers, "--export", "export", "--data", amazon)
    assert "theirs: 30 users" in call("import-run", "runs/theirs", *given)
    call("run", "runs/random", "--data", amazon, "--task", "catalogue", "--system", "random", "--users", USERS)
    found = json.loads(call("ab", "runs/random", "runs/theirs", "--metric", "recall@50", "--json"))
    assert found["comparisons"][0]["difference"]["users"] == USERS
    manifest = RunFolder.open(tmp_path / "runs" / "theirs").manifest
    assert (manifest.settings["kind"], manifest.versions) == ("counts", {"pretender": "1"})
    assert "cannot be read" in call("import-run", "runs/x", *given[:2], "--export", "no", *given[4:], code=5)
