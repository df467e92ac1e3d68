"""BM25 weights of many texts. Reads the words of each text, produces a matrix by word in memory-mapped files.

Lucene's form (Kamphuis, de Vries, Boytsov and Lin 2020): a word that n of N texts have is worth, in a text that has it
f times and is l words long, a being the mean length,

    log(1 + (N - n + ½) / (n + ½)) · f / (f + k1 · (1 - b + b · l / a))

A million texts have some hundred million words, so they are counted page by page, and what a page has of each word is
put where it belongs once it is known how many texts have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.index.memmap import new_array

Numbers = NDArray[np.int64]

K1: Final = 1.5
B: Final = 0.75
_PAGE: Final = 4_096
"""Texts counted at a time."""


class _Page(NamedTuple):
    """What some texts have of each word, by word and then by text: parallel arrays."""

    words: Numbers
    rows: Numbers
    times: Numbers


def rarity(items: int, having: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first factor of the module's formula, for words that so many of the items have."""
    return np.log1p((items - having + 0.5) / (having + 0.5))


def write_matrix(folder: Path, documents: Iterable[Sequence[str]]) -> dict[str, int]:
    """Write data.npy, indices.npy and indptr.npy of the matrix (texts, words), by column; each word's column."""
    vocabulary: dict[str, int] = {}
    lengths: list[int] = []
    with TemporaryDirectory(dir=folder) as spool:
        files: list[Path] = []
        having = np.zeros(0, dtype=np.int64)
        for page in _pages(documents, vocabulary, lengths):
            before = np.pad(having, (0, len(vocabulary) - len(having)))
            having = before + np.bincount(page.words, minlength=len(vocabulary))
            files.append(Path(spool) / f"{len(files)}.npy")
            np.save(files[-1], np.array(page, dtype=np.int32))
        _place(folder, files, having, np.array(lengths, dtype=np.float64))
    return vocabulary


def _pages(documents: Iterable[Sequence[str]], vocabulary: dict[str, int], lengths: list[int]) -> Iterator[_Page]:
    """The pages; `vocabulary` and `lengths` grow with them."""
    rest = iter(documents)
    while page := list(islice(rest, _PAGE)):
        sizes = [len(document) for document in page]
        numbers = (vocabulary.setdefault(word, len(vocabulary)) for word in chain.from_iterable(page))
        words = np.fromiter(numbers, dtype=np.int64, count=sum(sizes))
        places, times = np.unique(words * _PAGE + np.repeat(np.arange(len(page)), sizes), return_counts=True)
        lengths += sizes
        yield _Page(places // _PAGE, places % _PAGE, times)


def _place(folder: Path, files: Sequence[Path], having: Numbers, lengths: NDArray[np.float64]) -> None:
    ends = np.cumsum(having)
    total = int(ends[-1]) if len(ends) else 0
    index = np.dtype(np.int32 if total < np.iinfo(np.int32).max else np.int64)
    np.save(folder / "indptr.npy", np.concatenate([[0], ends]).astype(index))
    data = new_array(folder / "data.npy", np.dtype(np.float32), (total,))
    indices = new_array(folder / "indices.npy", index, (total,))
    worth = rarity(len(lengths), having.astype(np.float64))
    longer = K1 * (1 - B + B * lengths / max(float(lengths.mean()), 1.0))
    free = ends - having
    for number, file in enumerate(files):
        words, rows, times = np.load(file)
        rows += number * _PAGE
        known, first, count = np.unique(words, return_index=True, return_counts=True)
        at = np.repeat(free[known] - first, count) + np.arange(len(words))
        free[known] += count
        indices[at] = rows
        data[at] = worth[words] * times / (times + longer[rows])
    data.flush()
    indices.flush()
