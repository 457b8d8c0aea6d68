"""The oracle of dual propagation (Høier, Staudt and Zach, arXiv:2302.01228): half sweeps, as ``DualProp`` says them."""

import numpy as np

from ..algorithms.dual import DualProp
from ..net.network import Network
from ..schedule.calendar import Stage
from .limits import check_pull, check_skips
from .numpy_streams import said

Array = np.ndarray


class Dual:
    """The two values of every layer on one batch.

    ``mean[l]``: the activation that layer l shows to the one above, ``a f(x⁺) + (1-a) f(x⁻)``; ``difference[l]``: what
    it shows to the one below, ``f(x⁺) - f(x⁻)``; ``back[l]``: what the layer above has sent to it. f_0 is the identity.
    """

    def __init__(self, net: Network, algorithm: DualProp) -> None:
        check_skips(algorithm, net.skip)
        check_pull(algorithm, net.dtype)
        self.net, self.algorithm = net, algorithm
        self.mean: list[Array] = []
        self.difference: list[Array] = []
        self.back: list[Array] = []

    def begin(self, x: Array, y: Array) -> None:
        """A forward pass: both values of each layer are alike, and nothing comes down yet."""
        self.values, self.y = self.net.forward(x), y
        self.mean = [layer.f(v) for layer, v in zip(self.net.layers, self.values[:-1], strict=True)]
        self.difference = [np.zeros_like(v) for v in self.values]
        self.back = [np.zeros_like(v) for v in self.values]

    def half_sweep(self, stage: Stage) -> tuple[dict[int, tuple[Array, Array | None]], float | None]:
        """Layers of the stage's parity move; the ascents of the weights that update, with their biases', and the loss
        of the output where it moved."""
        net, beta, a, L = self.net, self.algorithm.beta, self.algorithm.a, self.net.depth
        moved = [k for k in range(1, L + 1) if k % 2 == stage.parity]
        loss = None
        resting = self.mean  # of the layers below, none of which moves
        mean, difference, back = list(self.mean), list(self.difference), list(self.back)
        for k in moved:
            ff = self._predict(k - 1, resting[k - 1])
            if k == L:
                e = net.loss.error(ff, self.y)
                loss = net.loss.loss(ff, self.y)
                self.values[L], difference[L] = said(net, ff, self.y, e), beta * e
            else:
                f = net.layers[k].f
                raised, lowered = ff + (1 - a) * self.back[k], ff - a * self.back[k]
                self.values[k] = a * raised + (1 - a) * lowered
                mean[k] = a * f(raised) + (1 - a) * f(lowered)
                difference[k] = f(raised) - f(lowered)
            if k > 1:  # with the weights that have just predicted
                back[k - 1] = net.layers[k - 1].scale * (difference[k] @ net.layers[k - 1].weights)
        self.mean, self.difference, self.back = mean, difference, back
        ascents = {}
        for l in stage.update:
            e = self.difference[l + 1] / beta
            bias = None if net.biases is None else e.sum(0)
            ascents[l] = (net.layers[l].scale * (e.T @ self.mean[l]), bias)
        return ascents, loss

    def _predict(self, l: int, mean: Array) -> Array:
        layer = self.net.layers[l]
        ff = layer.scale * (mean @ layer.weights.T)
        return ff if layer.bias is None else ff + layer.bias

    def state(self) -> list[Array]:
        """What is kept on a batch: the mean activations, differences and what was sent back, layer by layer."""
        return [part.copy() for part in (*self.mean, *self.difference, *self.back)]

    def restore(self, state: list[Array], values: list[Array], y: Array) -> None:
        """Go on from there."""
        L = self.net.depth
        parts = [part.copy() for part in state]
        self.mean, self.difference, self.back = parts[:L], parts[L : 2 * L + 1], parts[2 * L + 1 :]
        self.values, self.y = [v.copy() for v in values], y
