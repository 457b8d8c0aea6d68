"""Predictions: Table 4 on the ideal machine, timelines, sizes, and what is refused."""

import dataclasses
import itertools
import json
import math
import time
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import ALGORITHMS, IDEAL, cases, constant, rooflines, square

from pcsim.algorithms import BP, DFA, IPC, PC, ZIL, DualProp, Local
from pcsim.errors import InputError
from pcsim.predict import timing
from pcsim.predict.machine import Level, Machine, MessageTimes, Segment
from pcsim.predict.machine_files import load, presets
from pcsim.predict.plans import Net, layered
from pcsim.predict.rivals import backprops, compare, layers_on_workers
from pcsim.predict.simulate import Prediction, caches_of, simulate, timeline
from pcsim.schedule.timeline import VALUE, Event, Timeline

INCREMENTAL = ALGORITHMS[-1]
# Kernels compile at their first call, which no deadline should count.
some_examples = settings(deadline=None, max_examples=60)


def layered_execution(algorithm, workers):
    return "serial" if workers == 1 or isinstance(algorithm, BP) else "layer-parallel"


# --- Table 4 and Theorem 3.1 ----------------------------------------------------------------------------------------


def formula(algorithm, L):
    """(mm, smm) of the iPC paper's Table 4; Theorem 3.1 is the last row."""
    match algorithm:
        case BP():
            return 2 * L - 1, 2 * L - 1
        case PC():
            return (2 * L - 1) * algorithm.T, 2 * algorithm.T
        case ZIL():
            return (2 * L - 1) * (L - 1), 2 * (L - 1)
    return 2 * L - 1, 2


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, PC(T=16)], ids=lambda a: f"{a.name}{getattr(a, 'T', '')}")
def test_the_ideal_machine_is_table_4(algorithm):
    for L in range(2, 65):
        graph, net = algorithm.tasks(L, 2), square(L)
        workers = 1 if isinstance(algorithm, BP) else L
        fast = simulate(algorithm, net, IDEAL, layered_execution(algorithm, workers), workers)
        slow = simulate(algorithm, net, IDEAL, "serial", 1)
        assert (slow.seconds, fast.seconds) == (graph.mm, graph.smm) == formula(algorithm, L)
        assert slow.steady and fast.steady


def test_twin_another_price_is_not_table_4():
    for part, price in (("predict", 1.01), ("backproject", 0.99), ("update", 0.01), ("values", 0.01)):
        twin = dataclasses.replace(IDEAL, constants=IDEAL.constants | {part: price})
        found = simulate(INCREMENTAL, square(5), twin, "layer-parallel", 5).seconds
        assert found != formula(INCREMENTAL, 5)[1], part
    late = dataclasses.replace(IDEAL, handover_latency=0.01)
    assert simulate(INCREMENTAL, square(5), late, "layer-parallel", 5).seconds > 2


@some_examples
@given(st.sampled_from(ALGORITHMS[1:]), st.integers(2, 12), st.data())
def test_on_the_ideal_machine_no_fewer_workers_beat_the_list_schedule_bounds(algorithm, depth, data):
    workers = data.draw(st.integers(2, depth))
    graph = algorithm.tasks(depth, 4)
    found = simulate(algorithm, square(depth), IDEAL, "layer-parallel", workers, wave=1).seconds
    assert max(graph.smm, graph.mm / workers) <= found * (1 + 1e-12)
    assert found <= graph.mm


# --- timelines ------------------------------------------------------------------------------------------------------


@some_examples
@given(st.sampled_from(ALGORITHMS), st.integers(2, 7), rooflines(nodes=1), st.integers(1, 5), st.data())
def test_simulated_timelines_are_valid_orders_of_the_graph(algorithm, depth, machine, updates, data):
    widths = data.draw(st.lists(st.integers(1, 100), min_size=depth + 1, max_size=depth + 1))
    workers = 1 if isinstance(algorithm, BP) else data.draw(st.integers(1, depth))
    found = timeline(
        algorithm, Net(tuple(widths)), machine, layered_execution(algorithm, workers), workers, updates=updates
    )
    graph = algorithm.tasks(depth, updates)
    assert found.violations(graph) == []
    assert found.workers == workers
    for worker in range(workers):  # one thing at a time
        mine = sorted((e.start, e.end) for e in found.events if e.worker == worker)
        assert all(a[1] <= b[0] * (1 + 1e-12) for a, b in pairwise(mine))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)
def test_twin_a_shifted_event_is_no_valid_order(algorithm):
    workers = 1 if isinstance(algorithm, BP) else 3
    machine = constant(handover_latency=0.25)
    found = timeline(algorithm, square(3), machine, layered_execution(algorithm, workers), workers, updates=3)
    graph = algorithm.tasks(3, 3)
    assert found.violations(graph) == []
    last = max(found.events, key=lambda e: e.start)
    early = dataclasses.replace(last, start=-5.0, end=-4.0)
    assert Timeline([early if e is last else e for e in found.events]).violations(graph)
    product = next(e for e in found.events if e.work != VALUE)
    assert Timeline([e for e in found.events if e is not product]).violations(graph)  # neither may one be missing


@some_examples
@given(cases(most_depth=5), rooflines(nodes=1))
def test_slices_of_a_predicted_trace_do_not_overlap(case, machine):
    algorithm, net, execution, workers, options = case
    options.pop("wave", None)
    threads = {}
    for e in timeline(algorithm, net, machine, execution, workers, **options).chrome_trace()["traceEvents"]:
        if e["ph"] == "X":
            start = int(e["ts"] * 1000)
            threads.setdefault(e["tid"], []).append((start, start + int(e["dur"] * 1000)))
    for slices in map(sorted, threads.values()):
        assert all(end <= start for (_, end), (start, _) in pairwise(slices))


@pytest.mark.parametrize("algorithm", [Local(), DFA(), DualProp(sweeps=2), DualProp(incremental=True)], ids=str)
def test_rivals_have_timelines_of_their_own(algorithm):
    for depth, workers in itertools.product((1, 2, 5), (1, 2, 5)):
        if workers > depth:
            continue
        how = "serial" if workers == 1 else "layer-parallel"
        for net in (square(depth), square(depth, batch=3)):
            found = timeline(algorithm, net, load("server-64"), how, workers, updates=4)
            beside = {depth + l for l in range(depth - 1)} if isinstance(algorithm, (Local, DFA)) else set()
            assert {e.layer for e in found.events} == set(range(depth)) | beside
            assert {e.worker for e in found.events} == set(range(workers))
            for worker in range(workers):
                mine = sorted((e.start, e.end) for e in found.events if e.worker == worker)
                assert all(a[1] <= b[0] * (1 + 1e-12) + 1e-12 for a, b in pairwise(mine))


def test_a_chrome_trace_opens(tmp_path):
    for algorithm, execution, workers in (
        (INCREMENTAL, "layer-parallel", 3),
        (BP(1e-4), "pipeline", 3),
        (BP(1e-4), "intra-layer", 2),
        (BP(1e-4), "data-parallel", 2),
    ):
        found = timeline(algorithm, square(4, batch=4), load("server-64"), execution, workers, updates=4)
        found.save_chrome_trace(tmp_path / "trace.json")
        trace = json.loads((tmp_path / "trace.json").read_text())
        shown = [e for e in trace["traceEvents"] if e["ph"] == "X"]
        assert len(shown) == len(found.events) > 0
        assert min(e["ts"] for e in shown) == 0 and min(e["dur"] for e in shown) >= 0
        assert isinstance(found.events[0], Event) and found.span > 0


# --- size -----------------------------------------------------------------------------------------------------------


def test_a_million_tasks(capsys):
    """Time is printed, not judged; memory is counted, and linear."""
    depth, bytes_per_task, seconds = 1000, {}, {}
    net = square(depth, 64)
    for updates in (25, 250):
        tracemalloc.start()
        began = time.perf_counter()
        plan = layered(INCREMENTAL, net, depth, whole=updates)
        timed = timing.Timed(plan, IDEAL, net, INCREMENTAL, None)
        _, finish, _ = timed.run(1)
        seconds[updates] = time.perf_counter() - began
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        tasks = len(INCREMENTAL.tasks(depth, updates))
        assert finish.max() == 2 * updates - 1  # the first predictions are the forward start's
        assert len(plan) <= tasks
        bytes_per_task[updates] = peak / tasks
    assert tasks > 990_000
    assert bytes_per_task[250] <= 1.15 * bytes_per_task[25] + 1
    assert bytes_per_task[250] < 2500
    with capsys.disabled():
        print(f"\n{tasks} tasks: {seconds[250]:.2f} s, {bytes_per_task[250]:.0f} byte a task at the peak")


def test_far_beyond_any_host(capsys):
    """Depth 1000, width 16384, 4096 workers."""
    machine, net = load("cluster-infiniband"), square(1000, 16384)
    began = time.perf_counter()
    found = [
        layers_on_workers(INCREMENTAL, net, machine, 4096, ranks=4096),
        simulate(BP(1e-4), net, machine, "serial", 1),
        simulate(BP(1e-4), net, machine, "intra-layer", 4096),
        simulate(BP(1e-4), dataclasses.replace(net, batch=4096), machine, "data-parallel", 4096),
    ]
    took = time.perf_counter() - began
    assert all(p.seconds > 0 and math.isfinite(p.seconds) for p in found)
    assert found[0].workers == 1000
    assert found[0].seconds < found[1].seconds
    with capsys.disabled():
        print(f"\n1000 × 16384 on 4096 workers: {took:.1f} s for {[f'{p.seconds:.3g}' for p in found]}")


# --- predictions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", presets())
def test_presets_simulate_and_say_that_they_are_not_calibrated(name):
    machine = load(name)
    workers = min(4, machine.workers or 4)
    found = compare(square(6, 128, 4), machine, workers)
    assert found.ratio > 0 and found.paper_style > 0
    assert found.ipc.mark == found.bp.mark == found.mark == "not calibrated"
    assert found.bp.seconds == min(p.seconds for p in found.bps)
    assert all(p.seconds > 0 and 0 < p.utilisation <= 1 and p.words for p in (found.ipc, *found.bps))
    assert (found.ipc.energy is None) == (machine.flop_energy is None)


def test_what_cannot_be_simulated_is_refused_in_one_line():
    net, ipc, bp = square(3, batch=2), IPC(), BP(1e-4)
    small = dataclasses.replace(constant(), cores=2)
    for arguments, options, said in (
        ((ipc, net, IDEAL, "sideways", 1), {}, "'sideways' is unknown"),
        ((ipc, net, IDEAL, "serial", 0), {}, "at least 1"),
        ((ipc, net, IDEAL, "serial", 2), {}, "one worker"),
        ((ipc, net, IDEAL, "layer-parallel", 4), {}, "more than the 3 layers"),
        ((bp, net, IDEAL, "data-parallel", 3), {}, "more than the 2 samples"),
        ((bp, net, IDEAL, "pipeline", 4), {}, "more than the 3 layers"),
        ((bp, net, IDEAL, "pipeline", 2), {"order": "zigzag"}, "'zigzag'"),
        ((bp, net, IDEAL, "layer-parallel", 2), {}, "BP has no execution"),
        ((ipc, net, IDEAL, "pipeline", 2), {}, "iPC has no execution"),
        ((ipc, net, small, "layer-parallel", 3), {}, "more than the 2"),
        ((ipc, net, IDEAL, "layer-parallel", 3), {"ranks": 4}, "4 ranks"),
        ((ipc, net, IDEAL, "layer-parallel", 3), {"ranks": 0}, "0 ranks"),
        ((ipc, net, IDEAL, "layer-parallel", 3), {"ranks": 3}, "no messages"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            simulate(*arguments, **options)
        assert "\n" not in str(caught.value)


def test_where_the_time_goes_by_hand():
    """iPC, a worker to each of two layers: passes of 2 s (the lowest projects nothing back) and 3 s, each of which
    waits for the other's one before, handed over within 1 s: 2 + 1 + 3 + 1 seconds in two updates."""
    found = simulate(IPC(), square(2), constant(handover_latency=1.0), "layer-parallel", 2)
    assert found.seconds == 3.5
    assert found.shares == pytest.approx({"arithmetic": 5 / 7, "hand-over": 2 / 7})
    assert found.utilisation == pytest.approx((3 + 2) / 2 / 3.5)
    assert "71% arithmetic" in found.words and "29% hand-over" in found.words
    assert dataclasses.replace(found, calibrated=True, inside=False).mark == "outside the calibrated range"
    assert dataclasses.replace(found, calibrated=True).mark == ""
    assert isinstance(found, Prediction)


def test_flop_bytes_and_messages_are_counted():
    roofline = Machine("r", "", "roofline", None, 1, 2, flop_rate=1e9, levels=(Level("memory", None, 1e9),),
                       between=MessageTimes(0.0, (Segment(0.0, 1e-6, 1e-9),)), within=None)  # fmt: skip
    L, n = 4, 32
    found = simulate(IPC(), square(L, n), roofline, "layer-parallel", 4)
    assert found.flops == 2 * n * n * (3 * L - 1)
    assert found.bytes == 2 * 4 * n * n * L  # each matrix read and written once
    assert found.ranks == 2  # two nodes of two cores
    assert (found.messages, found.message_bytes) == (2, 2 * 4 * n)


def test_waves_are_chosen_by_the_machines_caches():
    assert caches_of(load("ideal")).own > 1 << 60
    found = caches_of(load("server-64"))
    levels = [level for level in load("server-64").levels if level.size is not None]
    assert found.last == levels[-1].size and found.sharing == (levels[-1].sharers or 1)


def test_collectives_are_messages_with_bytes_and_joules():
    net, cluster = square(4, 64), load("cluster-ethernet")
    apart = simulate(BP(), net, cluster, "intra-layer", 4, ranks=4)
    together = simulate(BP(), net, cluster, "intra-layer", 4)
    meetings = 2 * 4 - 2  # after each layer but the last up, but the first down
    assert (together.messages, together.message_bytes) == (0, 0)
    assert apart.messages == meetings * 4 * 3
    assert apart.message_bytes == meetings * 3 * 64 * 4  # each rank gets all of a layer but its own part
    assert apart.energy > together.energy


def test_more_workers_than_rows_or_samples_have_nothing_to_do():
    for width, batch in ((1, 1), (3, 2)):
        for found in backprops(square(2, width, batch), load("server-64"), 8):
            assert 0 < found.seconds < math.inf


def test_what_no_array_can_hold_is_refused():
    with pytest.raises(InputError, match="2147483647"):
        simulate(IPC(), square(2, 10**20), load("server-64"))
