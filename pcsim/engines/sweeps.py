"""What the loop of dual propagation is given beside the net, and what of it the state of a training holds."""

from collections.abc import Callable
from functools import partial

import numpy as np

from ..algorithms import DualProp
from ..kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ..net.network import Network
from ..schedule.calendar import Calendar
from .layout import LAYERS, Layout
from .limits import check_pull, check_skips
from .loops.arguments import Arrays, Steps
from .loops.dual import Pull

Array = np.ndarray


class SweptLayout(Layout):
    """Layers on workers, of which whoever has ``W[l-1]`` makes x[l]."""

    def __init__(self, network: Network, batch: int, workers: int, all_workers: int, place: int) -> None:
        super().__init__(network, batch, LAYERS, workers, all_workers, place, 1)

    def value_part(self, place: int, l: int) -> tuple | None:
        """As of any layout, of what is made with x[l]."""
        return super().value_part(place, max(l - 1, 0))

    def sent_part(self, place: int, l: int) -> tuple | None:
        """The same of what is sent back to x[l]."""
        return super().value_part(place, l)


class Sweeps:
    """The half sweeps of an engine with a ``layout``; ``fused``: whether a batch of one takes one pass over weights.
    Means lie with the activations, differences with the errors, what was sent back with the drives."""

    def __init__(
        self, layout: SweptLayout, algorithm: DualProp, calendar: Calendar, network: Network, fused: bool, wave: int
    ) -> None:
        check_skips(algorithm, network.skip)
        check_pull(algorithm, network.dtype)
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
        return Pull(calendar_of_run, self.beta, self.share, self.layout.lo, self.layout.hi)

    def messages(self, k: int) -> tuple[float, float]:
        """How often in a weight update the mean of layer k goes to the worker above, and what is sent back to it to the
        one below, if there are other workers there; see ``loops.dual_edges``."""
        calendar = self.calendar
        moves = [stage.parity == k % 2 for stage in calendar.stages]  # x[k]; in all other stages x[k+1] does
        ends = bool(calendar.cycle)  # the batch: there is a start, and the last of what is sent back is for nobody
        up = calendar.period // len(moves) * sum(moves) + ends
        down = calendar.period - (up - ends) - (ends and not moves[-1])
        return up / calendar.period_updates, down / calendar.period_updates

    def _parts(self, arrays: Arrays) -> list[tuple[int, Array, float, Callable[..., tuple | None]]]:
        """Of each part of a state the layer, in which array it lies, what it is multiplied with there, and who has it:
        means, differences, what was sent back."""
        L, made, back = self.layout.depth, self.layout.value_part, self.layout.sent_part
        below, all_layers = range(L), range(L + 1)
        sent = [1 / (self.scale[l] or 1.0) if l < L else 1.0 for l in all_layers]
        return [
            *((l, arrays.activated, self.scale[l], made) for l in below),
            *((l, arrays.errors, 1.0, made) for l in all_layers),
            *((l, arrays.drives, sent[l], back) for l in all_layers),
        ]

    def state(self, arrays: list[Arrays], assembled: Callable[..., Array | None]) -> list[Array]:
        """What is kept on a batch, as ``numpy_dual.Dual.state`` has it; copies."""
        layout, found = self.layout, []
        for l, flat, factor, part in self._parts(arrays[0]):

            def mine(worker: int, l: int = l, flat: Array = flat) -> Array:
                return layout.values_of(flat, l, worker)

            shape = layout.batch, int(layout.sizes[l])
            whole = assembled(shape, partial(part, l=l), mine, True)
            found += [] if whole is None else [whole / layout.dtype.type(factor)]
        return found

    def restore(self, arrays: Arrays, worker: int, state: list[Array], values: list[Array], y: Array) -> None:
        """Put it where a worker finds it, and its ``values``; ``y``: targets of the batch."""
        layout = self.layout
        lo, hi = layout.blocks[worker]
        for (l, flat, factor, _), part in zip(self._parts(arrays), state, strict=True):
            if lo <= l <= hi:
                layout.values_of(flat, l, worker)[...] = part * layout.dtype.type(factor)
        for l in range(lo + 1, hi + 1):
            layout.values_of(arrays.values, l, worker)[...] = values[l]
        if hi == layout.depth:
            layout.values_of(arrays.values, layout.depth, worker)[...] = y
