"""What ranks are told of the cores they share; a launcher may have bound them to less than there is."""

import os
import subprocess
import sys

import pytest

from pcsim.bench.crew import Crew


def crew(hosts, usable, unbound):
    """A crew whose ranks are on these hosts and may use these cores."""
    made = Crew.__new__(Crew)
    made.hosts = hosts
    made.cores, made.unbound = made._per_host(usable), made._per_host(unbound)
    return made


def test_bound_ranks_are_said_to_be_bound():
    bound = crew([0], [[0]], [[0, 1, 2, 3]])
    assert bound.crowded(1, 2) == "oversubscribed: 2 workers on 1 core"
    assert bound.room(1, 2) == (
        "the launcher bound the ranks of host 0 to 1 of its 4 cores; unbind them (mpiexec --bind-to none, "
        "srun --cpu-bind=none), start fewer ranks, or add --oversubscribe if that is meant"
    )


def test_of_several_hosts_the_one_that_is_bound_is_named():
    made = crew([0, 0, 1], [[0], [1], [4]], [[0, 1], [0, 1], [4, 5]])
    assert made.crowded(2, 1) is None
    assert made.crowded(3, 2) == "oversubscribed: 4 workers on 2 cores"
    assert "host 1 to 1 of its 2 cores" in made.room(3, 2)


def test_ranks_that_have_all_cores_are_not_bound():
    made = crew([0, 0], [[0, 1], [0, 1]], [[0, 1], [0, 1]])
    assert made.crowded(2, 2) == "oversubscribed: 4 workers on 2 cores"
    assert made.room(2, 2) == "start fewer ranks, or add --oversubscribe if that is meant"


BOUND = """
import os, sys
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from pcsim.cli.main import main
sys.exit(main(["bench", "--backend", "mpi", "--threads", "2", "--depths", "2", "--widths", "8"]))
"""


@pytest.mark.slow
def test_a_rank_on_one_core_is_told_how_to_have_more():
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core")
    done = subprocess.run([sys.executable, "-c", BOUND], capture_output=True, text=True, timeout=300)
    if "MPI" in done.stderr:
        pytest.skip("mpi4py loads no MPI library")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "the launcher bound the ranks of host 0 to 1 of its" in done.stderr


@pytest.mark.slow
def test_the_loader_s_own_reason_is_kept(tmp_path):
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    for library, why in ((tmp_path / "none.so", "cannot open shared object file"), (__file__, "ELF header")):
        done = subprocess.run(
            [sys.executable, "-m", "pcsim", "bench", "--backend", "mpi"],
            env={**os.environ, "MPI4PY_LIBMPI": str(library)}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
        if "cannot load MPI library" in done.stderr:  # else this mpi4py is built for one library alone
            assert why in done.stderr
