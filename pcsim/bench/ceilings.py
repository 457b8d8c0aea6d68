"""What this machine can do at most: bandwidth by working set, and the rate of matrix products (TRUST's roofline)."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

WORKING_SETS = tuple(2**k for k in range(15, 29))  # bytes: 32 KiB (first-level cache) to 256 MiB (memory)

GEMM_SIZE = 512

SHAPE_FLOPS = 1e9  # in a sample of products of given shapes: some milliseconds

TILE_BYTES = 24 << 10


@dataclass(frozen=True)
class Ceiling:
    """``kind`` "read", "read-write" (bytes read and written, per second) or "gemm" (flop per second), with that many
    workers at once, over a working set of ``size`` bytes in all."""

    kind: str
    workers: int
    size: int
    rate: float


class Products(NamedTuple):
    """The products of a layer that are made at once: predictions and gradients of ``above`` × ``below`` weights, with
    so many ``rows`` of samples or patches; unless the layer is the first, back-projections too. ``times``: how often in
    an update, which need not be a whole number."""

    rows: int
    above: int
    below: int
    back: bool = True
    times: float = 1.0

    @property
    def flops(self) -> float:
        """Of all of them."""
        return self.times * (6 if self.back else 4) * self.rows * self.above * self.below


class Ceilings:
    """Measured ceilings, with bandwidths interpolated between working sets (linear in the logarithm of the size)."""

    def __init__(self, ceilings: Sequence[Ceiling]) -> None:
        self.all = list(ceilings)

    def rate(self, kind: str, workers: int, size: float = 0) -> float | None:
        """Bytes or flop per second; None where no run with so many workers was measured."""
        points = sorted((c.size, c.rate) for c in self.all if c.kind == kind and c.workers == workers)
        if not points:
            return None
        if len(points) == 1:
            return points[0][1]
        sizes, rates = zip(*points, strict=True)
        return float(np.interp(math.log(max(size, 1)), np.log(sizes), rates))

    def to_json(self) -> list[dict]:
        """For the context of a results file."""
        return [asdict(c) for c in self.all]


def measure_ceilings(workers: Sequence[int], dtype: np.dtype, pin: bool = True, seconds: float = 0.004) -> Ceilings:
    """Measure on this machine, for each number of workers; the best of five samples of ``seconds`` each."""
    from ..engines import blas_threads

    with blas_threads(1):
        found = []
        for count in workers:
            for size in WORKING_SETS:
                arrays = working_set(count, size, dtype, pin)
                for kind, writes in (("read", False), ("read-write", True)):
                    found.append(Ceiling(kind, count, size, bandwidth(arrays, writes, pin, seconds)))
            found.append(Ceiling("gemm", count, 0, gemm_rate(count, (GEMM_SIZE, GEMM_SIZE), dtype, pin)))
    return Ceilings(found)


def _best(workers: int, pin: bool, samples: int, run) -> float:
    """The shortest time, in seconds, from the first start to the last end."""
    from ..host.threads import in_threads
    from ..kernels.machine.sync import make_flags

    best = math.inf
    for _ in range(samples):
        ready, stop, times = make_flags(workers), make_flags(1), np.zeros((workers, 16), np.int64)
        in_threads(workers, lambda worker: run(worker, ready, stop, times), stop, pin)  # noqa: B023 - run at once
        best = min(best, float(times[:, 1].max() - times[:, 0].min()) * 1e-9)
    return best


def working_set(workers: int, size: int, dtype: np.dtype, pin: bool) -> list[np.ndarray]:
    """An array for each worker, which has written it; ``size`` bytes in all."""
    from ..host.threads import in_threads
    from ..kernels.machine.memory import aligned_empty

    count = size // workers // dtype.itemsize // 128 * 128  # whole rounds of the unrolled loops
    arrays = [aligned_empty(count, dtype) for _ in range(workers)]
    in_threads(workers, lambda worker: arrays[worker].fill(1), pin=pin)
    return arrays


def bandwidth(arrays: Sequence[np.ndarray], writes: bool, pin: bool, seconds: float) -> float:
    """Bytes per second that go to and from a ``working_set``, each array through its worker's core."""
    from ..kernels.machine.ceilings import sweep_memory
    from ..kernels.machine.memory import aligned_empty

    workers = len(arrays)
    scratch = [aligned_empty(64, arrays[0].dtype) for _ in range(workers)]
    moved = (2 if writes else 1) * arrays[0].nbytes * workers
    repeats = max(1, int(seconds * 50e9 * workers / moved))

    def run(worker, ready, stop, times):
        sweep_memory(worker, workers, arrays[worker], scratch[worker], writes, repeats, ready, stop, times)

    _best(workers, pin, 1, run)
    return moved * repeats / _best(workers, pin, 5, run)


def gemm_rate(workers: int, shape: tuple[int, int], dtype: np.dtype, pin: bool = True) -> float:
    """Flop per second of the three products that a square layer takes, for a batch and width of ``shape``: predictions,
    back-projections and gradients, one BLAS thread per worker, on matrices of its own again and again."""
    batch, width = shape
    return products_rate(workers, Products(batch, width, width), dtype, pin)


def products_rate(workers: int, shape: Products, dtype: np.dtype, pin: bool = True) -> float:
    """The same for a layer of any shape."""
    from ..engines import blas_threads
    from ..kernels.machine.blas import address
    from ..kernels.machine.ceilings import multiply_matrices
    from ..kernels.machine.memory import aligned_empty

    batch, above, below, back, _ = shape
    sizes = above * below, batch * below, batch * above, batch * below
    data = [[aligned_empty(size, dtype) for size in sizes] for _ in range(workers)]
    for arrays in data:
        for array in arrays:
            array.fill(1)
    gemm, flops = address("gemm", dtype), shape.flops / shape.times
    repeats = max(2, math.ceil(SHAPE_FLOPS / flops))

    def run(worker, ready, stop, times):
        multiply_matrices(worker, workers, gemm, batch, above, below, back, *data[worker], repeats, ready, stop, times)

    with blas_threads(1):
        return repeats * flops * workers / _best(workers, pin, 5, run)


def update_rate(workers: int, layers: Sequence[Products], dtype: np.dtype, pin: bool = True) -> float:
    """Flop per second of an update's products, one layer after the other: all its flop ÷ the sum of their times."""
    seconds = sum(one.flops / products_rate(workers, one, dtype, pin) for one in layers)
    return sum(one.flops for one in layers) / seconds


def tile_rate(workers: int, width: int, dtype: np.dtype, pin: bool = True) -> float:
    """Flop per second of the fused pass on rows of so many columns that stay in the first-level cache, with the values
    they need: half of it at most."""
    from ..kernels.layers.dense import padded
    from ..kernels.machine.ceilings import repeat_pass
    from ..kernels.machine.memory import aligned_empty

    columns = padded(width, dtype)
    rows = max(8, min(padded(width, dtype), TILE_BYTES // (columns * dtype.itemsize) // 8 * 8))
    sizes = (rows * columns, columns, columns, rows, rows)
    data = [[aligned_empty(size, dtype) for size in sizes] for _ in range(workers)]
    for arrays in data:
        for array in arrays:
            array.fill(0)
    repeats = max(2, math.ceil(SHAPE_FLOPS / 10 / (6 * rows * columns)))

    def run(worker, ready, stop, times):
        repeat_pass(worker, workers, rows, columns, *data[worker], repeats, ready, stop, times)

    _best(workers, pin, 1, run)
    return repeats * 6 * rows * columns * workers / _best(workers, pin, 5, run)
