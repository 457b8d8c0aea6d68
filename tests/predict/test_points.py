"""Measured points: given back, interpolated, and missed where there are none."""

import copy
from pathlib import Path

import pytest
from machines import MEASURED, put, task

from pcsim.errors import InputError
from pcsim.predict.machine_files import parse
from pcsim.predict.prices import Task

measured = parse(MEASURED, Path("by hand"))


def test_measured_points_are_given_back():
    for work, workers, batch, rows, columns, distance, seconds in MEASURED["products"]["points"]:
        found = measured.cost(Task(work, rows, columns, batch, 4, distance, workers, float(workers)))
        assert found.seconds == pytest.approx(seconds + (1e-7 if work == "values" else 0.0), rel=1e-9)
        assert found.inside


def test_between_measured_points_and_beyond_them():
    def cost(**fields):
        return measured.cost(task(**{"rows": 32, "columns": 32, "distance": 1000.0, **fields}))

    assert cost().seconds == pytest.approx(1e-9 * 32 * 32) and cost().inside
    assert cost(distance=10_000.0).seconds == pytest.approx(2e-9 * 32 * 32)  # half way along the logarithm
    assert cost(distance=1e9).seconds == pytest.approx(3e-9 * 32 * 32)
    assert cost(distance=1e9).memory == pytest.approx(2e-9 * 32 * 32)
    assert not cost(rows=128, columns=128).inside
    assert cost(rows=128, columns=128).seconds == pytest.approx(1e-9 * 128 * 128)
    assert not cost(workers=3).inside and not cost(batch=64).inside
    assert cost(batch=8).inside and cost(batch=64).seconds == pytest.approx(64e-9 * 32 * 32)
    parts = cost(work="predict+update")
    assert parts.seconds == pytest.approx(cost().seconds + cost(work="update").seconds)


def test_twin_another_point_is_another_cost():
    content = copy.deepcopy(MEASURED)
    for point in content["products"]["points"]:
        if point[:5] == ["predict", 1, 1, 64, 64]:
            point[6] *= 1.01
    twin = parse(content, Path("twin"))
    same = task(rows=64, columns=64, distance=1000.0)
    assert twin.cost(same).seconds == pytest.approx(1.01 * measured.cost(same).seconds)
    assert twin.cost(task(rows=16, columns=16)) == measured.cost(task(rows=16, columns=16))


def test_a_work_without_points_is_refused():
    content = put(MEASURED, "products.points", [p for p in MEASURED["products"]["points"] if p[0] != "update"])
    with pytest.raises(InputError, match="no measured points for 'update' at batch 1"):
        parse(content, Path("twin")).cost(task("update"))
