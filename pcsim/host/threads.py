"""Threads for workers: started together, joined together, none left behind."""

import ctypes
import os
import threading
import time
from collections.abc import Callable

import numpy as np

from .topology import placement

LEFT_ALONE = 2.0  # seconds after which an interrupted thread is no longer waited for


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
    and is raised again when all threads have ended. ``pin`` binds worker i to entry ``first_core + i`` of
    ``topology.placement``. ``here``: worker 0 runs on the calling thread, after the others have been started.
    """
    cores = placement() if pin and hasattr(os, "sched_setaffinity") else []
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
        _interrupt(started, lambda: len(ended) < len(started))
        raise
    for thread in started:
        thread.join()
    if failures:
        raise failures[0]


def _interrupt(threads: list[threading.Thread], busy: Callable[[], bool]) -> None:
    """Wait for threads that have been told to stop. Compiled loops stop at once; one that is still compiling is
    interrupted as the main thread would be, and left to itself if LLVM does not come back soon."""
    begin = time.monotonic()
    again = 0.1
    while busy() and (spent := time.monotonic() - begin) < LEFT_ALONE:
        if spent > again:  # more than once, as an interrupt is lost where C calls Python
            again += 0.3
            for thread in threads:
                if thread.ident is not None and thread.is_alive():
                    name = ctypes.c_ulong(thread.ident)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(name, ctypes.py_object(KeyboardInterrupt))
        time.sleep(0.001)


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
