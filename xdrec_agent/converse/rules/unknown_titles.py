"""Titles that are no catalogue's, or misspelled. Reads what a masked text says next to an opinion, produces mentions.

A part of a list that is close to a title is that title; one that is written or spoken of like a title, and is none, is
an unknown title, to be asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from retrieval.titles import normalise
from xdrec_agent.converse.grammar import Grammar
from xdrec_agent.converse.language import is_unspaced
from xdrec_agent.converse.rules.mention_masking import MASK, Clause, MaskedText, Mention
from xdrec_agent.converse.rules.sentiment_cues import Cue, cues_of
from xdrec_agent.converse.rules.titles import TitleFinder

_OPENING: Final = frozenset({"like", "dislike", "known", "meant", "why_not"})
_OPINIONS: Final = frozenset({"like", "dislike", "known"})
_NO_SLOTS: Final = frozenset({"unseen", "tell", "why"})
_CAPITALISED: Final = re.compile(r"[A-Z0-9][\w'’.:,-]*")
_MOST_WORDS: Final = 9
_MOST_CHUNKS: Final = 16  # of one turn: each may be compared with every title
_MOST_LETTERS: Final = 14  # of an unknown title in a script without spaces


@dataclass(frozen=True)
class UnknownTitles:
    """Finds what is written like a title and is none of the catalogues'."""

    titles: TitleFinder
    grammar: Grammar

    def masked(self, masked: MaskedText) -> MaskedText:
        """The masked text with misspelled and unknown titles masked too. Raises StoreError."""
        places: list[tuple[int, int, Mention]] = []
        looked_at = 0
        for clause in masked.clauses(self.grammar):
            cues = cues_of(clause.text, self.grammar)
            if any(cue.role in _NO_SLOTS for cue in cues):
                continue
            for start, end, cue in _stretches(clause, cues):
                taken = 0
                for first, last, is_whole in self._chunks(clause.text, start, end):
                    looked_at += 1
                    if looked_at > _MOST_CHUNKS:
                        return masked.with_more(places)
                    mention = self._mention(clause.text[first:last], cue, clause)
                    if mention is None or first < taken or (is_whole and mention.kind == "unknown"):
                        continue
                    places.append((clause.start + first, clause.start + last, mention))
                    taken = last
        return masked.with_more(places)

    def _chunks(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """The whole stretch (True) if it is a list, then its parts; without what only introduces or follows a title."""
        rules = self.grammar.patterns["unknown_titles"]
        borders = [(m.start() + start, m.end() + start) for m in rules["separator"].finditer(text[start:end])]
        edges = [start, *(edge for border in borders for edge in border), end]
        whole = [] if not borders or MASK.search(text[start:end]) else [(start, end)]
        for first, last in [*whole, *zip(edges[::2], edges[1::2], strict=True)]:
            if first > start and MASK.fullmatch(text[first - 1]):
                continue  # right behind a title, with no comma between, stands no other
            bare = text[first:last].lstrip()
            lead = rules["lead"].match(bare)
            begin = last - len(bare) + (lead.end() if lead else 0)
            trail = rules["trail"].search(text[begin:last])
            finish = begin + trail.start() if trail else last
            if finish - begin >= 2:
                yield begin, finish, bool(whole) and (first, last) == (start, end)

    def _mention(self, chunk: str, cue: Cue | None, clause: Clause) -> Mention | None:
        """The title that a chunk is, misspelled or unknown; None: it is meant as none."""
        words, key = chunk.split(), normalise(chunk)
        rules = self.grammar.patterns["unknown_titles"]
        is_limit = rules["limit"].match(chunk)  # "nothing after 1990", found elsewhere
        if MASK.search(chunk) or len(words) > _MOST_WORDS or not key or is_limit:
            return None
        catalogues = [self.titles.lexicon.of(domain) for domain in self.titles.domains]
        first, _, without_article = key.partition(" ")
        name = without_article if first in self.grammar.word_lists["titles"]["articles"] else key
        if name in self.grammar.categories or any(name in words.categories for words in catalogues):
            return None
        if self._is_long_enough(chunk, words) and (ids := self.titles.look_up(chunk)):
            return Mention(0, 0, chunk, ids)
        stands_alone = cue is None and len(clause.text.strip()) <= len(chunk) + 25
        if not self._is_like_a_title(chunk, words, cue, stands_alone=stands_alone):
            return None
        if any(key in words.creators for words in catalogues) or rules["never"].search(chunk):
            return None
        return Mention(0, 0, chunk, self.titles.nearest(chunk), "unknown")

    def _is_long_enough(self, chunk: str, words: Sequence[str]) -> bool:
        """Whether a chunk has enough letters to be looked up by likeness."""
        letters = sum(char.isalnum() for char in chunk)
        return letters >= 3 if is_unspaced(chunk) else letters >= 5 and not self._is_common(words)

    def _is_common(self, words: Sequence[str]) -> bool:
        return all(word.casefold() in self.grammar.word_lists["titles"]["common"] for word in words)

    def _is_like_a_title(self, chunk: str, words: Sequence[str], cue: Cue | None, *, stands_alone: bool) -> bool:
        """Whether a chunk that is no catalogue's title is meant as one."""
        lists, head = self.grammar.word_lists["unknown_titles"], words[0].casefold()
        is_pointing = len(head) > 1 and head in self.grammar.word_lists["titles"]["pointing"]
        no_title = self.grammar.patterns["unknown_titles"]["no_title"]
        if head in lists["pronouns"] or is_pointing or no_title.search(chunk):
            return False
        if is_unspaced(chunk):
            return cue is not None and 2 <= len(chunk) <= _MOST_LETTERS
        if chunk[0].isupper() and self.grammar.sentence_case and cue is not None:
            return len(chunk) > 3
        if chunk[0].isupper() and self._is_capitalised(words):
            capitals = sum(word[0].isupper() for word in words)
            is_name = cue is not None and len(words) == 1 and len(chunk) > 3
            return capitals >= 2 or is_name or (len(words) > 1 and words[-1].isdigit())
        if cue is None or stands_alone or cue.role == "dislike" or cue.role not in _OPINIONS:
            return False
        described = not lists["described"].isdisjoint(map(str.casefold, words))
        return 1 < len(words) <= 5 and not described and not self._is_common(words)

    def _is_capitalised(self, words: Sequence[str]) -> bool:
        small = self.grammar.word_lists["unknown_titles"]["small_words"]
        return all(word in small or word == "&" or _CAPITALISED.fullmatch(word) for word in words)


def _stretches(clause: Clause, cues: list[Cue]) -> Iterator[tuple[int, int, Cue | None]]:
    """The stretches of a clause in which titles are expected, and the cue that says so (None: the whole clause)."""
    if not cues:
        yield 0, len(clause.text), None
        return
    if cues[0].start > 0 and cues[0].role in _OPINIONS:
        yield 0, cues[0].start, None
    for cue, after in zip(cues, [*cues[1:], None], strict=True):
        if cue.role in _OPENING:
            yield cue.end, after.start if after else len(clause.text), cue
