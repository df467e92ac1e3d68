"""The indexes. Reads the store's items, produces vectors in Chroma and the snapshots that retrieval searches.

A run (`Index.build`) embeds new and changed items, deletes the vectors of items that are gone, and writes the snapshot
last: a killed run leaves the old snapshot in place, and the next run continues where it stopped.
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
from retrieval.index.incremental import append_to_snapshot
from retrieval.index.interactions import InteractionTable, interactions_version, write_interactions
from retrieval.index.snapshot import Manifest, Snapshot, current_name, open_snapshot, write_snapshot
from retrieval.index.vectors import VectorStore
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from retrieval.types import Frozen, Item

_BATCH: Final = 1_024
"""Items embedded and stored at a time: what a killed run loses at most."""

_CACHED_TEXTS: Final = 10_000

Progress = Callable[[int, int], None]
"""Called with the number of embedded items and of all items to embed."""


class IndexReport(Frozen):
    """What a run did. Times in seconds."""

    domain: str
    items: int
    embedded: int
    deleted: int
    encode_s: float
    total_s: float


class IncrementalReport(Frozen):
    """How many new items joined an index at once, and how many wait for a run."""

    domain: str
    added: int
    waiting: int
    total_s: float


def has_index(folder: Path, domain: str) -> bool:
    """Whether the folder holds an index of the domain, by whatever encoder and template."""
    return current_name(_domain_folder(folder, domain)) is not None


class Index:
    """The indexes of all domains.

    Args:
        folder: home of Chroma and the snapshots.
        encoder, template: what item vectors are made with; an index made with others is refused.
        facets: where the template's `facets` come from; None: it uses none.
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
        self._snapshots: dict[str, Snapshot] = {}
        self._vectors: VectorStore | None = None
        self._interactions: tuple[object, InteractionTable] | None = None
        self._texts: dict[tuple[str, str], tuple[Item, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # Reading: what a query needs.

    def snapshot(self, domain: str) -> Snapshot:
        """The domain's current snapshot; kept open, and reopened when a build has replaced it.

        Raises:
            IndexMissing: the domain was never indexed, or by another version.
            IndexMismatch: it was made by another encoder or template.
        """
        path = _domain_folder(self.folder, domain)
        known = self._snapshots.get(domain)
        if known is not None and known.folder.name == current_name(path):
            return known
        snapshot = open_snapshot(path, domain)
        made_by = snapshot.manifest.encoder_fingerprint, snapshot.manifest.template_fingerprint
        self._refuse_mismatch(domain, *made_by)
        self._disconnect_embedded()
        self._snapshots[domain] = snapshot
        return snapshot

    def interactions(self) -> InteractionTable:
        """All users' interactions as of the last run; the same object until another run or a deletion replaces it.

        Raises:
            IndexMissing: the file cannot be read.
        """
        version = interactions_version(self.folder)
        if self._interactions is None or self._interactions[0] != version:
            self._interactions = (version, InteractionTable.open(self.folder))
        return self._interactions[1]

    def text(self, item: Item) -> str:
        """The text that BM25 indexes: without facets, which a model generated. Recent texts are cached."""
        key = (item.domain, item.id)
        cached = self._texts.get(key)
        if cached is None or cached[0] != item:
            if len(self._texts) >= _CACHED_TEXTS:
                self._texts.clear()
            cached = self._texts[key] = (item, self._render(item))
        return cached[1]

    def _render(self, item: Item, facets: Facets | None = None) -> str:
        if self.facets is None:
            return self.template.text(item=item)
        return self.template.text(item=item, facets=facets or Facets())

    def texts(self, domain: str, items: Sequence[Item]) -> list[str]:
        """The encoder's input for items of a domain."""
        facets = {} if self.facets is None else self.facets.facets(domain, [item.id for item in items])
        return [self._render(item, facets.get(item.id)) for item in items]

    def generation(self, domain: str, of_items: int) -> int:
        """How often the index's input has changed: items (as the store counts them) and facets."""
        return of_items if self.facets is None else of_items + self.facets.generation(domain)

    @property
    def vectors(self) -> VectorStore:
        """Chroma, connected at first use: importing it takes a second that a search does not need."""
        if self._vectors is None:
            self._vectors = VectorStore(self.folder / "chroma", self.settings.chroma_url)
        return self._vectors

    def close(self) -> None:
        """Close the connection to Chroma, if there is one, and the open snapshots."""
        self._snapshots.clear()
        self._interactions = None
        self._disconnect()

    def _disconnect(self) -> None:
        if self._vectors is not None:
            self._vectors.close()
            self._vectors = None

    def _disconnect_embedded(self) -> None:
        """Embedded Chroma caches what it read: a connection must not outlive another process's run."""
        if self.settings.chroma_url is None:
            self._disconnect()

    # Writing: a whole run, new items alone, or a deletion.

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
            self._prepare_collection(domain, rebuild)
            items, to_embed, deleted = self._compare(store, domain)
            self.vectors.delete(domain, deleted)
            encode_s = self._embed(store, domain, to_embed, progress)
            if to_embed or deleted or self._is_stale(domain, generation, items):
                self._write_snapshot(store, domain, generation)
            write_interactions(self.folder, store.preferences(), store.interactions_generation())
        return IndexReport(
            domain=domain,
            items=items,
            embedded=len(to_embed),
            deleted=len(deleted),
            encode_s=encode_s,
            total_s=perf_counter() - start,
        )

    def add(self, store: Store, domain: str, limit: int) -> IncrementalReport:
        """Add the store's items that the domain's index lacks, unless they are more than `limit`.

        The cost is that of these items, not of the catalogue (`retrieval.index.incremental`). Changed and deleted items
        wait for `build`, and so do all items while another run holds the writer's lock.

        Raises:
            IndexMissing, IndexMismatch: see `snapshot`.
        """
        start = perf_counter()
        missing, added = self._missing(store, domain), 0
        if 0 < len(missing) <= limit:
            with suppress(Timeout), self._writing(wait_s=0):
                missing = self._missing(store, domain)  # another process may have been faster
                added = self._add(store, domain, missing)
        waiting = len(missing) - added
        return IncrementalReport(domain=domain, added=added, waiting=waiting, total_s=perf_counter() - start)

    def drop(self, domain: str) -> None:
        """Delete a domain's vectors and snapshot."""
        with self._writing():
            self.vectors.drop(domain)
            shutil.rmtree(_domain_folder(self.folder, domain), ignore_errors=True)
            self._snapshots.pop(domain, None)

    @contextmanager
    def _writing(self, wait_s: float = -1) -> Iterator[None]:
        """Hold the writer's lock, with a fresh connection to Chroma.

        Args:
            wait_s: how long to wait for another writer; negative: as long as it takes.

        Raises:
            Timeout: it took longer.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "writer.lock", timeout=wait_s):
            self._disconnect_embedded()
            try:
                yield
            finally:
                self._disconnect_embedded()

    def _missing(self, store: Store, domain: str) -> list[str]:
        known = self.snapshot(domain).positions
        return [item_id for item_id, _ in store.item_hashes(domain) if item_id not in known]

    def _add(self, store: Store, domain: str, ids: Sequence[str]) -> int:
        items = list(store.items(domain, ids).values())
        if items:
            snapshot = self.snapshot(domain)
            manifest = snapshot.manifest
            earlier = snapshot.ids(np.arange(manifest.items - manifest.added, manifest.items))
            vectors, _ = self._embed_batch(domain, items)
            all_added = _in_order(store, domain, [*earlier, *(item.id for item in items)])
            append_to_snapshot(_domain_folder(self.folder, domain), snapshot, all_added, vectors, self.text)
        return len(items)

    def _refuse_mismatch(self, domain: str, encoder: str | None, template: str | None) -> None:
        pairs = {"encoder": (encoder, self.encoder.fingerprint), "template": (template, self.template.fingerprint)}
        different = [name for name, (made_by, configured) in pairs.items() if made_by != configured]
        if different:
            raise IndexMismatch(
                f"the index of {domain!r} was made with another {' and '.join(different)}"
                f" (configured: {self.encoder.name}, {self.template.name}.jinja)",
                hint=f"xdrec index {domain} --rebuild",
            )

    def _prepare_collection(self, domain: str, rebuild: bool) -> None:
        made_by = self.vectors.origin(domain)
        if made_by is None or rebuild:
            origin = {"encoder": self.encoder.fingerprint, "template": self.template.fingerprint}
            self.vectors.create(domain, origin)
        else:
            self._refuse_mismatch(domain, made_by.get("encoder"), made_by.get("template"))

    def _compare(self, store: Store, domain: str) -> tuple[int, list[str], list[str]]:
        """The number of items, the ids that need a vector, and the ids whose vector is no longer needed."""
        stored, items, to_embed = self.vectors.hashes(domain), 0, []
        for item_id, digest in self._input_hashes(domain, store.item_hashes(domain)):
            items += 1
            if stored.pop(item_id, None) != digest:
                to_embed.append(item_id)
        return items, to_embed, list(stored)

    def _embed(self, store: Store, domain: str, ids: Sequence[str], progress: Progress | None) -> float:
        seconds = 0.0
        for start in range(0, len(ids), _BATCH):
            items = list(store.items(domain, ids[start : start + _BATCH]).values())
            if not items:
                continue  # deleted since the list was made
            seconds += self._embed_batch(domain, items)[1]
            if progress:
                progress(min(start + _BATCH, len(ids)), len(ids))
        return seconds

    def _embed_batch(self, domain: str, items: Sequence[Item]) -> tuple[Vectors, float]:
        """The vectors of these items, now in Chroma, and the seconds that the encoder took."""
        hashes = dict(self._input_hashes(domain, ((item.id, item.content_hash()) for item in items)))
        texts = self.texts(domain, items)
        start = perf_counter()
        vectors = self.encoder.encode(texts)
        seconds = perf_counter() - start
        self.vectors.put(domain, list(hashes), list(hashes.values()), vectors)
        return vectors, seconds

    def _input_hashes(self, domain: str, hashes: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """From (id, content hash) pairs: each id with a hash of all that its vector is made from, facets included."""
        marks = {} if self.facets is None else self.facets.marks(domain)
        return ((id_, f"{content} {marks[id_]}" if id_ in marks else content) for id_, content in hashes)

    def _is_stale(self, domain: str, generation: int, items: int) -> bool:
        try:
            old = open_snapshot(_domain_folder(self.folder, domain), domain).manifest
        except IndexMissing:
            return True
        return old != self._manifest(domain, generation, items, old.dims)

    def _manifest(self, domain: str, generation: int, items: int, dims: int) -> Manifest:
        return Manifest(
            domain=domain,
            encoder=self.encoder.name,
            encoder_fingerprint=self.encoder.fingerprint,
            template_fingerprint=self.template.fingerprint,
            items=items,
            dims=dims,
            generation=generation,
            quantized=items > self.settings.exact_limit,
        )

    def _write_snapshot(self, store: Store, domain: str, generation: int) -> None:
        folder = _domain_folder(self.folder, domain)
        folder.mkdir(exist_ok=True)
        # Named so that the next snapshot deletes what a killed run leaves.
        with TemporaryDirectory(dir=folder, prefix="snapshot-", ignore_cleanup_errors=True) as spool:
            ids, raw = self._spool_vectors(domain, Path(spool) / "raw")
            manifest = self._manifest(domain, generation, *raw.shape)
            write_snapshot(folder, manifest, _in_order(store, domain, ids), raw, self._render)

    def _spool_vectors(self, domain: str, file: Path) -> tuple[list[str], Vectors]:
        """All ids and raw vectors of a domain, the vectors in a file: together they may be more than memory holds."""
        ids, dims = [], 0
        with file.open("wb") as spool:
            for page, vectors in self.vectors.pages(domain):
                ids += page
                dims = vectors.shape[1]
                vectors.tofile(spool)
        return ids, np.memmap(file, np.float32, "r", shape=(len(ids), dims))


def _domain_folder(folder: Path, domain: str) -> Path:
    # Any text may name a domain, not any text may name a folder.
    return folder / hashlib.sha256(domain.encode()).hexdigest()[:16]


def _in_order(store: Store, domain: str, ids: Sequence[str]) -> Iterator[Item]:
    for start in range(0, len(ids), _BATCH):
        page = ids[start : start + _BATCH]
        items = store.items(domain, page)
        for item_id in page:
            # An item deleted during this run is withdrawn until the next one drops its vector.
            yield items.get(item_id) or Item(domain=domain, id=item_id, title=item_id, available=False)
