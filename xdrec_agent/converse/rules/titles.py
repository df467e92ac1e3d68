"""Titles in what people write. Reads a text and the lexicon, produces the places where items are named.

Longest match first: every run of words is looked up as a key; in scripts without spaces, every run of letters is.
Titles that are everyday words ("Her", "Up", 活着) count where they are written as titles: quoted, capitalised in a
sentence that is not, or standing alone where a title is expected. Words around a title may name a part or a series.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice
from typing import Final

from retrieval.titles import TitleSource, matching, nearest, normalise, year_of
from xdrec_agent.converse.grammar import Grammar
from xdrec_agent.converse.language import is_unspaced, unspaced_letters
from xdrec_agent.converse.lexicon import Lexicon, with_digits
from xdrec_agent.converse.rules.mention_masking import Ids, Mention, without_overlaps

_QUOTED: Final = re.compile(
    r"《([^《》]{1,120})》|«([^«»]{1,120})»|“([^“”]{1,120})”|「([^「」]{1,120})」|\"([^\"]{1,120})\"|(?<![^\s(,])['‘]([^'‘’]{2,80}?)['’](?![^\s,.;!?)])"
)
_SENTENCE_END: Final = re.compile(r"[.!?:。！？]\s*$")
_YEAR_IN_BRACKETS: Final = re.compile(r"^\s*[(\[（]\s*(?P<year>[0-9]{4})\s*[)\]）]")
_WORD: Final = r"(?:(?!{letter})[^\W_][\u0300-\u036f\u0483-\u0489]*)+"
_FREE_BEFORE: Final = r"(?:^|[\s(,.!?“\"'、，。]|{letter})$"
_FREE_AFTER: Final = r"$|[\s),.!?;:’'”\"、，。]|{letter}"
_LONGEST: Final = 14  # words of a title that is looked up
_MOST_TEXT: Final = 2_000  # characters of a text that are read
_MOST_QUOTED: Final = 12  # quotations of one text: each may be compared with every title
_NEAREST: Final = 3


@dataclass(frozen=True)
class TitleFinder:
    """Finds titles of the lexicon's `domains`."""

    lexicon: Lexicon
    domains: Sequence[str]
    grammar: Grammar

    def find(self, text: str) -> list[Mention]:
        """The titles and series in a text, in order, none overlapping. Raises StoreError."""
        text = text[:_MOST_TEXT]
        quoted = list(self._quoted(text))
        known, unknown = ([m for m in quoted if (m.kind == "unknown") is is_unknown] for is_unknown in (False, True))
        runs = [*self._runs_of_words(text), *self._runs_of_letters(text)]
        runs.sort(key=lambda m: (m.start - m.end, m.start))
        # A quotation that is no title may still hold titles, or be no title at all.
        return without_overlaps([*known, *runs, *unknown])

    def look_up(self, title: str) -> Ids:
        """The items that a title may name, also when misspelled; empty if it is unknown. Raises StoreError."""
        if exact := self._exact(normalise(title)):
            return exact
        key = "".join(char for char, _ in _letters(title))
        unspaced = tuple((d, id_) for d in self.domains for id_ in self.lexicon.of(d).unspaced.get(key, ()))
        return unspaced or tuple((i.domain, i.id) for i in matching(self._alike(title), self.domains, title))

    def nearest(self, title: str) -> Ids:
        """The items whose titles come closest, best first. Raises StoreError."""
        return tuple((item.domain, item.id) for item in nearest(self._alike(title), self.domains, title))[:_NEAREST]

    def _alike(self, title: str) -> TitleSource:
        return self.lexicon.of_script(unspaced=is_unspaced(title))

    def _exact(self, key: str) -> Ids:
        return tuple((d, id_) for d in self.domains for id_ in self.lexicon.item_ids_by_title(d, key))

    def _series(self, key: str) -> Ids:
        return tuple((d, id_) for d in self.domains for _, id_ in self.lexicon.of(d).series.get(key, ()))

    @cached_property
    def _first_words(self) -> set[str]:
        return set().union(*(self.lexicon.of(domain).first_words for domain in self.domains))

    def _quoted(self, text: str) -> Iterable[Mention]:
        for found in islice(_QUOTED.finditer(text), _MOST_QUOTED):
            title = next(group for group in found.groups() if group is not None)
            if ids := self.look_up(title) or self._series(normalise(title)):
                yield Mention(found.start(), found.end(), title, ids, quoted=True)
            else:
                yield Mention(found.start(), found.end(), title, self.nearest(title), "unknown", quoted=True)

    def _runs_of_words(self, text: str) -> Iterable[Mention]:
        words = [match.span() for match in _with_letter(_WORD).finditer(text)]
        for first, (start, word_end) in enumerate(words):
            head = normalise(text[start:word_end])
            is_article = head in self.grammar.word_lists["titles"]["articles"]
            if word_end - start > 1 and not (head in self._first_words or is_article or with_digits(head)):
                continue
            for last in range(min(len(words), first + _LONGEST) - 1, first - 1, -1):
                end = words[last][1]
                key = normalise(text[start:end])
                ids = self._exact(key)
                series = () if ids else self._series(key)
                if (ids or series) and last > first and not is_article and key == normalise(text[word_end:end]):
                    continue  # keys leave out English articles, which are other words in other languages
                if (ids or series) and self._is_written_as_title(text, start, end, key):
                    yield Mention(start, end, text[start:end], ids or series, "title" if ids else "series")

    def _is_written_as_title(self, text: str, start: int, end: int, key: str) -> bool:
        """Whether a run of words that equals a key is meant as a title."""
        rules, lists = self.grammar.patterns["titles"], self.grammar.word_lists["titles"]
        written, words, before, after = text[start:end], key.split(), text[:start], text[end:]
        content = [word for word in words if word not in lists["common"]]
        if is_unspaced(written) or (len(words) > 1 and content):
            return not is_unspaced(written)  # those are looked up by letters
        alone = bool(rules["word_before"].search(before)) and bool(rules["word_after"].match(after))
        if key.isdigit():
            return alone and (len(key) > 2 or written == text.strip())
        opens = not before.strip() or bool(_SENTENCE_END.search(before))
        raised = written[0].isupper() and (len(words) == 1 or written.rsplit(maxsplit=1)[-1][0].isupper())
        raised = raised and not text.isupper()
        if len(words) == 1 and words[0] in lists["pointing"]:
            free = _with_letter(_FREE_BEFORE).search(before) and _with_letter(_FREE_AFTER).match(after)
            # Where a sentence begins every word is capitalised: there only a list of titles tells.
            is_name = not (rules["never"].search(written) or after.startswith(("'", "’")))
            return bool(raised and free and (rules["another_title"].match(after) if opens else is_name))
        if raised and not opens:
            return not (len(words) == 1 and rules["place_after"].search(before))
        if not content or (len(words) == 1 and self._lacks_article(written, key)):
            return alone
        return not rules["no_title_after"].search(before)

    def _lacks_article(self, written: str, key: str) -> bool:
        articles = self.grammar.word_lists["titles"]["articles"]
        has_article = written.casefold().startswith(tuple(f"{article} " for article in articles))
        return not has_article and any(key in self.lexicon.of(domain).articled for domain in self.domains)

    def _runs_of_letters(self, text: str) -> Iterable[Mention]:
        if not is_unspaced(text):
            return
        letters = _letters(text)
        line = "".join(char for char, _ in letters)
        known = [(domain, self.lexicon.of(domain)) for domain in self.domains]
        longest = max((words.longest_unspaced for _, words in known), default=0)
        for first in range(len(line)):
            for last in range(min(len(line), first + longest), first, -1):
                key = line[first:last]
                ids = tuple((domain, id_) for domain, words in known for id_ in words.unspaced.get(key, ()))
                series = tuple((d, id_) for d, words in known for id_ in words.unspaced_series.get(key, ()))
                if not ids and not series:
                    continue
                start, end = letters[first][1], letters[last - 1][1] + 1
                if self._stands_alone(text[:start], text[end:], key):
                    yield Mention(start, end, text[start:end], ids or series, "title" if ids else "series")

    def _stands_alone(self, before: str, after: str, key: str) -> bool:
        rules = self.grammar.patterns["titles"]
        if len(key) == 1 or rules["never"].search(key):
            return False
        if len(key) > 2 and key not in self.grammar.word_lists["titles"]["common"]:
            return True
        return bool(rules["letters_before"].search(before)) and bool(rules["letters_after"].match(after))

    def continued(self, text: str, mention: Mention) -> Mention:
        """The mention with the part, season, series or year that words around it name; an unknown part is unknown."""
        if mention.kind not in {"title", "series"}:
            return mention
        rules, after = self.grammar.patterns["sequels"], text[mention.end :]
        if found := rules["season"].match(after):  # a season of what the catalogue has as one work
            return _widened(text, mention, found.end())
        if (found := rules["part"].match(after)) and not mention.quoted:
            ids = self._volumes(mention, self.grammar.numbers.value(found["number"]) or 0)
            part = _widened(text, mention, found.end())
            return replace(part, ids=ids, kind="title") if ids else replace(part, ids=mention.ids[:3], kind="unknown")
        if found := _YEAR_IN_BRACKETS.match(after) or rules["year_after"].match(after):
            year = int(found["year"])
            items = self.lexicon.items_of(mention.ids)
            ids = tuple(key for key, item in items.items() if year_of(item) == year)
            return replace(_widened(text, mention, found.end()), ids=ids) if ids else mention
        return self._in_series(mention, text[: mention.start], after)

    def _in_series(self, mention: Mention, before: str, after: str) -> Mention:
        """The mention, or the part of a series or the whole of it that the words around speak of."""
        rules = self.grammar.patterns["sequels"]
        if nth := rules["nth_before"].search(before):
            ids = self._volumes(mention, self.grammar.numbers.value(nth["number"]) or 0)
            if not ids and mention.kind == "title":  # "the second" is something else
                return mention
            return replace(mention, start=nth.start(), ids=ids or mention.ids, kind="title" if ids else "unknown")
        is_series = rules["series_after"].match(after) or (
            rules["whole_after"].match(after) and rules["whole_before"].search(before)
        )
        if mention.kind == "title" and is_series:
            whole = tuple((d, id_) for d, members in self._members(mention) for _, id_ in members)
            return replace(mention, ids=whole, kind="series") if whole else mention
        return mention

    def _volumes(self, mention: Mention, number: int) -> Ids:
        """The items of the mention's series with this number, in each domain that has it."""
        found = [(d, id_) for d, members in self._members(mention) for volume, id_ in members if volume == number]
        return tuple(dict.fromkeys(found))

    def _members(self, mention: Mention) -> Iterable[tuple[str, tuple[tuple[float, str], ...]]]:
        """(domain, its (volume, item id) by volume) of the series that the mentioned items belong to."""
        items = self.lexicon.items_of(mention.ids).values()
        found = {item.domain: item.series for item in items if item.series}
        return [(domain, self.lexicon.of(domain).series[normalise(series)]) for domain, series in found.items()]


@cache
def _with_letter(pattern: str) -> re.Pattern[str]:
    """The pattern with one letter of a script without spaces filled in."""
    return re.compile(pattern.replace("{letter}", unspaced_letters()))


def _widened(text: str, mention: Mention, by: int) -> Mention:
    end = mention.end + by
    return replace(mention, end=end, text=text[mention.start : end])


def _letters(text: str) -> list[tuple[str, int]]:
    """Letters and digits as keys have them, each with its place in the text."""
    return [
        (folded, at)
        for at, char in enumerate(text)
        for folded in unicodedata.normalize("NFKC", char).casefold()
        if unicodedata.category(folded)[0] in "LN"
    ]
