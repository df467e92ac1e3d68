"""Values of known formats. Reads cells and titles as data sets and exports write them, produces clean values.

Titles are taken apart with care ("Matrix, The (1999)", "Dune (Dune, #1)"): what is not recognised stays in the title.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from retrieval.tabular import YEARS, RefusedRow, cell_text, parse_number, storable, unix_seconds
from retrieval.types import Interaction, Item

Cells = Mapping[str, object]

_DATES: Final = ("%a %b %d %H:%M:%S %z %Y", "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%B %d, %Y")  # beside ISO 8601
_FIRST_MILLISECONDS: Final = 1e11  # a larger number is no second before the year 5138
_ARTICLES = (
    "The An A Le La Les L' Un Une Des Il Lo I Gli Uno Una El Los Las Der Die Das Den Ein Eine De Het Een Det En Et O Os"
    " As Um Uma"
)
_TRAILING_ARTICLE = re.compile(rf"^(?P<rest>.+), (?P<article>{'|'.join(_ARTICLES.split())})$")
_YEAR = re.compile(r"\s*[(（\[](?P<year>[12][0-9]{3})(?:\s*[-–—]\s*(?:[0-9]{4})?)?[)）\]]$")
_NUMBER = r"(?P<volume>[0-9]{1,6}(?:\.[0-9]{1,3})?)"
_SERIES = (
    re.compile(rf"\s*[(（](?P<series>[^()（）#;]+?)[,，]?\s*#{_NUMBER}(?P<more>[^()（）]*)[)）]$"),
    re.compile(
        rf"\s*[(（](?P<series>[^()（）#;]+?)[,，]?\s+(?:Book|Vol\.?|Volume|Band|Tome)\s+{_NUMBER}(?P<more>)[)）]$"
    ),
)
_SEVERAL = re.compile(r"^\s*[-–—&]\s*[0-9]")
_MEDIUM = re.compile(
    r"\s*[\[(](?:DVD|VHS|Blu-?ray|4K|UHD|HD DVD|Laserdisc|Audio ?CD|MP3 CD|Kindle Edition|Paperback|Hardcover|Import)"
    r"[^\])]*[\])]$",
    re.IGNORECASE,
)
_OTHER_TITLE = re.compile(r"\s*\((?P<other>[^()]*)\)$")
_KNOWN_AS = re.compile(r"^a\.?k\.?a\.?:?\s+", re.IGNORECASE)


def clean(text: str) -> str:
    """The text without HTML entities (also doubly written ones) and superfluous spaces."""
    return " ".join((html.unescape(html.unescape(text)) if "&" in text else text).split())


def text(row: Cells, column: str) -> str:
    """The cell's text, cleaned of entities and spaces; empty for none."""
    return clean(cell_text(row.get(column)))


def required(row: Cells, column: str) -> str:
    """As `text`, but there must be one."""
    if not (value := text(row, column)):
        raise RefusedRow(f"{column} is missing")
    return value


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list, cleaned, without empty ones and repetitions; a text is a list of one."""
    parts = value if isinstance(value, list) else [value]
    cleaned = (storable(clean(part)) for part in parts if isinstance(part, str))
    return tuple(dict.fromkeys(part for part in cleaned if part))


def split(value: str, separator: str) -> tuple[str, ...]:
    """The parts of a cleaned text."""
    return texts(list(value.split(separator)))


def number(row: Cells, column: str) -> float | None:
    """A finite number; None for an empty cell."""
    return parse_number(column, text(row, column))


def stars(row: Cells, column: str) -> float | None:
    """A rating from 1 to 5; None for an empty cell or 0, which means unrated.

    Half a star counts as one: stars keep their meaning, so four stays "liked" whatever the lowest possible rating is.
    """
    value = number(row, column)
    if value is None or value == 0:
        return None
    if not 0 < value <= 5:
        raise RefusedRow("rating is out of range", f"{value:g} is not in 0 to 5")
    return max(1.0, value)


def year(row: Cells, column: str) -> int | None:
    """The first four-digit year in a cell ("1994-09-10(加拿大)"); None if there is none, or an impossible one.

    A wrong year is no reason to lose the item.
    """
    written = text(row, column)
    match = re.fullmatch(r"(-?[0-9]{1,4})(?:\.0)?", written) or re.search(r"(?<![0-9])([12][0-9]{3})(?![0-9])", written)
    value = int(match[1]) if match else 0
    return value if value != 0 and value in YEARS else None


def timestamp(row: Cells, column: str) -> int | None:
    """Unix seconds of a date or a number; without a time zone it is UTC. None for an empty cell."""
    written = text(row, column)
    if not written or (written.isdigit() and len(written) > 8):
        return seconds(row, column)
    return unix_seconds(_date(written), written[:80])


def seconds(row: Cells, column: str) -> int | None:
    """Unix seconds of a number of seconds or milliseconds; None for an empty cell."""
    value = number(row, column)
    if value is None:
        return None
    return unix_seconds(value / 1000 if value > _FIRST_MILLISECONDS else value, f"{value:.0f}"[:80])


def rated(domain: str, columns: tuple[str, str, str, str], row: Cells) -> Interaction:
    """The rating of a row, which must have one; `columns` name user, item, rating and time."""
    user, item, rating, time = columns
    if (value := stars(row, rating)) is None:
        raise RefusedRow(f"{rating} is missing")
    return Interaction(
        user=required(row, user), domain=domain, item=required(row, item), value=value, timestamp=seconds(row, time)
    )


def _date(written: str) -> datetime:
    dashed = written.replace("/", "-")
    for format_ in ("", *_DATES):
        try:
            return datetime.strptime(dashed, format_) if format_ else datetime.fromisoformat(dashed)
        except ValueError:
            continue
    raise RefusedRow("date does not parse", repr(written[:80]))


@dataclass(frozen=True)
class TitleParts:
    """A title and what else was written into it."""

    title: str
    year: int | None = None
    series: str | None = None
    volume: float | None = None
    aliases: tuple[str, ...] = ()

    def item(self, domain: str, id_: str, **fields: object) -> Item:
        """The item of this title; `fields` add to the parts or replace them."""
        return Item.model_validate({"domain": domain, "id": id_, **vars(self), **fields})


def parse_title(text: str, *, bracketed_alias: bool = False, slashed_alias: bool = False) -> TitleParts:
    """Take a title apart.

    `bracketed_alias`: brackets that are left hold another title, as in MovieLens' "Seven (a.k.a. Se7en) (1995)".
    `slashed_alias`: so do the parts behind " / ", as in Douban's "霸王别姬 / Farewell My Concubine".
    """
    title, year, series, volume = clean(text), None, None, None
    aliases: list[str] = []
    if slashed_alias:
        title, *aliases = [part for part in (part.strip() for part in re.split(r"\s+/\s+", title)) if part] or [""]
    while True:
        if year is None and (cut := _cut(_YEAR, title)) and int(cut[1]["year"]) in YEARS:
            title, year = cut[0], int(cut[1]["year"])
        elif series is None and (cut := _cut(_SERIES[0], title) or _cut(_SERIES[1], title)):
            title, series = cut[0], cut[1]["series"].strip()
            volume = None if _SEVERAL.match(cut[1]["more"]) else float(cut[1]["volume"])
        elif cut := _cut(_MEDIUM, title):
            title = cut[0]
        elif bracketed_alias and (cut := _cut(_OTHER_TITLE, title)):
            title = cut[0]
            aliases.insert(0, _KNOWN_AS.sub("", cut[1]["other"].strip()))
        else:
            break
    return TitleParts(
        title=_article_first(title),
        year=year,
        series=series,
        volume=volume,
        aliases=tuple(dict.fromkeys(_article_first(alias) for alias in aliases if alias)),
    )


def _cut(pattern: re.Pattern[str], title: str) -> tuple[str, dict[str, str]] | None:
    """The title without what the pattern finds at its end, and the groups; None if nothing else were left."""
    match = pattern.search(title)
    rest = title[: match.start()].strip() if match else ""
    return (rest, match.groupdict()) if match and rest else None


def _article_first(title: str) -> str:
    match = _TRAILING_ARTICLE.match(title)
    if match is None:
        return title
    space = "" if match["article"].endswith("'") else " "
    return f"{match['article']}{space}{match['rest']}"
