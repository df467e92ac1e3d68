"""The schema of prompts/LANG/nlu.yaml. Reads its data, produces compiled patterns and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, reduce
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, model_validator

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
Words = Annotated[frozenset[str], BeforeValidator(_listed)]
NEVER: Final = Rule()

_KEYS: Final[dict[str, dict[str, str]]] = {
    "patterns": {
        "categories": "refused_after allowed_after joined liked_before kind_after asked_before topic_before"
        " no_category_before",
        "titles": "never word_before word_after no_title_after place_after another_title letters_before letters_after"
        " series_tail",
        "sequels": "part season nth_before whole_after series_after whole_before year_after",
        "references": "listed these this named_alone",
        "cue_scope": "predicate joined behind",
        "unknown_titles": "separator lead trail no_title never limit",
        "length": "at_most at_least shorter longer",
        "creators": "no_longer",
        "constraints": "count refused_before adds",
        "switch": "verbs",
        "talk": "restart save another_list similar why_alone orders asks ours",
        "wishes": "trigger filler lead clause with_mention",
        "options": "yes place lead",
    },
    "templates": {
        "languages": "works reply",
        "dropping": "patterns",
        "switch": "there missing right_behind",
        "options": "domain",
    },
    "word_lists": {
        "titles": "articles common pointing",
        "categories": "certain ambiguous tastes",
        "references": "pronouns",
        "unknown_titles": "small_words pronouns described",
    },
}
"""Table of a `Grammar` → section of nlu.yaml → the keys of the section that the table holds."""
_LEFT_OUT: Final = {"patterns": NEVER, "templates": Template(), "word_lists": frozenset[str]()}
"""What stands in a table for a key that a language leaves out."""
_SECTIONS: Final = frozenset(section for sections in _KEYS.values() for section in sections)


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


class PlaceRule(Section):
    """Shown items by their place: the `first` or `last` so many, `each` numbered one, the one at the `end`, `all`."""

    which: Literal["first", "last", "each", "end", "all"]
    pattern: Patterns


class CueRule(Section):
    """Words that give mentions of their clause a role; of overlapping ones the earlier rule's count."""

    role: Role
    preference: float = Field(default=0.0, ge=-1, le=1)
    pattern: Patterns


class PeriodRule(Section):
    """A period: how the years of the choice relate to the time that the pattern's groups name, or else to `year`."""

    relation: Literal["between", "in", "before", "until", "after", "since", "recent"]
    pattern: Patterns
    year: int | None = None


class CreatorRule(Section):
    """A creator's `name`, refused if the group `no` matches."""

    pattern: Patterns
    asks: bool = False
    asks_if: Patterns = NEVER
    no_name: Patterns = NEVER


class Grammar(Section):
    """All that the rules know of one language, or of several that are joined.

    Attributes:
        patterns, templates, word_lists: by section and key of nlu.yaml; `_KEYS` lists them.
        category_names: a catalogue's category → other words for it.
        language_names: ISO 639-1 code → what the language is called.
        limit_names: what may be dropped → words for it, as alternatives of a pattern.
        clauses: words between clauses.
    """

    patterns: dict[str, dict[str, Patterns]]
    templates: dict[str, dict[str, Fillable]]
    word_lists: dict[str, dict[str, Words]]
    plurals: dict[str, str] = {}
    numbers: Numbers = Numbers()
    domains: dict[str, DomainWords] = {}
    category_names: dict[str, Alternatives] = Field({}, alias="categories.names")
    language_names: dict[str, Alternatives] = Field({}, alias="languages.names")
    places: tuple[PlaceRule, ...] = Field((), alias="references.places")
    clauses: Patterns = NEVER
    cues: tuple[CueRule, ...] = ()
    sentence_case: bool = Field(False, alias="unknown_titles.sentence_case")
    periods: tuple[PeriodRule, ...] = ()
    length_attributes: Alternatives = Field((), alias="length.attributes")
    creator_rules: tuple[CreatorRule, ...] = Field((), alias="creators.rules")
    limit_names: dict[Slot, Alternatives] = Field({}, alias="dropping.slots")
    small_talk: dict[SmallTalk, Patterns] = Field({}, alias="talk.small")

    @model_validator(mode="before")
    @classmethod
    def _by_table(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The keys of all sections in their tables; those that have a field of their own as "section.key"."""
        sections = {name: dict(body) for name, body in data.items() if name in _SECTIONS and isinstance(body, dict)}
        tables = {
            table: {
                section: {key: sections.get(section, {}).pop(key, _LEFT_OUT[table]) for key in keys.split()}
                for section, keys in keys_of.items()
            }
            for table, keys_of in _KEYS.items()
        }
        others = {f"{section}.{key}": value for section, body in sections.items() for key, value in body.items()}
        return {name: body for name, body in data.items() if name not in sections} | tables | others

    @cached_property
    def categories(self) -> Mapping[str, str]:
        """Other words → the catalogue's category."""
        return {name: category for category, names in self.category_names.items() for name in names}

    def singulars(self, word: str) -> list[str]:
        """What a word may be the plural of."""
        return [word.removesuffix(end) + one for end, one in self.plurals.items() if word.endswith(end)]
