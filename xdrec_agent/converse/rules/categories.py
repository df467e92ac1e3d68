"""Limits on categories and languages. Reads a text, produces those that are wanted, refused or allowed again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from xdrec_agent.converse.lexicon import HAN, DomainWords
from xdrec_agent.converse.rules.limits import ADDS, Limits, refused
from xdrec_agent.converse.rules.vocabulary import CATEGORIES, LANGUAGES
from xdrec_agent.converse.understanding import Remark

_ALLOWED_AFTER: Final = re.compile(
    r"^\s*(?:s|is|are|'s)?\s*(?:ok(?:ay)?|fine|allowed|all right|alright|welcome)\b|^\s*(?:也)?(?:可以|没问题|也行)",
    re.I,
)
_REFUSED_AFTER: Final = re.compile(
    r"^[^，。,.]{0,6}?(?:不感兴趣|没兴趣|没有兴趣|就算了|免了|不要|不看)"
    r"|^\s*(?:\w+\s+)?(?:isn['’]?t|is not|are not|aren['’]?t|not|doesn['’]?t"
    r"|don['’]?t)\s+(?:\w+\s+)?(?:for me|my thing|my cup|interest)",
    re.I,
)
_LISTED: Final = re.compile(r"^[\s,/]*(?:and|or|nor|&|no|not|、|和|或|或者|与|跟|及|,|，|\s)*[\s,/]*$", re.I)
_WISHED: Final = re.compile(
    r"\b(?:i (?:really )?(?:like|love|enjoy|am into)|i'm into|(?<!how )(?<!what )about"
    r"|fan of)\s+(?:\w+\s+)?$|(?:我喜欢"
    r"|我爱看|爱看|喜欢看?)$",
    re.I,
)


def find_categories(text: str, words: DomainWords, out: Limits) -> None:
    """Add the categories that the text names; one that the catalogue lacks is remarked on."""
    wanted: list[str] = []
    no_more: list[str] = []
    allowed: list[str] = []
    last: tuple[int, bool] | None = None
    for start, end, category in _category_places(text, words):
        is_refused = refused(text, start) or _REFUSED_AFTER.match(text[end:]) is not None
        is_refused = is_refused or (last is not None and last[1] and _goes_on(text[last[0] : start]))
        is_taste = not is_refused and (_WISHED.search(text[:start]) is not None or category == "classic")
        if is_taste:  # no limit
            continue
        is_allowed = _ALLOWED_AFTER.match(text[end:]) is not None
        (no_more if is_refused else allowed if is_allowed else wanted).append(category)
        last = (end, is_refused)
        out.spans.append((start, end))
    known = [category for category in wanted + no_more if category in words.categories]
    out.remarks += [Remark(note="no_category", text=category) for category in wanted if category not in known]
    if wanted or no_more or allowed:
        out.put(
            categories=_written(wanted, known, words),
            not_categories=_written(no_more, known, words),
            allow=tuple(dict.fromkeys(allowed)),
            add=out.change.add | {"not_categories"} | ({"categories"} if ADDS.search(text) else set()),
        )


def _goes_on(between: str) -> bool:
    """Whether what stands between two categories only joins them to one list."""
    return _LISTED.match(between) is not None


def _written(names: list[str], known: list[str], words: DomainWords) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words.categories[name.casefold()] for name in names if name in known))


def _category_places(text: str, words: DomainWords) -> list[tuple[int, int, str]]:
    """(start, end, category) of each category named, the longer names first where they overlap."""
    found: list[tuple[int, int, str]] = []
    for start, end, category in sorted(_named(text, words), key=lambda place: place[0] - place[1]):
        is_free = not any(start < other and first < end for first, other, _ in found)
        if is_free and _is_category(text, start, end, category):
            found.append((start, end, category))
    return sorted(found)


def _named(text: str, words: DomainWords) -> Iterator[tuple[int, int, str]]:
    """Every run of words, singular or plural, that is a category's name."""
    places = [match.span() for match in _WORD.finditer(text)]
    for first, (start, _) in enumerate(places):
        for _, end in places[first : first + _LONGEST]:
            written = " ".join(text[start:end].casefold().split())
            for name in (written, written.removesuffix("s"), written.removesuffix("ies") + "y"):
                if (category := CATEGORIES.get(name) or words.categories.get(name)) and not HAN.search(name):
                    yield start, end, category.casefold()
                    break
    if HAN.search(text):
        for name, category in (*_HAN_NAMES, *((n, c) for n, c in words.categories.items() if HAN.search(n))):
            for match in re.finditer(re.escape(name), text):
                yield match.start(), match.end(), category.casefold()


_WORD: Final = re.compile(r"[^\W_]+(?:[-'’&][^\W_]+)*")
_LONGEST: Final = 4  # words of a category's name
_HAN_NAMES: Final = tuple((name, category) for name, category in CATEGORIES.items() if HAN.search(name))
_USUAL: Final = frozenset(CATEGORIES.values()) | frozenset(
    "animation biography cyberpunk dystopia espionage essays fantasy gothic heist horror memoir musical mystery noir "
    "romance satire superhero thriller western comedy documentary historical philosophical".split()
)
_WEAK: Final = frozenset("history family nature sport travel war drama crime political adventure scary".split())
_KIND: Final = re.compile(
    r"^\s*(?:books?|films?|movies?|novels?|stor(?:y|ies)|fiction|thrillers?|ones?|stuff|genre|please"
    r"|though|only|instead|片|类|题材|小说|的|书|电影|故事|向)",
    re.I,
)
_ASKED: Final = re.compile(
    r"(?:^|\b(?:no|not|nor|or|and|only|any|some|more|a|an|to|it|is|be|for|prefer|want|of|less|without"
    r"|except|but|nothing|avoid|like|just)\s+|[,，、/]\s*|[不要别想看读荐类是好和或来])$",
    re.I,
)
_TOPIC: Final = re.compile(r"\b(?:(?<!how )(?<!what )about|with|of)\s+(?:\w+\s+){0,3}$|关于[^，。]{0,8}$", re.I)


def _is_category(text: str, start: int, end: int, category: str) -> bool:
    """Whether the word is asked for as a category: "a war story" is, "about the war" is what a story is about."""
    before, after = text[:start], text[end:]
    if _TOPIC.search(before) and not _KIND.match(after) and not refused(text, start):
        return False
    if category in _WEAK or HAN.search(text[start:end]) or (category not in _USUAL and " " not in category):
        is_asked = _ASKED.search(before) or refused(text, start) or _KIND.match(after)
        return bool(is_asked) and not re.match(r"\s*(?:of|at|in)\b", after)
    return True


_LANGUAGES: Final = tuple(
    (
        code,
        names,
        re.compile(
            rf"(?:\b(?:in|originally|written in)\s+)?(?<!\w)(?:{'|'.join(names)})(?!\w)(?=\s*(?:[\w-]+\s+)??"
            r"(?:books?|novels?|films?|movies?|authors?|stories|cinema|literature|language|ones?|only|$|[.,!?]|or|and"
            r"|please))"
            rf"|(?:{'|'.join(names)})(?=\s*(?:{'|'.join(name for name, _ in _HAN_NAMES)})?"
            r"(?:的|小说|电影|书|文学|作品|片|作家|也|$|[，。、？?和或]))",
            re.I,
        ),
    )
    for code, names in LANGUAGES.items()
)


def find_languages(text: str, words: DomainWords, out: Limits) -> None:
    """Add the languages of works that the text names."""
    found: list[str] = []
    for code, names, pattern in _LANGUAGES:
        for match in pattern.finditer(text):
            out.spans.append(match.span())
            written = next((words.languages[n] for n in (code, *names) if n in words.languages), None)
            if refused(text, match.start()):
                out.remarks.append(Remark(note="not_language", text=match[0].strip()))
            elif written is None:
                out.remarks.append(Remark(note="no_category", text=match[0].strip()))
            else:
                found.append(written)
    if found:
        add = out.change.add | ({"languages"} if ADDS.search(text) else set())
        out.put(languages=tuple(dict.fromkeys(found)), add=add)
