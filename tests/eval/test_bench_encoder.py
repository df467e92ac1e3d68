"""Both forms of an encoder on one data set: what is compared, and that the comparison is of the same cases."""

from __future__ import annotations

import gzip

import pytest
from tiny_bert import make_encoder

from benchmarks.retrieval.encoder import measure_encoder
from eval.data.sources import DOMAINS
from retrieval.encoder import Int8Encoder, SentenceEncoder

TOPICS = ("space robot", "love song", "war ship", "winter garden")


@pytest.fixture
def data(tmp_path):
    """Twelve items a domain, and people who like one topic first in films, then in books, then in music."""
    folder = tmp_path / "data"
    folder.mkdir()
    for at, domain in enumerate(DOMAINS):
        items = [f"{domain}{n},{TOPICS[n % 4]},the sea,film|book" for n in range(12)]
        rows = [
            f"p{person},{domain}{n},5,{1000 * at + n + 1}"
            for person in range(8)
            for n in range(12)
            if n % 4 == person % 4
        ]
        files = {
            "items": ["item_id,title,creator,categories", *items],
            "interactions": ["user_id,item_id,rating,timestamp", *rows],
        }
        for kind, lines in files.items():
            content = gzip.compress("\n".join([*lines, ""]).encode(), mtime=0)
            (folder / f"{kind}_{domain}.csv.gz").write_bytes(content)
    return folder


def test_both_forms_are_measured(data, tmp_path, monkeypatch):
    """Rates of both and their ratio; each metric of both and its ratio, which has an interval and people behind it."""
    monkeypatch.chdir(tmp_path)  # where the prepared data goes
    model = make_encoder(tmp_path / "tiny")
    plain, small = SentenceEncoder("tiny", model, device="cpu"), Int8Encoder("tiny", model)
    found = {figure.name: figure for figure in measure_encoder(data, plain, small, lambda _: None)}
    rates = [found[f"encoding, {form}"] for form in ("float32, torch", "8 bits, ONNX Runtime")]
    assert all(rate.value > 0 and rate.n == 36 for rate in rates)
    assert found["encoding, 8 bits / float32"].met is not None
    ratio = found["recall@100, 8 bits / float32"]
    assert (ratio.value, ratio.met, ratio.n) == (1, True, 8)  # a hundred of twelve: nothing can be lost
    assert found["recall@10, text alone, float32"].value > 10 / 12  # the topic is in the words
    assert len(list((tmp_path / "build/bench").iterdir())) == 2
