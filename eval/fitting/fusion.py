"""Weights of the retriever's sources. Reads what each says of what people picked, produces a `FusionFit`.

A conditional logit (McFadden 1974): each liked truth item against items drawn from the same catalogue, all *seen* by
the training users or all *unseen*, as the truth is. So nothing is learnt from the shortcut that every item without an
interaction must have been bought by a test user, and an unseen item's weights are those of text and words alone.

Weights are cross-fitted over the parts of `eval.data.protocols.fitting_fold`: next to an encoder that was trained on
the users of all folds but one, there is only that one to fit on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from eval.data import FOLDS, TEST_FOLD, Case, Dataset, OutOfFold, Say, cases, fitting_fold, fold, histories
from retrieval.errors import DataError
from retrieval.ranking import SIGNALS, UNFITTED_WEIGHTS, FusionFit, Signal, SignalWeight
from retrieval.settings import RetrieverSettings
from retrieval.types import History, Query

DRAWN: Final = 200
"""Items that a truth is compared with."""
_TRUTHS: Final = 5
"""Most truths of a case that count: prolific people must not decide alone."""
_PENALTY: Final = 1e-3
"""Of the squared weights, in nats a case; it only keeps them finite."""
_SAMPLE: Final = 1_500
"""Most cases that weights of a run are fitted on; asking every source about one takes as long as scoring it."""
_TOLD_EVERY: Final = 500
_NAMES: Final[tuple[Signal, ...]] = tuple(signal for signal in SIGNALS if signal not in UNFITTED_WEIGHTS)

Design = NDArray[np.float32]
UserWeights = Callable[[str], FusionFit]
"""For a user the weights that other users' picks give."""


@dataclass(frozen=True)
class ChoiceSets:
    """What the sources say where people picked.

    Attributes:
        users: whose pick it is; one a pick.
        says: shape (picks, 1 + drawn, sources); the picked item comes first.
        liked: logarithm of the history's liked items, shape (picks,).
        share: one over the picks of the case, shape (picks,).
    """

    users: tuple[str, ...]
    says: Design
    liked: Design
    share: Design

    def of_others(self, part: int) -> ChoiceSets:
        """The picks of the users of all parts of the split but this one."""
        kept = np.array([fitting_fold(user) != part for user in self.users])
        users = tuple(user for user, keep in zip(self.users, kept, strict=True) if keep)
        return ChoiceSets(users, self.says[kept], self.liked[kept], self.share[kept])


def choice_sets(
    data: Dataset, cases: Sequence[Case], others: OutOfFold, rng: np.random.Generator, say: Say
) -> ChoiceSets:
    """Ask every source about every case."""
    users: list[str] = []
    says: list[Design] = []
    liked: list[float] = []
    share: list[float] = []
    weights = dict.fromkeys(_NAMES, 1.0)
    for at, case in enumerate(cases):
        if at % _TOLD_EVERY == 0:
            say(f"asking the sources about case {at:,} of {len(cases):,}")
        scores = others.retriever(case, RetrieverSettings()).signal_scores(
            Query(history=case.history, target=case.target), weights
        )
        said = np.stack([scores[name] for name in _NAMES], axis=1)
        seen = others.touched(case) > 0
        truths = data.index.snapshot(case.target).rows(case.truth)[:_TRUTHS]
        for truth in truths:
            alike = np.flatnonzero(seen == seen[truth])
            says.append(said[np.concatenate([[truth], rng.choice(alike, DRAWN)])])
            users.append(case.user)
            liked.append(np.log(len(case.history.liked)))
            share.append(1 / len(truths))
    return ChoiceSets(tuple(users), np.stack(says), np.array(liked, np.float32), np.array(share, np.float32))


def fit_weights(data: Dataset, made_by: str, rng: np.random.Generator, say: Say) -> FusionFit:
    """The weights that come with the package.

    They are fitted on the users whom the encoder has not met; if it has met nobody, on those of all folds but the one
    that is kept for testing.
    """
    people = data.without_training_users(histories(data.store))
    kept = [person for person in people if data.training_users or fold(person.user or "", FOLDS) != TEST_FOLD]
    asked = [case for person in kept for case in cases(person, data.domains)]
    picks = choice_sets(data, asked, OutOfFold(data), rng, say)
    return fit_fusion(picks, made_by, data.digest, data.index.encoder.name)


def cross_fit_weights(
    data: Dataset, training: Sequence[History], others: OutOfFold, rng: np.random.Generator, say: Say
) -> UserWeights:
    """For each user the weights that the picks of others give.

    Args:
        training: histories that may be learnt from; what is fitted on are their first `_SAMPLE` "cold target" cases of
            people whom the encoder has not met.

    Raises:
        DataError: there are too few cases.
    """
    people = data.without_training_users(training)
    asked = list(islice((case for person in people for case in cases(person, data.domains)), _SAMPLE))
    return cross_fit(choice_sets(data, asked, others, rng, say)) if asked else _nobody()


def cross_fit(picks: ChoiceSets) -> UserWeights:
    """For each user the weights that the picks of the other parts give. Raises DataError: there is but one part."""
    if len({fitting_fold(user) for user in picks.users}) < 2:
        _nobody()
    fits = [fit_fusion(picks.of_others(part), "cross-fitted", "", "") for part in range(FOLDS)]
    return lambda user: fits[fitting_fold(user)]


def _nobody() -> NoReturn:
    raise DataError("too few people to fit the retriever's weights on", hint="--system bm25 learns from nobody")


def fit_fusion(picks: ChoiceSets, made_by: str, hash_of_data: str, encoder: str) -> FusionFit:
    """The weights that make what people picked most probable."""
    both = np.concatenate([picks.says, picks.says * picks.liked[:, None, None]], axis=2).astype(np.float64)
    both -= both[:, :1]  # differences alone matter: a source that says the same of all candidates says exactly nothing
    scale = both.std(axis=(0, 1)) + 1e-9
    both /= scale
    shares = picks.share / picks.share.sum()

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = both @ weights
        total = logsumexp(scores, axis=1)
        expected = np.einsum("pc,pcs->ps", np.exp(scores - total[:, None]), both)
        return float(shares @ total + _PENALTY * weights @ weights), shares @ expected + 2 * _PENALTY * weights

    found = minimize(loss, np.zeros(both.shape[2]), jac=True, method="L-BFGS-B").x / scale
    bases, slopes = found[: len(_NAMES)], found[len(_NAMES) :]
    return FusionFit(
        made_by=made_by,
        data=hash_of_data,
        encoder=encoder,
        users=len(set(picks.users)),
        picks=len(picks.users),
        weights=dict(UNFITTED_WEIGHTS)
        | {
            name: SignalWeight(base=round(float(base), 4), slope=round(float(slope), 4))
            for name, base, slope in zip(_NAMES, bases, slopes, strict=True)
        },
    )
