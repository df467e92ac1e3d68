"""Promises of the simulation on runs: real scores in, rates against their bounds out, and an exit code that tells."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from eval.cli import app
from eval.report import validity_page
from eval.runs import CaseResult, Manifest, RunFolder
from eval.stats import Validity
from eval.studies import ValidityResult, simulate_runs
from eval.studies.validity import replicates
from retrieval.errors import UsageError

MANIFEST = Manifest(name="a", task="rerank", protocol={"users": 30, "seed": 0}, data="d")
HELD = Validity(
    comparisons=2000,
    users=300,
    differing=150,
    false_alarms=0.05,
    coverage=0.95,
    sequential=0.01,
    real_coverage=0.95,
)


def quiet(_line):
    """Nobody listens."""


def run_of(path, values, sources=("films",)):
    """A run with these nDCG values, a user each, the same in every source; MRR is half of it."""
    folder = RunFolder.create(path, MANIFEST.model_copy(update={"name": path.name}))
    for user, value in enumerate(values):
        for source in sources:
            metrics = {"ndcg@10": float(value), "mrr": float(value) / 2}
            folder.append(CaseResult(user=f"u{user:03}", source=source, target="books", metrics=metrics))
    return folder


def two_runs(tmp_path, users=60, share=1.0):
    """Two runs in which a share of the users differ by chance."""
    rng = np.random.default_rng(0)
    base, noise = rng.random(users), rng.random(users)
    return (
        run_of(tmp_path / "a", base),
        run_of(tmp_path / "b", np.where(np.arange(users) < share * users, noise, base)),
    )


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({}, []),
        ({"false_alarms": 0.0651}, ["more than 6.5%"]),
        ({"false_alarms": 0.0349}, ["fewer than 3.5%"]),
        ({"coverage": 0.9349}, ["of the intervals cover"]),
        ({"coverage": 0.9651}, ["of the intervals cover"]),
        ({"sequential": 0.0501}, ["with peeking"]),
        ({"false_alarms": 0.08, "coverage": 0.9, "sequential": 0.2}, ["more than", "cover", "with peeking"]),
    ],
)
def test_every_bound_is_held_against_its_rate(rates, said):
    """6.5% and 3.5% false alarms, 93.5% to 96.5% coverage, 5% with peeking; what is missed is named."""
    missed = HELD.model_copy(update=rates).missed
    assert len(missed) == len(said)
    assert all(words in found for words, found in zip(said, missed, strict=True))


def test_few_differing_users_are_held_to_the_upper_bounds_only():
    """With fewer than 100 a test may be too careful and an interval too short, but no test may be too daring."""
    few = HELD.model_copy(update={"differing": 99.0, "false_alarms": 0.01, "coverage": 0.8})
    assert not few.enough
    assert few.missed == ()
    assert few.model_copy(update={"false_alarms": 0.07}).missed


def test_a_users_cases_are_averaged_before_they_are_replicates(tmp_path):
    """Users x runs, in the order of the users, whatever the cases."""
    a, b = run_of(tmp_path / "a", [0.25, 1], ("films", "music")), run_of(tmp_path / "b", [0.5, 0], ("films", "music"))
    assert replicates([a.results(), b.results()], "mrr").tolist() == [[0.125, 0.25], [0.5, 0]]
    scores = [r.model_copy(update={"metrics": {"mrr": float(r.source == "films")}}) for r in a.results()]
    assert replicates([scores], "mrr").tolist() == [[0.5], [0.5]]


def test_the_simulation_of_runs_is_the_same_every_time_and_says_how_few_differ(tmp_path):
    """The same seed gives the same rates; the first shared metric is taken; few differing users are named."""
    runs = two_runs(tmp_path, share=0.2)
    first, again = (simulate_runs(runs, [], 3, quiet, comparisons=8) for _ in range(2))
    assert first == again
    assert [one.metric for one in first.metrics] == ["ndcg@10"]
    assert first.metrics[0].found.differing < 30
    assert first.holds
    page = validity_page(first)
    assert "users differ, fewer than 100" in page.notes[0]
    assert [cell.text for cell in page.tables[0].rows[0]][-1] == "held; few differ"
    assert simulate_runs(runs, ["mrr", "ndcg@10"], 3, quiet, comparisons=2).metrics[0].metric == "mrr"


def test_progress_is_told_in_comparisons(tmp_path):
    """The last line says that all are done."""
    lines = []
    simulate_runs(two_runs(tmp_path), [], 0, lines.append, comparisons=3)
    assert lines[-1] == "ndcg@10: 3 of 3 comparisons, 0 s left"


def test_what_allows_no_simulation_is_refused(tmp_path):
    """One run has one score a user, which never differs from itself; nine users are too few; a metric must be there."""
    a, b = two_runs(tmp_path)
    with pytest.raises(UsageError, match="two runs"):
        simulate_runs([a], [], 0, quiet, comparisons=1)
    with pytest.raises(UsageError, match="no metric taste"):
        simulate_runs([a, b], ["taste"], 0, quiet, comparisons=1)
    few = [run_of(tmp_path / name, np.linspace(0, 1, 9)) for name in ("c", "d")]
    with pytest.raises(UsageError, match="A/A"):
        simulate_runs(few, [], 0, quiet, comparisons=1)


def test_a_missed_bound_is_the_verdict(tmp_path):
    """It is named in the sentence and in the table, and nothing says that it was held."""
    found = simulate_runs(two_runs(tmp_path), [], 0, quiet, comparisons=2)
    missed = found.metrics[0].model_copy(update={"found": HELD.model_copy(update={"sequential": 0.2})})
    page = validity_page(found.model_copy(update={"metrics": (missed,), "holds": False}))
    assert page.verdict == "a bound is missed: ndcg@10: 20.0% false alarms with peeking, more than 5%"
    assert page.state == "worse"
    assert page.tables[0].rows[0][-1].text == "missed"


def test_the_command_line_says_whether_the_bounds_hold(tmp_path):
    """A table or JSON on stdout, a report where wanted, exit code 0 if all bounds hold and 1 if one does not."""
    two_runs(tmp_path)
    words = ["validity", str(tmp_path / "a"), str(tmp_path / "b"), "--comparisons", "4"]
    cli = CliRunner()
    held = cli.invoke(app, [*words, "--seed", "1", "--json", "--out", str(tmp_path / "report")])
    found = ValidityResult.model_validate_json(held.stdout)
    assert (held.exit_code, found.holds, found.metrics[0].found.false_alarms) == (0, True, 0.0)
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == json.loads(held.stdout)
    shown = cli.invoke(app, [*words, "--seed", "1"])
    assert shown.stdout.startswith(found.verdict)
    # One alarm in four comparisons is 25%.
    seeds = (cli.invoke(app, [*words, "--seed", str(seed), "--json"]) for seed in range(2, 40))
    missed = next(done for done in seeds if json.loads(done.stdout)["metrics"][0]["found"]["false_alarms"] > 0)
    assert missed.exit_code == 1
    assert cli.invoke(app, words[:2]).exit_code == UsageError.exit_code
