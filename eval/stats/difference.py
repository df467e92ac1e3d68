"""What paired and unpaired comparisons share. Reads a difference between two arms, produces a verdict in a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from pydantic import FiniteFloat
from scipy.optimize import brentq

from retrieval.errors import optional_packages
from retrieval.types import Frozen

ALPHA: Final = 0.05
POWER: Final = 0.8
MIN_USERS: Final = 10
FEW: Final = 50
"""With fewer differing users the interval is too short: simulated 95% intervals of nDCG-like differences (300 users)
covered 80% where 5 users differed, 83% at 10, 89% at 20, 92% at 30, 93% at 50, 94% at 100."""


class Difference(Frozen):
    """B - A, in units of the metric. None stands for what this sample cannot tell; nothing is ever NaN.

    Attributes:
        mean: the difference.
        low, high: ends of the 95% bootstrap interval; None without spread.
        p_value: two-sided, in (0, 1]; None if no user differs.
        deviation: standard deviation that plans are made with; 0 without spread.
        differing: number of users who differ.
        detectable: smallest difference seen with 80% power at alpha .05; None without spread.
    """

    mean: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    p_value: FiniteFloat | None
    deviation: FiniteFloat
    differing: int
    detectable: FiniteFloat | None

    no_difference: ClassVar[str]
    """What is said where no user differs; has places for `metric`, `a` and `b`."""
    no_interval: ClassVar[str] = ""
    """What stands where the interval would."""
    differ: ClassVar[str] = "differ"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Users of the sample, or of each of its groups."""
        raise NotImplementedError

    @property
    def few_differ(self) -> bool:
        """Whether so few users differ that the interval is too short to be trusted (see `FEW`)."""
        return self.differing < FEW

    def users_needed(self, effect: float) -> int:
        """Users that see `effect`, in units of the metric, with 80% power at alpha .05, two sided.

        Raises:
            UsageError: an effect of 0 (no sample can see it), or no deviation to plan with.
        """
        raise NotImplementedError


def verdict(
    found: Difference,
    metric: str,
    *,
    arms: tuple[str, str] = ("A", "B"),
    adjusted: float | None = None,
    effect: float | None = None,
) -> str:
    """One sentence. "Beats" takes higher for better: negate the scores of a metric for which it is not.

    Args:
        arms: what A and B are called.
        adjusted: the p-value after Holm, if several were tested; the verdict then follows it.
        effect: the difference that would matter, in units of the metric; None names what the sample could see.
    """
    a, b = arms
    tail = "n = " + " + ".join(f"{n:,}" for n in found.sizes)
    if found.p_value is None:
        return f"cannot tell: {found.no_difference.format(metric=metric, a=a, b=b)}, {tail}"
    p = found.p_value if adjusted is None else adjusted
    if found.few_differ:
        tail += f", of whom only {found.differing} {found.differ}"
    tail = f"{p_text(p)}{'' if adjusted is None else ' after Holm'}, {tail}"
    write = number_writer(found)
    if p > ALPHA:
        size = f"{write(found.mean)} {metric}{_interval_text(found, write)}"
        return f"cannot tell at this n: {b} - {a} = {size}, {tail}; {_plan(found, effect)}"
    ahead, behind = (b, a) if found.mean > 0 else (a, b)
    interval = _interval_text(found, write, flip=found.mean < 0)
    return f"{ahead} beats {behind} by {write(abs(found.mean))} {metric}{interval}, {tail}"


def _plan(found: Difference, effect: float | None) -> str:
    """What an undecided sample could see, or what an effect of interest needs."""
    if found.few_differ:
        return f"fewer than {FEW} differing users are too few to plan with"
    if found.detectable is None:
        return "without a spread between users there is nothing to plan with"
    if effect is None:
        return f"this sample could see {number_text(found.detectable, decimals_for(found.detectable))}"
    shown = number_text(abs(effect), decimals_for(effect))
    if found.low is not None and found.high is not None and max(-found.low, found.high) < abs(effect):
        return f"a difference of {shown} is ruled out"
    needed = found.users_needed(effect)
    if needed <= sum(found.sizes):
        return f"{needed:,} users are enough to see {shown}"
    return f"you would need about {needed:,} users to see {shown}"


def _interval_text(found: Difference, write: Callable[[float], str], *, flip: bool = False) -> str:
    if found.low is None or found.high is None:
        return found.no_interval
    low, high = (-found.high, -found.low) if flip else (found.low, found.high)
    return f" [{write(low)}, {write(high)}]"


def detectable_effect(power: Callable[[float], float], standard_error: float) -> float:
    """The effect whose power is 80%; between 2 and 4 standard errors power rises from about .5 to .95."""
    return float(brentq(lambda effect: power(effect) - POWER, 2 * standard_error, 4 * standard_error))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for being several (Holm 1979), in the given order; None (no test) stays None, uncounted."""
    tested = [p for p in p_values if p is not None]
    if not tested:
        return list(p_values)
    with optional_packages("the adjustment by Holm", "eval"):
        from statsmodels.stats.multitest import multipletests

    adjusted = iter(multipletests(tested, method="holm")[1])
    return [None if p is None else float(next(adjusted)) for p in p_values]


def number_writer(found: Difference) -> Callable[[float], str]:
    """What writes values of this difference, with the decimals that its interval deserves."""
    decimals = decimals_for(found.mean if found.low is None or found.high is None else found.high - found.low)
    return lambda value: number_text(value, decimals)


def decimals_for(scale: float) -> int:
    """Decimals that show two digits of a value of this size."""
    # The small allowance keeps .0999999 and .1 alike.
    return max(0, 1 - math.floor(math.log10(abs(scale)) + 1e-9)) if scale else 3


def number_text(value: float, decimals: int) -> str:
    """A number as verdicts write it: .012, 1,008."""
    text = f"{round(value, decimals) + 0.0:,.{decimals}f}"  # + 0.0: no minus before zero
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def p_text(p: float) -> str:
    """A p-value as verdicts write it."""
    return "p < .001" if p < 0.001 else f"p = {number_text(p, 3 if p < 0.1 else 2)}"
