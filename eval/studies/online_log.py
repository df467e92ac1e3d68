"""What people did in each arm. Reads the service's log of answers and events, produces one value a user and outcome.

An answer's outcomes are 0 or 1; a user's value is the mean over their answers, so that users are the units however
often they ask. Nothing that this module returns names a user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.types import LIKED, Interaction
from xdrec_agent.llm import Usage
from xdrec_agent.recommend import FeedbackEvent, LoggedAnswer, RecommendationLog
from xdrec_agent.service import arm_of
from xdrec_agent.settings import ArmSettings

Values = NDArray[np.float64]


@dataclass
class _Given:
    """An answer: whose it is, what it cost, and what was done with its items; of several ratings the last counts."""

    user: str
    tokens: int
    requests: int
    seconds: float
    degraded: bool
    kinds: set[str] = field(default_factory=set)
    ratings: dict[tuple[str, str], float] = field(default_factory=dict)

    def note(self, event: FeedbackEvent) -> None:
        self.kinds.add(event.kind)
        if event.kind == "rating" and event.value is not None:
            rating = Interaction(user=self.user, domain=event.domain, item=event.item, value=event.value)
            self.ratings[event.domain, event.item] = rating.preference


OUTCOMES: Final[Mapping[str, Callable[[_Given], bool]]] = {
    "click": lambda given: "click" in given.kinds,
    "liked": lambda given: any(preference >= LIKED for preference in given.ratings.values()),
    "conversion": lambda given: "conversion" in given.kinds,
    "nothing known": lambda given: "known" not in given.kinds,
}
"""Of an answer: an item of it was clicked, was rated well (4 of 5 or better), was bought, borrowed or watched; and of
none it was said that it is known already. Higher is better."""

_COSTS: Final[Mapping[str, Callable[[_Given], float]]] = {
    "tokens": lambda given: given.tokens,
    "requests": lambda given: given.requests,
    "seconds": lambda given: given.seconds,
    "degraded": lambda given: given.degraded,
}


@dataclass(frozen=True)
class ArmLog:
    """One arm's users.

    Attributes:
        share: of the users that the configuration gives it, in (0, 1].
        answers: how many its users got.
        values: by outcome a value in [0, 1] for each user.
        costs: means over users, of an answer: tokens, requests, seconds, degraded.
        templates: by task the fingerprints of the templates that answered.
    """

    name: str
    share: float
    answers: int
    values: Mapping[str, Values]
    costs: Mapping[str, float]
    templates: Mapping[str, tuple[str, ...]]

    @property
    def users(self) -> int:
        """How many users got an answer."""
        return len(next(iter(self.values.values())))


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


def read_log(answers: RecommendationLog, arms: Sequence[ArmSettings], since: int) -> OnlineLog:
    """The log of the configured arms from `since` (Unix seconds) on.

    Answers of other arms, as of an earlier comparison, do not count.
    """
    collected = _Collected(arms)
    if answers.exists():
        collected.read(answers.iter_answers(since=since), answers.iter_events(since=since))
    return collected.log()


class _Collected:
    """Answers and events, put together."""

    def __init__(self, arms: Sequence[ArmSettings]) -> None:
        self._arms = arms
        self._given: dict[str, _Given] = {}
        self._moved: set[str] = set()
        self._templates: dict[str, dict[str, set[str]]] = {arm.name: {} for arm in arms}
        self._first: int | None = None
        self._last: int | None = None
        self._anonymous = 0

    def read(self, answers: Iterable[LoggedAnswer], events: Iterable[FeedbackEvent]) -> None:
        for answer in answers:
            self._answer(answer)
        for event in events:
            if event.answer in self._given:
                self._given[event.answer].note(event)

    def _answer(self, kept: LoggedAnswer) -> None:
        if kept.arm not in self._templates:
            return
        if kept.user is None:
            self._anonymous += 1
            return
        if kept.arm != arm_of(kept.user, self._arms):
            self._moved.add(kept.user)
            return
        answer = kept.answer
        usage = sum(answer.usage.values(), Usage())
        self._given[kept.id] = _Given(
            user=kept.user,
            tokens=usage.prompt_tokens + usage.completion_tokens,
            requests=usage.requests,
            seconds=sum(answer.seconds.values()),
            degraded=answer.degraded,
        )
        self._first = min(self._first or kept.created_at, kept.created_at)
        self._last = max(self._last or kept.created_at, kept.created_at)
        for task, fingerprint in answer.templates.items():
            self._templates[kept.arm].setdefault(task, set()).add(fingerprint)

    def log(self) -> OnlineLog:
        by_arm: dict[str, dict[str, list[_Given]]] = {arm.name: {} for arm in self._arms}
        for given in self._given.values():
            if given.user not in self._moved:
                by_arm[arm_of(given.user, self._arms)].setdefault(given.user, []).append(given)
        whole = sum(arm.share for arm in self._arms)
        return OnlineLog(
            arms=tuple(self._arm(arm.name, arm.share / whole, by_arm[arm.name]) for arm in self._arms),
            anonymous=self._anonymous,
            moved=len(self._moved),
            first=self._first,
            last=self._last,
        )

    def _arm(self, name: str, share: float, people: Mapping[str, Sequence[_Given]]) -> ArmLog:
        # By user id, so that a result does not depend on who came first.
        mine = [people[user] for user in sorted(people)]
        return ArmLog(
            name=name,
            share=share,
            answers=sum(map(len, mine)),
            values={outcome: _means(mine, read) for outcome, read in OUTCOMES.items()},
            costs={cost: float(_means(mine, read).mean()) if mine else 0.0 for cost, read in _COSTS.items()},
            templates={task: tuple(sorted(found)) for task, found in sorted(self._templates[name].items())},
        )


def _means(people: Sequence[Sequence[_Given]], read: Callable[[_Given], float]) -> Values:
    """For each person the mean over their answers."""
    return np.array([np.mean([read(given) for given in mine]) for mine in people], dtype=np.float64)
