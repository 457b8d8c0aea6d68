"""Threads for workers: started together, joined together, none left behind."""

import os
import threading
import time
from collections.abc import Callable

import numpy as np

from .context import usable_cores


def in_threads(
    workers: int,
    work: Callable[[int], None],
    stop: np.ndarray | None = None,
    pin: bool = False,
    *,
    here: bool = False,
    first_core: int = 0,
) -> None:
    """Run ``work(worker)`` on a thread for each of ``workers`` and wait for all.

    The first exception, or Ctrl-C in the calling thread, raises flag 0 of ``stop``, for which compiled loops look,
    and is raised again when all threads have ended. ``pin`` binds worker i to the core that this process may use
    ``first_core + i``-th. ``here``: worker 0 runs on the calling thread, after the others have been started.
    """
    cores = usable_cores() if pin and hasattr(os, "sched_setaffinity") else []
    first_thread = 1 if here else 0
    failures: list[BaseException] = []
    ended: list[int] = []
    all_ended = threading.Event()

    def end_all() -> None:
        if stop is not None:
            stop[0] = 1

    def guarded(worker: int) -> None:
        try:
            if cores:
                os.sched_setaffinity(0, {cores[(first_core + worker) % len(cores)]})  # of this thread alone
            work(worker)
        except BaseException as failure:  # whatever it is, the others must not wait for this worker for ever
            failures.append(failure)
            end_all()
        finally:
            ended.append(worker)
            if len(ended) == workers:
                all_ended.set()

    threads = [
        threading.Thread(target=guarded, args=(worker,), name=f"pcsim-worker-{worker}", daemon=True)
        for worker in range(first_thread, workers)
    ]
    started: list[threading.Thread] = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
        if here:
            guarded(0)
            if cores:
                os.sched_setaffinity(0, cores)
        # Not Thread.join: interrupted by Ctrl-C it takes a running thread for a stopped one (CPython issue 90882).
        while not all_ended.wait(0.1):  # in slices, as an endless wait would hold back Ctrl-C
            pass
    except BaseException:
        end_all()
        while len(ended) < len(started):
            time.sleep(0.001)
        raise
    finally:
        for thread in started:
            thread.join()
    if failures:
        raise failures[0]


def settle(slice_seconds: float = 0.005, longest: float = 1.0) -> None:
    """Wait until no thread of this process is busy.

    OpenBLAS's threads spin for 2**28 clock cycles (105 ms measured) after a product before they sleep, and until then
    take a core from whoever is timed next: two workers on two cores ran up to four times slower. (Making them sleep at
    once, which a setting allows, would slow NumPy itself.)
    """
    end = time.monotonic() + longest
    while time.monotonic() < end:
        before = time.process_time()
        time.sleep(slice_seconds)
        if time.process_time() - before < slice_seconds / 4:
            return
