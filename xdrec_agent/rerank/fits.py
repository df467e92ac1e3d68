"""What evaluation has fitted. Reads shipped_fits.json, produces what a model's judgement is worth.

`xdrec-eval fit` writes the file; each entry says on which users, with which template and by which command.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from retrieval.types import Frozen

FITTED: Final = Path(__file__).with_name("shipped_fits.json")

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


class Fitted(Frozen):
    """The whole file."""

    version: int = 2
    rerank: tuple[RerankFit, ...] = ()


@cache
def load_fitted() -> Fitted:
    """The shipped fits."""
    return Fitted.model_validate_json(FITTED.read_bytes())


def rerank_fit(model: str, template_fingerprint: str, judge: str) -> RerankFit | None:
    """The fit of this model, template and judge; None if nobody has measured it."""
    wanted = (model, template_fingerprint, judge)
    return next((f for f in load_fitted().rerank if _key(f) == wanted), None)


def position_bias(model: str, template_fingerprint: str, places: int) -> Scores:
    """What the first `places` labels are favoured by, in nats, with mean 0; all 0 if it was not measured."""
    fit = rerank_fit(model, template_fingerprint, "listwise-logprob")
    if fit is None or places > len(fit.position_bias):
        return np.zeros(places)
    bias = np.array(fit.position_bias[:places])
    return np.asarray(bias - bias.mean())


def save_fits(fits: tuple[RerankFit, ...]) -> None:
    """Put fits into the file, in place of older ones of the same model, template and judge."""
    new = {_key(fit) for fit in fits}
    kept = [f for f in load_fitted().rerank if _key(f) not in new]
    partial = FITTED.with_suffix(".partial")
    partial.write_text(Fitted(rerank=(*kept, *fits)).model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(FITTED)


def _key(fit: RerankFit) -> tuple[str, str, str]:
    return fit.model, fit.template_fingerprint, fit.judge
