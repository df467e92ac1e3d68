"""The recommender. Reads a `Query`, produces `Recommendations`: retrieve, rerank, explain, log.

A failing model never fails the answer: the retriever's order stands, marked as degraded and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

from anyio import to_thread

from retrieval.errors import UsageError
from retrieval.ranking import Retriever, apply_exclusions
from retrieval.settings import ExclusionSettings
from retrieval.templates import PromptTemplate
from retrieval.types import Query, Ranking
from xdrec_agent.errors import LLMError
from xdrec_agent.explain import ExplainContext, explain_candidate, explain_without_model
from xdrec_agent.grounding import PathFinder
from xdrec_agent.llm import LLMClient, Usage
from xdrec_agent.recommend.recommendation_log import RecommendationLog
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
from xdrec_agent.settings import ExplainSettings, RerankSettings
from xdrec_agent.types import Recommendation, Recommendations

_POPULAR = 0.9
"""A list is called popular if its median item is better known than this share of the catalogue."""


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
        exclusions: what some users must not be recommended; they hold for every query, whoever made it.
        fits: what judges are worth; None: the shipped ones.
        log: where answers are kept, each under a new id; None: nowhere, and answers have no id.
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
        log: RecommendationLog | None = None,
    ) -> None:
        if rerank.strategy not in RERANKERS:
            raise UsageError(f"no rerank strategy {rerank.strategy!r}", hint=f"one of: {', '.join(RERANKERS)}")
        self.retriever = retriever
        self.store = retriever.store
        self.no_client = no_client
        self.exclusions = tuple(exclusions)
        self.templates = templates
        self.log = log
        self.rerank_context = RerankContext(rerank, templates, client, fits=rerank_fits() if fits is None else fits)
        paths = retriever.graph.paths_between if retriever.graph else None
        self.explain_context = ExplainContext(explain, templates["explain"], client, paths)

    @property
    def client(self) -> LLMClient | None:
        """The client of the model; None if there is no model."""
        return self.rerank_context.client

    async def recommend(
        self,
        query: Query,
        *,
        explain: bool = True,
        language: str | None = None,
        style: str | None = None,
        retrieved: Ranking | None = None,
        arm: str = "",
    ) -> Recommendations:
        """The best `query.k` items of the target domain, with their reasons; logged when it is complete.

        Args:
            language, style: of the reasons; None: the configured ones.
            retrieved: as `rank`.
            arm: as `logged`.

        Raises:
            UsageError, SetupError, BackendError: from `rank` and `explain`; never an LLMError.
        """
        query, answer = await self._rank(query, retrieved)
        if explain:
            start = perf_counter()
            async with aclosing(self.explain(query, answer, language=language, style=style)) as ready:
                items = [item async for item in ready]
            answer = answer.completed(items, perf_counter() - start)
        return await self.logged(query, answer, arm)

    async def stream(
        self,
        query: Query,
        *,
        explain: bool = True,
        language: str | None = None,
        style: str | None = None,
        arm: str = "",
    ) -> AsyncGenerator[Recommendations | Recommendation, None]:
        """The ranking, logged; each recommendation again with its reason, as it is written; the complete answer.

        Without `explain` the ranking is the complete answer.

        Closing or cancelling it gives up what the model still works on. Arguments and errors: as `recommend`.
        """
        query, answer = await self._rank(query)
        answer = await self.logged(query, answer, arm)
        yield answer
        if not explain:
            return
        start, items = perf_counter(), []
        async with aclosing(self.explain(query, answer, language=language, style=style)) as ready:
            async for item in ready:
                items.append(item)
                yield item
        yield await self.logged(query, answer.completed(items, perf_counter() - start), arm)

    async def logged(self, query: Query, answer: Recommendations, arm: str = "") -> Recommendations:
        """The answer with its id in the log, which has it from now on; as it is where nothing is logged.

        Args:
            answer: one that has an id replaces what is logged under it.
            arm: of an online comparison; empty: of none.

        Raises:
            StoreError: the log cannot be written.
        """
        log = self.log
        if log is None:
            return answer
        # Not in the pool of the arithmetic: waiting for the database would keep a processor idle.
        if answer.id is not None:
            await to_thread.run_sync(log.update, answer.id, answer)
            return answer
        id_ = await to_thread.run_sync(lambda: log.add(query, answer, arm=arm))
        return answer.model_copy(update={"id": id_})

    def retrieve(self, query: Query) -> Ranking:
        """The candidates that are reranked; where nothing reranks them, no more than are shown.

        Raises: from the retriever.
        """
        return self._retrieve(query)[1]

    def _retrieve(self, query: Query) -> tuple[Query, Ranking]:
        """The query with the exclusions in its filter, and its candidates."""
        query = apply_exclusions(query, self.exclusions, self.store)
        settings = self.rerank_context.settings
        reranked = self.client is not None and settings.strategy != "identity"
        count = max(query.k, settings.candidates) if reranked else query.k
        return query, self.retriever.rank(query.model_copy(update={"k": count}))

    async def rank(self, query: Query, retrieved: Ranking | None = None) -> Recommendations:
        """The best `query.k` items of the target domain, without reasons.

        Args:
            retrieved: what `retrieve` gave for this query, perhaps on another machine; None: retrieve now.

        Raises:
            UsageError, SetupError, BackendError: from the retriever; never an LLMError.
        """
        return (await self._rank(query, retrieved))[1]

    async def _rank(self, query: Query, retrieved: Ranking | None = None) -> tuple[Query, Recommendations]:
        """The query as it was answered, with the exclusions in its filter, and the answer."""
        trace = _Trace()
        if disclaimer := self.explain_context.settings.disclaimers.get(query.target):
            trace.notes.append(disclaimer)  # every answer bears it, with reasons or without
        with trace.stage("retrieval"):
            if retrieved is None:
                # In a thread: some 20 ms of arithmetic, during which a service goes on listening.
                query, ranking = await asyncio.to_thread(self._retrieve, query)
            else:
                ranking = retrieved
        with trace.stage("rerank"):
            reranked = await self._rerank(query, ranking, trace)
        ranks = {item_id: rank for rank, item_id in enumerate(ranking.ids, 1)}
        items = tuple(
            Recommendation(
                rank=rank,
                item=candidate.item,
                score=candidate.score,
                retrieval_rank=ranks[candidate.item.id],
                stages=candidate.stages,
                matches=candidate.matches,
                confidence=candidate.confidence,
            )
            for rank, candidate in enumerate(reranked.ranking.candidates[: query.k], 1)
        )
        trace.notes += _popularity_note(self.retriever, query.target, items)
        return query, self._answer(query, reranked, items, trace)

    async def explain(
        self, query: Query, answer: Recommendations, *, language: str | None = None, style: str | None = None
    ) -> AsyncGenerator[Recommendation, None]:
        """Each recommendation of the answer with its reason, in the order in which the reasons are ready.

        Closing or cancelling the iteration gives up what the model still works on. `answer.completed` puts the parts
        together again.

        Raises:
            UsageError: there are no templates for the language or the style.
        """
        locale = self.explain_context.locale(language, style)
        context = replace(self.explain_context, paths=_paths(self.retriever))
        if context.client is None:
            # In one thread: some milliseconds each of searching and checking, in which a service goes on listening.
            reasons = await asyncio.to_thread(
                lambda: [explain_without_model(context, query, item.candidate, locale) for item in answer.items]
            )
            for item, reason in zip(answer.items, reasons, strict=True):
                yield item.model_copy(update={"explanation": reason})
            return

        async def explained(item: Recommendation) -> Recommendation:
            reason = await explain_candidate(context, query, item.candidate, locale)
            return item.model_copy(update={"explanation": reason})

        tasks = [asyncio.create_task(explained(item)) for item in answer.items]
        try:
            for ready in asyncio.as_completed(tasks):
                yield await ready
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _rerank(self, query: Query, retrieved: Ranking, trace: _Trace) -> Reranked:
        settings, client = self.rerank_context.settings, self.client
        if settings.strategy == "identity":
            return Reranked(retrieved)
        if client is None:
            return _degraded(retrieved, self.no_client)
        if settings.strategy == "hybrid" and weight_of(self.rerank_context) == 0:
            trace.notes.append(
                f"{client.endpoint.model} has weight 0 in hybrid ({_why_no_weight(self.rerank_context)}):"
                " it was not asked for an order; rerank.weight sets another"
            )
        try:
            async with asyncio.timeout(settings.deadline_s):
                reranked = await RERANKERS[settings.strategy](self.rerank_context, query, retrieved)
                trace.notes += await _endpoint_notes(self.rerank_context, reranked)
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
        ranking, client = reranked.ranking, self.rerank_context.client
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
            templates={"rerank": self.templates[task_of(self.rerank_context)].fingerprint} if asked else {},
        )


def _paths(retriever: Retriever) -> PathFinder | None:
    """How items hang together, for the reasons of one answer, where there is a graph."""
    return retriever.graph.path_finder() if retriever.graph else None


def _popularity_note(retriever: Retriever, target: str, items: Sequence[Recommendation]) -> list[str]:
    """That a list holds what everybody likes, where that can be set otherwise."""
    share = retriever.popularity_percentile(target, [one.item.id for one in items])
    if share <= _POPULAR:
        return []
    return [
        f"these are popular: half of them were chosen by more people than {share:.0%} of {target};"
        " retriever.popularity sets how much that counts"
    ]


async def _endpoint_notes(context: RerankContext, reranked: Reranked) -> list[str]:
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


def _why_no_weight(context: RerankContext) -> str:
    """Why a model has no say: chosen, measured, or never measured."""
    if context.settings.weight is not None:
        return "as set"
    fit = fit_of(context, judge_of(context))
    if fit is None:
        return "never measured: xdrec-eval fit rerank"
    return f"measured: nDCG@10 {fit.ndcg_alone:.3f}, chance {fit.chance:.3f}, retriever {fit.ndcg_retrieval:.3f}"


def _degraded(retrieved: Ranking, reason: str) -> Reranked:
    return Reranked(retrieved.model_copy(update={"degraded": True, "reason": reason}))
