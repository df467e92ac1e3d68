"""Limits on a choice. Reads a text whose titles are masked, produces changes of the filter and of the length.

Only what the target's catalogue has becomes a filter: a category, language or creator that it lacks is remarked on or
asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from retrieval.titles import normalise
from xdrec_agent.converse.grammar import CreatorRule, Grammar, Slot
from xdrec_agent.converse.language import is_unspaced
from xdrec_agent.converse.lexicon import DomainLexicon, Lexicon
from xdrec_agent.converse.rules.mention_masking import Span, blanked, without_overlaps
from xdrec_agent.converse.rules.periods import find_period
from xdrec_agent.converse.state import AnswerOption, ClarifyingQuestion, DialogueState, Length
from xdrec_agent.converse.understanding import FilterChange, Remark

_FIELDS: Final[Mapping[Slot, tuple[str, ...]]] = {
    "year": ("year_from", "year_to"),
    "category": ("categories", "not_categories"),
    "creator": ("creators",),
    "language": ("languages",),
    "length": (),
    "all": ("year_from", "year_to", "categories", "not_categories", "creators", "languages", "attributes"),
}
"""Slot of the dialogue → fields of the filter."""
_WORD: Final = re.compile(r"[^\W_]+(?:[-'’&][^\W_]+)*")
_LONGEST_CATEGORY: Final = 4  # words
_MOST_OPTIONS: Final = 5
_NEAREST: Final = 3
_CLOSE_NAME: Final = 70.0  # similarity of names, in [0, 100]
_MINUTES: Final = 60


@dataclass
class Constraints:
    """What was found; `spans` are the characters that said it."""

    change: FilterChange = field(default_factory=FilterChange)
    length: Length | None = None
    no_length: bool = False
    refused_creators: tuple[str, ...] = ()
    questions: list[ClarifyingQuestion] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def put(self, **changes: object) -> None:
        """Add to the change of the filter."""
        self.change = self.change.model_copy(update=changes)


@dataclass(frozen=True)
class _CategoryName(Span):
    category: str


@dataclass(frozen=True)
class ConstraintFinder:
    """Finds limits on the catalogue of the state's target; `this_year` is what "recent" counts from."""

    grammar: Grammar
    lexicon: Lexicon
    state: DialogueState
    this_year: int

    @cached_property
    def words(self) -> DomainLexicon:
        """The words of the target's catalogue."""
        return self.lexicon.of(self.state.target)

    def find(self, text: str) -> Constraints:
        """All limits in a masked text. What one kind of limit has taken no other one reads."""
        out = Constraints()
        self._dropped(text, out)
        if period := find_period(blanked(text, out.spans), self.grammar, self.this_year):
            out.put(year_from=period.first, year_to=period.last)
            out.spans.append((period.start, period.end))
        for find in (self._length, self._languages, self._categories, self._creators):
            find(blanked(text, out.spans), out)
        return out

    def count(self, text: str) -> int | None:
        """How many items are asked for: "give me 3", 给我三本; None: not said."""
        match = self.grammar.patterns["constraints"]["count"].search(text)
        return self.grammar.numbers.value(match["number"]) if match else None

    def _dropped(self, text: str, out: Constraints) -> None:
        """The limits that no longer count."""
        for slot, words in self.grammar.limit_names.items():
            for match in self.grammar.templates["dropping"]["patterns"].rule("|".join(words)).finditer(text):
                out.spans.append(match.span())
                out.no_length |= slot in {"length", "all"}
                out.put(clear=out.change.clear | set(_FIELDS[slot]))

    def _length(self, text: str, out: Constraints) -> None:
        """How many pages or minutes there may be; "something short" with nothing to compare it to: the shorter half."""
        rules, attribute = self.grammar.patterns["length"], self.words.length
        most = least = None
        if found := rules["at_most"].search(text):
            most = _amount(found)
        elif found := rules["at_least"].search(text):
            least = _amount(found)
        elif found := rules["shorter"].search(text) or rules["longer"].search(text):
            is_shorter = rules["shorter"].search(text) is not None
            values, shown = self.words.numbers[attribute] if attribute else [], self._shown_lengths(attribute)
            middle = values[len(values) // 2] if values else None
            if is_shorter:
                most = min(shown) - 1 if shown else middle
            else:
                least = max(shown) + 1 if shown else middle
        if found is None:
            return
        out.spans.append(found.span())
        if attribute is None:
            out.remarks.append(Remark(note="no_length", text=found[0].strip()))
        else:
            out.length = Length(attribute=attribute, least=least, most=most)

    def _shown_lengths(self, attribute: str | None) -> list[float]:
        """How long the shown items are."""
        target = self.state.target or ""
        shown = self.lexicon.items(target, [ref.id for ref in self.state.shown if ref.domain == target])
        values = (item.attributes.get(attribute or "") for item in shown.values())
        return [float(value) for value in values if isinstance(value, int | float)]

    def _languages(self, text: str, out: Constraints) -> None:
        """The languages of works that the text names."""
        found: list[str] = []
        for code, names in self.grammar.language_names.items():
            for match in self.grammar.templates["languages"]["works"].rule("|".join(names)).finditer(text):
                out.spans.append(match.span())
                in_catalogue = [self.words.languages[n] for n in (code, *names) if n in self.words.languages]
                if self._is_refused(text, match.start()):
                    out.remarks.append(Remark(note="not_language", text=match[0].strip()))
                elif not in_catalogue:
                    out.remarks.append(Remark(note="no_category", text=match[0].strip()))
                else:
                    found.append(in_catalogue[0])
        if found:
            out.put(languages=tuple(dict.fromkeys(found)), add=out.change.add | self._added(text, "languages"))

    def _is_refused(self, text: str, start: int) -> bool:
        """Whether what begins at `start` is refused by the words before it."""
        return self.grammar.patterns["constraints"]["refused_before"].search(text[:start]) is not None

    def _added(self, text: str, name: str) -> frozenset[str]:
        """The field, if the words of the text add to it instead of replacing it."""
        return frozenset({name} if self.grammar.patterns["constraints"]["adds"].search(text) else ())

    def _categories(self, text: str, out: Constraints) -> None:
        """The categories that the text names; one that the catalogue lacks is remarked on."""
        rules, tastes = self.grammar.patterns["categories"], self.grammar.word_lists["categories"]["tastes"]
        wanted: list[str] = []
        refused: list[str] = []
        allowed: list[str] = []
        last_end, last_refused = 0, False
        longest_first = sorted(self._category_names(text), key=lambda name: name.start - name.end)
        for name in without_overlaps(name for name in longest_first if self._is_category(text, name)):
            start, end, category = name.start, name.end, name.category
            is_refused = self._is_refused(text, start) or rules["refused_after"].match(text[end:]) is not None
            is_refused = is_refused or (last_refused and rules["joined"].match(text[last_end:start]) is not None)
            if not is_refused and (rules["liked_before"].search(text[:start]) or category in tastes):
                continue  # a taste is no limit
            is_allowed = rules["allowed_after"].match(text[end:]) is not None
            (refused if is_refused else allowed if is_allowed else wanted).append(category)
            last_end, last_refused = end, is_refused
            out.spans.append((start, end))
        missing = [category for category in wanted if category not in self.words.categories]
        out.remarks += [Remark(note="no_category", text=category) for category in missing]
        if wanted or refused or allowed:
            out.put(
                categories=self._in_catalogue(wanted),
                not_categories=self._in_catalogue(refused),
                allow=tuple(dict.fromkeys(allowed)),
                add=out.change.add | {"not_categories"} | self._added(text, "categories"),
            )

    def _in_catalogue(self, names: list[str]) -> tuple[str, ...]:
        known = self.words.categories
        return tuple(dict.fromkeys(known[name] for name in names if name in known))

    def _category_names(self, text: str) -> Iterator[_CategoryName]:
        """Every run of words, singular or plural, that is a category's name."""
        names_of, known = self.grammar.categories, self.words.categories
        words = [match.span() for match in _WORD.finditer(text)]
        for first, (start, _) in enumerate(words):
            for _, end in words[first : first + _LONGEST_CATEGORY]:
                written = " ".join(text[start:end].casefold().split())
                names = (written, *self.grammar.singulars(written))
                categories = (names_of.get(n) or known.get(n) for n in names if not is_unspaced(n))
                if category := next(filter(None, categories), None):
                    yield _CategoryName(start, end, category.casefold())
        if is_unspaced(text):
            for name, category in (*names_of.items(), *known.items()):
                for match in re.finditer(re.escape(name), text) if is_unspaced(name) else ():
                    yield _CategoryName(*match.span(), category.casefold())

    def _is_category(self, text: str, name: _CategoryName) -> bool:
        """Whether the word is asked for as a category: "a war story" is, "about the war" is what a story is about."""
        rules, before, after = self.grammar.patterns["categories"], text[: name.start], text[name.end :]
        is_kind, is_refused = rules["kind_after"].match(after) is not None, self._is_refused(text, name.start)
        if rules["topic_before"].search(before) and not is_kind and not is_refused:
            return False
        category, lists = name.category, self.grammar.word_lists["categories"]
        is_certain = (category in lists["certain"] or " " in category) and category not in lists["ambiguous"]
        if is_certain and not is_unspaced(text[name.start : name.end]):
            return True
        is_asked = is_kind or is_refused or rules["asked_before"].search(before) is not None
        return is_asked and not rules["no_category_before"].match(after)

    def _creators(self, text: str, out: Constraints) -> None:
        """The creators that the text names: those of the catalogue, or the questions about them."""
        if match := self.grammar.patterns["creators"]["no_longer"].search(text):
            name = normalise(match["name"])
            if any(name.endswith(key) and (len(key) > 3) for key in self.words.creators):
                out.spans.append(match.span())
                out.put(clear=out.change.clear | {"creators"})
                return
        for rule in self.grammar.creator_rules:
            for match in rule.pattern.finditer(text):
                is_taken = any(match.start() < end and start < match.end() for start, end in out.spans)
                if not is_taken and self._creator(text, match, rule, out):
                    out.spans.append(match.span())
        if out.change.creators:
            out.put(add=out.change.add | self._added(text, "creators"))

    def _creator(self, text: str, match: re.Match[str], rule: CreatorRule, out: Constraints) -> bool:
        """Add the creator of a match; whether it names one."""
        name = match["name"].strip()
        full_names = self._full_names(name)
        elsewhere = (self.lexicon.of(domain).creators for domain in self.lexicon.names() if domain != self.state.target)
        if not full_names and any(normalise(name) in creators for creators in elsewhere):
            out.remarks.append(Remark(note="no_creator", text=name))
            return True
        if not full_names and (rule.no_name.search(name) or not (rule.asks or rule.asks_if.search(text))):
            return False
        if match.groupdict().get("no"):
            out.refused_creators += full_names
        elif len(full_names) == 1:
            out.put(creators=(*out.change.creators, *full_names))
        else:
            options = [AnswerOption(creator=one) for one in full_names or self._nearest_creators(name)]
            kind = "ambiguous_creator" if full_names else "unknown_creator"
            question = ClarifyingQuestion(kind=kind, text=name, options=tuple(options[:_MOST_OPTIONS]))
            out.questions.append(question)
        return True

    def _full_names(self, name: str) -> tuple[str, ...]:
        key = normalise(name)
        if found := self.words.creators.get(key):
            return tuple(sorted(found))
        parts = [self.words.name_parts.get(part, set()) for part in key.split()]
        return tuple(sorted(set.intersection(*parts))) if len(parts) > 1 else ()

    def _nearest_creators(self, name: str) -> list[str]:
        from rapidfuzz import fuzz, process

        creators = self.words.creators
        found = process.extract(normalise(name), list(creators), scorer=fuzz.ratio, limit=5, score_cutoff=_CLOSE_NAME)
        return list(dict.fromkeys(full for key, _, _ in found for full in sorted(creators[key])))[:_NEAREST]


def _amount(found: re.Match[str]) -> float:
    """Pages or minutes of a match."""
    return float(found["number"]) * (_MINUTES if found.groupdict().get("hours") else 1)
