"""Fusion. Reads the scores of each signal, produces the weights that they are summed with.

A log-linear model: the probability that a user picks a candidate is proportional to exp(Σ_s w_s · f_s), with f_s the
score of signal s and w_s = max(0, base_s + slope_s · log n) for a user with n liked items, fitted by conditional logit
(McFadden 1974) on validation users: the longer the history, the more its texts and similar users can be trusted. A
signal that knows nothing of an item scores 0, so an item without interactions stands on its text alone.
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

Signal = Literal["text", "bm25", "popularity", "cooccurrence", "neighbours", "relations"]

SIGNALS: Final[Mapping[Signal, str]] = {
    "text": "log-sum-exp pooling of the candidate's cosines with the liked history and the query's text",
    "bm25": "BM25 of the candidate's text for the texts of the history and of the query",
    "popularity": "how many users interacted with it, mostly those near the time when the history ends",
    "cooccurrence": "how often it is liked by those who liked what was liked",
    "neighbours": "how often it is liked by users who like similar texts",
    "relations": "61 / (60 + r) for the r-th of the items that the relation graph leads to from what was liked",
}
"""The signals and their scores."""

_SHIPPED: Final = "shipped_fusion.json"
FUSION_FILE: Final = "fusion.json"
"""Name of the file among the home's fits."""


class SignalWeight(Frozen):
    """A signal's weight for a user with n liked items: `base` + `slope` · log n, at least 0."""

    base: float
    slope: float = 0.0

    def at(self, liked: int) -> float:
        """The weight for this many liked items."""
        return max(0.0, self.base + self.slope * log(max(liked, 1)))


UNFITTED_WEIGHTS: Final[Mapping[Signal, SignalWeight]] = {"relations": SignalWeight(base=1.0)}
"""Weights set by hand: no data at hand has both a relation graph and users."""


class FusionFit(Frozen):
    """Fitted weights and where they come from.

    Attributes:
        made_by: the command.
        data: SHA-256 of the data that they were fitted on.
        encoder: name of the encoder whose vectors `text` and `neighbours` compare.
        users, picks: how many the fit used.
        weights: by signal.
    """

    made_by: str
    data: str
    encoder: str
    users: int
    picks: int
    weights: dict[Signal, SignalWeight]

    def weights_for(self, liked: int, signals: Collection[str] | None, popularity: float) -> dict[Signal, float]:
        """The weights of the signals that count, all above 0.

        Args:
            liked: number of liked items in the history.
            signals: those that may count; None: all.
            popularity: factor of the weight of popularity.
        """
        weights = {
            signal: weight.at(liked) * (popularity if signal == "popularity" else 1.0)
            for signal, weight in self.weights.items()
            if signals is None or signal in signals
        }
        return {signal: weight for signal, weight in weights.items() if weight > 0}


class _Fits(Frozen):
    version: Literal[3] = 3
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
    by_encoder = {fit.encoder: fit for fit in (*_shipped().fits, *_home_fits(fits_dir))}
    return by_encoder.get(encoder, by_encoder[EncoderSettings().model])


def save_fusion(fit: FusionFit, fits_dir: Path) -> Path:
    """Write the weights into the home's file, in place of older ones for their encoder; returns the file.

    Raises:
        DataError: the file is there and cannot be read.
        BackendError: it cannot be written.
    """
    file = fits_dir / FUSION_FILE
    others = [other for other in _home_fits(fits_dir) if other.encoder != fit.encoder]
    fits = sorted((*others, fit), key=lambda one: one.encoder)
    with translated_writes(file, "make room, or check the folder's permissions"):
        write_atomic(file, _Fits(fits=tuple(fits)).model_dump_json(indent=2) + "\n")
    return file


def _home_fits(fits_dir: Path | None) -> tuple[FusionFit, ...]:
    file = None if fits_dir is None else fits_dir / FUSION_FILE
    if file is None or not file.is_file():
        return ()
    try:
        return _Fits.model_validate_json(file.read_bytes()).fits
    except (OSError, ValidationError) as exc:
        hint = "delete it, or fit again: xdrec-eval fit fusion --write"
        raise DataError(f"{file} cannot be read as fitted weights", hint=hint) from exc
