"""What this machine can do at most: bandwidth by working set, and the rate of matrix products (TRUST's roofline)."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

WORKING_SETS = tuple(2**k for k in range(15, 29))  # bytes: 32 KiB (first-level cache) to 256 MiB (memory)
GEMM_SIZE = 512


@dataclass(frozen=True)
class Ceiling:
    """``kind`` "read", "read-write" (bytes read and written, per second) or "gemm" (flop per second), with that many
    workers at once, over a working set of ``size`` bytes in all."""

    kind: str
    workers: int
    size: int
    rate: float


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
    from .engines import blas_threads

    with blas_threads(1):
        found = []
        for count in workers:
            for size in WORKING_SETS:
                for kind, writes in (("read", False), ("read-write", True)):
                    found.append(Ceiling(kind, count, size, _bandwidth(count, size, writes, dtype, pin, seconds)))
            found.append(Ceiling("gemm", count, 0, _gemm_rate(count, dtype, pin)))
    return Ceilings(found)


def _best(workers: int, pin: bool, samples: int, run) -> float:
    """The shortest time, in seconds, from the first start to the last end."""
    from .engines.workers import in_threads
    from .kernels.sync import make_flags

    best = math.inf
    for _ in range(samples):
        ready, stop, times = make_flags(workers), make_flags(1), np.zeros((workers, 16), np.int64)
        in_threads(workers, lambda worker: run(worker, ready, stop, times), stop, pin)  # noqa: B023 - run at once
        best = min(best, float(times[:, 1].max() - times[:, 0].min()) * 1e-9)
    return best


def _bandwidth(workers: int, size: int, writes: bool, dtype: np.dtype, pin: bool, seconds: float) -> float:
    from .engines.workers import in_threads
    from .kernels.dense import aligned_empty
    from .kernels.stream import sweep_memory

    count = size // workers // dtype.itemsize // 64 * 64  # whole rounds of the unrolled loops
    arrays = [aligned_empty(count, dtype) for _ in range(workers)]
    scratch = [aligned_empty(64, dtype) for _ in range(workers)]
    in_threads(workers, lambda worker: arrays[worker].fill(1), pin=pin)
    moved = (2 if writes else 1) * count * dtype.itemsize * workers
    repeats = max(1, int(seconds * 50e9 * workers / moved))

    def run(worker, ready, stop, times):
        sweep_memory(worker, workers, arrays[worker], scratch[worker], writes, repeats, ready, stop, times)

    _best(workers, pin, 1, run)
    return moved * repeats / _best(workers, pin, 5, run)


def _gemm_rate(workers: int, dtype: np.dtype, pin: bool) -> float:
    from .kernels.blas import gemm_address
    from .kernels.dense import aligned_empty
    from .kernels.stream import multiply_matrices

    n = GEMM_SIZE
    data = [[aligned_empty(n * n, dtype) for _ in range(3)] for _ in range(workers)]
    for matrices in data:
        for matrix in matrices:
            matrix.fill(1)
    gemm = gemm_address(dtype)

    def run(worker, ready, stop, times):
        multiply_matrices(worker, workers, gemm, n, *data[worker], 4, ready, stop, times)

    return 4 * 2 * n**3 * workers / _best(workers, pin, 5, run)
