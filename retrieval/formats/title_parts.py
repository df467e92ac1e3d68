"""Titles as data sets write them. Reads "Matrix, The (1999)" or "Dune (Dune, #1)", produces the parts.

Conservative: what is not recognised stays in the title.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from retrieval.tabular import YEARS
from retrieval.types import Item

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


def clean(text: str) -> str:
    """The text without HTML entities (also doubly written ones) and superfluous spaces."""
    return " ".join((html.unescape(html.unescape(text)) if "&" in text else text).split())


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
