"""How the ranks of a launch do a verb: rank 0 leads and the others follow, or all do the same and rank 0 speaks."""

import contextlib
import sys
from collections.abc import Callable
from typing import Any

from ..errors import InputError
from ..host import mpi
from ..version import __version__
from .words import BAD_INPUT, in_a_line, say


def with_crew(verb: str, work: Callable[[Any], int]) -> int:
    """Run ``work(crew)`` on rank 0 while the other ranks follow it; the exit code of all."""
    from ..bench.crew import sign_on

    crew = sign_on(sys.argv[1:])
    if crew.rank > 0:
        with mpi.patient(lambda: say(f"pcsim {verb}: rank {crew.rank}: interrupted by a signal")):
            try:
                return crew.serve()
            except (InputError, OSError, MemoryError) as error:  # of this rank alone: the others would wait for it
                say(f"pcsim {verb}: rank {crew.rank}: {in_a_line(error)}")
                mpi.abort(BAD_INPUT)
    code = BAD_INPUT
    try:
        code = work(crew)
    except InputError:
        crew.end(code)
        raise
    crew.end(code)
    return code


def on_all_ranks(verb: str, work: Callable[[], int]) -> int:
    """Run ``work`` on every rank alike; the exit code of all. What only one of them cannot do ends the job."""
    comm = mpi.world().COMM_WORLD
    mpi.agree(comm, {"version": __version__, "MPI library": mpi.vendor(), "arguments": sys.argv[1:]})
    others = mpi.patient(lambda: say(f"pcsim {verb}: rank {comm.rank}: interrupted by a signal"))
    try:
        with others if comm.rank else contextlib.nullcontext():
            return work()
    except BrokenPipeError:  # whoever reads rank 0's words has enough
        if comm.size == 1:
            raise
        mpi.abort(0)
    except (OSError, MemoryError) as error:
        if comm.size == 1:
            raise
        say(f"pcsim {verb}: rank {comm.rank}: {in_a_line(error)}")
        mpi.abort(BAD_INPUT)
    raise AssertionError("the job has ended")
