"""Chinese questions to a pack: what is asked, and that the right item is what counts."""

from __future__ import annotations

import csv
import shutil

import pytest
from word_encoder import WordEncoder

from benchmarks.retrieval.chinese import measure_chinese, read_slice
from retrieval.errors import DataError

FILMS = [
    {"id": "rain-1982", "title": "Rain", "aliases": "雨", "description": "A detective hunts robots in the rain."},
    {"id": "sea-1975", "title": "Sea", "aliases": "海", "description": "A shark swims."},
]
BOOKS = [
    {"id": "sheep", "title": "Sheep", "aliases": "羊", "description": "A detective hunts robots and keeps a sheep."},
    {"id": "shark", "title": "Shark", "aliases": "鲨鱼", "description": "Something swims off the beach."},
]
SLICE = [
    {"id": "rain-1982", "title": "雨", "description": "一名侦探追捕机器人。"},
    {"id": "shark", "title": "鲨鱼", "description": "海滩外有东西在游。"},
]
FACTS = [
    {"subject": "rain-1982", "predicate": "based_on", "object": "sheep"},
    {"subject": "sea-1975", "predicate": "based_on", "object": "shark"},  # not in the slice
    {"subject": "rain-1982", "predicate": "influenced_by", "object": "shark"},
    {"subject": "rain-1982", "predicate": "based_on", "object": "A book that the pack lacks"},
]


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "pack"
    folder.mkdir()
    tables = {"films.csv": FILMS, "books.csv": BOOKS, "zh.csv": SLICE, "relations.csv": FACTS}
    for name, rows in tables.items():
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    asks = "asks:\n  - {from: films, to: books, like: [Rain]}\n"
    (folder / "demo.yaml").write_text("catalogues: {films: films.csv, books: books.csv}\n" + asks, encoding="utf-8")
    return folder


def test_each_kind_is_asked_by_each_way(pack):
    """Titles, sentences, and sentences of films for their books; the book has to be here and the film in the slice."""
    found = {figure.name: figure for figure in measure_chinese(pack, [WordEncoder()], print)}
    sizes = {name.rsplit(", ", 1)[0]: figure.n for name, figure in found.items()}
    assert sizes == {
        "title to its item, zh, titles and aliases": 2,
        **{f"title to its item, zh, {way}": 2 for way in ("text by words", "words (BM25)")},
        **{f"description to its item, zh, {way}": 2 for way in ("text by words", "words (BM25)")},
        **{f"film's description to its book, zh, {way}": 1 for way in ("text by words", "words (BM25)")},
        **{f"film's description to its book, en, {way}": 1 for way in ("text by words", "words (BM25)")},
    }
    assert {name.rsplit(", ", 1)[1] for name in found} == {"recall@1", "recall@10", "mrr"}


def test_what_is_found_counts_and_what_is_not_is_chance(pack):
    """An alias names its item and shared English words find the book; Chinese words that no text has give chance."""
    found = {figure.name: figure.value for figure in measure_chinese(pack, [WordEncoder()], print)}
    assert found["title to its item, zh, titles and aliases, recall@1"] == 1
    assert found["film's description to its book, en, words (BM25), recall@1"] == 1
    assert found["description to its item, zh, words (BM25), recall@1"] == 0.5  # of two books or films
    assert found["description to its item, zh, words (BM25), recall@10"] == 1


def test_a_pack_without_a_slice_is_refused(pack):
    """A missing slice, and one with another header, is DataError that names the file."""
    shutil.copy(pack / "films.csv", pack / "zh.csv")
    with pytest.raises(DataError, match=r"zh\.csv"):
        read_slice(pack)
    (pack / "zh.csv").unlink()
    with pytest.raises(DataError, match=r"zh\.csv"):
        measure_chinese(pack, [WordEncoder()], print)
