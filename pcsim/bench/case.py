"""One cell of a comparison: the net and the data that every contender gets, on whichever engine or library."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InputError
from ..net.named import NAMES, Outline, is_named, named, outline
from ..net.network import Network
from ..schedule.sizes import LayerSizes
from ..schedule.waves import read_caches
from .data import rows_of

CACHES = 4  # times the last cache: a data set of which no more than a quarter can be at hand


@dataclass(frozen=True)
class Case:
    """A net of ``depth`` weight matrices, all ``width`` wide unless ``net`` names it, by its sizes (``"784-64-64-10"``)
    or as ``pcsim.net.named`` knows it (``"vgg5@32x32x3"``; width is then the widest), and batches of ``data``
    (``bench/data.py``).

    ``steps_per_batch``: None where the batch never changes, else how many updates iPC stays on each, which begin with a
    ``start``; PC, Z-IL and BP then take a new batch for every update. Changing batches are drawn, in an order of rows
    shuffled anew each time they run out, from data of four times the last cache.
    """

    depth: int
    width: int
    batch: int = 1
    dtype: str = "float32"
    activation: str = "tanh"
    seed: int = 0
    net: str | None = None
    steps_per_batch: int | None = None
    start: str = "forward"
    data: str = "random"

    @classmethod
    def of_net(cls, name: str, batch: int = 1, **common: Any) -> "Case":
        """The cell of a named net, or of one of these sizes, which is one of a depth and width where all layers are
        alike."""
        sizes = sizes_of(name)
        if is_named(name):
            return cls(len(sizes) - 1, max(sizes), batch, net=name, **common)
        alike = len(set(sizes)) == 1
        return cls(len(sizes) - 1, max(sizes), batch, net=None if alike else "-".join(map(str, sizes)), **common)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of all layers, input and output included: n[0] … n[L]."""
        return sizes_of(self.net) if self.net else (self.width,) * (self.depth + 1)

    @property
    def outline(self) -> Outline | None:
        """Of a named net."""
        return outline(self.net) if self.net and is_named(self.net) else None

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each layer's weights."""
        dense = tuple((above, below) for below, above in zip(self.sizes, self.sizes[1:], strict=False))
        return self.outline.shapes if self.outline else dense

    @property
    def multiplications(self) -> tuple[int, ...]:
        """Of one product of each layer, for a sample."""
        return self.outline.multiplications if self.outline else tuple(m * n for m, n in self.shapes)

    @property
    def layer_sizes(self) -> LayerSizes:
        """Of all layers, for counts; heads and feedback have as many rows as the output."""
        forms = self.outline.forms if self.outline else ()
        positions = tuple(form.positions if form else 1 for form in forms) or (1,) * self.depth
        return LayerSizes(self.sizes, self.shapes, positions, self.sizes[-1])

    @property
    def convolves(self) -> bool:
        """Whether any layer is a convolution."""
        return self.outline is not None and any(self.outline.forms)

    @property
    def weights(self) -> int:
        """How many weights the net has."""
        return sum(m * n for m, n in self.shapes)

    @property
    def name(self) -> str:
        """The cell in words."""
        net = self.net or f"depth {self.depth}, width {self.width}"
        words = [net, f"batch {self.batch}", *([self.data] if self.data != "random" else [])]
        if self.steps_per_batch:
            words.append(f"a new one every {self.steps_per_batch} steps")
        return ", ".join([*words, *(["pipelined start"] if self.start == "pipelined" else [])])

    @property
    def data_rows(self) -> int:
        """Rows of the data: a batch if it never changes."""
        if self.steps_per_batch is None:
            return self.batch
        row = (self.sizes[0] + self.sizes[-1]) * np.dtype(self.dtype).itemsize
        return self.batch * max(2, -(-CACHES * read_caches().last // (row * self.batch)))

    @property
    def data_bytes(self) -> int:
        """Bytes of the data."""
        return self.data_rows * (self.sizes[0] + self.sizes[-1]) * np.dtype(self.dtype).itemsize

    @lru_cache(maxsize=1)  # noqa: B019 - a cell's engines are built one after another, and cells are small
    def problem(self, lazy: bool = False) -> tuple[Network, np.ndarray, np.ndarray]:
        """The net, and ``x`` and ``y``, (rows, n[0]) and (rows, n[L]): the same in every process, and if the net is
        ``lazy``. The last ones are kept; nobody may write to them."""
        if self.net and self.outline:
            net = named(self.net, self.activation, seed=self.seed, dtype=self.dtype)
        else:
            net = Network.mlp(list(self.sizes), self.activation, seed=self.seed, dtype=self.dtype, lazy=lazy)
        sizes = self.sizes[0], self.sizes[-1]
        return net, *rows_of(self.data, *sizes, self.data_rows, self.batch, self.dtype, self.seed + 1)

    def batches(self) -> Callable[[], np.ndarray]:
        """What gives the rows of the next batch, from the first on."""
        rows, batch = self.data_rows, self.batch
        if rows == batch:
            every = np.arange(batch)
            return lambda: every
        rng = np.random.default_rng(self.seed + 3)
        left: list[np.ndarray] = []

        def following() -> np.ndarray:
            if not left:
                left.extend(rng.permutation(rows).reshape(-1, batch))
            return left.pop()

        return following

    def table_of_batches(self) -> np.ndarray | None:
        """The rows of the batches of a pass over the data, (batches, B), which peers take again and again; None where
        the batch never changes."""
        if self.steps_per_batch is None:
            return None
        following = self.batches()
        return np.stack([following() for _ in range(self.data_rows // self.batch)])


def sizes_of(name: str) -> tuple[int, ...]:
    """The sizes that the name of a net says; InputError where it does not."""
    if is_named(name):
        return outline(name).sizes
    words = name.split("-")
    if len(words) < 2 or not all(word.isascii() and word.isdecimal() and 0 < int(word) < 1 << 31 for word in words):
        raise InputError(
            f"a net is named by the units of its layers, as in 784-64-64-10, or is one of {', '.join(NAMES)} (with an "
            f"image, as in vgg5@32x32x3), not {name!r}"
        )
    return tuple(map(int, words))
