"""The benchmarks' data: what is expected, and that preparing it is done once."""

from __future__ import annotations

import gzip
import subprocess
import sys

import pytest
from word_encoder import WordEncoder

from eval.data import open_dataset
from eval.data.sources import DOMAINS, NAME
from retrieval.errors import DataError
from retrieval.templates import load_template

TEMPLATE = load_template("item")


def write(folder, ratings="ann,{d}1,5,100\n"):
    folder.mkdir(parents=True, exist_ok=True)
    for domain in DOMAINS:
        items = f"item_id,title,creator,categories\n{domain}1,One,Ann,A|B\n{domain}2,Two,,A\n"
        rows = "user_id,item_id,rating,timestamp\n" + ratings.format(d=domain)
        for kind, text in (("items", items), ("interactions", rows)):
            (folder / f"{kind}_{domain}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    return folder


def opened(data, cache, encoder=None):
    said = []
    return open_dataset(data, encoder or WordEncoder(), TEMPLATE, said.append, cache), said


def test_every_domain_is_ingested_and_indexed(tmp_path):
    """Items, interactions and vectors of all domains are there, with the files' own fields."""
    dataset, said = opened(write(tmp_path / "data"), tmp_path / "cache")
    with dataset as data:
        assert [(s.domain, s.items, s.interactions) for s in data.store.domains()] == [(d, 2, 1) for d in DOMAINS]
        item = data.store.items("books", ["books1"])["books1"]
        assert (item.creators, item.categories) == (("Ann",), ("A", "B"))
        for domain in DOMAINS:
            assert set(data.index.snapshot(domain).positions) == {f"{domain}1", f"{domain}2"}
        assert data.home.parent == tmp_path / "cache"
    assert any("ingesting" in line for line in said)


def test_preparing_is_done_once(tmp_path):
    """The second run neither ingests nor embeds, also when the parent folder is named; other data or encoders do."""
    data = write(tmp_path / NAME)
    with opened(data, tmp_path / "cache")[0] as first:
        home = first.home
    for folder in (data, tmp_path):
        encoder = WordEncoder()
        again, said = opened(folder, tmp_path / "cache", encoder)
        with again as second:
            assert second.home == home
        assert (encoder.encoded, said) == ([], [])
    with opened(data, tmp_path / "cache", WordEncoder("other"))[0] as other:
        assert other.home != home
    with opened(write(data, "bob,{d}1,5,100\n"), tmp_path / "cache")[0] as changed:
        assert changed.home != home
        assert changed.store.users() == ("bob",)


def test_a_missing_folder_says_what_is_expected(tmp_path):
    """A wrong --data names every missing file and their columns."""
    with (
        pytest.raises(DataError, match=r"items_books\.csv\.gz, .*interactions_music\.csv\.gz") as caught,
        opened(tmp_path, tmp_path / "cache")[0],
    ):
        pass
    for column in ("item_id", "categories", "user_id", "timestamp"):
        assert column in caught.value.hint


def test_refused_rows_are_an_error(tmp_path):
    """Figures are never measured on a part of the data: a refused row stops, names its line, and is met again."""
    data = write(tmp_path / "data", "ann,{d}1,5,100\nann,nope,5,100\n")
    for _ in range(2):
        with pytest.raises(DataError, match="line 3"), opened(data, tmp_path / "cache")[0]:
            pass


def test_the_command_line_translates_errors(tmp_path):
    """`xdrec-eval` gives an error as a line with a hint and the error's own exit code, without a traceback."""
    code = "from eval.cli import main; main()"
    run = [sys.executable, "-P", "-c", code, "run", str(tmp_path / "run"), "--data", str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path)
    assert done.returncode in {3, 5}  # 3: the encoder cannot be had on this machine
    assert "error: " in done.stderr
    assert "→ " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
