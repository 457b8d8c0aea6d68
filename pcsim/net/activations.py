"""Activation functions and their slopes, in NumPy."""

from collections.abc import Callable

import numpy as np

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
