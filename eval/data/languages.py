"""Languages of items. Reads items, produces the language that they are in, as far as that can be told."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from retrieval.types import Item

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

UNCLEAR: Final = "unclear"
_TOLD_APART: Final = (
    *("ar", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja"),
    *("ko", "nl", "no", "pl", "pt", "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh"),
)
"""Among all 140 languages of the model a title of four words is rarely told from a creole or dialect."""
_SURE: Final = 0.7
"""Least probability; below it a short title's language is a guess."""


def language_of(items: Sequence[Item]) -> str:
    """The language of the items, several joined by " and ", or `UNCLEAR`.

    An item's own `language` counts where it has one. The titles and descriptions of the others are read together
    (py3langid; Lui and Baldwin 2012), since one title alone is often too short to tell.
    """
    stated = {item.language for item in items if item.language}
    texts = [f"{item.title}\n{item.description}" for item in items if not item.language]
    return " and ".join(sorted(stated | ({_identified("\n".join(texts))} if texts else set()))) or UNCLEAR


def _identified(text: str) -> str:
    language, probability = _identifier().classify(text)
    return language if probability >= _SURE else UNCLEAR


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(_TOLD_APART))
    return identifier
