"""Plan, task and result of a training: what `train` reads and produces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from pydantic import Field

from retrieval.adapt.lora import LoraModel
from retrieval.settings import Section

if TYPE_CHECKING:
    import torch

LOG: Final = "log.jsonl"
CURVE: Final = "curve.svg"


class TrainingPlan(Section):
    """Length and speed of a training."""

    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps at most; None: as many as `epochs` take."""
    epochs: int = Field(default=1, ge=1)
    accumulation: int = Field(default=8, ge=1)
    """Batches whose gradients make one step."""
    learning_rate: float = Field(default=5e-4, gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(default=0.01, ge=0)
    validations: int = Field(default=10, ge=1)
    """Number of validations, spread evenly over the steps."""
    patience: int = Field(default=4, ge=1)
    """Training stops after so many validations without a better one."""
    minutes: float | None = Field(default=None, gt=0)
    """Training ends after so many, validations included, however many steps are left; loading does not count."""
    checkpoint_s: float = Field(default=180, ge=0)
    """Seconds between checkpoints. Every validation writes one, too."""
    seed: int = 0


M_contra = TypeVar("M_contra", bound=LoraModel, contravariant=True)
B = TypeVar("B")


class Task(Protocol[M_contra, B]):
    """What is learnt. A batch follows from seed, epoch and index alone, so that a resumed run sees the same ones."""

    metric: str
    """The figure of `validate` that is maximised."""

    def __len__(self) -> int:
        """Batches in an epoch."""

    def batch(self, epoch: int, index: int) -> B:
        """The `index`-th batch of an epoch."""

    def loss(self, model: M_contra, batches: Sequence[B]) -> tuple[torch.Tensor, int]:
        """Mean loss of some batches in nats, and their number of tokens."""

    def validate(self, model: M_contra) -> dict[str, float]:
        """Figures on held-out users or texts; called without gradients."""


@dataclass(frozen=True)
class TrainingProgress:
    """Reported after every step.

    Attributes:
        step, planned: steps taken, and how many there are at most.
        loss: of this step, in nats.
        speed: tokens a second, on average.
        left: seconds at most.
    """

    step: int
    planned: int
    loss: float
    speed: float
    left: float


ReportProgress = Callable[[TrainingProgress], None]


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        step: optimizer steps taken.
        seconds: of training and validations.
        tokens: learnt from.
        before, best: validation before the first step, and at `best_step`.
    """

    step: int
    seconds: float
    tokens: int
    before: dict[str, float]
    best: dict[str, float]
    best_step: int
