"""What judges are worth. Reads the home's rerank.json and shipped_fits.json, produces a fit of model, template, judge.

`xdrec-eval fit rerank --write` writes the home's file; a fit says on which users and by which command it was made.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from retrieval.errors import DataError
from retrieval.files import translated_writes, write_atomic
from retrieval.types import Frozen

_SHIPPED: Final = "shipped_fits.json"
RERANK_FILE: Final = "rerank.json"
"""Name of the file among the home's fits."""

Scores = NDArray[np.float64]


class Calibration(Frozen):
    """How often an item with a score was the liked one, among `candidates` of equal popularity one of which was.

    A step function, made monotone (isotonic regression): `scores` are standardised over the candidates and ascend,
    `shares` are in [0, 1] and do not descend, `lows` are lower ends of 95% intervals of the shares (Wilson 1927).
    `error` is the expected calibration error on users that it was not fitted on.
    """

    candidates: int
    scores: tuple[float, ...] = Field(min_length=1)
    shares: tuple[float, ...]
    lows: tuple[float, ...]
    error: float

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if not len(self.scores) == len(self.shares) == len(self.lows):
            msg = "scores, shares and lows differ in length"
            raise ValueError(msg)
        return self

    def of(self, scores: Scores) -> Scores:
        """Confidence of standardised scores, in [0, 1]."""
        return np.asarray(np.array(self.shares)[self._steps(scores)])

    def tells_apart(self, score: float) -> bool:
        """Whether an item with this score is the liked one more often than by chance, as far as was measured."""
        return bool(np.array(self.lows)[self._steps(np.array([score]))][0] > 1 / self.candidates)

    def _steps(self, scores: Scores) -> NDArray[np.int64]:
        return np.clip(np.searchsorted(self.scores, scores, side="right") - 1, 0, None)


class RerankFit(Frozen):
    """A model's judge with a template, measured on validation users.

    Attributes:
        weight: in `hybrid`, in [0, 1]; the one that ranked best, 0 if none is better than the retriever alone.
        position_bias: mean log-probability of each label by place, less the mean over places: what a list of at most
            that many candidates is freed of. Empty for judges without labels.
        hybrid, alone: calibration of the final score in `hybrid` with this weight, and of the judge's own.
    """

    model: str
    template_fingerprint: str
    judge: str
    weight: float = Field(ge=0, le=1)
    position_bias: tuple[float, ...] = ()
    hybrid: Calibration
    alone: Calibration
    users: int
    shuffles: int
    ndcg_retrieval: float
    ndcg_alone: float
    ndcg_hybrid: float
    chance: float
    provenance: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Model, template and judge: what a fit is looked up by."""
        return self.model, self.template_fingerprint, self.judge


class _Fits(Frozen):
    version: Literal[2] = 2
    rerank: tuple[RerankFit, ...] = ()


@cache
def _shipped() -> _Fits:
    return _Fits.model_validate_json((resources.files("xdrec_agent.rerank") / _SHIPPED).read_bytes())


def rerank_fits(fits_dir: Path | None = None) -> tuple[RerankFit, ...]:
    """All fits: a home's own take the place of the shipped ones of the same model, template and judge.

    Args:
        fits_dir: folder of the home's fits; None: the shipped ones alone.

    Raises:
        DataError: the home's file cannot be read.
    """
    return _merged(_shipped().rerank, _fits_of(fits_dir))


def find_fit(fits: Iterable[RerankFit], model: str, template_fingerprint: str, judge: str) -> RerankFit | None:
    """The fit of this model, template and judge; None if nobody has measured it."""
    key = (model, template_fingerprint, judge)
    return next((fit for fit in fits if fit.key == key), None)


def position_bias(fit: RerankFit | None, places: int) -> Scores:
    """What the first `places` labels are favoured by, in nats, with mean 0; all 0 if it was not measured."""
    if fit is None or places > len(fit.position_bias):
        return np.zeros(places)
    bias = np.array(fit.position_bias[:places])
    return np.asarray(bias - bias.mean())


def save_fits(fits: Iterable[RerankFit], fits_dir: Path) -> Path:
    """Write fits into the home's file, in place of older ones of the same model, template and judge; the file.

    Raises:
        DataError: the file is there and cannot be read.
        BackendError: it cannot be written.
    """
    file = fits_dir / RERANK_FILE
    merged = _Fits(rerank=_merged(_fits_of(fits_dir), fits))
    with translated_writes(file, "make room, or check the folder's permissions"):
        write_atomic(file, merged.model_dump_json(indent=2) + "\n")
    return file


def _fits_of(fits_dir: Path | None) -> tuple[RerankFit, ...]:
    file = None if fits_dir is None else fits_dir / RERANK_FILE
    if file is None or not file.is_file():
        return ()
    try:
        return _Fits.model_validate_json(file.read_bytes()).rerank
    except (OSError, ValidationError) as exc:
        hint = "delete it, or fit again: xdrec-eval fit rerank --write"
        raise DataError(f"{file} cannot be read as what judges are worth", hint=hint) from exc


def _merged(old: Iterable[RerankFit], new: Iterable[RerankFit]) -> tuple[RerankFit, ...]:
    return tuple({fit.key: fit for fit in (*old, *new)}.values())
