"""Chinese questions to an English catalogue. Reads a pack with a zh.csv and encoders, produces figures.

The Chinese slice (`zh.csv`: id, title, description) is asked by three kinds of question: the item of a Chinese title,
the item that a Chinese sentence describes, and the book that a film was made from, for a sentence about the film. The
last is asked in English, too. Each answers with the place of the one right item among all of its domain.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.figures import Figure, figure
from eval.data import Say, index_dir, store_url
from eval.stats import TiedRanks, mean, recall, reciprocal_rank, tied_ranks
from retrieval.encoder import Encoder
from retrieval.errors import DataError, TitleError
from retrieval.index import Index
from retrieval.ingest import IngestRequest, ingest
from retrieval.ranking import Retriever
from retrieval.settings import IndexSettings, RetrieverSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.titles import resolve_title
from retrieval.types import Query
from xdrec_agent.app import load_pack

SLICE: Final = "zh.csv"
_METRICS: Final[Mapping[str, Callable[[TiedRanks], float]]] = {
    "recall@1": lambda at: recall(at, 1),
    "recall@10": lambda at: recall(at, 10),
    "mrr": reciprocal_rank,
}
_TITLES: Final = "title to its item, zh"
_BASED_ON: Final = "based_on"


@dataclass(frozen=True)
class Question:
    """A text and the one item of `target` that it asks for."""

    text: str
    target: str
    wanted: str


@dataclass(frozen=True)
class ChineseItem:
    """A row of the slice."""

    id: str
    title: str
    description: str


def read_slice(folder: Path) -> list[ChineseItem]:
    """The Chinese slice of a pack. Raises DataError if it has none."""
    try:
        with (folder / SLICE).open(encoding="utf-8", newline="") as file:
            return [ChineseItem(**row) for row in csv.DictReader(file, strict=True)]
    except (OSError, TypeError, csv.Error) as exc:
        raise DataError(f"{folder / SLICE}: {exc}", hint="name a pack with a zh.csv (id, title, description)") from exc


def measure_chinese(folder: Path, encoders: Sequence[Encoder], say: Say, seed: int = 0) -> list[Figure]:
    """Every kind of question by every way of answering.

    Raises:
        DataError: the pack has no Chinese slice, or cannot be read.
        ModelMissing: an encoder is not on this machine.
    """
    rng = np.random.default_rng(seed)
    figures: list[Figure] = []
    for number, encoder in enumerate(encoders):
        say(f"{encoder.name}: indexing {folder.name}")
        with (
            tempfile.TemporaryDirectory() as home,
            Store.open(store_url(Path(home))) as store,
            Index(index_dir(Path(home)), encoder, load_template("item"), IndexSettings()) as index,
        ):
            pack = load_pack(folder)
            for domain, name in pack.catalogues.items():
                ingest(store, IngestRequest(folder / name, domain))
                index.build(store, domain)
            kinds = _questions(folder, store, tuple(pack.catalogues))
            ways: dict[str, Callable[[Question], TiedRanks]] = {f"text by {encoder.name}": _by_text(store, index)}
            if number == 0:
                ways["words (BM25)"] = _by_words(index)
            for kind, questions in kinds.items():
                for way, answer in ways.items():
                    figures += _figures(f"{kind}, {way}", [answer(q) for q in questions], rng)
            if number == 0:
                figures.append(_by_titles(store, kinds[_TITLES]))
    return sorted(figures, key=lambda one: one.name)


def _questions(folder: Path, store: Store, domains: Sequence[str]) -> dict[str, list[Question]]:
    rows = {row.id: row for row in read_slice(folder)}
    items = {domain: store.items(domain, rows) for domain in domains}
    home = {id_: domain for domain, found in items.items() for id_ in found}
    made_from = [(film, book) for film, book in _films_of_books(folder) if film in home]
    books = {book: domain for domain in domains for book in store.items(domain, [book for _, book in made_from])}
    pairs = [(film, book) for film, book in made_from if book in books and books[book] != home[film]]
    return {
        _TITLES: [Question(row.title, home[row.id], row.id) for row in rows.values()],
        "description to its item, zh": [Question(row.description, home[row.id], row.id) for row in rows.values()],
        "film's description to its book, zh": [
            Question(rows[film].description, books[book], book) for film, book in pairs
        ],
        "film's description to its book, en": [
            Question(str(items[home[film]][film].description), books[book], book) for film, book in pairs
        ],
    }


def _films_of_books(folder: Path) -> list[tuple[str, str]]:
    with (folder / "relations.csv").open(encoding="utf-8", newline="") as file:
        return [(row["subject"], row["object"]) for row in csv.DictReader(file) if row["predicate"] == _BASED_ON]


def _by_text(store: Store, index: Index) -> Callable[[Question], TiedRanks]:
    retriever = Retriever(store, index, RetrieverSettings(signals=("text",)))

    def answer(asked: Question) -> TiedRanks:
        scores = retriever.scores(Query(target=asked.target, text=asked.text))[1]
        return tied_ranks(scores, index.snapshot(asked.target).rows([asked.wanted]))

    return answer


def _by_words(index: Index) -> Callable[[Question], TiedRanks]:
    def answer(asked: Question) -> TiedRanks:
        snapshot = index.snapshot(asked.target)
        return tied_ranks(snapshot.bm25.scores([asked.text]), snapshot.rows([asked.wanted]))

    return answer


def _by_titles(store: Store, questions: Sequence[Question]) -> Figure:
    """Titles and aliases as `--like` reads them: the one item, or none."""
    right = 0
    for asked in questions:
        try:
            right += resolve_title(store, [asked.target], asked.text).id == asked.wanted
        except TitleError:
            continue
    return figure(f"{_TITLES}, titles and aliases, recall@1", right / len(questions), n=len(questions))


def _figures(name: str, answers: Sequence[TiedRanks], rng: np.random.Generator) -> list[Figure]:
    asked = [str(at) for at in range(len(answers))]
    found = {metric: mean(np.array([of(at) for at in answers]), asked, rng) for metric, of in _METRICS.items()}
    return [figure(f"{name}, {metric}", one.value, "", one.cases, f"95% {one}") for metric, one in found.items()]
