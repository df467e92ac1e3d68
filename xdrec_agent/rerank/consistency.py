"""Permutation self-consistency. Reads what shuffles gave, produces their consensus and whether more are needed.

After Tang et al. 2024, "Found in the Middle: Permutation Self-Consistency Improves Listwise Ranking in Large Language
Models", with scores instead of orders, and a rule that stops early.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]

TOP: Final = 5
"""Places that must be stable."""
STABLE_SHARE: Final = 0.8
"""Share of the top that further noise would leave there, from which on it counts as stable."""
SIGNAL: Final = 0.1
"""P-value below which the shuffles are taken to agree on something."""
_DRAWS: Final = 64


def shuffles(n: int, count: int, seed: int) -> list[NDArray[np.int64]]:
    """`count` permutations of n; every second one is the reverse of the one before it.

    A model that favours early labels favours each candidate and then its mirror image, so that the linear part of the
    position bias cancels within a pair.
    """
    rng = np.random.default_rng(seed)
    orders: list[NDArray[np.int64]] = []
    while len(orders) < count:
        order = rng.permutation(n)
        orders += [order, order[::-1]]
    return orders[:count]


def aggregated(scores: Scores, how: Literal["mean", "borda"]) -> Scores:
    """The consensus of shuffles (rows) on candidates (columns): mean score, or mean of ranks (Borda 1781)."""
    if how == "mean":
        return np.asarray(scores.mean(axis=0))
    from scipy.stats import rankdata

    return np.asarray(rankdata(scores, axis=1).mean(axis=0))


def kendall_tau(scores: Scores) -> float | None:
    """Mean Kendall's tau (tau-a, 1938) over all pairs of rows, in [-1, 1]; None for fewer than two rows or columns."""
    m, n = scores.shape
    if m < 2 or n < 2:
        return None
    first, second = np.triu_indices(n, 1)
    signs = np.sign(scores[:, first] - scores[:, second])
    return float((signs @ signs.T)[np.triu_indices(m, 1)].mean() / len(first))


def top_is_stable(scores: Scores, rng: np.random.Generator) -> bool:
    """Whether more shuffles would not move the top more than noise does.

    Rows are shuffles, columns candidates. In a two-way layout without interaction the residuals give the noise of one
    shuffle. It is enough if
    - the rows agree on nothing: an F test (Fisher 1925) of the candidates' means finds no more than noise in at least
      four rows, and the mean of more noise is noise; or
    - they agree so well that of the first `TOP` a share of `STABLE_SHARE` stays when the noise that is left in the
      means is drawn again.
    """
    from scipy.special import fdtrc

    m, n = scores.shape
    if n <= 2:
        return True
    if m < 2:
        return False
    means = scores.mean(axis=0)
    residuals = scores - means - scores.mean(axis=1, keepdims=True) + means.mean()
    free = (m - 1) * (n - 1)
    noise = float((residuals**2).sum() / free)
    if noise == 0:
        return True
    signal = float(fdtrc(n - 1, free, m * means.var(ddof=1) / noise)) < SIGNAL
    if not signal:
        return bool(m >= 4)
    top = min(TOP, n // 2)
    drawn = means + np.sqrt(noise / m) * rng.standard_normal((_DRAWS, n))
    stays = np.isin(np.argsort(-drawn, axis=1)[:, :top], np.argsort(-means)[:top])
    return bool(stays.mean() >= STABLE_SHARE)
