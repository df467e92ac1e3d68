"""The table of strategies. Reads a query and the retriever's ranking, produces a `Reranked`.

The first `candidates` of the ranking are reranked; the rest keeps its places below them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import numpy as np

from retrieval.errors import UsageError
from retrieval.types import Candidate, Query, Ranking
from xdrec_agent.llm import Usage
from xdrec_agent.rerank.context import Judge, Judgement, RerankContext, Reranked, Reranker, Scores, standardised
from xdrec_agent.rerank.fits import Calibration, RerankFit, find_fit
from xdrec_agent.rerank.judges import listwise_generate, listwise_logprob, pointwise_logprob
from xdrec_agent.rerank.windows import judge_all

JUDGES: Final[Mapping[str, Judge]] = {
    "listwise-logprob": listwise_logprob,
    "pointwise-logprob": pointwise_logprob,
    "listwise-generate": listwise_generate,
}
"""What can judge candidates, by name."""

TASK_OF: Final[Mapping[str, str]] = {
    "listwise-logprob": "rerank",
    "pointwise-logprob": "judge",
    "listwise-generate": "rerank",
}
"""The task of the template that a judge shows candidates with."""


async def identity(_context: RerankContext, _query: Query, ranking: Ranking) -> Reranked:
    """The retriever's order."""
    return Reranked(ranking)


async def judged(name: str, context: RerankContext, query: Query, ranking: Ranking) -> Reranked:
    """The order of the judge `name` alone."""
    if not ranking.candidates:
        return Reranked(ranking)
    judgement = await _judge(name, context, query, ranking.candidates[: context.settings.candidates])
    fit = fit_of(context, name)
    return _reranked(name, ranking, judgement, judgement.scores, fit.alone if fit else None)


async def hybrid(context: RerankContext, query: Query, ranking: Ranking) -> Reranked:
    """Order by (1-w)·retrieval + w·judge, each standardised over the candidates.

    Judge and weight are the settings', else the ones fitted for the model on validation users, else listwise-logprob
    with weight 0. At 0 the model has nothing to say and is not asked.
    """
    if not ranking.candidates:
        return Reranked(ranking)
    name, weight = judge_of(context), weight_of(context)
    fit = fit_of(context, name)
    calibration = fit.hybrid if fit and fit.weight == weight else None
    head = ranking.candidates[: context.settings.candidates]
    retrieval = np.array([c.score for c in head])
    if weight == 0:
        return _reranked("hybrid", ranking, Judgement(retrieval, Usage(), shuffles=0), retrieval, calibration)
    judgement = await _judge(name, context, query, head)
    fused = (1 - weight) * standardised(retrieval) + weight * standardised(judgement.scores)
    return _reranked("hybrid", ranking, judgement, fused, calibration)


RERANKERS: Final[Mapping[str, Reranker]] = {
    "identity": identity,
    **{name: partial(judged, name) for name in JUDGES},
    "hybrid": hybrid,
}
"""The strategies by the name that settings, CLI and API use."""


def judge_of(context: RerankContext) -> str:
    """The judge that `hybrid` listens to. Raises UsageError for a name that is none."""
    name = context.settings.judge
    if name is not None and name not in JUDGES:
        raise UsageError(f"no judge {name!r}", hint=f"rerank.judge is one of: {', '.join(JUDGES)}")
    if name is not None:
        return name
    fits = [fit for fit in (fit_of(context, judge) for judge in JUDGES) if fit is not None]
    return max(fits, key=lambda fit: fit.ndcg_hybrid).judge if fits else "listwise-logprob"


def weight_of(context: RerankContext) -> float:
    """The judge's weight in `hybrid`, in [0, 1]."""
    if context.settings.weight is not None:
        return context.settings.weight
    fit = fit_of(context, judge_of(context))
    return fit.weight if fit else 0.0


def task_of(context: RerankContext) -> str:
    """The task of the template that the configured strategy shows candidates with."""
    return TASK_OF.get(asked_judge(context), "rerank")


def asked_judge(context: RerankContext) -> str:
    """The judge that the configured strategy asks; "identity" asks none and is its own name."""
    strategy = context.settings.strategy
    return judge_of(context) if strategy == "hybrid" else strategy


def fit_of(context: RerankContext, judge: str) -> RerankFit | None:
    """What was fitted for the model with this judge and its template; None if nobody has measured it."""
    if context.client is None:
        return None
    template = context.templates[TASK_OF[judge]].fingerprint
    return find_fit(context.fits, context.client.endpoint.model, template, judge)


async def _judge(name: str, context: RerankContext, query: Query, head: tuple[Candidate, ...]) -> Judgement:
    judge = partial(JUDGES[name], context, query)
    if name == "pointwise-logprob":
        return await judge(head)
    return await judge_all(judge, head, context.settings.window, context.settings.scheme)


def _reranked(
    source: str, ranking: Ranking, judgement: Judgement, final: Scores, calibration: Calibration | None
) -> Reranked:
    """The head in the order of `final`, best first; equal scores keep the retriever's order."""
    head, tail = ranking.candidates[: len(final)], ranking.candidates[len(final) :]
    certain = standardised(final)
    confidence = calibration.of(certain) if calibration else None
    changed = []
    for i in np.argsort(-final, kind="stable"):
        asked = {"llm": float(judgement.scores[i])} if judgement.shuffles else {}
        changes = {"score": float(final[i]), "stages": head[i].stages | asked}
        if confidence is not None:
            changes["confidence"] = float(confidence[i])
        changed.append(head[i].model_copy(update=changes))
    return Reranked(
        Ranking(candidates=(*changed, *tail), source=source),
        judgement.usage,
        judgement.shuffles,
        judgement.tau,
        judgement.left_out,
        calibration.tells_apart(float(certain.max())) if calibration else None,
    )
