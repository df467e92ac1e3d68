"""Explanations. Reads evidence, produces a reason that cites the person's own items and is checked claim by claim.

A model chooses among the facts and phrases them. What the check does not find borne out is written once more, then the
sentence goes, and if nothing is left the plain sentence from the catalogue's facts stands in, marked as such.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Final

from retrieval.templates import PromptTemplate, visible
from retrieval.types import Candidate, Query
from xdrec_agent.errors import LLMError, LLMReplyInvalid
from xdrec_agent.explain.constrained_output import reason_schema
from xdrec_agent.explain.fallback import plain_text
from xdrec_agent.explain.realisation import Voice, load_voice, own_sentences, reworded
from xdrec_agent.grounding import Claim, Evidence, PathFinder, Scope, check, cited, foreign, gather, sentences
from xdrec_agent.llm import LLMClient, Origin, Usage, gathered
from xdrec_agent.settings import ExplainSettings
from xdrec_agent.types import Explanation, ExplanationSource

_SMALL: Final = 1e9
_SIZE: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z])", re.IGNORECASE)
_MOST: Final[Mapping[str, int]] = {"short": 2}
_MOST_ELSE: Final = 5
_LONGEST: Final = 2000


@dataclass(frozen=True)
class ExplainContext:
    """What explaining needs.

    Attributes:
        template: for the configured language and style; None: the shipped one. Others are always the shipped ones.
        client: None: every reason is the plain one.
        paths: how liked items and a candidate hang together; None: there is no graph.
    """

    settings: ExplainSettings
    template: PromptTemplate | None
    client: LLMClient | None
    paths: PathFinder | None = None

    def voice(self, language: str | None = None, style: str | None = None) -> Voice:
        """The voice for a language and a style; None: the configured ones. Raises UsageError, TemplateError."""
        voice = load_voice(language or self.settings.language, style or self.settings.style)
        own = self.settings.sentences if voice.language == self.settings.language else None
        return reworded(voice, own_sentences(own)) if own else voice

    def template_of(self, voice: Voice) -> PromptTemplate:
        """The template that a voice is asked with."""
        configured = (voice.language, voice.style) == (self.settings.language, self.settings.style)
        return self.template if self.template and configured else voice.template


@dataclass(frozen=True)
class _Draft:
    """What a model wrote, the labels of the known items that it names, and what is wrong with it."""

    text: str
    facts: tuple[str, ...]
    claims: tuple[Claim, ...]
    cited: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass
class _Work:
    """The writing of one reason, while it goes on."""

    context: ExplainContext
    query: Query
    evidence: Evidence
    voice: Voice
    usage: Usage = field(default_factory=Usage)

    @cached_property
    def scope(self) -> Scope:
        """What the reason may speak of."""
        return Scope(self.evidence, self.voice.language)


async def explain_all(
    context: ExplainContext, query: Query, candidates: tuple[Candidate, ...], voice: Voice | None = None
) -> tuple[list[Explanation], Usage]:
    """A reason for each candidate, in order, all asked for at once. Never raises an LLMError."""
    reasons = await gathered(explain_one(context, query, candidate, voice) for candidate in candidates)
    return reasons, sum((reason.usage for reason in reasons), Usage())


async def explain_one(
    context: ExplainContext, query: Query, candidate: Candidate, voice: Voice | None = None
) -> Explanation:
    """The reason for one candidate. Never raises an LLMError."""
    if context.client is None:
        return await asyncio.to_thread(unasked, context, query, candidate, voice)
    work = await asyncio.to_thread(_begun, context, query, candidate, voice)
    try:
        async with asyncio.timeout(context.settings.deadline_s):
            explanation = await _written(work, context.client)
    except LLMError as exc:
        explanation = _plain(work, str(exc))
    except TimeoutError:
        explanation = _plain(work, f"the model wrote none within {context.settings.deadline_s:g} s")
    return _finished(work, explanation)


def plain_explanation(evidence: Evidence, reason: str, voice: Voice | None = None) -> Explanation:
    """A reason from the catalogue's facts alone: what was liked, and what the item has in common with it."""
    spoken = voice or load_voice("en", "short")
    text, labels, traits = plain_text(evidence, spoken)
    return Explanation(
        text=text,
        cites=tuple(known.match for known in evidence.known if known.label in labels),
        traits=traits,
        source="evidence",
        reason=reason,
        claims=check(text, Scope(evidence, spoken.language)),
        language=spoken.language,
        style=spoken.style,
    )


def _begun(context: ExplainContext, query: Query, candidate: Candidate, voice: Voice | None) -> _Work:
    evidence = gather(candidate, query.history, query.text, context.settings.evidence, context.paths)
    return _Work(context, query, evidence, voice or context.voice())


def unasked(context: ExplainContext, query: Query, candidate: Candidate, voice: Voice | None) -> Explanation:
    """The plain reason for one candidate, without a model. Raises UsageError, TemplateError: as `voice`."""
    work = _begun(context, query, candidate, voice)
    return _finished(work, _plain(work, "no language model was asked"))


async def _written(work: _Work, client: LLMClient) -> Explanation:
    """What the model writes, mended where the check objects; the plain reason if nothing of it can stand."""
    free = _is_free(work.context.settings, client.endpoint.model)
    drafts: list[_Draft] = []
    failed = ""
    for attempt in (1, 2):
        wrong = drafts[-1].problems if drafts else ()
        try:
            # The second time the sentence is closed: a model that went astray chooses among what is true.
            draft = await _draft(work, client, wrong, free=free and attempt == 1)
        except LLMReplyInvalid as exc:
            failed = str(exc)
            continue
        drafts.append(draft)
        if not draft.problems:
            source: ExplanationSource = "llm" if attempt == 1 else "repaired"
            return _explanation(work, draft, source, "; ".join(wrong) or failed or None)
    for draft in reversed(drafts):
        if rest := _rest(work, draft):
            return _explanation(work, rest, "repaired", "; ".join(draft.problems))
    problem = "; ".join(drafts[-1].problems) if drafts else failed
    return _plain(work, f"the model's sentence was not used: {problem}")


async def _draft(work: _Work, client: LLMClient, wrong: tuple[str, ...], *, free: bool) -> _Draft:
    evidence, query, template = work.evidence, work.query, work.context.template_of(work.voice)
    join = work.voice.joined
    messages = template.messages(
        item=evidence.item,
        title=work.voice.title(evidence.item),
        facts=work.voice.facts(evidence),
        text=query.text,
        source=join(list(dict.fromkeys(k.item.domain for k in evidence.known))) or "-",
        target=query.target,
        wrong=wrong,
    )
    schema = reason_schema(evidence, work.voice, free=free)
    origin = Origin(template=template.fingerprint, user=query.history.user)
    most = work.context.settings.max_tokens
    reason, usage = await client.structured(messages, schema, max_tokens=most, origin=origin)
    work.usage += usage
    return _judged(work, " ".join(reason.text.split()), reason.facts)


def _judged(work: _Work, text: str, facts: tuple[str, ...]) -> _Draft:
    """A draft with the objections to it; nothing is shown that has any."""
    evidence = work.evidence
    if len(text) > _LONGEST:
        return _Draft(text[:_LONGEST], facts, (), (), (f"it has {len(text)} characters",))
    claims = check(text, work.scope)
    if other := foreign(text, work.scope):
        claims = (*claims, other)
    problems = [f"“{c.text}”: {c.support}" for c in claims if not c.supported]
    said = sentences(text, work.scope)
    most = _MOST.get(work.voice.style, _MOST_ELSE)
    if not said:
        problems.append("it is empty")
    if len(said) > most:
        problems.append(f"it has {len(said)} sentences, at most {most} are wanted")
    labels = cited(text, work.scope)
    if evidence.known and not labels:
        problems.append("it names none of the liked items")
    if again := _repetition(text, evidence):
        problems.append(f"it repeats “{again}”")
    return _Draft(text, facts, claims, labels, tuple(problems))


def _rest(work: _Work, draft: _Draft) -> _Draft | None:
    """What is left of a draft without the sentences that hold something unsupported; None if that is no reason."""
    said = sentences(draft.text, work.scope)
    bad = {claim.sentence for claim in draft.claims if not claim.supported}
    kept = [sentence for n, sentence in enumerate(said) if n not in bad][: _MOST.get(work.voice.style, _MOST_ELSE)]
    if not kept:
        return None
    rest = _judged(work, (" " if work.voice.rules.spaces else "").join(kept), draft.facts)
    return None if rest.problems else rest


def _explanation(work: _Work, draft: _Draft, source: ExplanationSource, reason: str | None) -> Explanation:
    evidence = work.evidence
    labels = draft.cited or {f.label for f in evidence.facts if f.id in draft.facts}
    said = {claim.support for claim in draft.claims if claim.kind == "category"}
    named = {claim.text for claim in draft.claims if claim.kind == "person"}
    return Explanation(
        text=draft.text,
        cites=tuple(known.match for known in evidence.known if known.label in labels),
        traits=tuple(trait for trait in evidence.traits if trait in said or trait in named),
        source=source,
        reason=reason,
        claims=draft.claims,
        language=work.voice.language,
        style=work.voice.style,
        template=work.context.template_of(work.voice).fingerprint,
    )


def _plain(work: _Work, reason: str) -> Explanation:
    explanation = plain_explanation(work.evidence, reason, work.voice)
    asked = work.usage.requests or work.usage.cache_hits
    template = work.context.template_of(work.voice).fingerprint if asked else None
    return explanation.model_copy(update={"template": template})


def _finished(work: _Work, explanation: Explanation) -> Explanation:
    """With what it cost and the domain's disclaimer, which no template can leave out."""
    disclaimer = work.context.settings.disclaimers.get(work.evidence.item.domain)
    space = " " if work.voice.rules.spaces else ""
    text = f"{explanation.text}{space}{visible(disclaimer)}" if disclaimer else explanation.text
    return explanation.model_copy(update={"usage": work.usage, "text": text})


def _is_free(settings: ExplainSettings, model: str) -> bool:
    """Whether the model's first attempt may be in its own words; by its size in "auto", as its name tells it."""
    if settings.freedom != "auto":
        return settings.freedom == "free"
    sizes = [float(n) * (1e9 if unit.lower() == "b" else 1e6) for n, unit in _SIZE.findall(model.replace("-", " "))]
    return not sizes or max(sizes) >= _SMALL


def _repetition(text: str, evidence: Evidence) -> str | None:
    """Two words that follow each other twice, outside of titles: small models get stuck."""
    rest = text
    for item in evidence.items:
        for title in (item.title, *item.aliases):
            rest = rest.replace(title, " | ")
    words = re.findall(r"[^\W_]+|\|", rest.casefold())
    pairs = [pair for pair in pairwise(words) if "|" not in pair]
    return next((" ".join(pair) for pair in pairs if pairs.count(pair) > 1), None)
