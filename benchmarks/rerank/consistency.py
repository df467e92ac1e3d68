"""How many shuffles are enough. Reads tasks, produces the requests that the stopping rule saves, and at what agreement.

The consensus of 16 independent shuffles stands for what the model thinks. Eight fixed shuffles and the stopping rule
each draw their own; agreement is the share of the consensus's top 5 that they have in theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, figure
from eval.data import RerankTask, Say
from eval.stats import mean
from xdrec_agent.llm import gathered
from xdrec_agent.rerank import TOP, RerankContext, Scores, kendall_tau, listwise_logprob, seed_of, shuffle_scores

CONSENSUS: Final = 16
FIXED: Final = 8


async def consistency_figures(context: RerankContext, tasks: Sequence[RerankTask], say: Say) -> list[Figure]:
    """Agreement and requests of the two ways, and Kendall's tau between single shuffles."""
    rows: list[tuple[float, float, float, float]] = []
    for at, task in enumerate(tasks, 1):
        say(f"shuffles: user {at} of {len(tasks)}")
        rng = np.random.default_rng(seed_of(task.query, context.settings.seed + 1))
        independent = await _independent(context, task, CONSENSUS + FIXED, rng)
        consensus = _top(independent[:CONSENSUS].mean(axis=0))
        ours = await listwise_logprob(context, task.query, task.ranking.candidates)
        fixed_agreement = _overlap(_top(independent[CONSENSUS:].mean(axis=0)), consensus)
        agreement, tau_of_user = _overlap(_top(ours.scores), consensus), kendall_tau(independent) or 0.0
        rows.append((fixed_agreement, agreement, float(ours.shuffles), tau_of_user))
    fixed, adaptive, used, tau = np.array(rows).T
    n, users = len(tasks), [task.case.user for task in tasks]
    rng = np.random.default_rng(0)
    difference = mean(adaptive - fixed, users, rng)
    beside = f"difference {difference.value:+.3f} {difference}; chance {TOP / 20:.2f}"
    agreed = float(adaptive.mean())
    return [
        figure("tau between single shuffles", float(tau.mean()), "", n, str(mean(tau, users, rng))),
        figure(f"{FIXED} fixed shuffles, top-{TOP} agreement", float(fixed.mean()), "", n),
        figure(f"stopping rule, top-{TOP} agreement", agreed, "", n, beside, "as fixed", difference.high >= 0),
        figure("stopping rule, shuffles a user", float(used.mean()), "", n),
        figure("stopping rule, saved", float(1 - used.mean() / FIXED), "share", n, target=">= .40"),
    ]


async def _independent(context: RerankContext, task: RerankTask, count: int, rng: np.random.Generator) -> Scores:
    """Scores of independent shuffles (rows) of the candidates (columns), as the model gave them."""
    candidates = task.ranking.candidates
    orders = [rng.permutation(len(candidates)) for _ in range(count)]
    answers = await gathered(shuffle_scores(context, task.query, candidates, order) for order in orders)
    found = np.empty((count, len(candidates)))
    for row, order, (scores, _) in zip(found, orders, answers, strict=True):
        row[order] = scores
    return found


def _top(scores: Scores) -> NDArray[np.int64]:
    return np.argsort(-scores, kind="stable")[:TOP]


def _overlap(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    return len(np.intersect1d(a, b)) / TOP
