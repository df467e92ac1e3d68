"""Relations that a sentence states. Reads a sentence, produces one claim for each phrase that relates two things."""

from __future__ import annotations

from collections.abc import Iterator

from xdrec_agent.grounding.attribution import Claim, Refs, Sentence
from xdrec_agent.grounding.language_rules import RelationPhrase


def relation_claims(s: Sentence) -> Iterator[Claim]:
    """A claim for each relation phrase, and for each thing that no phrase relates."""
    tied: set[int] = set()
    for at, token in enumerate(s.tokens):
        meaning = token.of("relation")
        if meaning is None or token.kind in {"item", "trait", "person"}:
            continue
        phrase = s.scope.rules.relations[int(meaning.values[0])]
        subjects, objects = _ends(s, at, phrase)
        tied |= {*subjects, *objects}
        yield _stated(s, at, phrase, subjects, objects)
    for at, token in enumerate(s.tokens):
        if token.kind == "entity" and at not in tied:
            yield _unstated(s, at)


def _ends(s: Sentence, at: int, phrase: RelationPhrase) -> tuple[list[int], list[int]]:
    """Places of what stands for the subject and the object, before `inverse` swaps them."""
    before = [k for k in range(at) if _is_end(s, k) and s.kind(k) != "person"]
    after = _next_end(s, at)
    if phrase.order == "between" and after is not None:
        return (_subject(s, before[-1], at) if before else []), s.group(after)
    near, far = before[-1:], before[-2:-1]
    return (far, near) if phrase.order == "after" else (near, far)


def _subject(s: Sentence, at: int, phrase_at: int) -> list[int]:
    """The subject's place; all of its group where a verb or "both" says the relation of them all."""
    said = any(token.of("verb") or token.of("together") for token in s.tokens[at + 1 : phrase_at + 1])
    copula = s.tokens[phrase_at].text.partition(" ")[0] in s.scope.rules.copulas
    return s.group(at) if said or copula else [at]


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
    return s.kind(at) in {"entity", "person"} or (s.kind(at) in {"item", "pronoun", "noun"} and bool(s.refs(at)))


def _stated(s: Sentence, at: int, phrase: RelationPhrase, subjects: list[int], objects: list[int]) -> Claim:
    candidate: list[Refs] = [s.alone]
    left = [_keys(s, k) for k in subjects] or candidate
    right = [_keys(s, k) for k in objects]
    if s.together and objects and all(s.kind(k) == "entity" for k in objects):
        left = list(dict.fromkeys(s.refs(k) for k in s.mentions))
    if left == right == candidate:  # "… Stalker, and it is based on this book": one of them is something else
        earlier = [s.refs(k) for k in range(at) if s.kind(k) == "item" and s.refs(k) != s.alone][-1:]
        if subjects and s.kind(subjects[0]) == "pronoun":
            left = earlier
        elif s.kind(objects[0]) == "pronoun":
            right = earlier
    if phrase.inverse:
        left, right = right, left
    held = bool(left) and bool(right) and all(_holds(s, a, b, phrase) for a in left for b in right)
    says = ", ".join(phrase.predicates)
    support = f"relation {says}" if held else None
    return s.claim(at, "relation", (*left, *right), support, f"no relation {says} between them in this direction")


def _holds(s: Sentence, a: Refs, b: Refs, phrase: RelationPhrase) -> bool:
    related, predicates = s.scope.related, phrase.predicates
    return related(a, predicates, b) or (phrase.symmetric and related(b, predicates, a))


def _keys(s: Sentence, at: int) -> Refs:
    token = s.tokens[at]
    if token.kind in {"entity", "person"}:
        return frozenset(v for m in token.meanings if m.kind in {"entity", "person"} for v in m.values)
    if token.kind == "noun":  # "the book" may be one between the film and the recommended book
        domain = token.meanings[0].values[0]
        return s.refs(at) | {key for key in s.scope.passed if key.partition("/")[0] == domain}
    return s.refs(at)


def _unstated(s: Sentence, at: int) -> Claim:
    """Something that is named without a phrase that we know: its subject must have some relation with it."""
    refs = s.nearest_refs(at)[0]
    held = s.scope.related(refs, {r.predicate for r in s.scope.relations}, _keys(s, at))
    return s.claim(at, "relation", [refs], "a relation" if held else None, "no relation with it")
