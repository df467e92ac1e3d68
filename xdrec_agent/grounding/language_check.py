"""The language of a text. Reads a text and what it may speak of, produces a claim where it is in another one."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Final

from xdrec_agent.grounding.claims import Claim
from xdrec_agent.grounding.scope import Scope
from xdrec_agent.grounding.tokens import TokenKind, tokenize

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_NAMES: Final[frozenset[TokenKind]] = frozenset({"item", "person", "entity", "series", "unknown-title", "trait"})
_OF_SCRIPT: Final = 0.8
_LETTERS: Final = 30
_SURE: Final = 0.9


def foreign(text: str, scope: Scope) -> Claim | None:
    """A claim of the kind "language" if the prose (names and traits left out) is in another one; else None.

    The letters must be of the language's script. Where the script does not tell the language, the words are looked at
    as well (py3langid; Lui and Baldwin 2012), if there are enough of them.
    """
    rules, language = scope.rules, scope.language
    prose = _prose(text, scope)
    letters = [c for c in prose if c.isalpha()]
    own = sum(unicodedata.name(c, "").startswith(rules.script) for c in letters)
    if letters and own < _OF_SCRIPT * len(letters):
        problem = f"{own} of {len(letters)} letters are {rules.script}"
    elif rules.own_script or len(letters) < _LETTERS:
        return None
    else:
        other, sure = _identifier().classify(prose)
        if other == language or sure < _SURE:
            return None
        problem = f"it reads as {other}"
    return Claim(text=text[:80], kind="language", supported=False, support=f"{problem}, wanted is {language}")


def _prose(text: str, scope: Scope) -> str:
    """The text between names and traits."""
    parts, end = [], 0
    for token in tokenize(text, scope.vocabulary):
        if token.kind in _NAMES:
            parts.append(text[end : token.start])
            end = token.end
    return "".join((*parts, text[end:]))


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
