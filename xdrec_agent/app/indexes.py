"""Indexes and the store. Reads both, produces whether an index is current; adds new items to one after an ingest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from retrieval.errors import IndexMissing, ModelMissing, XDRecError
from retrieval.index import IncrementalReport, Index, has_index
from retrieval.store import DomainSummary, Store
from retrieval.types import Frozen
from xdrec_agent.app.factory import open_index
from xdrec_agent.settings import Settings

if TYPE_CHECKING:
    from retrieval.ingest import IngestReport


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


def index_new_items(
    settings: Settings, store: Store, domain: str, reports: Sequence[IngestReport]
) -> IncrementalReport | None:
    """Add the items that an ingest brought to the domain's index, if there is one and they are few.

    Args:
        reports: of the ingest.

    Returns:
        None where there is nothing to do: no new items, no index, or `index.incremental_limit` is 0.

    Raises:
        SetupError, BackendError: from the index. The items are in the store all the same, and `xdrec index` adds them.
    """
    new = any(report.new_items or (report.kind == "items" and report.added) for report in reports)
    if not (new and settings.index.incremental_limit and has_index(settings.index_dir, domain)):
        return None
    with open_index(settings) as index:
        return index.add(store, domain, settings.index.incremental_limit)
