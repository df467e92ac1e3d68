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

from pydantic import Field, ValidationError

from retrieval.errors import DataError
from retrieval.files import translated_writes, write_atomic
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
_SHIPPED: Final = "shipped_fusion.json"
FUSION_FILE: Final = "fusion.json"
"""Name of the file among the home's fits."""


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


class _Fits(Frozen):
    version: Literal[2] = VERSION
    fits: tuple[FusionFit, ...] = Field(min_length=1)


@cache
def _shipped() -> _Fits:
    return _Fits.model_validate_json((resources.files("retrieval.ranking") / _SHIPPED).read_bytes())


def fusion_fit(encoder: str, fits_dir: Path | None = None) -> FusionFit:
    """The weights for an encoder, by name: the home's own where it has them, else the shipped ones.

    An encoder that nothing was fitted for gets those of the default encoder.

    Args:
        fits_dir: folder of the home's fits; None: the shipped ones alone count.

    Raises:
        DataError: the home's file cannot be read.
    """
    default = EncoderSettings().model
    by_encoder = {fit.encoder: fit for fit in (*_shipped().fits, *_fits_of(fits_dir))}
    return by_encoder.get(encoder, by_encoder[default])


def save_fusion(fit: FusionFit, fits_dir: Path) -> Path:
    """Write the weights into the home's file, in place of older ones for their encoder; the file.

    Raises:
        DataError: the file is there and cannot be read.
        BackendError: it cannot be written.
    """
    file = fits_dir / FUSION_FILE
    others = [one for one in _fits_of(fits_dir) if one.encoder != fit.encoder]
    fits = sorted((*others, fit), key=lambda one: one.encoder)
    with translated_writes(file, "make room, or check the folder's permissions"):
        write_atomic(file, _Fits(fits=tuple(fits)).model_dump_json(indent=2) + "\n")
    return file


def _fits_of(fits_dir: Path | None) -> tuple[FusionFit, ...]:
    file = None if fits_dir is None else fits_dir / FUSION_FILE
    if file is None or not file.is_file():
        return ()
    try:
        return _Fits.model_validate_json(file.read_bytes()).fits
    except (OSError, ValidationError) as exc:
        hint = "delete it, or fit again: xdrec-eval fit fusion --write"
        raise DataError(f"{file} cannot be read as fitted weights", hint=hint) from exc
