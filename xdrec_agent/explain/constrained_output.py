"""Constrained output. Reads evidence and a locale, produces the schema that a model's reason must fit.

The facts are a closed list of real ids. Where the model is small its sentence is constrained, too: a pattern admits
only sentences made of the facts, so that a name, number or trait that is not true cannot be written at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from string import Formatter
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, create_model

from xdrec_agent.explain.realisation import SHORT, Locale
from xdrec_agent.grounding import Evidence, Known

_TRAITS: Final = 5
_FACTS: Final = 3


class ReasonReply(BaseModel):
    """What the model answers, in the order in which it must: it chooses before it writes.

    `reply_schema` narrows the fields to the evidence.
    """

    facts: tuple[str, ...] = ()
    text: str


def reply_schema(evidence: Evidence, locale: Locale, *, free: bool = False) -> type[ReasonReply]:
    """`ReasonReply` with the ids that this evidence admits.

    Args:
        free: whether the text may be anything; else it is one of the constrained sentences.
    """
    fields: dict[str, Any] = {}
    if evidence.facts:
        ids = _choices(fact.id for fact in evidence.facts)
        fields["facts"] = (ids, Field(min_length=1, max_length=min(_FACTS, len(evidence.facts))))
    if not free:
        fields["text"] = (str, Field(json_schema_extra={"pattern": _pattern(evidence, locale)}))
    return create_model("ReasonReply", __base__=ReasonReply, **fields)


def _pattern(evidence: Evidence, locale: Locale) -> str:
    """The constrained sentences as one regular expression.

    Counted repetitions are avoided: xgrammar 0.2 fails on them.
    """
    first = "|".join(_sentences(evidence, locale))
    if locale.style == SHORT or not evidence.facts:
        return f"({first})"
    more = "|".join(_literal(locale.fact(fact, evidence)) for fact in evidence.facts)
    return f"({first})({locale.text(['', f'({more})'])})?"


def _sentences(evidence: Evidence, locale: Locale) -> Iterator[str]:
    """The sentences that the evidence bears out; those that say least only where there is nothing else to say."""
    say, item = locale.sentences.constrained, _literal(locale.quoted(evidence.item))
    by_label = {known.label: known for known in evidence.known}
    told = False
    for fact in evidence.facts:
        if fact.path and fact.label:
            relation = locale.chain(fact.path, evidence)
        elif fact.kind in {"creator", "person", "series"}:
            relation = locale.fact(fact, evidence).rstrip(".。")
        else:
            continue
        told = True
        liked = _liked([by_label[fact.label or ""]], locale)
        yield _filled(say["relation"], liked=liked, item=item, relation=_literal(relation))
    for size in (1, 2):
        for group in permutations(evidence.known, size):
            if values := _shared(evidence, group)[:_TRAITS]:
                told = True
                yield _filled(say["traits"], liked=_liked(group, locale), item=item, values=_traits(values, locale))
    if told:
        return
    if evidence.closest:
        yield _filled(say["nearest"], liked=_liked([evidence.closest], locale), item=item)
    if not evidence.known:
        asked = [value for fact in evidence.facts if fact.kind == "asked" for value in fact.values][:_TRAITS]
        filled = {"values": _traits(asked, locale)} if asked else {}
        yield _filled(say["asked" if asked else "text"], item=item, **filled)


def _shared(evidence: Evidence, group: Sequence[Known]) -> list[str]:
    """Themes and categories that all of these share with the candidate, in the first one's order."""
    first, *others = (evidence.shared(known.label, "theme", "category") for known in group)
    return [trait for trait in first if all(trait in other for other in others)]


def _filled(sentence: str, **parts: str) -> str:
    """A format as a regular expression, with these expressions in its places."""
    return "".join(_literal(text) + (parts[name] if name else "") for text, name, _, _ in Formatter().parse(sentence))


def _liked(group: Sequence[Known], locale: Locale) -> str:
    return _literal(locale.joined([locale.quoted(known.item) for known in group]))


def _traits(traits: Sequence[str], locale: Locale) -> str:
    """One or two of the traits, in either order."""
    return "(" + "|".join(_literal(locale.traits(p)) for n in (1, 2) for p in permutations(traits, n)) + ")"


def _literal(text: str) -> str:
    return re.sub(r"([\\.^$*+?{}()\[\]|/])", r"\\\1", text)


def _choices(values: Iterable[str]) -> object:
    """The type of a tuple of these values; made at run time, so the type checker cannot know it."""
    return tuple.__class_getitem__((Literal.__getitem__(tuple(values)), ...))
