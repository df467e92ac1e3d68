"""The words of a language, as far as the check needs them. Reads prompts/LANGUAGE/words.yaml, produces `Words`."""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import Field, field_validator

from retrieval.templates import load_yaml
from retrieval.types import Frozen

Phrases = tuple[str, ...]


class Role(Frozen):
    """How a language says that somebody took part in a work.

    Attributes:
        before, after: phrases right before and right after the person's name.
        of: which field must name the person; "relations": only a relation with one of `relations` supports it.
        domains, not_domains: nouns' keys for which the role is (not) that of the creators; empty: no limit.
        relations: predicates that support it, too.
    """

    before: Phrases = ()
    after: Phrases = ()
    of: Literal["creators", "people", "relations"]
    domains: Phrases = ()
    not_domains: Phrases = ()
    relations: Phrases = ()


class RelationPhrase(Frozen):
    """How a language says a relation.

    Attributes:
        order: where the two ends stand: on both sides of the phrase ("between"); both before it, the object first
            ("before": "the book that the film is based on") or the subject first ("after": "A是B的续集").
        inverse: what stands at the subject's place is the object.
    """

    predicates: Phrases
    say: Phrases
    order: Literal["between", "before", "after"] = "between"
    inverse: bool = False
    symmetric: bool = False


class Words(Frozen):
    """A language's words.

    Attributes:
        spaced: whether words are set off by spaces.
        script: Unicode script of its letters ("Latin", "Han").
        pronouns: what stands for the recommended item.
        determiners: what makes a noun mean a known thing ("the film") and not a kind ("a film").
        articles: what makes it mean a kind: "is a film" says of what domain something is.
        possessive: what binds a person to the work that follows; `own`: "its".
        nouns: by domain, what its items are called.
        liked, liked_before: what says that the items that follow (came before) are the person's.
        together: what says that a trait belongs to all named items; `sharing`: its verbs, `with`: what ends their list.
        closest: what says that of all that was liked an item is the most similar one; `close`: that it is similar.
            Both are among `together`, too.
        because: what gives a reason for what was said before it.
        of: what may stand between a trait and the item that has it; `links`: between items of a group.
        volumes, numbers: words to numbers; `decades`: words to the first year.
        same: phrases that claim a common creator; `same_decade`, `same_series` likewise.
        verbs: what separates a subject from what is said of it.
        neutral, neutral_phrases: what claims nothing.
        terms: by trait as catalogues write it, how the language says it, the usual way first; empty: as written.
    """

    spaced: bool
    script: str
    pronouns: Phrases
    determiners: Phrases = ()
    articles: Phrases = ()
    possessive: Phrases = ()
    own: Phrases = ()
    nouns: dict[str, Phrases] = Field(default_factory=dict)
    liked: Phrases = ()
    liked_before: Phrases = ()
    together: Phrases = ()
    closest: Phrases = ()
    close: Phrases = ()
    because: Phrases = ()
    sharing: Phrases = ()
    with_: Phrases = Field(default=(), alias="with")
    of: Phrases = ()
    links: Phrases = ()
    roles: tuple[Role, ...] = ()
    relations: tuple[RelationPhrase, ...] = ()
    volumes: dict[str, int] = Field(default_factory=dict)
    volume_nouns: Phrases = ()
    numbers: dict[str, int] = Field(default_factory=dict)
    decades: dict[str, int] = Field(default_factory=dict)
    same: Phrases = ()
    same_decade: Phrases = ()
    same_series: Phrases = ()
    series: Phrases = ()
    verbs: Phrases = ()
    neutral: Phrases = ()
    neutral_phrases: Phrases = ()
    terms: dict[str, Phrases] = Field(default_factory=dict)

    @field_validator("neutral", mode="before")
    @classmethod
    def _words_of_a_text(cls, value: object) -> object:
        return tuple(dict.fromkeys(value.split())) if isinstance(value, str) else value


@cache
def load_words(language: str) -> Words:
    """The words of a language that has a folder under prompts/.

    Raises:
        UsageError: there is no such folder.
        TemplateError: words.yaml is missing or not what it should be.
    """
    return load_yaml(language, "words", Words)
