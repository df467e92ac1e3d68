"""The promise of docs/tutorial/new-pair.md: whoever follows it as it is written gets there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from little_encoder import save_encoder
from typer.testing import CliRunner

from xdrec_agent.cli import app

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "tutorial" / "new-pair.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`(\w+\.csv)`:\n```csv\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = re.findall(r"^\$ xdrec (.+)$", PAGE, re.MULTILINE)
WORD = re.compile(r"[a-z]{5,}")  # shorter ones say little


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder, and in the models' folder a real little encoder, of shared words, under the usual name."""
    save_encoder(tmp_path / "models" / "minilm-taste", WORD.findall(PAGE.casefold()))
    monkeypatch.setenv("XDREC_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("XDREC_DEVICE", "cpu")
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_page_shows_files_and_commands():
    """So that the next test has something to follow: the two catalogues, and all commands are xdrec's."""
    assert {"games.csv", "museums.csv"} <= set(FILES)
    assert len(COMMANDS) == len(re.findall(r"^\$ ", PAGE, re.MULTILINE)) >= 8


def test_the_page_can_be_followed(place):
    """Every file written, every command run in order, nothing refused; what is near comes first."""
    for name, text in FILES.items():
        (place / name).write_text(text, encoding="utf-8")
    said = {}
    for command in COMMANDS:
        done = CliRunner().invoke(app, shlex.split(command))
        assert done.exit_code == 0, (command, done.output)
        said[command] = done.stdout
        if command.startswith("ingest"):
            assert "0 rejected" in done.stdout or "rejected" not in done.stdout, (command, done.output)
    asked = [text for command, text in said.items() if command.startswith("recommend")]
    by_title, as_json, filtered, by_user = asked
    assert {"The Engine Shed", "The Dome"} <= set(re.findall("The Engine Shed|The Dome", by_title)), by_title
    assert json.loads(as_json)["items"][0]["item"]["title"] == "Bee Line"
    assert "House of the Nile" not in filtered
    assert "The Engine Shed" in by_user
