"""Which arm of the service does better? Reads the log of answers and events, produces a verdict between users.

An answer's outcomes are 0 or 1; a user's value is the mean over their answers, so that users are the units however
often they ask. Every arm is compared with the first. A user is in one arm only, so the test is one between users, not a
paired one. p-values are adjusted for all arms and outcomes together (Holm). They hold for one look: when it is taken is
decided beforehand. Nothing that this module returns names a user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from eval.stats import MIN_USERS, UnpairedDifference, compare_unpaired, holm, p_text, verdict
from retrieval.errors import UsageError
from retrieval.types import LIKED, Frozen, Interaction
from xdrec_agent.app import arm_of
from xdrec_agent.llm import Usage
from xdrec_agent.recommend import FeedbackEvent, LoggedAnswer, RecommendationLog
from xdrec_agent.settings import ArmSettings

MISMATCH: Final = 0.001
"""With a smaller p-value the users' numbers do not fit the shares: something but the arms tells the groups apart, and
no difference between them is an effect of the arms (Fabijan et al. 2019, "Diagnosing sample ratio mismatch in online
controlled experiments", KDD)."""

Values = NDArray[np.float64]


@dataclass
class _Answer:
    """An answer: whose it is, what it cost, and what was done with its items; of several ratings the last counts."""

    user: str
    time: int
    tokens: int
    requests: int
    seconds: float
    degraded: bool
    kinds: set[str] = field(default_factory=set)
    ratings: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, event: FeedbackEvent) -> None:
        self.kinds.add(event.kind)
        if event.kind == "rating" and event.value is not None:
            rating = Interaction(user=self.user, domain=event.domain, item=event.item, value=event.value)
            self.ratings[event.domain, event.item] = rating.preference


OUTCOMES: Final[Mapping[str, Callable[[_Answer], bool]]] = {
    "click": lambda answer: "click" in answer.kinds,
    "liked": lambda answer: any(preference >= LIKED for preference in answer.ratings.values()),
    "conversion": lambda answer: "conversion" in answer.kinds,
    "nothing known": lambda answer: "known" not in answer.kinds,
}
"""Of an answer: an item of it was clicked, was rated well (4 of 5 or better), was bought, borrowed or watched; and of
none it was said that it is known already. Higher is better."""
_COSTS: Final[Mapping[str, Callable[[_Answer], float]]] = {
    "tokens": lambda answer: answer.tokens,
    "requests": lambda answer: answer.requests,
    "seconds": lambda answer: answer.seconds,
    "degraded": lambda answer: answer.degraded,
}


class OnlineArm(Frozen):
    """An arm: whom it served, how that went, and what an answer cost.

    Attributes:
        share: of the users that the configuration gives it; `expected`: that many.
        means: mean over users of each outcome, in [0, 1].
        costs: means over users, of an answer: tokens, requests, seconds, degraded.
        templates: by task the fingerprints that answered.
    """

    name: str
    share: FiniteFloat
    expected: FiniteFloat
    users: int
    answers: int
    means: dict[str, FiniteFloat]
    costs: dict[str, FiniteFloat]
    templates: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class ArmLog:
    """An arm, and by outcome a value in [0, 1] for each of its users."""

    arm: OnlineArm
    values: dict[str, Values]


@dataclass(frozen=True)
class OnlineLog:
    """The arms in their configured order, and who was left out.

    Attributes:
        anonymous: answers to nobody in particular.
        moved: users who got an answer in another arm than the configured shares give them.
        first, last: times of the first and the last answer that counts, in Unix seconds; None: there is none.
    """

    arms: tuple[ArmLog, ...]
    anonymous: int
    moved: int
    first: int | None
    last: int | None


def read_log(log: RecommendationLog, arms: Sequence[ArmSettings], since: int) -> OnlineLog:
    """The log of the configured arms from `since` (Unix seconds) on.

    Answers of other arms, as of an earlier comparison, do not count.
    """
    by_id: dict[str, _Answer] = {}
    moved: set[str] = set()
    anonymous = 0
    templates: dict[str, dict[str, set[str]]] = {arm.name: {} for arm in arms}
    logged = log.iter_answers(since=since) if log.exists() else ()
    for one in logged:
        if one.arm not in templates:
            continue
        if one.user is None:
            anonymous += 1
        elif one.arm != arm_of(one.user, arms):
            moved.add(one.user)
        else:
            by_id[one.id] = _answer(one, one.user)
            for task, fingerprint in one.answer.templates.items():
                templates[one.arm].setdefault(task, set()).add(fingerprint)
    for event in log.iter_events(since=since) if by_id else ():
        if event.answer in by_id:
            by_id[event.answer].add(event)
    by_arm: dict[str, dict[str, list[_Answer]]] = {arm.name: {} for arm in arms}
    for answer in by_id.values():
        if answer.user not in moved:
            by_arm[arm_of(answer.user, arms)].setdefault(answer.user, []).append(answer)
    shares, total = sum(arm.share for arm in arms), sum(map(len, by_arm.values()))
    times = [answer.time for answer in by_id.values()]
    return OnlineLog(
        arms=tuple(_arm_log(arm, arm.share / shares, total, by_arm[arm.name], templates[arm.name]) for arm in arms),
        anonymous=anonymous,
        moved=len(moved),
        first=min(times, default=None),
        last=max(times, default=None),
    )


def _answer(logged: LoggedAnswer, user: str) -> _Answer:
    usage = sum(logged.answer.usage.values(), Usage())
    return _Answer(
        user=user,
        time=logged.created_at,
        tokens=usage.prompt_tokens + usage.completion_tokens,
        requests=usage.requests,
        seconds=sum(logged.answer.seconds.values()),
        degraded=logged.answer.degraded,
    )


def _arm_log(
    arm: ArmSettings,
    share: float,
    total: int,
    by_user: Mapping[str, Sequence[_Answer]],
    templates: Mapping[str, set[str]],
) -> ArmLog:
    # By user id, so that a result does not depend on who came first.
    users = [by_user[user] for user in sorted(by_user)]
    values = {outcome: _means(users, read) for outcome, read in OUTCOMES.items()}
    online_arm = OnlineArm(
        name=arm.name,
        share=share,
        expected=share * total,
        users=len(users),
        answers=sum(map(len, users)),
        means={outcome: float(found.mean()) for outcome, found in values.items() if users},
        costs={cost: float(_means(users, read).mean()) if users else 0.0 for cost, read in _COSTS.items()},
        templates={task: tuple(sorted(found)) for task, found in sorted(templates.items())},
    )
    return ArmLog(online_arm, values)


def _means(users: Sequence[Sequence[_Answer]], read: Callable[[_Answer], float]) -> Values:
    """For each user the mean over their answers."""
    return np.array([np.mean([read(answer) for answer in answers]) for answers in users], dtype=np.float64)


class OnlineComparison(Frozen):
    """An arm against the first, in one outcome. `difference` is None where an arm has too few users."""

    arm: str
    outcome: str
    difference: UnpairedDifference | None
    adjusted: FiniteFloat | None = None
    verdict: str


class OnlineResult(Frozen):
    """All arms, the first being what the others are compared with, and all comparisons, the decisive one first.

    Attributes:
        first, last: times of the first and the last answer, in Unix seconds.
        anonymous: answers to nobody in particular, left out.
        moved: users who were served by an arm that is not theirs, left out.
        sample_ratio: p-value of the users' numbers, were they shared out as configured.
        comparisons: none if the sample ratio is off.
    """

    version: int = 1
    first: int
    last: int
    anonymous: int
    moved: int
    sample_ratio: FiniteFloat
    arms: tuple[OnlineArm, ...]
    comparisons: tuple[OnlineComparison, ...]

    @property
    def shared_out(self) -> bool:
        """Whether the users' numbers fit the configured shares."""
        return self.sample_ratio >= MISMATCH

    @property
    def verdict(self) -> str:
        """The decisive comparison in a sentence, or why there is none."""
        if self.shared_out:
            return self.comparisons[0].verdict
        found = " + ".join(f"{arm.users:,}" for arm in self.arms)
        due = " + ".join(f"{arm.expected:,.0f}" for arm in self.arms)
        return (
            f"no verdict: the arms have {found} users where their shares give {due} ({p_text(self.sample_ratio)}), so "
            "something but the arms tells the groups apart"
        )


def judge_log(
    answers: RecommendationLog,
    arms: Sequence[ArmSettings],
    outcomes: Sequence[str],
    rng: np.random.Generator,
    *,
    since: int = 0,
    effect: float | None = None,
) -> OnlineResult:
    """Compare the arms of the log; the first outcome is the decisive one.

    Args:
        outcomes: names of `OUTCOMES`; empty: all, those in which users differ first.
        since: Unix seconds; earlier answers do not count.
        effect: the difference that would matter, for "you would need N users".

    Raises:
        UsageError: fewer than two arms are configured, an unknown outcome, or no user got an answer of an arm.
        StoreError: the database fails.
    """
    from scipy.stats import chisquare

    unknown = [outcome for outcome in outcomes if outcome not in OUTCOMES]
    if unknown:
        raise UsageError(f"no outcome {', '.join(unknown)}", hint=f"there are: {', '.join(OUTCOMES)}")
    if len(arms) < 2:
        raise UsageError(
            f"{len(arms)} arms are configured", hint="[[service.arms]] in xdrec.toml, see docs/how-to/service.md"
        )
    log = read_log(answers, arms, since)
    if log.first is None or log.last is None:
        hint = "requests must name a user, and the service must run with these arms and with answers.keep"
        raise UsageError(f"no user got an answer of {', '.join(arm.name for arm in arms)}", hint=hint)
    online_arms = tuple(one.arm for one in log.arms)
    users = [arm.users for arm in online_arms]
    ratio = float(chisquare(users, [arm.expected for arm in online_arms]).pvalue) if any(users) else 1.0
    asked = list(outcomes) or sorted(OUTCOMES, key=lambda outcome: not _differs(log, outcome))
    return OnlineResult(
        first=log.first,
        last=log.last,
        anonymous=log.anonymous,
        moved=log.moved,
        sample_ratio=ratio,
        arms=online_arms,
        comparisons=_comparisons(log.arms, asked, rng, effect) if ratio >= MISMATCH else (),
    )


def _comparisons(
    arms: Sequence[ArmLog], outcomes: Sequence[str], rng: np.random.Generator, effect: float | None
) -> tuple[OnlineComparison, ...]:
    pairs = [(other, outcome) for other in arms[1:] for outcome in outcomes]
    differences = [_difference(arms[0], other, outcome, rng) for other, outcome in pairs]
    raw = [None if one is None else one.p_value for one in differences]
    adjusted = holm(raw) if len(raw) > 1 else [None] * len(raw)
    return tuple(
        OnlineComparison(
            arm=other.arm.name,
            outcome=outcome,
            difference=difference,
            adjusted=p,
            verdict=_few(arms[0], other)
            if difference is None
            else verdict(difference, outcome, arms=(arms[0].arm.name, other.arm.name), adjusted=p, effect=effect),
        )
        for (other, outcome), difference, p in zip(pairs, differences, adjusted, strict=True)
    )


def _difference(first: ArmLog, other: ArmLog, outcome: str, rng: np.random.Generator) -> UnpairedDifference | None:
    if min(first.arm.users, other.arm.users) < MIN_USERS:
        return None
    return compare_unpaired(first.values[outcome], other.values[outcome], rng)


def _few(first: ArmLog, other: ArmLog) -> str:
    arm = min(first.arm, other.arm, key=lambda one: one.users)
    return f"cannot tell: {arm.name} has {arm.users} users, and a comparison needs {MIN_USERS} in each arm"


def _differs(log: OnlineLog, outcome: str) -> bool:
    values = np.concatenate([arm.values[outcome] for arm in log.arms])
    return bool(len(values) and np.ptp(values) > 0)


def day(seconds: int) -> str:
    """The day (UTC) of a time in Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
