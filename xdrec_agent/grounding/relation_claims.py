"""Relations that a sentence states. Reads a sentence, produces one claim for each phrase that relates two things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from xdrec_agent.grounding.attribution import Refs, Sentence
from xdrec_agent.grounding.claims import Claim
from xdrec_agent.grounding.language_data import RelationPhrase
from xdrec_agent.grounding.tokens import TokenKind

_ENDS: Final[frozenset[TokenKind]] = frozenset({"item", "pronoun", "noun", "entity", "person"})


def relation_claims(s: Sentence) -> Iterator[Claim]:
    """A claim for each relation phrase, and for each thing that no phrase relates."""
    tied: set[int] = set()
    for at, token in enumerate(s.tokens):
        meaning = token.of("relation")
        if meaning is None or token.kind in {"item", "trait", "person"}:
            continue
        phrase = s.scope.words.relations[int(meaning.values[0])]
        subjects, objects = _ends(s, at, phrase)
        tied |= {*subjects, *objects}
        yield _claim(s, at, phrase, subjects, objects)
    for at, token in enumerate(s.tokens):
        if token.kind == "entity" and at not in tied:
            yield _alone(s, at)


def _ends(s: Sentence, at: int, phrase: RelationPhrase) -> tuple[list[int], list[int]]:
    """Places of what stands for the subject and the object, before `inverse` is heeded."""
    before = [k for k in range(at) if _is_end(s, k) and s.kind(k) != "person"]
    after = _next_end(s, at)
    if phrase.order == "between" and after is not None:
        return (_subject(s, before[-1], at) if before else []), s.group(after)
    near, far = before[-1:], before[-2:-1]
    return (far, near) if phrase.order == "after" else (near, far)


def _subject(s: Sentence, at: int, phrase_at: int) -> list[int]:
    verb = any(s.tokens[k].of("verb") or s.tokens[k].of("together") for k in range(at + 1, phrase_at + 1))
    return s.group(at) if verb or s.tokens[phrase_at].text.startswith(("is ", "are ", "was ")) else [at]


def _next_end(s: Sentence, at: int) -> int | None:
    for k in range(at + 1, len(s.tokens)):
        if _is_end(s, k):
            owner = s.kind(k) == "person" and s.kind(k + 1) == "possessive"
            if not owner:
                return k
        elif s.kind(k) in {"comma", "stop", "relation"} or s.tokens[k].of("verb"):
            return None
    return None


def _is_end(s: Sentence, at: int) -> bool:
    kind = s.kind(at)
    return kind in {"entity", "person"} or (kind in _ENDS and bool(s.refs(at)))


def _claim(s: Sentence, at: int, phrase: RelationPhrase, subjects: list[int], objects: list[int]) -> Claim:
    candidate: list[Refs] = [frozenset({s.scope.candidate})]
    left = [_keys(s, k) for k in subjects] or candidate
    right = [_keys(s, k) for k in objects]
    if s.together and objects and all(s.kind(k) == "entity" for k in objects):
        left = list(dict.fromkeys(s.refs(k) for k in s.mentions))
    if left == right == candidate:  # "… Stalker, and it is based on this book": one of them is something else
        earlier = [s.refs(k) for k in range(at) if s.kind(k) == "item" and s.refs(k) != candidate[0]][-1:]
        if subjects and s.kind(subjects[0]) == "pronoun":
            left = earlier
        elif s.kind(objects[0]) == "pronoun":
            right = earlier
    if phrase.inverse:
        left, right = right, left
    held = bool(left) and bool(right) and all(_holds(s, a, b, phrase) for a in left for b in right)
    names = " / ".join(dict.fromkeys(s.scope.title(k) for refs in (*left, *right) for k in sorted(refs)))
    says = ", ".join(phrase.predicates)
    support = f"relation {says}" if held else f"no relation {says} between them in this direction"
    return _said(s, at, names, held, support)


def _holds(s: Sentence, a: Refs, b: Refs, phrase: RelationPhrase) -> bool:
    forth = s.scope.related(set(a), phrase.predicates, set(b))
    return forth is not None or (phrase.symmetric and s.scope.related(set(b), phrase.predicates, set(a)) is not None)


def _keys(s: Sentence, at: int) -> Refs:
    token = s.tokens[at]
    if token.kind in {"entity", "person"}:
        return frozenset(v for m in token.meanings if m.kind in {"entity", "person"} for v in m.values)
    if token.kind == "noun":  # "the book" may be one between the film and the recommended book
        domain = token.meanings[0].values[0]
        return s.refs(at) | {key for key in s.scope.passed if key.partition("/")[0] == domain}
    return s.refs(at)


def _alone(s: Sentence, at: int) -> Claim:
    """Something that is named without a phrase that we know: its subject must have some relation with it."""
    near = s.nearest(at)
    refs = s.refs(near[0]) if near else frozenset({s.scope.candidate})
    predicates = {r.predicate for r in s.scope.relations}
    held = s.scope.related(set(refs), predicates, set(_keys(s, at))) is not None
    support = "a relation" if held else "no relation with it"
    subject = " / ".join(s.scope.title(k) for k in sorted(refs))
    return _said(s, at, subject, held, support)


def _said(s: Sentence, at: int, subject: str, held: bool, support: str) -> Claim:
    text = s.tokens[at].text
    return Claim(text=text, kind="relation", subject=subject, supported=held, support=support, sentence=s.number)
