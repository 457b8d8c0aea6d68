"""What every algorithm has: a learning rate, an optimiser, and the checks of its arguments."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..schedule.calendar import Calendar
from ..schedule.tasks import TaskGraph

OPTIMIZERS = ("sgd", "adam")


class Algorithm(ABC):
    """What every algorithm has: ``alpha``, the rate of weight updates, and ``optimizer``, ``"sgd"`` or ``"adam"``
    (Kingma and Ba, arXiv:1412.6980). ``name`` is for files and commands, ``title`` for people."""

    name: ClassVar[str]
    title: ClassVar[str]
    alpha: float
    optimizer: str
    __dataclass_fields__: ClassVar[dict[str, Any]]  # every algorithm is a frozen dataclass

    @abstractmethod
    def tasks(self, depth: int, steps: int = 8) -> TaskGraph:
        """The task graph of ``steps`` complete weight updates of a net of that depth."""

    def _check(self, optimizer: str, **positive: float) -> None:
        for key, value in {"alpha": self.alpha, **positive}.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise InputError(f"{key} must be a finite number above 0, not {value!r}")
        if optimizer not in OPTIMIZERS:
            raise InputError(f"optimizer {optimizer!r} is unknown: choose from {', '.join(OPTIMIZERS)}")


class PredictiveCoding(Algorithm):
    """PC in one of its calendars: ``gamma`` is the rate of value updates, ``precision`` weighs the output's error."""

    @property
    @abstractmethod
    def gamma(self) -> float:
        """Rate of the value updates."""

    @property
    @abstractmethod
    def precision(self) -> float:
        """Weight of the output layer's error; the hidden layers' is 1."""

    @abstractmethod
    def calendar(self, depth: int, steps_per_batch: int | None = None) -> Calendar:
        """When values and weights of a net of that depth change."""


def whole(name: str, value: object) -> int:
    """``value`` if it is a whole number of at least 1; else InputError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
    return int(value)
