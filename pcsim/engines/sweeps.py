"""What the loop of dual propagation is given beside the net, and what of it the state of a training holds."""

from collections.abc import Callable
from functools import partial

import numpy as np

from ..algorithms import DualProp
from ..kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ..net.network import Network
from ..schedule.calendar import Calendar
from .layout import Layout
from .limits import check_skips
from .loops.arguments import Arrays, Steps
from .loops.dual import Pull

Array = np.ndarray


class Sweeps:
    """The half sweeps of an engine with a ``layout``; ``fused``: whether a batch of one takes one pass over weights.
    Means lie with the activations, differences with the errors, what was sent back with the drives."""

    def __init__(
        self, layout: Layout, algorithm: DualProp, calendar: Calendar, network: Network, fused: bool, wave: int
    ) -> None:
        check_skips(algorithm, network.skip)
        self.layout, self.calendar, self.scale = layout, calendar, network.scale
        self.fused, self.wave = fused and layout.batch == 1, wave if fused else 1
        kind = layout.dtype.type
        self.beta, self.share = kind(algorithm.beta), kind(algorithm.a)

    def of_run(self, t: int, steps: int) -> Pull:
        """What the loop is given for so many steps, of which the first is step ``t`` of a batch."""
        calendar, L = self.calendar, self.layout.depth
        updated, above = calendar.updates(L), np.arange(1, L + 1)
        moves = np.array([above % 2 == stage.parity for stage in calendar.stages])
        wave = 1 if (updated & ~moves).any() else self.wave  # what rests updates when all have moved
        products = (PREDICT + BACKPROJECT * (above > 1)) * moves + UPDATE * updated
        calendar_of_run = Steps(
            products.astype(np.int64).ravel(), calendar.moves.astype(np.int64), calendar.completed.astype(np.int64),
            len(calendar.stages), calendar.cycle, t, False, steps, 0, wave, self.fused,
        )  # fmt: skip
        return Pull(calendar_of_run, self.beta, self.share)

    def _parts(self, arrays: Arrays, worker: int) -> list[tuple[int, Array, float]]:
        """Of each part of a state the layer, where it lies, and what it is multiplied with there: means, differences,
        what was sent back."""
        L, of = self.layout.depth, self.layout.values_of
        below, all_layers = range(L), range(L + 1)
        sent = [1 / (self.scale[l] or 1.0) if l < L else 1.0 for l in all_layers]
        return [
            *((l, of(arrays.activated, l, worker), self.scale[l]) for l in below),
            *((l, of(arrays.errors, l, worker), 1.0) for l in all_layers),
            *((l, of(arrays.drives, l, worker), sent[l]) for l in all_layers),
        ]

    def state(self, arrays: list[Arrays], assembled: Callable[..., Array | None]) -> list[Array]:
        """What is kept on a batch, as ``numpy_dual.Dual.state`` has it; copies."""
        layout, found = self.layout, []
        for number, (l, _, factor) in enumerate(self._parts(arrays[0], 0)):

            def mine(worker: int, number: int = number) -> Array:
                return self._parts(arrays[worker], worker)[number][1]

            shape = layout.batch, int(layout.sizes[l])
            whole = assembled(shape, partial(layout.value_part, l=l), mine, True)
            found += [] if whole is None else [whole / layout.dtype.type(factor)]
        return found

    def restore(self, arrays: Arrays, worker: int, state: list[Array], y: Array) -> None:
        """Put it where a worker finds it; ``y``: targets of the batch."""
        layout = self.layout
        lo, hi = layout.blocks[worker]
        for (l, place, factor), part in zip(self._parts(arrays, worker), state, strict=True):
            if lo <= l <= hi:
                place[...] = part * layout.dtype.type(factor)
        if hi == layout.depth:
            layout.values_of(arrays.values, layout.depth, worker)[...] = y
