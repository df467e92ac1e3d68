"""The rule NLU. Reads one turn and the state, produces what the turn changes; needs no model.

Titles first (the catalogue knows them), then what was shown, then what is said of both, then limits, then what is left.
What it knows of a language is its grammar, prompts/LANG/nlu.yaml.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
from xdrec_agent.converse.state import MOST_SHOWN, AnswerOption, ClarifyingQuestion, DialogueState, ItemRef, Opinion
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
        target, missing = find_target(masked.text, domains, grammar)
        reading = _Reading(
            lexicon=self.lexicon,
            grammar=grammar,
            domains=domains,
            state=_directed(state, target),
            line=line,
            masked=masked,
            target=target,
            missing_domain=missing,
            language=language if line.strip() else None,
            this_year=self._this_year or datetime.datetime.now(tz=datetime.UTC).year,
        )
        return reading.understanding()

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
    """The reading of one turn: what it is read from, and what has been understood so far."""

    lexicon: Lexicon
    grammar: Grammar
    domains: Sequence[str]
    state: DialogueState
    line: str
    masked: MaskedText
    target: str | None
    missing_domain: str | None
    language: str | None
    this_year: int

    likes: list[Opinion] = field(default_factory=list)
    dislikes: list[Opinion] = field(default_factory=list)
    known: list[ItemRef] = field(default_factory=list)
    forget: list[ItemRef] = field(default_factory=list)
    about: list[ItemRef] = field(default_factory=list)
    questions: list[ClarifyingQuestion] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    act: Act | None = None
    forget_last: bool = False

    @cached_property
    def disambiguator(self) -> Disambiguator:
        """What chooses among the items that a mention may name."""
        return Disambiguator(self.lexicon, self.domains, self.state, self.grammar)

    @property
    def has_items(self) -> bool:
        """Whether any item plays a part."""
        return bool(self.likes or self.dislikes or self.known or self.forget or self.about or self.questions)

    def understanding(self) -> Understanding:
        """All that the turn changes."""
        finder = ConstraintFinder(self.grammar, self.lexicon, self.state, self.this_year)
        constraints = finder.find(self.masked.text)
        for mention in mentions_in_context(self.masked, self.grammar):
            self._add_mention(mention)
        self._add_consequences(constraints)
        return self._with_the_rest(constraints, finder.count(self.masked.text))

    def _add_mention(self, said: MentionInContext) -> None:
        """Put what is said of one mention where it belongs."""
        mention, role = said.mention, said.role
        if role == "unseen" or (mention.kind == "unknown" and role in {"forget", "refuse"}):
            return
        items, question = self.disambiguator.choose(said)
        if question is not None:
            self.questions.append(question)
            return
        if role == "none" and mention.kind == "shown":
            around = f"{said.before}{_ONE_MENTION}{said.after}"
            if not mention.ids or not self.grammar.patterns["references"]["named_alone"].fullmatch(around):
                return
            role = "tell"
        if role in _ASKS:
            self.act = _ASKS[role]
            self.about += items
        elif role == "known" or (role == "refuse" and (mention.kind == "shown" or self.state.shown)):
            self.known += items
        elif role == "forget":
            self.forget += items
        elif role in {"dislike", "refuse"}:
            self.dislikes += [Opinion(item=item, preference=said.preference or -1.0) for item in items]
        else:
            self.forget_last |= role == "meant" and not self.forget
            self.likes += [Opinion(item=item, preference=1.0, cued=role != "none") for item in items]

    def _add_consequences(self, constraints: Constraints) -> None:
        """What follows for items from the limits and from what stands alone."""
        state, text = self.state, self.masked.text
        if self.known and not self.likes and self.grammar.patterns["talk"]["similar"].search(text):
            self.likes += [Opinion(item=item) for item in self.known if item.domain in state.sources]
            self.known = [item for item in self.known if item.domain not in state.sources]
        self.remarks += constraints.remarks
        self.questions += constraints.questions
        if state.target:
            words = self.lexicon.of(state.target)
            works = [(state.target, id_) for name in constraints.refused_creators for id_ in words.works[name]]
            self.known += self.disambiguator.refs(tuple(dict.fromkeys(works)))
        if self.grammar.patterns["talk"]["why_alone"].match(text) and not self.about:
            self.act = "why"
            self.about = list(state.focus or state.shown[:1])
        if self.act in {"why", "tell"} and not self.about and not self.questions:
            self.act = None
            if any(mention.kind == "shown" and not mention.ids for mention in self.masked.mentions):
                self.remarks.append(Remark(note="nothing_shown"))

    def _with_the_rest(self, constraints: Constraints, count: int | None) -> Understanding:
        """The understanding, with small talk and wishes read from the words that mean nothing else."""
        text, rules = self.masked.text, self.grammar.patterns["talk"]
        rest = blanked(text, constraints.spans)
        change = constraints.change
        another_list = rules["another_list"].search(text) is not None and not self.questions and self.act is None
        found = self.has_items or not change.empty or bool(constraints.length or constraints.no_length)
        found = found or bool(constraints.remarks or self.target or another_list) or count is not None
        talk = small_talk(rest, self.grammar) if not (self.has_items or (found and not self.remarks)) else None
        wish: str | None = None
        if rules["save"].search(text) and not self.has_items:
            self.act = "save"
        elif talk == "dropped_question" and self.state.question is None:
            self.act = self.act if found else "say"
        elif talk:
            self._say(Remark(note=talk))
        elif self.missing_domain and not found:
            self._say(Remark(note="no_domain", text=self.missing_domain[:200]))
        elif not found and all(r.note != "nothing_shown" for r in self.remarks) and off_topic(rest, self.grammar):
            self._say(Remark(note="off_topic"))
        elif self.act is None:
            wish = find_wish(rest, self.grammar)
        return Understanding(
            act=self.act,
            likes=tuple(self.likes),
            dislikes=tuple(self.dislikes),
            known=tuple(dict.fromkeys(self.known)),
            forget=tuple(self.forget),
            forget_last=self.forget_last,
            about=tuple(dict.fromkeys(self.about)),
            another_list=another_list,
            target=self.target,
            filter=change,
            length=constraints.length,
            no_length=constraints.no_length,
            wish=wish,
            k=min(count, MOST_SHOWN) if count else None,
            language=self.language,
            questions=tuple(self.questions),
            remarks=tuple(self.remarks),
        )

    def _say(self, remark: Remark) -> None:
        self.act = "say"
        self.remarks.append(remark)


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
