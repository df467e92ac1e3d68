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

    A single window gives the judge's own judgement. Else scores are places counted from the end, `shuffles` is the mean
    over the windows, rounded, and `tau` their mean.
    """
    if len(candidates) <= size:
        return await judge(candidates)
    judgements: list[Judgement] = []

    async def judge_window(rows: Sequence[int]) -> list[int]:
        judgement = await judge([candidates[i] for i in rows])
        judgements.append(judgement)
        return [rows[i] for i in np.argsort(-judgement.scores, kind="stable")]

    run = _windows if scheme == "windows" else _tournament
    order = await run(judge_window, len(candidates), size)
    scores = np.empty(len(order))
    scores[order] = np.arange(len(order), 0, -1)
    return _summed(scores, judgements)


JudgeWindow = Callable[[Sequence[int]], Coroutine[Any, Any, list[int]]]
Run = Callable[[JudgeWindow, int, int], Awaitable[list[int]]]


async def _windows(judge_window: JudgeWindow, n: int, size: int) -> list[int]:
    """A window moves up from the bottom by half its size and sorts what it covers (RankGPT, Sun et al. 2023)."""
    order = list(range(n))
    start = n - size
    while True:
        order[start : start + size] = await judge_window(order[start : start + size])
        if start == 0:
            return order
        start = max(0, start - size // 2)


async def _tournament(judge_window: JudgeWindow, n: int, size: int) -> list[int]:
    """Groups play at the same time; the better half of each goes on until one group is left.

    Candidates that drop out are placed below those that go on, by their place in their group. Groups are dealt like
    cards, so that the retriever's best do not meet in the first round.
    """
    playing, out = list(range(n)), list[int]()
    while len(playing) > size:
        count = -(-len(playing) // size)
        ranked = await gathered(judge_window(playing[deal::count]) for deal in range(count))
        through = [group[: -(-len(group) // 2)] for group in ranked]
        beaten = [group[-(-len(group) // 2) :] for group in ranked]
        out = _by_place(beaten) + out
        playing = sorted(i for group in through for i in group)
    return await judge_window(playing) + out


def _by_place(groups: Sequence[Sequence[int]]) -> list[int]:
    longest = max(len(group) for group in groups)
    return [group[place] for place in range(longest) for group in groups if place < len(group)]


def _summed(scores: np.ndarray, judgements: Sequence[Judgement]) -> Judgement:
    usage = Usage()
    for judgement in judgements:
        usage += judgement.usage
    taus = [j.tau for j in judgements if j.tau is not None]
    return Judgement(
        scores,
        usage,
        shuffles=round(float(np.mean([j.shuffles for j in judgements]))),
        tau=float(np.mean(taus)) if taus else None,
        left_out=sum(j.left_out for j in judgements),
    )
