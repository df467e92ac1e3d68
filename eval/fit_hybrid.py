"""The model's weight in `hybrid`. Reads validation cases and a running model, produces a `HybridFit`.

Each case has one truth item and 19 count-matched others. Retrieval scores and label log-probabilities are standardised
over the 20 and mixed; the weight with the best mean nDCG@10 is taken, if its paired gain over the retriever alone has a
95% bootstrap interval (users as units) above zero. Otherwise the weight is 0: the model has not earned a say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.datasets import Dataset, Say
from eval.intervals import mean
from eval.metrics import ndcg, places
from eval.negatives import Choice, count_matched
from eval.protocol import cases, fold, histories, training_popularity
from retrieval.retriever import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import Candidate, Query
from xdrec_agent.fitted import HybridFit
from xdrec_agent.llm import LLMClient
from xdrec_agent.rerank import RerankContext, label_scores, standardised

FOLDS: Final = 5
TEST_FOLD: Final = 4
"""Users of this fold are never fitted on."""
GRID: Final = np.linspace(0, 1, 21)
CHANCE_OF_20: Final = float(np.mean([1 / np.log2(place + 1) if place <= 10 else 0 for place in range(1, 21)]))

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """The two scores of a case's candidates and where the truth is among them."""

    user: str
    truth: int
    retrieval: Scores
    llm: Scores

    def ndcg(self, weight: float) -> float:
        """nDCG@10 of the mixture."""
        fused = (1 - weight) * standardised(self.retrieval) + weight * standardised(self.llm)
        return ndcg(places(fused, np.array([self.truth])), 10)


async def fit_hybrid(
    data: Dataset, context: RerankContext, client: LLMClient, users: int, seed: int, say: Say
) -> HybridFit:
    """Fit on `users` validation users, one case each.

    Raises:
        LLMError: the model failed; nothing is fitted from a part.
    """
    rng = np.random.default_rng(seed)
    chosen = _choices(data, users, rng)
    scored: list[Scored] = []
    for at, choice in enumerate(chosen):
        if at % 10 == 0:
            say(f"user {at} of {len(chosen)}")
        scored.append(await _score(data, context, choice))
    by_weight = {float(w): np.array([s.ndcg(float(w)) for s in scored]) for w in GRID}
    best = max(by_weight, key=lambda w: (by_weight[w].mean(), -w))
    gain = mean(by_weight[best] - by_weight[0.0], [s.user for s in scored], rng)
    weight = best if gain.low > 0 else 0.0
    say(f"best weight {best:.2f}: gain in nDCG@10 over the retriever {gain}")
    return HybridFit(
        model=client.endpoint.model,
        template_fingerprint=context.template.fingerprint,
        weight=weight,
        shuffles=context.settings.shuffles,
        users=len(scored),
        ndcg_retrieval=float(by_weight[0.0].mean()),
        ndcg_llm=float(by_weight[1.0].mean()),
        ndcg_hybrid=float(by_weight[weight].mean()),
        chance=CHANCE_OF_20,
        provenance=f"xdrec-eval fit hybrid --users {users} --seed {seed}; best weight {best:.2f}, gain {gain}",
    )


def _choices(data: Dataset, users: int, rng: np.random.Generator) -> Sequence[Choice]:
    people = list(histories(data.store))
    popularity = training_popularity(people, FOLDS)
    ids = {domain: list(data.index.snapshot(domain).positions) for domain in data.domains}
    order = rng.permutation(len(people))
    chosen: list[Choice] = []
    for person in (people[i] for i in order):
        mine = fold(person.user or "", FOLDS)
        found = list(cases(person, data.domains)) if mine != TEST_FOLD else []
        if not found:
            continue
        case = found[int(rng.integers(len(found)))]
        known = frozenset(e.item.id for e in person.entries if e.item.domain == case.target)
        chosen.append(count_matched(case, known, popularity[mine][case.target], ids[case.target], rng))
        if len(chosen) == users:
            break
    return chosen


async def _score(data: Dataset, context: RerankContext, choice: Choice) -> Scored:
    query = Query(history=choice.case.history, target=choice.case.target)
    rows = data.index.snapshot(choice.case.target).rows(choice.candidates)
    retrieval = Retriever(data.store, data.index, RetrieverSettings()).scores(query)[1][rows].astype(np.float64)
    items = data.store.items(choice.case.target, choice.candidates)
    candidates = [Candidate(item=items[i], score=float(s)) for i, s in zip(choice.candidates, retrieval, strict=True)]
    llm, _ = await label_scores(context, query, candidates)
    return Scored(choice.case.user, choice.candidates.index(choice.truth), retrieval, llm)
