"""The oracle's optimisers, each line an equation: what ``kernels/layers/weights.py`` is held against.

``ascent`` is the step of steepest descent of one array of weights or biases, and what comes back is added to it.
"""

from typing import Any

import numpy as np

from ..algorithms import Algorithm, AsyncBP, Local
from ..net.network import Network

Array = np.ndarray


class Sgd:
    """Gradient descent; ``weight_decay`` is the L2 penalty ``weight_decay / 2 * W**2``."""

    def __init__(self, parameter: Array, algorithm: Algorithm) -> None:
        self.momentum, self.decay = algorithm.momentum, algorithm.weight_decay
        self.mean, self.square = np.zeros_like(parameter), np.zeros_like(parameter)

    def step(self, W: Array, ascent: Array, alpha: float, number: int) -> Array:
        """What update ``number`` (1 for the first) adds to W."""
        return alpha * (ascent - self.decay * W)


class Momentum(Sgd):
    """``torch.optim.SGD(momentum=…)``: Sutskever et al. 2013 with the rate outside the mean."""

    def step(self, W: Array, ascent: Array, alpha: float, number: int) -> Array:
        """What update ``number`` adds to W."""
        self.mean = self.momentum * self.mean + (ascent - self.decay * W)
        return alpha * self.mean


class Nesterov(Sgd):
    """``torch.optim.SGD(momentum=…, nesterov=True)``."""

    def step(self, W: Array, ascent: Array, alpha: float, number: int) -> Array:
        """What update ``number`` adds to W."""
        g = ascent - self.decay * W
        self.mean = self.momentum * self.mean + g
        return alpha * (g + self.momentum * self.mean)


class Compensated(Momentum):
    """Spike compensation: Kosson et al., arXiv:2003.11666, for gradients that come ``delay`` updates late."""

    delay = 0.0

    def step(self, W: Array, ascent: Array, alpha: float, number: int) -> Array:
        """What update ``number`` adds to W."""
        g, m = ascent - self.decay * W, self.momentum
        self.mean = m * self.mean + g
        return alpha * (m**self.delay * self.mean + (1 - m**self.delay) / (1 - m) * g)


class Adam(Sgd):
    """Kingma and Ba, arXiv:1412.6980, Algorithm 1, with beta_1 = ``momentum``."""

    def step(self, W: Array, ascent: Array, alpha: float, number: int) -> Array:
        """What update ``number`` adds to W."""
        return self._step(ascent - self.decay * W, alpha, number)

    def _step(self, g: Array, alpha: float, number: int) -> Array:
        self.mean = self.momentum * self.mean + (1 - self.momentum) * g
        self.square = 0.999 * self.square + 0.001 * g**2
        mean, square = self.mean / (1 - self.momentum**number), self.square / (1 - 0.999**number)
        return alpha * mean / (np.sqrt(square) + 1e-8)


class AdamW(Adam):
    """Loshchilov and Hutter, arXiv:1711.05101, Algorithm 2 with eta = 1: the decay takes no part in the moments."""

    def step(self, W: Array, ascent: Array, alpha: float, number: int) -> Array:
        """What update ``number`` adds to W."""
        return self._step(ascent, alpha, number) - alpha * self.decay * W


class NAdamW(AdamW):
    """Dozat 2016 (ICLR workshop), Algorithm 8, with a constant momentum, and AdamW's decay."""

    def _step(self, g: Array, alpha: float, number: int) -> Array:
        super()._step(g, alpha, number)
        m = self.momentum
        mean = m * self.mean / (1 - m ** (number + 1)) + (1 - m) * g / (1 - m**number)
        return alpha * mean / (np.sqrt(self.square / (1 - 0.999**number)) + 1e-8)


class Muon(Sgd):
    """K. Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"
    (kellerjordan.github.io/posts/muon), with Nesterov's momentum and AdamW's decay. A bias is a matrix of one column,
    and so becomes a vector of length 1."""

    def step(self, W: Array, ascent: Array, alpha: float, number: int) -> Array:
        """What update ``number`` adds to W."""
        self.mean = self.momentum * self.mean + ascent
        direction = ascent + self.momentum * self.mean
        scale = max(1.0, len(W) / (W.size / len(W))) ** 0.5
        return alpha * scale * orthogonalised(direction) - alpha * self.decay * W


def orthogonalised(d: Array) -> Array:
    """The matrix d with its singular values brought near 1, by five Newton-Schulz iterations; a vector by its length.
    What is all zero stays so."""
    X = d / (np.linalg.norm(d.astype(np.float64)).astype(d.dtype) or 1)
    if d.ndim == 1:
        return X
    X = X.T if len(X) > len(X.T) else X
    a, b, c = 3.4445, -4.7750, 2.0315
    for _ in range(5):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X.T if X.shape != d.shape else X


OPTIMIZERS: dict[str, Any] = {
    "sgd": Sgd, "momentum": Momentum, "nesterov": Nesterov, "adam": Adam, "adamw": AdamW, "nadamw": NAdamW,
    "muon": Muon,
}  # fmt: skip


def learnt(net: Network, algorithm: Algorithm) -> list[Array]:
    """Each layer's weights, then each one's biases, then heads, if it is by these that the layers learn."""
    heads = (net.heads or []) if isinstance(algorithm, Local) else []
    return [*net.weights, *(net.biases or []), *heads]


def optimizers_of(net: Network, algorithm: Algorithm) -> list[Any]:
    """One for each array that is learnt."""
    found = []
    for position, parameter in enumerate(learnt(net, algorithm)):
        if isinstance(algorithm, AsyncBP) and algorithm.spike_compensation:
            found.append(Compensated(parameter, algorithm))
            found[-1].delay = algorithm.delay(position % net.depth, net.depth)
        else:
            found.append(OPTIMIZERS[algorithm.optimizer](parameter, algorithm))
    return found
