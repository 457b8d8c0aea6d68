"""Sweeps: which cells, what is done already, traces, and what is refused before they start."""

import itertools

import pytest

from pcsim import BP, IPC, InputError
from pcsim.algorithms import Algorithm
from pcsim.bench import contenders as who
from pcsim.bench import grid, sweep, traces
from pcsim.bench.ceilings import Ceilings

pytestmark = pytest.mark.slow


def test_the_default_grid_is_that_of_the_paper_and_a_full_batch():
    cells = grid.grid(None, None, None)
    assert {(c.depth, c.width) for c in cells if c.batch == 1} == set(
        itertools.product((2, 4, 8, 16, 32), (32, 64, 128, 256, 512, 1024))
    )
    assert [(c.depth, c.width) for c in cells if c.batch == 250] == [(L, 64) for L in (2, 4, 8, 16, 32)]
    assert [(c.depth, c.width, c.batch) for c in grid.grid([3], [8], [2, 1])] == [(3, 8, 1), (3, 8, 2)]
    with pytest.raises(InputError, match="--depths must be a whole number of at least 1, not 0"):
        grid.grid([0], None, None)


def plan(algorithms: list[Algorithm] | None = None, workers=(1,), **options):
    return sweep.Sweep(
        grid.grid([2], [8, 16], [1]), algorithms or [IPC(1e-7), BP(1e-7)], workers, ("serial",), 0.01, False, **options
    )


def test_a_sweep_skips_what_is_done_and_measures_the_rest():
    rows = list(plan().run(Ceilings([])))
    assert len(rows) == 4
    seen = []
    assert list(plan().run(Ceilings([]), rows, seen.append)) == []
    assert [p.skipped for p in seen] == [True, True]
    # A cell of which a row is missing, or has failed, is measured whole.
    again = list(plan().run(Ceilings([]), rows[:3]))
    assert [(row["width"], row["algorithm"]) for row in again] == [(16, "ipc"), (16, "bp")]
    failed = [*rows[:3], {**rows[3], "error": "RuntimeError: no"}]
    assert len(list(plan().run(Ceilings([]), failed))) == 2


def test_every_launch_of_a_cell_is_wanted():
    rows = list(plan(launches=2).run(Ceilings([])))
    assert [(row["width"], row["launch"]) for row in rows] == [
        (8, 0),
        (8, 0),
        (8, 1),
        (8, 1),
        (16, 0),
        (16, 0),
        (16, 1),
        (16, 1),
    ]
    assert list(plan(launches=2).run(Ceilings([]), rows)) == []
    assert {row["width"] for row in plan(launches=2).run(Ceilings([]), rows[:-1])} == {16}


def test_auto_counts_as_done_whatever_it_chose(monkeypatch):
    monkeypatch.setattr(who, "usable_cores", lambda: [0, 1])
    rows = list(plan(workers=("auto",)).run(Ceilings([])))
    assert [row["auto"] for row in rows if row["algorithm"] == "ipc"] == [True, True]
    assert list(plan(workers=("auto",)).run(Ceilings([]), rows)) == []
    unmarked = [{**row, "auto": False} for row in rows]
    assert len(list(plan(workers=("auto",)).run(Ceilings([]), unmarked))) == 4


def test_a_sweep_refuses_what_cannot_work_before_it_starts():
    with pytest.raises(InputError, match="10000 are more than"):
        plan(workers=(10000,)).check()
    plan(workers=(10000,)).check(oversubscribe=True)
    huge = sweep.Sweep(grid.grid([64], [200_000], [1]), [IPC()], [1])
    with pytest.raises(InputError, match=r"needs [\d,.]+ GiB"):
        huge.check()


def test_traces_are_checked_and_named():
    made = plan(workers=(1, 2))
    found = {one.name: one for one in traces.traces(made)}
    assert len(found) == 6
    assert [one.faults for one in found.values()] == [[]] * 6
    assert found["ipc-2w-2x16-b1"].title == "iPC, 2 layers of 16, batch 1: 4 updates"
    assert found["bp-1w-2x8-b1"].timeline.events


def test_a_folder_for_traces_is_made_or_refused(tmp_path):
    assert traces.trace_folder(str(tmp_path / "new" / "traces")).is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        traces.trace_folder(str(tmp_path / "file"))
