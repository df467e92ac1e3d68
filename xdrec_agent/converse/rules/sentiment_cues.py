"""Sentiment cues. Reads masked clauses, produces the role of each mention: liked, known, asked about …"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from xdrec_agent.converse.grammar import MENTION, Grammar, Role
from xdrec_agent.converse.language import is_unspaced
from xdrec_agent.converse.rules.mention_masking import MASK, Clause, MaskedText, Mention, Span, without_overlaps

_ANOTHER_MENTION: Final = re.compile(rf"[^，,。]*{MENTION}")
_COMMA: Final = re.compile(r"[,、，]")
_OPINIONS: Final = frozenset({"like", "dislike"})
_QUESTIONS: Final = frozenset({"why", "why_not", "tell"})


@dataclass(frozen=True)
class Cue(Span):
    """Words of a clause that give mentions a role."""

    role: Role
    preference: float


@dataclass(frozen=True)
class MentionInContext:
    """A mention, its role and opinion in [-1, 1], and the text around it, in which a noun may tell its domain."""

    mention: Mention
    role: Role
    preference: float
    before: str
    after: str


def cues_of(text: str, grammar: Grammar) -> list[Cue]:
    """The cues of a clause in order, none overlapping; those of earlier rules win."""
    matches = ((rule, match) for rule in grammar.cues for match in rule.pattern.finditer(text) if match[0])
    return without_overlaps(Cue(*match.span(), rule.role, rule.preference) for rule, match in matches)


def mentions_in_context(masked: MaskedText, grammar: Grammar) -> list[MentionInContext]:
    """Every mention with its role, in order."""
    return [one for clause in masked.clauses(grammar) for one in _in_clause(masked, clause, grammar)]


def _in_clause(masked: MaskedText, clause: Clause, grammar: Grammar) -> Iterator[MentionInContext]:
    cues = cues_of(clause.text, grammar)
    corrects = any(cue.role == "meant" for cue in cues)  # "I meant Aliens, not Alien" takes the latter back
    for match in MASK.finditer(clause.text):
        cue = _cue_for(clause.text, match.start(), cues, grammar)
        role, preference = (cue.role, cue.preference) if cue else ("none", 0.0)
        if corrects and role == "refuse":
            role = "forget"
        before, after = clause.text[: match.start()], clause.text[match.end() :]
        yield MentionInContext(masked.of(match[0]), role, preference, before, after)


def _cue_for(text: str, at: int, cues: list[Cue], grammar: Grammar) -> Cue | None:
    """The nearest cue before the mention, else the first after it; an opinion behind it outdoes mere knowing."""
    earlier = [cue for cue in cues if cue.end <= at]
    later = [cue for cue in cues if cue.start > at]
    if later and later[0].role in _OPINIONS and _is_predicate(text, at, later[0], grammar):
        return later[0]
    opinions = [cue for cue in later if cue.role in _OPINIONS and not MASK.search(text[cue.end :])]
    asks = [cue for cue in cues if cue.role in _QUESTIONS]
    if asks and not (earlier and earlier[-1].role in _OPINIONS and asks[0].start > at):
        return asks[0]
    if earlier:
        cue = earlier[-1]
        if cue.role == "known" and opinions:
            return opinions[0]
        # "X was great, Y …": what is said of an earlier mention ends with it, unless the mentions are joined.
        before = [match.start() for match in MASK.finditer(text[:at])]
        if before and later and cue.start > before[-1]:
            between = text[before[-1] : cue.start]
            rules = grammar.patterns["cue_scope"]
            is_list = _COMMA.search(between) or rules["joined"].search(between)
            return later[0] if not is_list and rules["behind"].search(text[: cue.start]) else cue
        return cue
    return opinions[0] if opinions and later[0].role == "known" else (later[0] if later else None)


def _is_predicate(text: str, at: int, cue: Cue, grammar: Grammar) -> bool:
    """Whether a cue says something of the mention right before it, and not of one behind it."""
    between = text[at + 1 : cue.start]
    if not grammar.patterns["cue_scope"]["predicate"].fullmatch(between):
        return False
    if is_unspaced(text[cue.start : cue.end]):
        return not _ANOTHER_MENTION.match(text[cue.end :])
    return between.strip(", ") != ""
