"""BM25. Reads item texts, produces scores of a domain's items for a query of texts.

Robertson and Zaragoza 2009, in Lucene's form (Kamphuis, de Vries, Boytsov and Lin 2020): a token that n of N texts have
is worth, in a text that has it f times and is l tokens long, a being the mean length,

    log(1 + (N - n + ½) / (n + ½)) · f / (f + k1 · (1 - b + b · l / a))

bm25s weighs the tokens, without the most common English words; its matrix is searched memory-mapped. BM25 finds what
vectors blur: a name, a series, a rare word that two items share.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

_K1: Final = 1.5
_B: Final = 0.75
_WORD: Final = re.compile(r"[^\W_]{2,}")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
"""Chinese and Japanese, which write without spaces."""
_MAX_QUERY_COUNT: Final = 2
"""How often a token of the query counts at most: what all liked items share must not drown the rest."""
_MAX_POSTINGS: Final = 2_000_000
"""Most matrix entries that a query adds up. Beyond that the most common tokens, which tell least, are left out: only a
history of long texts in a catalogue of hundred thousands needs so many."""
_ARRAYS: Final = ("data", "indices", "indptr")
_VOCABULARY: Final = "vocabulary.json"


def tokenize(text: str) -> Iterator[str]:
    """The words of a text; of text without spaces, every two neighbouring characters."""
    for run in _UNSPACED.findall(text):
        yield from (run[at : at + 2] for at in range(max(len(run) - 1, 1)))
    yield from _WORD.findall(_UNSPACED.sub(" ", text.casefold()))


@dataclass(frozen=True)
class BM25Index:
    """BM25 weights of one domain: of each token in each item's text; `weights` has the shape (items, tokens).

    `incremental` holds later items, with a vocabulary of their own; their rows follow. A query adds up at most
    `max_postings` entries of the matrix.
    """

    vocabulary: dict[str, int]
    weights: sparse.csc_array
    incremental: BM25Index | None = None
    max_postings: int = _MAX_POSTINGS

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """BM25 of every item for the tokens of `texts` as one query, over the root of their number; shape (items,).

        A longer history finds more by chance: the root keeps histories comparable.
        """
        scores = self._scores(texts)
        return scores if self.incremental is None else np.concatenate([scores, self.incremental.scores(texts)])

    def _scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        counts = Counter(token for text in texts for token in tokenize(text) if token in self.vocabulary)
        columns = np.fromiter((self.vocabulary[token] for token in counts), dtype=np.int64, count=len(counts))
        counted = np.minimum(np.fromiter(counts.values(), dtype=np.float32, count=len(counts)), _MAX_QUERY_COUNT)
        rarest = self._rarest(columns)
        weighted = self.weights[:, columns[rarest]] @ counted[rarest]
        return np.asarray(weighted / np.sqrt(max(len(texts), 1)), dtype=np.float32)

    def _rarest(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of the columns that are added up, in their order."""
        sizes = self.weights.indptr[columns + 1] - self.weights.indptr[columns]
        order = np.argsort(sizes, kind="stable")
        return np.sort(order[np.cumsum(sizes[order], dtype=np.int64) <= self.max_postings])


def write_bm25(folder: Path, texts: Iterable[str]) -> None:
    """Index the texts, in the order of the rows that scores will have, into a new folder."""
    from bm25s import BM25

    vocabulary: dict[str, int] = {}
    documents = [[vocabulary.setdefault(token, len(vocabulary)) for token in tokens] for tokens in _documents(texts)]
    # The numpy backend mixes widths of integers, so that scipy would copy the memory-mapped arrays.
    index = BM25(k1=_K1, b=_B, method="lucene", csc_backend="scipy")
    index.index((documents, vocabulary), show_progress=False)
    _save(folder, vocabulary, index.scores)


def write_incremental_bm25(folder: Path, texts: Sequence[str], base: BM25Index) -> None:
    """Index later texts into a new folder, with the token frequencies of `base`; open it with `open_bm25`.

    A text's length is its number of different tokens: the base keeps no other.
    """
    from scipy import sparse

    items, frequencies = base.weights.shape[0], np.diff(base.weights.indptr)
    mean_length = base.weights.indptr[-1] / max(items, 1)
    documents = [Counter(tokens) for tokens in _documents(texts)]
    vocabulary = {token: column for column, token in enumerate(dict.fromkeys(t for d in documents for t in d))}
    # A text counts itself among those that have its tokens.
    having = np.array([1 + (frequencies[base.vocabulary[t]] if t in base.vocabulary else 0) for t in vocabulary])
    idf = np.log1p((items + 1 - having + 0.5) / (having + 0.5))
    weights = sparse.lil_array((len(texts), len(vocabulary)), dtype=np.float32)
    for row, counts in enumerate(documents):
        length_norm = _K1 * (1 - _B + _B * len(counts) / mean_length)
        for token, count in counts.items():
            weights[row, vocabulary[token]] = idf[vocabulary[token]] * count / (length_norm + count)
    columns = weights.tocsc()
    _save(folder, vocabulary, {name: getattr(columns, name) for name in _ARRAYS})


def _documents(texts: Iterable[str]) -> Iterator[list[str]]:
    """The tokens of each text without stop words."""
    from bm25s.stopwords import STOPWORDS_EN

    stop_words = set(STOPWORDS_EN)
    # The empty token keeps a catalogue without any words from having no columns; no query holds it.
    return (["", *(token for token in tokenize(text) if token not in stop_words)] for text in texts)


def _save(folder: Path, vocabulary: Mapping[str, int], matrix: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True)
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", matrix[name])
    (folder / _VOCABULARY).write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")


def open_bm25(folder: Path, items: int) -> BM25Index:
    """Open what was written for so many texts, memory-mapped.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    from scipy import sparse

    vocabulary: dict[str, int] = json.loads((folder / _VOCABULARY).read_text(encoding="utf-8"))
    arrays = tuple(np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS)
    return BM25Index(vocabulary, sparse.csc_array(arrays, shape=(items, len(arrays[2]) - 1), copy=False))
