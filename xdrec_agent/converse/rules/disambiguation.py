"""Which item a mention means. Reads what is said and what the dialogue knows, produces items, or a question.

An item of several domains is the one of the domain that the words around it name, else of the domain that the role
speaks of: what was liked is of the source, what is asked "why not" of the target. A short answer to a question names
a place, a year, a domain or a part of the name; anything else is a turn of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from retrieval.titles import normalise
from retrieval.types import Item
from xdrec_agent.converse.grammar import Grammar
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.rules.mention_masking import Ids
from xdrec_agent.converse.rules.sentiment_cues import MentionInContext
from xdrec_agent.converse.rules.switches import domain_nouns, domain_of
from xdrec_agent.converse.state import AnswerOption, ClarifyingQuestion, DialogueState, ItemRef, QuestionKind

_OF_TARGET: Final = frozenset({"why", "why_not", "tell"})
_MOST_OPTIONS: Final = 5
_NEAR: Final = 40  # characters between a domain's noun and a liked title
_LONGEST_ANSWER: Final = 60
_YEAR: Final = re.compile(r"\b(1[0-9]{3}|20[0-9]{2})\b")
_LONGEST_YEAR_ANSWER: Final = 30


@dataclass(frozen=True)
class Disambiguator:
    """Chooses among the items of a lexicon, for one state."""

    lexicon: Lexicon
    domains: Sequence[str]
    state: DialogueState
    grammar: Grammar

    def choose(self, said: MentionInContext) -> tuple[tuple[ItemRef, ...], ClarifyingQuestion | None]:
        """The items that a mention means, or the question that must be asked. Raises StoreError."""
        mention = said.mention
        if mention.kind == "unknown":
            order = self._domain_order(self._named_domain(said), said)
            within = tuple(pair for pair in mention.ids if pair[0] in order[:1])
            return (), self._question("unknown", said, within or mention.ids)
        items = list(self.lexicon.items_of(mention.ids).values())
        if mention.kind == "shown":
            return tuple(map(ItemRef.of, items)), None
        named = self._named_domain(said)
        has_direction = named or self.state.sources or self.state.target
        if not has_direction and len({item.domain for item in items}) > 1:
            return (), self._question("ambiguous", said, mention.ids)
        items = self._of_likely_domain(items, named, said)
        if mention.kind == "series":
            return tuple(map(ItemRef.of, items)), None
        works = {(item.domain, item.edition_of or item.id): item for item in reversed(items)}
        if len(works) == 1:
            return (ItemRef.of(next(iter(works.values()))),), None
        return (), self._question("ambiguous", said, tuple((i.domain, i.id) for i in reversed(works.values())))

    def refs(self, ids: Ids) -> tuple[ItemRef, ...]:
        """References to these items, in order. Raises StoreError."""
        return tuple(map(ItemRef.of, self.lexicon.items_of(ids).values()))

    def _of_likely_domain(self, items: list[Item], named: str | None, said: MentionInContext) -> list[Item]:
        """The items that are spoken of already, where the role asks for such; else those of the likeliest domain."""
        spoken_of: list[Iterable[ItemRef]] = []
        if said.role in {*_OF_TARGET, "refuse", "forget"}:
            spoken_of.append(self.state.shown)
        if said.role == "forget":
            spoken_of.append(opinion.item for opinion in (*self.state.likes, *self.state.dislikes))
        for refs in spoken_of:
            keys = {ref.key for ref in refs}
            if known := [item for item in items if (item.domain, item.id) in keys]:
                return known
        for domain in self._domain_order(named, said):
            if found := [item for item in items if item.domain == domain]:
                return found
        return items

    def _domain_order(self, named: str | None, said: MentionInContext) -> list[str]:
        sources, target = list(self.state.sources), [self.state.target] if self.state.target else []
        order = [*target, *sources] if said.role in _OF_TARGET else [*sources, *target]
        return list(dict.fromkeys([*([named] if named else []), *order, *self.domains]))

    def _named_domain(self, said: MentionInContext) -> str | None:
        """The domain whose noun stands nearest before the mention, else right behind it, else that a verb tells."""
        nouns = {domain: domain_nouns(domain, self.grammar) for domain in self.domains}
        ends = [
            (match.end(), -position, domain)
            for position, domain in enumerate(self.domains)
            for match in nouns[domain].finditer(said.before)
        ]
        if ends:
            end, _, domain = max(ends)
            if said.role != "like" or len(said.before) - end <= _NEAR:
                return domain
        for domain in self.domains:
            if self.grammar.templates["switch"]["right_behind"].rule(nouns[domain].pattern).match(said.after):
                return domain
        for kind, words in self.grammar.domains.items():
            if words.before.search(said.before) or words.after.search(said.after):
                return domain_of(kind, self.domains)
        return None

    def _question(self, kind: QuestionKind, said: MentionInContext, ids: Ids) -> ClarifyingQuestion:
        options = tuple(AnswerOption(item=ref) for ref in self.refs(ids[:_MOST_OPTIONS]))
        preference = said.preference if said.role in {"like", "dislike"} else (1.0 if said.role == "none" else None)
        return ClarifyingQuestion(kind=kind, text=said.mention.text[:200], options=options, preference=preference)


def answered_option(
    text: str, question: ClarifyingQuestion, domains: Sequence[str], grammar: Grammar
) -> AnswerOption | None:
    """The option of the question that the text means; None: the text is no answer to it."""
    bare, options, rules = text.strip(), question.options, grammar.patterns["options"]
    if not options or len(bare) > _LONGEST_ANSWER:
        return None
    if rules["yes"].match(bare):
        return options[0] if len(options) == 1 or question.kind == "unknown" else None
    if place := rules["place"].match(bare):
        number = grammar.numbers.value(place["number"]) or 0
        return _only(options[number - 1 : number])
    return _named_option(bare, question, domains, grammar)


def _named_option(
    bare: str, question: ClarifyingQuestion, domains: Sequence[str], grammar: Grammar
) -> AnswerOption | None:
    """The option that a part of its name, its year or its domain tells."""
    options = question.options
    if question.kind in {"ambiguous_creator", "unknown_creator"}:
        key = normalise(grammar.patterns["options"]["lead"].sub("", bare))
        return _only(option for option in options if option.creator and key and key in normalise(option.creator))
    items = [option for option in options if option.item]
    if (year := _YEAR.search(bare)) and len(bare) < _LONGEST_YEAR_ANSWER:
        return _only(option for option in items if option.item and year[1] in option.item.id)
    for domain in domains:
        if grammar.templates["options"]["domain"].rule(domain_nouns(domain, grammar).pattern).match(bare):
            return _only(option for option in items if option.item and option.item.domain == domain)
    return None


def _only(options: Iterable[AnswerOption]) -> AnswerOption | None:
    found = list(options)
    return found[0] if len(found) == 1 else None
