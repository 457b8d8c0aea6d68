"""The doctor: every check can come out well and badly, and none can crash it."""

import json
import time
from types import SimpleNamespace

import psutil
import pytest

from pcsim import context, doctor


def found(name):
    return doctor._guarded(name, doctor.PROBES[name])


def test_every_check_gives_a_finding():
    checks = doctor.examine()
    assert [check.name for check in checks] == list(doctor.PROBES)
    for check in checks:
        assert check.status in ("ok", "warn", "fail")
        assert check.finding
        assert "could not be examined" not in check.finding
    text = doctor.report(checks)
    assert all(check.finding in text for check in checks)
    told = json.loads(doctor.to_json(checks))
    assert len(told["checks"]) == len(checks)


def test_a_probe_that_breaks_is_a_finding(monkeypatch):
    def breaks():
        raise OSError("no such device\nand more")

    monkeypatch.setitem(doctor.PROBES, "clock", breaks)
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
    monkeypatch.setattr(doctor, "_timed", lambda workers: 0.01 * workers)
    assert found("parallel threads").status == "warn"
    monkeypatch.setattr(doctor, "_timed", lambda workers: 0.01)
    assert found("parallel threads").status == "ok"
    monkeypatch.setattr(context, "usable_cores", lambda: list(range(6)))
    for count in (2, 4, 6):
        assert f"{count} reach 100%" in found("parallel threads").finding


def test_starting_threads_does_not_count_as_lost_speed(monkeypatch):
    slow_to_start = doctor.threading.Thread.start

    def start(thread):
        time.sleep(0.1)
        slow_to_start(thread)

    monkeypatch.setattr(doctor.threading.Thread, "start", start)
    monkeypatch.setattr(doctor, "_spin", lambda count: time.sleep(0.1))
    assert doctor._timed(4) < 0.3  # with the starts it would be 0.4 seconds or more


def test_one_usable_core_is_enough(monkeypatch):
    monkeypatch.setattr(context, "usable_cores", lambda: [0])
    checks = doctor.examine()
    assert not [check for check in checks if "could not be examined" in check.finding]
    told = {check.name: check.finding for check in checks}
    assert "one usable core" in told["parallel threads"]
    assert "one usable core" in told["hand-over"]


def test_an_incomplete_installation_fails(monkeypatch):
    versions = context.version
    monkeypatch.setattr(context, "version", lambda name: None if name == "scipy" else versions(name))
    check = found("installation")
    assert check.status == "fail"
    assert "pip install scipy" in check.advice
    monkeypatch.setattr(context, "version", versions)
    monkeypatch.setattr(doctor.np, "tanh", lambda x: x)
    assert "wrong numbers" in found("installation").finding


def test_a_cache_that_cannot_be_written_is_noticed(monkeypatch):
    def refuses(**options):
        raise OSError(30, "Read-only file system")

    assert found("kernel cache").status == "ok"
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuses)
    check = found("kernel cache")
    assert (check.status, check.finding) == ("warn", "compiled kernels cannot be kept: Read-only file system")
    assert "NUMBA_CACHE_DIR" in check.advice


def test_a_slow_clock_is_noticed(monkeypatch):
    monkeypatch.setattr(doctor, "_clock_cost", lambda: 900.0)
    assert found("clock").status == "warn"


def test_far_threads_are_noticed(monkeypatch):
    monkeypatch.setattr(context, "usable_cores", lambda: [0, 1])

    def slow(workers, work, stop=None, pin=False):
        work(0)

    def answers(worker, rounds, flags, stop, times):
        times[1] = 2 * rounds * 5000

    monkeypatch.setattr("pcsim.engines.workers.in_threads", slow)
    monkeypatch.setattr("pcsim.kernels.sync.ping_pong", answers)
    check = found("hand-over")
    assert (check.status, check.finding) == ("warn", "5000 ns from one thread to another")


def test_unsteady_loops_are_noticed(monkeypatch):
    clock, turns = [0.0], iter(range(1000))

    def spin(count):
        clock[0] += 2.0 if next(turns) % 10 == 0 else 1.0

    monkeypatch.setattr("pcsim.kernels.clock.spin", spin)
    monkeypatch.setattr(doctor.time, "perf_counter", lambda: clock[0])
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


@pytest.mark.parametrize("name", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_a_launcher_around_a_threaded_program_fails(monkeypatch, name):
    monkeypatch.setenv(name, "4")
    check = found("MPI")
    assert check.status == "fail"
    assert f"{name}=4" in check.finding


def test_an_allocation_without_launcher_is_fine(monkeypatch):
    for name in doctor.LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "64")
    assert found("MPI").status == "ok"


def test_mpi_absent_says_what_to_install(monkeypatch):
    for name in doctor.LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    with_context(monkeypatch, mpi=None)
    assert "pip install 'pcsim[mpi]'" in found("MPI").finding


def test_forced_blas_kernels_are_noticed(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert found("BLAS").status == "warn"
    with_context(monkeypatch, blas=[])
    assert "no BLAS" in found("BLAS").finding
