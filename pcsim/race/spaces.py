"""Search spaces: knobs with declared ranges, and the settings that a trial draws from them."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, drawn evenly on their logarithm, or as they are; ``whole`` ones are rounded."""

    low: float
    high: float
    log: bool = True
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise InputError(f"a range goes from a number to a larger one, not from {self.low:g} to {self.high:g}")

    def at(self, share: float) -> float:
        """The number below which ``share`` of the range lies."""
        evenly = self.low + share * (self.high - self.low)
        found = self.low * (self.high / self.low) ** share if self.log else evenly
        return round(found) if self.whole else float(f"{found:.3g}")

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """The value that stands at ``share`` of the list."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


Knob = Range | Choice


def draws(space: Mapping[str, Knob], count: int, seed: int) -> list[dict[str, Any]]:
    """The settings of ``count`` trials: points of a scrambled Sobol sequence (Owen 1998), of which more trials are a
    continuation. A space without knobs has one.

    >>> draws({"alpha": Range(1e-4, 1e-2)}, 3, seed=0)[:2] == draws({"alpha": Range(1e-4, 1e-2)}, 2, seed=0)
    True
    """
    if not space:
        return [{}]
    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a number of points is no power of two
        points = qmc.Sobol(len(space), scramble=True, seed=seed).random(count)
    return [{name: knob.at(float(u)) for (name, knob), u in zip(space.items(), point, strict=True)} for point in points]
