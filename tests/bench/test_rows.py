"""Marks of a row: under what it was measured that makes its time another than it would be."""

import pytest

from pcsim import BP, IPC
from pcsim.bench import rows
from pcsim.bench.case import Case
from pcsim.bench.ceilings import Ceiling, Ceilings
from pcsim.bench.contenders import Contender
from pcsim.bench.rows import Conditions, Entry, row_of

GEMM = Ceilings([Ceiling("gemm", 1, 0, 2e11)])


def warnings(contender=None, case=None, tile=8e10):
    """Of a contender that took 10 ms each time."""
    contender = contender or Contender(IPC(1e-7), "serial", 1)
    entry = Entry(contender, engine=object(), updates=1, seconds=[0.01] * 9)
    conditions = Conditions(GEMM, {1: {"tile_rate": tile, "gemm_rate": None}})
    return row_of(entry, case or Case(2, 256), conditions)["warnings"]


@pytest.fixture(autouse=True)
def ordinary(monkeypatch):
    monkeypatch.setattr(rows, "doubts", list)
    monkeypatch.setattr(rows, "usable_cores", lambda: [0, 1])
    monkeypatch.setattr(rows, "effective_cores", lambda: 2.0)


def test_an_ordinary_row_has_no_marks():
    assert warnings() == []


def test_how_kernels_were_compiled_is_on_every_row_that_runs_them(monkeypatch):
    monkeypatch.setattr(rows, "doubts", lambda: ["kernels compiled with NUMBA_OPT=0"])
    assert warnings() == warnings(Contender(BP(1e-7), "serial", 1)) == ["kernels compiled with NUMBA_OPT=0"]
    assert warnings(Contender(BP(1e-7), "numpy", 1)) == []


def test_kernels_far_below_their_share_are_marked():
    (text,) = warnings(tile=4e9)
    assert text.startswith("slow kernels: 2.0% of the rate of matrix products")
    assert warnings(case=Case(2, 16), tile=4e9) == []


def test_a_quota_is_marked(monkeypatch):
    monkeypatch.setattr(rows, "effective_cores", lambda: 0.5)
    assert warnings() == ["quota: 1 worker with 0.5 cores' worth of time: halted in every period"]
