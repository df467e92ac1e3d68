"""Titles that are no catalogue's, or misspelled. Reads what a masked text says next to an opinion, produces mentions.

A part of a list that is close to a title is that title; one that is written or spoken of like a title, and is none, is
an unknown title, to be asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from retrieval.titles import normalise
from xdrec_agent.converse.lexicon import HAN, Lexicon
from xdrec_agent.converse.rules.mention_masking import MARK, Clause, Masked
from xdrec_agent.converse.rules.mentions import Mention
from xdrec_agent.converse.rules.sentiment_cues import Cue, cues_of
from xdrec_agent.converse.rules.titles_in_text import look_up, nearest_ids
from xdrec_agent.converse.rules.vocabulary import CATEGORIES, COMMON, POINTING

_OPENING: Final = frozenset({"like", "dislike", "known", "meant", "why_not"})
_SPLIT: Final = re.compile(
    rf"\s*(?:[,，、/;；\"“”]|\band\b|\bor\b|&|\bthen\b|\bplus\b|和|与|跟|以及|还有|{MARK})\s*", re.I
)
_LEAD: Final = re.compile(
    r"^(?:(?:also|really|just|even|only|very|much|too|so|then|ok(?:ay)?|well|oh|yes|no|and|or|plus|maybe"
    r"|perhaps|(?:how|what) about|thought|found|hey|hi|watching|reading|watched|seen|read"
    r"|the (?:film|movie|book|novel)s?|films?|movies?|books?|novels?|of|all|both|a lot of|called|titled|is"
    r"|are|was|were|to)\b[\s,:]*)+|^(?:也|还有|还|把|比如|例如|像|特别是|电影|书|小说|的|是|看|读|那部|那本|这部|这本|了|过)+",
    re.I,
)
_TRAIL: Final = re.compile(
    r"[\s,]*(?:\b(?:too|as well|also|a lot|very much|so much|the (?:film|movie|book|novel)|please|though"
    r"|best|recently|yesterday|already|again|last (?:week|night|year)"
    r"|(?:is|was|are|were)\b.*)|也|很|都|这部电影|这本书|的书|这部|这本|[了呢吧啊呀吗]|那样的?)*[\s!.…~！]*$",
    re.I,
)
_GENERIC: Final = re.compile(
    r"\b(?:books?|films?|movies?|stor(?:y|ies)|novels?|things?|stuff|any\w*|some\w*|every\w*|ones?|genres?"
    r"|plots?|characters?|endings?|ideas?|kinds?|sorts?|way|lot|more|most|them|those|these"
    r"|this|that|it|you|your|him|her|me|my|fiction|what|when|how|where|which|who|titles?|work|works|cinema"
    r"|reading|read|watch|recommend\w*|suggest\w*|tonight|today|tomorrow|please|quiet|slow)\b"
    r"|(?:书|电影|小说|故事|片|类|型|题材|结局|人物|氛围|感觉|风格|节奏|剧情|东西|作品|作者|导演|的"
    r"|什么|一点|一些|推荐|给我|这|那|哪|吗|呢|怎么|都)$|^(?:看|读"
    r"|听)?(?:书|电影|点|些|什么)|想|不",
    re.I,
)
_CAPITAL: Final = re.compile(
    r"^(?:[A-Z0-9][\w'’.:-]*|of|the|a|an|and|in|on|for|to|with|at|de|la|le"
    r"|von)(?:\s+(?:[A-Z0-9][\w'’.:,-]*|of|the|a|an|and|in|on|for|to|with|at|de|la|le|von|&))*$"
)
_MOST_WORDS: Final = 9
_MOST_CHUNKS: Final = 16  # of one turn: each may be compared with every title
_PRONOUNS: Final = frozenset({"i", "we", "you", "they", "he", "she"})
_SURE: Final = re.compile(r"lov|ador|watched|seen|hat|enjoy|liked|dug|超爱|最爱|看过|读过|喜欢", re.I)
_MOVES: Final = re.compile(r"觉得|推荐|换一?[批个]|给我|有没有|来几|很|真的|挺|请|帮|看看|谢谢|哈哈")
_LIMITS: Final = re.compile(
    r"(?:before|after|since|only|no|not|nothing|by|under|over|without|with|published|preferably|just|especially|mainly)\b"
    r"|(?:from|in)\s+(?:the\b|[0-9])|[0-9]+\b(?!\s\w)|只|别|[0-9一二三四五六七八九十]+(?:年|世纪)"
)
_MASKED: Final = re.compile(MARK)


def find_leftovers(masked: Masked, lexicon: Lexicon, domains: Sequence[str]) -> Masked:
    """The masked text with misspelled and unknown titles masked too. Raises StoreError."""
    places: list[tuple[int, int, Mention]] = []
    looked_at = 0
    for clause in masked.clauses():
        cues = cues_of(clause.text)
        if any(cue.role in {"unseen", "tell", "why"} for cue in cues):
            continue
        for start, end, cue in _slots(clause, cues):
            taken = 0
            for first, last, is_whole in _chunks(clause.text, start, end):
                looked_at += 1
                if looked_at > _MOST_CHUNKS:
                    return masked.with_more(places)
                mention = _judged(clause.text[first:last], cue, clause, lexicon, domains)
                if mention is not None and mention.kind == "unknown" and _MOVES.search(mention.text):
                    continue
                if mention is None or first < taken or (is_whole and mention.kind == "unknown"):
                    continue
                places.append((clause.start + first, clause.start + last, mention))
                taken = last
    return masked.with_more(places)


def _slots(clause: Clause, cues: list[Cue]) -> Iterator[tuple[int, int, Cue | None]]:
    """The stretches of a clause in which titles are expected, and the cue that says so (None: the whole clause)."""
    if not cues:
        yield 0, len(clause.text), None
        return
    if cues[0].start > 0 and cues[0].role in {"like", "dislike", "known"}:
        yield 0, cues[0].start, None
    for cue, after in zip(cues, [*cues[1:], None], strict=True):
        if cue.role in _OPENING:
            yield cue.end, after.start if after else len(clause.text), cue


def _chunks(text: str, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """The whole stretch (True) if it is a list, then its parts; without what only introduces or follows a title."""
    borders = [(m.start() + start, m.end() + start) for m in _SPLIT.finditer(text[start:end])]
    parts = [start, *(edge for border in borders for edge in border), end]
    whole = [] if not borders or _MASKED.search(text[start:end]) else [(start, end)]
    for first, last in [*whole, *zip(parts[::2], parts[1::2], strict=True)]:
        if first > start and _MASKED.fullmatch(text[first - 1]):
            continue  # right behind a title, with no comma between, stands no other
        lead = _LEAD.match(text[first:last].lstrip())
        blank = len(text[first:last]) - len(text[first:last].lstrip())
        begin = first + blank + (lead.end() if lead else 0)
        trail = _TRAIL.search(text[begin:last])
        finish = begin + trail.start() if trail else last
        if finish - begin >= 2:
            yield begin, finish, bool(whole) and (first, last) == (start, end)


def _judged(chunk: str, cue: Cue | None, clause: Clause, lexicon: Lexicon, domains: Sequence[str]) -> Mention | None:
    words = chunk.split()
    if _MASKED.search(chunk) or len(words) > _MOST_WORDS or not normalise(chunk):
        return None
    if _LIMITS.match(chunk):  # "nothing after 1990" is a limit, found elsewhere
        return None
    if normalise(chunk) in CATEGORIES or any(normalise(chunk) in lexicon.of(d).categories for d in domains):
        return None
    if _is_close(chunk, words) and (ids := look_up(chunk, lexicon, domains)):
        return Mention(0, 0, chunk, ids)
    whole = cue is None and len(clause.text.strip()) <= len(chunk) + 25
    if not _is_unknown(chunk, words, cue, whole=whole) or _is_creator(chunk, lexicon, domains):
        return None
    return Mention(0, 0, chunk, nearest_ids(chunk, lexicon, domains), "unknown")


def _is_close(chunk: str, words: Sequence[str]) -> bool:
    """Whether a chunk is long enough to be looked up by likeness."""
    letters = sum(char.isalnum() for char in chunk)
    if HAN.search(chunk):
        return letters >= 3
    return letters >= 5 and not all(word.casefold() in COMMON for word in words)


def _is_creator(chunk: str, lexicon: Lexicon, domains: Sequence[str]) -> bool:
    return any(normalise(chunk) in lexicon.of(domain).creators for domain in domains)


def _is_unknown(chunk: str, words: Sequence[str], cue: Cue | None, *, whole: bool) -> bool:
    """Whether a chunk that is no catalogue's title is meant as one."""
    if words[0].casefold() in _PRONOUNS | POINTING - {"z", "m"} or _GENERIC.search(chunk):
        return False
    if HAN.search(chunk):
        return cue is not None and 2 <= len(chunk) <= 14
    if _CAPITAL.match(chunk) and chunk[0].isupper():
        capitals = sum(word[0].isupper() for word in words)
        return (
            capitals >= 2
            or (cue is not None and len(words) == 1 and len(chunk) > 3)
            or (len(words) > 1 and words[-1].isdigit())
        )
    if cue is None or whole:
        return False
    lively = cue.role in {"like", "dislike", "known"} and len(words) <= 5
    return (
        lively
        and not set(map(str.casefold, words)) & {"a", "an", "my", "some"}
        and not all(w.casefold() in COMMON for w in words)
        and cue.role != "dislike"
        and len(words) > 1
    )
