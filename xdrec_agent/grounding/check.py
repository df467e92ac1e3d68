"""The check. Reads a text and what it may speak of, produces the text's claims, each supported or not.

Strict and independent of what wrote the text: what is found in no list of neutral words must be borne out by the
evidence or by the fields of the item that it is said of.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from xdrec_agent.grounding.attribution import Claim, ClaimKind, Kinds, Sentence
from xdrec_agent.grounding.person_claims import person_claims
from xdrec_agent.grounding.relation_claims import relation_claims
from xdrec_agent.grounding.scope import Scope, key_of
from xdrec_agent.grounding.tokens import TokenKind, folded, tokenize

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_END: Final = re.compile(r"[.!?…]+[\"'”’)»]*(?:\s+|$)|[。！？]+[”’）]*\s*|\n+")
_BEFORE_A_TITLE: Final[Kinds] = frozenset(
    {"determiner", "neutral", "link", "comma", "trait", "year", "number", "together"}
)
_PRAISED: Final[Kinds] = frozenset({"item", "noun", "trait", "year", "link", "comma"})
_BESIDE_A_TITLE: Final[Kinds] = frozenset({"item", "link", "open", "close", "year", "noun", "determiner"})

_NAMES: Final[Kinds] = frozenset({"item", "person", "entity", "series", "unknown-title", "trait"})
_OF_SCRIPT: Final = 0.8
_LETTERS: Final = 30
_SURE: Final = 0.9


def check(text: str, scope: Scope) -> tuple[Claim, ...]:
    """All claims of the text, in order."""
    return tuple(claim for sentence in _read(text, scope) for claim in _claims(sentence))


def sentences(text: str, scope: Scope) -> tuple[str, ...]:
    """The sentences of a text; a mark inside a title or name, or behind an initial or abbreviation, ends none."""
    items = scope.evidence.items
    names = [n for i in items for n in (i.title, *i.aliases, *i.creators) if _ends_a_sentence(n)]
    kept = [m.span() for name in names for m in re.finditer(re.escape(name), text)]
    parts, start = [], 0
    for match in _END.finditer(text):
        inside = any(a <= match.start() < b and match.end() != len(text) for a, b in kept)
        word = re.search(r"\w*$", text[: match.start()])
        last = word[0] if word and text[match.start()] == "." else ""
        initial = len(last) == 1 and last.isupper()
        if not (inside or initial or last in scope.rules.abbreviations):
            parts.append(text[start : match.end()].strip())
            start = match.end()
    parts.append(text[start:].strip())
    return tuple(sentence for sentence in parts if re.search(r"\w", sentence))


@lru_cache(maxsize=4096)
def _ends_a_sentence(name: str) -> bool:
    """Whether a name holds a mark that would end a sentence."""
    return _END.search(name + " ") is not None


def cited(text: str, scope: Scope) -> tuple[str, ...]:
    """Labels of the known items that the text names, in the evidence's order."""
    named = {key for s in _read(text, scope) for k in s.mentions if s.kind(k) == "item" for key in s.refs(k)}
    return tuple(known.label for known in scope.evidence.known if key_of(known.item) in named)


def _read(text: str, scope: Scope) -> Iterator[Sentence]:
    for n, sentence in enumerate(sentences(text, scope)):
        yield Sentence(tokenize(sentence, scope.vocabulary), scope, n)


def foreign(text: str, scope: Scope) -> Claim | None:
    """A claim of the kind "language" if the prose (names and traits left out) is in another one; else None.

    The letters must be of the language's script. Where the script does not tell the language, the words are looked at
    as well (py3langid; Lui and Baldwin 2012), if there are enough of them.
    """
    rules, language = scope.rules, scope.language
    prose = _prose(text, scope)
    letters = [c for c in prose if c.isalpha()]
    own = sum(unicodedata.name(c, "").startswith(rules.script) for c in letters)
    if letters and own < _OF_SCRIPT * len(letters):
        problem = f"{own} of {len(letters)} letters are {rules.script}"
    elif rules.own_script or len(letters) < _LETTERS:
        return None
    else:
        other, sure = _identifier().classify(prose)
        if other == language or sure < _SURE:
            return None
        problem = f"it reads as {other}"
    return Claim(text=text[:80], kind="language", supported=False, support=f"{problem}, wanted is {language}")


def _prose(text: str, scope: Scope) -> str:
    """The text between names and traits."""
    parts, end = [], 0
    for token in tokenize(text, scope.vocabulary):
        if token.kind in _NAMES:
            parts.append(text[end : token.start])
            end = token.end
    return "".join((*parts, text[end:]))


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


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
    if s.kind(at) == "item":
        yield s.claim(at, "title", [s.refs(at)], "")
    else:
        yield s.claim(at, "title", [], None, "no item of the evidence is called that")


def _year(s: Sentence, at: int) -> Iterator[Claim]:
    """That a work is from a year or decade; a decade without its century is one of the 20th."""
    said = int(s.tokens[at].meanings[0].values[0])
    said += 1900 if said < 100 else 0
    step = 10 if s.kind(at) == "decade" else 1
    for refs in s.attribute(at):
        years = [s.scope.year(key) for key in refs]
        held = next((y for y in years if y is not None and y // step == said // step), None)
        yield s.claim(at, "year", [refs], None if held is None else f"year {held}", f"not of {said}")


def _trait(s: Sentence, at: int) -> Iterator[Claim]:
    traits = [m.values[0] for m in s.tokens[at].meanings if m.kind == "trait"]
    for refs in s.attribute(at):
        held = next((t for t in traits if any(s.scope.has_trait(key, t) for key in refs)), None)
        if held or not s.tokens[at].of("neutral"):
            yield s.claim(at, "category", [refs], held, "not among its categories and themes")


def _volume(s: Sentence, at: int) -> Iterator[Claim]:
    value, rules, items = s.tokens[at].meanings[0].values[0].lower(), s.scope.rules, s.scope.items
    number = rules.volumes.get(value) or rules.numbers.get(value) or int(re.sub(r"\D", "", value) or 0)
    for refs in s.attribute(at):
        held = any(items[key].volume == number for key in refs if key in items)
        yield s.claim(at, "number", [refs], f"volume {number}" if held else None, f"it is not volume {number}")
    k = s.skip(at + 1, {"of", "determiner", "neutral"})
    if s.kind(k) == "item" and s.tokens[k].of("series"):
        yield from _series(s, k, at)


def _number(s: Sentence, at: int) -> Iterator[Claim]:
    """A number is borne out by how many titles are named, a share of the score, or the description."""
    text, value = s.tokens[at].text, s.tokens[at].meanings[0].values[0].replace(",", "")
    if value == "1" and not text.isdigit():
        return
    named = {s.refs(k) for k in s.mentions if s.kind(k) == "item"}
    shares = {v for fact in s.scope.evidence.facts if fact.kind == "similar" for v in fact.values}
    refs = s.nearest_refs(at)[0]
    support = None
    if value == str(len(named)):
        support = "so many titles are named"
    elif value in shares:
        support = "share of the score"
    elif any(s.scope.describes(key, text) for key in refs):
        support = "its description"
    yield s.claim(at, "number", [refs], support, "no such number in the evidence")


def _series(s: Sentence, at: int, of: int | None = None) -> Iterator[Claim]:
    """That what the token at `of` speaks of (None: the name itself) belongs to the series."""
    meaning = s.tokens[at].of("series")
    name = meaning.values[0] if meaning else ""
    refs = s.attribute(at if of is None else of)[0]
    held = any(s.scope.items[key].series == name for key in refs if key in s.scope.items)
    yield s.claim(at, "relation", [refs], f"series {name}" if held else None, "it is not of that series")


def _same(s: Sentence, at: int) -> Iterator[Claim]:
    """That the named items have a creator, a series or a decade in common."""
    named = frozenset(key for k in s.mentions for key in s.refs(k)) | s.alone
    items = [s.scope.items[key] for key in named if key in s.scope.items]
    what = s.tokens[at].meanings[0].values[0]
    if what == "creator":
        held = bool(set.intersection(*({c.casefold() for c in item.creators} for item in items)))
    elif what == "series":
        held = all(item.series and item.series == items[0].series for item in items)
    else:
        held = all(item.year is not None and item.year // 10 == (items[0].year or 0) // 10 for item in items)
    kind: ClaimKind = "year" if what == "decade" else "relation"
    yield s.claim(at, kind, [named], "their fields" if held and len(items) > 1 else None, "their fields differ")


def _liked(s: Sentence, at: int) -> Iterator[Claim]:
    follows = s.tokens[at].of("liked") is not None
    k = s.right(at, frozenset({"comma", "stop"})) if follows else s.left(at)
    if k is None or s.kind(k) != "item":
        return
    known = s.scope.items.keys() - s.alone
    for n in s.group(k):
        if n >= k or not follows:
            held = bool(s.refs(n) & known)
            yield s.claim(n, "liked", [s.refs(n)], "history" if held else None, "not among the liked items")


def _why_liked(s: Sentence, at: int) -> Iterator[Claim]:
    """ "You liked Alien because it …", "you liked the horror of Alien": the evidence never says why."""
    k = at + 1
    while s.kind(k) in _BEFORE_A_TITLE:
        aspect = s.kind(k) == "neutral" and s.tokens[k + 1 : k + 2] and s.tokens[k + 1].of("of")
        if aspect or (s.kind(k) == "trait" and s.kind(k + 1) not in _PRAISED):
            yield s.claim(k, "statement", [], None, "what was liked about it is not known")
            return
        k += 1
    after = s.skip(at + 1, _BESIDE_A_TITLE)
    if after > at + 1 and s.kind(after) and s.tokens[after].of("because"):
        yield s.claim(after, "statement", [], None, "why something was liked is not known")


def _domain(s: Sentence, at: int) -> Iterator[Claim]:
    """ "Annihilation is a horror film": that a title is one of that domain."""
    k = s.skip(at - 1, {"trait", "link", "comma", "year", "decade"}, -1)
    subject = s.left(k - 1)
    if subject is None or not s.tokens[k].of("article") or s.kind(k - 1) != "verb":
        return
    domain, refs = s.tokens[at].meanings[0].values[0], s.refs(subject)
    held = any(key.partition("/")[0] == domain for key in refs)
    yield s.claim(at, "category", [refs], domain if held else None, f"it is none of the {domain}")


def _closeness(s: Sentence, at: int) -> Iterator[Claim]:
    """That of what was liked something is the closest, or is close, to the recommended item."""
    how = s.tokens[at].meanings[0].values
    if how not in {("closest",), ("close",)}:
        return
    evidence = s.scope.evidence
    beside = sorted(s.mentions, key=lambda k: abs(k - at))[:2]
    named = frozenset(key for k in beside for key in s.refs(k)) | s.alone
    like = {key_of(k.item) for k in evidence.known if k is evidence.closest or how == ("close",)}
    of_candidate = len(beside) < 2 or any(s.scope.candidate in s.refs(k) for k in beside)
    support = "similarity" if of_candidate and named & like else None
    yield s.claim(at, "number", [named], support, "the program's figures do not say so")


def _statements(s: Sentence) -> Iterator[Claim]:
    """What is left over: unknown names, and words that must stand in a description."""
    for at, token in enumerate(s.tokens):
        if token.kind != "unknown":
            continue
        left, right = s.left(at), s.right(at)
        refs = s.refs(left) if left is not None else s.alone
        if left is None and right is not None:
            refs |= s.refs(right)
        held = any(s.scope.describes(key, token.text) for key in refs) or _asked(s, token.text)
        name = token.text[0].isupper() and at > 0
        kind: ClaimKind = "number" if token.text[0].isdigit() else "title" if name else "statement"
        support = "its description" if held else None
        yield s.claim(at, kind, [refs], support, "nothing in the evidence or its description says so")


def _asked(s: Sentence, word: str) -> bool:
    """Whether the user's own words have it."""
    return folded(word).casefold() in re.findall(r"[^\W_]+", folded(s.scope.evidence.text or "").casefold())


_OF_KIND: Final[Mapping[TokenKind, Callable[[Sentence, int], Iterator[Claim]]]] = {
    "item": _title,
    "unknown-title": _title,
    "person": person_claims,
    "year": _year,
    "decade": _year,
    "trait": _trait,
    "volume": _volume,
    "number": _number,
    "series": _series,
    "same": _same,
    "noun": _domain,
    "together": _closeness,
}
"""What a token of each kind claims."""
