"""Promises of the benchmark of size: a catalogue that can grow, vectors that have neighbours, figures and a plot."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from benchmarks.scale.catalogue import BLOCK, SOURCE, TARGET, Pool, PoolEncoder, Real, write_interactions, write_items
from benchmarks.scale.growth_figures import scale_figures, write_plot
from benchmarks.scale.scale import Grown, Killed
from benchmarks.scale.steps import Compared, Indexed, Ingested, Searched

REAL = 200


@pytest.fixture
def pool(tmp_path):
    """Made-up real items: their titles are numbers in words' clothes."""
    rng = np.random.default_rng(0)
    for domain in (SOURCE, TARGET):
        vectors = rng.standard_normal((REAL, 16)).astype(np.float32)
        np.save(tmp_path / f"{domain}.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        real = [Real(title=f"{domain} {n}", creators=("Ann",), categories=("a", "b")) for n in range(REAL)]
        (tmp_path / f"{domain}.jsonl").write_text("".join(f"{one.model_dump_json()}\n" for one in real))
    return Pool(tmp_path)


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def made(pool, tmp_path, start, stop):
    write_items(tmp_path / "items.csv", pool, TARGET, start, stop)
    return rows(tmp_path / "items.csv")


def test_an_item_does_not_depend_on_the_others(pool, tmp_path):
    """Item n is the same whether the catalogue is written at once or grows; ids are unique."""
    whole = made(pool, tmp_path, 0, 3 * BLOCK)
    assert made(pool, tmp_path, BLOCK, 2 * BLOCK) == whole[BLOCK : 2 * BLOCK]
    assert len({row["id"] for row in whole}) == 3 * BLOCK
    assert all(row["title"] and row["description"] and 1920 <= int(row["year"]) < 2020 for row in whole)


def test_vectors_follow_from_texts_and_lie_near_real_ones(pool):
    """The same text has the same unit vector, in whatever company; items of one real item are near one another."""
    encoder = PoolEncoder(pool)
    like = [f"{TARGET} 7, part {n}. {n}" for n in range(20)]
    other = [f"{TARGET} {n}, part 1." for n in range(20)]
    vectors = encoder.encode([*like, *other, "a text that no pool knows"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(encoder.encode(like[3:5]), vectors[3:5])
    near, far = vectors[:20] @ vectors[:20].T, vectors[:20] @ vectors[20:40].T
    assert np.median(near) > np.median(far) + 0.3
    assert np.median(vectors[:20] @ pool.vectors(TARGET)[7]) > 0.6
    assert encoder.fingerprint == PoolEncoder(pool).fingerprint


def test_people_like_items_that_there_are(tmp_path):
    """Each new person likes items that are in the catalogue by then, none twice; a few items are liked by many."""
    count = write_interactions(tmp_path / "i.csv", TARGET, 1_000, 3_000, 3_000)
    found = rows(tmp_path / "i.csv")
    assert len(found) == count == len({(row["user"], row["item"]) for row in found})
    assert {row["user"] for row in found} == {f"u{n}" for n in range(50, 150)}
    numbers = [int(row["item"][1:]) for row in found]
    assert max(numbers) < 3_000
    assert np.mean([n < 300 for n in numbers]) > 0.4


def grown(items, *, killed=None, ids=("a", "b")):
    return Grown(
        items=items,
        ingested=Ingested(items=items, items_s=2, interactions=10, interactions_s=1, peak_mib=200),
        killed=killed,
        indexed=Indexed(embedded=items // 2, encode_s=1, total_s=3, peak_mib=900),
        searched=Searched(
            wall_ms={"": (1.0, 2.0, 3.0), "half": (4.0,)},
            processor_ms=(1.0,),
            parts_ms={"words": 1.0},
            first_s=0.5,
            peak_mib=300,
            ranked={"all": (ids,), "text": (("a", "b"),)},
        ),
        compared=Compared(wall_ms=(9.0,), ranked={"all": (("a", "c"),), "text": (("b", "a"),)}),
    )


def test_figures_of_each_size_and_targets_of_a_million():
    """Every size has all figures; only a million items has targets for time and memory; recall is a share of exact."""
    killed = Killed(seconds=9, wanted=1_000, done=600)
    figures = {f.name: f for f in scale_figures([grown(10_000), grown(1_000_000, killed=killed)])}
    assert figures["10,000 items: ingest"].value == 5_000
    assert figures["10,000 items: search, p95"].target is None
    assert (figures["1,000,000 items: search, p95"].target, figures["1,000,000 items: search, p95"].met) == (
        "< 150",
        True,
    )
    assert figures["1,000,000 items: peak memory of ingest"].met
    assert figures["10,000 items: recall of exact search, all"].value == 0.5
    assert not figures["10,000 items: recall of exact search, all"].met
    assert figures["10,000 items: recall of exact search, text"].value == 1
    assert not figures["1,000,000 items: embedded after a kill"].met  # 500,000 where 400 were left
    assert "10,000 items: embedded after a kill" not in figures


def test_the_plot_is_a_picture(tmp_path):
    """The file is well-formed SVG with a line for each series and its name."""
    write_plot([grown(10_000), grown(100_000), grown(1_000_000)], tmp_path / "scale.svg")
    root = ET.parse(tmp_path / "scale.svg").getroot()  # noqa: S314 # our own file
    space = "{http://www.w3.org/2000/svg}"
    lines = [group for group in root.iter(f"{space}g") if group.get("class").startswith("series")]
    assert len(lines) == 6
    assert all(len(line.findall(f"{space}circle")) == 3 for line in lines)
    texts = {text.text for text in root.iter(f"{space}text")}
    assert {"search, p95 (ms)", "ingest (MiB)", "1,000,000"} <= texts
