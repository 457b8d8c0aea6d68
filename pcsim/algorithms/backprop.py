"""Backprop, the algorithm that predictive coding is measured against."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from ..schedule.calendar import Calendar, Stage
from .common import Algorithm

BP_EXECUTIONS = ("serial", "intra-layer", "blas", "pipeline", "data-parallel")  # how BP can share its work


@dataclass(frozen=True)
class BP(Algorithm):
    """Gradient descent on ``1/2 * sum((mu[L] - y)**2)`` of the forward pass: a sum over the batch, as PC's energy."""

    name: ClassVar[str] = "bp"
    title: ClassVar[str] = "BP"
    alpha: float = 1e-4
    optimizer: str = "sgd"
    _: KW_ONLY
    momentum: float = 0.9
    weight_decay: float = 0.0

    def calendar(self, depth: int, steps_per_batch: int | None = None) -> Calendar:
        """The calendar of a net of that depth."""
        return Calendar((Stage(move=False, update=tuple(range(depth)), completes=True),), chained=True)
