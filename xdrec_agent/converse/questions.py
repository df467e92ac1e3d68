"""Questions about an answer. Reads a query and an item, produces why the item is not in the list."""

from __future__ import annotations

from typing import Final

from retrieval.retriever import Retriever
from retrieval.types import Filter, Item, Query
from xdrec_agent.converse.replies import sentences, titled
from xdrec_agent.converse.state import DialogueState

_LOOKED_AT: Final = 200


def why_not(item: Item, query: Query, state: DialogueState, retriever: Retriever) -> str:
    """Why an item is not in the list: known, kept out by a limit, or ranked behind the others.

    Raises:
        UsageError, SetupError, BackendError: from the retriever.
    """
    words = sentences(state.language).why_not
    title = titled(item, state.language)
    if item.domain != query.target:
        return words["other"].format(title=title, target=query.target)
    if (item.domain, item.id) in {(e.item.domain, e.item.id) for e in query.history.entries}:
        return words["known"].format(title=title)
    shown = [ref.key for ref in state.shown]
    if (item.domain, item.id) in shown:
        return words["shown"].format(title=title, place=shown.index((item.domain, item.id)) + 1)
    ids = retriever.rank(query.model_copy(update={"k": _LOOKED_AT})).ids
    if item.id in ids:
        return words["place"].format(title=title, place=ids.index(item.id) + 1)
    free = query.model_copy(update={"k": _LOOKED_AT, "filter": Filter()})
    if not query.filter.empty and item.id in retriever.rank(free).ids:
        return words["filtered"].format(title=title)
    return words["far"].format(title=title, count=len(ids))
