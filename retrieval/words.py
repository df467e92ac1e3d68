"""Words. Reads item texts, produces BM25 scores of a domain's items for a query of texts.

Robertson and Zaragoza 2009, in Lucene's form, by bm25s with its defaults (k1 1.5, b .75, English stop words). It finds
what vectors blur: a name, a series, a rare word that two items share. Only indexing needs bm25s.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_WORD: Final = re.compile(r"[^\W_]{2,}")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
"""Chinese and Japanese, which write without spaces."""
_AT_MOST: Final = 2
"""How often a word of the query counts: what every liked item has in common must not drown the rest."""
_PARTS: Final = ("data", "indices", "indptr")
_VOCABULARY: Final = "vocabulary.json"


def words_of(text: str) -> Iterator[str]:
    """The words of a text; of text without spaces, every two neighbouring characters."""
    for run in _UNSPACED.findall(text):
        yield from (run[at : at + 2] for at in range(max(len(run) - 1, 1)))
    yield from _WORD.findall(_UNSPACED.sub(" ", text.casefold()))


@dataclass(frozen=True)
class Words:
    """BM25 of one domain: what each word is worth in each item's text; `weights` has the shape (items, words)."""

    vocabulary: dict[str, int]
    weights: sparse.csc_array

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """BM25 of every item for the words of `texts` as one query, over the root of their number; shape (items,).

        A longer history finds more by chance: the root keeps histories comparable.
        """
        counts = Counter(word for text in texts for word in words_of(text) if word in self.vocabulary)
        columns = [self.vocabulary[word] for word in counts]
        times = np.minimum(np.fromiter(counts.values(), dtype=np.float32, count=len(counts)), _AT_MOST)
        return np.asarray(self.weights[:, columns] @ times / np.sqrt(max(len(texts), 1)), dtype=np.float32)


def write_words(folder: Path, texts: Sequence[str]) -> None:
    """Index the texts, in the order of the rows that scores will have, into a folder of their own."""
    from bm25s import BM25
    from bm25s.stopwords import STOPWORDS_EN

    common = set(STOPWORDS_EN)
    # The empty word keeps a catalogue without any words from having no columns; no query holds it.
    documents = [["", *(word for word in words_of(text) if word not in common)] for text in texts]
    index = BM25()
    index.index(documents, show_progress=False)
    folder.mkdir()
    for part in _PARTS:
        np.save(folder / f"{part}.npy", index.scores[part])
    (folder / _VOCABULARY).write_text(json.dumps(index.vocab_dict, ensure_ascii=False), encoding="utf-8")


def open_words(folder: Path, items: int) -> Words:
    """Open what `write_words` wrote for so many texts, memory-mapped.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    vocabulary: dict[str, int] = json.loads((folder / _VOCABULARY).read_text(encoding="utf-8"))
    parts = tuple(np.load(folder / f"{part}.npy", mmap_mode="r") for part in _PARTS)
    return Words(vocabulary, sparse.csc_array(parts, shape=(items, len(parts[2]) - 1), copy=False))
