"""MPI as pcsim uses it: started with care, checked against its launcher, and ended as a whole when one rank fails.

mpi4py is imported when it is first needed; without it everything else works. What passes between ranks is
arrays and JSON, never pickles. Nothing here knows nets.
"""

import contextlib
import faulthandler
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import InputError

NAP = 0.005  # seconds between two looks of a sleeping rank

INSTALL = "pip install 'pcsim[mpi]' (brings MPICH), or 'pcsim[cluster]' to use the MPI that is there"

# What launchers tell a process of its place: number of processes, and which of them it is. Not SLURM_NTASKS, which is
# set in every shell of an allocation without any launcher.
LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ("MPI_LOCALNRANKS", "MPI_LOCALRANKID"),
)

LAST_WORDS = 0.2  # seconds for the launcher to pass on what was printed: at an abort it may drop what it still holds

PATIENCE = 120  # seconds in which all processes of a launch must have come

GRACE = 3.0  # seconds in which rank 0 ends an interrupted job itself, before another rank does


class Failure(RuntimeError):
    """The MPI library says that a message has failed, as when another rank has been killed."""


def launched() -> tuple[int, int, str] | None:
    """(rank, number of processes, variable that says so) as the launcher gave it to this process, or None.

    That makes no rank of it yet: each task of a SLURM farm has such variables, and each child of an MPI program.
    """
    for size, rank in LAUNCHERS:
        given = os.environ.get(size, ""), os.environ.get(rank, "")
        if all(word.isdigit() for word in given) and int(given[0]) > 1:
            return int(given[1]), int(given[0]), size
    return None


def alone() -> bool:
    """Whether this process is one of many tasks that SLURM has started, each for itself: MPI sees no others."""
    launch = launched()
    if launch is None or not launch[2].startswith("SLURM"):
        return launch is None
    try:
        return bool(world().COMM_WORLD.size == 1)
    except InputError:
        return True


@lru_cache
def world() -> Any:
    """``mpi4py.MPI``, started for one calling thread (``MPI_THREAD_FUNNELED``).

    Raises InputError where mpi4py or the MPI library is missing, and where the launcher started several processes that
    this library takes for one each.
    """
    try:
        import mpi4py

        if "mpi4py.MPI" not in sys.modules:  # else MPI has been started already
            mpi4py.rc.initialize, mpi4py.rc.finalize = False, True
        from mpi4py import MPI
    except ImportError as error:
        raise InputError(f"MPI is not available ({reason(error)}): {INSTALL}") from None
    except RuntimeError as error:  # mpi4py is there, but no library that it can load
        raise InputError(f"no MPI library could be loaded ({reason(error)}): {INSTALL}") from None
    launch = launched()
    mend = "start pcsim with that library's own mpiexec, or point mpi4py to the launcher's library (MPI4PY_LIBMPI)"
    if launch and launch[2].startswith("OMPI") and "MPICH" in vendor():  # which would end the process in its MPI_Init
        raise InputError(
            f"the launcher started {launch[1]} processes ({launch[2]}), but it is Open MPI's, and mpi4py has loaded "
            f"{vendor()}: {mend}"
        )
    if not MPI.Is_initialized():
        _come_together_with_all_processes(MPI)
    if launch and MPI.COMM_WORLD.size == 1:
        raise InputError(
            f"the launcher started {launch[1]} processes ({launch[2]}), but {vendor()} sees one alone: {mend}"
        )
    if MPI.COMM_WORLD.size > 1:
        sys.excepthook = _end_job
    return MPI


def _come_together_with_all_processes(MPI: Any) -> None:
    """Start MPI, which waits for every process of the launch. One that left before (started with other arguments, or
    without mpi4py) would be waited for for ever: signals end the process meanwhile, and so does too long a wait, with a
    report that names this function. (Nothing of Python runs until the library returns.)"""
    mine = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM) if mine}
    if launched():
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that launcher and library do not fit is said by the caller
            MPI.Init_thread(MPI.THREAD_FUNNELED)
    finally:
        if launched():
            faulthandler.cancel_dump_traceback_later()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def check_thread() -> None:
    """InputError in another thread than the one that started MPI: two at once would take each other's messages."""
    if not world().Is_thread_main():
        raise InputError("MPI was started for one thread, and this is another: train on ranks from that one alone")


def started() -> bool:
    """Whether MPI is running in this process."""
    return world.cache_info().currsize > 0


def vendor() -> str:
    """Name and version of the MPI library in this process."""
    from mpi4py import MPI

    name, version = MPI.get_vendor()
    return f"{name} {'.'.join(map(str, version))}"


def abort(code: int) -> None:
    """End all ranks with this exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    time.sleep(LAST_WORDS)
    world().COMM_WORLD.Abort(code)


def _end_job(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ends the job on an uncaught exception: otherwise the other ranks would wait for this one for ever."""
    rank = world().COMM_WORLD.rank
    text = str(error) if issubclass(kind, Failure) else "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write("".join(f"[rank {rank}] {line}\n" for line in text.splitlines()))
    abort(130 if issubclass(kind, KeyboardInterrupt) else 1)


def all_to_all(comm: Any, value: Any) -> list[Any]:
    """The values (JSON) of all ranks, on every rank."""
    MPI = world()
    mine = np.frombuffer(json.dumps(value).encode(), np.uint8)
    counts = np.zeros(comm.size, np.int64)
    comm.Allgather(np.array([len(mine)]), counts)
    theirs = np.empty(int(counts.sum()), np.uint8)
    comm.Allgatherv(mine, [theirs, counts, MPI.BYTE])
    ends = np.cumsum(counts)
    return [json.loads(theirs[end - count : end].tobytes()) for count, end in zip(counts, ends, strict=True)]


def from_root(comm: Any, value: Any = None) -> Any:
    """Rank 0's value (JSON), on every rank."""
    data = json.dumps(value).encode() if comm.rank == 0 else b""
    length = np.array([len(data)])
    comm.Bcast(length)
    buffer = np.frombuffer(data, np.uint8).copy() if comm.rank == 0 else np.empty(int(length[0]), np.uint8)
    comm.Bcast(buffer)
    return json.loads(buffer.tobytes())


def agree(comm: Any, facts: dict[str, Any]) -> None:
    """InputError on every rank, naming the first fact in which a rank differs from rank 0."""
    facts_of_all = all_to_all(comm, facts)
    for rank, theirs in enumerate(facts_of_all):
        for name in dict.fromkeys([*facts_of_all[0], *theirs]):
            if facts_of_all[0].get(name) != theirs.get(name):
                its, ours = apart(theirs.get(name), facts_of_all[0].get(name))
                raise InputError(
                    f"rank {rank} differs from rank 0 in {name}: {its!r:.60} and {ours!r:.60}; "
                    "all ranks must be started alike"
                )


def apart(one: Any, other: Any) -> tuple[Any, Any]:
    """Where two values part, if they are dictionaries, or lists of the same length."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
        return {n: one.get(n) for n in names}, {n: other.get(n) for n in names}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return one, other


def on_root(comm: Any, work: Callable[[], Any]) -> Any:
    """Rank 0's ``work()``, None elsewhere; an InputError there is raised on every rank."""
    result, refused = None, None
    if comm.rank == 0:
        try:
            result = work()
        except InputError as error:
            refused = str(error)
    if refused := from_root(comm, refused):
        raise InputError(refused)
    return result


def each(comm: Any, work: Callable[[], Any]) -> Any:
    """``work()`` on every rank; what one of them cannot do (InputError, OSError) is an InputError of all, in its words.

    Not for work that sends messages.
    """
    result, refused = None, None
    try:
        result = work()
    except (InputError, OSError) as error:
        refused = str(error)
    for rank, said in enumerate(all_to_all(comm, refused)):
        if said:
            raise InputError(said if rank == 0 else f"rank {rank}: {said}")
    return result


def hosts(comm: Any) -> list[int]:
    """For every rank the number of its host; hosts are numbered as they appear."""
    names = all_to_all(comm, socket.gethostname())
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


@contextlib.contextmanager
def watched(stop: np.ndarray) -> Iterator[None]:
    """While compiled code keeps Python's main thread, a signal that has a Python handler raises ``stop``'s flag 0.

    Only the main thread runs handlers, and only between two instructions of Python; but the bytes that the C handler
    writes (``signal.set_wakeup_fd``) reach a thread that watches. MPI is called by the main thread alone, so the
    handler acts when the compiled loop, which looks at the flag, has returned.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    def watch() -> None:
        while byte := ours.recv(1):
            if byte[0] in (signal.SIGINT, signal.SIGTERM):
                stop[0] = 1

    watcher = threading.Thread(target=watch, name="pcsim-signals", daemon=True)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        theirs.close()
        watcher.join()
        ours.close()


def wait_for_root() -> None:
    """A moment for rank 0, which knows what is kept, to end an interrupted job with its own words."""
    if world().COMM_WORLD.rank > 0:
        time.sleep(GRACE)


@contextlib.contextmanager
def patient(last_words: Callable[[], None]) -> Iterator[None]:
    """While a rank serves rank 0, an interrupt does not stop it at once: rank 0, interrupted as well, may be waiting
    for it in a call that no signal ends, and is the one that knows what is kept. If the job is still there after
    ``GRACE``, it ends with ``last_words`` of this rank."""

    def end() -> None:
        last_words()
        abort(130)

    def later(number: int, frame: Any) -> None:
        timer = threading.Timer(GRACE, end)
        timer.daemon = True
        timer.start()

    before = {number: signal.signal(number, later) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def reason(error: BaseException | str) -> str:
    """What a loader says, in one line: that it failed, and below that why, for each library that it tried."""
    lines = dict.fromkeys(filter(None, map(str.strip, str(error).splitlines())))
    return "; ".join(lines) if lines else type(error).__name__


def asleep(comm: Any) -> None:
    """A barrier that leaves the cores to others: every rank looks once in ``NAP`` seconds whether all have come."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(NAP)
