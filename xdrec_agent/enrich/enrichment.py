"""A domain enriched. Reads its items, asks about those not asked about yet, keeps the facets of each as they come.

A killed run loses what was being asked, and what the response cache holds of that is not asked again either. One long
answer keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from retrieval.errors import UsageError
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from retrieval.types import Frozen, Item
from xdrec_agent.enrich.facet_questions import FacetAnswer, ask_twice
from xdrec_agent.enrich.facet_store import FacetStore, MadeBy
from xdrec_agent.llm import LLMClient, Usage, gathered

AT_ONCE: Final = 32
"""Items asked about at a time."""
_PROBE: Final = 4
"""Items that the estimate is made from."""

Progress = Callable[[int, int], None]
"""Told how many items of how many are done."""


class Estimate(Frozen):
    """What enriching would cost, from asking about a few items.

    `seconds` is None where the response cache knew them already.
    """

    domain: str
    model: str
    items: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float | None
    probed: int


class EnrichReport(Frozen):
    """What a run did: items asked about, those with facets, those of which a reply could not be read."""

    domain: str
    model: str
    asked: int
    known: int
    unreadable: int
    usage: Usage


class Enrichment:
    """The work to be done for a domain.

    Args:
        wordings: the two templates.
        limit: ask about so many items at most; None: all.

    Raises:
        UsageError: the domain has no items.
    """

    def __init__(
        self,
        store: Store,
        kept: FacetStore,
        client: LLMClient,
        wordings: Sequence[PromptTemplate],
        domain: str,
        limit: int | None = None,
    ) -> None:
        if not store.has(domain):
            raise UsageError(f"domain {domain!r} has no items", hint=f"xdrec ingest {domain} FILE")
        self._store, self._kept, self._client, self._wordings = store, kept, client, wordings
        self.domain = domain
        templates = " ".join(template.fingerprint for template in wordings)
        self.made_by = MadeBy(model=client.endpoint.model, templates=templates)
        self.pending = kept.pending(domain, self.made_by, limit)

    async def estimate(self) -> Estimate:
        """Ask about the first few items, keep nothing, and say what all would cost.

        Raises:
            LLMError: the model does not answer.
        """
        began = time.perf_counter()
        probe = self._items(self.pending[:_PROBE])
        answers = await gathered(ask_twice(self._client, self._wordings, item) for item in probe)
        usage, seconds = _total_usage(answers), time.perf_counter() - began
        share = len(self.pending) / max(1, len(probe))
        return Estimate(
            domain=self.domain,
            model=self.made_by.model,
            items=len(self.pending),
            requests=len(self._wordings) * len(self.pending),
            prompt_tokens=round(usage.prompt_tokens * share),
            completion_tokens=round(usage.completion_tokens * share),
            seconds=seconds * share if usage.requests == len(self._wordings) * len(probe) else None,
            probed=len(probe),
        )

    async def run(self, progress: Progress | None = None) -> EnrichReport:
        """Ask about all pending items.

        Raises:
            LLMError: the model does not answer; what it said before is kept.
            StoreError: facets cannot be kept.
        """
        turn = asyncio.Semaphore(AT_ONCE)
        answers: list[FacetAnswer] = []

        async def one(item_id: str) -> None:
            async with turn:
                for item in self._items([item_id]):  # none if it was deleted since
                    answer = await ask_twice(self._client, self._wordings, item)
                    self._kept.put(self.domain, item, answer.facets, self.made_by)
                    answers.append(answer)
                    if progress:
                        progress(len(answers), len(self.pending))

        await gathered(one(item_id) for item_id in self.pending)
        return EnrichReport(
            domain=self.domain,
            model=self.made_by.model,
            asked=len(answers),
            known=sum(not answer.facets.empty for answer in answers),
            unreadable=sum(answer.unreadable for answer in answers),
            usage=_total_usage(answers),
        )

    def _items(self, ids: Sequence[str]) -> list[Item]:
        return list(self._store.items(self.domain, ids).values())


def _total_usage(answers: Sequence[FacetAnswer]) -> Usage:
    return sum((answer.usage for answer in answers), Usage())
