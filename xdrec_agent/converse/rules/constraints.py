"""Limits on a choice. Reads a text whose titles are masked, produces changes of the filter and of the length.

Only what the target's catalogue has becomes a filter: a category, language or creator that it lacks is remarked on or
asked about.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from xdrec_agent.converse.lexicon import DomainWords
from xdrec_agent.converse.rules.categories import find_categories, find_languages
from xdrec_agent.converse.rules.creators import find_creators
from xdrec_agent.converse.rules.lengths import find_length
from xdrec_agent.converse.rules.limits import Limits
from xdrec_agent.converse.rules.periods import find_period
from xdrec_agent.converse.rules.vocabulary import NUMBERS

_ANY: Final = r"(?:any|whatever|every)"
_FREE: Final = (
    r"(?:is|are|'s|’s)?\s*(?:fine|ok(?:ay)?|good|all right|doesn['’]?t matter|does not matter"
    r"|don['’]?t matter|do(?:es)? ?n[o']t matter|no longer matters?|welcome)"
)
_CLEAR: Final[tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]] = tuple(
    (
        re.compile(
            rf"\b(?:don['’]?t|do not) (?:care|mind) (?:about )?(?:the )?(?:{nouns})\b"
            rf"|\b{_ANY}\s+(?:{nouns})\b(?:\s+{_FREE})?|\b(?:forget|ignore|drop"
            rf"|remove)\s+(?:about\s+)?the\s+(?:{nouns})(?:\s+(?:limit|filter))?\b"
            rf"|\b(?:the\s+)?(?:{nouns})s?\s+(?:doesn['’]?t|does not|don['’]?t|do not)\s+matter|no matter (?:the"
            rf"|which|what) (?:{nouns})"
            rf"|(?:{han})\s*(?:也|都|就)?(?:不限|无所谓|随便|都行|都可以|不重要|没关系)|不限(?:{han})|(?:什么"
            rf"|任何|哪个|哪种)(?:{han})都(?:行|可以|好)",
            re.I,
        ),
        fields,
    )
    for nouns, han, fields in (
        ("year|period|decade|age|date|era|time", "年代|年份|时间|时期", ("year_from", "year_to")),
        ("genre|category|kind|type", "类型|题材|类别", ("categories", "not_categories")),
        ("author|writer|director|creator|artist", "作者|导演|作家", ("creators",)),
        ("language", "语言", ("languages",)),
        ("length", "长度|篇幅|长短", ("length",)),
        (
            "filters?|limits?|restrictions?|constraints?",
            "条件|限制",
            ("year_from", "year_to", "categories", "not_categories", "creators", "languages", "attributes", "length"),
        ),
    )
)
_COUNT: Final = re.compile(
    r"\b(?:give|show|recommend|suggest|find|want|need|get)\s+(?:me\s+)?(?:the\s+|just\s+|only\s+"
    r"|about\s+)?([0-9]{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty"
    r"|a dozen)\b(?!\s*(?:pages|minutes|hours|stars))"
    r"|\bmake (?:it|that) ([0-9]{1,2}|two|three|four|five|six|seven|eight|nine|ten)\b"
    r"|^\s*(?:just\s+|only\s+)?([0-9]{1,2}|two|three|four|five|six|seven|eight|nine|ten)\s+(?:more|books?"
    r"|films?|movies?|of them|will do|please)\b"
    r"|(?:给我|来|推荐|要|看)([0-9]{1,2}|[二两三四五六七八九十]{1,2})[本部个张首]",
    re.I,
)


def find_limits(
    text: str,
    words: DomainWords,
    this_year: int,
    shown_lengths: tuple[float, ...] = (),
    known_elsewhere: Callable[[str], bool] = lambda name: False,
) -> Limits:
    """All limits in a text, for a target catalogue of these `words`.

    Args:
        text: masked: titles and references are one character each that is no letter.
        shown_lengths: how long the shown items are, for "something shorter".
        known_elsewhere: whether somebody of this name made something in another domain.
    """
    out = Limits()
    _clear(text, out)
    rest = _blanked(text, out.spans)
    if period := find_period(rest, this_year):
        out.put(year_from=period.first, year_to=period.last)
        out.spans.append((period.start, period.end))
    find_length(_blanked(text, out.spans), words, shown_lengths, out)
    find_languages(_blanked(text, out.spans), words, out)
    find_categories(_blanked(text, out.spans), words, out)
    find_creators(_blanked(text, out.spans), words, out, known_elsewhere)
    return out


def _blanked(text: str, spans: list[tuple[int, int]]) -> str:
    out = list(text)
    for start, end in spans:
        out[start:end] = " " * (end - start)
    return "".join(out)


def _clear(text: str, out: Limits) -> None:
    for pattern, fields in _CLEAR:
        for match in pattern.finditer(text):
            out.spans.append(match.span())
            out.no_length |= "length" in fields
            out.put(clear=out.change.clear | (set(fields) - {"length"}))


def count_of(text: str) -> int | None:
    """How many items are asked for: "give me 3", 给我三本; None: not said."""
    match = _COUNT.search(text)
    if match is None:
        return None
    written = next(group for group in match.groups() if group).casefold()
    return int(written) if written.isdigit() else NUMBERS.get(written)
