"""The parts of retrieval, made from settings. Reads `Settings`, produces store, encoder, index and retriever."""

from __future__ import annotations

from pathlib import Path

from retrieval.encoder import SentenceEncoder
from retrieval.errors import SetupError
from retrieval.index import Index
from retrieval.retriever import Retriever
from retrieval.store import Store
from retrieval.templates import load_template
from xdrec_agent import models
from xdrec_agent.settings import Settings


def open_store(settings: Settings, *, create: bool = True) -> Store:
    """The store, its tables made where missing.

    Args:
        create: False: make nothing, as befits what only reads or deletes.

    Raises:
        SetupError: `create` is False and there is no store yet.
        StoreError: the database fails.
    """
    url = settings.store_url
    if create:
        return Store.open(url)
    file = Path(url.removeprefix("sqlite:///").partition("?")[0])
    if url.startswith("sqlite:///") and not file.is_file():
        hint = "xdrec ingest DOMAIN FILE makes it; if it is elsewhere: xdrec --home FOLDER …"
        raise SetupError(f"there is no store at {file}", hint=hint)
    return Store(url)


def open_encoder(settings: Settings) -> SentenceEncoder:
    """The configured encoder; its weights load at first use. Raises ModelMissing."""
    folder: Path = models.find(settings.encoder.model, settings.models_dir)
    device = None if settings.device == "auto" else settings.device
    return SentenceEncoder(settings.encoder.model, folder, batch_size=settings.encoder.batch_size, device=device)


def open_index(settings: Settings) -> Index:
    """The indexes of all domains, with the configured encoder and item template. Raises ModelMissing."""
    return Index(settings.index_dir, open_encoder(settings), load_template("item"), settings.index)


def open_retriever(settings: Settings, store: Store) -> Retriever:
    """A retriever over an open store."""
    return Retriever(store, open_index(settings), settings.retriever)
