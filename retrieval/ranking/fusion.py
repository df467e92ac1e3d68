"""Fusion. Reads what each source says of the candidates, produces what it says weighted; the sum is the score.

A log-linear model: the probability that a person picks a candidate is proportional to exp(Σ_s w_s · f_s), with f_s what
source s says and w_s = max(0, base_s + slope_s · log n) for a person with n liked items, fitted by conditional logit
(McFadden 1974) on validation users: the longer the history, the more its texts and its kind of people can be trusted.
A source that knows nothing of an item says 0, so an item that nobody has touched stands on its text alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from importlib import resources
from math import log
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from retrieval.errors import UsageError
from retrieval.settings import EncoderSettings
from retrieval.types import Frozen

Source = Literal["text", "words", "popularity", "cooccurrence", "neighbours", "relations"]

SOURCES: Final[Mapping[Source, str]] = {
    "text": "soft maximum of the candidate's cosines with the liked history and the words said",
    "words": "BM25 of the candidate's text for the texts of the history and the words said",
    "popularity": "how many people touched it, those above all who did when the history ends",
    "cooccurrence": "how often it is liked by those who liked what was liked",
    "neighbours": "how often it is liked by people whose taste is similar",
    "relations": "61 / (60 + r) for the r-th of those that the graph leads to from what was liked",
}
"""What may speak for a candidate, and what its word is."""

VERSION: Final = 2
_FILE: Final = "shipped_fusion.json"


class Weight(Frozen):
    """A source's weight for a person with n liked items: `base` + `slope` · log n, at least 0."""

    base: float
    slope: float = 0.0

    def of(self, liked: int) -> float:
        """The weight for this many liked items."""
        return max(0.0, self.base + self.slope * log(max(liked, 1)))


BY_HAND: Final[Mapping[Source, Weight]] = {"relations": Weight(base=1.0)}
"""Weights that nothing is fitted for: no data at hand has both a graph and people."""


class FusionFit(Frozen):
    """Fitted weights and where they come from.

    Attributes:
        made_by: the command.
        data: SHA-256 of the data that they were fitted on.
        encoder: name of the encoder whose vectors `text` and `neighbours` compare.
        people, picks: how many were fitted on.
        weights: by source.
    """

    made_by: str
    data: str
    encoder: str
    people: int
    picks: int
    weights: dict[Source, Weight]

    def for_person(self, liked: int, sources: Collection[str] | None, popularity: float) -> dict[Source, float]:
        """The weights of the sources that have a say.

        Args:
            liked: liked items in the history.
            sources: which may speak; None: all.
            popularity: factor of the weight of popularity.
        """
        factors: dict[str, float] = {"popularity": popularity}
        weights = {
            source: weight.of(liked) * factors.get(source, 1.0)
            for source, weight in self.weights.items()
            if sources is None or source in sources
        }
        return {source: weight for source, weight in weights.items() if weight > 0}


class _Shipped(Frozen):
    version: Literal[2] = VERSION
    fits: tuple[FusionFit, ...] = Field(min_length=1)
    """Of one encoder each; the first is that of the default."""


@cache
def _shipped() -> _Shipped:
    return _Shipped.model_validate_json((resources.files("retrieval.ranking") / _FILE).read_bytes())


def shipped_fusion(encoder: str) -> FusionFit:
    """The weights that come with the package for an encoder, by name; those of the default for one of your own."""
    fits = _shipped().fits
    return next((fit for fit in fits if fit.encoder == encoder), fits[0])


def save_fusion(fit: FusionFit) -> None:
    """Make these the weights that come with the package for their encoder.

    Raises:
        UsageError: the package's folder cannot be written.
    """
    file = Path(__file__).with_name(_FILE)
    others = tuple(one for one in _shipped().fits if one.encoder != fit.encoder)
    default = EncoderSettings().model
    fits = tuple(sorted((*others, fit), key=lambda one: (one.encoder != default, one.encoder)))
    try:
        file.write_text(_Shipped(fits=fits).model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"{file} cannot be written: {exc.strerror}", hint="run it in a source checkout") from exc
    _shipped.cache_clear()
