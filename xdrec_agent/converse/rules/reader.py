"""The deterministic reader. Reads one turn and the state, produces what the turn changes; needs no model.

Titles first (the catalogue knows them), then what was shown, then what is said of both, then limits, then what is left.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from retrieval.templates import visible
from retrieval.titles import normalise
from retrieval.types import Item
from xdrec_agent.converse.lexicon import DomainWords, Lexicon
from xdrec_agent.converse.rules.constraints import count_of, find_limits
from xdrec_agent.converse.rules.disambiguation import Chooser
from xdrec_agent.converse.rules.limits import Limits
from xdrec_agent.converse.rules.mention_masking import MARK, Masked, cleaned, mask
from xdrec_agent.converse.rules.mentions import Mention
from xdrec_agent.converse.rules.option_answers import answered
from xdrec_agent.converse.rules.references import find_references
from xdrec_agent.converse.rules.sentiment_cues import Said, roles
from xdrec_agent.converse.rules.sequels import continued
from xdrec_agent.converse.rules.switches import OTHERS, RESTART, SAVE, find_reply_language, find_target, written_in
from xdrec_agent.converse.rules.titles_in_text import find_titles
from xdrec_agent.converse.rules.unknown_titles import find_leftovers
from xdrec_agent.converse.rules.wishes import find_wish, off_topic, small_talk
from xdrec_agent.converse.state import MOST_SHOWN, DialogueState, ItemRef, Language, Opinion, Option, Question
from xdrec_agent.converse.understanding import Act, FilterChange, Remark, Understanding

MOST: Final = 2_000
"""Characters of a turn that are read."""
_ASKING: Final[dict[str, Act]] = {"why": "why", "why_not": "why_not", "tell": "tell"}
_SIMILAR: Final = re.compile(
    r"\bsimilar\b|\blike (?:it|that|this|them|those)\b|\bin that vein\b|类似|这样的|那样的", re.I
)
_BARE_WHY: Final = re.compile(
    r"^\s*(?:but\s+)?(?:why|how come|为什么|为何)(?:\s+(?:that|this|it))?(?:呢)?\s*[?？!.]*\s*$", re.I
)


@dataclass
class _Draft:
    """What has been understood so far."""

    likes: list[Opinion] = field(default_factory=list)
    dislikes: list[Opinion] = field(default_factory=list)
    known: list[ItemRef] = field(default_factory=list)
    forget: list[ItemRef] = field(default_factory=list)
    about: list[ItemRef] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    act: Act | None = None
    forget_last: bool = False

    @property
    def items(self) -> bool:
        """Whether any item plays a part."""
        return bool(self.likes or self.dislikes or self.known or self.forget or self.about or self.questions)


class Reader:
    """Reads turns against the catalogues of a lexicon. `this_year` (None: the clock's) is what "recent" counts from."""

    def __init__(self, lexicon: Lexicon, *, this_year: int | None = None) -> None:
        self.lexicon = lexicon
        self._this_year = this_year

    def read(self, text: str, state: DialogueState) -> Understanding:
        """What the turn changes. Never raises for any text. Raises StoreError if the catalogue cannot be read."""
        line = cleaned(visible(text[:MOST]))
        domains = self.lexicon.refresh()
        if RESTART.search(line):
            rest = RESTART.sub(" ", line).strip(" ,.!。，！")
            fresh = DialogueState(language=state.language, sources=state.sources, target=state.target)
            after = self._turn(rest, fresh, domains) if len(rest) > 12 else Understanding(act="say")
            return after.model_copy(update={"restart": True, "remarks": (*after.remarks, Remark(note="restarted"))})
        if state.question and (option := answered(line, state.question, domains)):
            return _of_option(option, state.question)
        return self._turn(line, state, domains)

    def _turn(self, line: str, state: DialogueState, domains: Sequence[str]) -> Understanding:
        masked = self._masked(line, state, domains)
        language = written_in(masked.text)
        asked = find_reply_language(masked.text)
        if asked:
            remark = Remark(note="language")
            return Understanding(act="say", language=asked[0], language_fixed=True, remarks=(remark,))
        talk = small_talk(line)
        if talk in {"thanks", "greeting", "bye"} and all(m.text.casefold() in {"it", "that"} for m in masked.mentions):
            return Understanding(act="say", language=language, remarks=(Remark(note=talk),))
        target, absent = find_target(masked.text, domains)
        now = state.model_copy(update={"target": target}) if target and target != state.target else state
        if target and target in state.sources:
            now = now.model_copy(
                update={
                    "sources": tuple(s for s in state.sources if s != target)
                    or ((state.target,) if state.target else ())
                }
            )
        chooser = Chooser(self.lexicon, domains, now)
        words = self.lexicon.of(now.target) if now.target else DomainWords(0)
        said = roles(masked)
        limits = self._limits(masked, words, now)
        draft = _Draft()
        for one in said:
            _sort_in(draft, one, chooser)
        self._finish(draft, masked, limits, now, words)
        return self._rest(line, masked, draft, limits, target, absent, language, now)

    def _masked(self, line: str, state: DialogueState, domains: Sequence[str]) -> Masked:
        titles = [continued(line, mention, self.lexicon) for mention in find_titles(line, self.lexicon, domains)]
        taken: list[Mention] = []
        for number, mention in enumerate(titles):
            if _heads(line, mention, titles[number + 1 :]):
                titles[number + 1] = replace(titles[number + 1], start=mention.start)
                continue
            if not any(mention.overlaps(other) for other in taken):
                taken.append(mention)
        blank = list(line)
        for mention in taken:
            blank[mention.start : mention.end] = "\ue000" * (mention.end - mention.start)
        places = find_references("".join(blank), state.shown, state.focus)
        found = sorted([*taken, *(p for p in places if not any(p.overlaps(t) for t in taken))], key=lambda m: m.start)
        return find_leftovers(mask(line, found), self.lexicon, domains)

    def _limits(self, masked: Masked, words: DomainWords, state: DialogueState) -> Limits:
        lengths: list[float] = []
        if words.length and state.target:
            shown = self.lexicon.items(state.target, [ref.id for ref in state.shown if ref.domain == state.target])
            lengths = [value for item in shown.values() for value in _numbers(item, words.length)]
        year = self._this_year or datetime.datetime.now(tz=datetime.UTC).year
        others = [self.lexicon.of(domain).creators for domain in self.lexicon.names() if domain != state.target]
        return find_limits(
            masked.text, words, year, tuple(lengths), lambda name: any(normalise(name) in names for names in others)
        )

    def _finish(self, draft: _Draft, masked: Masked, limits: Limits, state: DialogueState, words: DomainWords) -> None:
        """What follows for items from the limits and from what stands alone."""
        if draft.known and not draft.likes and _SIMILAR.search(masked.text):
            draft.likes += [Opinion(item=item) for item in draft.known if item.domain in state.sources]
            draft.known = [item for item in draft.known if item.domain not in state.sources]
        draft.remarks += limits.remarks
        draft.questions += limits.questions
        if limits.refused_creators and state.target:
            ids = [(state.target, id_) for name in limits.refused_creators for id_ in words.works[name]]
            draft.known += Chooser(self.lexicon, (), state).refs(tuple(dict.fromkeys(ids)))
        if _BARE_WHY.match(masked.text) and not draft.about:
            draft.act = "why"
            draft.about = list(state.focus or state.shown[:1])
        if draft.act in {"why", "tell"} and not draft.about and not draft.questions:
            draft.act = None
            if any(mention.kind == "shown" and not mention.ids for mention in masked.mentions):
                draft.remarks.append(Remark(note="nothing_shown"))

    def _rest(
        self,
        line: str,
        masked: Masked,
        draft: _Draft,
        limits: Limits,
        target: str | None,
        absent: str | None,
        language: Language | None,
        state: DialogueState,
    ) -> Understanding:
        rest = list(masked.text)
        for start, end in limits.spans:
            rest[start:end] = " " * (end - start)
        left = "".join(rest)
        others = OTHERS.search(masked.text) is not None and not draft.questions and draft.act is None
        k = count_of(masked.text)
        found = bool(draft.items or not limits.change.empty or limits.length or limits.no_length or limits.remarks)
        found = found or target is not None or others or k is not None
        talk = small_talk(left) if not (draft.items or (found and not draft.remarks)) else None
        act, remarks = draft.act, list(draft.remarks)
        wish = None
        if SAVE.search(masked.text) and not draft.items:
            act = "save"
        elif talk == "dropped_question" and state.question is None:
            act = "say" if not found else act
        elif talk:
            act, remarks = "say", [*remarks, Remark(note=talk)]
        elif absent and not found:
            act, remarks = "say", [*remarks, Remark(note="no_domain", text=absent[:200])]
        elif not any(r.note == "nothing_shown" for r in remarks) and off_topic(left, understood=found):
            act, remarks = "say", [*remarks, Remark(note="off_topic")]
        elif act is None:
            wish = find_wish(_without_mentioned(left))
        return Understanding(
            act=act,
            likes=tuple(draft.likes),
            dislikes=tuple(draft.dislikes),
            known=tuple(dict.fromkeys(draft.known)),
            forget=tuple(draft.forget),
            forget_last=draft.forget_last,
            about=tuple(dict.fromkeys(draft.about)),
            others=others,
            target=target,
            filter=limits.change,
            length=limits.length,
            no_length=limits.no_length,
            wish=wish,
            k=min(k, MOST_SHOWN) if k else None,
            language=language if line.strip() else None,
            questions=tuple(draft.questions),
            remarks=tuple(remarks),
        )


def _heads(line: str, mention: Mention, following: Sequence[Mention]) -> bool:
    """Whether a title only introduces the next one, as in "Star Wars: The Empire Strikes Back"."""
    return bool(following) and re.fullmatch(r"\s*[:：]\s*", line[mention.end : following[0].start]) is not None


def _sort_in(draft: _Draft, said: Said, chooser: Chooser) -> None:
    """Put what is said of one mention where it belongs."""
    if said.role == "unseen":
        return
    if said.mention.kind == "unknown" and said.role in {"forget", "refuse"}:
        return
    items, question = chooser.choose(said)
    if question is not None:
        draft.questions.append(question)
        return
    role = said.role
    if role == "none" and said.mention.kind == "shown":
        if said.mention.ids and re.fullmatch(
            rf"\W*(?:and |what about |how about |ok |就)?{MARK}[\W呢]*", f"{said.before}\ue000{said.after}"
        ):
            role = "tell"
        else:
            return
    if role in _ASKING:
        draft.act = _ASKING[role]
        draft.about += items
    elif role == "known" or (role == "refuse" and (said.mention.kind == "shown" or chooser.state.shown)):
        draft.known += items
    elif role == "forget":
        draft.forget += items
    elif role in {"dislike", "refuse"}:
        draft.dislikes += [Opinion(item=item, preference=said.preference or -1.0) for item in items]
    else:
        draft.forget_last |= role == "meant" and not draft.forget
        draft.likes += [Opinion(item=item, preference=1.0, cued=role != "none") for item in items]


def _without_mentioned(text: str) -> str:
    """The text without the clauses that only say what is thought of an item; what is wanted "with" it stays."""
    kept = []
    for clause in re.split(r"(?<=[.!?。！？；;])|\b(?:but)\b|但是|但|不过", text):
        marks = list(re.finditer(MARK, clause))
        if not marks:
            kept.append(clause)
        elif found := re.search(r"\b(?:with|about|set in)\b.*|(?:关于|有|更[^，。]{1,8}).*", clause[marks[-1].end() :]):
            kept.append(found[0])
    return " . ".join(kept)


def _numbers(item: Item, attribute: str) -> list[float]:
    value = item.attributes.get(attribute)
    return [float(value)] if isinstance(value, int | float) else []


def _of_option(option: Option, question: Question) -> Understanding:
    """What an answered question comes to."""
    if option.creator:
        return Understanding(filter=FilterChange(creators=(option.creator,)))
    item = option.item
    if item is None or question.preference is None:
        return Understanding(known=(item,) if item else ())
    opinion = Opinion(item=item, preference=question.preference)
    return Understanding(likes=(opinion,)) if question.preference > 0 else Understanding(dislikes=(opinion,))
