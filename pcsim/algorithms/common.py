"""What every algorithm has: a learning rate, an optimiser, and the checks of its arguments."""

import math
from dataclasses import dataclass
from typing import ClassVar

from ..errors import InputError

OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Calendar:
    """When, within a cycle that begins with a forward pass, values and weights change.

    steps: length of the cycle, None for one that never ends; value_steps: values are updated at t < value_steps
    (None: always); update_at: for each W[l] the step of its update, None for every step; updates: complete weight
    updates in a cycle, None for no end.
    """

    steps: int | None
    value_steps: int | None
    update_at: tuple[int | None, ...]
    updates: int | None


@dataclass(frozen=True)
class Algorithm:
    """``alpha``: rate of weight updates; ``optimizer``: ``"sgd"`` or ``"adam"`` (Kingma and Ba, arXiv:1412.6980)."""

    name: ClassVar[str]
    title: ClassVar[str]
    alpha: float = 1e-4

    def _check(self, optimizer: str, **positive: float) -> None:
        for key, value in {"alpha": self.alpha, **positive}.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise InputError(f"{key} must be a finite number above 0, not {value!r}")
        if optimizer not in OPTIMIZERS:
            raise InputError(f"optimizer {optimizer!r} is unknown: choose from {', '.join(OPTIMIZERS)}")


def whole(name: str, value: object) -> int:
    """``value`` if it is a whole number of at least 1; else InputError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value
