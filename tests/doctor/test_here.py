"""What the doctor finds on this host: each check with a host that is made up to fail it."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
from ranks import PATIENCE

from pcsim.doctor import here
from pcsim.doctor.checks import report, to_json
from pcsim.errors import InputError
from pcsim.host import compiled, context, mpi, probes


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (name for names in mpi.LAUNCHERS for name in names):
        monkeypatch.delenv(name, raising=False)


def found(name):
    return here._guarded(name, here.PROBES[name])


def test_every_check_gives_a_finding():
    checks = here.examine()
    assert [check.name for check in checks] == list(here.PROBES)
    for check in checks:
        assert check.status in ("ok", "warn", "fail")
        assert check.finding
        assert "could not be examined" not in check.finding
    text = report(checks)
    assert all(check.finding in text for check in checks)
    written = json.loads(to_json(checks))
    assert len(written["checks"]) == len(checks)


def test_a_probe_that_breaks_is_a_finding(monkeypatch):
    def breaks():
        raise OSError("no such device\nand more")

    monkeypatch.setitem(here.PROBES, "clock", breaks)
    check = found("clock")
    assert (check.status, check.finding) == ("warn", "could not be examined: OSError no such device")


def with_context(monkeypatch, **changes):
    whole = context.capture()
    monkeypatch.setattr(context, "capture", lambda *rest: {**whole, **changes})


def test_a_quota_is_noticed(monkeypatch):
    monkeypatch.setattr(context, "usable_cores", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(context, "effective_cores", lambda *root: 1.5)
    check = found("cores")
    assert check.status == "warn"
    assert "--workers 1" in check.advice


def test_siblings_and_governor_are_noticed(monkeypatch):
    with_context(monkeypatch, siblings=[[0, 2], [1, 3]], governor="powersave")
    monkeypatch.setattr(context, "usable_cores", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(context, "effective_cores", lambda *root: 4.0)
    assert found("cores").status == "warn"
    assert "--workers 2" in found("cores").advice
    assert found("frequency").status == "warn"
    with_context(monkeypatch, siblings=[[0], [1], [2], [3]], governor="performance")
    assert found("cores").status == "ok"
    assert found("frequency").status == "ok"
    with_context(monkeypatch, siblings=None, governor=None)
    assert found("cores").status == "ok"
    assert found("frequency").status == "ok"


def test_threads_that_do_not_run_in_parallel_are_noticed(monkeypatch):
    monkeypatch.setattr(context, "usable_cores", lambda: [0, 1])
    monkeypatch.setattr(here, "seconds_of_spins", lambda workers: 0.01 * workers)
    assert found("parallel threads").status == "warn"
    monkeypatch.setattr(here, "seconds_of_spins", lambda workers: 0.01)
    assert found("parallel threads").status == "ok"
    monkeypatch.setattr(context, "usable_cores", lambda: list(range(6)))
    for count in (2, 4, 6):
        assert f"{count} reach 100%" in found("parallel threads").finding


def test_starting_threads_does_not_count_as_lost_speed(monkeypatch):
    slow_to_start = here.threading.Thread.start

    def start(thread):
        time.sleep(0.1)
        slow_to_start(thread)

    monkeypatch.setattr(here.threading.Thread, "start", start)
    monkeypatch.setattr(probes, "spin_for", lambda count: time.sleep(0.1))
    assert probes.seconds_of_spins(4) < 0.3  # with the starts it would be 0.4 seconds or more


def test_one_usable_core_is_enough(monkeypatch):
    monkeypatch.setattr(context, "usable_cores", lambda: [0])
    checks = here.examine()
    assert not [check for check in checks if "could not be examined" in check.finding]
    findings = {check.name: check.finding for check in checks}
    assert "one usable core" in findings["parallel threads"]
    assert "one usable core" in findings["hand-over"]


def test_an_incomplete_installation_fails(monkeypatch):
    versions = context.version
    monkeypatch.setattr(context, "version", lambda name: None if name == "scipy" else versions(name))
    check = found("installation")
    assert check.status == "fail"
    assert "pip install scipy" in check.advice
    monkeypatch.setattr(context, "version", versions)
    monkeypatch.setattr(here.np, "tanh", lambda x: x)
    assert "wrong numbers" in found("installation").finding


def test_a_cache_that_cannot_be_written_is_noticed(monkeypatch):
    assert found("kernel cache").status == "ok"
    monkeypatch.setattr("pcsim.kernels.machine.cache.why_not_kept", lambda: "Read-only file system")
    check = found("kernel cache")
    assert (check.status, check.finding) == ("warn", "compiled kernels cannot be kept: Read-only file system")
    assert "NUMBA_CACHE_DIR" in check.advice


@pytest.mark.parametrize(("files", "words"), [(1, "1 file of kept kernels"), (3, "3 files of kept kernels")])
def test_broken_files_of_the_cache_are_noticed(monkeypatch, files, words):
    monkeypatch.setattr("pcsim.kernels.machine.cache.broken_files", lambda: files)
    check = found("kernel cache")
    assert (check.status, check.finding) == ("warn", f"{words} cut short or damaged")


def test_slow_code_is_noticed(monkeypatch):
    ordinary = {"cpu": "zen", "host_cpu": "zen", "unused": [], "fused_multiply_add": True, "settings": {}}
    monkeypatch.setattr(compiled, "description", lambda: ordinary)
    monkeypatch.setattr("pcsim.bench.ceilings.tile_rate", lambda *rest: 8e10)
    monkeypatch.setattr("pcsim.bench.ceilings.gemm_rate", lambda *rest: 2e11)
    check = found("kernel code")
    assert (check.status, check.advice) == ("ok", "")
    assert check.finding == "kernels compiled for zen; the fused pass reaches 40% of the rate of matrix products"
    monkeypatch.setattr("pcsim.bench.ceilings.tile_rate", lambda *rest: 4e9)
    check = found("kernel code")
    assert check.status == "warn"
    assert "slow kernels: 2.0% of the rate" in check.finding
    monkeypatch.setattr(compiled, "description", lambda: {**ordinary, "settings": {"NUMBA_OPT": 0}})
    check = found("kernel code")
    assert (check.status, check.advice) == ("warn", "unset NUMBA_OPT")
    assert "NUMBA_OPT=0" in check.finding


def test_a_processor_without_fused_products_is_named(monkeypatch):
    old = {"cpu": "nehalem", "host_cpu": "nehalem", "unused": [], "fused_multiply_add": False, "settings": {}}
    monkeypatch.setattr(compiled, "description", lambda: old)
    monkeypatch.setattr("pcsim.bench.ceilings.tile_rate", lambda *rest: 8e10)
    monkeypatch.setattr("pcsim.bench.ceilings.gemm_rate", lambda *rest: 2e11)
    assert "which multiplies and adds in two instructions" in found("kernel code").finding


def test_a_slow_clock_is_noticed(monkeypatch):
    monkeypatch.setattr(here, "clock_cost", lambda: 900.0)
    assert found("clock").status == "warn"


def test_far_threads_are_noticed(monkeypatch):
    monkeypatch.setattr(context, "usable_cores", lambda: [0, 1])

    def slow(workers, work, stop=None, pin=False):
        work(0)

    def answers(worker, rounds, flags, stop, times):
        times[1] = 2 * rounds * 5000

    monkeypatch.setattr("pcsim.host.threads.in_threads", slow)
    monkeypatch.setattr("pcsim.kernels.machine.sync.ping_pong", answers)
    check = found("hand-over")
    assert (check.status, check.finding) == ("warn", "5000 ns from one thread to another")


def test_unsteady_loops_are_noticed(monkeypatch):
    clock, turns = [0.0], iter(range(1000))

    def spin(count):
        clock[0] += 2.0 if next(turns) % 10 == 0 else 1.0

    monkeypatch.setattr("pcsim.kernels.machine.clock.spin", spin)
    monkeypatch.setattr(here.time, "perf_counter", lambda: clock[0])
    check = found("steadiness")
    assert check.status == "warn"
    assert "2.00 times" in check.finding


def test_swap_and_other_processes_are_noticed(monkeypatch):
    monkeypatch.setattr(context, "busy_processes", lambda seconds: [("compiler", 98.7)])
    assert found("other processes").finding == "busy now: compiler 99 %"
    monkeypatch.setattr(context, "busy_processes", lambda seconds: [])
    assert found("other processes").status == "ok"
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=2**30))
    check = found("memory")
    assert check.status == "warn"
    assert "1.0 GiB swapped out" in check.finding


def test_mpi_is_named_without_being_started(monkeypatch):
    with_context(monkeypatch, mpi={"mpi4py": "4.1.2"})
    monkeypatch.setattr(here, "_library", lambda: ("MPICH 5.0.2", ""))
    check = found("MPI")
    assert (check.status, check.finding, check.advice) == ("ok", "MPICH 5.0.2, mpi4py 4.1.2", "")
    monkeypatch.setenv("PMI_SIZE", "1")
    assert found("MPI").finding == "MPICH 5.0.2, mpi4py 4.1.2; launched with one rank (PMI_SIZE=1)"


def test_the_library_is_asked_in_another_process():
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    before = "mpi4py.MPI" in sys.modules
    library, complaint = here._library()
    assert bool(library) != bool(complaint)
    assert ("mpi4py.MPI" in sys.modules) == before


def test_mpi4py_without_a_library_is_noticed(monkeypatch):
    with_context(monkeypatch, mpi={"mpi4py": "4.1.2"})
    answer = SimpleNamespace(returncode=1, stdout="", stderr="Traceback\nRuntimeError: cannot load MPI library\n")
    monkeypatch.setattr(here.subprocess, "run", lambda *command, **options: answer)
    check = found("MPI")
    assert (check.status, check.advice) == ("warn", mpi.INSTALL)
    assert "cannot load MPI library" in check.finding


def test_an_allocation_without_launcher_is_fine(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "64")
    assert found("MPI").status == "ok"


def test_mpi_absent_says_what_to_install(monkeypatch):
    with_context(monkeypatch, mpi=None)
    assert found("MPI").status == "ok"
    assert "pip install 'pcsim[mpi]'" in found("MPI").finding


def test_forced_blas_kernels_are_noticed(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert found("BLAS").status == "warn"
    with_context(monkeypatch, blas=[])
    assert "no BLAS" in found("BLAS").finding


def test_a_launcher_without_mpi_is_said_once(monkeypatch):
    def refuses():
        raise InputError(f"MPI is not available (No module named 'mpi4py'): {mpi.INSTALL}")

    monkeypatch.setattr(mpi, "world", refuses)
    monkeypatch.setattr(here, "PROBES", {"clock": here._clock, "MPI": here._mpi})
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setenv("PMI_RANK", "0")
    checks = here.examine()
    assert [(check.name, check.status) for check in checks][1:] == [("MPI", "fail")]
    assert checks[1].finding.startswith("the launcher started 4 processes (PMI_SIZE), but MPI is not available (No mod")
    assert checks[1].advice == mpi.INSTALL
    monkeypatch.setenv("PMI_RANK", "1")
    assert here.examine() == []
    assert report([]) == ""


def alone(code, **environment):
    """The output of a fresh interpreter that is told of a launcher."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    answer = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


BRIEF = """
from pcsim.doctor import here
from pcsim.doctor.checks import report, to_json
from pcsim.doctor.checks import report
here.PROBES = {}
print(report(here.examine()))
"""


def test_another_launcher_is_told_once():
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    if not here._library()[0]:
        pytest.skip("mpi4py loads no MPI library")
    told = [alone(BRIEF, OMPI_COMM_WORLD_SIZE="2", OMPI_COMM_WORLD_RANK=rank) for rank in "01"]
    assert told[0].startswith("fail  MPI  the launcher started 2 processes (OMPI_COMM_WORLD_SIZE), but ")
    # MPICH would end the process in its MPI_Init, so that it is not asked how many it sees.
    mpich = "MPICH" in here._library()[0]
    assert ("it is Open MPI's, and mpi4py has loaded MPICH" if mpich else "sees one alone") in told[0]
    assert "mpiexec" in told[0].splitlines()[1]
    assert told[1].strip() == ""


def test_one_core_for_a_rank_is_no_fault(monkeypatch):
    monkeypatch.setattr(context, "usable_cores", lambda: [0])
    assert found("parallel threads").status == "warn"
    monkeypatch.setattr(mpi, "launched", lambda: (0, 2, "PMI_SIZE"))
    assert found("parallel threads").status == "ok"
