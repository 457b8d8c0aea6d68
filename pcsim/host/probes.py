"""Small measurements of this machine: a fixed loop, the distance of two cores, parallel speed, the clock."""

import threading
import time

import numpy as np

from .context import usable_cores

SPIN = 2_000_000  # turns of the fixed loop: a fraction of a millisecond

LONG_SPIN = 100 * SPIN  # some 20 ms: starting 64 threads takes 3 ms, which must not count as lost speed


def spin_for(count: int) -> None:
    from ..kernels.machine.clock import spin

    spin(count)


def seconds_of_spins(workers: int) -> float:
    """Seconds from the first start of so many threads' work to its last end."""
    from .threads import in_threads

    together = threading.Barrier(workers)
    begins, ends = [0.0] * workers, [0.0] * workers

    def work(worker: int) -> None:
        together.wait()
        begins[worker] = time.perf_counter()
        spin_for(LONG_SPIN)
        ends[worker] = time.perf_counter()

    in_threads(workers, work)
    return max(ends) - min(begins)


def clock_cost() -> float:
    """Nanoseconds."""
    from ..kernels.machine.clock import read_cost

    read_cost(1)
    return read_cost(10000) / 10000


FIXED_TURNS = 1_000_000  # of the loop that is timed before and after: some 2 ms


def fixed_loop() -> float:
    """Seconds of a fixed piece of work that touches no memory: the shortest of five."""
    from ..kernels.machine.clock import spin

    spin(1)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        spin(FIXED_TURNS)
        times.append(time.perf_counter() - begin)
    return min(times)


def core_distance(pin: bool = True) -> float | None:
    """One-way flag latency between two cores in seconds, the median of five runs; None on one
    core. Hosts of virtual machines move their cores about: what was 50 ns can be 200 ns a minute later."""
    from ..kernels.machine.sync import make_flags, ping_pong
    from .threads import in_threads

    if len(usable_cores()) < 2:
        return None
    rounds, found = 500, []
    for _ in range(5):
        flags, stop, times = make_flags(2), make_flags(1), np.zeros(2, np.int64)
        in_threads(2, lambda worker: ping_pong(worker, rounds, flags, stop, times), stop, pin)  # noqa: B023 - at once
        found.append(float(times[1] - times[0]) * 1e-9 / (2 * rounds))
    return float(np.median(found))
