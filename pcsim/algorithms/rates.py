"""Rates that change: of weight updates over a training, of value updates and precision over the steps of a batch."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import is_number, positive_number, shown, whole_number
from ..errors import InputError

SCHEDULES = ("constant", "cosine")

Rate = float | tuple[float, ...]


def per_step(rate: Rate) -> tuple[float, ...]:
    """A rate as one number for each step of a batch, of which the last serves all further steps."""
    return rate if isinstance(rate, tuple) else (rate,)


def at_step(rate: Rate, t: int) -> float:
    """The rate at step t of a batch."""
    steps = per_step(rate)
    return steps[min(t, len(steps) - 1)]


def checked_rate(name: str, rate: Any, several: bool) -> Rate:
    """A number above 0, or where there may be ``several``, a tuple of one or more; else InputError."""
    if not isinstance(rate, tuple) or not several:
        return positive_number(name, rate)
    if not rate:
        raise InputError(f"{name} must be a number above 0, or one for each step of a batch, not an empty tuple")
    return tuple(positive_number(f"{name}[{t}]", value) for t, value in enumerate(rate))


def rising(first: float, last: float, steps: int) -> tuple[float, ...]:
    """A rate for each of so many steps, from ``first`` to ``last`` by equal factors.

    >>> rising(0.25, 1.0, 3)
    (0.25, 0.5, 1.0)
    """
    first, last, steps = positive_number("first", first), positive_number("last", last), whole_number("steps", steps)
    return (*(first * (last / first) ** (t / (steps - 1)) for t in range(steps - 1)), float(last))


def for_batch(alpha: float, momentum: float, batch: int, new: int) -> tuple[float, float]:
    """``alpha`` and ``momentum`` for batches of ``new`` samples that were chosen for ``batch`` (the optimisers "sgd",
    "momentum" and "nesterov"): a gradient is forgotten after as many samples, and a sample moves the weights by as much
    in all. So a pipeline whose gradients are a number of updates late can take small batches, and be late by few
    samples.

    ``momentum ** (new / batch)``, and ``alpha`` times ``(1 - new momentum) / (1 - momentum)``: the rule by which Kosson
    et al. 2020 (arXiv:2003.11666; after Chiley et al., arXiv:1905.05894) train at a batch of one. There gradients are
    means over the batch, so that alpha is multiplied by ``new / batch`` too; here they are sums. InputError for what is
    no rate, momentum or batch.

    >>> [round(rate, 6) for rate in for_batch(0.1, 0.9, 128, 1)]
    [0.000823, 0.999177]
    """
    positive_number("alpha", alpha)
    if not is_number(momentum) or not 0 <= momentum < 1:
        raise InputError(f"momentum must be a finite number of at least 0 and below 1, not {shown(momentum)}")
    share = whole_number("new", new) / whole_number("batch", batch)
    kept = float(momentum) ** share
    return float(alpha) * (1 - kept) / (1 - momentum), kept


@dataclass(frozen=True)
class Schedule:
    """The factor of ``alpha`` at each weight update n = 0, 1, …

    During the first ``warmup`` updates it rises, ``(n + 1) / warmup``. Then it is 1 for ever ("constant"), or falls
    along half a cosine ("cosine"; Loshchilov and Hutter, arXiv:1608.03983, Eq. 5) until ``updates`` have been made, to
    ``floor``, where it stays.

    >>> Schedule("cosine", warmup=2, updates=6).factors(0, 7).round(3).tolist()
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """

    kind: str = "constant"
    warmup: int = 0
    updates: int = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise InputError(f"schedule {shown(self.kind)} is unknown: choose from {', '.join(SCHEDULES)}")
        object.__setattr__(self, "warmup", whole_number("warmup", self.warmup, 0))
        object.__setattr__(self, "updates", whole_number("updates", self.updates, 0))
        if not is_number(self.floor) or not 0 <= self.floor <= 1:
            raise InputError(f"floor must be a share of alpha from 0 to 1, not {shown(self.floor)}")
        object.__setattr__(self, "floor", float(self.floor))
        if self.kind == "cosine" and self.updates <= self.warmup:
            raise InputError(
                f"a cosine schedule needs more updates than the {self.warmup} of its warm-up, not {self.updates}"
            )

    @property
    def constant(self) -> bool:
        """Whether alpha never changes."""
        return self.kind == "constant" and not self.warmup

    def factors(self, first: int, count: int) -> np.ndarray:
        """The factors of ``count`` updates from number ``first`` on; one for all where they are alike."""
        if self.constant:
            return np.ones(1)
        n = np.arange(first, first + count)
        rising = (n + 1) / max(1, self.warmup)
        falling = np.ones(count)
        if self.kind == "cosine":
            share = np.minimum((n - self.warmup) / (self.updates - self.warmup), 1.0)
            falling = self.floor + (1 - self.floor) * 0.5 * (1 + np.cos(math.pi * share))
        return np.where(n < self.warmup, rising, falling)
