"""What the layers' work costs on this machine: the engines' own calls, again and again over a ring of layers.

A ring of as many layers as are wanted: when the worker comes back to one, it has gone through the weights of all, so
that the ring's size says which level of memory they come from. Nothing here knows machine files.
"""

import numpy as np

from ..algorithms.common import MOMENTS
from ..engines.layout import RULES, options_of, ring
from ..engines.loops.arguments import Arrays
from ..engines.loops.steps import layers, load_rows
from ..host.threads import in_threads
from ..kernels.layers.dense import padded
from ..kernels.layers.products import panel_size
from ..kernels.layers.step import activate_rows, layer_step, start_prediction
from ..kernels.layers.values import move_values
from ..kernels.layers.weights import descend, gradient
from ..kernels.machine.clock import nanoseconds
from ..kernels.machine.compiling import ONE, ZERO, njit
from ..kernels.machine.memory import aligned_empty, side_by_side
from ..kernels.machine.simd import pointer
from ..kernels.machine.sync import make_flags, meet, publish, wait
from ..schedule.timeline import START, VALUE

GRADIENT, DESCEND = 32, 64  # beside the bits of ``timeline``: data-parallel BP on ranks sums gradients in between

TINY = 1e-12  # rate of updates and moves: the work is done, and the numbers stay


@njit(nogil=True, cache=True)
def _ring(worker, workers, work, rows, arrays, offsets, options, rate, repeats, ready, stop, times):
    s = layers(arrays, offsets, options)
    errors, drives, depth = pointer(arrays.errors), pointer(arrays.drives), len(offsets.sizes) - 1
    products = work & 7
    if not meet(worker, workers, pointer(ready), pointer(stop)):
        return
    times[worker, 0] = nanoseconds()
    for _ in range(repeats):
        for l in range(depth):
            if work & START:
                activate_rows(s, l, ZERO, rows)
                start_prediction(s, l, ZERO, rows, s.x, s.value_at[l + 1])
            if products != 0:
                layer_step(products, s, l, ZERO, rows, s.x, errors, drives, ZERO, s.one, rate, ONE)
            if work & VALUE:
                move_values(s, l, s.x, errors, drives, ZERO, rate, True)
            if work & GRADIENT:
                gradient(s, l, ZERO, rows, errors, s.value_at[l + 1], s.one, ZERO)
            if work & DESCEND:
                descend(s, l, ZERO, rows, ZERO, rate, ONE)
    times[worker, 1] = nanoseconds()


class Ring:
    """``depth`` layers, of each ``rows`` rows of ``columns``, for each of ``workers`` workers, and a batch;
    ``optimizer``: of the updates; ``skip``: whether each layer adds its input."""

    def __init__(
        self, columns: int, rows: int, depth: int, batch: int, workers: int, dtype: np.dtype, pin: bool,
        optimizer: str = "sgd", skip: bool = False,
    ) -> None:  # fmt: skip
        self.workers, self.rows, self.depth, self.pin = workers, rows, depth, pin
        self.one = dtype.type(1)
        self.offsets = ring(columns, rows, depth, batch, dtype, skip)
        self.options = options_of(dtype, batch, has_bias=False, vectors=False, rule=RULES[optimizer])
        moments = MOMENTS[optimizer]
        wide, count = int(self.offsets.padded[0]), int(self.offsets.value_count)
        # With three vectors to each layer of a batch, as ``simulate`` counts.
        self.bytes = depth * (rows * (1 + moments) + (3 * batch if batch > 1 else 0)) * wide * dtype.itemsize
        self.arrays: dict[int, Arrays] = {}

        def fill(worker: int) -> None:
            rng = np.random.default_rng(worker)
            kept = depth * rows * wide
            more = kept * (moments > 0), kept * (moments > 1)
            counts = kept, *[count] * 5, (rows + 1) * wide, panel_size(wide, batch), 0, *more
            weights, x, a, d, e, h, scratch, panel, nothing, mean, square = side_by_side(counts, dtype)  # as engines do
            mean[:], square[:] = 0, 1
            row = rng.normal(0, columns**-0.5, wide).astype(dtype)
            row[columns:] = 0
            weights.reshape(-1, wide)[:] = row  # the same everywhere: drawing millions would take longer than timing
            for array in (x, a, d, e, h):
                parts = array.reshape(depth + 1, -1)[:, : batch * wide].reshape(depth + 1, batch, wide)
                parts[:, :, :columns] = rng.normal(0, 0.3, (batch, columns))
            self.arrays[worker] = Arrays(weights, x, a, d, scratch, mean, square, e, h, nothing, nothing, panel)

        in_threads(workers, fill, pin=pin)

    def seconds(self, work: int, repeats: int) -> float:
        """Of one layer's work, while all workers do the same: from the common start to the end of the slowest."""
        ready, stop, times = make_flags(self.workers), make_flags(1), np.zeros((self.workers, 16), np.int64)
        rate = self.one * self.one.dtype.type(TINY)

        def run(worker: int) -> None:
            _ring(  # type: ignore[call-arg]
                worker, self.workers, work, self.rows, self.arrays[worker], self.offsets, self.options,
                rate, repeats, ready, stop, times,
            )  # fmt: skip

        in_threads(self.workers, run, stop, self.pin)
        taken = float(times[:, 1].max() - times[:, 0].min()) * 1e-9
        return taken / (repeats * self.depth)


@njit(nogil=True, cache=True)
def _load(data, rows, padded, out, repeats, times):
    times[0, 0] = nanoseconds()
    for batch in range(repeats):
        load_rows(data, rows, batch % rows.shape[0], ZERO, rows.shape[1], padded, pointer(out), ZERO)
    times[0, 1] = nanoseconds()


def load_seconds(units: int, batch: int, size: int, dtype: np.dtype, pin: bool) -> float:
    """Of copying a batch of rows of so many ``units`` from all over a data set of ``size`` bytes."""
    count = max(2 * batch, size // (units * dtype.itemsize))
    data = np.resize(np.random.default_rng(0).normal(size=1 << 16).astype(dtype), (count, units))
    rows = np.random.default_rng(1).permutation(count)[: count // batch * batch].reshape(-1, batch)
    wide, times = padded(units, dtype), np.zeros((1, 16), np.int64)
    out = aligned_empty(batch * wide, dtype)
    out[:] = 0
    in_threads(1, lambda worker: _load(data, rows, wide, out, len(rows), times), pin=pin)
    return float(times[0, 1] - times[0, 0]) * 1e-9 / len(rows)


@njit(nogil=True, cache=True)
def _hand_over(worker, rounds, vectors, count, flags, stop, times):
    """Two workers hand each other ``count`` elements ``rounds`` times: each reads what the other has just written."""
    mine, end = pointer(flags), pointer(stop)
    p = pointer(vectors)
    size = len(vectors) // 2
    if not meet(worker, 2, mine, end):
        return
    begin = nanoseconds()
    own, other = worker * size, (1 - worker) * size
    for turn in range(2, rounds + 2):
        if worker == 1 and not wait(mine, 0, turn, end):
            return
        for j in range(count):  # one after the other reads all that has come, and writes as much
            p[own + j] = p[other + j] + p[own + j]
        publish(mine, worker, turn)
        if worker == 0 and not wait(mine, 1, turn, end):
            return
    times[worker, 0], times[worker, 1] = begin, nanoseconds()


@njit(nogil=True, cache=True)
def _alone(rounds, vectors, count, times):
    """The same by one worker, with nobody to wait for."""
    p = pointer(vectors)
    size = len(vectors) // 2
    begin = nanoseconds()
    for turn in range(2 * rounds):
        own, other = (turn & 1) * size, (1 - (turn & 1)) * size
        for j in range(count):
            p[own + j] = p[other + j] + p[own + j]
    times[0, 0], times[0, 1] = begin, nanoseconds()


def hand_over_seconds(count: int, dtype: np.dtype, pin: bool, rounds: int = 2000) -> float:
    """From one worker's core to another's: seconds until ``count`` elements that one has written are read by the other,
    beyond what reading and writing them takes a worker alone."""
    vectors = aligned_empty(2 * max(1024, -(-count // 1024) * 1024), dtype)
    vectors[:] = 0
    flags, stop, times = make_flags(2), make_flags(1), np.zeros((2, 16), np.int64)
    in_threads(2, lambda worker: _hand_over(worker, rounds, vectors, count, flags, stop, times), stop, pin)
    both = float(times[0, 1] - times[0, 0]) * 1e-9 / (2 * rounds)
    in_threads(1, lambda worker: _alone(rounds, vectors, count, times), pin=pin)
    return max(0.0, both - float(times[0, 1] - times[0, 0]) * 1e-9 / (2 * rounds))


@njit(nogil=True, cache=True)
def _meet_often(worker, workers, rounds, flags, stop, times):
    mine, end = pointer(flags), pointer(stop)
    if not meet(worker, workers, mine, end):
        return
    times[worker, 0] = nanoseconds()
    for turn in range(2, rounds + 2):
        publish(mine, worker, turn)
        for other in range(workers):
            if not wait(mine, other, turn, end):
                return
    times[worker, 1] = nanoseconds()


def barrier_seconds(workers: int, pin: bool, rounds: int = 5000) -> float:
    """Of a meeting of all workers, who come at the same time."""
    flags, stop, times = make_flags(workers), make_flags(1), np.zeros((workers, 16), np.int64)
    in_threads(workers, lambda worker: _meet_often(worker, workers, rounds, flags, stop, times), stop, pin)
    return float(times[:, 1].max() - times[:, 0].min()) * 1e-9 / rounds
