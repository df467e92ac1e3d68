"""Promises of runs and their comparison: folders that go on, guards, replays, verdicts."""

from __future__ import annotations

import json
import re
from typing import get_args

import numpy as np
import pytest
from fake_llm import FakeLLM
from typer.testing import CliRunner
from word_encoder import WordEncoder

from eval.cli import app, context
from eval.cli.options import SPLITS
from eval.cli.run import HISTORIES, SYSTEMS
from eval.data import (
    Case,
    Dataset,
    OutOfFold,
    ShownHistory,
    SplitName,
    cases,
    guard,
    histories,
    plan_cases,
    rerank_tasks,
)
from eval.report import html_of, markdown_of, trial_page
from eval.runs import (
    CaseResult,
    Manifest,
    RunFolder,
    TrialResult,
    arm_settings,
    compare_runs,
    measure_case,
    run_catalogue,
)
from eval.runs.rerank import run_rerank
from eval.runs.trial import LiveArm, trial
from eval.stats import Decision, StoppingRule
from eval.systems import BASELINES
from retrieval.errors import DataError, UsageError
from retrieval.ranking import fusion_fit, save_fusion
from retrieval.templates import load_template
from retrieval.types import History, HistoryEntry, Item
from xdrec_agent.llm import LLMClient
from xdrec_agent.rerank import RerankContext
from xdrec_agent.settings import LLMSettings, RerankSettings, load_settings

TEMPLATES = {task: load_template(task) for task in ("rerank", "judge")}
MANIFEST = Manifest(name="a", task="rerank", protocol={"users": 30, "seed": 0}, data="d")


def quiet(_line):
    """Nobody listens."""


def result(user, ndcg, **more):
    metrics = {"ndcg@10": ndcg, "mrr": ndcg / 2}
    return CaseResult(user=user, source="films", target="books", metrics=metrics, slices={"truth": "unseen"}, **more)


def run_of(path, values, **manifest):
    """A finished run with these nDCG values, a user each."""
    folder = RunFolder.create(path, MANIFEST.model_copy(update={"name": path.name, **manifest}))
    for user, value in enumerate(values):
        folder.append(result(f"u{user:03}", value))
    return folder


def test_a_stopped_run_goes_on_and_a_cut_off_line_is_made_again(tmp_path):
    """What was finished counts, half a line does not."""
    folder = RunFolder.create(tmp_path / "a", MANIFEST)
    folder.append(result("u1", 0.5))
    with (folder.path / "cases.jsonl").open("a") as file:
        file.write('{"user": "u2", "sour')
    again = RunFolder.create(tmp_path / "a", MANIFEST)
    assert [r.user for r in again.results()] == ["u1"]
    again.append(result("u2", 0.25))
    assert [r.user for r in RunFolder.open(folder.path).results()] == ["u1", "u2"]


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    """Another run, and a folder with files of somebody's, are refused."""
    RunFolder.create(tmp_path / "a", MANIFEST)
    with pytest.raises(UsageError, match="another run"):
        RunFolder.create(tmp_path / "a", MANIFEST.model_copy(update={"data": "other"}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="holds no run"):
        RunFolder.create(tmp_path / "mine", MANIFEST)
    with pytest.raises(DataError, match="holds no run"):
        RunFolder.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{}", "Field required"),
        ("no json", "Invalid JSON"),
        (result("u1", 0.5).model_dump_json().replace("0.25", "NaN"), "line 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, said):
    """With file and number; never a number made of it."""
    folder = RunFolder.create(tmp_path / "a", MANIFEST)
    (folder.path / "cases.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=said):
        folder.results()


def test_a_case_that_is_there_twice_is_refused(tmp_path):
    """It would count double."""
    folder = run_of(tmp_path / "a", [0.5])
    folder.append(result("u000", 0.7))
    with pytest.raises(DataError, match="twice"):
        folder.results()


def test_a_better_arm_is_said_to_be_better_by_how_much(tmp_path):
    """The decisive comparison comes first, with Holm over metrics, and the slices after it."""
    rng = np.random.default_rng(0)
    base = rng.random(120) * 0.5
    a, b = run_of(tmp_path / "a", base), run_of(tmp_path / "b", base + 0.1 + 0.05 * rng.standard_normal(120))
    found = compare_runs([a, b], ["ndcg@10", "mrr"], rng)
    assert re.match(r"b beats a by \.(09|1)\d* ndcg@10 \[", found.verdict)
    assert "after Holm" in found.verdict
    assert [(c.metric, c.slice) for c in found.comparisons] == [
        ("ndcg@10", "all"),
        ("mrr", "all"),
        ("ndcg@10", "truth: unseen"),
    ]


def test_the_same_run_twice_cannot_be_told_apart(tmp_path):
    """No difference gives no p-value."""
    found = compare_runs(
        [run_of(tmp_path / "a", np.full(20, 0.5)), run_of(tmp_path / "b", np.full(20, 0.5))],
        ["ndcg@10"],
        np.random.default_rng(0),
    )
    assert found.verdict.startswith("cannot tell")
    assert found.comparisons[0].difference.p_value is None


@pytest.mark.parametrize(
    ("other", "values", "metrics", "said"),
    [
        ({"data": "other"}, np.full(20, 0.5), [], "other data"),
        ({"protocol": {"users": 9}}, np.full(20, 0.5), [], "another protocol"),
        ({"name": "a"}, np.full(20, 0.5), [], "two runs are called a"),
        ({}, np.full(19, 0.5), [], "differ in 1 cases"),
        ({}, np.full(20, 0.5), ["taste"], "no metric taste"),
        ({}, [], [], "no finished case"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, other, values, metrics, said):
    """Never a number."""
    a, b = run_of(tmp_path / "a", np.full(20, 0.5)), run_of(tmp_path / "b", values, **other)
    with pytest.raises(UsageError, match=said):
        compare_runs([a, b], metrics, np.random.default_rng(0))


def test_fewer_than_ten_users_are_not_compared(tmp_path):
    """Nor is a single run."""
    a, b = run_of(tmp_path / "a", np.arange(9) / 9), run_of(tmp_path / "b", np.arange(9) / 10)
    with pytest.raises(UsageError, match="too few"):
        compare_runs([a, b], [], np.random.default_rng(0))
    with pytest.raises(UsageError, match="two runs"):
        compare_runs([a], [], np.random.default_rng(0))


def test_a_leak_fails_the_run():
    """A target interaction, one from the cut on, and one without a time."""

    def case(domain, time):
        entry = HistoryEntry(item=Item(domain=domain, id="x", title="X"), timestamp=time)
        return Case("u", "films", "books", History(user="u", entries=(entry,)), ("b",), 100)

    guard(case("films", 99))
    for domain, time in (("books", 1), ("films", 100), ("films", None)):
        with pytest.raises(DataError, match="leak"):
            guard(case(domain, time))


async def test_a_reranking_run_measures_every_user_once_and_goes_on(dataset: Dataset, tmp_path):
    """With the model dead the retriever's order counts, marked; a second call has nothing left to do."""
    fake = FakeLLM()
    chosen = rerank_tasks(plan_cases(dataset), 12)
    async with LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client()) as client:
        context = RerankContext(RerankSettings(strategy="listwise-logprob", max_shuffles=2), TEMPLATES, client)
        folder = RunFolder.create(tmp_path / "run", MANIFEST)
        await run_rerank(folder, context, chosen, 2, 4, quiet)
        asked = len(fake.calls)
        await run_rerank(folder, context, chosen, 2, 4, quiet)
    assert len(fake.calls) == asked
    found = folder.results()
    assert len(found) == 12
    assert all(0 <= r.metrics["ndcg@10"] <= 1 and r.usage.requests == 4 for r in found)
    assert {"direction", "history", "truth"} <= set(found[0].slices)
    summary = folder.finish()
    assert (summary.users, summary.degraded) == (12, 0)
    assert summary.references["chance"]["hit@1"] == pytest.approx(1 / 20)
    # Where counts are matched as far as can be, what nobody touched gives next to nothing away.
    assert summary.references["unseen first"] == pytest.approx(summary.references["chance"], abs=0.03)


def who_knows(chosen):
    """A model that likes what its users went on to like."""
    liked = {t.truth_id: t.ranking.candidates[t.truth].item.title for t in chosen}

    def labels(body):
        text = "\n".join(message["content"] for message in body["messages"])
        shown = re.findall(r"^\[(\w)\] (.*?) by ", text, re.M)
        return {label: -0.1 if title in liked.values() else -5.0 for label, title in shown} | {"?": -9.0}

    return FakeLLM(labels=labels)


async def tried(dataset, tmp_path, fake, chosen, rule, strategies):
    """A trial of two strategies in batches of ten."""
    async with LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client()) as client:
        arms = [
            LiveArm(
                RunFolder.create(tmp_path / name, MANIFEST.model_copy(update={"name": name})),
                RerankContext(RerankSettings(strategy=strategy, max_shuffles=1), TEMPLATES, client),
            )
            for name, strategy in zip("ab", strategies, strict=True)
        ]
        return await trial(tuple(arms), chosen, "ndcg@10", rule, 10, 1, 4, quiet)


async def test_a_trial_stops_as_soon_as_it_knows(dataset: Dataset, tmp_path):
    """A clear difference needs few users; the rest of the requests are saved, and going on asks for nothing again."""
    chosen = rerank_tasks(plan_cases(dataset), 39)
    fake = who_knows(chosen)
    rule = StoppingRule(margin=0.01)
    found = await tried(dataset, tmp_path, fake, chosen, rule, ("identity", "listwise-logprob"))
    assert found.decision is Decision.DIFFERENCE
    assert found.verdict.startswith("b beats a: ")
    assert found.requests == found.looks[-1].users < 39
    assert found.saved > 0
    assert found.wanted is None
    asked = len(fake.calls)
    again = await tried(dataset, tmp_path, fake, chosen, rule, ("identity", "listwise-logprob"))
    assert again.looks == found.looks
    assert len(fake.calls) == asked


async def test_a_trial_of_the_same_thing_twice_finds_no_difference_that_matters(dataset: Dataset, tmp_path):
    """It stops when the interval lies within the margin, or says that it cannot tell yet."""
    chosen = rerank_tasks(plan_cases(dataset), 39)
    loose = await tried(dataset, tmp_path / "1", FakeLLM(), chosen, StoppingRule(margin=0.5), ("identity", "identity"))
    assert loose.decision is Decision.NO_RELEVANT_DIFFERENCE
    tight = await tried(
        dataset, tmp_path / "2", FakeLLM(), chosen, StoppingRule(margin=0.001), ("identity", "identity")
    )
    assert tight.decision is Decision.LIMIT
    assert tight.verdict.startswith("cannot tell yet")
    assert tight.verdict.endswith(f"; about {tight.wanted:,} users would decide")
    assert tight.wanted > 39
    budget = StoppingRule(margin=0.001, max_requests=12)
    short = await tried(dataset, tmp_path / "3", FakeLLM(), chosen, budget, ("identity", "listwise-logprob"))
    assert short.requests <= 12


async def test_a_trials_report_shows_every_look(dataset: Dataset, tmp_path):
    """As a table and as a whisker of the plot, the last one coloured by the verdict; and what the arms differ in."""
    chosen = rerank_tasks(plan_cases(dataset), 39)
    rule = StoppingRule(margin=0.001)
    found = await tried(dataset, tmp_path, FakeLLM(), chosen, rule, ("identity", "identity"))
    page = trial_page(found)
    assert [row[0].text for row in page.tables[0].rows] == ["10", "20", "30", "39"]
    shown = html_of(page)
    assert shown.count('class="whisker"') == 4
    assert found.verdict in markdown_of(page)
    assert TrialResult.model_validate_json(page.json) == found


def test_a_catalogue_run_measures_seen_and_unseen_apart(dataset: Dataset, tmp_path):
    """Truth is found by a scorer that knows it; a metric that does not apply is left out, not zero."""
    people = list(histories(dataset.store))
    asked = [case for person in people[:6] for case in cases(person, dataset.domains)]
    positions = {d: dataset.index.snapshot(d).positions for d in dataset.domains}

    truth = {(case.user, case.source, case.target): case.truth for case in asked}

    def knows(case):
        known = truth[case.user, case.source, case.target]
        return np.array([float(i in known) for i in positions[case.target]], dtype=np.float32)

    folder = RunFolder.create(tmp_path / "run", MANIFEST)
    run_catalogue(folder, dataset, asked, OutOfFold(dataset), knows, quiet)
    for one in folder.results():
        assert one.metrics["recall@50"] == one.metrics["ndcg@10"] == one.metrics["hit@10"] == one.metrics["mrr"] == 1
        chance, unseen_first = one.references["chance"], one.references["unseen first"]
        assert chance["recall@10"] == pytest.approx(10 / len(positions[one.target]))
        # Within a slice all are alike; in the whole catalogue a rule that puts one kind first is no chance.
        assert all(unseen_first[name] == pytest.approx(chance[name]) for name in chance if " " in name)
    nothing_seen = measure_case(dataset, asked[0], np.zeros(60, dtype=np.int64), knows)
    assert nothing_seen.metrics["unseen recall@10"] == 1
    assert "seen recall@10" not in nothing_seen.metrics


def test_the_command_line_makes_and_compares_runs(amazon, tmp_path, monkeypatch):
    """From two commands to a verdict, for catalogue and reranking, without a model."""
    monkeypatch.setattr(context, "pulled_encoder", lambda _settings: WordEncoder())
    monkeypatch.chdir(tmp_path)
    cli = CliRunner()

    def call(*words, code=0):
        done = cli.invoke(app, [str(w) for w in words])
        assert done.exit_code == code, done.output
        return done.stderr if code else done.stdout

    for name in ("retriever", "random"):
        call("run", f"runs/{name}", "--data", amazon, "--task", "catalogue", "--system", name, "--users", 30)
    call("run", "runs/order", "--data", amazon, "--set", "rerank.strategy=identity", "--users", 30)
    found = json.loads(call("ab", "runs/random", "runs/retriever", "--metric", "recall@50", "--json"))
    assert found["comparisons"][0]["difference"]["users"] == 30
    assert found["arms"][0]["summary"]["coverage"] > 0.5
    assert "another protocol" in call("ab", "runs/random", "runs/order", code=UsageError.exit_code)
    assert "can be replayed" in call("replay", "runs/random", "--data", amazon, code=UsageError.exit_code)


def test_a_run_measures_with_the_weights_that_are_in_effect_for_the_home(amazon, tmp_path, monkeypatch):
    """What was fitted for a home decides the order that reranking starts from, and its manifest says so."""
    monkeypatch.setattr(context, "pulled_encoder", lambda _settings: WordEncoder())
    monkeypatch.chdir(amazon)  # where the data is prepared already
    shipped = fusion_fit(WordEncoder().name)
    reversed_ = {name: weight.model_copy(update={"base": -9.0}) for name, weight in shipped.weights.items()}
    fitted = shipped.model_copy(update={"encoder": WordEncoder().name, "weights": reversed_})
    runs = []
    for name in ("shipped", "fitted"):
        monkeypatch.setenv("XDREC_HOME", str(tmp_path / f"home, {name}"))
        if name == "fitted":
            save_fusion(fitted, load_settings().fits_dir)
        words = ("run", tmp_path / name, "--data", amazon, "--set", "rerank.strategy=identity", "--users", 12)
        done = CliRunner().invoke(app, [str(w) for w in words])
        assert done.exit_code == 0, done.output
        runs.append(RunFolder.open(tmp_path / name))
    orders = [[r.ranking for r in run.results()] for run in runs]
    assert all(one != other and set(one) == set(other) for one, other in zip(*orders, strict=True))
    assert ["fusion.json" in run.manifest.settings.get("fits", {}) for run in runs] == [False, True]


@pytest.mark.parametrize("assignment", ["strategy=identity", "rerank.strategy", "rerank.=x", "rerank.taste=x"])
def test_a_setting_that_is_none_is_refused(assignment):
    """With what would be right."""
    with pytest.raises(UsageError):
        arm_settings([assignment])


def test_the_help_names_every_system_split_and_history_there_is():
    """The list is written out where the heavy modules are not imported, and does not drift."""
    named = {SYSTEMS: ("retriever", *BASELINES), SPLITS: get_args(SplitName), HISTORIES: get_args(ShownHistory)}
    for told, known in named.items():
        assert set(told.replace(" or ", ", ").split(", ")) == set(known)
