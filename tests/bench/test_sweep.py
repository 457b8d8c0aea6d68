"""Sweeps: which cells, what is done already, traces, and what is refused before they start."""

import itertools

import pytest

from pcsim import BP, IPC, InputError
from pcsim.algorithms import Algorithm
from pcsim.bench import contenders as who
from pcsim.bench import grid, sweep, traces
from pcsim.bench.case import Case
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


def rows_of(brought, launch=None):
    """What a file holds once these contenders were measured."""
    return [
        {
            "algorithm": c.algorithm.name,
            "execution": c.execution,
            "workers": c.workers,
            "auto": c.auto,
            "launch": launch,
        }
        | ({"ranks": c.ranks, "delay": None} if c.ranks else {})
        for c in brought
    ]


@pytest.mark.parametrize("workers", [(1,), (1, 2), ("auto",), (1, 2, "auto")])
@pytest.mark.parametrize("batch", [1, 6])
def test_a_cell_is_complete_with_whoever_was_the_fastest(workers, batch, monkeypatch):
    monkeypatch.setattr(who, "usable_cores", lambda: [0, 1, 2, 3])
    groups = who.candidates(Case(3, 8, batch), [IPC(), BP()], workers, who.OWN_BASELINES)
    for number in range(max(map(len, groups))):
        brought = [one for group in groups for one in list(group.values())[min(number, len(group) - 1)]]
        rows = rows_of(brought)
        assert sweep.complete(groups, rows)
        assert sweep.complete(groups, [*rows, *rows_of(brought, 1)], launches=2)
        assert not sweep.complete(groups, rows, launches=2)
        for place in range(len(rows)):
            assert not sweep.complete(groups, rows[:place] + rows[place + 1 :])
        if "auto" in workers:  # a row that is not marked does not say who was the fastest
            assert not sweep.complete(groups, [{**row, "auto": False} for row in rows])


def test_candidates_are_not_timed(monkeypatch):
    def never(*anything):
        raise AssertionError("timed")

    monkeypatch.setattr(sweep, "fastest", never)
    monkeypatch.setattr(who, "usable_cores", lambda: [0, 1])
    made = plan(workers=("auto",))
    assert [len(group) for group in made.candidates(Case(2, 8))] == [2, 1]
    with pytest.raises(AssertionError, match="timed"):
        made.contenders(Case(2, 8))


def test_with_another_delay_a_cell_on_ranks_is_another_one():
    groups = who.candidates_on_ranks(Case(4, 8), [IPC(), BP()], [1, 2], 1, ["serial", "intra-layer"])
    rows = rows_of([one for group in groups for brought in group.values() for one in brought])
    assert sweep.complete(groups, rows)
    assert not sweep.complete(groups, rows, delay=1e-4)
    assert sweep.complete(groups, [{**row, "delay": 1e-4} for row in rows], delay=1e-4)
