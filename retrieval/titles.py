"""Titles as people write them. Reads a title, produces its key or the one item that it names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol

from rapidfuzz import fuzz, process

from retrieval.errors import AmbiguousTitle, UnknownTitle
from retrieval.types import Item

MIN_SIMILARITY = 90.0
"""Similarity in [0, 100] from which a title that is spelled differently counts as the same one."""
MIN_LEAD = 5.0
"""How much more similar than the next item the item must be."""
MAX_SUGGESTIONS = 5
"""How many titles an error proposes."""


class TitleSource(Protocol):
    """Where titles are looked up: the store, or what keeps its keys in memory."""

    def title_keys(self, domain: str) -> list[tuple[str, str]]:
        """All (key, item id) pairs of the domain."""
        ...

    def item_ids_by_title(self, domain: str, key: str) -> tuple[str, ...]:
        """Ids of the items that have this key."""
        ...

    def items(self, domain: str, ids: Iterable[str]) -> dict[str, Item]:
        """The items with these ids."""
        ...


_KEY_MATCHES = 50  # of the best keys: several can belong to one item
_MIN_SUGGESTION = 55.0
_ARTICLES = frozenset({"the", "a", "an"})
_TRAILING_YEAR = re.compile(r"\s*[(\[（]([0-9]{4})[)\]）]\s*$")
_TRAILING_BRACKETS = re.compile(r"\s*[(（][^()（）]*[)）]\s*$")
_TRAILING_ARTICLE = re.compile(r",\s*(?:the|an?)\s*$")
_INITIALS = re.compile(r"\b(\w)\.(?=\w\b)")
_NUMBERS = re.compile(r"[0-9]+|\b(?:ii|iii|iv|v|vi|vii|viii|ix|x)\b")
_APOSTROPHES = frozenset("'’ʼ`´‘")
# Latin letters that Unicode does not take apart into a base letter and an accent.
_LATIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "ı": "i"})


@lru_cache(maxsize=4096)
def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN ")


def _tokens(text: str) -> list[str]:
    """Letters, numbers and the marks that belong to non-Latin letters; everything else separates."""
    out: list[str] = []
    keeps_marks = False
    for char in unicodedata.normalize("NFD", text).translate(_LATIN):
        category = unicodedata.category(char)
        if category[0] == "M":
            out.append(char if keeps_marks else "")
        elif char in _APOSTROPHES or category == "Cf":
            continue
        elif category[0] in "LN":
            out.append(char)
            keeps_marks = not (char.isascii() or _is_latin(char))
        else:
            out.append(" and " if char == "&" else " ")
            keeps_marks = False
    return unicodedata.normalize("NFC", "".join(out)).split()


def split_year(title: str) -> tuple[str, int | None]:
    """The title without a trailing "(1999)", and that year; a title that is nothing but "(1999)" stays."""
    found = _TRAILING_YEAR.search(title)
    if found is None or not title[: found.start()].strip():
        return title.strip(), None
    return title[: found.start()].strip(), int(found[1])


def normalise(title: str) -> str:
    """The key under which a title is looked up; equal keys are the same title for a reader.

    Case, accents of Latin letters, punctuation, spacing, a leading or trailing English article and a trailing
    year in brackets do not count; other scripts stay as they are. The key of a key is the key. It is empty
    for blank text only: "The", "1984" or "!!!" keep what they have.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", title).casefold())
    text = " ".join(text.split())
    bare = text
    while (shorter := _TRAILING_ARTICLE.sub("", split_year(bare)[0])) != bare:
        bare = shorter
    tokens = _tokens(_INITIALS.sub(r"\1", bare)) or _tokens(text)
    while len(tokens) > 1 and tokens[0] in _ARTICLES:
        tokens.pop(0)
    return " ".join(tokens) or text


def title_keys(item: Item) -> frozenset[str]:
    """All keys under which the item is found: its title, with and without a last part in brackets, and its aliases.

    The bracketed part is a series or another title, as in "Dune (Dune Chronicles #1)".
    """
    bare = _TRAILING_BRACKETS.sub("", split_year(item.title)[0])
    return frozenset(normalise(title) for title in (item.title, bare, *item.aliases) if title.strip())


def label(item: Item) -> str:
    """How an item is shown where it has to be told from others: "Title (year)"."""
    year = year_of(item)
    title = split_year(item.title)[0]
    return f"{title} ({year})" if year is not None else title


def year_of(item: Item) -> int | None:
    """The item's year, or the one that its title ends with, as in "Heat (1995)"."""
    return item.year if item.year is not None else split_year(item.title)[1]


def resolve_title(store: TitleSource, domains: Sequence[str], title: str, *, year: int | None = None) -> Item:
    """The one item of the domains that has this title (or alias), spelled exactly or nearly so.

    `year`, or a trailing "(1979)", tells items of the same title apart. An exact title in one domain wins over similar
    ones in the others. A title that is only similar is accepted if its similarity is at least `MIN_SIMILARITY` and
    every other item is at least `MIN_LEAD` farther away; other numbers ("Rocky II", "Rocky III") and the plural are
    other titles. Editions of one work count as one item.

    Raises:
        UnknownTitle: no item is close enough.
        AmbiguousTitle: several are, in one domain or in different ones.
    """
    items = matching(store, domains, title, year=year)
    if len(items) == 1:
        return items[0]
    if items:
        labels = _labels(items, domains)
        msg = f"{title!r} names {len(items)} items: {'; '.join(labels)}"
        raise AmbiguousTitle(msg, nearest=labels, hint="add the year, as in “Alien (1979)”, or use the item's id")
    labels = _labels(nearest(store, domains, title), domains)
    msg = f"no item of {' or '.join(domains)} is titled {title!r}" + (
        f"; nearest: {'; '.join(labels)}" if labels else ""
    )
    hint = "use one of the nearest titles" if labels else "check the domain; `xdrec ingest` adds a catalogue"
    raise UnknownTitle(msg, nearest=labels, hint=hint)


def matching(store: TitleSource, domains: Sequence[str], title: str, *, year: int | None = None) -> list[Item]:
    """The items that the title may name, as in `resolve_title`: none if it is unknown, several if it is ambiguous."""
    bare, written_year = split_year(title)
    key = normalise(title)
    for find in (_exact, _similar):
        chosen = _narrow(find(store, domains, key), bare, written_year if year is None else year)
        if chosen:
            return chosen
    return []


def nearest(store: TitleSource, domains: Sequence[str], title: str) -> list[Item]:
    """At most `MAX_SUGGESTIONS` items to propose for an unknown title, the closest first."""
    return _load(store, _suggested(store, domains, normalise(title)))


def _exact(store: TitleSource, domains: Sequence[str], key: str) -> list[Item]:
    return _load(store, [(domain, item) for domain in domains for item in store.item_ids_by_title(domain, key)])


def _similar(store: TitleSource, domains: Sequence[str], key: str) -> list[Item]:
    """Items that a misspelled title may name: within `MIN_LEAD` of the best one, if that has `MIN_SIMILARITY`."""
    scores: dict[tuple[str, str], float] = {}
    # Both scorers compare whole titles: a part in common ("It") must not count as similar.
    scorers = (fuzz.ratio, fuzz.token_sort_ratio)
    for item, similar, score in _best_keys(store, domains, key, scorers, MIN_SIMILARITY - MIN_LEAD):
        if not _other_title(key, similar):
            scores[item] = max(score, scores.get(item, 0.0))
    best = max(scores.values(), default=0.0)
    return _load(store, [item for item, score in scores.items() if best >= MIN_SIMILARITY and score > best - MIN_LEAD])


def _suggested(store: TitleSource, domains: Sequence[str], key: str) -> list[tuple[str, str]]:
    """The items to propose, best first: here a part in common does count."""
    scores: dict[tuple[str, str], float] = {}
    # The library's own scorers choose the keys that are worth the slower, mixed one.
    for item, similar, _ in _best_keys(store, domains, key, (fuzz.ratio, fuzz.token_set_ratio)):
        scores[item] = max(
            0.4 * fuzz.ratio(key, similar) + 0.6 * fuzz.token_set_ratio(key, similar), scores.get(item, 0.0)
        )
    close = [item for item, score in scores.items() if score >= _MIN_SUGGESTION]
    return sorted(close, key=lambda item: (-scores[item], item))[:MAX_SUGGESTIONS]


def _best_keys(
    store: TitleSource,
    domains: Sequence[str],
    key: str,
    scorers: Sequence[Callable[..., float]],
    cutoff: float | None = None,
) -> Iterator[tuple[tuple[str, str], str, float]]:
    """The keys most similar to `key` by each of the scorers, in each domain: item, its key, similarity."""
    for domain in domains:
        keys = store.title_keys(domain)
        texts = [text for text, _ in keys]
        for scorer in scorers:
            for text, score, at in process.extract(key, texts, scorer=scorer, limit=_KEY_MATCHES, score_cutoff=cutoff):
                yield (domain, keys[at][1]), text, score


def _load(store: TitleSource, ids: Sequence[tuple[str, str]]) -> list[Item]:
    found = {}
    for domain in {domain for domain, _ in ids}:
        for item in store.items(domain, [id_ for of, id_ in ids if of == domain]).values():
            found[domain, item.id] = item
    return [found[key] for key in ids if key in found]


def _other_title(written: str, key: str) -> bool:
    """Whether similar keys are different titles all the same: other numbers, or one is the other's plural."""
    if _NUMBERS.findall(written) != _NUMBERS.findall(key):
        return True
    return written != key and written.rstrip("s") == key.rstrip("s")


def _narrow(items: Sequence[Item], bare: str, year: int | None) -> list[Item]:
    """One item for each work that remains when year, spelling and editions have been taken into account."""
    if year is not None:
        items = [i for i in items if year_of(i) == year] or [i for i in items if year_of(i) is None]
    same_spelling = [i for i in items if split_year(i.title)[0].casefold() == bare.casefold()]
    same_key = [i for i in items if normalise(i.title) == normalise(bare)]
    works: dict[tuple[str, str], Item] = {}
    for item in sorted(same_spelling or same_key or items, key=lambda i: (i.edition_of is not None, i.domain, i.id)):
        works.setdefault((item.domain, item.edition_of or item.id), item)
    return list(works.values())


def _labels(items: Iterable[Item], domains: Sequence[str]) -> tuple[str, ...]:
    """The first `MAX_SUGGESTIONS` labels, with domain if several were searched, with creator and id where alike."""
    chosen = list(items)[:MAX_SUGGESTIONS]
    names = [label(item) for item in chosen]
    out = []
    for item, name in zip(chosen, names, strict=True):
        details = [item.domain] if len(domains) > 1 else []
        if names.count(name) > 1:
            details += [*item.creators[:1], f"id {item.id}"]
        out.append(", ".join([name, *details]))
    return tuple(out)
