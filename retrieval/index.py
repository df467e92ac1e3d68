"""The index. Reads the store's items, produces vectors in Chroma and the snapshot that retrieval searches.

A run embeds what is new or changed, deletes what is gone, and writes the snapshot last: a killed run leaves the old
snapshot in place and goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final, Self

from filelock import FileLock

from retrieval.encoder import Encoder
from retrieval.errors import IndexMismatch, IndexMissing, UsageError
from retrieval.settings import IndexSettings
from retrieval.snapshot import Manifest, Snapshot, current_name, open_snapshot, write_snapshot
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from retrieval.types import Frozen, Item
from retrieval.vectors import VectorStore

_BATCH: Final = 1_024
"""Items embedded and stored at a time: what a killed run loses at most."""

Progress = Callable[[int, int], None]
"""Told how many items of how many are embedded."""


class IndexReport(Frozen):
    """What a run did. Times in seconds."""

    domain: str
    items: int
    embedded: int
    deleted: int
    encode_s: float
    total_s: float


class Index:
    """The indexes of all domains.

    Args:
        folder: home of Chroma and the snapshots.
        encoder, template: what item vectors are made with; an index made with others is refused.
    """

    def __init__(self, folder: Path, encoder: Encoder, template: PromptTemplate, settings: IndexSettings) -> None:
        self.folder = folder
        self.encoder = encoder
        self.template = template
        self.settings = settings
        self._open: dict[str, tuple[str, Snapshot]] = {}
        self._vectors: VectorStore | None = None

    @property
    def vectors(self) -> VectorStore:
        """Chroma, connected at first use: importing it takes a second that a search does not need."""
        if self._vectors is None:
            self._vectors = VectorStore(self.folder / "chroma", self.settings.chroma_url)
        return self._vectors

    def close(self) -> None:
        """Close the connection to Chroma, if there is one, and forget the open snapshots."""
        self._open.clear()
        if self._vectors is not None:
            self._vectors.close()
            self._vectors = None

    def _forget(self) -> None:
        """Embedded Chroma keeps in memory what it read: a connection must not outlive another process's run."""
        if self._vectors is not None and self.settings.chroma_url is None:
            self._vectors.close()
            self._vectors = None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the writer's lock, with a fresh connection to Chroma."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "writer.lock"):
            self._forget()
            try:
                yield
            finally:
                self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def build(
        self, store: Store, domain: str, *, rebuild: bool = False, progress: Progress | None = None
    ) -> IndexReport:
        """Bring a domain's index up to date with the store.

        Args:
            rebuild: start from nothing, with the configured encoder and template.

        Raises:
            UsageError: the domain has no items.
            IndexMismatch: the index was made by another encoder or template and `rebuild` is not given.
        """
        start = perf_counter()
        with self._writing():
            generation = store.generation(domain)
            wanted = dict(store.item_hashes(domain))
            if not wanted:
                raise UsageError(f"domain {domain!r} has no items", hint=f"xdrec ingest {domain} FILE")
            self._prepare(domain, rebuild)
            have = self.vectors.hashes(domain)
            gone = [i for i in have if i not in wanted]
            self.vectors.delete(domain, gone)
            todo = [i for i, content in wanted.items() if have.get(i) != content]
            encode_s = self._embed(store, domain, todo, progress)
            if todo or gone or self._stale(domain, generation):
                self._write(store, domain, generation)
        return IndexReport(
            domain=domain,
            items=len(wanted),
            embedded=len(todo),
            deleted=len(gone),
            encode_s=encode_s,
            total_s=perf_counter() - start,
        )

    def drop(self, domain: str) -> None:
        """Delete a domain's vectors and snapshot."""
        with self._writing():
            self.vectors.drop(domain)
            shutil.rmtree(self._path(domain), ignore_errors=True)
            self._open.pop(domain, None)

    def snapshot(self, domain: str) -> Snapshot:
        """The domain's current snapshot; kept open, and reopened when a build has replaced it.

        Raises:
            IndexMissing: the domain was never indexed.
            IndexMismatch: it was made by another encoder or template.
        """
        path = self._path(domain)
        name = current_name(path)
        known = self._open.get(domain)
        if known is not None and known[0] == name:
            return known[1]
        snapshot = open_snapshot(path, domain)
        made_by = {
            "encoder": snapshot.manifest.encoder_fingerprint,
            "template": snapshot.manifest.template_fingerprint,
        }
        self._refuse_others(domain, made_by)
        self._forget()
        self._open[domain] = (name or "", snapshot)
        return snapshot

    def _path(self, domain: str) -> Path:
        # Any text may name a domain, not any text may name a folder.
        return self.folder / hashlib.sha256(domain.encode()).hexdigest()[:16]

    @property
    def _origin(self) -> dict[str, str]:
        return {"encoder": self.encoder.fingerprint, "template": self.template.fingerprint}

    def _refuse_others(self, domain: str, made_by: dict[str, str]) -> None:
        other = [what for what, mark in self._origin.items() if made_by.get(what) != mark]
        if other:
            raise IndexMismatch(
                f"the index of {domain!r} was made with another {' and '.join(other)}"
                f" (configured: {self.encoder.name}, {self.template.name}.jinja)",
                hint=f"xdrec index {domain} --rebuild",
            )

    def _prepare(self, domain: str, rebuild: bool) -> None:
        made_by = self.vectors.origin(domain)
        if made_by is None or rebuild:
            self.vectors.create(domain, self._origin)
        else:
            self._refuse_others(domain, dict(made_by))

    def _embed(self, store: Store, domain: str, ids: Sequence[str], progress: Progress | None) -> float:
        seconds = 0.0
        for start in range(0, len(ids), _BATCH):
            items = list(store.items(domain, ids[start : start + _BATCH]).values())
            if not items:
                continue  # deleted since the list was made
            texts = [self.template.text(item=item) for item in items]
            began = perf_counter()
            vectors = self.encoder.encode(texts)
            seconds += perf_counter() - began
            self.vectors.put(domain, [i.id for i in items], [i.content_hash() for i in items], vectors)
            if progress:
                progress(min(start + _BATCH, len(ids)), len(ids))
        return seconds

    def _stale(self, domain: str, generation: int) -> bool:
        try:
            made_from = open_snapshot(self._path(domain), domain).manifest
        except IndexMissing:
            return True
        now = (generation, self.encoder.fingerprint, self.template.fingerprint)
        return (made_from.generation, made_from.encoder_fingerprint, made_from.template_fingerprint) != now

    def _write(self, store: Store, domain: str, generation: int) -> None:
        ids, vectors = self.vectors.all(domain)
        manifest = Manifest(
            domain=domain,
            encoder=self.encoder.name,
            encoder_fingerprint=self.encoder.fingerprint,
            template_fingerprint=self.template.fingerprint,
            items=len(ids),
            dims=vectors.shape[1],
            generation=generation,
        )
        write_snapshot(self._path(domain), manifest, _in_order(store, domain, ids), vectors)


def _in_order(store: Store, domain: str, ids: Sequence[str]) -> Iterator[Item]:
    for start in range(0, len(ids), _BATCH):
        page = ids[start : start + _BATCH]
        items = store.items(domain, page)
        for item_id in page:
            # What was deleted during this run is withdrawn until the next one drops its vector.
            yield items.get(item_id) or Item(domain=domain, id=item_id, title=item_id, available=False)
