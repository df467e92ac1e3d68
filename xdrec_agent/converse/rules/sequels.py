"""Parts and series. Reads a mention and what stands around it, produces that of the part or series meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from retrieval.titles import normalise, year_of
from retrieval.types import Item
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.rules.mentions import Ids, Mention
from xdrec_agent.converse.rules.vocabulary import NUMBERS

_ORDINALS: Final = "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth"
_PART: Final = re.compile(
    rf"^\s*[,:(]?\s*(?:part|vol(?:ume)?\.?|episode|book|#|no\.|number)\s*"
    rf"([0-9]{{1,2}}|[ivx]{{1,4}}|one|two|three|four|five|six|seven|eight|nine|ten|{_ORDINALS})\b\)?",
    re.I,
)
_BARE: Final = re.compile(
    r"^ ([0-9]{1,2}|[IVX]{2,4})\b(?!\s*(?:times|more|stars|days|weeks|years|of)\b|[.,:][0-9]|[%/-])"
)
_HAN_PART: Final = re.compile(
    r"^\s*(?:第([一二三四五六七八九十0-9]{1,2})[部集卷册]|([0-9]{1,2})(?![\s0-9]*[本个遍次位部年月日]))"
)
_SEASON: Final = re.compile(
    r"^\s*[,:(]?\s*(?:season|series)\s*(?:[0-9]{1,2}|one|two|three|four|five)\b\)?|^\s*第[一二三四五六七八九十0-9]{1,2}季",
    re.I,
)
_NTH: Final = re.compile(rf"\b(?:({_ORDINALS})|([0-9])(?:st|nd|rd|th))\s+(?:part of\s+(?:the\s+)?)?$", re.I)
_WHOLE_AFTER: Final = re.compile(
    r"^\s*(?:trilogy|saga|series|quartet|cycle|films|movies|books|novels|三部曲|系列|全系列)", re.I
)
_SERIES_AFTER: Final = re.compile(r"^\s*(?:trilogy|saga|series|quartet|cycle|三部曲|系列|全系列)", re.I)
_WHOLE_BEFORE: Final = re.compile(r"\b(?:all|both|whole|entire|every|each)\s+(?:of\s+)?(?:the\s+)?$", re.I)
_YEAR: Final = re.compile(r"^\s*(?:[(\[（]\s*([0-9]{4})\s*[)\]）]|(?:from|of)?\s*([0-9]{4})\b(?!s))")


def continued(text: str, mention: Mention, lexicon: Lexicon) -> Mention:
    """The mention with the part, season, series or year that the words around it name; an unknown part is unknown."""
    if mention.kind not in {"title", "series"}:
        return mention
    before, after = text[: mention.start], text[mention.end :]
    if found := _SEASON.match(after):  # a season of what the catalogue has as one work
        return _widened(text, mention, found.end())
    if (found := _PART.match(after) or _BARE.match(after) or _HAN_PART.match(after)) and not mention.quoted:
        return _part(text, mention, found, lexicon)
    if found := _YEAR.match(after):
        return _dated(text, mention, found, lexicon)
    return _in_series(mention, before, after, lexicon)


def _in_series(mention: Mention, before: str, after: str, lexicon: Lexicon) -> Mention:
    """The mention, or the part of a series or the whole of it that the words around speak of."""
    if nth := _NTH.search(before):
        number = NUMBERS[nth[1].casefold()] if nth[1] else int(nth[2])
        ids = _volumes(mention, number, lexicon)
        if not ids and mention.kind == "title":  # "the second" is something else
            return mention
        return replace(mention, start=nth.start(), ids=ids or mention.ids, kind="title" if ids else "unknown")
    whole = _WHOLE_AFTER.match(after) and _WHOLE_BEFORE.search(before)
    if mention.kind == "title" and (whole or _SERIES_AFTER.match(after)) and (ids := _series(mention, lexicon)):
        return replace(mention, ids=ids, kind="series")
    return mention


def _widened(text: str, mention: Mention, by: int) -> Mention:
    end = mention.end + by
    return replace(mention, end=end, text=text[mention.start : end])


def _part(text: str, mention: Mention, found: re.Match[str], lexicon: Lexicon) -> Mention:
    written = next(group for group in found.groups() if group).casefold()
    number = int(written) if written.isdigit() else NUMBERS.get(written, 0)
    ids = _volumes(mention, number, lexicon)
    out = _widened(text, mention, found.end())
    if ids:
        return replace(out, ids=ids, kind="title")
    return replace(out, ids=mention.ids[:3], kind="unknown")


def _dated(text: str, mention: Mention, found: re.Match[str], lexicon: Lexicon) -> Mention:
    """The items of that year, if there are any; else the number means something else."""
    year = int(found[1] or found[2])
    ids = tuple((item.domain, item.id) for item in _items(mention.ids, lexicon) if year_of(item) == year)
    return replace(_widened(text, mention, found.end()), ids=ids) if ids else mention


def _items(ids: Ids, lexicon: Lexicon) -> Iterator[Item]:
    for domain in dict.fromkeys(domain for domain, _ in ids):
        yield from lexicon.items(domain, [id_ for of, id_ in ids if of == domain]).values()


def _volumes(mention: Mention, number: int, lexicon: Lexicon) -> Ids:
    """The items of the mention's series with this number, in each domain that has it."""
    found = []
    for domain, members in _members(mention, lexicon).items():
        found += [(domain, id_) for volume, id_ in members if volume == number]
    return tuple(dict.fromkeys(found))


def _series(mention: Mention, lexicon: Lexicon) -> Ids:
    return tuple((domain, id_) for domain, members in _members(mention, lexicon).items() for _, id_ in members)


def _members(mention: Mention, lexicon: Lexicon) -> dict[str, tuple[tuple[float, str], ...]]:
    """(volume, item id) of the series that the mentioned items belong to, by domain."""
    out = {}
    for item in _items(mention.ids, lexicon):
        if item.series:
            out[item.domain] = lexicon.of(item.domain).series[normalise(item.series)]
    return out
