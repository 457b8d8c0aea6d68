"""Where values, heads and errors lie in an engine of local losses, and what its loop is given."""

from collections.abc import Sequence

import numpy as np

from ..algorithms import Local
from ..errors import InputError
from ..kernels.layers.weights import PLAIN
from ..kernels.machine.memory import side_by_side
from ..net.losses import CrossEntropy, checked_loss
from ..net.network import Network
from .layout import APART, LAYERS, Layout, begins, rule_of
from .loops.arguments import Arrays, Offsets, Options
from .loops.local import Heads

Array = np.ndarray

LONGEST_WAVE = 8  # batches of one sample for which a layer's weights are fetched once


class HeadedLayout(Layout):
    """A layout with a matrix (n[L], n[l+1]) beside each layer but the last: its head, or its feedback, transposed."""

    def _lay_out_weights(self, lengths: Array) -> None:
        super()._lay_out_weights(lengths)
        self.classes = int(self.wide[-1])
        here = np.arange(self.depth)
        heads = np.where((self.lo <= here) & (here < min(self.hi, self.depth - 1)), self.classes * self.wide[1:], 0)
        at = self._pages(self.parameter_count + self.gap) + begins(heads, self._edges(), self.page, self.gap)
        self.head_at, self.parameter_count = at[:-1], int(at[-1])
        self.largest = max(self.largest, self.classes * int(self.wide.max()))

    def matrices(self) -> list[tuple[int, int]]:
        """Those of the layers, then those beside them."""
        return super().matrices() + [(self.classes, columns) for columns in self.wide[1:-1].tolist()]

    def head_of(self, flat: Array, l: int) -> Array:
        """The head of layer l, (n[L], n[l+1]), in an array like the parameters: a view."""
        begin, columns = int(self.head_at[l]), int(self.wide[l + 1])
        whole = flat[begin : begin + self.classes * columns].reshape(self.classes, columns)
        return whole[: self.sizes[-1], : self.sizes[l + 1]]

    def fill_heads(self, flat: Array, heads: Sequence[Array], lo: int, hi: int) -> None:
        """Put heads of some layers into an array like the parameters."""
        for l in range(lo, min(hi, self.depth - 1)):
            self.head_of(flat, l)[...] = heads[l]

    def offsets_of_heads(self) -> Offsets:
        """Those of a net whose layer 2l is the head of layer l, from x[l+1] to the classes."""
        L = self.depth
        sizes, wide = np.full(2 * L, self.sizes[-1]), np.full(2 * L, self.classes)
        sizes[::2], wide[::2] = self.sizes[1:], self.wide[1:]
        at, nothing = np.zeros(2 * L, np.int64), np.zeros(2 * L, np.int64)
        at[::2] = self.head_at
        return Offsets(
            sizes, wide, at, at, nothing.copy(), np.ones(2 * L, self.dtype), nothing, nothing, self.value_count
        )


class StreamLayout(HeadedLayout):
    """Layers on workers, a head for each but the last, and of each layer's values a ring of ``places`` batches.
    ``turn``: the batch whose values ``values_of`` shows."""

    turn = 0

    def __init__(self, network: Network, batch: int, workers: int, all_workers: int, place: int) -> None:
        self.longest = LONGEST_WAVE if batch == 1 else 1
        self.places = 2 * self.longest + 1
        super().__init__(network, batch, LAYERS, workers, all_workers, place, 1)

    def _lay_out_values(self) -> None:
        here = np.arange(self.depth + 1)
        heights = np.where((self.lo <= here) & (here <= self.hi), self.places * self.batch * self.wide, 0)
        edges = [hi for _, hi in self.blocks[:-1]]
        at = begins(heights, [*edges, *(edge + 1 for edge in edges)], self.page, self.gap)
        self.value_at, self.value_count = np.tile(at[:-1], (self.all_workers, 1)), self._pages(int(at[-1]))

    def places_of(self, l: int) -> int:
        """Of layer l's ring."""
        return self.places

    def place_of(self, l: int, worker: int = 0) -> slice:
        """Where layer l's values of the batch ``turn`` lie, with their padding."""
        height = self.batch * int(self.wide[l])
        begin = int(self.value_at[self.place + worker, l]) + self.turn % self.places * height
        return slice(begin, begin + height)

    @property
    def error_size(self) -> int:
        """Elements of one layer's errors at most."""
        return self._pages(self.batch * int(self.wide.max()))

    def errors_of(self, flat: Array, l: int, worker: int = 0) -> Array:
        """The errors of the output, (B, n[L]), in a worker's array of errors."""
        lo, hi = self.blocks[worker]
        begin = (hi - 1 - lo) * self.error_size if self.fused else 0
        part = flat[begin : begin + self.batch * int(self.wide[l])].reshape(self.batch, self.wide[l])
        return part[:, : self.sizes[l]]

    fused = False  # whether a layer learns from a batch when it predicts for the next

    def allocate(self, rule: int, drives: int, velocities: bool = False) -> list[Arrays]:
        """The arrays of this process, for each of its workers."""
        plain = super().allocate(rule, 0)
        errors = [(hi - lo) * self.error_size for lo, hi in self.blocks]
        values = self.value_count
        shared, activated, slopes, *mine = side_by_side([values, values, values, *errors], self.dtype)
        return [
            arrays._replace(values=shared, top=shared[:0], activated=activated, slopes=slopes, errors=own)
            for arrays, own in zip(plain, mine, strict=True)
        ]


class Streams:
    """What the loop of local losses is given beside the net."""

    def __init__(
        self, layout: StreamLayout, algorithm: Local, network: Network, options: Options, wave: int, fused: bool
    ) -> None:
        if any(scale != 1 for scale in network.scale[1:]):
            raise InputError(f"{algorithm.title} on threads are for layers whose scale is 1")
        self.layout, self.wave = layout, min(wave, layout.longest)
        dtype = layout.dtype
        self.fused = layout.fused = fused and layout.batch == 1 and rule_of(algorithm) == PLAIN
        self.heads = layout.offsets_of_heads()
        loss = checked_loss(algorithm.head) if algorithm.head else network.loss
        self.options = options._replace(has_bias=False, softmax=isinstance(loss, CrossEntropy))
        row = 2 * layout.depth + APART // 8
        self.views = np.zeros((3 * layout.workers, row), np.int64)
        self.apart = layout.batch * layout.classes + APART // dtype.itemsize
        self.targets, self.said = side_by_side([layout.workers * self.apart] * 2, dtype)

    def of_run(self, updates: int) -> Heads:
        """What the loop is given for so many updates."""
        layout = self.layout
        layout.turn = updates - 1
        return Heads(
            self.heads, self.options, layout.places, self.wave, self.views, self.targets, self.said, self.apart,
            layout.error_size, self.fused,
        )  # fmt: skip
