"""Promises of BM25: scores are BM25's, in the order of the texts, whatever language they are in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bm25s import BM25
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import IndexMissing
from retrieval.index.bm25 import open_bm25, tokenize, write_bm25
from retrieval.types import Item

TEXTS = [
    "the wizard and the stone",
    "a detective finds a stone, a stone, a stone",
    "",
    "wizard school in Scotland",
    "三体 地球往事",
    "哈利波特与魔法石 wizard",
]


@pytest.fixture
def bm25(tmp_path):
    """Indexes texts and opens what was written."""

    def made(texts=TEXTS):
        folder = tmp_path / f"words{len(list(tmp_path.iterdir()))}"
        write_bm25(folder, texts)
        return open_bm25(folder, len(texts))

    return made


def lucene(texts, asked):
    """BM25 in Lucene's form from its definition, k1 1.5, b .75; each text has one more word, which none asks for."""
    documents = [list(tokenize(text)) for text in texts]
    lengths = np.array([len(d) + 1 for d in documents])
    scores = np.zeros(len(texts))
    for word in asked:
        counts = np.array([d.count(word) for d in documents])
        having = (counts > 0).sum()
        idf = np.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        scores += idf * counts / (counts + 1.5 * (0.25 + 0.75 * lengths / lengths.mean()))
    return scores


@given(st.lists(st.lists(st.sampled_from(["wizard", "stone", "ship", "murder"]), max_size=6), min_size=1, max_size=6))
def test_scores_of_one_text_are_bm25(tmp_path_factory, documents):
    """A query that holds each word once scores as the formula of Lucene's BM25 says."""
    texts = [" ".join(document) for document in documents]
    folder = tmp_path_factory.mktemp("bm25") / "bm25"
    write_bm25(folder, texts)
    found = open_bm25(folder, len(texts)).scores(["wizard stone ship"])
    np.testing.assert_allclose(found, lucene(texts, ["wizard", "stone", "ship"]), atol=1e-5)


def test_scores_are_those_of_the_library(bm25):
    """What bm25s itself says of a query is what the opened files say."""
    bare = [text for text in TEXTS if not {"the", "and", "in"} & set(tokenize(text))]  # stop words shorten a text
    asked, library = "wizard detective 魔法石", BM25()
    library.index([["", *tokenize(text)] for text in bare], show_progress=False)
    np.testing.assert_allclose(bm25(bare).scores([asked]), library.get_scores(list(tokenize(asked))), atol=1e-6)


def test_rows_are_in_the_order_of_the_texts(bm25):
    """Each word finds its own text at its own row; texts turned round give scores turned round."""
    names = [f"name{n}" for n in range(30)]
    found = bm25(names)
    assert [int(found.scores([name]).argmax()) for name in names] == list(range(30))
    np.testing.assert_allclose(bm25(TEXTS[::-1]).scores(["wizard"])[::-1], bm25().scores(["wizard"]))


def test_a_word_counts_at_most_twice(bm25):
    """What every liked text repeats counts as if it were said twice; a history's scores are over the root of it."""
    found = bm25()
    once = found.scores(["wizard"])
    np.testing.assert_allclose(found.scores(["wizard wizard"]), 2 * once, rtol=1e-6)
    np.testing.assert_allclose(found.scores(["wizard " * 9]), 2 * once, rtol=1e-6)
    np.testing.assert_allclose(found.scores(["wizard"] * 9), 2 * once / 3, rtol=1e-6)


def test_words_of_texts():
    """Words are folded and have two letters at least; of Chinese and Japanese every two neighbours are a word."""
    assert list(tokenize("The WIZARD's x-ray, 1984_b!")) == ["the", "wizard", "ray", "1984"]
    assert list(tokenize("三体往事")) == ["三体", "体往", "往事"]
    assert list(tokenize("石")) == ["石"]
    assert sorted(tokenize("Harry 魔法石 Potter")) == ["harry", "potter", "法石", "魔法"]
    assert list(tokenize("Ærøskøbing")) == ["ærøskøbing"]


def test_chinese_is_found_by_pairs(bm25):
    """A text in Chinese is found by a part of it, which has no spaces around it."""
    scores = bm25().scores(["魔法石"])
    assert scores.argmax() == 5
    assert (scores > 0).tolist() == [False] * 5 + [True]


@pytest.mark.parametrize("asked", [["nowhere to be found"], ["the and"], [""], []])
def test_words_that_no_text_has_say_nothing(bm25, asked):
    """Unknown words, stop words and no words give zeros."""
    scores = bm25().scores(asked)
    assert scores.tolist() == [0] * len(TEXTS)
    assert scores.dtype == np.float32


def test_unknown_words_do_not_change_the_score(bm25):
    """What no text has counts neither for nor against."""
    np.testing.assert_array_equal(bm25().scores(["wizard xyzzy"]), bm25().scores(["wizard"]))


@pytest.mark.parametrize("texts", [["", ""], ["the", "a"], ["x"]])
def test_a_catalogue_without_words_can_be_asked(bm25, texts):
    """Texts without a single word are no error; nothing is found."""
    assert bm25(texts).scores(["wizard the x"]).tolist() == [0] * len(texts)


def test_missing_words_name_the_command(store, open_index):
    """An index whose words are gone says how to make them."""
    store.upsert_items([Item(domain="films", id="f", title="F")], "run")
    index = open_index()
    index.build(store, "films")
    snapshot = index.snapshot("films")
    (snapshot.folder / "bm25" / "vocabulary.json").unlink()
    with pytest.raises(IndexMissing, match="BM25 index of 'films'") as caught:
        _ = snapshot.bm25
    assert caught.value.hint == "xdrec index films --rebuild"


def test_many_texts_are_weighed_as_by_the_library(bm25):
    """Texts of several pages, counted one after the other, score as those that bm25s weighs together."""
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{n}" for n in row) for row in rng.integers(0, 300, (9_000, 5)) ** 2 // 300]
    library = BM25()
    library.index([["", *tokenize(text)] for text in texts], show_progress=False)
    asked = ["word0", "word7", "word299"]
    np.testing.assert_allclose(bm25(texts).scores([" ".join(asked)]), library.get_scores(asked), atol=1e-5)


def test_the_most_common_words_are_left_out_where_there_are_too_many(bm25):
    """A query adds up a limited number of entries, those of its rarest words; up to the limit nothing changes."""
    texts = ["common rare", "common", "common", "common scarce", "scarce"]
    found, asked = bm25(texts), ["common rare scarce"]
    np.testing.assert_array_equal(replace(found, max_postings=7).scores(asked), found.scores(asked))
    np.testing.assert_array_equal(replace(found, max_postings=6).scores(asked), found.scores(["rare scarce"]))
    np.testing.assert_array_equal(replace(found, max_postings=0).scores(asked), np.zeros(5))
