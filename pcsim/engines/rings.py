"""Where the batches lie that are under way in asynchronous BP, and what its loops are given of them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..algorithms import AsyncBP
from ..algorithms.asynchronous import WEIGHTS
from ..kernels.layers.weights import PLAIN
from ..kernels.machine.memory import side_by_side
from .layout import APART, LAYERS, Layout, begins, rule_of
from .loops.arguments import Arrays
from .loops.asynchronous import Flight

Array = np.ndarray


class RingLayout(Layout):
    """Layers on workers, and of each layer's values a ring: those of the batches of which it still has to update, of
    two that the layer below may have predicted by then, and of the one from which it has updated last, to be looked at.
    ``turn``: the batch whose values ``values_of`` shows. Errors have two places, and lie apart."""

    turn = 0

    def __init__(self, network: Any, batch: int, workers: int, all_workers: int, place: int) -> None:
        L = network.depth
        self.places = np.array([*(2 * (L - 1 - l) + 3 for l in range(L)), 1])
        super().__init__(network, batch, LAYERS, workers, all_workers, place, 1)

    def _lay_out_values(self) -> None:
        here = np.arange(self.depth + 1)
        heights = np.where((self.lo <= here) & (here <= self.hi), self.batch * self.wide, 0)
        edges = [hi for _, hi in self.blocks[:-1]]
        cuts = [*edges, *(edge + 1 for edge in edges)]
        rings, errors = (begins(part, cuts, self.page, self.gap) for part in (heights * self.places, heights))
        self.value_at, self.value_count = np.tile(rings[:-1], (self.all_workers, 1)), self._pages(int(rings[-1]))
        self.error_at, self.error_count = errors[:-1], self._pages(int(errors[-1]))

    def place_of(self, l: int, worker: int = 0) -> slice:
        """Where layer l's values of the batch ``turn`` lie, with their padding."""
        height = self.batch * int(self.wide[l])
        begin = int(self.value_at[self.place + worker, l]) + self.turn % int(self.places[l]) * height
        return slice(begin, begin + height)

    def errors_of(self, flat: Array, l: int, worker: int = 0) -> Array:
        """The errors of the output, (B, n[l]), in a flat array."""
        begin = int(self.error_at[l])
        part = flat[begin : begin + self.batch * int(self.wide[l])].reshape(self.batch, self.wide[l])
        return part[:, : self.sizes[l]]

    def allocate(self, rule: int, drives: int, velocities: bool = False) -> list[Arrays]:
        """The arrays of this process, for each of its workers."""
        values, errors = self.value_count, 2 * self.error_count
        plain = super().allocate(rule, 0)
        flat = side_by_side([values, 0, values, values, errors], self.dtype)
        shared = dict(zip(("values", "top", "activated", "slopes", "errors"), flat, strict=True))
        return [mine._replace(**shared) for mine in plain]


class Flights:
    """The batches under way in an engine: their rows, kept weights and sums, and what its next run is given."""

    def __init__(self, layout: RingLayout, algorithm: AsyncBP, rows: Callable[[], Array], wave: int) -> None:
        self.layout, self.algorithm, self.next_rows, self.wave = layout, algorithm, rows, wave
        L, dtype = layout.depth, layout.dtype
        algorithm.calendar(L)  # refuses what cannot be
        self.rows = np.empty((0, layout.batch), np.int64)  # of the batches from the next update's first on
        self.delay = np.array([algorithm.delay(l, L) for l in range(L)], dtype)
        lengths = layout.wide[1:] * (layout.wide[:-1] + 1)
        lengths[: layout.lo] = lengths[layout.hi :] = 0
        stashed, two = algorithm.weights == "stashed", algorithm.weights == "two-versions"
        lags = np.array([algorithm.lag(l, L) for l in range(L)])
        self.copies = lags + 1 if stashed else np.ones(L, np.int64)
        kept = lengths * self.copies if two or algorithm.weight_prediction or stashed else 0 * lengths
        if not two:
            kept[L - 1] = 0  # its gradient is not late
        ends = np.cumsum(kept)
        self.stash_at = ends - kept
        everything = layout.parameter_count
        before, sums = everything * algorithm.weight_prediction, everything * (algorithm.accumulate > 1)
        self.stash, self.before, self.sums = side_by_side([int(ends[-1]), before, sums], dtype)
        plain = rule_of(algorithm) == PLAIN and algorithm.weights == "current" and algorithm.accumulate == 1
        self.fused = plain and layout.batch == 1 and not algorithm.weight_prediction
        self.views = np.zeros((2 * layout.workers, L + 1 + APART // 8), np.int64)

    def fill(self, parameters: Array, worker: int) -> None:
        """The weights before the first update are the first."""
        layout = self.layout
        for l in range(*layout.blocks[worker]):
            at, length = int(layout.weight_at[layout.place, l]), int(layout.wide[l + 1] * (layout.wide[l] + 1))
            if len(self.before):
                self.before[at : at + length] = parameters[at : at + length]
            if self.algorithm.weights == "two-versions":
                begin = int(self.stash_at[l])
                self.stash[begin : begin + length] = parameters[at : at + length]

    def batches(self, made: int, updates: int) -> int:
        """How many batches begin in a run of so many updates after those ``made``."""
        return updates * self.algorithm.accumulate + (2 * (self.layout.depth - 1) if made == 0 else 0)

    def of_run(self, made: int, updates: int) -> Flight:
        """What the loops are given for so many updates after those ``made``."""
        layout, algorithm = self.layout, self.algorithm
        L, m = layout.depth, algorithm.accumulate
        turns = range(made, made + max(1, min(updates, algorithm.delay_rates - made + 1)))
        factors = [[algorithm.rate(l, L, update) for l in range(L)] for update in turns]
        first = made * m if made else -2 * (L - 1)
        layout.turn = (made + updates) * m - 1
        return Flight(
            first, (made + updates) * m, layout.places, layout.error_at, layout.error_count, self.views,
            WEIGHTS.index(algorithm.weights), m, self.stash, self.stash_at, self.copies, self.before,
            algorithm.weight_prediction, self.delay, self.sums, np.array(factors, layout.dtype), self.wave, self.fused,
        )  # fmt: skip

    def rows_of_run(self, made: int, updates: int) -> Array:
        """The rows of the batches from the first that this run updates from to the last that it predicts for."""
        new = [self.next_rows() for _ in range(self.batches(made, updates))]
        whole = np.concatenate([self.rows, np.array(new, np.int64).reshape(len(new), self.layout.batch)])
        self.rows = whole[updates * self.algorithm.accumulate :]
        return whole
