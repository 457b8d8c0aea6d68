"""How the weights of a net begin, and the factors beside them: parameterisations."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from ..errors import InputError
from .given import check_seed, checked_dtype, checked_truth

Array = np.ndarray

PARAMETERISATIONS = ("sp", "ntp", "mupc")
STARTS = ("uniform", "kaiming", "orthogonal")


@dataclass(frozen=True)
class How:
    """How a net is drawn: with biases or without, from which seed, in which dtype, parameterisation and start (None:
    what is usual there)."""

    bias: bool
    seed: int
    dtype: DTypeLike
    parameterisation: str
    start: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", checked_truth("bias", self.bias))
        object.__setattr__(self, "seed", check_seed(self.seed))
        object.__setattr__(self, "dtype", checked_dtype(self.dtype))
        if self.parameterisation not in PARAMETERISATIONS:
            raise InputError(
                f"parameterisation {self.parameterisation!r} is unknown: choose from {', '.join(PARAMETERISATIONS)}"
            )
        if self.start is not None and self.start not in STARTS:
            raise InputError(f"start {self.start!r} is unknown: choose from {', '.join(STARTS)}")
        if self.parameterisation != "sp" and self.start is not None:
            raise InputError(f"{self.parameterisation} begins with normal weights of variance 1: leave start out")

    @property
    def weights(self) -> str:
        """How weights are drawn."""
        return "normal" if self.parameterisation != "sp" else self.start or "uniform"

    def scales(self, shapes: Sequence[tuple[int, int]], skips: Sequence[bool], given: Sequence[float]) -> list[float]:
        """The factors of layers whose weights have those shapes; of the standard parameterisation those given."""
        if self.parameterisation == "sp":
            return list(given)
        if len(given):
            raise InputError(f"{self.parameterisation} sets the scale of every layer: leave scale out")
        return _scales(self.parameterisation, [columns for _, columns in shapes], any(skips))


def _scales(parameterisation: str, inputs: Sequence[int], skips: bool) -> list[float]:
    """The factors of layers that have so many inputs (kernels: those of a patch).

    - ``ntp`` (neural tangent; Jacot et al., arXiv:1806.07572): ``1 / sqrt(inputs)``
    - ``mupc`` (Depth-muP for predictive coding; Innocenti et al., arXiv:2505.13124): ``1 / sqrt(inputs)`` of the first
      layer, ``1 / sqrt(inputs * L)`` inside where there are ``skips``, else ``1 / sqrt(inputs)``, and ``1 / inputs`` of
      the last
    """
    L = len(inputs)
    found = [1 / math.sqrt(n) for n in inputs]
    if parameterisation == "mupc" and L > 1:
        found[1:-1] = [factor / math.sqrt(L) if skips else factor for factor in found[1:-1]]
        found[-1] = 1 / inputs[-1]
    return found


class Draw:
    """The weights and biases of layers of such shapes, each layer drawn whenever it is asked for."""

    def __init__(self, shapes: Sequence[tuple[int, int]], how: How) -> None:
        self.shapes, self.how = shapes, how
        # One generator draws layer after layer, each its weights and then its biases, one step a uniform number: a
        # layer begins after as many steps as the earlier ones have numbers.
        numbers = (rows * (columns + how.bias) for rows, columns in shapes)
        self.steps = list(itertools.accumulate(numbers, initial=0))

    def _uniform(self, l: int, after: int, shape: tuple[int, ...]) -> Array:
        rng = np.random.default_rng(np.random.PCG64(self.how.seed).advance(self.steps[l] + after))
        bound = 1 / np.sqrt(self.shapes[l][1])
        return rng.uniform(-bound, bound, shape)

    def weights(self, l: int) -> Array:
        """``W[l]``."""
        how = self.how
        drawn = self._uniform(l, 0, self.shapes[l]) if how.weights == "uniform" else _weights(how, self.shapes[l], l)
        return drawn.astype(how.dtype, copy=False)

    def biases(self, l: int) -> Array:
        """``b[l]``, which are 0 where weights are not uniform."""
        rows, columns = self.shapes[l]
        drawn = self._uniform(l, rows * columns, (rows,)) if self.how.weights == "uniform" else np.zeros(rows)
        return drawn.astype(self.how.dtype, copy=False)


def _weights(how: How, shape: tuple[int, int], l: int) -> Array:
    """A layer's weights in float64, from a stream of the layer's own:

    - ``normal``: of variance 1
    - ``kaiming``: normal, of variance 2 ÷ inputs (He et al., arXiv:1502.01852)
    - ``orthogonal``: orthonormal rows, or columns where there are fewer of these (Saxe et al., arXiv:1312.6120)
    """
    rng = np.random.default_rng([how.seed, l])
    if how.weights == "orthogonal":
        q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
        return np.ascontiguousarray(q if shape[0] >= shape[1] else q.T)
    drawn = rng.standard_normal(shape)
    return drawn * math.sqrt(2 / shape[1]) if how.weights == "kaiming" else drawn
