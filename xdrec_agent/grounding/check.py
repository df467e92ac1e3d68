"""The check. Reads a text and what it may speak of, produces the text's claims, each supported or not.

Strict and independent of what wrote the text: what is found in no list of neutral words must be borne out by the
evidence or by the fields of the item that it is said of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from xdrec_agent.grounding.attribution import Refs, Sentence
from xdrec_agent.grounding.claims import Claim, ClaimKind
from xdrec_agent.grounding.evidence import Evidence
from xdrec_agent.grounding.persons import works_of
from xdrec_agent.grounding.relation_claims import relation_claims
from xdrec_agent.grounding.scope import Scope, key_of
from xdrec_agent.grounding.tokens import Token, TokenKind, folded, tokenize

_END: Final = re.compile(r"[.!?…]+[\"'”’)]*(?:\s+|$)|[。！？]+[”’）]*\s*|\n+")
_BEFORE_A_TITLE: Final = frozenset({"determiner", "neutral", "link", "comma", "trait", "year", "number", "together"})
_PRAISED: Final = frozenset({"item", "noun", "trait", "year", "link", "comma"})
_BESIDE_A_TITLE: Final = frozenset({"item", "link", "open", "close", "year", "noun", "determiner"})
_ABBREVIATED: Final = re.compile(r"(?:\b[A-Z]|\b(?:Mr|Mrs|Ms|Dr|St|vol|Vol|No))\.$")


def check(text: str, scope: Scope) -> tuple[Claim, ...]:
    """All claims of the text, in order."""
    return tuple(claim for said in _read(text, scope) for claim in _claims(said))


def sentences(text: str, evidence: Evidence) -> tuple[str, ...]:
    """The sentences of a text; a mark inside a title or name ends none."""
    names = [n for i in evidence.items for n in (i.title, *i.aliases, *i.creators) if _ends_a_sentence(n)]
    kept = [m.span() for name in names for m in re.finditer(re.escape(name), text)]
    found, start = [], 0
    for match in _END.finditer(text):
        inside = any(a <= match.start() < b and match.end() != len(text) for a, b in kept)
        if not inside and not _ABBREVIATED.search(text[: match.start() + 1]):
            found.append(text[start : match.end()].strip())
            start = match.end()
    found.append(text[start:].strip())
    return tuple(sentence for sentence in found if re.search(r"\w", sentence))


@lru_cache(maxsize=4096)
def _ends_a_sentence(name: str) -> bool:
    """Whether a name holds a mark that would end a sentence."""
    return _END.search(name + " ") is not None


def cited(text: str, scope: Scope) -> tuple[str, ...]:
    """Labels of the known items that the text names, in the evidence's order."""
    named: set[str] = set()
    for said in _read(text, scope):
        for at, token in enumerate(said.tokens):
            if token.kind == "item":
                named |= said.refs(at)
    return tuple(k.label for k in scope.evidence.known if f"{k.item.domain}/{k.item.id}" in named)


def _read(text: str, scope: Scope) -> Iterator[Sentence]:
    for n, sentence in enumerate(sentences(text, scope.evidence)):
        yield Sentence(tokenize(sentence, scope.phrases), scope, n)


def _claims(s: Sentence) -> Iterator[Claim]:
    yield from relation_claims(s)
    for at, token in enumerate(s.tokens):
        if token.kind in _OF_KIND:
            yield from _OF_KIND[token.kind](s, at)
        if token.of("liked") or token.of("liked_before"):
            yield from _liked(s, at)
        if token.of("liked"):
            yield from _why_liked(s, at)
    yield from _statements(s)


def _title(s: Sentence, at: int) -> Iterator[Claim]:
    yield _claim(s.tokens[at], "title", s, s.refs(at), "", "")


def _unknown_title(s: Sentence, at: int) -> Iterator[Claim]:
    yield _claim(s.tokens[at], "title", s, frozenset(), None, "no item of the evidence is called that")


def _person(s: Sentence, at: int) -> Iterator[Claim]:
    works, role = works_of(s, at)
    persons = [m.values[0] for m in s.tokens[at].meanings if m.kind == "person"]
    for refs in works:
        held = any(s.scope.took_part(key, person, role) for key in refs for person in persons)
        yield _claim(s.tokens[at], "person", s, refs, "its creators and people" if held else None, "not in that role")


def _year(s: Sentence, at: int) -> Iterator[Claim]:
    token = s.tokens[at]
    (value,) = token.meanings[0].values
    wanted = int(value) if value.isdigit() else 10 * s.scope.words.numbers.get(value[0], 0)
    step = 10 if token.kind == "decade" else 1
    wanted += 1900 if wanted < 100 else 0
    for refs in s.attribute(at):
        years = [s.scope.year(key) for key in refs]
        held = next((y for y in years if y is not None and y // step == wanted // step), None)
        yield _claim(token, "year", s, refs, None if held is None else f"year {held}", f"not of {wanted}")


def _trait(s: Sentence, at: int) -> Iterator[Claim]:
    token = s.tokens[at]
    traits = [m.values[0] for m in token.meanings if m.kind == "trait"]
    for refs in s.attribute(at):
        held = next((t for t in traits if any(s.scope.has_trait(key, t) for key in refs)), None)
        if held or not token.of("neutral"):
            yield _claim(token, "category", s, refs, held, "not among its categories and themes")


def _volume(s: Sentence, at: int) -> Iterator[Claim]:
    token = s.tokens[at]
    value = token.meanings[0].values[0].lower()
    words = s.scope.words
    number = words.volumes.get(value) or words.numbers.get(value) or int(re.sub(r"\D", "", value) or 0)
    for refs in s.attribute(at):
        held = any(s.scope.items[key].volume == number for key in refs if key in s.scope.items)
        yield _claim(token, "number", s, refs, f"volume {number}" if held else None, f"it is not volume {number}")
    k = at + 1
    while s.kind(k) in {"of", "determiner", "neutral"}:
        k += 1
    if s.kind(k) == "item" and s.tokens[k].of("series"):
        yield _of_series(s, k, at)


def _number(s: Sentence, at: int) -> Iterator[Claim]:
    token = s.tokens[at]
    value = token.meanings[0].values[0].replace(",", "")
    if value == "1" and not token.text.isdigit():
        return
    named = {s.refs(k) for k in s.mentions if s.kind(k) == "item"}
    shares = {v for fact in s.scope.evidence.facts if fact.kind == "similar" for v in fact.values}
    refs = s.refs(s.nearest(at)[0]) if s.nearest(at) else frozenset({s.scope.candidate})
    if value == str(len(named)):
        support: str | None = "so many titles are named"
    elif value in shares:
        support = "share of the score"
    else:
        support = "its description" if any(s.scope.describes(key, token.text) for key in refs) else None
    yield _claim(token, "number", s, refs, support, "no such number in the evidence")


def _series(s: Sentence, at: int) -> Iterator[Claim]:
    yield _of_series(s, at, at)


def _of_series(s: Sentence, at: int, of: int) -> Claim:
    meaning = s.tokens[at].of("series")
    name = meaning.values[0] if meaning else ""
    refs = s.attribute(of)[0]
    held = any(s.scope.items[key].series == name for key in refs if key in s.scope.items)
    return _claim(s.tokens[at], "relation", s, refs, f"series {name}" if held else None, "it is not of that series")


def _same(s: Sentence, at: int) -> Iterator[Claim]:
    token = s.tokens[at]
    named = {key for k in s.mentions for key in s.refs(k)} | {s.scope.candidate}
    items = [s.scope.items[key] for key in named if key in s.scope.items]
    what = token.meanings[0].values[0]
    if what == "creator":
        common = set.intersection(*({c.casefold() for c in item.creators} for item in items))
        held = len(items) > 1 and bool(common)
    elif what == "series":
        held = len(items) > 1 and len({item.series for item in items} | {None}) == 2 and all(i.series for i in items)
    else:
        held = len(items) > 1 and len({(item.year or -n) // 10 for n, item in enumerate(items, 1)}) == 1
    kind: ClaimKind = "year" if what == "decade" else "relation"
    yield _claim(token, kind, s, frozenset(named), "their fields" if held else None, "their fields differ")


def _liked(s: Sentence, at: int) -> Iterator[Claim]:
    token = s.tokens[at]
    k = s.right(at, lambda t: t.kind in {"comma", "stop"}) if token.of("liked") else s.left(at)
    if k is None or s.kind(k) != "item":
        return
    known = {key for key in s.scope.items if key != s.scope.candidate}
    for n in s.group(k):
        if token.of("liked") is None or n >= k:
            refs = s.refs(n)
            held = bool(refs & known)
            yield _claim(s.tokens[n], "liked", s, refs, "history" if held else None, "not among the liked items")


def _why_liked(s: Sentence, at: int) -> Iterator[Claim]:
    """ "You liked Alien because it …", "you liked the horror of Alien": why something was liked, nobody has told."""
    k = at + 1
    while s.kind(k) in _BEFORE_A_TITLE:
        aspect = s.kind(k) == "neutral" and s.tokens[k + 1 : k + 2] and s.tokens[k + 1].of("of")
        if aspect or (s.kind(k) == "trait" and s.kind(k + 1) not in _PRAISED):
            yield _claim(s.tokens[k], "statement", s, frozenset(), None, "what was liked about it is not known")
            return
        k += 1
    after = [k for k in range(at + 1, len(s.tokens)) if s.kind(k) not in _BESIDE_A_TITLE]
    if after and after[0] > at + 1 and s.tokens[after[0]].text.lower() in s.scope.words.because:
        token = s.tokens[after[0]]
        yield _claim(token, "statement", s, frozenset(), None, "why something was liked is not known")


def _sort(s: Sentence, at: int) -> Iterator[Claim]:
    """ "Annihilation is a horror film": that a title is one of that domain."""
    k = at - 1
    while s.kind(k) in {"trait", "link", "comma", "year", "decade"}:
        k -= 1
    verb = k - 1
    if s.kind(k) is None or s.tokens[k].text.lower() not in s.scope.words.articles or s.kind(verb) != "verb":
        return
    subject = s.left(verb)
    if subject is None:
        return
    domain = s.tokens[at].meanings[0].values[0]
    refs = s.refs(subject)
    held = any(key.partition("/")[0] == domain for key in refs)
    yield _claim(s.tokens[at], "category", s, refs, domain if held else None, f"it is none of the {domain}")


def _closeness(s: Sentence, at: int) -> Iterator[Claim]:
    """That of what was liked something is the closest, or is close, to the recommended item."""
    words, said = s.scope.words, s.tokens[at].text.lower()
    if said not in words.closest and said not in words.close:
        return
    beside = sorted(s.mentions, key=lambda k: abs(k - at))[:2]
    named = {key for k in beside for key in s.refs(k)} | {s.scope.candidate}
    closest = s.scope.evidence.closest
    known = {key_of(k.item) for k in s.scope.evidence.known} if said in words.close else set()
    if closest:
        known.add(key_of(closest.item))
    of_candidate = len(beside) < 2 or any(s.scope.candidate in s.refs(k) for k in beside)
    held = of_candidate and bool(named & known)
    missing = "the program's figures do not say so"
    yield _claim(s.tokens[at], "number", s, frozenset(named), "similarity" if held else None, missing)


def _statements(s: Sentence) -> Iterator[Claim]:
    """What is left over: names that nobody bears, and words that no description has."""
    for at, token in enumerate(s.tokens):
        if token.kind != "unknown":
            continue
        left, right = s.left(at), s.right(at)
        refs = s.refs(left) if left is not None else frozenset({s.scope.candidate})
        if left is None and right is not None:
            refs |= s.refs(right)
        held = any(s.scope.describes(key, token.text) for key in refs) or _asked(s, token.text)
        name = token.text[0].isupper() and at > 0
        kind: ClaimKind = "number" if token.text[0].isdigit() else "title" if name else "statement"
        support = "its description" if held else None
        yield _claim(token, kind, s, refs, support, "nothing in the evidence or its description says so")


def _asked(s: Sentence, word: str) -> bool:
    """Whether the person's own words have it."""
    text = s.scope.evidence.text
    return bool(text) and folded(word).casefold() in re.findall(r"[^\W_]+", folded(text or "").casefold())


def _claim(token: Token, kind: ClaimKind, s: Sentence, refs: Refs, support: str | None, missing: str) -> Claim:
    subject = " / ".join(dict.fromkeys(s.scope.title(key) for key in sorted(refs)))
    said = support if support is not None else missing
    return Claim(
        text=token.text, kind=kind, subject=subject, supported=support is not None, support=said, sentence=s.number
    )


_OF_KIND: Final[Mapping[TokenKind, Callable[[Sentence, int], Iterator[Claim]]]] = {
    "item": _title,
    "unknown-title": _unknown_title,
    "person": _person,
    "year": _year,
    "decade": _year,
    "trait": _trait,
    "volume": _volume,
    "number": _number,
    "series": _series,
    "same": _same,
    "noun": _sort,
    "together": _closeness,
}
"""What a token of each kind claims."""
