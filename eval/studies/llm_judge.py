"""Which of two answers does an LLM judge prefer? Reads pairs of answers to one person, produces what the judge said.

Every pair is asked about twice, with the places swapped: a judge that looks at places contradicts itself, and is found
out (Zheng et al. 2023, "Judging LLM-as-a-judge", on position bias).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from eval.data import Say
from eval.stats import MIN_USERS
from eval.studies.explanations import Explained
from eval.systems import CONCURRENT_USERS, run_concurrently
from retrieval.errors import DataError, UnreadableFile, UsageError
from retrieval.templates import PromptTemplate
from retrieval.types import Item
from xdrec_agent.errors import LLMError
from xdrec_agent.llm import LLMClient, Origin, Usage, gathered

What = Literal["explanations", "answers"]
Side = Literal["a", "b", "tie"]
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


def read_explained(path: Path) -> list[Explained]:
    """What `xdrec-eval explain --out` wrote.

    Raises:
        UnreadableFile: there is no such file.
        DataError: a line is no explanation.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise UnreadableFile(f"{path} cannot be read: {exc}", hint="xdrec-eval explain --out FILE makes one") from exc
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Explained.model_validate_json(line))
        except ValidationError as exc:
            error = exc.errors(include_url=False, include_input=False)[0]
            said = f"{path}, line {number}: {'.'.join(map(str, error['loc']))} {error['msg']}"
            raise DataError(said, hint="xdrec-eval explain --out FILE makes one") from exc
    return found


def pairs(a: Sequence[Explained], b: Sequence[Explained], what: What) -> list[Pair]:
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


async def judged(
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
    messages = template.messages(**_variables(pair, first, second))
    origin = Origin(template=template.fingerprint, user=pair.user)
    return await client.structured(messages, Preference, max_tokens=_TOKENS, origin=origin)


def _variables(pair: Pair, first: Sequence[Answered], second: Sequence[Answered]) -> dict[str, Any]:
    return {
        "liked": pair.liked,
        "first": first,
        "second": second,
        "source": _domains(pair.liked),
        "target": _domains(one.item for one in first),
    }


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
