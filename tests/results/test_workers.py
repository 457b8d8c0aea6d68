"""Ratios over workers from predicted rows: what the sweep saw that wrote them."""

from pathlib import Path

import pytest

from pcsim.errors import InputError
from pcsim.predict import rows, sweep
from pcsim.predict.machine_files import load
from pcsim.results.files import Results
from pcsim.results.workers import over_workers, predicted_over_workers


@pytest.fixture(scope="module")
def cases():
    return list(sweep.sweep(load("server-64"), [2, 8], [64, 1024], [1], [1, 4, 16]))


def results(cases, workers=(1, 4, 16)):
    command = ["pcsim", "simulate", "server-64", "--workers", *map(str, workers), "--out", "made.jsonl"]
    return Results(Path("made.jsonl"), {"command": command}, list(rows.rows(cases)))


def test_points_are_the_cases_of_the_sweep(cases):
    found = over_workers(results(cases))
    known = {(one.depth, one.width, one.workers): one for one in cases}
    assert len(found) == len(cases)
    for point in found:
        case = known[point.depth, point.width, point.workers]
        assert (point.ratio, point.paper_style) == pytest.approx((case.ratio, case.paper_style))
        assert (point.best_execution, point.mark) == (case.best_execution, case.mark)


def test_files_of_one_number_of_workers_and_measured_ones_are_not_over_workers(cases):
    assert predicted_over_workers(results(cases))
    assert not predicted_over_workers(results([case for case in cases if case.workers == 1], [1]))
    unknown = results(cases)
    unknown.context.clear()
    assert predicted_over_workers(unknown)
    assert {point.workers for point in over_workers(unknown)} == {1, 2, 4, 8, 16}  # what was used
    measured = results(cases)
    measured.rows[0] = measured.rows[0] | {"kind": "measured"}
    assert not predicted_over_workers(measured)


def test_without_serial_bp_there_is_no_ratio(cases):
    alone = results(cases)
    alone.rows[:] = [row for row in alone.rows if row["algorithm"] == "ipc"]
    with pytest.raises(InputError, match="no ratio"):
        over_workers(alone)
