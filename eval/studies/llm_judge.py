"""Which of two arms does an LLM judge prefer? Reads two arms' explanations for the same users, produces a verdict and
how far to trust it.

Every pair is asked about twice, with the places swapped: a judge that looks at places contradicts itself, and is found
out (Zheng et al. 2023, "Judging LLM-as-a-judge", on position bias).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

from eval.data import Say
from eval.stats import ALPHA, MIN_USERS, ArmScores, PairedDifference, compare_paired, number_text, p_text
from eval.studies.bias import interval
from eval.studies.bias_card import Interval
from eval.studies.explanations import Explained
from eval.systems import CONCURRENT_USERS, run_concurrently
from retrieval.errors import UsageError
from retrieval.templates import PromptTemplate
from retrieval.types import Frozen, Item
from xdrec_agent.errors import LLMError
from xdrec_agent.llm import LLMClient, Origin, Usage, gathered

What = Literal["explanations", "answers"]
Side = Literal["a", "b", "tie"]
_SIDES: Final = get_args(Side)
SHOWN: Final = 300
"""Characters of a reason that the judge sees (prompts/compare.jinja)."""
_TOKENS: Final = 32
"""Room for the judge's answer."""


class Preference(BaseModel):
    """What the judge answers."""

    model_config = ConfigDict(extra="forbid")

    better: Literal["first", "second", "tie"]


@dataclass(frozen=True)
class Answered:
    """A recommended item with the reason that was given for it."""

    item: Item
    reason: str


@dataclass(frozen=True)
class Pair:
    """Two answers to one person: a reason each for the same item, or two whole lists."""

    user: str
    liked: tuple[Item, ...]
    a: tuple[Answered, ...]
    b: tuple[Answered, ...]

    @property
    def identical(self) -> bool:
        """Whether there is nothing to judge."""
        return self.a == self.b

    @property
    def cut(self) -> bool:
        """Whether the judge does not see the whole of a reason."""
        return any(len(one.reason) > SHOWN for one in (*self.a, *self.b))


@dataclass(frozen=True)
class Judged:
    """What the judge said of a pair: with A first, and with B first. A pair of identical answers is not asked about."""

    pair: Pair
    a_first: Preference | None = None
    b_first: Preference | None = None
    usage: Usage = field(default_factory=Usage)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Whom it preferred with A first, and with B first."""
        return _side(self.a_first, "a", "b"), _side(self.b_first, "b", "a")

    @property
    def score(self) -> float:
        """1 if B was preferred both times, -1 if A was, else 0: a tie."""
        return {("a", "a"): -1.0, ("b", "b"): 1.0}.get(self.sides, 0.0)


def pairs_of(a: Sequence[Explained], b: Sequence[Explained], what: What) -> list[Pair]:
    """The pairs to judge, by user: of reasons for the same item, or of whole answers.

    Raises:
        UsageError: the two are of other users or, for explanations, of other items; or somebody is there twice.
    """
    before, after = _by_key(a, what), _by_key(b, what)
    if other := before.keys() ^ after.keys():
        hint = "make both with the same --count, -k and --seed" + (
            "; --what answers compares whole lists" if what == "explanations" else ""
        )
        raise UsageError(f"A and B differ in {len(other)} of their {what}", hint=hint)
    return [_pair(before[key], after[key]) for key in sorted(before)]


async def judge_pairs(
    client: LLMClient, template: PromptTemplate, asked: Sequence[Pair], say: Say, *, at_once: int = CONCURRENT_USERS
) -> tuple[list[Judged], int]:
    """What the judge says of each pair, and for how many it failed; those are left out.

    Raises:
        LLMError: it failed for so many that fewer than 10 users are left.
    """
    errors: list[LLMError] = []

    async def one(pair: Pair) -> Judged | None:
        if pair.identical:
            return Judged(pair)
        try:
            orders = [(pair.a, pair.b), (pair.b, pair.a)]
            (first, spent), (second, more) = await gathered(_ask(client, template, pair, *order) for order in orders)
        except LLMError as exc:
            errors.append(exc)
            say(f"judge: {exc}")
            return None
        return Judged(pair, first, second, spent + more)

    found = [one for one in await run_concurrently(asked, one, "judge", say, at_once, unit="pairs") if one is not None]
    if errors and len({one.pair.user for one in found}) < MIN_USERS:
        raise errors[0]
    return found, len(errors)


async def _ask(
    client: LLMClient, template: PromptTemplate, pair: Pair, first: Sequence[Answered], second: Sequence[Answered]
) -> tuple[Preference, Usage]:
    source, target = _domains(pair.liked), _domains(one.item for one in first)
    messages = template.messages(liked=pair.liked, first=first, second=second, source=source, target=target)
    origin = Origin(template=template.fingerprint, user=pair.user)
    return await client.structured(messages, Preference, max_tokens=_TOKENS, origin=origin)


def _domains(items: Iterable[Item]) -> str:
    return " and ".join(dict.fromkeys(item.domain for item in items))


def _side(said: Preference | None, first: Side, second: Side) -> Side:
    if said is None or said.better == "tie":
        return "tie"
    return first if said.better == "first" else second


def _by_key(rows: Sequence[Explained], what: What) -> dict[tuple[str, str], list[Explained]]:
    found: dict[tuple[str, str], list[Explained]] = {}
    seen = set()
    for row in rows:
        if row.id in seen:
            raise UsageError(f"the item {row.item.id!r} was explained twice to one person", hint="make the file anew")
        seen.add(row.id)
        found.setdefault((row.user, row.item.id if what == "explanations" else ""), []).append(row)
    return found


def _pair(a: Sequence[Explained], b: Sequence[Explained]) -> Pair:
    liked = {(item.domain, item.id): item for row in (*a, *b) for item in row.liked}
    return Pair(a[0].user, tuple(liked.values()), _answer(a), _answer(b))


def _answer(rows: Sequence[Explained]) -> tuple[Answered, ...]:
    return tuple(Answered(row.item, row.explanation.text) for row in sorted(rows, key=lambda row: row.rank))


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


def judge_result(
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
