"""The parts of retrieval, made from settings. Reads `Settings`, produces store, encoder, index and retriever."""

from __future__ import annotations

from pathlib import Path

from retrieval.encoder import SentenceEncoder
from retrieval.index import Index
from retrieval.retriever import Retriever
from retrieval.store import Store
from retrieval.templates import load_template
from xdrec_agent import models
from xdrec_agent.settings import Settings


def open_store(settings: Settings) -> Store:
    """The store, its tables made where missing. Raises StoreError."""
    return Store.open(settings.store_url)


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
