"""What the benchmarks share: the ceilings of this machine, measured once, and what stands beside every time.

`make benchmarks` runs them; `pytest benchmarks --benchmark-compare` holds them against the last saved run. Nothing
else should run meanwhile.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pcsim.bench.case import Case
from pcsim.bench.ceilings import Ceilings, gemm_rate, measure_ceilings
from pcsim.bench.contenders import Contender
from pcsim.bench.work import work_per_update
from pcsim.host.context import usable_cores

CORES = len(usable_cores())


@pytest.fixture(scope="session")
def ceilings() -> Ceilings:
    """Bandwidths by working set and rates of products, for one worker and for all."""
    return measure_ceilings(sorted({1, CORES}), np.dtype(np.float32))


@pytest.fixture
def describe(benchmark: Any, ceilings: Ceilings) -> Callable[[Case, Contender, int], None]:
    """Put what is counted of a contender, and its share of the ceilings, beside the time of a round of ``updates``."""

    def put(case: Case, contender: Contender, updates: int) -> None:
        graph = contender.algorithm.tasks(case.depth, 3)
        work = work_per_update(contender, case)
        held = case.depth * case.width**2 * 4
        moved = sum(
            work[kind] / (ceilings.rate(kind, contender.workers, held) or np.inf) for kind in ("read", "read-write")
        )
        shape = (case.batch, case.width) if case.batch > 1 else (512, 512)
        computed = work["flops"] / gemm_rate(contender.workers, shape, np.dtype(np.float32))
        info = {"mm": graph.mm, "smm": graph.smm, "mm_full": graph.mm_full, "smm_full": graph.smm_full}
        info |= {"flops": work["flops"], "bytes": work["read"] + work["read-write"], "updates": updates}
        if benchmark.stats is not None:  # there is none with --benchmark-disable
            seconds = benchmark.stats.stats.median / updates
            info |= {"seconds_per_update": seconds, "roofline": max(moved, computed) / seconds}
        benchmark.extra_info.update(info)

    return put
