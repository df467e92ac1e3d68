"""Promises of runs by protocol: each split and each ablation, from what is shown to what is written."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner
from word_encoder import WordEncoder

from eval.cli import app, context
from eval.data import FOLDS, Dataset, OutOfFold, ablation, cases, fold, histories, plan_cases, rerank_tasks, split_of
from eval.runs import Manifest, Protocol, RunFolder, RunRequest, arm_settings, make_run, run_catalogue
from eval.runs.folder import summarise
from eval.systems import BASELINES
from retrieval.errors import DataError, UsageError

MANIFEST = Manifest(name="a", task="catalogue", protocol={"users": 40, "seed": 0}, data="d")


def quiet(_line):
    """Nobody listens."""


def test_a_scorer_gets_the_case_as_it_is_shown_and_never_its_truth(dataset: Dataset, tmp_path):
    """And slices are those of the user's own history, whatever is shown."""
    people = list(histories(dataset.store))
    everybody = [case for person in people for case in cases(person, dataset.domains)]
    got = []

    def listens(case):
        got.append(case)
        return np.zeros(60, dtype=np.float32)

    results = []
    for shown in ("own", "none"):
        folder = RunFolder.create(tmp_path / shown, MANIFEST)
        ablate = ablation(shown, everybody, 0)
        run_catalogue(folder, dataset, everybody[:6], OutOfFold(dataset), listens, quiet, ablate)
        results.append(folder.results())
    assert all(case.truth == () for case in got)
    assert [case.history for case in got[:6]] == [case.history for case in everybody[:6]]
    assert all(case.history.entries == () for case in got[6:])
    assert [r.slices for r in results[0]] == [r.slices for r in results[1]]


def test_a_tie_shows_everybody_something_else(dataset: Dataset, tmp_path):
    """A scorer that knows nothing covers what chance covers, not the catalogue's first ten; each time the same."""
    everybody = [case for person in histories(dataset.store) for case in cases(person, dataset.domains)]
    manifest = MANIFEST.model_copy(update={"catalogue": dict.fromkeys(dataset.domains, 60)})
    summaries, rankings = [], []
    for name in "ab":
        folder = RunFolder.create(tmp_path / name, manifest)
        run_catalogue(folder, dataset, everybody, OutOfFold(dataset), lambda _: np.zeros(60, dtype=np.float32), quiet)
        summaries.append(folder.finish())
        rankings.append([r.ranking for r in folder.results()])
    assert rankings[0] == rankings[1]
    assert summaries[0].coverage == 1
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["coverage"] == 1
    assert summarise(RunFolder.open(tmp_path / "a").results()).coverage is None


@pytest.mark.parametrize("kind", ["count-matched", "retrieved"])
def test_an_ablation_asks_the_same_of_the_same_users(dataset: Dataset, kind):
    """Users, candidates, truth and slices are those of the arm with the users' own histories."""
    own_ = rerank_tasks(plan_cases(dataset), 12, kind=kind)
    for shown in ("none", "one", "other", "shuffled"):
        found = rerank_tasks(plan_cases(dataset), 12, kind=kind, shown=shown)
        assert [(t.case, t.truth_id, sorted(t.ranking.ids)) for t in found] == [
            (t.case, t.truth_id, sorted(t.ranking.ids)) for t in own_
        ]
        assert [t.slices for t in found] == [t.slices for t in own_]
        assert all(t.ranking.candidates[t.truth].item.id == t.truth_id for t in found)
        assert all(a.query.history != b.query.history for a, b in zip(found, own_, strict=True))
        assert all(t.query.history.user != t.case.user for t in found if shown == "other")


@pytest.mark.parametrize("split", ["leave-last-out", "temporal"])
def test_given_candidates_follow_the_split(dataset: Dataset, split):
    """Truth and history are the split's, and counts are of what may be learnt from."""
    people = list(histories(dataset.store))
    made = split_of(split, people)
    by_user = {person.user: person for person in people}
    for task in rerank_tasks(plan_cases(dataset, split), 12):
        case = task.case
        assert case in list(cases(by_user[case.user], dataset.domains, made))
        expected = [
            sum(
                e.item.id == one.item.id
                and e.item.domain == case.target
                and (made.moment is None or e.timestamp < made.moment)
                for person in people
                if fold(person.user, FOLDS) != fold(case.user, FOLDS)
                for e in person.entries
            )
            for one in task.ranking.candidates
        ]
        assert task.counts.tolist() == expected


def test_the_crowd_of_a_temporal_run_knows_nothing_of_the_future(dataset: Dataset):
    """What is counted for a case is what others did before the moment; and a crowd that holds the user is refused."""
    people = list(histories(dataset.store))
    split = split_of("temporal", people)
    others = OutOfFold(dataset, [split.learnable(person) for person in people])
    case = next(case for person in people for case in cases(person, dataset.domains, split))
    touched = Counter(
        e.item.id
        for person in people
        if fold(person.user, FOLDS) != fold(case.user, FOLDS)
        for e in person.entries
        if e.item.domain == case.target and e.timestamp < split.moment
    )
    positions = dataset.index.snapshot(case.target).positions
    assert others.touched(case).tolist() == [touched[item] for item in positions]
    stranger = next(p for p in people if fold(p.user, FOLDS) != fold(case.user, FOLDS))
    with pytest.raises(DataError, match="learnt from"):
        others.touched(replace(case, history=stranger))


@pytest.mark.parametrize("system", ["retriever", *BASELINES])
@pytest.mark.parametrize("history", ["none", "one", "other"])
def test_every_system_answers_whatever_history_it_is_shown(dataset: Dataset, tmp_path, system, history):
    """Without one, with one title and with a stranger's, in a temporal split: numbers, and a manifest that says so."""
    protocol = Protocol.of_options("catalogue", "temporal", "count-matched", 12, 0)
    request = RunRequest(tmp_path / "run", "run", protocol, system, history=history)
    make_run(request, dataset, arm_settings([]), quiet)
    folder = RunFolder.open(tmp_path / "run")
    assert len({r.user for r in folder.results()}) == 12
    assert folder.manifest.protocol["split"] == "temporal"
    assert folder.manifest.settings["history"] == history
    assert folder.manifest.catalogue == {"books": 60, "films": 60, "music": 60}


def test_arms_that_are_shown_other_histories_are_compared_in_pairs(amazon, tmp_path, monkeypatch):
    """From the command line: the same users and cases, the ablation stands in the arm's settings."""
    monkeypatch.setattr(context, "pulled_encoder", lambda _settings: WordEncoder())
    monkeypatch.chdir(tmp_path)
    cli = CliRunner()

    def call(*words, code=0):
        done = cli.invoke(app, [str(w) for w in words])
        assert done.exit_code == code, done.output
        return done.stderr if code else done.stdout

    common = ("--data", amazon, "--task", "catalogue", "--system", "bm25", "--split", "leave-last-out", "--users", 30)
    call("run", "runs/own", *common)
    call("run", "runs/strangers", *common, "--set", "history=other")
    found = json.loads(call("ab", "runs/own", "runs/strangers", "--metric", "recall@50", "--json"))
    assert found["comparisons"][0]["difference"]["users"] == 30
    assert [arm["manifest"]["settings"]["history"] for arm in found["arms"]] == ["own", "other"]
    assert found["arms"][0]["manifest"]["protocol"]["split"] == "leave last out"
    assert "coverage@10" in call("run", "runs/own", *common)
    given = ("--data", amazon, "--set", "rerank.strategy=identity", "--users", 30)
    call("run", "runs/cold", *given, "--set", "history=none")
    told = call("run", "runs/later", *given, "--split", "temporal")
    assert re.search(r"ndcg@10 +0\.", told)
    for name in ("cold", "later"):
        assert "the same numbers" in call("replay", f"runs/{name}", "--data", amazon)
    assert "another protocol" in call("ab", "runs/cold", "runs/later", code=UsageError.exit_code)
    for wrong in (("--split", "last"), ("--set", "history=mine")):
        assert "one of: " in call("run", "runs/wrong", "--data", amazon, *wrong, code=UsageError.exit_code)
