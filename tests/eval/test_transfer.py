"""Promises of the transfer matrix: who learnt from whom, what is compared with what, and that taught taste shows."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from tiny_encoder import ABOUT, make_encoder
from typer.testing import CliRunner

from eval.cli import app
from eval.data import FOLDS, Case, fold
from eval.studies import ALL, AUTO, TransferResult
from eval.studies.transfer import Arms, matrix
from eval.studies.transfer_runs import ALL_PAIRS, DOMAIN_ADAPTED, OTHER_PAIRS, ZERO_SHOT, training_of
from retrieval.errors import UsageError
from retrieval.types import History
from xdrec_agent.models import read_adapter_manifest

DOMAINS = ("books", "films", "music")
PAIR = ("films", "books")


def case_of(user, source="films", target="books"):
    return Case(user, source, target, History(user=user), ("b",), 0)


def results(values, pair=PAIR):
    return {(f"u{n}", *pair): {"recall@100": float(v)} for n, v in enumerate(values)}


def arms(**found):
    return Arms({name.replace("_", "-"): some for name, some in found.items()}, ("adapted",), "recall@100")


def test_nobody_is_measured_by_an_encoder_that_learnt_from_them():
    """Trained arms leave out the case's fold, and the arm for left-out pairs neither way between the case's domains."""
    for n in range(40):
        case = case_of(f"u{n}")
        own = fold(case.user, FOLDS)
        trained = training_of(ALL_PAIRS, case, DOMAINS)
        left_out = training_of(OTHER_PAIRS, case, DOMAINS)
        assert trained.fold == left_out.fold == own
        assert len(trained.pairs) == 6
        assert not {PAIR, PAIR[::-1]} & set(left_out.pairs)
        assert len(left_out.pairs) == 4
        assert left_out == training_of(OTHER_PAIRS, case_of(case.user, "books", "films"), DOMAINS)
    assert training_of(ZERO_SHOT, case, DOMAINS) is None
    assert training_of(DOMAIN_ADAPTED, case, DOMAINS).pairs is None


def test_effects_are_paired_and_tell_help_from_harm():
    """A planted gain and a planted loss come out as what they are, pair by pair; few people give no interval."""
    rng = np.random.default_rng(0)
    base = rng.random(200) / 2
    music = ("films", "music")
    first = results(base) | results(base, music)
    other = results(base + 0.1 + rng.normal(0, 0.05, 200)) | results(base - 0.1 + rng.normal(0, 0.05, 200), music)
    found = matrix(arms(zero_shot=first, adapted=other), ["recall@100"], rng)
    better, worse = (found.effect("adapted", "recall@100", pair) for pair in (PAIR, music))
    assert better.state == "better"
    assert better.difference.mean == pytest.approx(0.1, abs=0.02)
    assert better.ratio.low > 1
    assert worse.state == "worse"
    assert found.effect("adapted", "recall@100", (ALL, ALL)).users == 200
    assert found.chosen == {"films:books": "adapted", "films:music": "zero-shot"}
    assert found.effect(AUTO, "recall@100", PAIR).after == pytest.approx(better.after)
    assert found.effect(AUTO, "recall@100", music).difference.mean == 0
    verdict = TransferResult(facts={}, matrices={"text alone": found}).verdict
    assert verdict.startswith("recall@100 beside zero-shot: adapted ")
    assert verdict.endswith("; negative transfer: adapted (films to music)")
    few = matrix(arms(zero_shot=results(base[:5]), adapted=results(base[:5] + 0.1)), ["recall@100"], rng)
    assert few.effect("adapted", "recall@100", PAIR).difference is None


def test_auto_is_chosen_by_other_folds():
    """Where an arm is better for one fold's people alone, they do not get it: nobody chooses for themselves."""
    values = np.full(300, 0.2)
    lucky = np.array([0.9 if fold(f"u{n}", FOLDS) == 0 else 0.15 for n in range(300)])
    found = matrix(arms(zero_shot=results(values), adapted=results(lucky)), ["recall@100"], np.random.default_rng(0))
    # All together support it, and so do the people of fold 0 for those of the other folds.
    assert found.chosen == {"films:books": "adapted"}
    assert found.effect(AUTO, "recall@100", PAIR).after < 0.2


def test_what_cannot_be_compared_is_said():
    """One arm alone, and arms without a common case."""
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="no arm beside"):
        matrix(arms(zero_shot=results([1, 2])), ["recall@100"], rng)
    with pytest.raises(UsageError, match="no case of zero-shot"):
        matrix(arms(zero_shot=results([1]), adapted=results([1], ("a", "b"))), ["recall@100"], rng)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Data in the benchmark's layout: who likes the n-th kind of one domain likes the n-th of the others."""
    folder = tmp_path_factory.mktemp("world") / "amazon-three-domains"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for day, (domain, about) in enumerate(zip(DOMAINS, ("books", "films", "records"), strict=True)):
        with gzip.open(folder / f"items_{domain}.csv.gz", "wt") as file:
            file.write("item_id,title,creator,categories\n")
            for kind in range(6):
                for n in range(30):
                    file.write(f"{domain}{kind}-{n},number {n},,{ABOUT[about][kind]}\n")
        with gzip.open(folder / f"interactions_{domain}.csv.gz", "wt") as file:
            file.write("user_id,item_id,rating,timestamp\n")
            for user in range(120):
                for n in rng.choice(30, size=6, replace=False):
                    time = 1000 + int(rng.integers(900)) + day
                    file.write(f"u{user},{domain}{user % 6}-{n},5,{time}\n")
    return folder.parent


def test_the_command_trains_measures_and_draws(world, tmp_path, monkeypatch):
    """Encoders that learnt find far more, as the report says in every form; a second call trains and fits nothing."""
    monkeypatch.setenv("XDREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDREC_ENCODER__MODEL", str(make_encoder(tmp_path / "tiny")))
    monkeypatch.setenv("XDREC_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)
    command = ["transfer", "out", "--data", str(world), "--layers", "1", "--epochs", "4", "--learning-rate", "0.01"]
    command += ["--left-out-folds", "1", "--users", "60"]
    run = CliRunner()
    done = run.invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "all-pairs" in done.output
    made = {
        path.name: read_adapter_manifest(path) for path in (tmp_path / "out" / "encoders").iterdir() if path.is_dir()
    }
    assert len(made) == 1 + 5 + 3
    assert made["without-books-films-0"].data.left_out == "users of fold 0 of 5"
    assert "books:films" not in made["without-books-films-0"].data.pairs
    again = run.invoke(app, [*command, "--json"])
    assert "step" not in again.stderr
    assert "fitting the sources" not in again.stderr
    matrices = json.loads(again.stdout)["matrices"]
    found, fused = matrices["text alone"], matrices["all sources"]
    assert fused["arms"] == ["popularity", "zero-shot, all sources", "all-pairs, all sources", "auto"]
    pooled = {e["arm"]: e for e in found["effects"] if e["metric"] == "recall@100" and e["source"] == ALL}
    assert pooled["all-pairs"]["difference"]["low"] > 0
    assert pooled["other-pairs"]["users"] < pooled["all-pairs"]["users"]
    for form in ("report.html", "report.md", "report.svg"):
        assert (tmp_path / "out" / form).stat().st_size > 0
    without = run.invoke(app, [*command, "--left-out-folds", "0", "--json"])
    assert json.loads(without.stdout)["matrices"]["text alone"]["arms"] == [
        arm for arm in found["arms"] if arm != "other-pairs"
    ]
