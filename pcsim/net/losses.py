"""Losses: the error and the energy of the output. They know neither layers nor algorithms."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import shown
from ..errors import InputError

Array = np.ndarray


@dataclass(frozen=True)
class Squared:
    """``1/2 * sum((mu - y)**2)``, a sum over batch and units; hidden layers' errors have the same energy.

    >>> Squared().loss(np.array([[1.0, 2.0]]), np.array([[1.0, 5.0]]))
    4.5
    """

    name: ClassVar[str] = "squared"

    def error(self, mu: Array, y: Array) -> Array:
        """``e`` of the prediction ``mu`` of the target ``y``, each (B, n): minus the gradient of the loss by ``mu``."""
        return y - mu

    def energy(self, e: Array, precision: float = 1.0) -> float:
        """``1/2 * precision * sum(e**2)``, added up in float64."""
        return 0.5 * precision * float(np.sum(e.astype(np.float64) ** 2))

    def loss(self, mu: Array, y: Array, precision: float = 1.0) -> float:
        """The loss of a prediction; infinite or NaN, without a warning, where a net has diverged."""
        with np.errstate(all="ignore"):
            return self.energy(self.error(mu, y), precision)

    def check_targets(self, y: Array) -> None:
        """Any targets will do."""


@dataclass(frozen=True)
class CrossEntropy:
    """``-sum(y * log softmax(mu))``, a sum over the batch, of targets that are shares of a whole.

    >>> round(CrossEntropy().loss(np.array([[0.0, np.log(3)]]), np.array([[0.0, 1.0]])), 6)
    0.287682
    >>> CrossEntropy().error(np.array([[0.0, np.log(3)]]), np.array([[0.0, 1.0]]))
    array([[-0.25,  0.25]])
    """

    name: ClassVar[str] = "cross-entropy"

    def error(self, mu: Array, y: Array) -> Array:
        """``y - softmax(mu)``, minus the gradient of the loss by ``mu``, each (B, n)."""
        with np.errstate(all="ignore"):
            raised = np.exp(mu - mu.max(1, keepdims=True))
            return y - raised / raised.sum(1, keepdims=True)

    def loss(self, mu: Array, y: Array, precision: float = 1.0) -> float:
        """The loss of a prediction, in float64; infinite or NaN where a net has diverged."""
        with np.errstate(all="ignore"):
            wide = mu.astype(np.float64)
            largest = wide.max(1, keepdims=True)
            logs = wide - largest - np.log(np.exp(wide - largest).sum(1, keepdims=True))
            return -precision * float(np.sum(y * logs))

    def check_targets(self, y: Array) -> None:
        """InputError for targets that are no shares: of at least 0, and 1 together."""
        if (y < 0).any() or not np.allclose(y.sum(1), 1, atol=1e-3):
            raise InputError("the cross-entropy takes targets that are shares: numbers of at least 0, 1 in each row")


Loss = Squared | CrossEntropy

LOSSES: dict[str, type[Squared] | type[CrossEntropy]] = {loss.name: loss for loss in (Squared, CrossEntropy)}


def checked_loss(loss: Any) -> Loss:
    """A loss, or the one of that name; else InputError."""
    if isinstance(loss, Squared | CrossEntropy):
        return loss
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]()
    raise InputError(f"loss must be one of {', '.join(LOSSES)}, not {shown(loss)}")
