"""Closed choices. Reads evidence and a voice, produces the schema that a model's reason must fit.

The facts are a closed list of real ids. Where the model is small its sentence is closed, too: a pattern admits only
sentences made of the facts, so that a name, number or trait that is not true cannot be written at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from string import Formatter
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, create_model

from retrieval.templates import plain
from xdrec_agent.explain.realisation import SHORT, Voice
from xdrec_agent.grounding import Evidence, FactKind, Known

_TRAITS: Final = 5
_FACTS: Final = 3
_TOLD: Final[frozenset[FactKind]] = frozenset({"creator", "person", "series"})


class Reason(BaseModel):
    """What the model answers, in the order in which it must: it chooses before it writes.

    `reason_schema` narrows the fields to the evidence.
    """

    facts: tuple[str, ...] = ()
    text: str


def reason_schema(evidence: Evidence, voice: Voice, *, free: bool = False) -> type[Reason]:
    """`Reason` with the ids that this evidence admits.

    Args:
        free: whether the text may be anything; else it is one of the closed sentences.
    """
    fields: dict[str, Any] = {}
    if evidence.facts:
        ids = _choices(fact.id for fact in evidence.facts)
        fields["facts"] = (ids, Field(min_length=1, max_length=min(_FACTS, len(evidence.facts))))
    if not free:
        fields["text"] = (str, Field(json_schema_extra={"pattern": _pattern(evidence, voice)}))
    return create_model("Reason", __base__=Reason, **fields)


def _pattern(evidence: Evidence, voice: Voice) -> str:
    """The closed sentences as one regular expression.

    Counted repetitions are avoided: xgrammar 0.2 fails on them.
    """
    first = "|".join(_sentences(evidence, voice))
    if voice.style == SHORT or not evidence.facts:
        return f"({first})"
    more = "|".join(_literal(voice.fact(fact, evidence)) for fact in evidence.facts)
    space = " " if voice.rules.spaces else ""
    return f"({first})({space}({more}))?"


def _sentences(evidence: Evidence, voice: Voice) -> Iterator[str]:
    closed, item = voice.sentences.closed, _literal(voice.quoted(evidence.item, plain))
    by_label = {known.label: known for known in evidence.known}
    told = False
    for fact in evidence.facts:
        if fact.path and fact.label:
            relation = voice.chain(fact.path, evidence)
        elif fact.kind in _TOLD:
            relation = voice.fact(fact, evidence).rstrip(".。")
        else:
            continue
        told = True
        liked = _named([by_label[fact.label or ""]], voice)
        yield _filled(closed.relation, liked=liked, item=item, relation=_literal(relation))
    for size in (1, 2):
        for group in permutations(evidence.known, size):
            if values := _shared(evidence, group)[:_TRAITS]:
                told = True
                yield _filled(closed.traits, liked=_named(group, voice), item=item, values=_values(values, voice))
    if told:
        return
    if evidence.closest:
        yield _filled(closed.nearest, liked=_named([evidence.closest], voice), item=item)
    if not evidence.known:
        asked = [value for fact in evidence.facts if fact.kind == "asked" for value in fact.values]
        if asked:
            yield _filled(closed.asked, item=item, values=_values(asked[:_TRAITS], voice))
        else:
            yield _filled(closed.text, item=item)


def _shared(evidence: Evidence, group: Sequence[Known]) -> list[str]:
    """Themes and categories that all of these share with the candidate, in the first one's order."""
    first, *others = (evidence.shared(known.label, "theme", "category") for known in group)
    return [trait for trait in first if all(trait in other for other in others)]


def _filled(sentence: str, **parts: str) -> str:
    """A format as a regular expression, with these expressions in its places."""
    return "".join(_literal(text) + (parts[name] if name else "") for text, name, _, _ in Formatter().parse(sentence))


def _named(group: Sequence[Known], voice: Voice) -> str:
    return _literal(voice.joined([voice.quoted(known.item, plain) for known in group]))


def _values(values: Sequence[str], voice: Voice) -> str:
    chosen = [p for n in (1, 2) for p in permutations(values, n)]
    return "(" + "|".join(_literal(voice.joined([voice.trait(v, plain) for v in p])) for p in chosen) + ")"


def _literal(text: str) -> str:
    return re.sub(r"([\\.^$*+?{}()\[\]|/])", r"\\\1", text)


def _choices(values: Iterable[str]) -> object:
    """The type of a tuple of these values; made at run time, so the type checker cannot know it."""
    return tuple.__class_getitem__((Literal.__getitem__(tuple(values)), ...))
