"""Promises of `xdrec ingest` for known formats: what is guessed is said, and own exports are personal data."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from xdrec_agent.cli import app

MOVIES = "movieId,title,genres\n1,Heat (1995),Crime\n2,Ran (1985),War\n"
RATINGS = "userId,movieId,rating,timestamp\n7,1,0.5,964982703\n8,1,4,964981247\n8,2,4,964981247\n"
DIARY = "Date,Name,Year,Letterboxd URI,Rating\n2021-01-02,Heat,1995,https://boxd.it/1,4.5\n2021-01-02,Brazil,1985,u,4\n"


@pytest.fixture
def xdrec(tmp_path, monkeypatch):
    """Run a command in a home of its own."""
    monkeypatch.setenv("XDREC_MODELS_DIR", str(tmp_path / "models"))
    return lambda *arguments: CliRunner().invoke(app, ["--home", str(tmp_path / "home"), *map(str, arguments)])


@pytest.fixture
def movielens(tmp_path):
    folder = tmp_path / "ml"
    folder.mkdir()
    (folder / "movies.csv").write_text(MOVIES)
    (folder / "ratings.csv").write_text(RATINGS)
    return folder


@pytest.fixture
def diary(tmp_path):
    path = tmp_path / "ratings-of-mine.csv"
    path.write_text(DIARY)
    return path


def test_a_guessed_format_is_said(xdrec, movielens):
    """On stderr, while the reports, one a file, are JSON on stdout."""
    done = xdrec("ingest", "films", movielens, "--json")
    assert done.exit_code == 0
    assert "read as movielens" in done.stderr
    assert [(r["file"], r["added"]) for r in json.loads(done.stdout)] == [("movies.csv", 2), ("ratings.csv", 3)]


@pytest.mark.parametrize("option", [("--format", "csv"), ("--column", "title=title"), ("--scale", "0:5")])
def test_what_is_said_is_not_guessed(xdrec, movielens, option):
    """A plain table's options, or its format, make it a plain table."""
    file = movielens / ("ratings.csv" if "--scale" in option else "movies.csv")
    xdrec("ingest", "films", movielens / "movies.csv", "--format", "csv")
    done = xdrec("ingest", "films", file, *option)
    assert done.exit_code == 0
    assert "read as" not in done.stderr


def test_part_of_a_data_set(xdrec, movielens):
    """Samples, dates and least numbers are options of every format."""
    done = xdrec("ingest", "films", movielens, "--sample", 1, "--min-interactions", 2, "--since", "2000-07-30")
    assert "1  left out: of users who are not in the sample" in done.stdout
    assert json.loads(xdrec("users", "list", "--json").stdout) == ["8"]


def test_an_own_export(xdrec, movielens, diary):
    """What it has in common with the catalogue is the person's history; the rest is shown with the way to add it."""
    xdrec("ingest", "films", movielens)
    done = xdrec("ingest", "films", diary, "--user", "me")
    assert done.exit_code == 0
    assert "no such title in the catalogue" in done.stderr
    done = xdrec("ingest", "films", diary, "--user", "me", "--add-items", "--format", "letterboxd")
    assert "1  items added to the catalogue" in done.stdout


def test_an_own_export_is_deleted_with_the_person(xdrec, movielens, diary):
    """Also the titles that the catalogue did not have, which lie among the rejected rows."""
    xdrec("ingest", "films", movielens)
    xdrec("ingest", "films", diary, "--user", "me")
    kept = json.loads(xdrec("users", "export", "me").stdout)
    assert [row["row"]["Name"] for row in kept["rejected_rows"]] == ["Brazil"]
    assert "rejected_rows: 1 deleted" in xdrec("users", "delete", "me", "--yes").stdout


REFUSED = [
    (["--format", "letterboxd"], "--user"),
    (["--user", "me", "--format", "csv"], "--format"),
    (["--user", "me", "--sample", "5"], "--sample"),
    (["--user", "me", "--since", "yesterday"], "2015-01-01"),
    (["--user", "me", "--format", "letterboxd", "--scale", "1:10"], "--scale"),
    (["--format", "betamax"], "letterboxd"),
]


@pytest.mark.parametrize(("options", "hint"), REFUSED)
def test_options_that_do_not_fit(xdrec, diary, options, hint):
    """Nothing is read, the exit code is that of usage, and the hint says what to do."""
    done = xdrec("ingest", "films", diary, *options)
    assert done.exit_code == 2
    assert hint in done.stderr.split("→")[1]
