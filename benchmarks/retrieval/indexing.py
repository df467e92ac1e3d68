"""What indexing costs beside embedding. Reads a prepared dataset, produces one figure.

The same texts are embedded by the bare sentence-transformers model and indexed by us, in turn, in one process.
"""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks.figures import Figure
from eval.data import Dataset, Say, store_url
from retrieval.encoder import SentenceEncoder
from retrieval.index import Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.types import Item

ITEMS: Final = 4_000
ROUNDS: Final = 3
_DOMAIN: Final = "books"
_SHARE: Final = 0.88


def measure_index(data: Dataset, encoder: SentenceEncoder, say: Say) -> list[Figure]:
    """Rate of `Index.build` as a share of the bare encoder's: the fastest rounds, which other load disturbs least."""
    from sentence_transformers import SentenceTransformer

    items = list(islice(data.store.iter_items(_DOMAIN), ITEMS))
    texts = [data.index.template.text(item=item) for item in items]
    bare = SentenceTransformer(str(encoder.folder), device=encoder.device, local_files_only=True)
    bare.encode(texts[:64])
    encoder.encode(texts[:64])
    alone, built = [], []
    for at in range(ROUNDS):
        say(f"round {at + 1} of {ROUNDS}: embedding, then indexing {len(texts):,} items")
        began = perf_counter()
        bare.encode(texts, batch_size=encoder.batch_size, normalize_embeddings=True, show_progress_bar=False)
        alone.append(perf_counter() - began)
        built.append(_build(items, data.index))
    share = min(alone) / min(built)
    rates = f"{len(texts) / min(built):.0f} items/s beside {len(texts) / min(alone):.0f} texts/s"
    return [
        Figure(
            name="index build rate / bare encoder's rate",
            value=share,
            unit="ratio",
            target=f">= {_SHARE:g}",
            met=share >= _SHARE,
            n=len(texts),
            note=f"{rates}, the fastest of {ROUNDS} rounds each",
        )
    ]


def _build(items: list[Item], like: Index) -> float:
    """Seconds that a first run over a fresh store takes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with (
            Store.open(store_url(home)) as store,
            Index(home / "index", like.encoder, like.template, IndexSettings()) as index,
        ):
            store.upsert_items(items, "bench")
            return index.build(store, _DOMAIN).total_s
