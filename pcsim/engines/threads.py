"""Layers on threads: workers that run compiled loops without Python's global lock.

This file lays out memory, starts and ends threads, and turns what they noted into a timeline. What a worker does in
a step is in ``loops/``; it never enters Python between the steps of a run.
"""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
from threadpoolctl import ThreadpoolController

from ..algorithms import BP, Algorithm, PredictiveCoding
from ..algorithms.backprop import BP_EXECUTIONS
from ..errors import InputError
from ..host.threads import in_threads
from ..kernels.layers.activations import CODES
from ..kernels.layers.dense import PAGE_BYTES, aligned_empty, padded
from ..kernels.machine import blas
from ..kernels.machine.simd import VECTOR_BYTES
from ..kernels.machine.sync import make_flags
from ..net.network import Network
from ..schedule.blocks import balanced_blocks, even_parts
from ..schedule.timeline import Event, Timeline
from ..schedule.waves import wave_length
from .layout import APART, offsets_of, zeros
from .loops import backprop, predictive_coding
from .loops.steps import TRACE_COLUMNS

Array = np.ndarray

MICRO_BATCHES = 8  # of the pipeline, unless told otherwise: the same for any number of workers, so that the bits are


def check_execution(execution: str, workers: int, depth: int, batch: int) -> None:
    """InputError where BP cannot share the work of such a net and batch in that way among so many workers."""
    if execution not in BP_EXECUTIONS:
        raise InputError(f"BP's execution {execution!r} is unknown: choose from {', '.join(BP_EXECUTIONS)}")
    if execution == "serial" and workers > 1:
        raise InputError("BP's layers wait for one another: execution 'serial' runs with workers=1")
    if execution == "pipeline" and batch == 1:
        raise InputError("a pipeline needs a batch above 1, of which it makes micro-batches")
    limits = {"pipeline": (depth, "layers of the net"), "data-parallel": (batch, "samples of a batch")}
    limit, what = limits.get(execution, (workers, ""))
    if workers > limit:
        raise InputError(f"{workers} workers are more than the {limit} {what}: use at most {limit}")


class ThreadsEngine:
    """Trains a copy of ``network`` on ``x``, (N, n[0]), and ``y``, (N, n[L]), with ``workers`` threads.

    ``batches`` gives the rows of the next batch each time a cycle begins; ``values``, L + 1 arrays (B, n[l]), take
    the place of the first cycle's forward pass. ``pin=True`` binds worker i to the i-th core that this process may
    use (Linux). ``wave`` is the number of steps a worker takes together (see ``loops``), None for what suits the cache;
    it changes no bit of the result. ``fused=False`` reads the weights anew for each product of a step, and takes the
    steps one by one: the same bits, and what fusion is measured against.

    ``execution`` says how BP shares its work (``BP_EXECUTIONS``; default: serial): see ``backprop``. ``micro_batches``
    is the number of parts that a pipeline makes of a batch (at most B).

    Raises InputError where there are more workers than layers (BP: than can share the work in that way).
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
        fused: bool = True,
        execution: str | None = None,
        micro_batches: int = MICRO_BATCHES,
    ) -> None:
        self.original, self.algorithm, self.batches, self.sizes = network, algorithm, batches, network.sizes
        self.is_backprop = isinstance(algorithm, BP)
        L, dtype = network.depth, network.dtype
        self.x, self.y = np.ascontiguousarray(x, dtype), np.ascontiguousarray(y, dtype)
        self.first_rows: Array | None = batches()
        self.batch = len(self.first_rows)
        self.full_batch = self.batch == len(x)
        self.execution = execution or "serial"
        if self.is_backprop:
            check_execution(self.execution, workers, L, self.batch)
        elif execution is not None:
            raise InputError("execution says how BP shares its work; PC, Z-IL and iPC have layers on workers")
        elif workers > L:
            raise InputError(f"{workers} workers are more than the {L} layers of the net: use at most {L}")
        self.pin, self.fused, self.first_core = pin, fused, 0
        # BLAS has threads of its own, which serve one worker.
        self.workers, self.blas_threads = (1, workers) if self.execution == "blas" else (workers, 1)
        self.all_workers, self.place = self._places()
        self.t = self.number = 0
        self.steps_per_update = 1
        self.given = values is not None
        self.timeline: Timeline | None = None
        self._lay_out(micro_batches)

        adam = algorithm.optimizer == "adam"
        moments, count = (len(self.parameters) if adam else 0), self.value_count
        self.mean, self.square = zeros(moments, dtype), zeros(moments, dtype)
        self.scratch = [zeros(self.largest if adam else 0, dtype) for _ in range(self.workers)]
        self.values_flat, self.top, self.a, self.d = (zeros(count, dtype) for _ in range(4))
        self.e = zeros(2 * count, dtype)
        self.h = zeros((self.all_workers if self.execution == "intra-layer" else 2) * count, dtype)
        vectors = self.execution == "blas" and self.batch == 1
        self.options = (
            self.batch,
            CODES[network.activation],
            network.biases is not None,
            adam,
            blas.address("gemm", dtype),
            blas.address("gemv", dtype) if vectors else 0,
            blas.address("ger", dtype) if vectors else 0,
            dtype.type(1),
        )
        if isinstance(algorithm, PredictiveCoding):
            self.gamma, self.precision = algorithm.gamma, algorithm.precision
            calendar = algorithm.calendar(L, steps_per_batch)
            self.cycle_steps = calendar.cycle
            self.value_steps = -1 if calendar.moves.all() else int(np.argmin(calendar.moves))
            every = len(calendar.stages) == 1
            self.update_at = np.where(every, predictive_coding.EVERY_STEP, calendar.updates(L).argmax(0))
            self.steps_per_update = len(calendar.stages)
        # Of a layer's values there are x, a, d, its copy at an edge, and two each of e and h.
        lengths = (self.wide[1:] * self.wide[:-1] + (self.batch > 1) * 8 * self.batch * self.wide[1:]) * dtype.itemsize
        lo, hi = self.blocks[0][0], self.blocks[-1][1]
        self.wave = wave or wave_length(int(lengths[lo:hi].sum()), int(lengths.max()), workers)
        self.blas = ThreadpoolController().select(user_api="blas")
        # The owner touches its weights first, so that their memory is near its core.
        in_threads(self.workers, lambda worker: self._fill(worker, values), pin=pin, first_core=self.first_core)

    def _places(self) -> tuple[int, int]:
        """How many workers there are in all, and the place of this process's first among them."""
        return self.workers, 0

    def _lay_out(self, micro_batches: int) -> None:
        """Who owns what, and where it begins in the flat arrays of this process. What a worker writes lies on pages of
        its own: processors fetch ahead within a page, and what one worker writes must not be fetched by another that is
        merely passing (it cost up to half the speed of two workers)."""
        network, dtype, L, P = self.original, self.original.dtype, self.original.depth, self.all_workers
        mine = range(self.place, self.place + self.workers)
        page, lanes = PAGE_BYTES // dtype.itemsize, VECTOR_BYTES // dtype.itemsize
        gap = APART // dtype.itemsize
        sizes = np.array(self.sizes)
        wide = self.wide = np.array([padded(n, dtype) for n in sizes])
        lengths = wide[1:] * wide[:-1] + wide[1:]  # weights, then biases
        self.largest = int(lengths.max())
        apart = self.execution == "intra-layer"  # each worker's rows lie together, apart from the others'
        self.by_rows = apart or self.execution == "data-parallel"
        self.all_blocks = [(0, L)] * P if self.by_rows else balanced_blocks(lengths.tolist(), P)
        self.blocks = [self.all_blocks[place] for place in mine]
        lo, hi = self.blocks[0][0], self.blocks[-1][1]  # the layers of this process
        here = np.arange(L + 1)
        heights = np.where((lo <= here) & (here <= hi), self.batch * wide, 0)
        lengths = np.where((lo <= here[:L]) & (here[:L] < hi), lengths, 0)
        shared = [even_parts(int(width) // lanes, P) for width in wide]
        self.firsts = np.array([[parts[worker][0] * lanes for parts in shared] for worker in range(P)])
        self.counts = np.array([[parts[worker][1] * lanes for parts in shared] for worker in range(P)])

        edges = [] if self.by_rows else [hi for _, hi in self.blocks[:-1]]
        at = offsets_of(heights, [*edges, *(edge + 1 for edge in edges)], page, gap)
        values = np.tile(at[:-1], (P, 1))
        self.value_count = -(-int(at[-1]) // page) * page
        if apart:
            weights, biases = np.zeros((2, P, L), np.int64)
            end = 0
            for worker in mine:
                end = -(-(end + gap) // page) * page
                for l in range(L):
                    first, rows = int(self.firsts[worker, l + 1]), int(self.counts[worker, l + 1])
                    weights[worker, l] = end - first * wide[l]
                    biases[worker, l] = end + rows * wide[l] - first
                    end += rows * int(wide[l] + 1)
                if worker:  # an input and a target of its own
                    for l in (0, L):
                        values[worker, l] = self.value_count
                        self.value_count += -(-int(self.batch * wide[l]) // page) * page
        else:
            at = offsets_of(lengths, edges, page, gap)
            end = int(at[-1])
            weights = np.tile(at[:-1], (P, 1))
            biases = weights + wide[1:] * wide[:-1]
        self.parameters = aligned_empty(end, dtype)
        self.value_at = values
        scale, skip = np.array(network.scale, dtype), np.array(network.skip, np.int64)
        self.layouts = [(sizes, wide, weights[w], biases[w], values[w], scale, skip) for w in mine]

        samples = even_parts(self.batch, P if self.execution == "data-parallel" else min(micro_batches, self.batch))
        begins = np.array([first for first, _ in samples])
        self.samples = (values[0] + begins[:, None] * wide, begins, np.array([count for _, count in samples]))

    def _fill(self, worker: int, values: list[Array] | None) -> None:
        for l in range(*self.blocks[worker]):
            given = self.original.weights[l]
            first, rows = self._owned(worker, l)
            weights, biases = self._rows_of_weights(worker, l, padding=True)
            weights[...], biases[...] = 0, 0
            weights, biases = self._rows_of_weights(worker, l)
            weights[...] = given[first : first + rows]
            if self.original.biases is not None:
                biases[...] = self.original.biases[l][first : first + rows]
        if values is not None:  # with the copies at both edges of the block, of which a neighbour may be elsewhere
            lo, hi = self.blocks[worker]
            for l in range(max(lo, 1), hi):
                self._part(self.values_flat, l)[...] = values[l]
            self._part(self.top, hi)[...] = values[hi]

    def _owned(self, worker: int, l: int) -> tuple[int, int]:
        """The first row of ``W[l]`` that this worker writes, and how many."""
        if not self.by_rows:
            return 0, self.wide[l + 1]
        place = self.place + worker
        return self.firsts[place, l + 1], self.counts[place, l + 1]

    def _rows_of_weights(self, worker: int, l: int, padding: bool = False) -> tuple[Array, Array]:
        """Views of a worker's rows of ``W[l]`` and of their biases."""
        first, rows = self._owned(worker, l)
        _, wide, weight_at, bias_at, *_ = self.layouts[worker]
        columns, begin, bias = wide[l], weight_at[l] + first * wide[l], bias_at[l] + first
        whole, biases = self.parameters[begin : begin + rows * columns], self.parameters[bias : bias + rows]
        m, n = max(0, min(rows, self.sizes[l + 1] - first)), self.sizes[l]
        return (whole, biases) if padding else (whole.reshape(rows, columns)[:m, :n], biases[:m])

    def _part(self, flat: Array, l: int, worker: int = 0) -> Array:
        """Layer l's values, (B, n[l]), in a flat array: a view without the padding."""
        begin, width = self.value_at[self.place + worker, l], self.wide[l]
        part = flat[begin : begin + self.batch * width].reshape(self.batch, width)
        return part[:, : self.sizes[l]]

    @property
    def network(self) -> Network:
        """The net as it stands, a copy."""
        owners = range(self.workers if self.by_rows else 1)
        parts = [[self._rows_of_weights(worker, l) for worker in owners] for l in range(self.original.depth)]
        weights = [np.concatenate([rows for rows, _ in layer]) for layer in parts]
        biases = None if self.original.biases is None else [np.concatenate([b for _, b in layer]) for layer in parts]
        return self.original.replace(weights, biases)

    @property
    def values(self) -> list[Array]:
        """Values of all layers, a copy: L + 1 arrays (B, n[l]); for BP the last forward pass."""
        L = self.original.depth
        parts = [self._part(self.values_flat, l).copy() for l in range(L + 1)]
        if self.is_backprop:  # the output layer holds the target, as the error is taken against it
            for worker in range(self.workers if self.by_rows else 1):
                first, rows = self._owned(worker, L - 1)
                target, error = (self._part(flat, L, worker) for flat in (self.values_flat, self.e))
                parts[L][:, first : first + rows] = (target - error)[:, first : first + rows]
        return parts

    def run(self, updates: int, trace: bool = False) -> tuple[float, float]:
        """Make ``updates`` complete weight updates; seconds from the common start to the end of the slowest worker,
        and the energy F before the first update. With ``trace``, ``timeline`` then holds what each worker did (of BP
        only the serial execution: the others have no task of the graph to themselves)."""
        L = self.original.depth
        steps = updates * self.steps_per_update
        rows = self._rows(steps)
        stop, energy = make_flags(1), np.zeros(max(L, self.all_workers))
        times = np.zeros((self.workers, 16), np.int64)  # a cache line and its pair for each worker
        events = 3 * L if self.is_backprop else 4 * (L + 1)
        notes = [np.zeros((steps * events if trace else 0, TRACE_COLUMNS), np.int64) for _ in self.blocks]
        work = self._backprop if self.is_backprop else self._predictive_coding
        counts = [0] * self.workers

        loop = work(updates, steps, rows, stop, energy, notes, times)

        def guarded(worker: int) -> None:
            counts[worker] = loop(worker) or 0

        # The number of BLAS threads is the process's, so it is set around the run, not for ever.
        with self.blas.limit(limits=self.blas_threads) if self.batch > 1 or self.blas_threads > 1 else nullcontext():
            self._start(guarded, stop)
        self.given = False
        self.number += updates
        if trace and any(counts):
            self.timeline = self._timeline(notes, counts)
        return self._together(float(times[:, 1].max() - times[:, 0].min()) * 1e-9, energy)

    def _start(self, work: Callable[[int], None], stop: Array) -> None:
        """Run ``work(worker)`` for every worker of this process."""
        in_threads(self.workers, work, stop, self.pin, first_core=self.first_core)

    def _together(self, seconds: float, energy: Array) -> tuple[float, float]:
        """Seconds and energy of the whole net, of which this process knows its part."""
        return seconds, float(energy.sum())

    def _arrays(self, worker: int) -> tuple:
        values = (self.values_flat, self.a, self.d, self.scratch[worker])
        arrays = (self.parameters, *values, self.mean, self.square)
        return arrays, self.layouts[worker], self.options

    def _predictive_coding(
        self, updates: int, steps: int, rows: Array, stop: Array, energy: Array, notes: list[Array], times: Array
    ) -> Callable[[int], int]:
        kind, algorithm = self.original.dtype.type, self.algorithm
        # Two more than there are workers: for the neighbours on other ranks.
        flags = [make_flags(2 * self.workers + 4), make_flags(self.workers + 2), make_flags(self.workers)]
        first_t, P, given = self.t, self.workers, self.given
        edges = self._edges(self._cycles(steps))
        self.t = (self.t + steps) % self.cycle_steps if self.cycle_steps else self.t + steps

        def loop(worker: int) -> int:
            below = worker - 1 if worker else (P if edges[0] else -1)
            above = worker + 1 if worker + 1 < P else (P + 1 if edges[1] else -1)
            return predictive_coding.predictive_coding(  # type: ignore[call-arg]
                worker, P, below, above, self.place + worker, *self.blocks[worker],
                *self._arrays(worker), self.x, self.y, rows,
                self.e, self.h, self.top, self.value_count, self.update_at, self.cycle_steps, self.value_steps,
                first_t, given, steps, self.wave, self.fused, self.number,
                kind(self.gamma), kind(algorithm.alpha), kind(self.precision),
                *flags, stop, energy, notes[worker], times, edges,
            )  # fmt: skip

        return loop

    def _edges(self, cycles: int) -> tuple:
        """What ``loops`` is told of other ranks, for a run in which so many batches begin: there are none."""
        nothing = np.zeros(0, np.int64)
        return False, False, False, False, 0, 0, (0, 0, 0), nothing, nothing, nothing, nothing

    def _backprop(
        self, updates: int, steps: int, rows: Array, stop: Array, energy: Array, notes: list[Array], times: Array
    ) -> Callable[[int], int | None]:
        alpha, number = self.original.dtype.type(self.algorithm.alpha), self.number
        progress, ready = make_flags(2 * self.workers), make_flags(self.workers)

        def loop(worker: int) -> int | None:
            common = (*self._arrays(worker), self.x, self.y, rows, self.e)
            arrays, data = common[:3], common[3:]
            end = (updates, number, alpha, progress, ready, stop, energy, times)
            mine = (worker, self.workers, self.firsts[worker], self.counts[worker])
            block = (worker, self.workers, *self.blocks[worker])
            if self.execution == "intra-layer":
                return backprop.intra_layer(*mine, *common, self.h, self.value_count, *end)  # type: ignore[call-arg]
            if self.execution == "data-parallel":
                return backprop.data_parallel(*mine, *arrays, *self.samples, *data, *end)  # type: ignore[call-arg]
            if self.execution == "pipeline":
                return backprop.pipeline(*block, *arrays, *self.samples, *data, *end)  # type: ignore[call-arg]
            return backprop.serial(  # type: ignore[call-arg]
                *common, updates, number, alpha, stop, energy, notes[worker], times
            )

        return loop

    def _cycles(self, steps: int) -> int:
        """How many batches begin within the next ``steps`` steps."""
        if self.is_backprop:
            return steps
        return len(range(-self.t % self.cycle_steps, steps, self.cycle_steps)) if self.cycle_steps else int(self.t == 0)

    def _rows(self, steps: int) -> Array:
        """The rows of each batch that begins within the next ``steps`` steps: (cycles, B); one for all if full."""
        if self.full_batch:
            return np.arange(self.batch).reshape(1, -1)
        rows = np.empty((self._cycles(steps), self.batch), np.int64)
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
