"""The table over depths and batches."""

from pathlib import Path

import pytest

from pcsim.predict import machine_files
from pcsim.predict.batches import counted, predicted
from pcsim.report import batches
from pcsim.results.files import latest, read
from pcsim.results.pairs import pairs

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "bench-2-cores.jsonl"


def test_a_line_for_each_cell_and_dashes_for_what_is_not_known():
    at = predicted(4, 1, 64, machine_files.load("ideal-linear"))
    rows = batches.rows([counted(4, 1), counted(4, 64)], {"ideal-linear": {(4, 1): at}}, {(4, 64): 0.9})
    lines = [line.split() for line in batches.table(rows).splitlines()[1:]]
    assert lines == [["4", "1", "3.50", "3.50", "4.00", "3.50", "-"], ["4", "64", "3.50", "1.04", "1.05", "-", "0.900"]]
    assert rows[0]["predicted"]["ideal-linear"]["ipc"] == ["layer-parallel", 4]
    assert batches.marks(rows) == ["ideal-linear: not calibrated"]


def test_measured_ratios_are_those_of_report_the_other_way_round():
    results = read(RESULTS)
    results.rows[:] = latest(results.rows)
    found = batches.measured(results, 64)
    assert set(found) == {(depth, batch) for depth in (2, 4, 8, 16, 32) for batch in (1, 250)}
    pair = next(one for one in pairs(results) if (one["depth"], one["width"], one["batch"]) == (8, 64, 1))
    assert found[8, 1] == pytest.approx(1 / pair["ratio"])
    assert batches.measured(results, 65) == {}
