"""Attribution. Reads the tokens of a sentence, produces which items each of them speaks of.

A true fact about the wrong item is wrong, so every name, year and trait is tied to items by where it stands: in
brackets or set off behind a title, before it ("the 1979 film Alien"), after it ("Alien, directed by …"), shared by all
("both", "like"), or by default to the nearest title before it, else to the recommended item.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from retrieval.types import Frozen
from xdrec_agent.grounding.scope import Key, Scope
from xdrec_agent.grounding.tokens import Token, TokenKind

Refs = frozenset[Key]
"""What one mention may mean; more than one where a title is that of several items."""

Kinds = frozenset[TokenKind]
ClaimKind = Literal["title", "person", "year", "number", "category", "relation", "liked", "statement", "language"]

_REFERENCES: Final[Kinds] = frozenset({"item", "pronoun", "noun"})
_SET_OFF: Final[Kinds] = frozenset(
    {"trait", "year", "decade", "volume", "number", "noun", "neutral", "person", "role", "determiner", "of",
     "possessive", "link"}
)  # fmt: skip
_BEFORE_TITLE: Final[Kinds] = frozenset({"trait", "year", "decade", "noun", "possessive", "of"})
_BETWEEN: Final[Kinds] = frozenset({"link", "comma", "open", "close", "year", "noun", "determiner", "item"})
_LISTED: Final[Kinds] = frozenset({"trait", "link", "comma", "neutral", "of", "determiner"})


class Claim(Frozen):
    """One thing that a text says.

    Attributes:
        text: the words that say it.
        kind: "title": a name, known or not; "person": who took part in a work; "year": a year or decade; "number": a
            volume, any other number, or how close something is; "category": a category or theme, or of what domain
            something is; "relation": between works, or a work and something else; "liked": that the user likes an
            item; "statement": anything else, as plot or mood; "language": that the text is in the wanted language
            (found only where it is not).
        subject: title of what it speaks of; empty if of nothing in particular.
        support: what bears it out, or what was looked for in vain.
        sentence: which sentence of the text says it, from 0.
    """

    text: str
    kind: ClaimKind
    subject: str = ""
    supported: bool
    support: str
    sentence: int = 0


@dataclass(frozen=True)
class Sentence:
    """The tokens of one sentence, which of the text it is (from 0), and what may be spoken of."""

    tokens: list[Token]
    scope: Scope
    number: int = 0

    @cached_property
    def _kinds(self) -> list[TokenKind]:
        return [token.kind for token in self.tokens]

    def kind(self, at: int) -> TokenKind | None:
        """Kind of a token; None outside of the sentence."""
        return self._kinds[at] if 0 <= at < len(self._kinds) else None

    def skip(self, at: int, kinds: Collection[TokenKind], step: int = 1) -> int:
        """The first place, from `at` on in this direction, that has none of these kinds; it may be outside."""
        while self.kind(at) in kinds:
            at += step
        return at

    def claim(self, at: int, kind: ClaimKind, works: Iterable[Refs], support: str | None, missing: str = "") -> Claim:
        """What the token claims of these works; `missing` says what was looked for where nothing supports it."""
        titles = dict.fromkeys(self.scope.title(key) for refs in works for key in sorted(refs))
        return Claim(
            text=self.tokens[at].text,
            kind=kind,
            subject=" / ".join(titles),
            supported=support is not None,
            support=missing if support is None else support,
            sentence=self.number,
        )

    # Mentions

    def refs(self, at: int) -> Refs:
        """What the mention at this place may mean; empty if it is none."""
        return self._all_refs[at]

    @cached_property
    def alone(self) -> Refs:
        """The recommended item and nothing else."""
        return frozenset({self.scope.candidate})

    @cached_property
    def _all_refs(self) -> list[Refs]:
        return [self._refs(k) for k in range(len(self.tokens))]

    def _refs(self, at: int) -> Refs:
        token = self.tokens[at]
        if token.kind == "item":
            meant = frozenset(key for m in token.meanings if m.kind == "item" for key in m.values)
            return _of_domain(meant, self._domain_said(at))
        if token.kind == "pronoun" or token.of("own"):
            return self.alone
        if token.kind == "noun" and self._definite(at):
            return self._noun(at)
        return frozenset()

    def _domain_said(self, at: int) -> str | None:
        """The domain that the noun right before or, with spaces, right after a title says."""
        for beside in (at - 1, at + 1) if self.scope.rules.spaces else (at - 1,):
            if self.kind(beside) == "noun":
                return self.tokens[beside].meanings[0].values[0]
        return None

    def _definite(self, at: int) -> bool:
        """Whether a noun means a known thing: "the film", "Lem's novel", but not "a film" nor "the film Alien"."""
        before = self.kind(at - 1)
        if self.kind(at + 1) == "item" or before == "link" or (before == "trait" and not self.scope.rules.spaces):
            return False
        k = at - 1
        while self.kind(k) in {"trait", "neutral", "year", "number"} and not self.tokens[k].of("determiner"):
            k -= 1
        return k >= 0 and (self.tokens[k].of("determiner") is not None or self.kind(k) == "possessive")

    def _noun(self, at: int) -> Refs:
        """What "the film" means: the title that it is set off from, else the candidate, else the known ones."""
        domain = self.tokens[at].meanings[0].values[0]
        k = self.skip(at - 1, {"trait", "determiner", "neutral"}, -1)
        if self.kind(k) == "comma" and self.kind(k - 1) == "item":
            return _of_domain(self._refs(k - 1), domain)
        if self.kind(at + 1) == "liked" and self.kind(at + 2) == "comma" and self.kind(at + 3) == "item":
            return self._refs(at + 3)
        if self.scope.evidence.item.domain == domain:
            return self.alone
        named = (self._refs(k) for k in range(at - 1, -1, -1) if self.kind(k) == "item")
        of_domain = frozenset(key for key in self.scope.items if _domain(key) == domain)
        return next((refs for refs in named if any(_domain(key) == domain for key in refs)), of_domain)

    @cached_property
    def mentions(self) -> tuple[int, ...]:
        """Places of all mentions."""
        return tuple(k for k, kind in enumerate(self._kinds) if kind in _REFERENCES and self.refs(k))

    def left(self, at: int) -> int | None:
        """The nearest mention before a place."""
        return next((k for k in reversed(self.mentions) if k < at), None)

    def right(self, at: int, stop: Kinds = frozenset()) -> int | None:
        """The nearest mention after a place, before the first token of a kind that stops the search."""
        after = range(at + 1, len(self.tokens))
        first = next((k for k in after if k in self.mentions or self.kind(k) in stop), None)
        return first if first in self.mentions else None

    def group(self, at: int) -> list[int]:
        """The titles that are joined to this one: "Alien (1979), Dune and Heat"."""
        if self.kind(at) != "item":
            return [at]
        places = [at]
        for step in (-1, 1):
            k = at + step
            while self.kind(k) in _BETWEEN:
                if self.kind(k) == "item":
                    a, b = sorted((k, places[-1] if step > 0 else places[0]))
                    if not self._joined(a, b):
                        break
                    places.insert(len(places) if step > 0 else 0, k)
                k += step
        return places

    def _joined(self, a: int, b: int) -> bool:
        """Whether two titles that nothing but marks and links stand between are of one list.

        A comma joins only where "and" follows before the next title but one: "A, B and C", but not "you liked A, B is".
        """
        between = self._kinds[a + 1 : b]
        if "link" in between:
            return True
        if "comma" not in between or not self.scope.rules.spaces:
            return False
        k = self.skip(b + 1, _BETWEEN - {"link"})
        earlier = self.skip(a - 1, _BETWEEN - {"link", "item"}, -1)
        return self.kind(k) == "link" and self.kind(earlier) != "link" and self.kind(k + 1) in _BETWEEN

    # Attribution

    @cached_property
    def together(self) -> bool:
        """Whether the sentence says things of all that it names."""
        return any(self._binds(k) for k in range(len(self.tokens)))

    def _binds(self, at: int, how: str | None = None) -> bool:
        """Whether the token says something of all that is named; `how`: only by such a phrase ("sharing")."""
        meaning = self.tokens[at].of("together")
        return meaning is not None and self.kind(at) != "trait" and (how is None or how in meaning.values)

    def attribute(self, at: int) -> list[Refs]:
        """Of which items the trait, year or number at this place is said; it must hold for each."""
        for rule in (self._own, self._bracketed, self._before, self.set_off, self._listed):
            if works := rule(at):
                return works
        if self.together and self.kind(at) != "volume":
            named = list(dict.fromkeys(self.refs(k) for k in self.mentions))
            if not named and self.scope.items.keys() > self.alone:  # "They are both about grief": of any that was liked
                return [self.alone, frozenset(self.scope.items) - self.alone]
            return named if len(named) > 1 else list(dict.fromkeys([*named, self.alone]))
        return self.nearest_refs(at)

    def nearest_refs(self, at: int) -> list[Refs]:
        """What the subject means; the recommended item where none is named."""
        return [self.refs(k) for k in self.nearest(at)] or [self.alone]

    def nearest(self, at: int) -> list[int]:
        """The subject: the nearest mention before, with its group if a verb stands between; else the next one."""
        k = self.left(at)
        if k is None:
            k = self.right(at)
            return [] if k is None else [k]
        return self.group(k) if self.has_verb(k + 1, at) else [k]

    def has_verb(self, start: int, end: int) -> bool:
        """Whether one of the tokens from `start` to before `end` may be a verb."""
        return any(token.of("verb") for token in self.tokens[start:end])

    def _own(self, at: int) -> list[Refs]:
        """What "Its political science fiction …" names at the start is the recommended item's."""
        own = at > 0 and self.tokens[0].of("own") is not None
        return [self.alone] if own and self.skip(1, {"trait", "neutral", "link", "comma"}) >= at else []

    def _bracketed(self, at: int) -> list[Refs]:
        return [self.refs(at - 2)] if self.kind(at - 1) == "open" and self.kind(at - 2) == "item" else []

    def _before(self, at: int) -> list[Refs]:
        """ "The 1979 film Alien", "1979年的《异形》", "the horror of Alien"."""
        k = self.skip(at + 1, _BEFORE_TITLE)
        return [self.refs(k)] if self.kind(at) != "volume" and k <= at + 4 and self.kind(k) == "item" else []

    def set_off(self, at: int) -> list[Refs]:
        """ "Alien, a horror film from 1979, …"; not "… Alien, and survival with Aliens"."""
        k = at - 1
        while self.kind(k) in _SET_OFF and not self.tokens[k].of("verb") and not self._binds(k):
            k -= 1
        apart = self.kind(k) == "comma" and self.kind(k - 1) == "item" and self.kind(k + 1) != "link"
        return [self.refs(k - 1)] if apart else []

    def _listed(self, at: int) -> list[Refs]:
        """ "It shares horror and survival with Alien": said of the subject and of what stands after "with".

        Where no subject is named ("Comparte terror con Alien") it is the recommended item.
        """
        shares = next((k for k in range(at) if self._binds(k, "sharing")), None)
        k = at
        while self.kind(k) in _LISTED and not self.tokens[k].of("with"):
            k += 1
        if shares is None or self.kind(k + 1) is None or not self.tokens[k].of("with"):
            return []
        subject, end = self.left(shares), self.right(k)
        subjects = [self.alone] if subject is None else [self.refs(n) for n in self.group(subject)]
        return [] if end is None else [*subjects, *(self.refs(n) for n in self.group(end))]


def _domain(key: Key) -> str:
    return key.partition("/")[0]


def _of_domain(refs: Refs, domain: str | None) -> Refs:
    """Those of a domain; all if none is, or none is said."""
    return frozenset(key for key in refs if _domain(key) == domain) or refs
