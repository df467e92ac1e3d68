"""What a bias card says. All frozen; `eval.studies.bias` produces them, `eval.report.bias` shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from retrieval.types import Frozen

Familiar = Literal["log-probability", "popularity"]
"""What stands for how well a model knows a title: how expected it is after its creator (`eval.studies.memorization`)
or, where
the endpoint does not tell that, how many training users touched the item."""


class Interval(Frozen):
    """A figure over users and the ends of its 95% interval (BCa bootstrap, users resampled).

    The ends are None where fewer than `eval.stats.MIN_USERS` users are behind the figure.
    """

    value: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    people: int
    cases: int


class SlotScore(Frozen):
    """nDCG@10 of single shuffles in which the truth stood in slot `first` to `last` (from 1), in [0, 1]."""

    first: int
    last: int
    ndcg: Interval


class Variance(Frozen):
    """What the variance of the scores (nats squared) is due to, as unbiased components of a two-way layout.

    A score, centred over its shuffle, is the favour of its slot (one for all users), plus its item's worth (the same
    in all shuffles of a user), plus what is left: noise, and favours that differ from list to list. All are fitted by
    least squares, and what noise adds to the squares of the fitted effects is taken off (Searle, Casella and McCulloch
    1992, Variance Components, section 5.5). A component may so come out below 0; the shares, which add up to 1, count
    it as 0.
    """

    slot: FiniteFloat
    item: FiniteFloat
    rest: FiniteFloat

    def share(self, part: str) -> float:
        """The share of "slot", "item" or "rest", in [0, 1]."""
        parts = {"slot": max(self.slot, 0.0), "item": max(self.item, 0.0), "rest": max(self.rest, 0.0)}
        return parts[part] / sum(parts.values())


class Reliability(Frozen):
    """A tenth of all candidates by the model's probability: the mean of that, and the share that was the truth."""

    probability: FiniteFloat
    share: FiniteFloat
    candidates: int


class BiasCard(Frozen):
    """How a model leans with a template. "Top pick" is the best scored of a single shuffle; ties share the pick.

    Attributes:
        template_fingerprint: of the rerank template.
        failed: users left out because the model failed.
        ndcg: nDCG@10 of single shuffles; chance: that of random order.
        ndcg_by_slot: by the truth's slot; slots are put together in thirds where the truth of fewer than
            `MIN_USERS` users was ever in one of them.
        favour: by slot the mean log-probability, less its mean over slots, in nats (as `fitted.position_bias`).
        top_share: by slot the share of the top picks.
        uniform_p: p-value of a chi-square test of the top picks' slots against uniform. Shuffles of one user are not
            independent, so it counts one pick a user, of the first shuffle (of a tie a random one), in `uniform_bins`
            groups of neighbouring slots, so that each expects at least `EXPECTED` picks.
        variance: None where all scores of all shuffles are equal.
        tau: mean Kendall's tau between the shuffles of a user; tau_counts: users by tau, in `TAU_BINS` equal bins.
        popularity_lift: mean training count of the top picks over that of the candidates. None if no counts were
            given or all are 0. Near 1 by construction for count-matched candidates.
        length, familiarity: mean Spearman correlation, within a user, of the score (mean over shuffles) with the
            title's length in characters and with the familiarity that was given; positive if the model favours long
            or familiar titles. Users whose candidates are all alike in it do not count; None if none is left.
        familiarity_by: what familiarity was taken from; None: nothing was given.
        reliability: ten equal bins of the model's own probabilities (mean over shuffles).
        own_error: expected calibration error of those (Naeini et al. 2015); fitted_error: the same after
            `eval.stats.calibration`, on users that it was not fitted on. Both in [0, 1].
    """

    version: int = 1
    model: str
    template_fingerprint: str
    users: int
    failed: int
    shuffles: int
    candidates: int
    ndcg: Interval
    chance: FiniteFloat
    ndcg_by_slot: tuple[SlotScore, ...]
    favour: tuple[Interval, ...]
    top_share: tuple[FiniteFloat, ...]
    uniform_p: FiniteFloat
    uniform_bins: int
    variance: Variance | None
    tau: Interval
    tau_counts: tuple[int, ...]
    popularity_lift: Interval | None
    length: Interval | None
    familiarity: Interval | None
    familiarity_by: Familiar | None = None
    reliability: tuple[Reliability, ...]
    own_error: FiniteFloat
    fitted_error: FiniteFloat
