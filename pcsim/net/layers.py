"""Layers: shapes, activation, scale, skip, arrays, and in NumPy the three operations of which all training is made.

``predict``, ``pull_back`` and ``gradient`` are the oracle's, each of them one equation, and everything fast is held
against them. A layer knows neither its place in a net, nor algorithms, nor engines. ``x`` are the values of the layer
below, ``e`` the errors of the layer above times their precision, ``f`` is the activation.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .activations import ACTIVATIONS

Array = np.ndarray


class Product(NamedTuple):
    """A matrix product of a layer: ``rows`` sums for each sample, of ``columns`` terms each; of a gradient, which sums
    over the samples, a matrix (rows, columns) to which each sample adds one term everywhere. ``times``: how often for
    each sample, which is at each position of an image."""

    rows: int
    columns: int
    times: int = 1

    @property
    def flop(self) -> int:
        """Additions and multiplications for each sample."""
        return 2 * self.rows * self.columns * self.times


@dataclass(frozen=True, eq=False)
class Dense:
    """A fully connected layer, ``mu = scale * f(x) @ W.T + b (+ x)``, from ``inputs`` units, n, to ``outputs``, m.

    make_weights, make_bias: give ``W``, (m, n), and ``b``, (m,), whenever they are asked for (no ``make_bias``: no
    bias); activation: the name of f in ``ACTIVATIONS``, which is applied to the values below; skip: whether the layer
    adds its input, for which n = m.

    >>> layer = Dense(2, 1, lambda: np.array([[1.0, 2.0]]), activation="relu", scale=0.5)
    >>> x, e = np.array([[3.0, -4.0]]), np.array([[2.0]])
    >>> layer.predict(x), layer.pull_back(x, e), layer.gradient(x, e)[0]
    (array([[1.5]]), array([[1., 0.]]), array([[3., 0.]]))
    """

    inputs: int
    outputs: int
    make_weights: Callable[[], Array] = field(repr=False)
    make_bias: Callable[[], Array] | None = field(default=None, repr=False)
    activation: str = "identity"
    scale: float = 1.0
    skip: bool = False

    @property
    def weights(self) -> Array:
        """``W``, (m, n)."""
        return self.make_weights()

    @property
    def bias(self) -> Array | None:
        """``b``, (m,), or None."""
        return None if self.make_bias is None else self.make_bias()

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Of ``W``; none of it is made."""
        return self.outputs, self.inputs

    @property
    def products(self) -> dict[str, Product]:
        """The shapes of its matrix products, by the name of the operation."""
        m, n = self.outputs, self.inputs
        return {"predict": Product(m, n), "pull_back": Product(n, m), "gradient": Product(m, n)}

    def f(self, x: Array) -> Array:
        """``f(x)``, elementwise."""
        return ACTIVATIONS[self.activation][0](x)

    def slope(self, x: Array) -> Array:
        """``f'(x)``, elementwise."""
        return ACTIVATIONS[self.activation][1](x)

    def predict(self, x: Array) -> Array:
        """``mu``, (B, m), of the layer above from the values ``x``, (B, n), in the dtype of the weights."""
        weights, bias = self.weights, self.bias
        mu = self.scale * self.f(x) @ weights.T
        if bias is not None:
            mu = mu + bias
        return (mu + x if self.skip else mu).astype(weights.dtype, copy=False)

    def pull_back(self, x: Array, e: Array) -> Array:
        """What drives the values ``x``, (B, n), from the errors above, ``e``, (B, m): minus the gradient by x of
        ``1/2 * sum(e**2)``. It may be of a wider dtype than the weights."""
        back = self.slope(x) * self.scale * (e @ self.weights)
        return back + e if self.skip else back

    def gradient(self, x: Array, e: Array) -> tuple[Array, Array | None]:
        """The directions in which ``W``, (m, n), and ``b``, (m,), ascend (None without a bias): minus the gradients of
        ``1/2 * sum(e**2)``, summed over the batch."""
        return e.T @ (self.scale * self.f(x)), None if self.make_bias is None else e.sum(0)
