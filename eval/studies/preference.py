"""What a judge's preferences come to. Reads what it said of each pair, produces a verdict and how far to trust it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, get_args

import numpy as np
from pydantic import FiniteFloat

from eval.stats import ALPHA, MIN_USERS, ArmScores, PairedDifference, compare_paired, number_text, p_text
from eval.studies.bias import interval
from eval.studies.bias_types import Interval
from eval.studies.llm_judge import Judged, Side, What
from retrieval.errors import UsageError
from retrieval.types import Frozen
from xdrec_agent.llm import Usage

_SIDES: Final = get_args(Side)


class JudgeResult(Frozen):
    """Whom the judge prefers, A or B. Users are the units: a user's pairs are averaged first.

    Attributes:
        arms: names of A and B.
        model, template_fingerprint: of the judge.
        pairs: pairs with a verdict; of those `b_wins`, `a_wins` and `ties` said the same both times (identical answers,
            `identical` of them, are ties without being asked about), and `contradictions`, which count as ties.
        failed: pairs left out because the judge failed.
        cut: pairs with a reason that is longer than what the judge sees of it.
        preference: B - A of the scores: 1 if B won, -1 if A won, else 0. (1 + mean) / 2 is B's win rate.
        agreement: share of the pairs asked about that it judged the same way with the places swapped; None: it was
            asked about none. `agreement_by_chance`: what two independent answers with these frequencies would have.
        says_first: share of "first" among its answers that are not ties; 1/2 without position bias; None: all are ties.
        usage: what the judge cost.
    """

    version: int = 1
    arms: tuple[str, str]
    what: What
    model: str
    template_fingerprint: str
    pairs: int
    b_wins: int
    a_wins: int
    ties: int
    identical: int
    contradictions: int
    failed: int
    cut: int
    preference: PairedDifference
    agreement: Interval | None
    agreement_by_chance: FiniteFloat | None
    says_first: Interval | None
    usage: Usage

    @property
    def win_rate(self) -> tuple[float, float | None, float | None]:
        """B's win rate with the ends of its 95% interval (None: all users have the same); ties count half."""
        found = self.preference
        low, high = ((1 + end) / 2 if end is not None else None for end in (found.low, found.high))
        return (1 + found.mean) / 2, low, high

    @property
    def decided(self) -> bool:
        """Whether one of them is preferred."""
        return self.preference.p_value is not None and self.preference.p_value <= ALPHA

    @property
    def verdict(self) -> str:
        """In a sentence; `trust` is to be read with it."""
        a, b = self.arms
        rate, low, high = self.win_rate
        ends = "" if low is None or high is None else f" [{number_text(low, 2)}, {number_text(high, 2)}]"
        tail = f"n = {self.preference.users:,} users, {self.pairs:,} pairs"
        p = self.preference.p_value
        if p is None:
            return f"a tie: the judge prefers neither {a} nor {b} in any pair, {tail}"
        if not self.decided:
            return f"cannot tell: {b} has a win rate of {number_text(rate, 2)}{ends} against {a}, {p_text(p)}, {tail}"
        ahead, behind = (b, a) if rate > 0.5 else (a, b)
        if rate < 0.5:
            ends = "" if low is None or high is None else f" [{number_text(1 - high, 2)}, {number_text(1 - low, 2)}]"
        won = number_text(max(rate, 1 - rate), 2)
        return f"{ahead} is preferred to {behind}: win rate {won}{ends}, {p_text(p)}, {tail}"

    @property
    def trust(self) -> str:
        """How far the judge agrees with itself, and what it says of places."""
        if self.agreement is None or self.agreement_by_chance is None:
            return "All pairs were identical, so the judge was not asked."
        said = (
            f"The judge agrees with itself in {self.agreement.value:.0%} of the pairs when places are swapped "
            f"({self.agreement_by_chance:.0%} by chance)"
        )
        if self.says_first is None:
            return f"{said} and always says tie."
        return f'{said} and says "first" in {self.says_first.value:.0%} of its decisions (50% without position bias).'


def verdict_of(
    judged: Sequence[Judged],
    failed: int,
    arms: tuple[str, str],
    what: What,
    judge: tuple[str, str],
    rng: np.random.Generator,
) -> JudgeResult:
    """The verdict.

    Args:
        failed: pairs that the judge failed on.
        judge: its model, and the fingerprint of its template.

    Raises:
        UsageError: fewer than 10 users.
    """
    users = [one.pair.user for one in judged]
    if len(set(users)) < MIN_USERS:
        said = f"{len(set(users))} users are too few to compare {what}"
        raise UsageError(said, hint=f"xdrec-eval explain --count: at least {MIN_USERS} users")
    scores = np.array([one.score for one in judged])
    asked = [one for one in judged if not one.pair.identical]
    contradictions = sum(one.sides[0] != one.sides[1] for one in judged)
    return JudgeResult(
        arms=arms,
        what=what,
        model=judge[0],
        template_fingerprint=judge[1],
        pairs=len(judged),
        b_wins=int((scores > 0).sum()),
        a_wins=int((scores < 0).sum()),
        ties=int((scores == 0).sum()) - contradictions,
        identical=len(judged) - len(asked),
        contradictions=contradictions,
        failed=failed,
        cut=sum(one.pair.cut for one in judged),
        preference=compare_paired(ArmScores(np.zeros(len(scores)), users), ArmScores(scores, users), rng),
        agreement=_agreement(asked, rng),
        agreement_by_chance=_by_chance(asked),
        says_first=_says_first(asked, rng),
        usage=sum((one.usage for one in judged), Usage()),
    )


def _agreement(asked: Sequence[Judged], rng: np.random.Generator) -> Interval | None:
    if not asked:
        return None
    same = np.array([float(one.sides[0] == one.sides[1]) for one in asked])
    return interval(same, [one.pair.user for one in asked], rng)


def _by_chance(asked: Sequence[Judged]) -> float | None:
    """As in Cohen's kappa (1960): the product of the frequencies of each answer in the two orders, summed."""
    if not asked:
        return None
    counts = [Counter(order) for order in zip(*(one.sides for one in asked), strict=True)]
    return sum(counts[0][side] * counts[1][side] for side in _SIDES) / len(asked) ** 2


def _says_first(asked: Sequence[Judged], rng: np.random.Generator) -> Interval | None:
    said = [[answer.better for answer in (one.a_first, one.b_first) if answer is not None] for one in asked]
    first = np.array([float(answers.count("first")) for answers in said])
    decided = np.array([float(len(answers) - answers.count("tie")) for answers in said])
    if not decided.any():
        return None
    return interval(first, [one.pair.user for one in asked], rng, decided)
