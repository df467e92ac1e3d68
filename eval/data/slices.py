"""Slices. Reads a case, its truth and training counts, produces the parts that its result is looked at in.

They come from the user's own history, whatever an ablation shows instead, so that arms are sliced alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from eval.data.protocols import Case
from retrieval.types import Item

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

RARE: Final = 2
"""At most so many training users make an item rare."""
UNCLEAR: Final = "unclear"
_LANGUAGES: Final = (
    *("ar", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja"),
    *("ko", "nl", "no", "pl", "pt", "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh"),
)
"""Among all 140 languages of the model a title of four words is rarely told from a creole or dialect."""
_SURE: Final = 0.7
"""Least probability; below it a short title's language is a guess."""


def slices_of(case: Case, truth: Sequence[Item], touched: int) -> dict[str, str]:
    """By slicing the part that the case is in.

    "truth" is "unseen" where the whole truth is cold (no training user touched any of it), "rare" where none of it was
    touched by more than `RARE`, else "popular".

    Args:
        truth: the items looked for.
        touched: training users of the one of them that most touched.
    """
    liked = len(case.history.liked)
    return {
        "direction": f"{case.source} to {case.target}",
        "history": "3 to 5 liked" if liked <= 5 else "6 to 10 liked" if liked <= 10 else "over 10 liked",
        "truth": "unseen" if touched == 0 else "rare" if touched <= RARE else "popular",
        "language": language_of([entry.item for entry in case.history.liked]),
        "truth language": language_of(truth),
    }


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
    identifier.set_languages(list(_LANGUAGES))
    return identifier
