"""Ceilings of this host by working set and number of workers."""

import numpy as np
import pytest

from pcsim.bench.ceilings import Ceiling, Ceilings, measure_ceilings

pytestmark = pytest.mark.slow


def test_ceilings_interpolate_between_working_sets():
    ceilings = Ceilings([Ceiling("read", 1, 2**10, 100.0), Ceiling("read", 1, 2**20, 50.0), Ceiling("gemm", 1, 0, 7.0)])
    assert ceilings.rate("read", 1, 2**15) == pytest.approx(75)
    assert ceilings.rate("read", 1, 1) == 100
    assert ceilings.rate("read", 1, 2**30) == 50
    assert ceilings.rate("gemm", 1, 2**30) == 7
    assert ceilings.rate("read", 2, 2**10) is None


def test_ceilings_are_measured_for_each_number_of_workers(monkeypatch):
    monkeypatch.setattr("pcsim.bench.ceilings.WORKING_SETS", (2**15, 2**18))
    found = measure_ceilings([1, 2], np.dtype(np.float32), pin=False, seconds=1e-4)
    assert len(found.all) == 2 * (2 * 2 + 1)
    assert all(np.isfinite(c.rate) and c.rate > 0 for c in found.all)
