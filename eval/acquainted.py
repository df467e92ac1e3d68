"""Whom an encoder has met. Reads the manifests of its adapters and a store, produces the users whom it has learnt from.

An encoder that has learnt what somebody liked finds it again: asked about them, it is measured by its memory.
"""

from __future__ import annotations

from collections.abc import Callable

from retrieval.adapt.people import WhoLearns, learners
from retrieval.encoder import Encoder, SentenceEncoder
from retrieval.errors import UnreadableFile, UsageError
from retrieval.store import Store
from xdrec_agent.adapt.adapters import AdapterManifest, merged_into


def met_by(encoder: Encoder, store: Store, say: Callable[[str], None]) -> frozenset[str]:
    """The users of a store whom an encoder has learnt from; nobody if it learnt from other people, or from none.

    Raises:
        DataError: a manifest cannot be read.
    """
    manifests = merged_into(encoder.folder) if isinstance(encoder, SentenceEncoder) else []
    met = frozenset(user for manifest in manifests for user in _learnt_from(manifest, store))
    if met:
        say(f"{encoder.name} has learnt from {len(met):,} of these people; they are not asked")
    return met


def _learnt_from(manifest: AdapterManifest, store: Store) -> tuple[str, ...]:
    try:
        found = learners(store, WhoLearns.model_validate(manifest.settings.get("who", {})))
    except (UsageError, UnreadableFile):  # nobody would be left in this store, or the list of people is not here
        return ()
    return (*found.training, *found.validation) if found.identity == manifest.data.people else ()
