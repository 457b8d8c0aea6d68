"""What convolutions consist of, measured: the kernels' own passes over patches, pools and values, and the products of
BLAS at the shapes of convolutions. Points in the columns of a machine file; of a pass, the seconds of RUNS runs."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..engines import blas_threads
from ..host.threads import in_threads
from ..kernels.layers.activations import CODES
from ..kernels.layers.activations import activate as activate_part
from ..kernels.layers.convolution import (
    COLUMNS,
    FIELDS,
    FILTERS,
    HIGH,
    MAX,
    POOL,
    WIDE,
    WINDOW,
    gather,
    pool,
    scatter,
    unpool,
)  # fmt: skip
from ..kernels.layers.dense import padded
from ..kernels.layers.vectors import fill, subtract_from
from ..kernels.machine.blas import add_a_b, add_a_bt, add_at_b, address
from ..kernels.machine.clock import nanoseconds
from ..kernels.machine.compiling import ZERO, njit
from ..kernels.machine.memory import side_by_side
from ..kernels.machine.simd import pointer
from ..kernels.machine.sync import make_flags, meet
from ..predict.images import MULTIPLY
from ..predict.machine import RUNS
from ..predict.prices import LOAD, PASSES, SKIPS
from ..schedule.patches import PATCH_BYTES
from ..schedule.timeline import BACKPROJECT, PREDICT, VALUE

# Kernels, numbers of a patch, and rows of a product: of the layers of published nets none has these numbers.
KERNELS, NUMBERS, ROWS = (8, 32, 128, 512), (9, 25, 72, 200, 600, 1700, 4700), (48, 192, 768, 3072)

CHANNELS = (1, 3, 8, 40, 160, 640)  # below a kernel of 3 × 3

WIDTHS = 64, 192, 640, 1536  # of layers with a skip

SAMPLES, SECONDS = 5, 2e-3  # of each point, and of each sample

PASS = {name: number for number, name in enumerate(PASSES)}

GATHER, SCATTER, TO_POOL, UNPOOL, SUBTRACT, SLOPE = map(np.int64, range(6))

Few = namedtuple("Few", "one padded")  # of a view, what ``subtract_from`` needs

CHUNK = 4096  # numbers of a pass that knows no images

MOST_BYTES = 192 << 20  # of all images that a pass goes through, for all workers together


@njit(nogil=True, cache=True)
def _pass(worker, workers, kind, form, code, few, count, at_once, below, above, arrays, repeats, ready, stop, times):
    f, (x, y, z, panel) = pointer(form), arrays
    if not meet(worker, workers, pointer(ready), pointer(stop)):
        return
    times[worker, 0] = nanoseconds()
    p, q, r, patches = pointer(x), pointer(y), pointer(z), pointer(panel)
    size, filtered = f[HIGH] * f[WIDE] * f[COLUMNS], f[HIGH] * f[WIDE] * f[FILTERS]
    for turn in range(repeats):
        sample, slot = turn % count, turn % at_once
        if kind == GATHER:
            gather(f, p, sample * below, patches, slot * size)
        elif kind == SCATTER:
            scatter(f, patches, slot * size, p, sample * below)
        elif kind == TO_POOL:
            pool(f, patches, slot * filtered, p, sample * above, q, sample * above, True)
        elif kind == UNPOOL:
            unpool(f, p, sample * above, q, sample * above, patches, slot * filtered)
        elif kind == SUBTRACT:
            subtract_from(few, ZERO, 1, ZERO, below, p, sample * below, q, sample * below)
        elif kind == SLOPE:
            fill(q, sample * below, below, few.one - few.one)
            for j in range(sample * below, (sample + 1) * below):
                q[j] *= r[j]
        else:
            activate_part(code, p, sample * below, below, few.one, q, r)
    times[worker, 1] = nanoseconds()


@njit(nogil=True, cache=True)
def _multiply(worker, workers, kind, gemm, rows, filters, n, columns, turns, one, arrays, repeats, ready, stop, times):
    W, errors, patches, gradient = arrays
    if not meet(worker, workers, pointer(ready), pointer(stop)):
        return
    times[worker, 0] = nanoseconds()
    w, e, p, g, zero = pointer(W), pointer(errors), pointer(patches), pointer(gradient), one - one
    for turn in range(repeats):
        at = (turn % turns) * rows * filters
        if kind == 0:
            add_a_bt(gemm, rows, filters, n, one, p, ZERO, columns, w, ZERO, columns, zero, e, at, filters)
        elif kind == 1:
            add_a_b(gemm, rows, n, filters, one, e, at, filters, w, ZERO, columns, zero, p, ZERO, columns)
        else:
            add_at_b(gemm, filters, n, rows, one, e, at, filters, p, ZERO, columns, one, g, ZERO, columns)
    times[worker, 1] = nanoseconds()


class _Timed:
    """A loop by all workers at once, each with arrays of its own: seconds of a turn, from the common start to the end
    of the slowest."""

    def __init__(self, counts: tuple[int, ...], workers: int, dtype: np.dtype, pin: bool) -> None:
        self.workers, self.pin, self.arrays = workers, pin, dict[int, Any]()

        def allocate(worker: int) -> None:
            made = side_by_side(counts, dtype)
            for array in made:
                array[:] = np.resize(np.random.default_rng(worker).normal(0, 1e-3, 1 << 12).astype(dtype), len(array))
            self.arrays[worker] = tuple(made)

        in_threads(workers, allocate, pin=pin)

    def seconds(self, loop: Callable[..., None], *given: Any) -> float:
        """The lower quartile of SAMPLES, as a disturbance only lengthens."""

        def once(repeats: int) -> float:
            ready, stop, times = make_flags(self.workers), make_flags(1), np.zeros((self.workers, 16), np.int64)

            def run(worker: int) -> None:
                loop(worker, self.workers, *given, self.arrays[worker], repeats, ready, stop, times)

            in_threads(self.workers, run, stop, self.pin)
            return float(times[:, 1].max() - times[:, 0].min()) * 1e-9 / repeats

        once(1)
        turns = max(2, math.ceil(SECONDS / max(once(2), 1e-9)))
        return float(np.quantile([once(turns) for _ in range(1 + SAMPLES)][1:], 0.25))


def measure_images(
    counts: list[int], own: int, last: int, dtype: np.dtype, pin: bool, on_progress: Callable[[int, int], None]
) -> list[list[Any]]:
    """Points of products and passes by each of so many workers, with caches of ``own`` and ``last`` bytes; about half a
    minute."""
    found: list[list[Any]] = []
    with blas_threads(1):
        for number, workers in enumerate(counts):
            for done, part in enumerate((_products, _of_patches, _of_values, _of_rings)):
                on_progress(4 * number + done, 4 * len(counts))
                found += part(workers, own, last, dtype, pin)
    on_progress(4 * len(counts), 4 * len(counts))
    return [[*point, float(f"{seconds:.4g}")] for *point, seconds in found]


def _products(workers: int, own: int, last: int, dtype: np.dtype, pin: bool) -> Iterator[list[Any]]:
    item, gemm = dtype.itemsize, address("gemm", dtype)
    for filters in KERNELS:
        for n in NUMBERS:
            columns = padded(n, dtype)
            for rows in ROWS:
                if rows > ROWS[0] and rows * columns * item > PATCH_BYTES:
                    continue
                turns = max(2, last // 4 // (rows * filters * item))  # of errors or predictions in a batch
                weights = filters * columns
                timed = _Timed((weights, turns * rows * filters, rows * columns, weights), workers, dtype, pin)
                shape = gemm, rows, filters, n, columns, turns, dtype.type(1)
                for kind, work in enumerate(MULTIPLY):
                    yield [work, workers, rows, filters, n, 0, timed.seconds(_multiply, kind, *shape)]


def _form(side: int, channels: int, filters: int, kernel: int, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """The numbers of a convolution with padding and a pool, for the kernels; samples at once."""
    form, columns = np.zeros(int(FIELDS), np.int64), padded(kernel * kernel * channels, dtype)
    form[:9] = side, side, channels, kernel, 1, kernel // 2, side, side, filters
    form[int(POOL)], form[int(WINDOW)], form[int(COLUMNS)] = MAX, 2, columns
    return form, max(1, PATCH_BYTES // (side * side * columns * dtype.itemsize))


def _of_patches(workers: int, own: int, last: int, dtype: np.dtype, pin: bool) -> Iterator[list[Any]]:
    few = Few(dtype.type(1), np.zeros(1, np.int64))
    for kernel, channels in [(3, c) for c in CHANNELS] + [(5, 1), (5, 3)]:
        side = 32 if channels < 16 else 12
        form, at_once = _form(side, channels, 8, kernel, dtype)
        below, columns = side * side * channels, int(form[int(COLUMNS)])
        for size in (own // 8, last // 3, 2 * last):
            count = max(1, min(size, MOST_BYTES // workers) // (below * dtype.itemsize))
            timed = _Timed((count * below, 16, 16, at_once * side * side * columns), workers, dtype, pin)
            for name in ("gather", "scatter"):
                seconds = timed.seconds(_pass, PASS[name], form, 0, few, count, at_once, below, 0)
                runs = side * side * kernel
                yield [name, workers, RUNS, 1, kernel * channels, size, seconds * RUNS / runs]
    for filters in KERNELS:
        side = 16
        form, at_once = _form(side, 8, filters, 3, dtype)
        above = side * side // 4 * filters
        count = max(1, last // 2 // (2 * above * dtype.itemsize))
        at_once = max(1, min(at_once, PATCH_BYTES // (side * side * filters * dtype.itemsize)))
        timed = _Timed((count * above, count * above, 16, at_once * side * side * filters), workers, dtype, pin)
        for name in ("pool", "unpool"):
            seconds = timed.seconds(_pass, PASS[name], form, 0, few, count, at_once, 0, above)
            yield [name, workers, RUNS, 1, filters, 0, seconds * RUNS / (side * side)]


def _of_values(workers: int, own: int, last: int, dtype: np.dtype, pin: bool) -> Iterator[list[Any]]:
    """Passes over values, errors and drives, for the units of a layer whatever their number."""
    form, few = np.zeros(int(FIELDS), np.int64), Few(dtype.type(1), np.full(1, CHUNK))
    for name, arrays in (("subtract", 2), ("slope", 2), ("activate", 3)):
        for size in (own // 2, last // 2, 3 * last):
            count = max(1, min(size, MOST_BYTES // workers) // (arrays * CHUNK * dtype.itemsize))
            timed = _Timed((count * CHUNK,) * 3 + (16,), workers, dtype, pin)
            seconds = timed.seconds(_pass, PASS[name], form, CODES["tanh"], few, count, 1, CHUNK, 0)
            yield [name, workers, RUNS, 1, CHUNK, size, seconds * RUNS]


def _of_rings(workers: int, own: int, last: int, dtype: np.dtype, pin: bool) -> Iterator[list[Any]]:
    """New values of wide layers; rows of a new batch; and what a skip adds to the products of dense layers."""
    from .rings import Ring, load_seconds

    batch, wide = 32, CHUNK
    layer = 3 * batch * wide * dtype.itemsize
    for size in (2 * layer, last // 2, 2 * last):
        ring_of = Ring(wide, 16, max(1, size // layer), batch, workers, dtype, pin)
        seconds = _middle(lambda: ring_of.seconds(VALUE, 3))  # noqa: B023 - called at once
        yield ["values", workers, RUNS, 1, wide, ring_of.bytes, seconds * RUNS / batch]
    if workers == 1:
        for units in (CHUNK // 4, CHUNK):
            yield [LOAD, 1, RUNS, 1, units, 0, load_seconds(units, RUNS, 4 * last, dtype, pin)]
    for width in WIDTHS:
        depth = max(2, own // 2 // ((width + 3 * batch) * width * dtype.itemsize))
        rings = [Ring(width, width, depth, batch, workers, dtype, pin, skip=skip) for skip in (False, True)]
        for work, name in ((PREDICT, SKIPS["predict"]), (BACKPROJECT, SKIPS["backproject"])):
            turns = max(1, math.ceil(SECONDS / (depth * rings[0].seconds(work, 1))))
            # One after the other, each at its best: it is a small difference.
            both = [[one.seconds(work, turns) for one in rings] for _ in range(2 * SAMPLES)]
            plain, more = (min(times) for times in zip(*both, strict=True))
            yield [name, workers, RUNS, 1, width, 0, max(more - plain, 1e-12) * RUNS / batch]


def _middle(measure: Callable[[], float]) -> float:
    measure()
    return float(np.median([measure() for _ in range(SAMPLES)]))
