"""More candidates than a prompt shows. Reads a judge of few, produces a judgement of any number."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Literal

import numpy as np

from retrieval.types import Candidate
from xdrec_agent.llm import Usage, gathered
from xdrec_agent.rerank.context import Judgement

Scheme = Literal["windows", "tournament"]
JudgeFew = Callable[[Sequence[Candidate]], Coroutine[Any, Any, Judgement]]


async def judge_all(judge: JudgeFew, candidates: Sequence[Candidate], size: int, scheme: Scheme) -> Judgement:
    """Judge any number of candidates, `size` (at least 2) at a time.

    If one look is enough it is the judge's own judgement. Else scores are places counted from the end, `shuffles` is
    the mean over the looks, rounded, and `tau` their mean.
    """
    if len(candidates) <= size:
        return await judge(candidates)
    looks: list[Judgement] = []

    async def look(at: Sequence[int]) -> list[int]:
        judgement = await judge([candidates[i] for i in at])
        looks.append(judgement)
        return [at[i] for i in np.argsort(-judgement.scores, kind="stable")]

    run = _windows if scheme == "windows" else _tournament
    order = await run(look, len(candidates), size)
    scores = np.empty(len(order))
    scores[order] = np.arange(len(order), 0, -1)
    return _summed(scores, looks)


Look = Callable[[Sequence[int]], Coroutine[Any, Any, list[int]]]
Run = Callable[[Look, int, int], Awaitable[list[int]]]


async def _windows(look: Look, n: int, size: int) -> list[int]:
    """A window moves up from the bottom by half its size and sorts what it covers (RankGPT, Sun et al. 2023)."""
    order = list(range(n))
    start = n - size
    while True:
        order[start : start + size] = await look(order[start : start + size])
        if start == 0:
            return order
        start = max(0, start - size // 2)


async def _tournament(look: Look, n: int, size: int) -> list[int]:
    """Groups play at the same time; the better half of each goes on until one group is left.

    Who is out is placed below those who went on, by the place in the own group. Groups are dealt like cards, so that
    the retriever's best do not meet in the first round.
    """
    playing, out = list(range(n)), list[int]()
    while len(playing) > size:
        count = -(-len(playing) // size)
        ranked = await gathered(look(playing[deal::count]) for deal in range(count))
        through = [group[: -(-len(group) // 2)] for group in ranked]
        beaten = [group[-(-len(group) // 2) :] for group in ranked]
        out = _by_place(beaten) + out
        playing = sorted(i for group in through for i in group)
    return await look(playing) + out


def _by_place(groups: Sequence[Sequence[int]]) -> list[int]:
    longest = max(len(group) for group in groups)
    return [group[place] for place in range(longest) for group in groups if place < len(group)]


def _summed(scores: np.ndarray, looks: Sequence[Judgement]) -> Judgement:
    usage = Usage()
    for judgement in looks:
        usage += judgement.usage
    taus = [j.tau for j in looks if j.tau is not None]
    return Judgement(
        scores,
        usage,
        shuffles=round(float(np.mean([j.shuffles for j in looks]))),
        tau=float(np.mean(taus)) if taus else None,
        left_out=sum(j.left_out for j in looks),
    )
