"""The whole way. Reads a `Query`, produces `Recommendations`: retrieve, rerank, explain.

A failing model never fails the answer: the retriever's order stands, marked as degraded and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

from retrieval.errors import UsageError
from retrieval.ranking import Retriever
from retrieval.templates import PromptTemplate
from retrieval.types import Query, Ranking
from xdrec_agent.errors import LLMError
from xdrec_agent.explain import ExplainContext, Voice, explain_one, unasked
from xdrec_agent.grounding import PathFinder
from xdrec_agent.llm import LLMClient, Usage
from xdrec_agent.recommend.exclusions import excluding
from xdrec_agent.rerank import (
    RERANKERS,
    RerankContext,
    Reranked,
    RerankFit,
    asked_judge,
    fit_of,
    judge_of,
    rerank_fits,
    task_of,
    weight_of,
)
from xdrec_agent.settings import ExclusionSettings, ExplainSettings, RerankSettings
from xdrec_agent.types import Recommendation, Recommendations

_POPULAR = 0.9
"""A list whose median item more people touched than this share of the catalogue is called popular."""


@dataclass
class _Trace:
    """Seconds and tokens by stage, while they are being spent."""

    seconds: dict[str, float] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = perf_counter() - start


class Recommender:
    """Recommends with a retriever and, where there is one, a language model.

    Args:
        client: an open client; None if there is no model, and then `no_client` says why.
        templates: by task: "rerank", "judge" and "explain".
        exclusions: what some people must not be recommended; they hold for every query, whoever made it.
        fits: what judges are worth; None: the shipped ones.
    """

    def __init__(
        self,
        retriever: Retriever,
        client: LLMClient | None,
        *,
        rerank: RerankSettings,
        explain: ExplainSettings,
        templates: Mapping[str, PromptTemplate],
        no_client: str = "no language model is configured",
        exclusions: Sequence[ExclusionSettings] = (),
        fits: tuple[RerankFit, ...] | None = None,
    ) -> None:
        if rerank.strategy not in RERANKERS:
            raise UsageError(f"no rerank strategy {rerank.strategy!r}", hint=f"one of: {', '.join(RERANKERS)}")
        self.retriever = retriever
        self.store = retriever.store
        self.no_client = no_client
        self.exclusions = tuple(exclusions)
        self.templates = templates
        self.reranking = RerankContext(rerank, templates, client, fits=rerank_fits() if fits is None else fits)
        paths = retriever.graph.between if retriever.graph else None
        self.explaining = ExplainContext(explain, templates["explain"], client, paths)

    @property
    def client(self) -> LLMClient | None:
        """The client of the model; None if there is no model."""
        return self.reranking.client

    async def recommend(
        self,
        query: Query,
        *,
        explain: bool = True,
        language: str | None = None,
        style: str | None = None,
        retrieved: Ranking | None = None,
    ) -> Recommendations:
        """The best `query.k` items of the target domain, with their reasons.

        Args:
            language, style: of the reasons; None: the configured ones.
            retrieved: as `rank`.

        Raises:
            UsageError, SetupError, BackendError: from `rank` and `explain`; never an LLMError.
        """
        answer = await self.rank(query, retrieved)
        if not explain:
            return answer
        start = perf_counter()
        async with aclosing(self.explain(query, answer, language=language, style=style)) as ready:
            items = [item async for item in ready]
        return answer.completed(items, perf_counter() - start)

    def retrieve(self, query: Query) -> Ranking:
        """The candidates that are reranked; where nobody reranks them, no more than are shown.

        Raises: from the retriever.
        """
        allowed = excluding(query, self.exclusions, self.store)
        settings, client = self.reranking.settings, self.client
        reranked = client is not None and settings.strategy != "identity"
        wanted = max(query.k, settings.candidates) if reranked else query.k
        return self.retriever.rank(allowed.model_copy(update={"k": wanted}))

    async def rank(self, query: Query, retrieved: Ranking | None = None) -> Recommendations:
        """The best `query.k` items of the target domain, without reasons.

        Args:
            retrieved: what `retrieve` gave for this query, perhaps on another machine; None: it is asked now.

        Raises:
            UsageError, SetupError, BackendError: from the retriever; never an LLMError.
        """
        trace = _Trace()
        if disclaimer := self.explaining.settings.disclaimers.get(query.target):
            trace.notes.append(disclaimer)  # every answer bears it, with reasons or without
        with trace.stage("retrieval"):
            # In a thread: some 20 ms of arithmetic, in which a service goes on listening.
            if retrieved is None:
                retrieved = await asyncio.to_thread(self.retrieve, query)
        with trace.stage("rerank"):
            reranked = await self._rerank(query, retrieved, trace)
        places = {item_id: place for place, item_id in enumerate(retrieved.ids, 1)}
        items = tuple(
            Recommendation(
                rank=rank,
                item=c.item,
                score=c.score,
                retrieval_rank=places[c.item.id],
                stages=c.stages,
                matches=c.matches,
                confidence=c.confidence,
            )
            for rank, c in enumerate(reranked.ranking.candidates[: query.k], 1)
        )
        trace.notes += _popular(self.retriever, query.target, items)
        return self._answer(query, reranked, items, trace)

    async def explain(
        self, query: Query, answer: Recommendations, *, language: str | None = None, style: str | None = None
    ) -> AsyncGenerator[Recommendation, None]:
        """Each recommendation of the answer with its reason, in the order in which the reasons are ready.

        Closing or cancelling the iteration gives up what the model still works on. `answer.completed` puts the parts
        together again.

        Raises:
            UsageError: there are no templates for the language or the style.
        """
        voice = self.explaining.voice(language, style)
        context = replace(self.explaining, paths=_paths(self.retriever))
        if context.client is None:
            # In one thread: some milliseconds each of searching and checking, in which a service goes on listening.
            reasons = await asyncio.to_thread(
                lambda: [unasked(context, query, o.candidate, voice) for o in answer.items]
            )
            for one, reason in zip(answer.items, reasons, strict=True):
                yield one.model_copy(update={"explanation": reason})
            return
        tasks = [asyncio.create_task(self._explained(context, query, one, voice)) for one in answer.items]
        try:
            for ready in asyncio.as_completed(tasks):
                yield await ready
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _explained(
        self, context: ExplainContext, query: Query, one: Recommendation, voice: Voice
    ) -> Recommendation:
        explanation = await explain_one(context, query, one.candidate, voice)
        return one.model_copy(update={"explanation": explanation})

    async def _rerank(self, query: Query, retrieved: Ranking, trace: _Trace) -> Reranked:
        settings, client = self.reranking.settings, self.client
        if settings.strategy == "identity":
            return Reranked(retrieved)
        if client is None:
            return _degraded(retrieved, self.no_client)
        if settings.strategy == "hybrid" and weight_of(self.reranking) == 0:
            trace.notes.append(
                f"{client.endpoint.model} has weight 0 in hybrid ({_why_none(self.reranking)}):"
                " it was not asked for an order; rerank.weight sets another"
            )
        try:
            async with asyncio.timeout(settings.deadline_s):
                reranked = await RERANKERS[settings.strategy](self.reranking, query, retrieved)
                trace.notes += await _limits(self.reranking, reranked)
        except LLMError as exc:
            return _degraded(retrieved, str(exc))
        except TimeoutError:
            return _degraded(retrieved, f"{client.endpoint.model} gave no order within {settings.deadline_s:g} s")
        trace.usage["rerank"] = reranked.usage
        return reranked

    def _answer(
        self, query: Query, reranked: Reranked, items: tuple[Recommendation, ...], trace: _Trace
    ) -> Recommendations:
        asked = reranked.usage.requests or reranked.usage.cache_hits
        ranking, client = reranked.ranking, self.reranking.client
        return Recommendations(
            user=query.history.user,
            sources=tuple(dict.fromkeys(e.item.domain for e in query.history.entries if e.item.domain != query.target)),
            target=query.target,
            items=items,
            source=ranking.source,
            degraded=ranking.degraded,
            reason=ranking.reason,
            notes=tuple(trace.notes),
            shuffles=reranked.shuffles,
            tau=reranked.tau,
            enough_evidence=reranked.enough_evidence,
            model=client.endpoint.model if client else None,
            seconds=trace.seconds,
            usage=trace.usage,
            templates={"rerank": self.templates[task_of(self.reranking)].fingerprint} if asked else {},
        )


def _paths(retriever: Retriever) -> PathFinder | None:
    """How items hang together, for the reasons of one answer, where there is a graph."""
    return retriever.graph.between_now() if retriever.graph else None


def _popular(retriever: Retriever, target: str, items: Sequence[Recommendation]) -> list[str]:
    """That a list holds what everybody likes, where that can be set otherwise."""
    share = retriever.popularity(target, [one.item.id for one in items])
    if share <= _POPULAR:
        return []
    return [
        f"these are popular: half of them were chosen by more people than {share:.0%} of {target};"
        " retriever.popularity sets how much that counts"
    ]


async def _limits(context: RerankContext, reranked: Reranked) -> list[str]:
    """What the model or its endpoint could not give."""
    client, notes = context.model, []
    if reranked.left_out:
        notes.append(f"{client.endpoint.model} left out {reranked.left_out} candidates: they were put last")
    if reranked.enough_evidence is False:
        notes.append("not enough evidence: the first item cannot be told apart from a random one")
    if reranked.shuffles and asked_judge(context) == "listwise-logprob":
        can = await client.capabilities()
        if not can.exact_label_logprobs:
            notes.append(
                f"{client.endpoint.base_url} reports its {can.top_logprobs} most probable tokens only:"
                " candidates whose label is not among them were put last"
            )
    return notes


def _why_none(context: RerankContext) -> str:
    """Why a model has no say: chosen, measured, or never measured."""
    if context.settings.weight is not None:
        return "as set"
    fit = fit_of(context, judge_of(context))
    if fit is None:
        return "never measured: xdrec-eval fit rerank"
    return f"measured: nDCG@10 {fit.ndcg_alone:.3f}, chance {fit.chance:.3f}, retriever {fit.ndcg_retrieval:.3f}"


def _degraded(retrieved: Ranking, reason: str) -> Reranked:
    return Reranked(retrieved.model_copy(update={"degraded": True, "reason": reason}))
