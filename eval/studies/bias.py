"""How a model's judgement leans. Reads tasks and a model's listwise prompt, produces a `BiasCard`.

Each user's candidates are shown in several independent random orders. Where an item stands then has nothing to do with
what it is, and what moves with the place is the model's bias. Users are the units of every interval and of the test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eval.data import RerankTask, Say
from eval.stats import MIN_USERS, ScoredTask, calibrate, ndcg, ratio_of_means, tied_ranks
from eval.studies.bias_card import BiasCard, Familiar, Interval, Reliability, SlotScore, Variance
from eval.systems import CONCURRENT_USERS, run_concurrently, task_ndcg
from retrieval.errors import UsageError
from xdrec_agent.errors import LLMError
from xdrec_agent.llm import gathered
from xdrec_agent.rerank import LABELS, RerankContext, kendall_tau, seed_of, shuffle_scores

TAU_BINS: Final = 20
"""Bins of equal width that Kendall's tau in [-1, 1] is counted in."""
EXPECTED: Final = 5
"""Fewest top picks that the chi-square test expects in a bin (Cochran 1954)."""
_DIGITS: Final = 12
"""Decimals that count; what differs by less is noise of floating point."""

Values = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Shuffles:
    """One user's shuffles (rows): by candidate the slot that it stood in, from 0, and its log-probability in nats."""

    slots: Places
    scores: Values


async def bias_card(
    context: RerankContext,
    tasks: Sequence[RerankTask],
    shuffles: int,
    say: Say,
    *,
    counts: Sequence[Values] | None = None,
    familiarity: Sequence[Values] | None = None,
    familiarity_by: Familiar = "log-probability",
    at_once: int = CONCURRENT_USERS,
) -> BiasCard:
    """Show every task's candidates in `shuffles` orders and see what the scores lean on.

    Args:
        tasks: one a user, at least `MIN_USERS`, all with equally many candidates.
        shuffles: at least 2.
        counts: for each task the candidates' training counts, in the order of its ranking.
        familiarity: likewise how well the model knows each title; familiarity_by: what that was taken from.
        at_once: users at a time.

    Raises:
        UsageError: too few users, shuffles or candidates, or lists of different lengths.
        LLMError: the model failed for so many users that fewer than `MIN_USERS` are left.
    """
    _check(tasks, shuffles)
    errors: list[LLMError] = []

    async def one(task: RerankTask) -> Shuffles | None:
        try:
            return await _shown(context, task, shuffles)
        except LLMError as exc:
            errors.append(exc)
            say(f"bias: {exc}")
            return None

    answered = await run_concurrently(tasks, one, "bias", say, at_once)
    kept = [at for at, shown in enumerate(answered) if shown is not None]
    if errors and len(kept) < MIN_USERS:
        raise errors[0]
    return card_of(
        context.model.endpoint.model,
        context.templates["rerank"].fingerprint,
        [tasks[at] for at in kept],
        [shown for shown in answered if shown is not None],
        failed=len(errors),
        counts=None if counts is None else [counts[at] for at in kept],
        familiarity=None if familiarity is None else [familiarity[at] for at in kept],
        familiarity_by=familiarity_by,
    )


def card_of(
    model: str,
    fingerprint: str,
    tasks: Sequence[RerankTask],
    shown: Sequence[Shuffles],
    *,
    failed: int = 0,
    counts: Sequence[Values] | None = None,
    familiarity: Sequence[Values] | None = None,
    familiarity_by: Familiar = "log-probability",
) -> BiasCard:
    """The card of what the shuffles gave; the same for the same scores, always."""
    slots, scores = np.stack([s.slots for s in shown]), np.stack([s.scores for s in shown])
    user_count, shuffles, n = scores.shape
    rng = np.random.default_rng(0)
    truths = np.array([task.truth for task in tasks])
    users = [task.case.user for task in tasks]
    single = np.array([[task_ndcg(row, task) for row in rows] for rows, task in zip(scores, tasks, strict=True)])
    taus = np.array([kendall_tau(rows) for rows in scores], dtype=np.float64)
    picks = scores == scores.max(axis=-1, keepdims=True)
    picked = picks / picks.sum(axis=-1, keepdims=True)
    centred = by_slot(scores - scores.mean(axis=-1, keepdims=True), slots).mean(axis=1)
    bins = min(n, user_count // EXPECTED)
    consensus, probabilities = scores.mean(axis=1), np.exp(scores).mean(axis=1)
    reliability = _reliability(probabilities, truths)
    lengths = [np.array([float(len(c.item.title)) for c in task.ranking.candidates]) for task in tasks]
    return BiasCard(
        model=model,
        template_fingerprint=fingerprint,
        users=user_count,
        failed=failed,
        shuffles=shuffles,
        candidates=n,
        ndcg=interval(single.mean(axis=1), users, rng),
        chance=ndcg(tied_ranks(np.zeros(n), np.array([0])), 10),
        ndcg_by_slot=_ndcg_by_slot(single, slots[np.arange(user_count), :, truths], n, users, rng),
        favour=tuple(interval(favour, users, rng) for favour in centred.T),
        top_share=tuple(by_slot(picked, slots).mean(axis=(0, 1)).tolist()),
        uniform_p=_uniform_p(picks[:, 0], slots[:, 0], bins, rng),
        uniform_bins=bins,
        variance=variance(slots, scores),
        tau=interval(taus, users, rng),
        tau_counts=tuple(np.histogram(taus, TAU_BINS, (-1, 1))[0].tolist()),
        popularity_lift=None if counts is None else _lift(picked.mean(axis=1), np.stack(counts), users, rng),
        length=_correlation(consensus, lengths, users, rng),
        familiarity=None if familiarity is None else _correlation(consensus, familiarity, users, rng),
        familiarity_by=None if familiarity is None else familiarity_by,
        reliability=reliability,
        own_error=sum(abs(r.probability - r.share) * r.candidates for r in reliability) / (user_count * n),
        fitted_error=calibrate([ScoredTask(s, int(t)) for s, t in zip(consensus, truths, strict=True)]).error,
    )


def by_slot(values: NDArray[Any], slots: Places) -> Values:
    """What was by candidate (last axis) by the slot that each stood in."""
    found = np.empty(values.shape)
    np.put_along_axis(found, slots, values, axis=-1)
    return found


def interval(
    values: Values, users: Sequence[str], rng: np.random.Generator, denominator: Values | None = None
) -> Interval:
    """Mean over cases, or ratio of two means, with its interval over users."""
    found = ratio_of_means(values, np.ones_like(values) if denominator is None else denominator, users, rng)
    low, high = (found.low, found.high) if found.users >= MIN_USERS else (None, None)
    return Interval(value=found.value, low=low, high=high, people=found.users, cases=found.cases)


def variance(slots: Places, scores: Values) -> Variance | None:
    """The components of scores of users × shuffles × candidates; None if all scores of every shuffle are equal.

    Items are eliminated first: within an item's shuffles its worth cancels, and the slots' favours solve the normal
    equations that are left. Every shuffle holds every slot and every item once, so its own level plays no part.
    """
    user_count, shuffles, n = scores.shape
    centred = scores - scores.mean(axis=-1, keepdims=True)
    if np.allclose(centred, 0, rtol=0, atol=10.0**-_DIGITS):
        return None
    stood = (slots[..., None] == np.arange(n)).sum(axis=1).astype(np.float64)
    means = centred.mean(axis=1)
    equations = user_count * shuffles * np.eye(n) - np.einsum("uip,uiq->pq", stood, stood) / shuffles
    # Favours are known up to a constant, so one eigenvalue is 0 and must not be taken for a small one.
    inverse = np.linalg.pinv(equations, rtol=1e-9, hermitian=True)
    favour = inverse @ (by_slot(centred, slots).sum(axis=(0, 1)) - np.einsum("uip,ui->p", stood, means))
    worth = means - stood @ favour / shuffles
    left = centred - worth[:, None, :] - favour[slots]
    noise = float((left**2).sum() / ((n - 1) * (user_count * (shuffles - 1) - 1)))
    # Sum over a user's items of the variance of their fitted worth, in units of the noise.
    unsure = (n - 1) / shuffles + np.einsum("uip,pq,uiq->", stood, inverse, stood) / (user_count * shuffles**2)
    return Variance(
        slot=float((favour @ favour - noise * np.trace(inverse)) / (n - 1)),
        item=float(((worth**2).sum() / user_count - noise * unsure) / (n - 1)),
        rest=noise,
    )


async def _shown(context: RerankContext, task: RerankTask, shuffles: int) -> Shuffles:
    """A user's shuffles; the first order is the one that reranking shows first, so that its reply may be cached."""
    candidates = task.ranking.candidates
    rng = np.random.default_rng(seed_of(task.query, context.settings.seed))
    orders = np.array([rng.permutation(len(candidates)) for _ in range(shuffles)])
    answers = await gathered(shuffle_scores(context, task.query, candidates, order) for order in orders)
    slots = np.argsort(orders, axis=1)
    logprobs = np.array([found for found, _ in answers])
    return Shuffles(slots, np.take_along_axis(logprobs, slots, axis=1))


def _check(tasks: Sequence[RerankTask], shuffles: int) -> None:
    if len({task.case.user for task in tasks}) < max(MIN_USERS, len(tasks)):
        raise UsageError(f"a bias card needs one task each of at least {MIN_USERS} users", hint="ask for more users")
    if shuffles < 2:
        raise UsageError("a bias card needs at least 2 shuffles a user", hint="--shuffles 4")
    sizes = {len(task.ranking.candidates) for task in tasks}
    if len(sizes) > 1 or not 3 <= min(sizes) <= len(LABELS):
        raise UsageError(
            f"a bias card needs equally many candidates for every user, 3 to {len(LABELS)}; here are {sorted(sizes)}",
            hint="show every user 20 candidates",
        )


def _ndcg_by_slot(
    single: Values, stood: Places, n: int, users: Sequence[str], rng: np.random.Generator
) -> tuple[SlotScore, ...]:
    """Means of `single` (users × shuffles) by the slot that the truth `stood` in, or by thirds of the slots."""
    behind = [np.count_nonzero((stood == slot).any(axis=1)) for slot in range(n)]
    groups = np.array_split(np.arange(n), n if min(behind) >= MIN_USERS else 3)
    whose = np.repeat(np.asarray(users), single.shape[1]).reshape(single.shape)
    found = []
    for group in groups:
        there = np.isin(stood, group)
        if there.any():
            score = interval(single[there], whose[there].tolist(), rng)
            found.append(SlotScore(first=int(group[0]) + 1, last=int(group[-1]) + 1, ndcg=score))
    return tuple(found)


def _uniform_p(picks: NDArray[np.bool_], slots: Places, bins: int, rng: np.random.Generator) -> float:
    """P-value of one shuffle's top picks (users × candidates) by slot against uniform, in `bins` groups of slots."""
    from scipy.stats import chisquare

    user_count, n = picks.shape
    pick = np.argmax(picks * (1 - rng.random(picks.shape)), axis=1)
    counts = np.bincount(slots[np.arange(user_count), pick], minlength=n)
    groups = np.array_split(np.arange(n), bins)
    expected = [user_count * len(group) / n for group in groups]
    return float(chisquare([counts[group].sum() for group in groups], expected).pvalue)


def _lift(picked: Values, counts: Values, users: Sequence[str], rng: np.random.Generator) -> Interval | None:
    candidates = counts.mean(axis=1)
    if not candidates.any():
        return None
    return interval((picked * counts).sum(axis=1), users, rng, candidates)


def _correlation(
    scores: Values, traits: Sequence[Values], users: Sequence[str], rng: np.random.Generator
) -> Interval | None:
    """Mean over users of Spearman's correlation of scores with a trait; without users for whom one is constant."""
    from scipy.stats import spearmanr

    differing = [at for at, trait in enumerate(traits) if np.ptp(trait) > 0 and np.ptp(scores[at]) > 10.0**-_DIGITS]
    if not differing:
        return None
    found = np.array([spearmanr(np.round(scores[at], _DIGITS), traits[at]).statistic for at in differing])
    return interval(found, [users[at] for at in differing], rng)


def _reliability(probabilities: Values, truths: Places) -> tuple[Reliability, ...]:
    """Ten equal bins of all candidates by probability."""
    probability = probabilities.ravel()
    liked = (np.arange(probabilities.shape[1]) == truths[:, None]).ravel()
    bins = np.array_split(np.argsort(probability, kind="stable"), 10)
    return tuple(
        Reliability(probability=float(probability[b].mean()), share=float(liked[b].mean()), candidates=len(b))
        for b in bins
    )
