"""Losses: the error and the energy of the output. They know neither layers nor algorithms."""

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Squared:
    """``1/2 * sum((mu - y)**2)``, a sum over batch and units; hidden layers' errors have the same energy.

    >>> Squared().loss(np.array([[1.0, 2.0]]), np.array([[1.0, 5.0]]))
    4.5
    """

    def error(self, mu: Array, y: Array) -> Array:
        """``e`` of the prediction ``mu`` of the target ``y``, each (B, n): minus the gradient of the loss by ``mu``."""
        return y - mu

    def energy(self, e: Array, precision: float = 1.0) -> float:
        """``1/2 * precision * sum(e**2)``, added up in float64."""
        return 0.5 * precision * float(np.sum(e.astype(np.float64) ** 2))

    def loss(self, mu: Array, y: Array) -> float:
        """The loss of a prediction; infinite or NaN, without a warning, where a net has diverged."""
        with np.errstate(all="ignore"):
            return self.energy(self.error(mu, y))
