"""Who is said to have taken part in what. Reads a sentence, produces the works and the role that a name is tied to."""

from __future__ import annotations

from xdrec_agent.grounding.attribution import Refs, Sentence
from xdrec_agent.grounding.language_data import Role


def works_of(s: Sentence, at: int) -> tuple[list[Refs], Role | None]:
    """The works that the person at this place is tied to, and the role that is said; it must hold for each."""
    found = _possessive(s, at)
    if found is not None:
        return found, None
    found, role = _active(s, at)
    if found:
        return found, role
    role = _role_before(s, at) or role
    if tight := _listed_after(s, at) or [s.refs(k) for k in s.set_off(at)]:
        return tight, role
    joined = at  # "by A and B": B is tied to what A is tied to
    while s.kind(joined - 1) in {"link", "comma"} and s.kind(joined - 2) == "person":
        joined -= 2
    if joined != at:
        return works_of(s, joined)
    near = s.nearest(at)
    if s.together and len(s.mentions) > 1 and not _tight(s, at):
        return list(dict.fromkeys(s.refs(k) for k in s.mentions)), role
    return [s.refs(k) for k in near] or [frozenset({s.scope.candidate})], role


def _possessive(s: Sentence, at: int) -> list[Refs] | None:
    """ "Lem's Solaris", "Lem的《索拉里斯星》"; "Solaris is Lem's novel"; None where nothing is owned."""
    if s.kind(at + 1) != "possessive":
        return None
    k = at + 2
    while s.kind(k) in {"noun", "trait", "year", "neutral", "decade"} and k < at + 7:
        if s.kind(k) == "noun" and s.kind(k + 1) != "item" and s.scope.words.spaced:
            break
        k += 1
    if s.kind(k) == "item":
        return [s.refs(n) for n in s.group(k) if n >= k]
    if s.kind(k) == "role" or (s.kind(k) == "noun" and s.refs(k) and not _said_of_left(s, at)):
        return [s.refs(k)] if s.refs(k) else None
    left = s.left(at)
    if left is not None and _said_of_left(s, at):
        return [s.refs(left)]
    return [frozenset({s.scope.candidate})]


def _said_of_left(s: Sentence, at: int) -> bool:
    """Whether a verb, and no comma, stands between the person and the mention before."""
    left = s.left(at)
    if left is None:
        return False
    between = range(left + 1, at)
    return any(s.tokens[k].of("verb") for k in between) and not any(s.kind(k) == "comma" for k in between)


def _active(s: Sentence, at: int) -> tuple[list[Refs], Role | None]:
    """ "Lem wrote it", "A and B are in Heat", "P于1969年出版了它"."""
    k = at + 1
    skipped = {"year", "decade", "link", "person", "neutral"}
    while s.kind(k) in skipped and not _after(s, k) and k < at + 10:
        k += 1
    role = _after(s, k)
    if role is None:
        return [], None
    end = s.right(k, lambda token: token.kind in {"stop", "relation"})
    if end is None:
        return [], role
    return [s.refs(n) for n in s.group(end) if n >= end], role


def _after(s: Sentence, at: int) -> Role | None:
    return _role(s, at, "after")


def _role_before(s: Sentence, at: int) -> Role | None:
    k = at - 1
    while s.kind(k) in {"determiner", "link", "person", "comma"}:
        k -= 1
    if role := _role(s, k, "before"):
        return role
    return _role(s, at + 1, "after")


def _role(s: Sentence, at: int, place: str) -> Role | None:
    if s.kind(at) is None:
        return None
    meaning = next((m for m in s.tokens[at].meanings if m.kind == "role" and m.values[1] == place), None)
    return s.scope.words.roles[int(meaning.values[0])] if meaning else None


def _listed_after(s: Sentence, at: int) -> list[Refs]:
    """ "Two films by Ridley Scott, Alien and Blade Runner"."""
    named_before = s.kind(at - 2) == "noun" and not s.refs(at - 2)
    if s.kind(at + 1) in {"comma", "stop"} and s.kind(at + 2) == "item" and named_before:
        return [s.refs(n) for n in s.group(at + 2) if n > at]
    return []


def _tight(s: Sentence, at: int) -> bool:
    """Whether only a role or a bracket stands between the name and the title before it."""
    k = at - 1
    while s.kind(k) in {"role", "comma", "open", "determiner", "noun", "person", "link", "year"}:
        k -= 1
    return s.kind(k) == "item"
