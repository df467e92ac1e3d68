"""Vectors in Chroma. Reads and writes one collection a domain; translates Chroma's exceptions at one place.

Each vector carries the content hash of the item that it was made from, which is what makes indexing incremental. The
collection's metadata say which encoder and item template its vectors come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import numpy as np

from retrieval.encoder import Vectors
from retrieval.errors import UsageError, VectorStoreError

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

_PAGE: Final = 5_000
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 30.0
"""How long a Chroma server may take over one call."""


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """Chroma's own errors, and what its HTTP client and its Rust core let through."""
    import httpx
    from chromadb.errors import ChromaError

    try:
        yield
    except (ChromaError, httpx.HTTPError, OSError, RuntimeError, ValueError) as exc:
        hint = "is the Chroma server up?" if "://" in where else "xdrec index DOMAIN --rebuild"
        raise VectorStoreError(f"Chroma at {where}: {exc}", hint=hint) from exc


class VectorStore:
    """Chroma, embedded in a folder or as a server.

    Args:
        folder: of the embedded database; not used with a server.
        url: http(s)://host:port of a Chroma server, None for embedded.

    Embedded Chroma is not safe for several writing processes: callers hold the writer's lock.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.where = url or str(folder)
        self._client = self._connect(folder, url)

    def _connect(self, folder: Path, url: str | None) -> ClientAPI:
        import chromadb
        import httpx

        settings = chromadb.Settings(anonymized_telemetry=False)
        with _translated(self.where):
            if url is None:
                folder.mkdir(parents=True, exist_ok=True)
                return chromadb.PersistentClient(path=str(folder), settings=settings)
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise UsageError(f"index.chroma_url {url!r} is not http(s)://host:port", hint="set [index] chroma_url")
            ssl = parts.scheme == "https"
            port = parts.port or (443 if ssl else 8000)
            httpx.get(f"{url.rstrip('/')}/api/v2/heartbeat", timeout=_CONNECT_S).raise_for_status()
            client = chromadb.HttpClient(host=parts.hostname, port=port, ssl=ssl, settings=settings)
            client._server._session.timeout = httpx.Timeout(_ANSWER_S, connect=_CONNECT_S)  # its own: for ever
            return client

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
        for part in (self._client, self._client._admin_client):  # whose HTTP sessions Chroma leaves open
            session = getattr(part._server, "_session", None)
            if session is not None:
                session.close()

    def origin(self, domain: str) -> Mapping[str, str] | None:
        """What `create` was given for this domain, None if it has no collection."""
        with _translated(self.where):
            found = [c for c in self._client.list_collections() if c.name == _name(domain)]
            if not found:
                return None
            metadata = found[0].metadata or {}
            return {k: str(v) for k, v in metadata.items() if not k.startswith("hnsw:")}

    def create(self, domain: str, origin: Mapping[str, str]) -> None:
        """Make the domain's empty collection, dropping an older one."""
        self.drop(domain)
        with _translated(self.where):
            # Inner product: the query vectors are centred, so cosine on the raw stored ones would rescale them.
            self._client.create_collection(
                _name(domain),
                embedding_function=None,
                metadata=dict(origin),
                configuration={"hnsw": {"space": "ip", "ef_construction": 100, "max_neighbors": 16, "ef_search": 400}},
            )

    def drop(self, domain: str) -> None:
        """Delete the domain's collection if there is one."""
        if self.origin(domain) is not None:
            with _translated(self.where):
                self._client.delete_collection(_name(domain))

    def hashes(self, domain: str) -> dict[str, str]:
        """Item id → content hash of every stored vector."""
        with _translated(self.where):
            pages = self._pages(domain, ["metadatas"])
            return {i: str(m["hash"]) for page in pages for i, m in zip(page["ids"], page["metadatas"], strict=True)}

    def put(self, domain: str, ids: Sequence[str], hashes: Sequence[str], vectors: Vectors) -> None:
        """Insert or replace vectors, shape (len(ids), dims)."""
        with _translated(self.where):
            self._collection(domain).upsert(ids=list(ids), embeddings=vectors, metadatas=[{"hash": h} for h in hashes])

    def delete(self, domain: str, ids: Sequence[str]) -> None:
        """Delete the vectors of these items."""
        with _translated(self.where):
            for start in range(0, len(ids), _PAGE):
                self._collection(domain).delete(ids=list(ids[start : start + _PAGE]))

    def all(self, domain: str) -> tuple[list[str], Vectors]:
        """Every id and vector of the domain, in one order."""
        pages = list(self.pages(domain))
        return [item_id for ids, _ in pages for item_id in ids], np.concatenate([vectors for _, vectors in pages])

    def pages(self, domain: str) -> Iterator[tuple[list[str], Vectors]]:
        """As `all`, some thousand at a time."""
        with _translated(self.where):
            for page in self._pages(domain, ["embeddings"]):
                yield page["ids"], np.asarray(page["embeddings"], dtype=np.float32)

    def _collection(self, domain: str) -> Collection:
        return self._client.get_collection(_name(domain), embedding_function=None)

    def _pages(self, domain: str, include: Iterable[Any]) -> Iterator[Any]:
        collection = self._collection(domain)
        for offset in range(0, collection.count(), _PAGE):
            yield collection.get(include=list(include), limit=_PAGE, offset=offset)


def _name(domain: str) -> str:
    """Chroma wants 3 to 512 characters of [a-zA-Z0-9._-]; the hash keeps names of any script apart."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in domain)[:40].strip("-")
    return f"xdrec-{plain or 'domain'}-{hashlib.sha256(domain.encode()).hexdigest()[:8]}"
