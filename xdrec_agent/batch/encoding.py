"""Embedding on Ray. Reads texts, produces their vectors, made by encoders on all machines of a cluster.

It is an `Encoder`, so that `Index.build` stays what it is: incremental, resumable, with one writer. That writer
(Chroma) takes some 2,000 vectors a second, which bounds what more machines can give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from retrieval.encoder import Encoder, Vectors
from retrieval.index import Index
from xdrec_agent.app import open_encoder
from xdrec_agent.batch.cluster import cluster, translated
from xdrec_agent.settings import Settings

_TEXTS: Final = 64
"""Texts that an actor gets at a time."""


class _Worker:
    """An encoder on some machine."""

    def __init__(self, settings: Settings) -> None:
        # An actor has one core; ONNX Runtime would take them all.
        self._encoder = open_encoder(settings, threads=1)

    def fingerprint(self) -> str:
        """Of the weights that lie on that machine."""
        return self._encoder.fingerprint

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dims)."""
        return self._encoder.encode(texts)


class RayEncoder:
    """The configured encoder, many times.

    Args:
        own: the encoder on this machine: it names the weights that the others must have, too.
        workers: handles of `_Worker` actors.
    """

    def __init__(self, own: Encoder, workers: Sequence[Any], address: str) -> None:
        from ray.util import ActorPool

        self.name = own.name
        self.fingerprint = own.fingerprint
        self._pool = ActorPool(list(workers))
        self._address = address

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dims). A worker that dies is started anew. Raises ClusterError."""
        chunks = [list(texts[start : start + _TEXTS]) for start in range(0, len(texts), _TEXTS)]
        with translated(self._address):
            found: list[Vectors] = list(self._pool.map(lambda worker, chunk: worker.encode.remote(chunk), chunks))
        return np.concatenate(found)


@contextmanager
def spread_over(index: Index, settings: Settings, address: str) -> Iterator[None]:
    """Have an index embed on a cluster: an actor on each CPU core, or on each GPU where `device` is cuda.

    Raises:
        IndexMismatch: a machine has other weights under the encoder's name.
        ClusterError: Ray failed.
    """
    from retrieval.errors import IndexMismatch

    own = index.encoder
    with cluster(address), translated(address):
        import ray

        gpu = settings.device == "cuda"
        count = max(1, int(ray.cluster_resources().get("GPU" if gpu else "CPU", 1)))
        options = {"num_cpus": 1, "num_gpus": int(gpu), "max_restarts": -1, "max_task_retries": -1}
        at = settings.model_copy(update={"home": settings.home.absolute()})
        workers = [ray.remote(_Worker).options(**options).remote(at) for _ in range(count)]
        prints = set(ray.get([worker.fingerprint.remote() for worker in workers]))
        if prints != {own.fingerprint}:
            hint = "xdrec models pull it on every machine"
            raise IndexMismatch(f"not every machine has the same {own.name}", hint=hint)
        index.encoder = RayEncoder(own, workers, address)
        try:
            yield
        finally:
            index.encoder = own
