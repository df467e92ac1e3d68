"""Whether a domain's index can be used. Reads the store's summary and the snapshot, produces an `IndexState`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from retrieval.errors import IndexMissing, ModelMissing, XDRecError
from retrieval.index import Index
from retrieval.store import DomainSummary
from retrieval.types import Frozen
from xdrec_agent.app.parts import open_index
from xdrec_agent.settings import Settings


class IndexState(Frozen):
    """`stale`: items have changed since. `mismatch`: made by another encoder or template.

    `unknown`: the configured encoder is not on this machine, so nothing can be compared. `next` is the command that
    leads to `current`.
    """

    domain: str
    state: Literal["current", "stale", "missing", "mismatch", "unknown"]
    detail: str
    next: str = ""


def index_states(settings: Settings, domains: Iterable[DomainSummary]) -> list[IndexState]:
    """The state of each domain's index, in the order of `domains`."""
    try:
        index = open_index(settings)
    except ModelMissing as exc:
        return [IndexState(domain=d.domain, state="unknown", detail=str(exc), next=exc.hint) for d in domains]
    with index:
        return [index_state(index, d) for d in domains]


def index_state(index: Index, domain: DomainSummary) -> IndexState:
    """The state of one domain's index."""
    name = domain.domain
    try:
        made = index.snapshot(name).manifest
    except XDRecError as exc:
        state: Literal["missing", "mismatch"] = "missing" if isinstance(exc, IndexMissing) else "mismatch"
        return IndexState(domain=name, state=state, detail=str(exc), next=exc.hint)
    detail = f"index of {made.items:,} items by {made.encoder}"
    if made.generation == index.generation(name, domain.generation):
        return IndexState(domain=name, state="current", detail=detail)
    detail += ", items have changed since"
    return IndexState(domain=name, state="stale", detail=detail, next=f"xdrec index {name}")
