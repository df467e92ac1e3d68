"""Words. Reads item texts, produces BM25 scores of a domain's items for a query of texts.

Robertson and Zaragoza 2009, in Lucene's form (`retrieval.index.bm25_matrix`), without the most common English words.
It finds
what vectors blur: a name, a series, a rare word that two items share.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.index.bm25_matrix import K1, B, rarity, write_matrix

_WORD: Final = re.compile(r"[^\W_]{2,}")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
"""Chinese and Japanese, which write without spaces."""
_AT_MOST: Final = 2
"""How often a word of the query counts: what every liked item has in common must not drown the rest."""
_POSTINGS: Final = 2_000_000
"""Most entries of the matrix that a query adds up. Where its words have more, the most common ones, which tell least,
are left out: only a history of long texts in a catalogue of hundred thousands comes to that."""
_PARTS: Final = ("data", "indices", "indptr")
_VOCABULARY: Final = "vocabulary.json"


def words_of(text: str) -> Iterator[str]:
    """The words of a text; of text without spaces, every two neighbouring characters."""
    for run in _UNSPACED.findall(text):
        yield from (run[at : at + 2] for at in range(max(len(run) - 1, 1)))
    yield from _WORD.findall(_UNSPACED.sub(" ", text.casefold()))


@dataclass(frozen=True)
class Words:
    """BM25 of one domain: what each word is worth in each item's text; `weights` has the shape (items, words).

    `added` are those of items that came after these, with a vocabulary of their own; their rows follow. A query adds up
    at most `most` entries of the matrix.
    """

    vocabulary: dict[str, int]
    weights: sparse.csc_array
    added: Words | None = None
    most: int = _POSTINGS

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """BM25 of every item for the words of `texts` as one query, over the root of their number; shape (items,).

        A longer history finds more by chance: the root keeps histories comparable.
        """
        said = self._scores(texts)
        return said if self.added is None else np.concatenate([said, self.added.scores(texts)])

    def _scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        counts = Counter(word for text in texts for word in words_of(text) if word in self.vocabulary)
        columns = np.fromiter((self.vocabulary[word] for word in counts), dtype=np.int64, count=len(counts))
        times = np.minimum(np.fromiter(counts.values(), dtype=np.float32, count=len(counts)), _AT_MOST)
        kept = self._rarest(columns)
        columns, times = columns[kept], times[kept]
        return np.asarray(self.weights[:, columns] @ times / np.sqrt(max(len(texts), 1)), dtype=np.float32)

    def _rarest(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of the columns that are added up, in their order."""
        sizes = self.weights.indptr[columns + 1] - self.weights.indptr[columns]
        order = np.argsort(sizes, kind="stable")
        return np.sort(order[np.cumsum(sizes[order], dtype=np.int64) <= self.most])


def write_words(folder: Path, texts: Iterable[str]) -> None:
    """Index the texts, in the order of the rows that scores will have, into a folder of their own."""
    folder.mkdir(parents=True)
    _save_vocabulary(folder, write_matrix(folder, _documents(texts)))


def write_added_words(folder: Path, texts: Sequence[str], base: Words) -> None:
    """Index a few more texts, each word weighed by how rare it is among the `base`'s; open it with `open_words`.

    A text's length is its number of different words: the base keeps no other.
    """
    items, known = base.weights.shape[0], np.diff(base.weights.indptr)
    average = base.weights.indptr[-1] / max(items, 1)
    documents = list(map(Counter, _documents(texts)))
    vocabulary = {word: column for column, word in enumerate(dict.fromkeys(chain.from_iterable(documents)))}
    # A text counts itself among those that have its words.
    found = [1 + (known[base.vocabulary[word]] if word in base.vocabulary else 0) for word in vocabulary]
    worth = rarity(items + 1, np.array(found, dtype=np.float64))
    weights = sparse.lil_array((len(texts), len(vocabulary)), dtype=np.float32)
    for row, words in enumerate(documents):
        length = K1 * (1 - B + B * len(words) / average)
        for word, times in words.items():
            weights[row, vocabulary[word]] = worth[vocabulary[word]] * times / (length + times)
    columns = weights.tocsc()
    folder.mkdir(parents=True)
    for part in _PARTS:
        np.save(folder / f"{part}.npy", getattr(columns, part))
    _save_vocabulary(folder, vocabulary)


def _documents(texts: Iterable[str]) -> Iterator[list[str]]:
    """The words of each text, but the most common ones of the language."""
    from bm25s.stopwords import STOPWORDS_EN

    common = set(STOPWORDS_EN)
    # The empty word keeps a catalogue without any words from having no columns; no query holds it.
    return (["", *(word for word in words_of(text) if word not in common)] for text in texts)


def _save_vocabulary(folder: Path, vocabulary: Mapping[str, int]) -> None:
    (folder / _VOCABULARY).write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")


def open_words(folder: Path, items: int) -> Words:
    """Open what `write_words` wrote for so many texts, memory-mapped.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    vocabulary: dict[str, int] = json.loads((folder / _VOCABULARY).read_text(encoding="utf-8"))
    parts = tuple(np.load(folder / f"{part}.npy", mmap_mode="r") for part in _PARTS)
    return Words(vocabulary, sparse.csc_array(parts, shape=(items, len(parts[2]) - 1), copy=False))
