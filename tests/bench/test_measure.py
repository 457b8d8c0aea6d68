"""Measurement, sweeps and ceilings: what is counted exactly, and that times are checked, kept, skipped and marked."""

import dataclasses
import itertools

import numpy as np
import pytest

from pcsim import BP, IPC, PC, ZIL, InputError
from pcsim.algorithms import Algorithm
from pcsim.bench import build, check, grid, measure, sweep, traces, work
from pcsim.bench import contenders as who
from pcsim.bench.case import Case
from pcsim.bench.ceilings import Ceiling, Ceilings, measure_ceilings
from pcsim.bench.contenders import Contender
from pcsim.bench.launch import measure_afresh
from pcsim.bench.measure import measure_cell
from pcsim.bench.rows import SAMPLE_SECONDS
from pcsim.engines.threads import ThreadsEngine
from pcsim.results.fields import SCHEMA
from pcsim.results.files import Writer, read
from pcsim.schedule.waves import Caches, read_caches, wave_length

QUICK = {"budget": 0.01, "pin": False}


ALL = [IPC(1e-7), PC(1e-7, 0.5, 2), ZIL(1e-7), BP(1e-7)]


def contenders(case, workers=(1, 2), baselines=("serial", "numpy"), algorithms=ALL):
    """Who runs in a cell where the last alternative of each group is the fastest."""
    groups = who.candidates(case, algorithms, workers, baselines)
    return [one for group in groups for one in list(group.values())[-1]]


def test_a_cell_gives_a_whole_row_for_every_contender(tmp_path):
    case = Case(3, 24)
    ceilings = Ceilings([Ceiling(kind, P, 2**20, 1e9) for kind in ("read", "read-write", "gemm") for P in (1, 2)])
    rows = measure_cell(case, contenders(case), ceilings=ceilings, **QUICK)
    names = [(row["algorithm"], row["execution"], row["workers"]) for row in rows]
    assert names[:4] == [
        ("ipc", "serial", 1),
        ("ipc", "layer-parallel", 2),
        ("pc", "serial", 1),
        ("pc", "layer-parallel", 2),
    ]
    assert names[-2][:2] == ("bp", "serial")
    assert names[-1][:2] == ("bp", "numpy")
    with Writer(tmp_path / "r.jsonl", {}) as writer:
        for row in rows:
            assert row["error"] is None
            assert row["checked"]
            assert len(row["seconds"]) >= measure.MIN_ROUNDS
            assert row["ci95"][0] <= row["median"] <= row["ci95"][1]
            assert row["roofline"] > 0
            assert row["bandwidth"] == pytest.approx(row["bytes"] / row["median"])
            assert (row["handover_seconds"] is not None) == (row["execution"] == "layer-parallel")
            writer.write(row)
    assert read(tmp_path / "r.jsonl").rows == rows
    ipc = rows[0]
    assert (ipc["mm"], ipc["smm"], ipc["mm_full"], ipc["smm_workers"]) == (5, 2, 8, 5)
    assert rows[1]["smm_workers"] == 2.5


def test_work_is_counted_as_the_kernels_do_it():
    case = Case(4, 100)
    W, product = 100 * 100 * 4, 2 * 100 * 100
    assert work.work_per_update(Contender(IPC(), "serial", 1), case) == {
        "flops": 11 * product,
        "read": 0,
        "read-write": 2 * 4 * W,
    }
    assert work.work_per_update(Contender(BP(), "intra-layer", 2), case) == {
        "flops": 11 * product,
        "read": 4 * W,
        "read-write": 2 * 4 * W,
    }
    pc = work.work_per_update(Contender(PC(T=3), "serial", 1), case)
    assert pc["flops"] == (4 + 7 * 3 + 4) * product
    batch = work.work_per_update(Contender(IPC(), "serial", 1), dataclasses.replace(case, batch=10))
    assert batch == {"flops": 110 * product, "read": 7 * W, "read-write": 2 * 4 * W}
    unfused = work.work_per_update(Contender(IPC(), "serial-unfused", 1), case)
    assert unfused == {"flops": 11 * product, "read": 7 * W, "read-write": 2 * 4 * W}
    assert work.work_per_update(Contender(BP(), "blas", 2), case)["read"] == 7 * W


def test_a_wrong_result_is_a_row_with_an_error_and_no_time(monkeypatch):
    honest = ThreadsEngine.run

    def wrong(self, updates, trace=False):
        answer = honest(self, updates, trace)
        if not self.is_backprop:
            self.parameters[0] *= 1.01
        return answer

    monkeypatch.setattr(ThreadsEngine, "run", wrong)
    case = Case(2, 16)
    rows = measure_cell(case, contenders(case, [1]), **QUICK)
    for row in rows:
        if row["algorithm"] == "bp":
            assert row["error"] is None
        else:
            assert "differ from the oracle's" in row["error"]
            assert row["seconds"] == []
            assert row["median"] is None


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_the_check_passes_what_is_right(batch, dtype, activation):
    case = Case(5, 33, batch, dtype, activation)
    known: check.References = {}
    for contender in contenders(case):
        check.check(case, contender, known)
    assert {"ipc", "pc", "zil", "bp", "ipc, one by one"} <= set(known)


def test_a_wave_that_loses_a_step_is_found(monkeypatch):
    monkeypatch.setattr("pcsim.engines.compiled.wave_length", lambda *rest: 4)
    honest = ThreadsEngine.run

    def forgetful(self, updates, trace=False):
        return honest(self, updates - (self.wave > 1 and updates > 2), trace)

    case = Case(4, 16)
    check.check(case, Contender(IPC(1e-7), "layer-parallel", 2), {})
    monkeypatch.setattr(ThreadsEngine, "run", forgetful)
    with pytest.raises(ArithmeticError, match="several steps in a wave"):
        check.check(case, Contender(IPC(1e-7), "layer-parallel", 2), {})


def test_a_contender_that_cannot_be_made_fails_alone(monkeypatch):
    made = build.build

    def no_second_worker(case, contender, *rest, **options):
        if contender.workers == 2 and contender.backend == "threads":
            raise MemoryError("no room for the second")
        return made(case, contender, *rest, **options)

    monkeypatch.setattr(measure, "build", no_second_worker)
    case = Case(2, 8)
    rows = measure_cell(case, [Contender(IPC(1e-7), "serial", 1), Contender(IPC(1e-7), "layer-parallel", 2)], **QUICK)
    assert [row["error"] for row in rows] == [None, "MemoryError: no room for the second"]


def test_workers_are_at_most_the_depth_and_auto_is_marked(monkeypatch):
    monkeypatch.setattr(who, "usable_cores", lambda: [0, 1])
    found = contenders(Case(2, 8), [1, 2, 5, "auto"], ["serial"], [IPC(), BP()])
    assert [(c.algorithm.name, c.workers, c.auto) for c in found] == [
        ("ipc", 1, False),
        ("ipc", 2, True),
        ("bp", 1, False),
    ]
    with pytest.raises(InputError, match="nothing to measure"):
        contenders(Case(2, 8), [1], [], [BP()])


def test_auto_picks_the_faster(monkeypatch):
    def seconds(self, updates, trace=False):
        return updates * (1e-3 if self.workers == 1 else 4e-4), 0.0

    monkeypatch.setattr(ThreadsEngine, "run", seconds)
    candidates = [Contender(IPC(), "serial", 1), Contender(IPC(), "layer-parallel", 2)]
    assert measure.fastest(Case(2, 8), candidates, False) is candidates[1]


def test_the_ladder_of_bp_has_every_rung_that_fits():
    ladder = ["serial", "intra-layer", "blas", "pipeline", "data-parallel", "numpy", "unfused"]

    def rungs(case, workers=(1, 2, 3)):
        found = contenders(case, workers, ladder, [BP(), IPC()])
        return [(c.algorithm.name, c.execution, c.workers, c.micro_batches) for c in found]

    single = [("bp", "serial", 1, None), ("bp", "intra-layer", 3, None), ("bp", "blas", 3, None)]
    mine = [("ipc", "serial", 1, None), ("ipc", "layer-parallel", 2, None)]
    unfused = [("ipc", "serial-unfused", 1, None), ("ipc", "layer-parallel-unfused", 2, None)]
    assert rungs(Case(2, 8)) == [*single, ("bp", "numpy", 3, None), *mine, *unfused]
    both = [("bp", "pipeline", 2, 5), ("bp", "data-parallel", 3, None), ("bp", "numpy", 3, None)]
    assert rungs(Case(2, 8, 5)) == [*single, *both, *mine]
    assert rungs(Case(2, 8, 5), [1]) == [*single[:1], ("bp", "numpy", 1, None), mine[0]]  # the same workers for both
    with pytest.raises(InputError, match="baseline 'torhc' is unknown"):
        who.check_baselines(["torhc"])


def test_a_peer_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(who, "available", lambda name: False)
    with pytest.raises(InputError, match="torch is not installed"):
        who.check_baselines(["serial", "torch"])


@pytest.mark.parametrize("batch", [1, 4])
def test_every_rung_is_checked_and_timed(batch):
    case = Case(3, 24, batch)
    ladder = ["serial", "intra-layer", "blas", "pipeline", "data-parallel", "unfused"]
    runners = contenders(case, [1, 2], ladder, [IPC(1e-7), BP(1e-7)])
    rows = measure_cell(case, runners, ceilings=Ceilings([]), **QUICK)
    assert len(rows) == 7
    for row in rows:
        assert row["error"] is None
        assert row["median"] > 0
        assert (row["tile_rate"] or 0) > 0 if batch == 1 else row["gemm_rate"] > 0
        assert row["drift"] > 0
        assert row["variant"] == ("6 micro-batches" if row["execution"] == "pipeline" else None) or batch == 4
    assert rows[-1]["smm_workers"] == 5


def test_a_wrong_rung_is_a_row_with_an_error(monkeypatch):
    honest = ThreadsEngine.run

    def wrong(self, updates, trace=False):
        answer = honest(self, updates, trace)
        if self.execution == "intra-layer":
            self.parameters[self.layouts[1][2][0] + self.firsts[1, 1] * self.wide[0]] *= 1.01
        return answer

    monkeypatch.setattr(ThreadsEngine, "run", wrong)
    case = Case(2, 32)
    rows = measure_cell(case, contenders(case, [1, 2], ["serial", "intra-layer"], [BP(1e-7)]), **QUICK)
    assert [row["error"] is None for row in rows] == [True, False]
    assert "differ from the oracle's" in rows[1]["error"]


def test_a_machine_that_slows_down_is_told(monkeypatch):
    times = iter([1.0, 1.2])
    monkeypatch.setattr(measure, "fixed_loop", lambda: next(times))
    row = measure_cell(Case(2, 8), [Contender(IPC(1e-7), "serial", 1)], **QUICK)[0]
    assert row["drift"] == pytest.approx(1.2)
    assert any("drift: a fixed loop took 1.20 times as long" in text for text in row["warnings"])


def test_one_slow_run_does_not_shorten_the_samples(monkeypatch):
    honest, slow = ThreadsEngine.run, iter([0.0, 1.0])

    def held_up(self, updates, trace=False):
        seconds, energy = honest(self, updates, trace)
        return max(seconds, next(slow, 0.0)), energy

    monkeypatch.setattr(ThreadsEngine, "run", held_up)
    row = measure_cell(Case(2, 8), [Contender(IPC(1e-7), "serial", 1)], oracle=False, **QUICK)[0]
    assert row["updates_per_sample"] * row["median"] > SAMPLE_SECONDS / 4
    assert row["warnings"] == [] or not any("short samples" in text for text in row["warnings"])


def test_cores_that_move_are_told(monkeypatch):
    distances = iter([5e-8, 2e-7])
    monkeypatch.setattr(measure, "core_distance", lambda pin: next(distances))
    rows = measure_cell(Case(2, 8), contenders(Case(2, 8), [1, 2], [], [IPC(1e-7)]), **QUICK)
    assert [row["core_distance"] for row in rows] == [5e-8, 5e-8]
    moved = [
        any("from one to the other it took 50 ns before this cell, 200 ns after" in t for t in row["warnings"])
        for row in rows
    ]
    assert moved == [False, True]


def test_a_cell_in_fresh_processes():
    case = Case(2, 8)
    runners = contenders(case, [1], ["serial"], [IPC(1e-7), BP(1e-7)])
    rows = measure_afresh(case, runners, 0.01, False, Ceilings([Ceiling("gemm", 1, 0, 7.0)]), 3)
    assert [(row["algorithm"], row["launch"], row["error"]) for row in rows] == [("ipc", 3, None), ("bp", 3, None)]
    with pytest.raises(RuntimeError, match="ended with exit code 1"):
        measure_afresh(case, runners, "long", False, None, 0)


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
    assert all(row["auto"] for row in rows if row["algorithm"] == "ipc")
    assert list(plan(workers=("auto",)).run(Ceilings([]), rows)) == []
    unmarked = [{**row, "auto": False} for row in rows]
    assert len(list(plan(workers=("auto",)).run(Ceilings([]), unmarked))) == 4


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


def test_waves_are_for_weights_beyond_a_cores_cache():
    machine = Caches(own=2**20, last=2**25, sharing=8)
    assert wave_length(2**20, 2**16, 1, machine) == 1
    assert wave_length(2**22, 2**18, 1, machine) > 1
    assert wave_length(2**22, 2**18, 4, machine) == 1
    assert wave_length(2**40, 2**30, 2, machine) == 1  # not even two layers fit
    caches = read_caches()
    assert caches.own > 0
    assert caches.last > 0
    assert caches.sharing >= 1


def test_rows_have_the_schema_of_the_contract():
    assert SCHEMA == "pcsim-results/1"
    wanted = (
        "algorithm execution backend workers depth width batch steps dtype activation kind seconds median ci95 mm smm "
        "mm_full smm_full smm_workers flops bytes flop_rate bandwidth roofline compile_seconds warnings error"
    )
    row = measure_cell(Case(2, 8), [Contender(IPC(1e-7), "serial", 1)], **QUICK)[0]
    assert set(wanted.split()) <= set(row)
