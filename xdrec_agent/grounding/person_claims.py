"""Who is said to have taken part in what. Reads a sentence, produces a claim for each work that a name is tied to."""

from __future__ import annotations

from collections.abc import Iterator

from xdrec_agent.grounding.attribution import Claim, Kinds, Refs, Sentence
from xdrec_agent.grounding.language_rules import Role


def person_claims(s: Sentence, at: int) -> Iterator[Claim]:
    """That the person at this place took part in each of the works that the name is tied to."""
    works, role = _works(s, at)
    persons = [m.values[0] for m in s.tokens[at].meanings if m.kind == "person"]
    for refs in works:
        held = any(s.scope.took_part(key, person, role) for key in refs for person in persons)
        yield s.claim(at, "person", [refs], "its creators and people" if held else None, "not in that role")


def _works(s: Sentence, at: int) -> tuple[list[Refs], Role | None]:
    """The works that the person is tied to, and the role that is said; it must hold for each."""
    if (owned := _possessive(s, at)) is not None:
        return owned, None
    done, role = _active(s, at)
    if done:
        return done, role
    role = _role_beside(s, at) or role
    if works := _listed_after(s, at) or s.set_off(at):
        return works, role
    joined = at  # "by A and B": B is tied to what A is tied to
    while s.kind(joined - 1) in {"link", "comma"} and s.kind(joined - 2) == "person":
        joined -= 2
    if joined != at:
        return _works(s, joined)
    if s.together and len(s.mentions) > 1 and not _right_behind_title(s, at):
        return list(dict.fromkeys(s.refs(k) for k in s.mentions)), role
    return s.nearest_refs(at), role


def _possessive(s: Sentence, at: int) -> list[Refs] | None:
    """ "Lem's Solaris", "Lem的《索拉里斯星》"; "Solaris is Lem's novel"; None where nothing is owned."""
    if s.kind(at + 1) != "possessive":
        return None
    k = at + 2
    while s.kind(k) in {"noun", "trait", "year", "neutral", "decade"} and k < at + 7:
        if s.kind(k) == "noun" and s.kind(k + 1) != "item" and s.scope.rules.spaces:
            break
        k += 1
    if s.kind(k) == "item":
        return [s.refs(n) for n in s.group(k) if n >= k]
    left = s.left(at)  # "Solaris is Lem's novel": a verb and no comma between the title and the name
    said_of_left = left is not None and s.has_verb(left + 1, at) and "comma" not in map(s.kind, range(left, at))
    if s.kind(k) == "role" or (s.kind(k) == "noun" and s.refs(k) and not said_of_left):
        return [s.refs(k)] if s.refs(k) else None
    return [s.refs(left)] if said_of_left and left is not None else [s.alone]


def _active(s: Sentence, at: int) -> tuple[list[Refs], Role | None]:
    """ "Lem wrote it", "A and B are in Heat", "P于1969年出版了它"."""
    k = at + 1
    while s.kind(k) in {"year", "decade", "link", "person", "neutral"} and not _role(s, k, "after") and k < at + 10:
        k += 1
    role = _role(s, k, "after")
    end = s.right(k, frozenset({"stop", "relation"})) if role else None
    return ([] if end is None else [s.refs(n) for n in s.group(end) if n >= end]), role


def _role_beside(s: Sentence, at: int) -> Role | None:
    k = s.skip(at - 1, {"determiner", "link", "person", "comma"}, -1)
    return _role(s, k, "before") or _role(s, at + 1, "after")


def _role(s: Sentence, at: int, place: str) -> Role | None:
    if s.kind(at) is None:
        return None
    meaning = next((m for m in s.tokens[at].meanings if m.kind == "role" and m.values[1] == place), None)
    return s.scope.rules.roles[int(meaning.values[0])] if meaning else None


def _listed_after(s: Sentence, at: int) -> list[Refs]:
    """ "Two films by Ridley Scott, Alien and Blade Runner"."""
    named_before = s.kind(at - 2) == "noun" and not s.refs(at - 2)
    if s.kind(at + 1) in {"comma", "stop"} and s.kind(at + 2) == "item" and named_before:
        return [s.refs(n) for n in s.group(at + 2) if n > at]
    return []


def _right_behind_title(s: Sentence, at: int) -> bool:
    """Whether only a role or a bracket stands between the name and the title before it."""
    beside: Kinds = frozenset({"role", "comma", "open", "determiner", "noun", "person", "link", "year"})
    return s.kind(s.skip(at - 1, beside, -1)) == "item"
