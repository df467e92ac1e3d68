"""How explanations after the fact are told. Reads prompts/LANGUAGE/posthoc.yaml and results, produces text."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from retrieval.types import Frozen, Item
from xdrec_agent.explain import SHORT, Locale, load_locale, load_sentences

Heading = Literal["why", "speaks", "facts", "path", "claims", "numbers"]
Sections = Iterator[tuple[Heading, list[str]]]

_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>#|~&!$^])")


class PosthocSentences(Frozen):
    """prompts/LANGUAGE/posthoc.yaml: each value is a format with the names in braces that the English one has.

    Attributes:
        place: a rank.
        contrastive: why one item stands above another.
        why_not: why an item is not in the list, by verdict, and what would lift it.
        conditions: by field of a `Filter`.
        counterfactual: what a list would be without one item of the history.
        headings: of the Markdown form.
    """

    place: str
    contrastive: dict[Literal["places", "scores", "turned", "leans", "only", "both", "alike"], str]
    why_not: dict[str, str]
    conditions: dict[str, str]
    counterfactual: dict[Literal["same", "leaves", "moves_only", "enters", "moved"], str]
    headings: dict[Heading, str]


@dataclass(frozen=True, kw_only=True)
class PosthocLocale(Locale):
    """A language in which explanations after the fact are told to people."""

    posthoc: PosthocSentences

    def namer(self, *items: Item | None) -> Callable[[Item | None], str]:
        """The title of each of the items ("" of None); where a film and a book have one title, with what each is."""
        names = self.distinct({(item.domain, item.id): self.quoted(item) for item in items if item})
        return lambda item: names[item.domain, item.id] if item else ""

    def place(self, rank: int) -> str:
        """A rank, counted from 1."""
        return self.posthoc.place.format(rank=rank)

    def paragraph(self, sentences: Iterable[str]) -> str:
        """Sentences as one text, each with a capital where the script has them."""
        return self.text(one[:1].upper() + one[1:] for one in sentences)


class PosthocExplanation(Frozen):
    """What every explanation of an answer has: the answer's id, the language, and what is said in it."""

    answer: str
    language: str
    text: str = ""

    def title(self, locale: PosthocLocale) -> str | None:
        """Heading of the whole; None: it has none."""
        return None

    @abstractmethod
    def sections(self, locale: PosthocLocale) -> Sections:
        """The numbers behind the text, each heading with its lines."""


@cache
def load_posthoc_locale(language: str) -> PosthocLocale:
    """The locale of a language. Raises UsageError, TemplateError: there are no (good) sentences for it."""
    parts = vars(load_locale(language, SHORT).for_people)
    return PosthocLocale(**parts, posthoc=load_sentences(language, "posthoc", PosthocSentences))


def markdown(explanation: PosthocExplanation, locale: PosthocLocale, mermaid: str = "") -> str:
    """The explanation with the numbers behind it, titles being text and nothing else; `mermaid` is its picture."""
    title = explanation.title(locale)
    parts = [f"# {_literal(title)}"] if title else []
    parts.append(_literal(explanation.text))
    for heading, lines in explanation.sections(locale):
        if lines:
            parts += [f"## {_literal(locale.posthoc.headings[heading])}", "\n".join(f"- {_literal(x)}" for x in lines)]
    if mermaid:
        parts.append(f"```mermaid\n{mermaid}```")
    return "\n\n".join(parts) + "\n"


def _literal(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\1", text)
