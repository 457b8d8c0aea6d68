"""The doctor: every check can come out well and badly, and none can crash it."""

import json

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
    monkeypatch.setattr(context, "effective_cores", lambda: 1.5)
    check = found("cores")
    assert check.status == "warn"
    assert "--workers 1" in check.advice


def test_siblings_and_governor_are_noticed(monkeypatch):
    with_context(monkeypatch, threads_per_core=2, governor="powersave")
    monkeypatch.setattr(context, "effective_cores", lambda: float(len(context.usable_cores())))
    assert found("cores").status == "warn"
    assert found("frequency").status == "warn"
    with_context(monkeypatch, governor="performance")
    assert found("frequency").status == "ok"


def test_threads_that_do_not_run_in_parallel_are_noticed(monkeypatch):
    monkeypatch.setattr(context, "usable_cores", lambda: [0, 1])
    monkeypatch.setattr(doctor, "_timed", lambda workers: 0.01 * workers)
    assert found("parallel threads").status == "warn"
    monkeypatch.setattr(doctor, "_timed", lambda workers: 0.01)
    assert found("parallel threads").status == "ok"
    monkeypatch.setattr(context, "usable_cores", lambda: [0])
    assert "one usable core" in found("parallel threads").finding
    assert "one usable core" in found("hand-over").finding


@pytest.mark.parametrize("name", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_a_launcher_around_a_threaded_program_fails(monkeypatch, name):
    monkeypatch.setenv(name, "4")
    check = found("MPI")
    assert check.status == "fail"
    assert f"{name}=4" in check.finding


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
