"""Sweeps: which cells, what is done already, traces, and what is refused before they start."""

import dataclasses
import itertools
import os
from pathlib import Path

import pytest

import pcsim
from pcsim import BP, IPC, PC, AsyncBP, InputError
from pcsim.algorithms import PIPELINE_ASYNC, Algorithm
from pcsim.bench import contenders as who
from pcsim.bench import grid, launch, measure, sweep, traces
from pcsim.bench.case import Case
from pcsim.bench.ceilings import Ceilings
from pcsim.bench.contenders import Contender
from pcsim.bench.launch import Launch
from pcsim.bench.measure import Known
from pcsim.schedule.timeline import Timeline

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
    seen = []
    rows = list(plan(launches=3).run(Ceilings([]), on_progress=seen.append))
    assert sorted((row["launch"], row["width"], row["algorithm"]) for row in rows) == sorted(
        itertools.product(range(3), (8, 16), ("ipc", "bp"))
    )
    assert [row["launch"] for row in rows] == sorted(row["launch"] for row in rows)  # a process does all cells
    assert [(one.number, one.total, one.launch) for one in seen] == [(n + 1, 6, n // 2) for n in range(6)]
    assert [round(one.share, 3) for one in seen] == [0, 0.357, 0.714, 0.786, 0.857, 0.929]  # 5 5 1 1 1 1 of 14
    assert list(plan(launches=3).run(Ceilings([]), rows)) == []
    again = list(plan(launches=3).run(Ceilings([]), rows[:-1]))
    assert {(row["launch"], row["width"]) for row in again} == {(2, rows[-1]["width"])}


def test_the_order_of_cells_differs_from_process_to_process():
    cells = grid.grid([2, 3, 4], [8], [1])
    rows = sweep.Sweep(cells, [IPC(1e-7)], (1,), ("serial",), 0.01, False, launches=4).run(Ceilings([]))
    orders = [tuple(row["depth"] for row in those) for _, those in itertools.groupby(rows, lambda row: row["launch"])]
    assert len(orders) == 4
    assert all(sorted(order) == [2, 3, 4] for order in orders)
    assert len(set(orders)) > 1


def test_later_processes_take_over_what_the_first_found_out():
    case, groups = Case(2, 8), [{Contender(BP(1e-7), "serial", 1): [Contender(BP(1e-7), "serial", 1)]}]
    slow = Known({groups[0][Contender(BP(1e-7), "serial", 1)][0].name: 12345}, {"1": {"tile_rate": 7.0}})
    process = Launch(3, case.dtype)
    try:
        (row,) = process.measure(case, groups, 0.01, False, Ceilings([]), slow)
    finally:
        process.close()
    assert (row["updates_per_sample"], row["tile_rate"], row["launch"]) == (12345, 7.0, 3)
    assert row["rounds"] == measure.FEW_ROUNDS[0]


def test_steps_tell_contenders_apart():
    few, many = (Contender(PC(1e-7, 0.5, T=steps), "serial", 1) for steps in (4, 64))
    assert few.name != many.name
    rows = rows_of([few])
    assert sweep.complete([{few: [few]}], rows)
    assert not sweep.complete([{few: [few]}, {many: [many]}], rows)
    known = Known.of([{**row, "updates_per_sample": n} for n, row in enumerate(rows_of([few, many]), 1)])
    assert (known.updates[few.name], known.updates[many.name]) == (1, 2)
    failed = Known.of([{**row, "updates_per_sample": 1, "error": "RuntimeError: no"} for row in rows])
    assert not failed.updates  # whose samples nobody has counted out: a process in which it runs does so


def test_who_fails_in_the_first_process_is_neither_chosen_anew_nor_dropped(monkeypatch):
    asked = []

    class Failing:
        def __init__(self, launch, dtype, seed):
            self.launch = launch

        def measure(self, case, groups, budget, pin, ceilings, known):
            asked.append((self.launch, known is not None))
            brought = [one for group in groups for one in next(iter(group.values()))]
            errors = [None, "RuntimeError: no"]
            return [
                {**row, "launch": self.launch, "error": error, "updates_per_sample": 1}
                for row, error in zip(rows_of(brought), errors, strict=True)
            ]

        def close(self):
            pass

    monkeypatch.setattr(sweep, "Launch", Failing)
    monkeypatch.setattr(sweep, "warm_up", lambda *_: {})
    rows = list(plan(launches=3).run(Ceilings([])))
    assert len(rows) == 12
    assert [known for _, known in asked] == [False, False, True, True, True, True]


def test_every_process_has_this_pcsim_and_every_run_its_own_orders(monkeypatch):
    given = {}
    monkeypatch.setattr(launch.subprocess, "Popen", lambda command, **options: given.update(options))
    Launch(0, "float32", "7 0")
    assert given["env"]["PYTHONPATH"].split(os.pathsep)[0] == str(Path(pcsim.__file__).parents[1])
    orders = set()
    for seed in range(4):
        cells = grid.grid([2, 3, 4, 5], [8], [1])
        made = sweep.Sweep(cells, [IPC(1e-7)], (1,), ("serial",), 0.01, False, launches=2, seed=seed)
        seen = []
        finished = [{**row, "launch": n} for n in range(2) for c in cells for row in whole(made, c)]
        list(made.run(Ceilings([]), finished, seen.append))
        orders.add(tuple(one.case.depth for one in seen))
    assert len(orders) > 2


def whole(made, case):
    """Rows that leave nothing to be measured in a cell."""
    brought = [one for group in made.candidates(case) for one in next(iter(group.values()))]
    of_case = {"depth": case.depth, "width": case.width, "batch": case.batch, "dtype": case.dtype}
    return [{**row, **of_case, "activation": case.activation, "error": None} for row in rows_of(brought)]


def test_a_choice_is_found_again_in_the_rows():
    ways = [Contender(BP(), "pipeline", 2, micro_batches=parts) for parts in (2, 4)]
    groups = [{way: [way] for way in ways}]
    rows = [{**row, "variant": "4 micro-batches"} for row in rows_of([ways[1]])]
    assert sweep.chosen(groups, rows) == [{ways[1]: [ways[1]]}]
    assert sweep.chosen(groups, rows, launch=1) is None


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


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("batch", "options"), [(1, {}), (3, {}), (2, {"accumulate": 3, "weights": "stashed"})])
def test_a_trace_of_asynchronous_bp_is_an_order_of_its_slots(batch, options, workers):
    """Slots are the graph's for every layer, whatever is done in one pass; each layer is ahead of the one below."""
    contender = Contender(AsyncBP(**options), PIPELINE_ASYNC, workers)
    timeline, graph = traces.trace(Case(5, 16, batch=batch), contender, 4)
    assert timeline.violations(graph) == []
    assert timeline.workers == workers
    works = {event.layer: {e.name for e in timeline.events if e.layer == event.layer} for event in timeline.events}
    assert works == {0: {"predict", "predict+update"}} | {
        l: {"predict", "predict+backproject+update"} for l in range(1, 4)
    } | {4: {"predict+backproject+update"}}
    # Twins: each event a slot later, or one of them when it could not have been, or not at all.
    late = [dataclasses.replace(event, step=event.step + 1) for event in timeline.events]
    assert Timeline(late).violations(graph)
    last = max(timeline.events, key=lambda event: event.step)
    rest = [event for event in timeline.events if event is not last]
    first = min(event.start for event in rest)
    for change in ([], [dataclasses.replace(last, start=first, end=first)]):
        assert Timeline([*rest, *change]).violations(graph)


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
            "steps": getattr(c.algorithm, "T", 1),
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
        assert sweep.complete(groups, rows_of(brought, 1), launch=1)
        assert not sweep.complete(groups, rows, launch=1)
        for place in range(len(rows)):
            assert not sweep.complete(groups, rows[:place] + rows[place + 1 :])
        if "auto" in workers:  # a row that is not marked does not say who was the fastest
            assert not sweep.complete(groups, [{**row, "auto": False} for row in rows])


def test_candidates_are_not_timed(monkeypatch):
    def never(*anything):
        raise AssertionError("timed")

    monkeypatch.setattr(launch, "fastest", never)
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
