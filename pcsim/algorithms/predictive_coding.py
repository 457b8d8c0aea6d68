"""PC, Z-IL and iPC: one dynamics, three calendars of weight updates (Fig. 1b of Salvatori et al. 2022).

A cycle begins with the clamped net's forward pass; at each step t the errors are computed from values and weights,
and from those three the next values and, where the calendar says so, the next weights. What the calendars decide:

=======  =============================  ==============================  =========================
         steps of a cycle               value update at                 update of W[l] at
=======  =============================  ==============================  =========================
iPC      for ever, or steps_per_batch   every step                      every step
PC       T + 1                          t < T                           t = T
Z-IL     L (PC with T = L-1, gamma 1)   t < L - 1                       t = L - 1 - l
=======  =============================  ==============================  =========================
"""

from dataclasses import dataclass
from typing import ClassVar

from ..tasks import TaskGraph, incremental, predictive_coding, zero_divergence
from .common import Algorithm, check_steps


@dataclass(frozen=True)
class PredictiveCoding(Algorithm):
    """What the three have in common: ``gamma``, the rate of value updates, and the output layer's ``precision``."""

    gamma: float = 0.5
    precision: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("gamma", "precision")

    def cycle(self, depth: int, steps_per_batch: int | None = None) -> int | None:
        """Steps from one forward start to the next; None: there is no next one."""
        raise NotImplementedError

    def updates_per_cycle(self, depth: int, steps_per_batch: int | None = None) -> int | None:
        """Complete weight updates in a cycle; None: as many as one likes."""
        return 1

    def updates_values(self, t: int, depth: int) -> bool:
        """Does step t of a cycle update the hidden values?"""
        raise NotImplementedError

    def updates_weights(self, t: int, l: int, depth: int) -> bool:
        """Does step t of a cycle update ``W[l]``?"""
        raise NotImplementedError
