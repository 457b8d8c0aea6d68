"""What a message between two ranks costs, measured: its time one way, and how much of that computation hides.

The two ranks of a pair answer each other in compiled code, with the calls that the engine makes, while all other ranks
sleep. Every rank makes the same calls here in the same order. Nothing here knows nets.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.machine.clock import nanoseconds, spin
from ..kernels.machine.compiling import njit
from ..kernels.machine.messages import FAILED, Library, finish, functions, make_scratch, start
from ..kernels.machine.simd import pointer
from . import mpi

SIZES = tuple(2**k for k in (3, 8, 10, 12, 14, 16, 18, 20, 22))  # bytes: 8 B to 4 MiB

SLOW = 0.025  # seconds one way after which no larger message is tried: on 100 Mbit/s that is 1 MiB

TAG = 101

WARM, LEAST, MOST = 2, 3, 2000  # round trips that do not count, and how many do

PIECES = 16  # of the computation that polls in between

TESTS = 50  # tests in vain before the core is offered to others, as in the engine


@njit(nogil=True, cache=True)
def _round_trips(addresses, scratch, sending, receiving, outgoing, incoming, timing, budget, stop, times):
    """Round trips of two ranks, of which the one that is ``timing`` writes the nanoseconds of each into ``times``.

    It ends them after ``budget`` nanoseconds, by the first byte of its last message. Returns how many count, or -1 if
    flag 0 of ``stop`` was raised or a call failed.
    """
    library, end = Library(*addresses, pointer(scratch)), pointer(stop)
    if not timing:
        start(library, receiving)
        while True:
            if not finish(library, receiving, end):
                return -1
            last = incoming[0] != 0  # before the next message may arrive
            start(library, sending)
            if not last:
                start(library, receiving)
            if not finish(library, sending, end):
                return -1
            if last:
                return 0
    counted, opened = 0, nanoseconds()
    for turn in range(WARM + len(times)):
        start(library, receiving)
        if turn == WARM:
            opened = nanoseconds()
        last = turn + 1 == WARM + len(times) or (turn + 1 >= WARM + LEAST and nanoseconds() - opened >= budget)
        outgoing[0] = 1 if last else 0
        begin = nanoseconds()
        start(library, sending)
        if not finish(library, receiving, end):
            return -1
        if turn >= WARM:
            times[counted] = nanoseconds() - begin
            counted += 1
        if not finish(library, sending, end):
            return -1
        if last:
            break
    return counted


def one_way(comm: Any, first: int, second: int, bytes: int, budget: float = 0.05) -> float | None:
    """Seconds that a message of so many bytes takes from one rank to another: the median round trip, halved.

    Ranks ``first`` and ``second`` get the same number; the others return None at once, and had better sleep
    (``doctor.asleep``). ``budget`` is in seconds, without compiling; five round trips take place whatever they cost,
    and 2002 at most. The calls are the engine's: persistent requests, started and tested in compiled code. ValueError
    for an empty message or two ranks that are one; RuntimeError where MPI fails.
    """
    if not _in_pair(comm, first, second, bytes):
        return None
    MPI = mpi.world()
    other, timing = (second, True) if comm.rank == first else (first, False)
    outgoing, incoming = np.zeros(bytes, np.uint8), np.zeros(bytes, np.uint8)
    sending, receiving = comm.Send_init(outgoing, other, TAG), comm.Recv_init(incoming, other, TAG)
    scratch, stop, times = make_scratch(), np.zeros(1, np.int64), np.zeros(MOST, np.int64)
    with mpi.watched(stop):
        counted = _round_trips(
            functions(MPI.__file__),
            scratch,
            int(MPI._addressof(sending)),
            int(MPI._addressof(receiving)),
            outgoing,
            incoming,
            timing,
            int(budget * 1e9),
            stop,
            times,
        )
    if scratch[FAILED]:
        raise mpi.Failure(f"MPI failed: {MPI.Get_error_string(int(scratch[FAILED]))}")
    if counted < 0:  # a signal whose handler returned; the other rank waits for this one
        raise KeyboardInterrupt
    sending.Free()
    receiving.Free()
    return _shared(comm, first, second, [float(np.median(times[:counted])) / 2e9 if timing else 0.0])[0]


def _in_pair(comm: Any, first: int, second: int, bytes: int) -> bool:
    """Whether this rank is one of the two; ValueError for a pair or a message that is none."""
    if bytes < 1 or first == second:
        raise ValueError(f"a message of {bytes} bytes from rank {first} to rank {second}")
    return comm.rank in (first, second)


def ladder(comm: Any, first: int, second: int, budget: float = 0.03) -> list[tuple[int, float]]:
    """(bytes, seconds one way) for each of ``SIZES``, up to the first that is slow; empty on all other ranks.

    ``budget`` is in seconds for each size.
    """
    steps: list[tuple[int, float]] = []
    for size in SIZES:
        seconds = one_way(comm, first, second, size, budget)
        if seconds is None:
            break
        steps.append((size, seconds))
        if seconds > SLOW:
            break
    return steps


def overlap(comm: Any, first: int, second: int, bytes: int, budget: float = 0.1) -> dict[str, float] | None:
    """How much of an exchange is hidden behind computation that begins with it and takes as long; None on other ranks.

    Both ranks send and receive so many bytes, and compute. ``unpolled`` is the hidden share where the computation makes
    no call of MPI, ``polled`` where it tests the requests ``PIECES`` times: (exchange + computation − both at once) ÷
    the shorter of the two, between 0 and 1. ``seconds`` is the exchange alone. All are medians, as seen by ``first``
    and sent to ``second``. ``budget`` is in seconds; three rounds take place whatever they cost.
    """
    if not _in_pair(comm, first, second, bytes):
        return None
    MPI = mpi.world()
    other, leads = (second, True) if comm.rank == first else (first, False)
    outgoing, incoming, when = np.zeros(bytes, np.uint8), np.zeros(bytes, np.uint8), np.zeros(1)
    requests = [comm.Recv_init(incoming, other, TAG), comm.Send_init(outgoing, other, TAG)]
    lead, ahead = _clocks(comm, other, leads)
    meeting = [comm.Send_init(when, other, TAG) if leads else comm.Recv_init(when, other, TAG)]

    def timed(work: Callable[[], None], exchange: bool = True) -> float:
        begin = time.perf_counter() + lead
        when[0] = begin + ahead
        MPI.Prequest.Startall(meeting)
        _all_done(MPI, meeting)
        begin = begin if leads else when[0]
        while time.perf_counter() < begin:
            pass
        begin = time.perf_counter()
        if exchange:
            MPI.Prequest.Startall(requests)
        work()
        if exchange:
            _all_done(MPI, requests)
        return time.perf_counter() - begin

    def nothing() -> None:
        pass

    def compute() -> None:
        for _ in range(PIECES):
            spin(turns)

    def compute_and_poll() -> None:
        for _ in range(PIECES):
            spin(turns)
            MPI.Request.Testall(requests)

    spin(1)
    begin = time.perf_counter()
    spin(100_000)
    pace = (time.perf_counter() - begin) / 100_000
    guess = statistics.median([timed(nothing) for _ in range(WARM + LEAST)][WARM:])
    # A round is one exchange alone, two with computation, one computation, and four starts.
    rounds = min(100, max(LEAST, int(budget / (6 * guess + 4 * lead))))
    guess, count = _shared(comm, first, second, [guess, rounds])
    turns = max(1, int(guess / pace / PIECES))
    samples = [
        (timed(nothing), timed(compute, exchange=False), timed(compute), timed(compute_and_poll))
        for _ in range(int(count))
    ]
    for request in (*requests, *meeting):
        request.Free()
    alone, computed, both, polled = (statistics.median(column) for column in zip(*samples, strict=True))
    shares = [hidden(alone, computed, together) for together in (both, polled)]
    found = _shared(comm, first, second, [*shares, alone])
    return dict(zip(("unpolled", "polled", "seconds"), found, strict=True))


def _clocks(comm: Any, other: int, leads: bool) -> tuple[float, float]:
    """For the rank that leads: the seconds in which a message surely gets to the other rank, and how far that one's
    clock (``time.perf_counter``) is ahead. The other rank only answers.

    Two ranks that began when they hear of each other would begin one latency apart. Cristian's method (Distributed
    Computing 3, 1989): the quickest answer has the clock of its middle.
    """
    trips, theirs = [], np.zeros(1)
    for _ in range(WARM + LEAST):
        sent = time.perf_counter()
        if leads:
            comm.Send(theirs, other, TAG)
            comm.Recv(theirs, other, TAG)
            back = time.perf_counter()
            trips.append((back - sent, float(theirs[0]) - (sent + back) / 2))
        else:
            comm.Recv(theirs, other, TAG)
            theirs[0] = time.perf_counter()
            comm.Send(theirs, other, TAG)
    if not leads:
        return 0.0, 0.0
    quickest, ahead = min(trips)
    return quickest + 50e-6, ahead


def hidden(exchange: float, computation: float, both: float) -> float:
    """The share, 0 to 1, of the shorter of two times that is hidden behind the longer when both take ``both``.

    >>> hidden(2.0, 4.0, 5.0)
    0.5
    """
    return min(1.0, max(0.0, (exchange + computation - both) / min(exchange, computation)))


def _all_done(MPI: Any, requests: list[Any]) -> None:
    """Wait as the engine does. A call that blocks would hold back Ctrl-C, and the core from a rank that shares it."""
    tests = 0
    while not MPI.Request.Testall(requests):
        tests += 1
        if tests >= TESTS:
            os.sched_yield() if hasattr(os, "sched_yield") else time.sleep(0)


def _shared(comm: Any, first: int, second: int, numbers: list[float]) -> list[float]:
    """The numbers of ``first``, on both ranks."""
    message = np.array(numbers, np.float64)
    if comm.rank == first:
        comm.Send(message, second, TAG)
    else:
        comm.Recv(message, first, TAG)
    return message.tolist()
