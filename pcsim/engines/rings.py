"""Where the batches lie that are under way where layers work on batches of their own, and, of asynchronous BP, what its
loops are given of them."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
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
    ``turn``: the batch whose values ``values_of`` shows. Errors have two places, and lie apart. ``lag``: how many
    batches more a layer is behind than the one above it; ``ahead``: for how many the layer below has room."""

    turn, lag, ahead = 0, 2, 2

    def __init__(self, network: Any, batch: int, workers: int, all_workers: int, place: int) -> None:
        L = network.depth
        self.places = np.array([*(self.lag * (L - 1 - l) + self.ahead + 1 for l in range(L)), 1])
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

    def places_of(self, l: int) -> int:
        """Of layer l's ring."""
        return int(self.places[min(l, self.depth - 1)])

    def in_ring(self, flat: Array, l: int, batch: int) -> Array:
        """Layer l's values of any batch under way, (B, n[l])."""
        height = self.batch * int(self.wide[l])
        begin = int(self.value_at[self.place, l]) + batch % int(self.places[l]) * height
        return flat[begin : begin + height].reshape(self.batch, self.wide[l])[:, : self.sizes[l]]

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


class Flights(ABC):
    """The batches under way in an engine: their rows, and their values in each layer. ``per_update``: batches of a
    weight update."""

    per_update = 1

    def __init__(self, layout: RingLayout, rows: Callable[[], Array]) -> None:
        self.layout, self.next_rows = layout, rows
        self.rows = np.empty((0, layout.batch), np.int64)  # of the batches from the next update's first on
        self.lead = layout.lag * (layout.depth - 1)  # batches that the first layer is ahead of the last

    @abstractmethod
    def fill(self, parameters: Array, worker: int) -> None:
        """Keep of a worker's weights before the first update what will be needed."""

    def batches(self, made: int, updates: int) -> int:
        """How many batches begin in a run of so many updates after those ``made``."""
        return updates * self.per_update + (self.lead if made == 0 else 0)

    @abstractmethod
    def of_run(self, made: int, updates: int) -> Any:
        """What the loops are given for so many updates after those ``made``."""

    def rows_of_run(self, made: int, updates: int) -> Array:
        """The rows of the batches from the first that this run updates from to the last that it predicts for."""
        new = [self.next_rows() for _ in range(self.batches(made, updates))]
        whole = np.concatenate([self.rows, np.array(new, np.int64).reshape(len(new), self.layout.batch)])
        self.rows = whole[updates * self.per_update :]
        return whole

    # What is under way between two runs

    def _ahead(self, l: int) -> int:
        """How many batches layer l has values of that it has still to update from: of the last ``lag`` it has not even
        predicted."""
        return self.layout.lag * (self.layout.depth - l)

    def _stack(self, values: Array, l: int, batches: range, worker: int) -> Array:
        return np.stack([self.layout.in_ring(values, l, k) for k in batches])

    def state(self, made: int, values: Array, assembled: Callable[..., Array | None]) -> dict[str, list[Array]]:
        """After so many updates the values that are ``under_way`` (see ``states``): of each layer x[l], l = 1 … L - 1.
        Errors are used in the step in which they are made."""
        layout, found = self.layout, []
        for l in range(1, layout.depth) if made else ():
            first = made * self.per_update
            batches = range(first, first + self._ahead(l))
            shape = (len(batches), layout.batch, int(layout.sizes[l]))
            whole = assembled(shape, partial(layout.value_part, l=l), partial(self._stack, values, l, batches), True)
            found += [whole] if whole is not None else []
        return {"under_way": found}

    def last_here(self, worker: int) -> int:
        """Behind the last layer whose values in flight a worker has: on ranks also those above its block, which go up
        as copies, and by whose slopes it may learn."""
        hi = self.layout.blocks[worker][1]
        return hi + (hi == self.layout.hi < self.layout.depth)

    def restored(self, made: int, rows: list[Array], full: bool) -> None:
        """So many updates are made, with the ``rows`` of all batches so far."""
        self.layout.turn = max(0, made * self.per_update - 1)
        if made and not full:
            self.rows = np.array(rows[made * self.per_update :], np.int64).reshape(-1, self.layout.batch)

    def restore(self, worker: int, state: dict[str, Any], x: Array, arrays: Arrays) -> Iterator[Array]:
        """Put what was under way where a worker finds it; for each batch, where its values then are."""
        layout, L, made = self.layout, self.layout.depth, state["updates"]
        lo, hi = layout.blocks[worker]
        first = made * self.per_update
        for l in range(lo, hi + (hi == L)) if state["values"] else ():
            layout.values_of(arrays.values, l, worker)[...] = state["values"][l]
        for l in range(lo, self.last_here(worker)) if made else ():
            for i in range(self._ahead(l) if l else self.lead):
                rows = self.rows[i] if len(self.rows) else slice(None)
                layout.in_ring(arrays.values, l, first + i)[...] = state["under_way"][l - 1][i] if l else x[rows]
        at, heights = layout.value_at[layout.place], layout.batch * layout.wide
        for k in range(first, first + self.lead) if made else ():
            yield at + k % layout.places * heights


class LateFlights(Flights):
    """Those of asynchronous BP, with the weights that it keeps for them, and sums of their gradients."""

    def __init__(self, layout: RingLayout, algorithm: AsyncBP, rows: Callable[[], Array], wave: int) -> None:
        super().__init__(layout, rows)
        self.algorithm, self.wave, self.per_update = algorithm, wave, algorithm.accumulate
        L, dtype = layout.depth, layout.dtype
        algorithm.calendar(L)  # refuses what cannot be
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

    def _stashed(self, l: int, batch: int) -> tuple[Array, Array]:
        """The weights and biases of layer l that are kept for a batch: views."""
        layout = self.layout
        rows, columns = int(layout.wide[l + 1]), int(layout.wide[l])
        begin = int(self.stash_at[l]) + batch % int(self.copies[l]) * rows * (columns + 1)
        whole = self.stash[begin : begin + rows * columns].reshape(rows, columns)
        biases = self.stash[begin + rows * columns : begin + rows * (columns + 1)]
        return whole[: layout.sizes[l + 1], : layout.sizes[l]], biases[: layout.sizes[l + 1]]

    def _stack_of_stashed(self, l: int, kind: int, batches: range, worker: int) -> Array:
        return np.stack([self._stashed(l, k)[kind] for k in batches])

    def _before_update(self, l: int, kind: int, worker: int) -> Array:
        return self._before(worker, l)[kind]

    def _before(self, worker: int, l: int) -> tuple[Array, Array]:
        """Weights and biases of layer l before the last update: views."""
        return self.layout.rows_of(self.before, worker, l) if len(self.before) else self._stashed(l, 0)

    def state(self, made: int, values: Array, assembled: Callable[..., Array | None]) -> dict[str, list[Array]]:
        """After so many updates what ``FIELDS`` of ``states`` are called. Gradients do not accumulate between two
        updates."""
        layout, algorithm, L = self.layout, self.algorithm, self.layout.depth
        first, kinds = made * algorithm.accumulate, 1 if layout.network.biases is None else 2
        found = super().state(made, values, assembled) | {"stashed": [], "before": []}
        if not made:
            return found

        def put(name: str, shape: tuple[int, ...], part: Any, mine: Callable[[int], Array]) -> None:
            whole = assembled(shape, part, mine, True)
            if whole is not None:
                found[name].append(whole)

        n = layout.sizes.tolist()
        for kind, l in itertools.product(range(kinds), range(L)):
            part, one, lag = partial(layout.weight_part, l=l), (n[l + 1], n[l])[: 2 - kind], algorithm.lag(l, L)
            if algorithm.weights == "stashed" and lag:
                batches = range(first, first + lag)
                put("stashed", (lag, *one), part, partial(self._stack_of_stashed, l, kind, batches))
            if algorithm.keeps_before:
                put("before", one, part, partial(self._before_update, l, kind))
        return found

    def restore(self, worker: int, state: dict[str, Any], x: Array, arrays: Arrays) -> Iterator[Array]:
        """Also the weights that are kept."""
        layout, algorithm, L, made = self.layout, self.algorithm, self.layout.depth, state["updates"]
        for l in range(*layout.blocks[worker]) if made else ():
            for i in range(algorithm.lag(l, L) if algorithm.weights == "stashed" else 0):
                at = made * algorithm.accumulate + i
                for place, part in zip(self._stashed(l, at), state["stashed"][l :: L - 1], strict=False):
                    place[...] = part[i]
            if state["before"]:
                for place, part in zip(self._before(worker, l), state["before"][l::L], strict=False):
                    place[...] = part
        yield from super().restore(worker, state, x, arrays)
