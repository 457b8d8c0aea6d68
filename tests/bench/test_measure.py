"""A cell: every contender is checked, timed and described in a whole row."""

import dataclasses
import random

import pytest
from contenders import contenders

from pcsim import BP, IPC, PC, InputError
from pcsim.bench import build, check, measure, work
from pcsim.bench.case import Case
from pcsim.bench.ceilings import Ceiling, Ceilings
from pcsim.bench.contenders import Contender
from pcsim.bench.launch import Launch
from pcsim.bench.measure import measure_cell
from pcsim.bench.peers import PYTHONS
from pcsim.bench.rows import SAMPLE_SECONDS
from pcsim.engines.threads import ThreadsEngine
from pcsim.results.fields import SCHEMA
from pcsim.results.files import Writer, read

pytestmark = pytest.mark.slow

QUICK = {"budget": 0.01, "pin": False}


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
            assert len(row["seconds"]) >= measure.ROUNDS[0]
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
        if self.calendar is not None:
            self.arrays[0].parameters[0] *= 1.01
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
    held = {(algorithm.name, alone) for algorithm, alone in known}
    assert {("ipc", False), ("pc", False), ("zil", False), ("bp", False), ("ipc", True)} <= held


def test_two_lengths_of_pc_are_held_against_oracles_of_their_own():
    known: check.References = {}
    for steps in (2, 5):
        check.check(Case(3, 9), Contender(PC(1e-7, T=steps), "serial", 1), known)
    assert {algorithm.T for algorithm, _ in known} == {2, 5}


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
        assert row["tile_rate" if batch == 1 else "gemm_rate"] > 0
        assert row["drift"] > 0
        orders = ("2 micro-batches", "2 micro-batches, zero-bubble", "4 micro-batches", "4 micro-batches, zero-bubble")
        assert row["variant"] in (orders if row["execution"] == "pipeline" else (None,))  # whichever was faster
    assert [row["execution"] for row in rows].count("pipeline") == (batch > 1)
    assert rows[-1]["smm_workers"] == 5


def test_a_wrong_rung_is_a_row_with_an_error(monkeypatch):
    honest = ThreadsEngine.run

    def wrong(self, updates, trace=False):
        answer = honest(self, updates, trace)
        if self.execution == "intra-layer":
            self.layout.rows_of(self.arrays[1].parameters, 1, 0)[0][0, 0] *= 1.01
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
    assert not any("short samples" in text for text in row["warnings"])


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


def test_a_cell_in_a_fresh_process():
    case = Case(2, 8)
    groups = [{one: [one]} for one in contenders(case, [1], ["serial"], [IPC(1e-7), BP(1e-7)])]
    process = Launch(3, case.dtype)
    try:
        rows = process.measure(case, groups, 0.01, False, Ceilings([Ceiling("gemm", 1, 0, 7.0)]), None)
        assert [(row["algorithm"], row["launch"], row["error"]) for row in rows] == [("ipc", 3, None), ("bp", 3, None)]
        with pytest.raises(InputError, match=r"needs .* GiB"):
            process.measure(Case(2, 10**6), groups, 0.01, False, Ceilings([]), None)
        with pytest.raises(ChildProcessError, match="ended with exit code 1"):
            process.measure(case, groups, "long", False, Ceilings([]), None)
    finally:
        process.close()


def test_a_fresh_process_runs_peers_with_the_interpreters_that_were_named(monkeypatch):
    monkeypatch.setitem(PYTHONS, "torch", "/nowhere/python")
    case, torch = Case(2, 8), Contender(BP(1e-7), "torch", 1)
    process = Launch(0, case.dtype)
    try:
        (row,) = process.measure(case, [{torch: [torch]}], 0.01, False, Ceilings([]), None)
    finally:
        process.close()
    assert "/nowhere/python" in row["error"]


def test_turns_are_taken_in_a_random_order_and_backwards(monkeypatch):
    taken = []
    monkeypatch.setattr(measure, "_sample", taken.append)
    measure._take_turns("abcd", 0, (6, 6), random.Random(1))
    rounds = ["".join(taken[at : at + 4]) for at in range(0, 24, 4)]
    assert all(sorted(one) == list("abcd") for one in rounds)
    assert rounds[1::2] == [one[::-1] for one in rounds[::2]]
    assert len(set(rounds[::2])) > 1


def test_rows_have_the_schema_of_the_contract():
    assert SCHEMA == "pcsim-results/1"
    wanted = (
        "algorithm execution backend workers depth width batch steps dtype activation kind seconds median ci95 mm smm "
        "mm_full smm_full smm_workers flops bytes flop_rate bandwidth roofline compile_seconds warnings error"
    )
    row = measure_cell(Case(2, 8), [Contender(IPC(1e-7), "serial", 1)], **QUICK)[0]
    assert set(wanted.split()) <= set(row)
