"""Answers to a question. Reads what is said after one was asked, produces the option that is meant.

A short answer names a place, a year, a domain or a part of the title; anything else is a turn of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from retrieval.titles import normalise
from xdrec_agent.converse.rules.switches import kind_of, nouns
from xdrec_agent.converse.rules.vocabulary import NUMBERS
from xdrec_agent.converse.state import Option, Question

_YES: Final = re.compile(
    r"^(?:yes|yep|yeah|sure|right|exactly|that one|that['’]?s (?:it|the one|right)|correct|对|是的?"
    r"|没错|就是(?:它|这个)?|嗯)[\s,.!，。]*(?:that one|that['’]?s (?:it|the one)|please"
    r"|就是它)?[\s.!。]*$",
    re.I,
)
_PLACE: Final = re.compile(
    r"^(?:i mean(?:t)?\s+)?(?:the\s+)?(?:number\s+|#)?(first|second|third|fourth|fifth|[1-5](?:st|nd"
    r"|rd|th)?|one|two|three|four|five)(?:\s+(?:one|film|movie|book|novel))?[\s.!]*$"
    r"|^第?([一二三四五1-5])[个本部]?[。！吧]*$",
    re.I,
)
_YEAR: Final = re.compile(r"\b(1[0-9]{3}|20[0-9]{2})\b")
_SHORT: Final = 60


def answered(text: str, question: Question, domains: Sequence[str]) -> Option | None:
    """The option of the question that the text means; None: the text is no answer to it."""
    bare, options = text.strip(), question.options
    if not options or len(bare) > _SHORT:
        return None
    if _YES.match(bare):
        return options[0] if len(options) == 1 or question.kind == "unknown" else None
    if place := _PLACE.match(bare):
        written = next(group for group in place.groups() if group).casefold()
        digits = re.match(r"[0-9]+", written)
        number = int(digits[0]) if digits else NUMBERS[written]
        return options[number - 1] if number <= len(options) else None
    if question.kind in {"ambiguous_creator", "unknown_creator"}:
        key = normalise(re.sub(r"^(?:by|i mean(?:t)?)\s+", "", bare, flags=re.I))
        return _only([o for o in options if o.creator and key and key in normalise(o.creator)])
    return _by_year(bare, options) or _by_domain(bare, options, domains)


def _only(found: Sequence[Option]) -> Option | None:
    return found[0] if len(found) == 1 else None


def _by_year(text: str, options: Sequence[Option]) -> Option | None:
    year = _YEAR.search(text)
    return _only([o for o in options if o.item and year[1] in o.item.id]) if year and len(text) < 30 else None


def _by_domain(text: str, options: Sequence[Option], domains: Sequence[str]) -> Option | None:
    for domain in domains:
        noun = nouns(kind_of(domain), domain)
        if re.match(
            rf"^(?:i mean(?:t)?\s+)?(?:the\s+|那?[本部]?)?{noun}(?:\s+(?:one|version|please))?[\s.!。版]*$", text, re.I
        ):
            return _only([o for o in options if o.item and o.item.domain == domain])
    return None
