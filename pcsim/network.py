"""Nets: sizes, weights, activation, and how each layer predicts the next. It knows no algorithm and no engine.

Layers are numbered from the input: ``x[0]`` is the input, ``x[L]`` the output, and ``W[l]`` of shape
``(n[l+1], n[l])`` predicts ``x[l+1]`` from ``x[l]``, for l = 0 … L-1; L is the depth.
"""

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .errors import InputError
from .memory import require

Array = np.ndarray


def _sigmoid(x: Array) -> Array:
    from scipy.special import expit

    return expit(x)


def _normal(x: Array) -> tuple[Array, Array]:
    """The standard normal distribution function and density at x."""
    from scipy.special import ndtr

    return ndtr(x), np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)


def _gelu_slope(x: Array) -> Array:
    distribution, density = _normal(x)
    return distribution + x * density


# name: (f, f'); GELU is the exact one, x times the normal distribution function.
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "identity": (lambda x: x, np.ones_like),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(x.dtype)),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1.0, 0.01)),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "gelu": (lambda x: x * _normal(x)[0], _gelu_slope),
}


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron with ``mu[l+1] = scale[l] * f_l(x[l]) @ W[l].T + b[l] (+ x[l])``, f_0 the identity.

    weights: list of L arrays, ``(n[l+1], n[l])``, all float32 or all float64 (anything else is converted to float32).
    activation: a name in ``ACTIVATIONS``, used by every layer but the input.
    biases: list of L arrays ``(n[l+1],)``, or None for a net without biases.
    scale: L factors (default 1); skip: L truth values (default False), True where the layer adds its input, which
    then must be as wide as its output.

    Raises InputError if shapes do not fit, or if a number is not finite.

    >>> net = Network.mlp([784, 128, 128, 10], activation="tanh", seed=0)
    >>> net.depth, net.sizes, net.parameters
    (3, (784, 128, 128, 10), 118016)
    """

    weights: Sequence[Array]
    activation: str = "tanh"
    biases: Sequence[Array] | None = None
    scale: Sequence[float] = ()
    skip: Sequence[bool] = ()

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation {self.activation!r} is unknown: choose from {', '.join(ACTIVATIONS)}")
        if len(self.weights) == 0:
            raise InputError("a net needs at least one weight matrix")
        given = {as_array(f"weights[{l}]", w).dtype for l, w in enumerate(self.weights)}
        dtype = np.dtype(np.float64 if given == {np.dtype(np.float64)} else np.float32)
        weights = [_numbers(w, dtype, f"weights[{l}]", 2) for l, w in enumerate(self.weights)]
        for l, w in enumerate(weights):
            if 0 in w.shape:
                raise InputError(f"weights[{l}] has shape {w.shape}: every layer needs at least one unit")
            if l and w.shape[1] != weights[l - 1].shape[0]:
                raise InputError(
                    f"weights[{l}] has {w.shape[1]} columns, but weights[{l - 1}] has {weights[l - 1].shape[0]} rows"
                )
        depth = len(weights)
        scale = [float(s) for s in self.scale] if len(self.scale) else [1.0] * depth
        skip = [bool(s) for s in self.skip] if len(self.skip) else [False] * depth
        if len(scale) != depth or len(skip) != depth:
            raise InputError(f"scale and skip need one entry for each of the {depth} layers")
        if not np.all(np.isfinite(scale)):
            raise InputError("scale holds NaN or infinity")
        for l, w in enumerate(weights):
            if skip[l] and w.shape[0] != w.shape[1]:
                raise InputError(f"skip[{l}] needs as many outputs as inputs, but weights[{l}] has shape {w.shape}")
        biases = self.biases
        if biases is not None:
            if len(biases) != depth:
                raise InputError(f"biases need one entry for each of the {depth} layers")
            biases = [_numbers(b, dtype, f"biases[{l}]", 1) for l, b in enumerate(biases)]
            for l, (w, b) in enumerate(zip(weights, biases, strict=True)):
                if b.shape != w.shape[:1]:
                    raise InputError(f"biases[{l}] has shape {b.shape}, expected {w.shape[:1]}")
        for name, value in zip(("weights", "biases", "scale", "skip"), (weights, biases, scale, skip), strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def mlp(
        cls,
        sizes: Sequence[int],
        activation: str = "tanh",
        *,
        bias: bool = False,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        scale: Sequence[float] = (),
        skip: Sequence[bool] = (),
    ) -> "Network":
        """A random net: weights and biases uniform in ±1/sqrt(inputs of the layer), as ``torch.nn.Linear`` starts.

        sizes: units of every layer from the input, at least two. The same seed gives the same net in either dtype
        (float32 is the float64 net rounded).
        """
        sizes = list(sizes)
        if len(sizes) < 2:
            raise InputError(f"sizes {sizes} need at least an input and an output layer")
        for n in sizes:
            if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
                raise InputError(f"sizes {sizes}: every layer needs a whole number of units, at least 1")
        if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise InputError(f"dtype {np.dtype(dtype).name} is not supported: use float32 or float64")
        check_seed(seed)
        sizes = [int(n) for n in sizes]  # NumPy's own integers would overflow in the products
        require_weights(sizes, dtype)
        rng = np.random.default_rng(seed)
        weights, biases = [], []
        for columns, rows in itertools.pairwise(sizes):
            bound = 1 / np.sqrt(columns)
            weights.append(rng.uniform(-bound, bound, (rows, columns)).astype(dtype))
            if bias:
                biases.append(rng.uniform(-bound, bound, rows).astype(dtype))
        return cls(weights, activation, biases if bias else None, scale, skip)

    @property
    def depth(self) -> int:
        """L, the number of weight matrices."""
        return len(self.weights)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of every layer, from the input: L + 1 numbers."""
        return (self.weights[0].shape[1], *(w.shape[0] for w in self.weights))

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64: that of the weights, and of everything computed from them."""
        return self.weights[0].dtype

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(w.size for w in self.weights) + sum(b.size for b in self.biases or ())

    def f(self, l: int, x: Array) -> Array:
        """``f_l(x)``: the identity for the input, the activation for every other layer."""
        return x if l == 0 else ACTIVATIONS[self.activation][0](x)

    def f_slope(self, l: int, x: Array) -> Array:
        """``f_l'(x)``."""
        return np.ones_like(x) if l == 0 else ACTIVATIONS[self.activation][1](x)

    def predict(self, l: int, x: Array) -> Array:
        """``mu[l+1]``, (B, n[l+1]), the prediction that layer l with values x, (B, n[l]), makes of the next."""
        mu = self.scale[l] * self.f(l, x) @ self.weights[l].T
        if self.biases is not None:
            mu = mu + self.biases[l]
        return (mu + x if self.skip[l] else mu).astype(self.dtype, copy=False)

    def forward(self, x: ArrayLike) -> list[Array]:
        """Values of all layers in an ordinary forward pass from ``x``, (B, n[0]): a list of L + 1 arrays (B, n[l])."""
        values = [np.asarray(x, self.dtype)]
        for l in range(self.depth):
            values.append(self.predict(l, values[l]))
        return values

    def replace(self, weights: Sequence[Array], biases: Sequence[Array] | None) -> "Network":
        """The same net with other weights and biases of the same shapes, taken as they are (NaN after divergence)."""
        net = copy.copy(self)
        object.__setattr__(net, "weights", list(weights))
        object.__setattr__(net, "biases", None if biases is None else list(biases))
        return net


def as_array(name: str, value: ArrayLike) -> Array:
    """``value`` as an array; InputError where NumPy cannot make one of it."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} is no array of numbers: {error}") from None


def check_seed(seed: object) -> None:
    """Raise InputError unless ``seed`` is a whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed must be a whole number of at least 0, not {seed!r}")


def require_weights(sizes: Sequence[int], dtype: DTypeLike = np.float32) -> None:
    """Raise InputError if a net of those sizes cannot be made in this machine's memory."""
    counts = [m * n for n, m in itertools.pairwise(sizes)]
    # Each matrix is drawn in float64 before it is rounded.
    require(sum(counts) * np.dtype(dtype).itemsize + max(counts) * 8, f"a net of {sum(counts):,} weights")


def _numbers(value: ArrayLike, dtype: np.dtype, name: str, dimensions: int) -> Array:
    array = as_array(name, value)
    if array.dtype.kind not in "fiub" or array.ndim != dimensions:
        raise InputError(f"{name} must be a {dimensions}-dimensional array of real numbers")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        array = np.ascontiguousarray(array, dtype)
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} holds NaN or infinity (or a number too large for {dtype.name})")
    return array
