"""Judging many tasks. Reads tasks and a judge, produces each task's judgement, many users at a time.

How many users are in flight and how progress is told is decided here for all measurements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from eval.data import RerankTask, Say
from eval.stats import ndcg, tied_ranks
from xdrec_agent.errors import LLMError
from xdrec_agent.llm import gathered
from xdrec_agent.rerank import JUDGES, Judgement, RerankContext

CONCURRENT_USERS: Final = 16
"""Users in flight."""
EVERY_S: Final = 10.0
"""Seconds between two lines about progress."""

T = TypeVar("T")
R = TypeVar("R")


async def run_concurrently(
    things: Sequence[T],
    work: Callable[[T], Awaitable[R]],
    what: str,
    say: Say,
    at_once: int = CONCURRENT_USERS,
    *,
    unit: str = "users",
) -> list[R]:
    """Do the work for all, `at_once` at a time, and say how far it is; what came of it, in order."""
    turn, progress = asyncio.Semaphore(at_once), ProgressLines(what, len(things), say, unit=unit)

    async def one(thing: T) -> R:
        async with turn:
            done = await work(thing)
        progress.one_more()
        return done

    return await gathered(one(thing) for thing in things)


@dataclass(frozen=True)
class JudgedTask:
    """A task, what the judge said (None: it failed), and how long that took."""

    task: RerankTask
    judgement: Judgement | None
    seconds: float

    @property
    def ndcg(self) -> float:
        """nDCG@10 of the judge's order; of the retriever's, which stands, where it failed."""
        scores = self.task.retrieval if self.judgement is None else self.judgement.scores
        return task_ndcg(scores, self.task)


def task_ndcg(scores: NDArray[np.float64], task: RerankTask) -> float:
    """nDCG@10 of scores of a task's candidates."""
    return ndcg(tied_ranks(scores, np.array([task.truth])), 10)


def single_shuffle(context: RerankContext) -> RerankContext:
    """The context of a judge that is shown each list in one order."""
    settings = context.settings.model_copy(update={"min_shuffles": 1, "max_shuffles": 1})
    return replace(context, settings=settings)


async def judge_tasks(
    context: RerankContext, judges: Sequence[str], tasks: Sequence[RerankTask], at_once: int, say: Say
) -> dict[str, list[JudgedTask]]:
    """Have every judge judge all, `at_once` users at a time; by judge, in the order of `tasks`.

    A user's judges follow each other, so that those with the same prompt profit from the server's prefix cache.
    """

    async def one(task: RerankTask) -> list[JudgedTask]:
        return [await _judge(context, judge, task, say) for judge in judges]

    by_task = await run_concurrently(tasks, one, ", ".join(judges), say, at_once)
    return {judge: [said[at] for said in by_task] for at, judge in enumerate(judges)}


async def _judge(context: RerankContext, judge: str, task: RerankTask, say: Say) -> JudgedTask:
    began = perf_counter()
    judgement: Judgement | None = None
    try:
        judgement = await JUDGES[judge](context, task.query, task.ranking.candidates)
    except LLMError as exc:
        say(f"{judge}: {exc}")
    return JudgedTask(task, judgement, perf_counter() - began)


class ProgressLines:
    """Says now and then how far it is and how long it will take."""

    def __init__(
        self, what: str, total: int, say: Say, clock: Callable[[], float] = perf_counter, *, unit: str = "users"
    ) -> None:
        self._what, self._total, self._say, self._clock, self._unit = what, total, say, clock, unit
        self._began = self._said = clock()
        self._done = 0

    def one_more(self) -> None:
        """Another one is done."""
        self._done += 1
        now = self._clock()
        if now - self._said < EVERY_S and self._done < self._total:
            return
        self._said = now
        left = (now - self._began) / self._done * (self._total - self._done)
        self._say(f"{self._what}: {self._done:,} of {self._total:,} {self._unit}, {left:,.0f} s left")
