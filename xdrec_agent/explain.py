"""Explanations. Reads evidence, produces a reason that cites the person's own items.

One structured call an item: a schema that admits only the given labels and traits, and a sentence that the grounding
check must let pass. Whatever fails, the plain sentence built from the metadata stands in, marked as such.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, create_model

from retrieval.templates import PromptTemplate, plain, visible
from retrieval.types import Candidate, Query
from xdrec_agent.concurrent import gathered
from xdrec_agent.errors import LLMError
from xdrec_agent.evidence import Evidence, Known, gather
from xdrec_agent.grounding import cited, objection
from xdrec_agent.llm import LLMClient, Usage
from xdrec_agent.recommendation import Explanation
from xdrec_agent.response_cache import Origin
from xdrec_agent.settings import ExplainSettings

_WORDS: Final = 8
_TRAITS: Final = 5


@dataclass(frozen=True)
class ExplainContext:
    """What explaining needs. Without a client every reason is the plain one."""

    settings: ExplainSettings
    template: PromptTemplate
    client: LLMClient | None


class Reason(BaseModel):
    """What the model answers, in the order in which it must: it chooses before it writes.

    `reason_schema` narrows every field to the evidence.
    """

    liked: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    text: str


async def explain_all(
    context: ExplainContext, query: Query, candidates: tuple[Candidate, ...]
) -> tuple[list[Explanation], Usage]:
    """A reason for each candidate, in order, all asked for at once. Never raises an LLMError."""
    history = query.history
    evidence = [gather(c, history, query.text, context.settings.evidence) for c in candidates]
    answers = await gathered(_explain(context, query, one) for one in evidence)
    usage = Usage()
    for _, spent in answers:
        usage += spent
    return [explanation for explanation, _ in answers], usage


async def _explain(context: ExplainContext, query: Query, evidence: Evidence) -> tuple[Explanation, Usage]:
    if context.client is None:
        return plain_explanation(evidence, "no language model was asked"), Usage()
    messages = context.template.messages(
        item=evidence.item,
        evidence=evidence.known,
        traits=evidence.traits,
        text=query.text,
        source=" and ".join(dict.fromkeys(k.item.domain for k in evidence.known)) or "things",
        target=query.target,
    )
    origin = Origin(template=context.template.fingerprint, user=query.history.user)
    try:
        async with asyncio.timeout(context.settings.deadline_s):
            reason, usage = await context.client.structured(
                messages, reason_schema(evidence), max_tokens=context.settings.max_tokens, origin=origin
            )
    except LLMError as exc:
        return plain_explanation(evidence, str(exc)), Usage()
    except TimeoutError:
        return plain_explanation(evidence, f"the model wrote none within {context.settings.deadline_s:g} s"), Usage()
    text = " ".join(reason.text.split())
    problem = objection(text, evidence)
    if problem:
        return plain_explanation(evidence, f"the model's sentence was not used: {problem}"), usage
    labels = {*cited(text, evidence), *reason.liked}
    cites = tuple(known.match for known in evidence.known if known.label in labels)
    return Explanation(text=text, cites=cites, traits=tuple(dict.fromkeys(reason.traits)), source="llm"), usage


def reason_schema(evidence: Evidence) -> type[Reason]:
    """`Reason` with the lists that this evidence admits: labels of known items, shared traits."""
    fields: dict[str, Any] = {}
    if evidence.known:
        fields["liked"] = (_choices(known.label for known in evidence.known), Field(min_length=1, max_length=2))
    if evidence.traits:
        fields["traits"] = (_choices(evidence.traits), Field(max_length=3))
    fields["text"] = (str, Field(json_schema_extra={"pattern": _pattern(evidence)}))
    return create_model("Reason", __base__=Reason, **fields)


def _pattern(evidence: Evidence) -> str:
    """What the sentence must look like, so that a name, number or trait that is not true cannot be written at all.

    The model chooses one or two liked titles and one or two traits that all of them share with the item. Where nothing
    is shared it gets a few words without capitals. (Counted repetitions are avoided: xgrammar 0.2 fails on them.)
    """
    item = _literal(plain(evidence.item.title, 80))
    groups = [g for n in (1, 2) for g in permutations(evidence.known, n) if _common(g)]
    if groups:
        ends = "|".join(rf"{_named(g)}, you may like {item} for its ({_traits(_common(g))})" for g in groups)
        return rf"Because you liked ({ends})\."
    words = "[a-z'-]+" + "( [a-z'-]+" * _WORDS + ")?" * _WORDS
    if evidence.known:
        titles = "|".join(_named([known]) for known in evidence.known)
        return rf"Because you liked ({titles}), you may like {item} for its {words}\."
    return rf"You may like {item} for its {words}\."


def _common(group: Sequence[Known]) -> list[str]:
    """Traits that every known item of the group shares with the item."""
    return [t for t in group[0].shared if all(t in other.shared for other in group[1:])][:_TRAITS]


def _named(group: Sequence[Known]) -> str:
    return _literal(" and ".join(plain(known.item.title, 80) for known in group))


def _traits(traits: Sequence[str]) -> str:
    return "|".join(_literal(" and ".join(plain(t, 60) for t in p)) for n in (1, 2) for p in permutations(traits, n))


def _literal(title: str) -> str:
    return re.sub(r"([\\.^$*+?{}()\[\]|/])", r"\\\1", title)


def _choices(values: Iterable[str]) -> object:
    """The type of a tuple of these values; made at run time, so the type checker cannot know it."""
    return tuple.__class_getitem__((Literal.__getitem__(tuple(values)), ...))


def plain_explanation(evidence: Evidence, reason: str) -> Explanation:
    """A sentence from the metadata alone: what was liked, and what the item has in common with it."""
    leading = [known for known in evidence.known if known.shared][:2]
    if leading:
        parts = [f"{', '.join(map(visible, known.shared[:3]))} with “{visible(known.item.title)}”" for known in leading]
        text = f"It shares {', and '.join(parts)}, which you liked."
        traits = tuple(dict.fromkeys(t for known in leading for t in known.shared[:3]))
        cites = tuple(known.match for known in leading)
        return Explanation(text=text, cites=cites, traits=traits, source="evidence", reason=reason)
    if evidence.known:
        nearest = evidence.known[0]
        text = f"Of what you liked, “{visible(nearest.item.title)}” comes closest to it."
        return Explanation(text=text, cites=(nearest.match,), source="evidence", reason=reason)
    text = f"It comes close to what you asked for: {visible(evidence.text or '')}"
    return Explanation(text=text, source="evidence", reason=reason)
