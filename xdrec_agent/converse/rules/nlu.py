"""The rule NLU. Reads one turn and the state, produces what the turn changes; needs no model.

Titles first (the catalogue knows them), then what was shown, then what is said of both, then limits, then what is left.
What it knows of a language is its grammar, prompts/LANG/nlu.yaml.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from retrieval.templates import visible
from xdrec_agent.converse.grammar import FIRST_MENTION, Grammar
from xdrec_agent.converse.language import grammar_of, languages_of, written_in
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.rules.constraints import ConstraintFinder, Constraints
from xdrec_agent.converse.rules.disambiguation import Disambiguator, answered_option
from xdrec_agent.converse.rules.mention_masking import (
    MaskedText,
    Mention,
    blanked,
    find_references,
    mask,
    without_masks,
    without_overlaps,
)
from xdrec_agent.converse.rules.sentiment_cues import MentionInContext, mentions_in_context
from xdrec_agent.converse.rules.switches import find_reply_language, find_target
from xdrec_agent.converse.rules.titles import TitleFinder
from xdrec_agent.converse.rules.unknown_titles import UnknownTitles
from xdrec_agent.converse.rules.wishes import find_wish, off_topic, small_talk
from xdrec_agent.converse.state import MOST_SHOWN, AnswerOption, ClarifyingQuestion, DialogueState, Opinion
from xdrec_agent.converse.understanding import Act, FilterChange, Remark, Understanding

MOST_TEXT: Final = 2_000
"""Characters of a turn that are read."""
_ASKS: Final[dict[str, Act]] = {"why": "why", "why_not": "why_not", "tell": "tell"}
_ONE_MENTION: Final = chr(FIRST_MENTION)
_COLON: Final = re.compile(r"\s*[:：]\s*")
_LONG_ENOUGH: Final = 12  # characters beside "start over" that are a turn of their own


class RuleNLU:
    """Understands turns against the catalogues of a lexicon.

    Args:
        this_year: what "recent" counts from; None: the clock's.
    """

    def __init__(self, lexicon: Lexicon, *, this_year: int | None = None) -> None:
        self.lexicon = lexicon
        self._this_year = this_year

    def understand(self, text: str, state: DialogueState) -> Understanding:
        """What the turn changes. Never raises for any text. Raises StoreError if the catalogue cannot be read."""
        line = without_masks(visible(text[:MOST_TEXT]))
        domains = self.lexicon.refresh()
        spoken = languages_of(line, state.language)
        grammar = grammar_of(spoken)
        if grammar.patterns["talk"]["restart"].search(line):
            rest = grammar.patterns["talk"]["restart"].sub(" ", line).strip(" ,.!。，！")
            fresh = DialogueState(language=state.language, sources=state.sources, target=state.target)
            after = Understanding(act="say")
            if len(rest) > _LONG_ENOUGH:
                after = self._turn(rest, fresh, domains, spoken)
            return after.model_copy(update={"restart": True, "remarks": (*after.remarks, Remark(note="restarted"))})
        if state.question and (option := answered_option(line, state.question, domains, grammar)):
            return _of_option(option, state.question)
        return self._turn(line, state, domains, spoken)

    def _turn(self, line: str, state: DialogueState, domains: Sequence[str], spoken: tuple[str, ...]) -> Understanding:
        masked = self._masked(line, state, domains, grammar_of(spoken))
        without_titles = languages_of(masked.text, state.language)
        if without_titles != spoken:  # a title's words told another language than the user's own
            spoken = without_titles
            masked = self._masked(line, state, domains, grammar_of(spoken))
        grammar = grammar_of(spoken)
        language = written_in(masked.text, spoken)
        if reply_language := find_reply_language(masked.text, grammar):
            remarks = (Remark(note="language"),)
            return Understanding(act="say", language=reply_language, language_fixed=True, remarks=remarks)
        talk = small_talk(line, grammar)
        only_pronouns = all(m.text.casefold() in grammar.word_lists["references"]["pronouns"] for m in masked.mentions)
        if talk in {"thanks", "greeting", "bye"} and only_pronouns:
            return Understanding(act="say", language=language, remarks=(Remark(note=talk),))
        target, missing_domain = find_target(masked.text, domains, grammar)
        reading = _Reading(
            lexicon=self.lexicon,
            grammar=grammar,
            domains=domains,
            state=_directed(state, target),
            masked=masked,
            missing_domain=missing_domain,
            said=Understanding(target=target, language=language if line.strip() else None),
        )
        return reading.understanding(self._this_year or datetime.datetime.now(tz=datetime.UTC).year)

    def _masked(self, line: str, state: DialogueState, domains: Sequence[str], grammar: Grammar) -> MaskedText:
        finder = TitleFinder(self.lexicon, domains, grammar)
        titles: list[Mention] = []
        for mention in finder.find(line):
            title = finder.continued(line, mention)
            if titles and _COLON.fullmatch(line[titles[-1].end : title.start]):
                # A title that only introduces the next one, as in "Star Wars: The Empire Strikes Back".
                title = replace(title, start=titles.pop().start)
            titles.append(title)
        titles = without_overlaps(titles)
        rest = blanked(line, [(title.start, title.end) for title in titles], by=_ONE_MENTION)
        references = find_references(rest, grammar, state.shown, state.focus)
        masked = mask(line, without_overlaps([*titles, *references]))
        return UnknownTitles(finder, grammar).masked(masked)


@dataclass
class _Reading:
    """The reading of one turn: what it is read from, and what it is understood to have `said` so far."""

    lexicon: Lexicon
    grammar: Grammar
    domains: Sequence[str]
    state: DialogueState
    masked: MaskedText
    missing_domain: str | None
    said: Understanding

    @cached_property
    def disambiguator(self) -> Disambiguator:
        """What chooses among the items that a mention may name."""
        return Disambiguator(self.lexicon, self.domains, self.state, self.grammar)

    @property
    def has_items(self) -> bool:
        """Whether any item plays a part."""
        said = self.said
        return bool(said.likes or said.dislikes or said.known or said.forget or said.about or said.questions)

    def _put(self, **values: object) -> None:
        self.said = self.said.model_copy(update=values)

    def _add(self, **values: Iterable[object]) -> None:
        """Add to what is said; of what is there already nothing."""
        self._put(**{name: tuple(dict.fromkeys((*getattr(self.said, name), *more))) for name, more in values.items()})

    def understanding(self, this_year: int) -> Understanding:
        """All that the turn changes; "recent" counts from `this_year`."""
        finder = ConstraintFinder(self.grammar, self.lexicon, self.state, this_year)
        constraints = finder.find(self.masked.text)
        for mention in mentions_in_context(self.masked, self.grammar):
            self._add_mention(mention)
        self._add_consequences(constraints)
        self._add_the_rest(constraints, finder.count(self.masked.text))
        return self.said

    def _add_mention(self, one: MentionInContext) -> None:
        """Put what is said of one mention where it belongs."""
        mention, role = one.mention, one.role
        if role == "unseen" or (mention.kind == "unknown" and role in {"forget", "refuse"}):
            return
        items, question = self.disambiguator.choose(one)
        if question is not None:
            self._add(questions=[question])
            return
        if role == "none" and mention.kind == "shown":
            around = f"{one.before}{_ONE_MENTION}{one.after}"
            if not mention.ids or not self.grammar.patterns["references"]["named_alone"].fullmatch(around):
                return
            role = "tell"
        if role in _ASKS:
            self._put(act=_ASKS[role])
            self._add(about=items)
        elif role == "known" or (role == "refuse" and (mention.kind == "shown" or self.state.shown)):
            self._add(known=items)
        elif role == "forget":
            self._add(forget=items)
        elif role in {"dislike", "refuse"}:
            self._add(dislikes=[Opinion(item=item, preference=one.preference or -1.0) for item in items])
        else:
            self._put(forget_last=self.said.forget_last or (role == "meant" and not self.said.forget))
            self._add(likes=[Opinion(item=item, preference=1.0, cued=role != "none") for item in items])

    def _add_consequences(self, constraints: Constraints) -> None:
        """What follows for items from the limits and from what stands alone."""
        state, text, rules = self.state, self.masked.text, self.grammar.patterns["talk"]
        known = self.said.known
        if known and not self.said.likes and rules["similar"].search(text):
            self._add(likes=[Opinion(item=item) for item in known if item.domain in state.sources])
            self._put(known=tuple(item for item in known if item.domain not in state.sources))
        self._add(remarks=constraints.remarks, questions=constraints.questions)
        if state.target:
            works = self.lexicon.of(state.target).works
            refused = [(state.target, id_) for name in constraints.refused_creators for id_ in works[name]]
            self._add(known=self.disambiguator.refs(tuple(dict.fromkeys(refused))))
        if rules["why_alone"].match(text) and not self.said.about:
            self._put(act="why", about=state.focus or state.shown[:1])
        if self.said.act in {"why", "tell"} and not self.said.about and not self.said.questions:
            self._put(act=None)
            if any(mention.kind == "shown" and not mention.ids for mention in self.masked.mentions):
                self._add(remarks=[Remark(note="nothing_shown")])

    def _add_the_rest(self, constraints: Constraints, count: int | None) -> None:
        """The limits, and small talk and wishes, read from the words that mean nothing else."""
        text, rules, said = self.masked.text, self.grammar.patterns["talk"], self.said
        rest = blanked(text, constraints.spans)
        another_list = rules["another_list"].search(text) is not None and not said.questions and said.act is None
        self._put(
            another_list=another_list,
            filter=constraints.change,
            length=constraints.length,
            no_length=constraints.no_length,
            k=min(count, MOST_SHOWN) if count else None,
        )
        found = self.has_items or not constraints.change.empty or bool(constraints.length or constraints.no_length)
        found = found or bool(constraints.remarks or said.target or another_list) or count is not None
        talk = small_talk(rest, self.grammar) if not (self.has_items or (found and not said.remarks)) else None
        if rules["save"].search(text) and not self.has_items:
            self._put(act="save")
        elif talk == "dropped_question" and self.state.question is None:
            self._put(act=said.act if found else "say")
        elif talk:
            self._say(Remark(note=talk))
        elif self.missing_domain and not found:
            self._say(Remark(note="no_domain", text=self.missing_domain[:200]))
        elif not found and "nothing_shown" not in said.notes() and off_topic(rest, self.grammar):
            self._say(Remark(note="off_topic"))
        elif said.act is None:
            self._put(wish=find_wish(rest, self.grammar))

    def _say(self, remark: Remark) -> None:
        self._put(act="say")
        self._add(remarks=[remark])


def _directed(state: DialogueState, target: str | None) -> DialogueState:
    """The state with the target that a turn asks for, so that its other words are read for that one."""
    if not target or target == state.target:
        return state
    sources = state.sources
    if target in sources:
        sources = tuple(s for s in sources if s != target) or ((state.target,) if state.target else ())
    return state.model_copy(update={"target": target, "sources": sources})


def _of_option(option: AnswerOption, question: ClarifyingQuestion) -> Understanding:
    """What an answered question comes to."""
    if option.creator:
        return Understanding(filter=FilterChange(creators=(option.creator,)))
    item = option.item
    if item is None or question.preference is None:
        return Understanding(known=(item,) if item else ())
    opinion = Opinion(item=item, preference=question.preference)
    return Understanding(likes=(opinion,)) if question.preference > 0 else Understanding(dislikes=(opinion,))
