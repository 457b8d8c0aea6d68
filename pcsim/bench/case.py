"""One cell of a comparison: the net and the data that every contender gets, on whichever engine or library."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..net.network import Network


@dataclass(frozen=True)
class Case:
    """A net of ``depth`` weight matrices, all ``width`` wide, and a batch of random data."""

    depth: int
    width: int
    batch: int = 1
    dtype: str = "float32"
    activation: str = "tanh"
    seed: int = 0

    @lru_cache(maxsize=1)  # noqa: B019 - a cell's engines are built one after another, and cells are small
    def problem(self, lazy: bool = False) -> tuple[Network, np.ndarray, np.ndarray]:
        """The net, and ``x`` and ``y``, both (batch, width): the same in every process, and if the net is ``lazy``. The
        last ones are kept; nobody may write to them."""
        sizes = [self.width] * (self.depth + 1)
        net = Network.mlp(sizes, self.activation, seed=self.seed, dtype=self.dtype, lazy=lazy)
        rng = np.random.default_rng(self.seed + 1)
        x, y = (rng.normal(size=(self.batch, self.width)).astype(self.dtype) for _ in range(2))
        return net, x, y
