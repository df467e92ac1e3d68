"""Titles in what people write. Reads a text and the lexicon, produces the places where items are named.

Longest match first: every run of words is looked up as a key, every run of Chinese characters as a key without spaces.
Titles that are everyday words ("Her", "Up", 活着) count where they are written as titles: quoted, capitalised in a
sentence that is not, or standing alone where a title is expected.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from retrieval.titles import matching, nearest, normalise
from xdrec_agent.converse.lexicon import HAN, Lexicon, OneScript
from xdrec_agent.converse.numerals import with_digits
from xdrec_agent.converse.rules.mentions import Ids, Mention
from xdrec_agent.converse.rules.vocabulary import COMMON, HAN_COMMON, POINTING

_WORD: Final = re.compile(r"(?:[^\W_\u3400-\u9fff\uf900-\ufaff][\u0300-\u036f\u0483-\u0489]*)+")
_QUOTED: Final = re.compile(
    r"《([^《》]{1,120})》|“([^“”]{1,120})”|「([^「」]{1,120})」|\"([^\"]{1,120})\"|(?<![^\s(,])['‘]([^'‘’]{2,80}?)['’](?![^\s,.;!?)])"
)
_LONGEST: Final = 14  # words of a title that is looked up
_MOST: Final = 2_000  # characters of a text that are read
_MOST_QUOTED: Final = 12  # quotations of one text: each may be compared with every title
_NEAR: Final = 3

# What stands left and right of a lower-case everyday word that is a title all the same.
_BEFORE: Final = re.compile(
    r"(?:^|[,;:.!?&(]|\b(?:and|or|lov\w+|like[ds]?|liking|enjoy\w*|ador\w+|hat\w+|dislike[ds]?|than|forget|"
    r"also|watched|seen|saw|read|finished|is|are|was|favou?rites?|why not|film|movie|book|novel|called|meant|not))\s*$",
    re.I,
)
_AFTER: Final = re.compile(
    r"^\s*(?:$|[,;:.!?&)]|(?:and|or|was|is|were|too|as well|also|but|more|again|because|so much|though|a lot|much|best"
    r"|most|already|very much)\b)",
    re.I,
)
_PLACE: Final = re.compile(r"\b(?:in|from|about|of|to|by|with|near|around|at|on|a|an|my|your|some|any|no)\s+$", re.I)
_WHERE: Final = re.compile(r"\b(?:in|from|to|by|near|around|at)\s+$", re.I)
_HAN_BEFORE: Final = re.compile(r"(?:^|[\W_]|[和与跟及欢爱看过像是有了厌荐没说部影书篇读吗恨迷把如])$")
_HAN_AFTER: Final = re.compile(r"^(?:$|[\W_]|[和与跟及那这也都很是不为了太比真还我我你两几里的第去删忘排0-9])")


def find_titles(text: str, lexicon: Lexicon, domains: Sequence[str]) -> list[Mention]:
    """The titles and series in a text, in order, none overlapping. Raises StoreError."""
    text = text[:_MOST]
    quoted = list(_quoted(text, lexicon, domains))
    found = [*_latin(text, lexicon, domains), *_han(text, lexicon, domains)]
    chosen: list[Mention] = [mention for mention in quoted if mention.kind != "unknown"]
    for mention in sorted(found, key=lambda m: (m.start - m.end, m.start)):
        if not any(mention.overlaps(other) for other in chosen):
            chosen.append(mention)
    # A quotation that is no title may still hold titles, or be no title at all.
    chosen += [m for m in quoted if m.kind == "unknown" and not any(m.overlaps(other) for other in chosen)]
    return sorted(chosen, key=lambda m: m.start)


def look_up(title: str, lexicon: Lexicon, domains: Sequence[str]) -> Ids:
    """The items that a title may name, also when misspelled; empty if it is unknown. Raises StoreError."""
    key = normalise(title)
    exact = tuple((domain, id_) for domain in domains for id_ in lexicon.item_ids_by_title(domain, key))
    if exact:
        return exact
    han = squeezed_ids(title, lexicon, domains)
    alike = OneScript(lexicon, han=HAN.search(title) is not None)
    return han or tuple((item.domain, item.id) for item in matching(alike, domains, title))


def nearest_ids(title: str, lexicon: Lexicon, domains: Sequence[str]) -> Ids:
    """The items whose titles come closest, best first. Raises StoreError."""
    alike = OneScript(lexicon, han=HAN.search(title) is not None)
    return tuple((item.domain, item.id) for item in nearest(alike, domains, title))[:_NEAR]


def squeezed_ids(title: str, lexicon: Lexicon, domains: Sequence[str]) -> Ids:
    """The items of a Chinese title, whatever its spaces and points."""
    key = "".join(char for char, _ in _letters(title))
    return tuple((domain, id_) for domain in domains for id_ in lexicon.of(domain).han.get(key, ()))


def _quoted(text: str, lexicon: Lexicon, domains: Sequence[str]) -> Iterable[Mention]:
    for found in islice(_QUOTED.finditer(text), _MOST_QUOTED):
        title = next(group for group in found.groups() if group is not None)
        ids = look_up(title, lexicon, domains) or _series_ids(normalise(title), lexicon, domains)
        kind = "title" if ids else "unknown"
        ids = ids or nearest_ids(title, lexicon, domains)
        yield Mention(found.start(), found.end(), title, ids, kind, quoted=True)  # type: ignore[arg-type]


def _latin(text: str, lexicon: Lexicon, domains: Sequence[str]) -> Iterable[Mention]:
    words = [(m.start(), m.end()) for m in _WORD.finditer(text)]
    shouting = text.isupper()
    known = [lexicon.of(domain) for domain in domains]
    firsts = set().union(*(words_of.firsts for words_of in known)) if known else set()
    for first, (start, word_end) in enumerate(words):
        head = normalise(text[start:word_end])
        digits = with_digits(head)
        if word_end - start > 1 and head not in firsts and head not in {"the", "an"} and (not digits):
            continue
        for last in range(min(len(words), first + _LONGEST) - 1, first - 1, -1):
            end = words[last][1]
            written = text[start:end]
            if "\n" in written:
                continue
            key = normalise(written)
            ids = tuple((d, id_) for d in domains for id_ in lexicon.item_ids_by_title(d, key))
            series = () if ids else _series_ids(key, lexicon, domains)
            if (ids or series) and _is_written_as_title(text, start, end, key, lexicon, domains, shouting=shouting):
                yield Mention(start, end, written, ids or series, "title" if ids else "series")


def _series_ids(key: str, lexicon: Lexicon, domains: Sequence[str]) -> Ids:
    return tuple((domain, id_) for domain in domains for _, id_ in lexicon.of(domain).series.get(key, ()))


def _is_written_as_title(
    text: str, start: int, end: int, key: str, lexicon: Lexicon, domains: Sequence[str], *, shouting: bool
) -> bool:
    """Whether a run of words that equals a key is meant as a title."""
    written, words = text[start:end], key.split()
    content = [word for word in words if word not in COMMON]
    if HAN.search(written) or (len(words) > 1 and content):
        return not HAN.search(written)  # Chinese is looked up by characters
    before, after = text[:start], text[end:]
    alone = bool(_BEFORE.search(before)) and bool(_AFTER.match(after))
    if key.isdigit():
        return alone and (len(key) > 2 or written == text.strip())
    opens = not before.strip() or bool(re.search(r"[.!?:。！？]\s*$", before))
    raised = not shouting and written[0].isupper() and (len(words) == 1 or written.rsplit(maxsplit=1)[-1][0].isupper())
    if len(words) == 1 and words[0] in POINTING:
        listed = re.match(r"\s*(?:,|&|and\b)\s*[A-Z]", after) is not None
        stands_free = re.search(r"(?:^|[\s(,.!?“\"'、，。\u3400-\u9fff])$", before) and re.match(
            r"$|[\s),.!?;:’'”\"、，。\u3400-\u9fff]", after
        )
        return raised and bool(stands_free) and (listed if opens else not (written == "I" or re.match(r"['’]", after)))
    lacks_article = not written[:4].casefold().startswith(("the ", "a ", "an ")) and any(
        key in lexicon.of(domain).articled for domain in domains
    )
    if raised and not opens:
        return not (len(words) == 1 and _WHERE.search(before))
    if not content or (len(words) == 1 and lacks_article):
        return alone
    return not _PLACE.search(before)


def _letters(text: str) -> list[tuple[str, int]]:
    """Letters and digits as keys have them, each with its place in the text."""
    out = []
    for at, char in enumerate(text):
        for folded in unicodedata.normalize("NFKC", char).casefold():
            if unicodedata.category(folded)[0] in "LN":
                out.append((folded, at))
    return out


def _han(text: str, lexicon: Lexicon, domains: Sequence[str]) -> Iterable[Mention]:
    if not HAN.search(text):
        return
    letters = _letters(text)
    line = "".join(char for char, _ in letters)
    known = [(domain, lexicon.of(domain)) for domain in domains]
    longest = max((words.longest_han for _, words in known), default=0)
    for first in range(len(line)):
        for last in range(min(len(line), first + longest), first, -1):
            key = line[first:last]
            ids = tuple((domain, id_) for domain, words in known for id_ in words.han.get(key, ()))
            series = () if ids else tuple((d, id_) for d, words in known for id_ in words.han_series.get(key, ()))
            if not ids and not series:
                continue
            start, end = letters[first][1], letters[last - 1][1] + 1
            if _stands_alone(text[:start], text[end:], key):
                yield Mention(start, end, text[start:end], ids or series, "title" if ids else "series")


def _stands_alone(before: str, after: str, key: str) -> bool:
    if len(key) == 1 or key in {"我们", "你们"}:
        return False
    if len(key) > 2 and key not in HAN_COMMON:
        return True
    return bool(_HAN_BEFORE.search(before)) and bool(_HAN_AFTER.match(after))
