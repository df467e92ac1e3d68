"""Promises of `python -m benchmarks`."""

from __future__ import annotations

import json
import subprocess
import sys

from typer.testing import CliRunner

from benchmarks.cli import app


def test_data_that_is_not_there_is_a_clear_error(tmp_path):
    """What is missing, the next thing to do, the exit code of the data's error; no traceback."""
    command = [sys.executable, "-m", "benchmarks", "cold-start", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert "items_books.csv.gz" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_benchmark_prints_a_table_and_writes_its_report(tmp_path):
    """Each figure has its value and how many things it is of; the file says on what machine and commit it was made."""
    file = tmp_path / "deep" / "replicas.json"
    done = CliRunner().invoke(app, ["replicas", "--latency", "0.01", "--rounds", "1", "--json", str(file)])
    assert done.exit_code == 0, done.output
    report = json.loads(file.read_text())
    assert report["benchmark"] == "replicas"
    assert report["machine"]["cores"] >= 1
    assert {"commit", "versions", "finished"} <= report.keys()
    for figure in report["figures"]:
        assert figure["n"] > 0
        assert figure["name"] in done.stdout
