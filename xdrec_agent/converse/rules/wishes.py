"""What is left of a turn. Reads a text without mentions and limits, produces a wish, small talk, or "not for us"."""

from __future__ import annotations

import re
from typing import Final

from xdrec_agent.converse.grammar import Grammar, Rule, SmallTalk
from xdrec_agent.converse.language import is_unspaced
from xdrec_agent.converse.rules.mention_masking import MASK
from xdrec_agent.converse.state import MOST_WISH

_SENTENCE_END: Final = re.compile(r"[.;!?。！？；\n]+")
_AFTER_SENTENCE: Final = Rule.of(r"(?<=[.!?。！？；;])")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_ARITHMETIC: Final = re.compile(r"[0-9]\s*[+*/]\s*[0-9]")


def small_talk(text: str, grammar: Grammar) -> SmallTalk | None:
    """What kind of small talk a whole utterance is; None: it is none."""
    bare = text.strip().strip("!.?~ ！。？")
    return next((talk for talk, pattern in grammar.small_talk.items() if pattern.search(bare)), None)


def off_topic(text: str, grammar: Grammar) -> bool:
    """Whether an utterance, masked and without limits, asks for something that a recommender does not do."""
    bare, rules = text.strip(), grammar.patterns["talk"]
    if rules["orders"].search(bare):
        return True
    asks = bare.endswith(("?", "？")) or _ARITHMETIC.search(bare) or rules["asks"].search(bare.rstrip("?？!. "))
    return bool(asks) and not rules["ours"].search(bare)


def find_wish(text: str, grammar: Grammar) -> str | None:
    """The free wish in a masked text without limits, in the user's words; None: there is none."""
    rules, parts = grammar.patterns["wishes"], []
    for clause in _SENTENCE_END.split(_without_opinions(text, grammar)):
        bare = MASK.sub(" ", clause)
        content = rules["filler"].sub(" ", bare)
        if rules["trigger"].search(bare) and (_WORD.search(content) or is_unspaced(content)):
            parts.append(" ".join(rules["lead"].sub("", bare).split()).strip(" ,，、"))
    return "; ".join(filter(None, parts))[:MOST_WISH] or None


def _without_opinions(text: str, grammar: Grammar) -> str:
    """The text without the clauses that only say what is thought of an item; what is wanted "with" it stays."""
    kept, start = [], 0
    borders = [match.span() for match in (_AFTER_SENTENCE + grammar.patterns["wishes"]["clause"]).finditer(text)]
    for first, last in [*borders, (len(text), len(text))]:
        clause, start = text[start:first], last
        marks = list(MASK.finditer(clause))
        if not marks:
            kept.append(clause)
        elif found := grammar.patterns["wishes"]["with_mention"].search(clause[marks[-1].end() :]):
            kept.append(found[0])
    return " . ".join(kept)
