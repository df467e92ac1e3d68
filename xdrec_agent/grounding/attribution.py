"""Attribution. Reads the tokens of a sentence, produces which items each of them speaks of.

A true fact about the wrong item is wrong, so every name, year and trait is tied to items by where it stands: in
brackets or set off behind a title, before it ("the 1979 film Alien"), after it ("Alien, directed by …"), shared by all
("both", "like"), or by default to the nearest title before it, else to the recommended item.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from xdrec_agent.grounding.scope import Key, Scope
from xdrec_agent.grounding.tokens import Token, TokenKind

Refs = frozenset[Key]
"""What one mention may mean; more than one where a title is that of several items."""

_REFERENCES: Final[frozenset[TokenKind]] = frozenset({"item", "pronoun", "noun"})
_ATTRIBUTES: Final[frozenset[TokenKind]] = frozenset({"trait", "year", "decade", "volume", "number"})
_SET_OFF: Final[frozenset[TokenKind]] = frozenset(
    {*_ATTRIBUTES, "noun", "neutral", "person", "role", "determiner", "of", "possessive", "link"}
)
_BEFORE_TITLE: Final[frozenset[TokenKind]] = frozenset({"trait", "year", "decade", "noun", "possessive", "of"})
_BETWEEN: Final[frozenset[TokenKind]] = frozenset(
    {"link", "comma", "open", "close", "year", "noun", "determiner", "item"}
)
_LISTED: Final[frozenset[TokenKind]] = frozenset({"trait", "link", "comma", "neutral", "of", "determiner"})


@dataclass(frozen=True)
class Sentence:
    """The tokens of one sentence, which of the text it is (from 0), and what may be spoken of."""

    tokens: list[Token]
    scope: Scope
    number: int = 0

    @cached_property
    def _kinds(self) -> list[TokenKind]:
        return [token.kind for token in self.tokens]

    # Mentions

    def refs(self, at: int) -> Refs:
        """What the mention at this place may mean; empty if it is none."""
        return self._meant[at]

    @cached_property
    def _meant(self) -> list[Refs]:
        return [self._refs(k) for k in range(len(self.tokens))]

    def _refs(self, at: int) -> Refs:
        token = self.tokens[at]
        if token.kind == "item":
            meant = frozenset(key for m in token.meanings if m.kind == "item" for key in m.values)
            called = self._called(at)
            return frozenset(key for key in meant if key.partition("/")[0] == called) or meant if called else meant
        if token.kind == "pronoun" or token.of("own"):
            return frozenset({self.scope.candidate})
        if token.kind == "noun" and self._definite(at):
            return self._noun(at)
        return frozenset()

    def _called(self, at: int) -> str | None:
        """The domain that the noun right before or after a title says."""
        for beside in (at - 1, at + 1):
            if 0 <= beside < len(self.tokens) and self.tokens[beside].kind == "noun":
                if beside == at + 1 and not self.scope.words.spaced:
                    continue
                return self.tokens[beside].meanings[0].values[0]
        return None

    def _definite(self, at: int) -> bool:
        """Whether a noun means a known thing: "the film", "Lem's novel", but not "a film" nor "the film Alien"."""
        after = self.kind(at + 1)
        if after == "item":
            return False
        before = self.kind(at - 1)
        if before == "link" or (before == "trait" and not self.scope.words.spaced):
            return False
        k = at - 1
        while self.kind(k) in {"trait", "neutral", "year", "number"} and not self.tokens[k].of("determiner"):
            k -= 1
        return k >= 0 and (self.tokens[k].of("determiner") is not None or self.kind(k) == "possessive")

    def _noun(self, at: int) -> Refs:
        """What "the film" means: the title that it is set off from, else the candidate, else the known ones."""
        domain = self.tokens[at].meanings[0].values[0]
        k = at - 1
        while self.kind(k) in {"trait", "determiner", "neutral"}:
            k -= 1
        if self.kind(k) == "comma" and self.kind(k - 1) == "item":
            near = self._refs(k - 1)
            return frozenset(key for key in near if key.partition("/")[0] == domain) or near
        if self.kind(at + 1) == "liked" and self.kind(at + 2) == "comma" and self.kind(at + 3) == "item":
            return self._refs(at + 3)
        if self.scope.evidence.item.domain == domain:
            return frozenset({self.scope.candidate})
        named = [self._refs(k) for k in range(at) if self.kind(k) == "item"]
        earlier = [r for r in named if any(key.partition("/")[0] == domain for key in r)]
        if earlier:
            return earlier[-1]
        return frozenset(key for key in self.scope.items if key.partition("/")[0] == domain)

    def kind(self, at: int) -> TokenKind | None:
        """Kind of a token; None outside of the sentence."""
        return self._kinds[at] if 0 <= at < len(self._kinds) else None

    @cached_property
    def mentions(self) -> tuple[int, ...]:
        """Places of all mentions."""
        return tuple(k for k, kind in enumerate(self._kinds) if kind in _REFERENCES and self.refs(k))

    def left(self, at: int) -> int | None:
        """The nearest mention before a place."""
        return next((k for k in reversed(self.mentions) if k < at), None)

    def right(self, at: int, stop: Callable[[Token], bool] = lambda token: False) -> int | None:
        """The nearest mention after a place, before the first token that stops the search."""
        for k in range(at + 1, len(self.tokens)):
            if self._kinds[k] in _REFERENCES and self.refs(k):
                return k
            if stop(self.tokens[k]):
                return None
        return None

    def group(self, at: int) -> list[int]:
        """The titles that are joined to this one: "Alien (1979), Dune and Heat"."""
        if self.kind(at) != "item":
            return [at]
        found = [at]
        for step in (-1, 1):
            k = at + step
            while self.kind(k) in _BETWEEN:
                if self.kind(k) == "item":
                    a, b = sorted((k, found[-1] if step > 0 else found[0]))
                    if not self._joined(a, b):
                        break
                    found.insert(len(found) if step > 0 else 0, k)
                k += step
        return found

    def _joined(self, a: int, b: int) -> bool:
        """Whether two titles that nothing but marks and links stand between are of one list.

        A comma joins only where "and" follows before the next title but one: "A, B and C", but not "you liked A, B is".
        """
        between = [self.kind(k) for k in range(a + 1, b)]
        if "link" in between:
            return True
        if "comma" not in between or not self.scope.words.spaced:
            return False
        k = b + 1
        while self.kind(k) in _BETWEEN - {"link"}:
            k += 1
        earlier = a - 1
        while self.kind(earlier) in _BETWEEN - {"link", "item"}:
            earlier -= 1
        return self.kind(k) == "link" and self.kind(earlier) != "link" and self.kind(k + 1) in _BETWEEN

    # Attribution

    @cached_property
    def together(self) -> bool:
        """Whether the sentence says things of all that it names."""
        return any(self._binds(k) for k in range(len(self.tokens)))

    def _binds(self, at: int) -> bool:
        token = self.tokens[at]
        return token.of("together") is not None and token.kind != "trait"

    def attribute(self, at: int) -> list[Refs]:
        """Of which items the trait, year or number at this place is said; it must hold for each."""
        for rule in (self._own, self._bracketed, self._before, self.set_off, self._listed):
            if found := rule(at):
                return [self.refs(k) for k in found]
        if self.together and self.tokens[at].kind != "volume":
            named = list(dict.fromkeys(self.refs(k) for k in self.mentions))
            alone = frozenset({self.scope.candidate})
            if not named and self.scope.items.keys() > alone:  # "They are both about grief": of any that was liked
                return [alone, frozenset(self.scope.items) - alone]
            return named if len(named) > 1 else list(dict.fromkeys([*named, alone]))
        return [self.refs(k) for k in self.nearest(at)] or [frozenset({self.scope.candidate})]

    def nearest(self, at: int) -> list[int]:
        """The subject: the nearest mention before, with its group if a verb stands between; else the next one."""
        k = self.left(at)
        if k is None:
            k = self.right(at)
            return [] if k is None else [k]
        verb = any(self.tokens[n].of("verb") for n in range(k + 1, at))
        return self.group(k) if verb else [k]

    def _own(self, at: int) -> list[int]:
        """What "Its political science fiction …" names at the start is the recommended item's."""
        between = range(1, at)
        plain = all(self.kind(k) in {"trait", "neutral", "link", "comma"} for k in between)
        return [0] if at and self.tokens[0].of("own") and plain else []

    def _bracketed(self, at: int) -> list[int]:
        if self.kind(at - 1) == "open" and self.kind(at - 2) == "item":
            return [at - 2]
        return []

    def _before(self, at: int) -> list[int]:
        """ "The 1979 film Alien", "1979年的《异形》", "the horror of Alien"."""
        if self.kind(at) == "volume":
            return []
        k = at + 1
        while self.kind(k) in _BEFORE_TITLE:
            k += 1
        return [k] if k <= at + 4 and self.kind(k) == "item" else []

    def set_off(self, at: int) -> list[int]:
        """ "Alien, a horror film from 1979, …"; not "… Alien, and survival with Aliens"."""
        k = at - 1
        while self.kind(k) in _SET_OFF and not self.tokens[k].of("verb") and not self._binds(k):
            k -= 1
        apart = self.kind(k) == "comma" and self.kind(k - 1) == "item" and self.kind(k + 1) != "link"
        return [k - 1] if apart else []

    def _listed(self, at: int) -> list[int]:
        """ "It shares horror and survival with Alien": said of the subject and of what stands after "with"."""
        sharing = self.scope.words.sharing
        shares = next((k for k in range(at) if self.tokens[k].text.lower() in sharing and self._binds(k)), None)
        k = at
        while self.kind(k) in _LISTED and not self.tokens[k].of("with"):
            k += 1
        if shares is None or k >= len(self.tokens) or not self.tokens[k].of("with") or self.kind(k + 1) is None:
            return []
        end = self.right(k)
        subject = self.left(shares)
        if end is None or subject is None:
            return []
        return [*self.group(subject), *self.group(end)]
