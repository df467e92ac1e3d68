"""Whom a model has met. Reads the manifests of its adapters and a store, produces the users whom it has learnt from.

A model that has learnt what somebody liked finds it again: asked about them, it is measured by its memory.
"""

from __future__ import annotations

from collections.abc import Callable

from retrieval.adapt import SplitSettings, split_users
from retrieval.encoder import Encoder, SentenceEncoder
from retrieval.errors import ModelMissing, UnreadableFile, UsageError
from retrieval.store import Store
from xdrec_agent.models import AdapterManifest, find_model, merged_adapters, read_adapter_manifest
from xdrec_agent.settings import Settings

Say = Callable[[str], None]


def encoder_training_users(encoder: Encoder, store: Store, say: Say) -> frozenset[str]:
    """The users of a store whom an encoder has learnt from; nobody if it learnt from other people, or from none.

    Raises:
        DataError: a manifest cannot be read.
    """
    manifests = merged_adapters(encoder.folder) if isinstance(encoder, SentenceEncoder) else []
    return _met(encoder.name, manifests, store, say)


def llm_training_users(settings: Settings, store: Store, say: Say) -> frozenset[str]:
    """The users of a store whom the language model of the settings has learnt from, with the adapter served beside it.

    Nobody if its files are not on this machine: what a server elsewhere has learnt from cannot be seen.

    Raises:
        DataError: a manifest cannot be read.
        UsageError: the adapter's folder holds none.
    """
    llm = settings.llm
    try:
        manifests = merged_adapters(find_model(llm.model, settings.models_dir))
    except ModelMissing:
        manifests = []
    if llm.adapter in llm.adapters:
        manifests = [*manifests, read_adapter_manifest(llm.adapters[llm.adapter])]
    return _met(llm.adapter or llm.model, manifests, store, say)


def _met(name: str, manifests: list[AdapterManifest], store: Store, say: Say) -> frozenset[str]:
    met = frozenset(user for manifest in manifests for user in _learnt_from(manifest, store))
    if met:
        say(f"{name} has learnt from {len(met):,} of these people; they are not asked")
    return met


def _learnt_from(manifest: AdapterManifest, store: Store) -> tuple[str, ...]:
    try:
        found = split_users(store, SplitSettings.model_validate(manifest.settings.get("users", {})))
    except (UsageError, UnreadableFile):  # nobody would be left in this store, or the list of people is not here
        return ()
    return (*found.training, *found.validation) if found.identity == manifest.data.people else ()
