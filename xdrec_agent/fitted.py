"""What evaluation has fitted. Reads fitted.json, produces the weight of a model's score in `hybrid`.

`xdrec-eval fit` writes the file; each entry says on which users, with which template and by which command.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from pydantic import Field

from retrieval.types import Frozen

FITTED: Final = Path(__file__).with_name("fitted.json")


class HybridFit(Frozen):
    """The weight in [0, 1] that ranked validation users best, and where it comes from."""

    model: str
    template_fingerprint: str
    weight: float = Field(ge=0, le=1)
    shuffles: int
    users: int
    ndcg_retrieval: float
    ndcg_llm: float
    ndcg_hybrid: float
    chance: float
    provenance: str


class Fitted(Frozen):
    """The whole file."""

    version: int = 1
    hybrid: tuple[HybridFit, ...] = ()


@cache
def load_fitted() -> Fitted:
    """The shipped fits."""
    return Fitted.model_validate_json(FITTED.read_bytes())


def hybrid_fit(model: str, template_fingerprint: str) -> HybridFit | None:
    """The fit of this model with this rerank template; None if nobody has measured it."""
    fits = (f for f in load_fitted().hybrid if f.model == model and f.template_fingerprint == template_fingerprint)
    return next(fits, None)


def save_fit(fit: HybridFit) -> None:
    """Put a fit into the file, in place of an older one of the same model and template."""
    kept = [
        f for f in load_fitted().hybrid if (f.model, f.template_fingerprint) != (fit.model, fit.template_fingerprint)
    ]
    partial = FITTED.with_suffix(".partial")
    partial.write_text(Fitted(hybrid=(*kept, fit)).model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(FITTED)
