"""The index. Reads the store's items, produces vectors in Chroma and the snapshot that retrieval searches.

A run embeds what is new or changed, deletes what is gone, and writes the snapshot last: a killed run leaves the old
snapshot in place and goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final, Self

import numpy as np
from filelock import FileLock, Timeout

from retrieval.encoder import Encoder, Vectors
from retrieval.errors import IndexMismatch, IndexMissing, UsageError
from retrieval.index.facets import Facets, FacetSource
from retrieval.index.incremental import add_to_snapshot
from retrieval.index.interactions import Behaviour, behaviour_mark, write_behaviour
from retrieval.index.snapshot import FORMAT, Manifest, Snapshot, current_name, open_snapshot, write_snapshot
from retrieval.index.vectors import VectorStore
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from retrieval.types import Frozen, Item

_BATCH: Final = 1_024
"""Items embedded and stored at a time: what a killed run loses at most."""

_TEXTS: Final = 10_000
"""Most texts of items that are kept."""

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


class Additions(Frozen):
    """New items that joined an index at once, and those that wait for a run."""

    domain: str
    added: int
    waiting: int
    total_s: float


def indexed(folder: Path, domain: str) -> bool:
    """Whether the indexes in a folder hold one of the domain; says nothing of what made it."""
    return current_name(_folder_of(folder, domain)) is not None


class Index:
    """The indexes of all domains.

    Args:
        folder: home of Chroma and the snapshots.
        encoder, template: what item vectors are made with; an index made with others is refused.
        facets: what the template's `facets` come from; None: it uses none.
    """

    def __init__(
        self,
        folder: Path,
        encoder: Encoder,
        template: PromptTemplate,
        settings: IndexSettings,
        facets: FacetSource | None = None,
    ) -> None:
        self.folder = folder
        self.encoder = encoder
        self.template = template
        self.settings = settings
        self.facets = facets
        self._open: dict[str, tuple[str, Snapshot]] = {}
        self._vectors: VectorStore | None = None
        self._behaviour: tuple[object, Behaviour] | None = None
        self._texts: dict[tuple[str, str], tuple[Item, str]] = {}

    def behaviour(self) -> Behaviour:
        """What people did, as of the last run; the same object until another run or a deletion replaces it.

        Raises:
            IndexMissing: it cannot be read.
        """
        mark = behaviour_mark(self.folder)
        if self._behaviour is None or self._behaviour[0] != mark:
            self._behaviour = (mark, Behaviour.open(self.folder))
        return self._behaviour[1]

    @property
    def vectors(self) -> VectorStore:
        """Chroma, connected at first use: importing it takes a second that a search does not need."""
        if self._vectors is None:
            self._vectors = VectorStore(self.folder / "chroma", self.settings.chroma_url)
        return self._vectors

    def close(self) -> None:
        """Close the connection to Chroma, if there is one, and forget the open snapshots."""
        self._open.clear()
        self._behaviour = None
        if self._vectors is not None:
            self._vectors.close()
            self._vectors = None

    def _forget(self) -> None:
        """Embedded Chroma keeps in memory what it read: a connection must not outlive another process's run."""
        if self._vectors is not None and self.settings.chroma_url is None:
            self._vectors.close()
            self._vectors = None

    @contextmanager
    def _writing(self, wait_s: float = -1) -> Iterator[None]:
        """Hold the writer's lock, with a fresh connection to Chroma.

        Args:
            wait_s: how long for another writer; negative: as long as it takes.

        Raises:
            Timeout: it took longer.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "writer.lock", timeout=wait_s):
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
            generation = self.generation(domain, store.generation(domain))
            if not store.has(domain):
                raise UsageError(f"domain {domain!r} has no items", hint=f"xdrec ingest {domain} FILE")
            self._prepare(domain, rebuild)
            items, todo, gone = self._compared(store, domain)
            self.vectors.delete(domain, gone)
            encode_s = self._embed(store, domain, todo, progress)
            if todo or gone or self._stale(domain, generation, items):
                self._write(store, domain, generation)
            write_behaviour(self.folder, store.preferences(), store.interactions_generation())
        return IndexReport(
            domain=domain,
            items=items,
            embedded=len(todo),
            deleted=len(gone),
            encode_s=encode_s,
            total_s=perf_counter() - start,
        )

    def add(self, store: Store, domain: str, most: int) -> Additions:
        """Take in the store's items that the domain's index lacks, unless they are more than `most`.

        Costs what they cost, not what the catalogue costs (`retrieval.index.incremental`). Items that changed or are
        gone wait
        for `build`, and so do all where another run is at work.

        Raises:
            IndexMissing, IndexMismatch: see `snapshot`.
        """
        start = perf_counter()
        missing, added = self._missing(store, domain), 0
        if 0 < len(missing) <= most:
            with suppress(Timeout), self._writing(wait_s=0):
                missing = self._missing(store, domain)  # another process may have been faster
                added = self._add(store, domain, missing)
        waiting = len(missing) - added
        return Additions(domain=domain, added=added, waiting=waiting, total_s=perf_counter() - start)

    def _missing(self, store: Store, domain: str) -> list[str]:
        known = self.snapshot(domain).positions
        return [item_id for item_id, _ in store.item_hashes(domain) if item_id not in known]

    def _add(self, store: Store, domain: str, ids: Sequence[str]) -> int:
        items = list(store.items(domain, ids).values())
        if items:
            snapshot = self.snapshot(domain)
            made = snapshot.manifest
            before = snapshot.ids(np.arange(made.items - made.added, made.items))
            vectors, _ = self._put(domain, items)
            everything = _in_order(store, domain, [*before, *(item.id for item in items)])
            add_to_snapshot(self._path(domain), snapshot, everything, vectors, self.text)
        return len(items)

    def generation(self, domain: str, of_items: int) -> int:
        """How often what the index is made from has changed: items (as the store counts them) and facets."""
        return of_items if self.facets is None else of_items + self.facets.generation(domain)

    def texts(self, domain: str, items: Sequence[Item]) -> list[str]:
        """What the encoder is given for items of a domain."""
        if self.facets is None:
            return [self.template.text(item=item) for item in items]
        found = self.facets.facets(domain, [item.id for item in items])
        return [self.template.text(item=item, facets=found.get(item.id, Facets())) for item in items]

    def text(self, item: Item) -> str:
        """What an item's words are found by: its text without facets, which a model made up. The last ones are kept."""
        key = (item.domain, item.id)
        known = self._texts.get(key)
        if known is None or known[0] != item:
            if len(self._texts) >= _TEXTS:
                self._texts.clear()
            known = self._texts[key] = (item, self._text(item))
        return known[1]

    def _text(self, item: Item) -> str:
        return self.template.text(item=item) if self.facets is None else self.template.text(item=item, facets=Facets())

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
        return _folder_of(self.folder, domain)

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

    def _compared(self, store: Store, domain: str) -> tuple[int, list[str], list[str]]:
        """How many items there are, those that need a vector, and those whose vector is no longer needed."""
        have, items, todo = self.vectors.hashes(domain), 0, []
        for item_id, content in self._hashes(domain, store.item_hashes(domain)):
            items += 1
            if have.pop(item_id, None) != content:
                todo.append(item_id)
        return items, todo, list(have)

    def _embed(self, store: Store, domain: str, ids: Sequence[str], progress: Progress | None) -> float:
        seconds = 0.0
        for start in range(0, len(ids), _BATCH):
            items = list(store.items(domain, ids[start : start + _BATCH]).values())
            if not items:
                continue  # deleted since the list was made
            seconds += self._put(domain, items)[1]
            if progress:
                progress(min(start + _BATCH, len(ids)), len(ids))
        return seconds

    def _put(self, domain: str, items: Sequence[Item]) -> tuple[Vectors, float]:
        """The vectors of these items, now in Chroma, and the seconds that the encoder took."""
        hashes = dict(self._hashes(domain, ((item.id, item.content_hash()) for item in items)))
        texts = self.texts(domain, items)
        began = perf_counter()
        vectors = self.encoder.encode(texts)
        seconds = perf_counter() - began
        self.vectors.put(domain, list(hashes), list(hashes.values()), vectors)
        return vectors, seconds

    def _hashes(self, domain: str, items: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """For each item a hash of what it is embedded from, of the item's own and its facets'."""
        marks = {} if self.facets is None else self.facets.marks(domain)
        return ((id_, f"{content} {marks[id_]}" if id_ in marks else content) for id_, content in items)

    def _stale(self, domain: str, generation: int, items: int) -> bool:
        try:
            made_from = open_snapshot(self._path(domain), domain).manifest
        except IndexMissing:
            return True
        now = (
            FORMAT,
            generation,
            items > self.settings.exact_limit,
            self.encoder.fingerprint,
            self.template.fingerprint,
        )
        then = (made_from.format, made_from.generation, made_from.coded)
        return (*then, made_from.encoder_fingerprint, made_from.template_fingerprint) != now

    def _write(self, store: Store, domain: str, generation: int) -> None:
        folder = self._path(domain)
        folder.mkdir(exist_ok=True)
        # Named so that what a killed run leaves goes with the next snapshot.
        with TemporaryDirectory(dir=folder, prefix="snapshot-", ignore_cleanup_errors=True) as spool:
            ids, raw = self._collected(domain, Path(spool) / "raw")
            manifest = Manifest(
                domain=domain,
                encoder=self.encoder.name,
                encoder_fingerprint=self.encoder.fingerprint,
                template_fingerprint=self.template.fingerprint,
                items=len(ids),
                dims=raw.shape[1],
                generation=generation,
                format=FORMAT,
                coded=len(ids) > self.settings.exact_limit,
            )
            write_snapshot(folder, manifest, _in_order(store, domain, ids), raw, self._text)

    def _collected(self, domain: str, file: Path) -> tuple[list[str], Vectors]:
        """All ids and raw vectors of a domain, the vectors in a file: together they may be more than memory holds."""
        ids, dims = [], 0
        with file.open("wb") as spool:
            for some, vectors in self.vectors.pages(domain):
                ids += some
                dims = vectors.shape[1]
                vectors.tofile(spool)
        return ids, np.memmap(file, np.float32, "r", shape=(len(ids), dims))


def _folder_of(folder: Path, domain: str) -> Path:
    # Any text may name a domain, not any text may name a folder.
    return folder / hashlib.sha256(domain.encode()).hexdigest()[:16]


def _in_order(store: Store, domain: str, ids: Sequence[str]) -> Iterator[Item]:
    for start in range(0, len(ids), _BATCH):
        page = ids[start : start + _BATCH]
        items = store.items(domain, page)
        for item_id in page:
            # What was deleted during this run is withdrawn until the next one drops its vector.
            yield items.get(item_id) or Item(domain=domain, id=item_id, title=item_id, available=False)
