"""The schema of prompts/LANG/nlu.yaml. Reads its data, produces compiled patterns and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, reduce
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf

FIRST_MENTION: Final = 0xE000
MOST_MENTIONS: Final = 200
MENTION: Final = f"[{chr(FIRST_MENTION)}-{chr(FIRST_MENTION + MOST_MENTIONS)}]"
"""A pattern of one masked mention; the macro {mention}."""
MACRO: Final = re.compile(r"\{([a-z_]+[0-9]?)\}")
SmallTalk = Literal["greeting", "thanks", "bye", "help", "off_topic", "dropped_question"]
Role = Literal["like", "dislike", "known", "unseen", "forget", "meant", "refuse", "why", "why_not", "tell", "none"]
"""What is said of a mention."""
Slot = Literal["year", "category", "creator", "language", "length", "all"]

_ROMAN: Final = {numeral: n for n, numeral in enumerate("i ii iii iv v vi vii viii ix x".split(), 1)}


def longest_first(words: Iterable[str]) -> list[str]:
    """The words as alternatives of a pattern, so that a longer one is found where it begins with a shorter one."""
    return sorted(words, key=len, reverse=True)


class Rule:
    """Patterns of one thing. Of several matches the leftmost counts, and of those the earlier pattern's."""

    __slots__ = ("patterns",)

    def __init__(self, *patterns: re.Pattern[str]) -> None:
        self.patterns = patterns

    @classmethod
    def of(cls, sources: str | Sequence[str]) -> Rule:
        """Compiled alternatives; case does not count. Raises ValueError: one is no regular expression."""
        listed = [sources] if isinstance(sources, str) else list(sources)
        has_groups = any("(?P<" in source for source in listed)  # a group's name may occur once in a pattern
        try:
            return cls(*(re.compile(s, re.I) for s in (listed if has_groups else ["|".join(listed)])))
        except (re.error, TypeError) as exc:
            raise ValueError(f"no regular expression: {exc}: {sources}") from exc

    def __add__(self, other: Rule) -> Rule:
        return Rule(*self.patterns, *other.patterns)

    def search(self, text: str) -> re.Match[str] | None:
        """The leftmost match anywhere."""
        found = [match for pattern in self.patterns if (match := pattern.search(text))]
        return min(found, key=re.Match.start, default=None)

    def match(self, text: str) -> re.Match[str] | None:
        """The first pattern's match at the beginning."""
        return next((match for pattern in self.patterns if (match := pattern.match(text))), None)

    def fullmatch(self, text: str) -> re.Match[str] | None:
        """The first pattern's match of all of it."""
        return next((match for pattern in self.patterns if (match := pattern.fullmatch(text))), None)

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """The matches from left to right, none overlapping."""
        end = 0
        for match in sorted((m for p in self.patterns for m in p.finditer(text)), key=re.Match.start):
            if match.start() >= end:
                yield match
                end = match.end()

    def sub(self, replacement: str, text: str) -> str:
        """The text with every match replaced."""
        return reduce(lambda line, pattern: pattern.sub(replacement, line), self.patterns, text)


class Template:
    """Patterns with a place for words that are known while reading only."""

    __slots__ = ("sources",)

    def __init__(self, *sources: str) -> None:
        self.sources = sources

    @classmethod
    def of(cls, sources: str | Sequence[str]) -> Template:
        """Checked sources. Raises ValueError: with words filled in, one is no regular expression."""
        template = cls(*([sources] if isinstance(sources, str) else sources))
        template.rule("x")
        return template

    def __add__(self, other: Template) -> Template:
        return Template(*self.sources, *other.sources)

    def rule(self, alternatives: str) -> Rule:
        """The patterns with these alternatives filled in."""
        return _filled(self.sources, alternatives)


@lru_cache(maxsize=1024)
def _filled(sources: tuple[str, ...], alternatives: str) -> Rule:
    return Rule.of([MACRO.sub(lambda _: f"(?:{alternatives})", source) for source in sources])


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _parsed(kind: type[Rule] | type[Template]) -> BeforeValidator:
    return BeforeValidator(lambda value: value if isinstance(value, kind) else kind.of(value))


Patterns = Annotated[InstanceOf[Rule], _parsed(Rule)]
Fillable = Annotated[InstanceOf[Template], _parsed(Template)]
Alternatives = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Words = frozenset[str]
NEVER: Final = Rule()
UNFILLED: Final = Template()


class Section(BaseModel):
    """A part of nlu.yaml; prompts/en/nlu.yaml says what its keys mean. What a language leaves out is not understood."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Writing(Section):
    """How the language is written."""

    script: str
    text: Patterns
    letters: str = ""
    evidence: Patterns = NEVER


class Numbers(Section):
    """Number words. `scales` multiply what stands before them; `others` are numbers in special uses only."""

    cardinals: dict[str, int] = {}
    scales: dict[str, int] = {}
    ordinals: dict[str, int] = {}
    others: dict[str, int] = {}

    @cached_property
    def words(self) -> Mapping[str, int]:
        """Every word that is a number."""
        return _ROMAN | self.others | self.ordinals | self.cardinals

    @cached_property
    def _token(self) -> re.Pattern[str]:
        return re.compile("|".join(["[0-9]+", *longest_first([*self.cardinals, *self.ordinals])]), re.I)

    def value(self, written: str) -> int | None:
        """The number that digits, as in "2nd", or a word are; None: it is none."""
        digits = re.match(r"[0-9]+", written)
        return int(digits[0]) if digits else self.words.get(written.casefold())

    def values(self, text: str) -> list[int]:
        """All numbers in a text that lists them."""
        return [number for token in self._token.findall(text) if (number := self.value(token)) is not None]


class DomainWords(Section):
    """Words for a kind of domain."""

    nouns: Alternatives = ()
    also: Alternatives = ()
    asked: Alternatives = ()
    before: Patterns = NEVER
    after: Patterns = NEVER


class Categories(Section):
    """Categories; `names` maps a catalogue's category to other words for it."""

    names: dict[str, Alternatives] = {}
    certain: Words = frozenset()
    ambiguous: Words = frozenset()
    tastes: Words = frozenset()
    refused_after: Patterns = NEVER
    allowed_after: Patterns = NEVER
    joined: Patterns = NEVER
    liked_before: Patterns = NEVER
    kind_after: Patterns = NEVER
    asked_before: Patterns = NEVER
    topic_before: Patterns = NEVER
    no_category_before: Patterns = NEVER

    @cached_property
    def by_name(self) -> Mapping[str, str]:
        """Other words → the catalogue's category."""
        return {name: category for category, names in self.names.items() for name in names}


class LanguageNames(Section):
    """Names of languages by ISO 639-1 code, of `works` that are wanted and of the `reply`."""

    names: dict[str, Alternatives] = {}
    works: Fillable = UNFILLED
    reply: Fillable = UNFILLED


class Titles(Section):
    """Titles in a text, and everyday words that are titles, too."""

    articles: Alternatives = ()
    common: Words = frozenset()
    pointing: Words = frozenset()
    never: Patterns = NEVER
    word_before: Patterns = NEVER
    word_after: Patterns = NEVER
    no_title_after: Patterns = NEVER
    place_after: Patterns = NEVER
    another_title: Patterns = NEVER
    letters_before: Patterns = NEVER
    letters_after: Patterns = NEVER
    series_tail: Patterns = NEVER


class Sequels(Section):
    """Words around a title that name a part (`number`), a season, the whole series or a `year`."""

    part: Patterns = NEVER
    season: Patterns = NEVER
    nth_before: Patterns = NEVER
    whole_after: Patterns = NEVER
    series_after: Patterns = NEVER
    whole_before: Patterns = NEVER
    year_after: Patterns = NEVER


class PlaceRule(Section):
    """Shown items by their place: the `first` or `last` so many, `each` numbered one, the one at the `end`, `all`."""

    which: Literal["first", "last", "each", "end", "all"]
    pattern: Patterns


class References(Section):
    """Shown items; `these` are all of them, `this` the one in focus, `named_alone` asks about one."""

    places: tuple[PlaceRule, ...] = ()
    listed: Patterns = NEVER
    these: Patterns = NEVER
    this: Patterns = NEVER
    pronouns: Words = frozenset()
    named_alone: Patterns = NEVER


class CueRule(Section):
    """Words that give mentions of their clause a role; of overlapping ones the earlier rule's count."""

    role: Role
    preference: float = Field(default=0.0, ge=-1, le=1)
    pattern: Patterns


class CueScope(Section):
    """Which mention a cue speaks of."""

    predicate: Patterns = NEVER
    joined: Patterns = NEVER
    behind: Patterns = NEVER


class UnknownTitles(Section):
    """Parts of a text that may be titles of no catalogue."""

    separator: Patterns = NEVER
    lead: Patterns = NEVER
    trail: Patterns = NEVER
    no_title: Patterns = NEVER
    never: Patterns = NEVER
    limit: Patterns = NEVER
    sentence_case: bool = False
    small_words: Words = frozenset()
    pronouns: Words = frozenset()
    described: Words = frozenset()


class PeriodRule(Section):
    """A period: how the years of the choice relate to the time that the pattern's groups name, or else to `year`."""

    relation: Literal["between", "in", "before", "until", "after", "since", "recent"]
    pattern: Patterns
    year: int | None = None


class Lengths(Section):
    """Limits on length, a `number` of `hours` or other units, of the first of `attributes` that a catalogue has."""

    attributes: Alternatives = ()
    at_most: Patterns = NEVER
    at_least: Patterns = NEVER
    shorter: Patterns = NEVER
    longer: Patterns = NEVER


class CreatorRule(Section):
    """A creator's `name`, refused if the group `no` matches."""

    pattern: Patterns
    asks: bool = False
    asks_if: Patterns = NEVER
    no_name: Patterns = NEVER


class Creators(Section):
    """Limits on creators; `no_longer` drops the limit to a `name`."""

    rules: tuple[CreatorRule, ...] = ()
    no_longer: Patterns = NEVER


class Dropping(Section):
    """Limits that no longer count: words for a slot, and what is said around them."""

    slots: dict[Slot, Alternatives] = {}
    patterns: Fillable = UNFILLED


class Constraints(Section):
    """Of all limits: how many items (`number`), what refuses, what adds to a limit instead of replacing it."""

    count: Patterns = NEVER
    refused_before: Patterns = NEVER
    adds: Patterns = NEVER


class DomainSwitch(Section):
    """Requests for a domain that is `there` or `missing`; `verbs` ask by what one does (`verb`)."""

    there: Fillable = UNFILLED
    missing: Fillable = UNFILLED
    verbs: Patterns = NEVER
    right_behind: Fillable = UNFILLED


class Talk(Section):
    """What is said to the recommender itself; `orders` and `asks` are off topic where `ours` is not said."""

    restart: Patterns = NEVER
    save: Patterns = NEVER
    another_list: Patterns = NEVER
    similar: Patterns = NEVER
    why_alone: Patterns = NEVER
    small: dict[SmallTalk, Patterns] = {}
    orders: Patterns = NEVER
    asks: Patterns = NEVER
    ours: Patterns = NEVER


class Wishes(Section):
    """Free wishes."""

    trigger: Patterns = NEVER
    filler: Patterns = NEVER
    lead: Patterns = NEVER
    clause: Patterns = NEVER
    with_mention: Patterns = NEVER


class OptionAnswers(Section):
    """Answers to a question with options; `place` is a `number`, `lead` introduces a name."""

    yes: Patterns = NEVER
    place: Patterns = NEVER
    lead: Patterns = NEVER
    domain: Fillable = UNFILLED


class Grammar(Section):
    """All that the rules know of one language, or of several that are joined. `clauses` are words between clauses."""

    plurals: dict[str, str] = {}
    numbers: Numbers = Numbers()
    domains: dict[str, DomainWords] = {}
    categories: Categories = Categories()
    languages: LanguageNames = LanguageNames()
    titles: Titles = Titles()
    sequels: Sequels = Sequels()
    references: References = References()
    clauses: Patterns = NEVER
    cues: tuple[CueRule, ...] = ()
    cue_scope: CueScope = CueScope()
    unknown_titles: UnknownTitles = UnknownTitles()
    periods: tuple[PeriodRule, ...] = ()
    length: Lengths = Lengths()
    creators: Creators = Creators()
    dropping: Dropping = Dropping()
    constraints: Constraints = Constraints()
    switch: DomainSwitch = DomainSwitch()
    talk: Talk = Talk()
    wishes: Wishes = Wishes()
    options: OptionAnswers = OptionAnswers()

    def singulars(self, word: str) -> list[str]:
        """What a word may be the plural of."""
        return [word.removesuffix(end) + one for end, one in self.plurals.items() if word.endswith(end)]
