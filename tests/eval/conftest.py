"""What tests of measurements share: made data in the layout of the benchmark's."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from word_encoder import WordEncoder

from eval.data import CACHE, open_dataset
from retrieval.templates import load_template


@pytest.fixture(scope="session")
def amazon(tmp_path_factory):
    """A small folder in the layout of the benchmark's data: 40 people, 60 items a domain."""
    folder = tmp_path_factory.mktemp("data") / "amazon-three-domains"
    folder.mkdir()
    rng = np.random.default_rng(0)
    words = ["space", "love", "crime", "war", "sea", "city"]
    for domain in ("books", "films", "music"):
        with gzip.open(folder / f"items_{domain}.csv.gz", "wt") as file:
            file.write("item_id,title,creator,categories\n")
            for n in range(60):
                file.write(f"{domain}{n},{words[n % 6]} {domain} number {n},Somebody {n % 9},{words[n % 6]}\n")
        with gzip.open(folder / f"interactions_{domain}.csv.gz", "wt") as file:
            file.write("user_id,item_id,rating,timestamp\n")
            for user in range(40):
                for n in rng.choice(60, size=8, replace=False):
                    file.write(f"u{user},{domain}{n},5,{1000 + int(rng.integers(900))}\n")
    return folder.parent


@pytest.fixture
def dataset(amazon):
    """That folder, ingested and indexed once for all tests, which only read it."""
    with open_dataset(amazon, WordEncoder(), load_template("item"), lambda _line: None, cache=amazon / CACHE) as data:
        yield data
