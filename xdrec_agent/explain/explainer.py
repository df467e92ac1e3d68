"""Explanations. Reads evidence, produces a reason that cites the user's own items and is checked claim by claim.

A model chooses among the facts and phrases them. What the check finds unsupported is written once more, then the
sentence is dropped. If nothing is left, a plain sentence from the catalogue's facts takes its place, marked as such.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Final

from retrieval.templates import PromptTemplate, visible
from retrieval.types import Candidate, Query
from xdrec_agent.errors import LLMError, LLMReplyInvalid
from xdrec_agent.explain.constrained_output import ReasonReply, reply_schema
from xdrec_agent.explain.realisation import SHORT, Locale, load_locale, load_own_sentences
from xdrec_agent.grounding import Claim, Evidence, PathFinder, Scope, check, cited, foreign, gather, sentences
from xdrec_agent.llm import LLMClient, Origin, Usage
from xdrec_agent.settings import ExplainSettings
from xdrec_agent.types import Explanation, ExplanationSource

_SMALL: Final = 1e9
_SIZE: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z])", re.IGNORECASE)
_SENTENCES_SHORT: Final = 2
_SENTENCES: Final = 5
_CHARACTERS: Final = 2000


@dataclass(frozen=True)
class ExplainContext:
    """What explaining needs.

    Attributes:
        template: for the configured language and style; None: the shipped one. Others are always the shipped ones.
        client: None: every reason is the plain one.
        paths: finds the graph paths between liked items and a candidate; None: there is no graph.
    """

    settings: ExplainSettings
    template: PromptTemplate | None
    client: LLMClient | None
    paths: PathFinder | None = None

    def locale(self, language: str | None = None, style: str | None = None) -> Locale:
        """The locale for a language and a style; None: the configured ones. Raises UsageError, TemplateError."""
        locale = load_locale(language or self.settings.language, style or self.settings.style)
        own = self.settings.sentences if locale.language == self.settings.language else None
        return locale.reworded(load_own_sentences(own)) if own else locale

    def template_of(self, locale: Locale) -> PromptTemplate:
        """The template that a model is asked with."""
        configured = (locale.language, locale.style) == (self.settings.language, self.settings.style)
        return self.template if self.template and configured else locale.template


async def explain_candidate(
    context: ExplainContext, query: Query, candidate: Candidate, locale: Locale | None = None
) -> Explanation:
    """The reason for one candidate. Never raises an LLMError. Raises UsageError, TemplateError: as `locale`."""
    if context.client is None:
        return await asyncio.to_thread(explain_without_model, context, query, candidate, locale)
    writing = await asyncio.to_thread(_begin, context, query, candidate, locale)
    try:
        async with asyncio.timeout(context.settings.deadline_s):
            explanation = await writing.by_model(context.client)
    except LLMError as exc:
        explanation = writing.plain(str(exc))
    except TimeoutError:
        explanation = writing.plain(f"the model wrote none within {context.settings.deadline_s:g} s")
    return writing.finished(explanation)


def explain_without_model(
    context: ExplainContext, query: Query, candidate: Candidate, locale: Locale | None
) -> Explanation:
    """The plain reason for one candidate. Raises UsageError, TemplateError: as `locale`."""
    writing = _begin(context, query, candidate, locale)
    return writing.finished(writing.plain("no language model was asked"))


def plain_explanation(evidence: Evidence, reason: str, locale: Locale) -> Explanation:
    """A reason from the catalogue's facts alone: what was liked, and what the item has in common with it."""
    text, labels, traits = locale.for_people.fallback(evidence)
    return Explanation(
        text=text,
        cites=tuple(known.match for known in evidence.known if known.label in labels),
        traits=traits,
        source="evidence",
        reason=reason,
        claims=check(text, Scope(evidence, locale.language)),
        language=locale.language,
        style=locale.style,
    )


@dataclass(frozen=True)
class _Draft:
    """What a model wrote, the labels of the known items that it names, and what is wrong with it."""

    text: str
    facts: tuple[str, ...]
    claims: tuple[Claim, ...] = ()
    cited: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass
class _Writing:
    """The writing of one reason, while it goes on."""

    context: ExplainContext
    query: Query
    evidence: Evidence
    locale: Locale
    usage: Usage = field(default_factory=Usage)

    @cached_property
    def scope(self) -> Scope:
        """What the reason may speak of."""
        return Scope(self.evidence, self.locale.language)

    async def by_model(self, client: LLMClient) -> Explanation:
        """What the model writes, mended where the check objects; the plain reason if nothing of it can stand."""
        free = _is_free(self.context.settings, client.endpoint.model)
        drafts: list[_Draft] = []
        failed = ""
        for attempt in (1, 2):
            wrong = drafts[-1].problems if drafts else ()
            try:
                # The second time the sentence is constrained: a model that went astray chooses among what is true.
                reply = await self._reply(client, wrong, free=free and attempt == 1)
            except LLMReplyInvalid as exc:
                failed = str(exc)
                continue
            drafts.append(self._judged(" ".join(reply.text.split()), reply.facts))
            if not drafts[-1].problems:
                source: ExplanationSource = "llm" if attempt == 1 else "repaired"
                return self._explanation(drafts[-1], source, "; ".join(wrong) or failed or None)
        for draft in reversed(drafts):
            if rest := self._rest(draft):
                return self._explanation(rest, "repaired", "; ".join(draft.problems))
        problem = "; ".join(drafts[-1].problems) if drafts else failed
        return self.plain(f"the model's sentence was not used: {problem}")

    async def _reply(self, client: LLMClient, wrong: tuple[str, ...], *, free: bool) -> ReasonReply:
        evidence, query, template = self.evidence, self.query, self.context.template_of(self.locale)
        messages = template.messages(
            item=evidence.item,
            title=self.locale.title(evidence.item),
            facts=self.locale.facts(evidence),
            text=query.text,
            source=self.locale.joined([known.item.domain for known in evidence.known]) or "-",
            target=query.target,
            wrong=wrong,
        )
        schema = reply_schema(evidence, self.locale, free=free)
        origin = Origin(template=template.fingerprint, user=query.history.user)
        limit = self.context.settings.max_tokens
        reply, usage = await client.structured(messages, schema, max_tokens=limit, origin=origin)
        self.usage += usage
        return reply

    @property
    def _most_sentences(self) -> int:
        return _SENTENCES_SHORT if self.locale.style == SHORT else _SENTENCES

    def _judged(self, text: str, facts: tuple[str, ...]) -> _Draft:
        """A draft with the objections to it; nothing is shown that has any."""
        if len(text) > _CHARACTERS:
            return _Draft(text[:_CHARACTERS], facts, problems=(f"it has {len(text)} characters",))
        claims = check(text, self.scope)
        if other := foreign(text, self.scope):
            claims = (*claims, other)
        problems = [f"“{c.text}”: {c.support}" for c in claims if not c.supported]
        count = len(sentences(text, self.scope))
        if not count:
            problems.append("it is empty")
        if count > self._most_sentences:
            problems.append(f"it has {count} sentences, at most {self._most_sentences} are wanted")
        labels = cited(text, self.scope)
        if self.evidence.known and not labels:
            problems.append("it names none of the liked items")
        if again := _repetition(text, self.evidence):
            problems.append(f"it repeats “{again}”")
        return _Draft(text, facts, claims, labels, tuple(problems))

    def _rest(self, draft: _Draft) -> _Draft | None:
        """What is left of a draft without the sentences that hold something unsupported; None if that is no reason."""
        bad = {claim.sentence for claim in draft.claims if not claim.supported}
        kept = [sentence for n, sentence in enumerate(sentences(draft.text, self.scope)) if n not in bad]
        if not kept:
            return None
        rest = self._judged(self.locale.text(kept[: self._most_sentences]), draft.facts)
        return None if rest.problems else rest

    def _explanation(self, draft: _Draft, source: ExplanationSource, reason: str | None) -> Explanation:
        evidence = self.evidence
        labels = draft.cited or {f.label for f in evidence.facts if f.id in draft.facts}
        told = {c.support for c in draft.claims if c.kind == "category"}
        told |= {c.text for c in draft.claims if c.kind == "person"}
        return Explanation(
            text=draft.text,
            cites=tuple(known.match for known in evidence.known if known.label in labels),
            traits=tuple(trait for trait in evidence.traits if trait in told),
            source=source,
            reason=reason,
            claims=draft.claims,
            language=self.locale.language,
            style=self.locale.style,
            template=self.context.template_of(self.locale).fingerprint,
        )

    def plain(self, reason: str) -> Explanation:
        """The plain reason, with why it is the plain one."""
        explanation = plain_explanation(self.evidence, reason, self.locale)
        asked = self.usage.requests or self.usage.cache_hits
        template = self.context.template_of(self.locale).fingerprint if asked else None
        return explanation.model_copy(update={"template": template})

    def finished(self, explanation: Explanation) -> Explanation:
        """With what it cost and the domain's disclaimer, which no template can leave out."""
        disclaimer = self.context.settings.disclaimers.get(self.evidence.item.domain)
        text = self.locale.text([explanation.text, visible(disclaimer)]) if disclaimer else explanation.text
        return explanation.model_copy(update={"usage": self.usage, "text": text})


def _begin(context: ExplainContext, query: Query, candidate: Candidate, locale: Locale | None) -> _Writing:
    evidence = gather(candidate, query.history, query.text, context.settings.evidence, context.paths)
    return _Writing(context, query, evidence, locale or context.locale())


def _is_free(settings: ExplainSettings, model: str) -> bool:
    """Whether the model's first attempt may be in its own words; by its size in "auto", as its name tells it."""
    if settings.freedom != "auto":
        return settings.freedom == "free"
    sizes = [float(n) * (1e9 if unit.lower() == "b" else 1e6) for n, unit in _SIZE.findall(model.replace("-", " "))]
    return not sizes or max(sizes) >= _SMALL


def _repetition(text: str, evidence: Evidence) -> str | None:
    """Two words that follow each other twice, outside of titles: small models get stuck."""
    for item in evidence.items:
        for title in (item.title, *item.aliases):
            text = text.replace(title, " | ")
    pairs = [pair for pair in pairwise(re.findall(r"[^\W_]+|\|", text.casefold())) if "|" not in pair]
    return next((" ".join(pair) for pair in pairs if pairs.count(pair) > 1), None)
