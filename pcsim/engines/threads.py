"""Layers on threads: each worker owns a block of layers and runs compiled loops without Python's global lock.

This file lays out memory, starts and ends threads, and turns what they noted into a timeline. What a worker does in
a step is in ``loops.py``; it never enters Python between the steps of a run.
"""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
from threadpoolctl import ThreadpoolController

from ..algorithms import BP, Algorithm, PredictiveCoding
from ..errors import InputError
from ..kernels.activations import CODES
from ..kernels.blas import gemm_address
from ..kernels.dense import PAGE_BYTES, aligned_empty, padded
from ..kernels.sync import make_flags
from ..network import Network
from ..timeline import Event, Timeline
from . import loops
from .blocks import balanced_blocks
from .cache import wave_length
from .workers import in_threads

Array = np.ndarray


class ThreadsEngine:
    """Trains a copy of ``network`` on ``x``, (N, n[0]), and ``y``, (N, n[L]), with ``workers`` threads.

    ``batches`` gives the rows of the next batch each time a cycle begins; ``values``, L + 1 arrays (B, n[l]), take
    the place of the first cycle's forward pass. ``pin=True`` binds worker i to the i-th core that this process may
    use (Linux). ``wave`` is the number of steps a worker takes together (see ``loops``), None for what suits the cache;
    it changes no bit of the result.

    Raises InputError where there are more workers than layers, or more than one for BP (whose layers wait for one
    another).
    """

    def __init__(
        self,
        network: Network,
        algorithm: Algorithm,
        x: Array,
        y: Array,
        batches: Callable[[], Array],
        *,
        workers: int = 1,
        steps_per_batch: int | None = None,
        values: list[Array] | None = None,
        pin: bool = False,
        wave: int | None = None,
    ) -> None:
        self.original, self.algorithm, self.batches = network, algorithm, batches
        self.is_backprop = isinstance(algorithm, BP)
        L, dtype = network.depth, network.dtype
        if self.is_backprop and workers != 1:
            raise InputError("BP's layers wait for one another: with backend 'threads' it runs with workers=1")
        if workers > L:
            raise InputError(f"{workers} workers are more than the {L} layers of the net: use at most {L}")
        self.workers, self.pin = workers, pin
        self.x, self.y = np.ascontiguousarray(x, dtype), np.ascontiguousarray(y, dtype)
        self.first_rows: Array | None = batches()
        batch = len(self.first_rows)
        self.full_batch = batch == len(x)
        self.t = self.number = 0
        self.steps_per_update = 1
        self.given = values is not None
        self.timeline: Timeline | None = None

        sizes = np.array(network.sizes)
        wide = np.array([padded(n, dtype) for n in sizes])
        lengths = wide[1:] * wide[:-1] + wide[1:]  # weights, then biases
        self.batch, self.wide = batch, wide
        self.blocks = balanced_blocks(lengths.tolist(), workers)
        edges = [hi for _, hi in self.blocks[:-1]]
        page = PAGE_BYTES // dtype.itemsize
        # The kernels fetch four rows ahead, at the end of a block too.
        self.weight_at = _offsets(lengths, edges, page, gap=4 * int(wide.max()))
        value_at = _offsets(batch * wide, [*edges, *(edge + 1 for edge in edges)], page)
        self.value_at, self.value_count = value_at[:-1], -(-int(value_at[-1]) // page) * page
        adam = algorithm.optimizer == "adam"
        self.parameters = aligned_empty(int(self.weight_at[-1]), dtype)
        moments = self.weight_at[-1] if adam else 0
        self.mean, self.square = _zeros(moments, dtype), _zeros(moments, dtype)
        self.scratch = [_zeros(lengths.max() if adam else 0, dtype) for _ in range(workers)]
        count = self.value_count
        self.values_flat, self.top, self.a, self.d = (_zeros(count, dtype) for _ in range(4))
        self.e, self.h = (_zeros(2 * count, dtype) for _ in range(2))
        scale = np.array(network.scale, dtype)
        skip = np.array(network.skip, np.int64)
        self.layout = (sizes, wide, self.weight_at, self.value_at, scale, skip)
        self.options = (
            batch,
            CODES[network.activation],
            network.biases is not None,
            adam,
            gemm_address(dtype),
            dtype.type(1),
        )
        if isinstance(algorithm, PredictiveCoding):
            self.gamma, self.precision = algorithm.gamma, algorithm.precision
            calendar = algorithm.calendar(L, steps_per_batch)
            self.cycle_steps = calendar.steps or 0
            self.value_steps = -1 if calendar.value_steps is None else calendar.value_steps
            self.update_at = np.array([loops.EVERY_STEP if at is None else at for at in calendar.update_at])
            self.steps_per_update = 1 if calendar.updates != 1 else self.cycle_steps
        item = dtype.itemsize
        self.wave = wave or wave_length(int(lengths.sum()) * item, int(lengths.max()) * item, workers)
        self.blas = ThreadpoolController().select(user_api="blas")
        # The owner touches its weights first, so that their memory is near its core.
        in_threads(self.workers, lambda worker: self._fill(worker, values), pin=pin)

    def _fill(self, worker: int, values: list[Array] | None) -> None:
        lo, hi = self.blocks[worker]
        self.parameters[self.weight_at[lo] : self.weight_at[hi]] = 0
        for l in range(lo, hi):
            self._weights(l)[...] = self.original.weights[l]
            if self.original.biases is not None:
                self._bias(l)[...] = self.original.biases[l]
            if values is not None and l > 0:
                for flat in (self.values_flat, self.top):
                    self._part(flat, l)[...] = values[l]

    def _weights(self, l: int) -> Array:
        """A view of ``W[l]`` without its padding."""
        rows, columns = self.wide[l + 1], self.wide[l]
        begin = self.weight_at[l]
        whole = self.parameters[begin : begin + rows * columns].reshape(rows, columns)
        return whole[: self.original.sizes[l + 1], : self.original.sizes[l]]

    def _bias(self, l: int) -> Array:
        begin = self.weight_at[l] + self.wide[l + 1] * self.wide[l]
        return self.parameters[begin : begin + self.original.sizes[l + 1]]

    def _part(self, flat: Array, l: int) -> Array:
        """Layer l's values, (B, n[l]), in a flat array: a view without the padding."""
        begin, width = self.value_at[l], self.wide[l]
        part = flat[begin : begin + self.batch * width].reshape(self.batch, width)
        return part[:, : self.original.sizes[l]]

    @property
    def network(self) -> Network:
        """The net as it stands, a copy."""
        layers = range(self.original.depth)
        biases = None if self.original.biases is None else [self._bias(l).copy() for l in layers]
        return self.original.replace([self._weights(l).copy() for l in layers], biases)

    @property
    def values(self) -> list[Array]:
        """Values of all layers, a copy: L + 1 arrays (B, n[l]); for BP the last forward pass."""
        parts = [self._part(self.values_flat, l).copy() for l in range(self.original.depth + 1)]
        if self.is_backprop:  # the output layer holds the target, as the error is taken against it
            parts[-1] -= self._part(self.e, self.original.depth)
        return parts

    def run(self, updates: int, trace: bool = False) -> tuple[float, float]:
        """Make ``updates`` complete weight updates; seconds from the common start to the end of the slowest worker,
        and the energy F before the first update. With ``trace``, ``timeline`` then holds what each worker did."""
        L, dtype = self.original.depth, self.original.dtype
        steps = updates if self.is_backprop else updates * self.steps_per_update
        rows = self._rows(steps)
        flags = [make_flags(2 * self.workers), make_flags(self.workers), make_flags(self.workers)]
        stop, energy = make_flags(1), np.zeros(L)
        times = np.zeros((self.workers, 16), np.int64)  # a cache line and its pair for each worker
        notes = [
            np.zeros((steps * 4 * (hi - lo + 1) if trace else 0, loops.TRACE_COLUMNS), np.int64)
            for lo, hi in self.blocks
        ]
        counts = [0] * self.workers

        def work(worker: int) -> None:
            lo, hi = self.blocks[worker]
            arrays = (
                self.parameters, self.values_flat, self.a, self.d, self.scratch[worker], self.mean, self.square
            )  # fmt: skip
            common = (arrays, self.layout, self.options, self.x, self.y, rows, self.e)
            alpha = dtype.type(self.algorithm.alpha)
            if self.is_backprop:
                counts[worker] = loops.backprop(
                    *common, self.value_count, updates, self.number, alpha, stop, energy, notes[worker], times
                )
            else:
                counts[worker] = loops.predictive_coding(  # type: ignore[call-arg]
                    worker, self.workers, lo, hi, *common, self.h, self.top, self.value_count,
                    self.update_at, self.cycle_steps, self.value_steps, self.t, self.given, steps, self.wave,
                    self.number, dtype.type(self.gamma), alpha, dtype.type(self.precision),
                    *flags, stop, energy, notes[worker], times,
                )  # fmt: skip

        # One BLAS thread in each worker. The setting is the process's, so it is made around the run, not for ever.
        with self.blas.limit(limits=1) if self.batch > 1 else nullcontext():
            in_threads(self.workers, work, stop, self.pin)
        if not self.is_backprop:
            self.t = (self.t + steps) % self.cycle_steps if self.cycle_steps else self.t + steps
        self.given = False
        self.number += updates
        if trace:
            self.timeline = self._timeline(notes, counts)
        return float(times[:, 1].max() - times[:, 0].min()) * 1e-9, float(energy.sum())

    def _rows(self, steps: int) -> Array:
        """The rows of each batch that begins within the next ``steps`` steps: (cycles, B); one for all if full."""
        if self.is_backprop:
            starts = steps
        elif self.cycle_steps:
            starts = len(range(-self.t % self.cycle_steps, steps, self.cycle_steps))
        else:
            starts = int(self.t == 0)
        if self.full_batch:
            return np.arange(self.batch).reshape(1, -1)
        rows = np.empty((starts, self.batch), np.int64)
        for row in rows:
            row[:] = self.batches() if self.first_rows is None else self.first_rows
            self.first_rows = None
        return rows

    def _timeline(self, notes: list[Array], counts: list[int]) -> Timeline:
        return Timeline(
            [
                Event(worker, int(work), int(l), int(step), begin * 1e-9, end * 1e-9)
                for worker, (note, count) in enumerate(zip(notes, counts, strict=True))
                for work, l, step, begin, end in note[:count]
            ]
        )


def _offsets(lengths: Array, cuts: list[int], page: int, gap: int = 0) -> Array:
    """Where each layer's part begins in a flat array, and where the last ends. A part in ``cuts`` begins on a page of
    its own, ``gap`` elements or more behind the one before: processors fetch ahead within a page, and what one worker
    writes must not be fetched by another that is merely passing (it cost up to half the speed of two workers)."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    for l, length in enumerate(lengths):
        if l in cuts:
            offsets[l] = -(-(offsets[l] + gap) // page) * page
        offsets[l + 1] = offsets[l] + length
    return offsets


def _zeros(count: int, dtype: np.dtype) -> Array:
    array = aligned_empty(int(count), dtype)
    array[:] = 0
    return array
