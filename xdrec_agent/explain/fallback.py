"""The plain reason. Reads evidence and a voice, produces sentences from the catalogue's facts, without a model."""

from __future__ import annotations

from typing import Final

from retrieval.templates import visible
from xdrec_agent.explain.realisation import Voice
from xdrec_agent.grounding import Evidence

_ITEMS: Final = 2
_TRAITS: Final = 3


def plain_text(evidence: Evidence, voice: Voice) -> tuple[str, frozenset[str], tuple[str, ...]]:
    """The text, the labels of the known items that it names, and the shared traits that it tells."""
    say = voice.sentences.fallback
    parts: list[str] = []
    labels: set[str] = set()
    told = next((fact for fact in evidence.facts if fact.path or fact.kind in {"creator", "person"}), None)
    if told and told.label:
        parts.append(voice.fact(told, evidence, _shown))
        labels.add(told.label)
    shared = {k.label: evidence.shared(k.label, "theme", "category")[:_TRAITS] for k in evidence.known}
    sharing = sorted((k for k in evidence.known if shared[k.label]), key=lambda k: k.label in labels)
    leading = sharing[: _ITEMS - len(parts)]
    if leading:
        told_with = [
            say.with_.format(
                values=voice.joined([voice.trait(t, _shown) for t in shared[known.label]]),
                liked=voice.quoted(known.item, _shown),
            )
            for known in leading
        ]
        parts.append(say.shares.format(shared=say.also.join(told_with)))
        labels |= {known.label for known in leading}
    traits = tuple(dict.fromkeys(t for known in leading for t in shared[known.label]))
    if not parts and evidence.closest:
        parts.append(say.nearest.format(liked=voice.quoted(evidence.closest.item, _shown)))
        labels.add(evidence.closest.label)
    if not parts:
        parts.append(say.text.format(text=visible(evidence.text or "")))
    return (" " if voice.rules.spaces else "").join(parts), frozenset(labels), traits


def _shown(text: object, limit: int) -> str:
    """What a person may see; a title is not cut here."""
    return visible(text)
