"""Baselines of other libraries, without the libraries: what they read and write, and how a broken one is found out."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.systems import BASELINES

FOLDER = Path(__file__).resolve().parents[2] / "scripts" / "baselines"
TOGETHER = """
import numpy as np
from exchange import answer

def score(unit):
    liked = np.zeros((unit.people, len(unit.items)))
    for touch in unit.liked:
        liked[touch.person, touch.item] = 1
    near = liked[unit.first_case:] @ liked[:unit.first_case].T
    return near @ liked[:unit.first_case, unit.first_target:]

answer(score, {"neighbours": "all"}, ("numpy",))
"""
DRAWN = """
import numpy as np
from exchange import answer

rng = np.random.default_rng(0)
answer(lambda unit: rng.random((len(unit.cases), len(unit.items) - unit.first_target)), {}, ())
"""


@pytest.fixture(scope="module", autouse=True)
def importable():
    """The programs import one another from their folder."""
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


def load(name):
    spec = importlib.util.spec_from_file_location(f"baselines_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def smoke(importable):
    return load("smoke")


@pytest.fixture(scope="module")
def exchange(importable):
    return load("exchange")


def program(folder, text):
    """The command of a program that stands beside the real ones as far as its imports go."""
    (folder / "program.py").write_text(f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\n{text}")
    return [sys.executable, folder / "program.py"]


def test_a_program_that_learns_passes_and_is_not_run_twice(smoke, tmp_path):
    """It finds a newcomer's taste; what is answered stays, with the settings and versions beside it."""
    command = program(tmp_path, TOGETHER)
    assert smoke.smoke(command, tmp_path) == 1
    rankings = tmp_path / "answers" / "fold-0" / "films-to-books" / "rankings.jsonl"
    before = rankings.stat().st_mtime_ns
    subprocess.run([*command, tmp_path / "export", tmp_path / "answers"], check=True)
    assert rankings.stat().st_mtime_ns == before
    told = json.loads((tmp_path / "answers" / "system.json").read_text())
    assert told["settings"] == {"neighbours": "all"}
    assert set(told["versions"]) == {"python", "numpy"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DRAWN, "chance is 0.25"),
        ("raise SystemExit('no such package')", "no such package"),
        ("", "0 cases are answered, 20 were asked"),
    ],
)
def test_a_program_that_does_not_work_is_found_out(smoke, tmp_path, text, said):
    """Before hours are spent on it: one that guesses, one that fails, one that says nothing."""
    with pytest.raises(smoke.Broken, match=said):
        smoke.smoke(program(tmp_path, text), tmp_path)


def test_a_unit_is_one_matrix_whose_last_rows_are_the_cases(smoke, exchange, tmp_path):
    """They have source columns alone; nobody touched the cold items."""
    smoke.write_toy(tmp_path / "export")
    (unit,) = exchange.units(tmp_path / "export")
    assert (unit.people, unit.first_case, len(unit.items), unit.first_target) == (420, 400, 96, 48)
    asked = [touch for touch in unit.touches if touch.person >= unit.first_case]
    assert {touch.person for touch in asked} == set(range(400, 420))
    assert all(touch.item < unit.first_target for touch in asked)
    assert [unit.items[c]["id"] for c in np.flatnonzero(~unit.seen)] == [f"{t}-11" for t in smoke.TASTES] * 2
    assert {touch.rating for touch in unit.touches} == {1, 5}
    assert {touch.rating for touch in unit.liked} == {5}


def test_the_best_seen_and_unseen_items_are_written(exchange):
    """500 of each with their ties; where all are tied there is no best."""
    seen = np.arange(3000) < 1500
    scores = np.arange(3000.0)
    assert set(exchange._best(scores, seen)) == {*range(1000, 1500), *range(2500, 3000)}
    scores[990:1000] = scores[1000]
    assert set(exchange._best(scores, seen)) == {*range(990, 1500), *range(2500, 3000)}
    assert set(exchange._best(np.where(seen, scores, -1), seen)) == set(range(990, 1500))


def test_given_candidates_are_ranked_and_nothing_else(exchange):
    """In reranking an export names them."""
    items = [{"id": "f"}, *({"id": f"b{n}"} for n in range(5))]
    unit = exchange.Unit("x", items, 1, [], 1, [{"case": "c", "candidates": ["b1", "b4", "b2"]}])
    (line,) = exchange._lines(unit, np.array([[9.0, 0.0, 2.0, 9.0, 1.0]]))
    assert line == {"case": "c", "items": ["b2", "b4", "b1"], "scores": [2.0, 1.0, 0.0]}


def test_every_program_has_requirements_and_all_are_pinned(importable):
    """A table that is made again next year has the same libraries."""
    run = load("run")
    for name, file in run.PROGRAMS.items():
        assert (FOLDER / file).is_file()
        lines = (FOLDER / "requirements" / f"{name}.txt").read_text().split()
        assert lines
        assert all("==" in line for line in lines)


def test_an_unknown_baseline_is_refused():
    """With the names there are."""
    done = subprocess.run([sys.executable, FOLDER / "run.py", "netflix"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert ", ".join([*BASELINES, "lightfm, surprise, tfrs"]) in done.stderr
