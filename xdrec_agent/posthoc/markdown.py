"""Reasons as Markdown. Reads results of this package, produces a document in which titles are text and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from xdrec_agent.posthoc.contrastive import Contrast
from xdrec_agent.posthoc.counterfactual import WhatIf
from xdrec_agent.posthoc.realisation import Teller, percent
from xdrec_agent.posthoc.why import Why
from xdrec_agent.posthoc.why_not import WhyNot

Reason = Why | Contrast | WhyNot | WhatIf

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&!$^])")


def markdown(reason: Reason, teller: Teller, mermaid: str = "") -> str:
    """The reason with the numbers behind it; `mermaid` is a picture of its evidence."""
    head = teller.say.headings
    match reason:
        case Why():
            parts = [
                f"# {_text(head.why.format(item=teller.title(reason.item)))}",
                _text(reason.text),
                *_why(reason, teller),
            ]
        case Contrast():
            parts = [_text(reason.text), *_section(head.numbers, _contrast(reason, teller))]
        case WhyNot():
            parts = [_text(reason.text), *_section(head.numbers, _why_not(reason))]
        case WhatIf():
            parts = [_text(reason.text), *_section(head.numbers, _what_if(reason, teller))]
    if mermaid:
        parts.append(f"```mermaid\n{mermaid}```")
    return "\n\n".join(parts) + "\n"


def _text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKS.sub(r"\\\1", text)


def _section(heading: str, lines: Iterable[str]) -> Iterator[str]:
    listed = "\n".join(f"- {line}" for line in lines)
    if listed:
        yield f"## {_text(heading)}"
        yield listed


def _why(reason: Why, teller: Teller) -> Iterator[str]:
    head = teller.say.headings
    speaks = (
        f"{_text(teller.title(s.item))}: {percent(s.share)} (cos {s.similarity:.2f})"
        + (f" – {_text(teller.traits(s.shared))}" if s.shared else "")
        for s in reason.supporters
    )
    yield from _section(head.speaks, speaks)
    yield from _section(head.path, (_text(told) for told in reason.paths_told))
    yield from _section(head.facts, (_text(fact) for fact in reason.facts))
    claims = (
        f"{'✓' if claim.supported else '✗'} " + " – ".join(_text(part) for part in (claim.text, claim.support) if part)
        for claim in reason.claims
    )
    yield from _section(head.claims, dict.fromkeys(claims))


def _contrast(reason: Contrast, teller: Teller) -> Iterator[str]:
    for item, rank, retrieved, score in zip(
        (reason.first, reason.second), reason.ranks, reason.retrieval_ranks, reason.scores, strict=True
    ):
        yield f"{_text(teller.title(item))}: {rank} ({retrieved}), {score:.4f}"
    for lean in reason.leans:
        first, second = ("–" if share is None else percent(share) for share in (lean.first, lean.second))
        yield f"{_text(teller.title(lean.item))}: {first} / {second}"


def _why_not(reason: WhyNot) -> Iterator[str]:
    yield reason.verdict + (f": {reason.rank}" if reason.rank else "") + (f" / {reason.total}" if reason.total else "")
    for lift in reason.lifts:
        yield f"{lift.kind} {_text(lift.item.title if lift.item else lift.trait)}: {lift.rank}"


def _what_if(reason: WhatIf, teller: Teller) -> Iterator[str]:
    yield f"{_text(teller.title(reason.without))}: {percent(reason.share)}"
    for moved in (*reason.leaves, *reason.enters, *reason.moves):
        before, after = (str(rank or f"> {5 * reason.k}") for rank in (moved.before, moved.after))
        yield f"{_text(teller.title(moved.item))}: {before} → {after}"
