"""Simulated seconds against Table 4, a naive event loop in plain Python, closed forms, bounds and monotonicity."""

import dataclasses
import json
import math
import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pcsim.algorithms import BP, IPC, PC, ZIL
from pcsim.errors import InputError
from pcsim.predict import simulate as simulate_module
from pcsim.predict import timing
from pcsim.predict.machine import Level, Machine, MessageTimes, Segment
from pcsim.predict.machine_files import load, presets
from pcsim.predict.plans import EXECUTIONS, Net, layered
from pcsim.predict.rivals import backprops, compare, layers_on_workers, sensitivity
from pcsim.predict.simulate import Prediction, caches_of, simulate, timeline
from pcsim.predict.what_if import FIGURES, with_figure
from pcsim.schedule.timeline import VALUE, Event, Timeline

ALGORITHMS = (BP(1e-4), PC(T=1), PC(T=3), ZIL(), IPC())
INCREMENTAL = ALGORITHMS[-1]
IDEAL = load("ideal")
MB = 1e6

# Kernels compile at their first call, which no deadline should count.
some_examples = settings(deadline=None, max_examples=60)
more_examples = settings(deadline=None, max_examples=150)


def constant(**fields):
    """A machine of constants, with room for everyone."""
    costs = fields.pop("constants", {"start": 1.0, "predict": 1.0, "backproject": 1.0, "update": 1.0, "values": 0.0})
    return Machine("made up", "", "constant", 1, 1, None, constants=costs, **fields)


def square(depth, width=8, batch=1):
    return Net((width,) * (depth + 1), batch)


def layered_execution(algorithm, workers):
    return "serial" if workers == 1 or isinstance(algorithm, BP) else "layer-parallel"


def timed_of(case, machine):
    """What ``simulate`` times: the plan with its seconds."""
    algorithm, net, execution, workers, options = case
    return simulate_module._timed(
        algorithm, net, machine, execution, workers, options.get("ranks"), options.get("micro_batches", 8),
        options.get("order", "split"), options.get("wave"),
    )  # fmt: skip


def seconds_of(case, machine):
    algorithm, net, execution, workers, options = case
    return simulate(algorithm, net, machine, execution, workers, **options).seconds


# --- cases ----------------------------------------------------------------------------------------------------------

rates = st.floats(1e6, 1e12)
times = st.just(0.0) | st.floats(1e-9, 1e-3)


@st.composite
def message_costs(draw):
    begins = [0.0, *sorted(draw(st.sets(st.integers(1, 10**5), max_size=2)))]
    segments = tuple(Segment(float(b), draw(times), draw(st.just(0.0) | st.floats(1e-12, 1e-7))) for b in begins)
    return MessageTimes(draw(times), segments)


@st.composite
def memory_levels(draw):
    sizes = sorted(draw(st.sets(st.integers(64, 10**6), max_size=2)))
    found = []
    for number, size in enumerate([*sizes, None]):
        sharers = draw(st.none() | st.integers(1, 8))
        shared = draw(rates) if sharers else None
        found.append(Level(f"level {number}", size, draw(rates), shared, sharers))
    return tuple(found)


@st.composite
def rooflines(draw, nodes=None):
    """Roofline machines with every figure they can have, on one node or on many."""
    return Machine(
        "drawn", "", "roofline", nodes, 1, draw(st.integers(1, 3)) if nodes is None else 64,
        flop_rate=draw(rates), overhead=draw(times), element=draw(st.just(0.0) | st.floats(1e-12, 1e-6)),
        levels=draw(memory_levels()), handover_latency=draw(times), handover_bandwidth=draw(rates),
        barrier=(draw(times), draw(times)), within=draw(message_costs()), between=draw(message_costs()),
    )  # fmt: skip


@st.composite
def cases(draw, executions=EXECUTIONS[:-1], most_depth=6):
    """(algorithm, net, execution, workers, options) that ``simulate`` takes."""
    execution = draw(st.sampled_from(executions))
    if execution == "layer-parallel":
        algorithm = draw(st.sampled_from(ALGORITHMS[1:]))
    else:
        algorithm = draw(st.sampled_from(ALGORITHMS)) if execution == "serial" else ALGORITHMS[0]
    depth = draw(st.integers(2, most_depth))
    widths = draw(st.lists(st.integers(1, 200), min_size=depth + 1, max_size=depth + 1))
    net = Net(tuple(widths), draw(st.sampled_from([1, 2, 5, 16])), draw(st.sampled_from([4, 8])))
    most = {"serial": 1, "layer-parallel": depth, "pipeline": depth, "data-parallel": net.batch}.get(execution, 9)
    workers = draw(st.integers(min(2, most), most))
    options = {}
    if execution == "pipeline":
        options = {"micro_batches": draw(st.integers(1, 6)), "order": draw(st.sampled_from(["split", "gpipe", "1f1b"]))}
    if execution == "layer-parallel" and isinstance(algorithm, IPC):
        options["wave"] = draw(st.sampled_from([None, 1, 2, 3]))
    if workers > 1:
        options["ranks"] = draw(st.none() | st.integers(1, workers))
    return algorithm, net, execution, workers, options


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


# --- the bubble of a pipeline ---------------------------------------------------------------------------------------

EVEN = constant(constants={"start": 1.0, "predict": 1.0, "backproject": 0.0, "update": 1.0}, serial_batch=True)


@pytest.mark.parametrize("order", ["gpipe", "1f1b"])
def test_the_bubble_of_a_pipeline_is_the_published_one(order):
    for p in (1, 2, 3, 4, 8):
        for m in (1, 2, 3, 4, 8, 32):
            for layers in (1, 3):
                net = square(max(2, p * layers), batch=m)
                found = simulate(BP(1e-4), net, EVEN, "pipeline", p, micro_batches=m, order=order)
                assert 1 - found.utilisation == pytest.approx((p - 1) / (m + p - 1), rel=1e-12, abs=1e-12)
                assert found.seconds == pytest.approx(2 * (m + p - 1) * net.depth / p, rel=1e-12)


def test_twin_unequal_costs_have_another_bubble():
    twin = dataclasses.replace(EVEN, handover_latency=0.1)
    found = simulate(BP(1e-4), square(4, batch=8), twin, "pipeline", 4, micro_batches=8, order="gpipe")
    assert abs(1 - found.utilisation - 3 / 11) > 1e-3


# --- the event loop -------------------------------------------------------------------------------------------------


def naive_finishes(timed, periods, drop_edge=None):
    """Finish of every job in every period: workers with queues, each of which does its next job once it may."""
    plan = timed.plan
    queues = [[] for _ in range(plan.workers)]
    for v, w in enumerate(plan.worker.tolist()):
        if w >= 0:
            queues[w].append(v)
    finish, arrived = {}, {}
    heads, free, port = [0] * plan.workers, [0.0] * plan.workers, [0.0] * plan.workers
    meetings = [(p, v) for p in range(periods) for v in np.flatnonzero(plan.worker < 0).tolist()]

    def ready(p, v):
        """When all that the job waits for is there; None if something is not known yet."""
        latest = 0.0
        for edge in range(plan.at[v], plan.at[v + 1]):
            when = p - int(plan.lag[edge])
            if when < 0 or edge == drop_edge:
                continue
            message = int(timed.message[edge])
            there = arrived.get((when, message)) if message >= 0 else finish.get((when, int(plan.before[edge])))
            if there is None:
                return None
            latest = max(latest, there + float(timed.delay[edge]))
        return latest

    busy = True
    while busy:
        busy = False
        for p, v in list(meetings):
            if (begin := ready(p, v)) is not None:
                finish[p, v] = begin + float(timed.seconds[v])
                meetings.remove((p, v))
                busy = True
            elif (p, v) == meetings[0]:
                break
        for w, queue in enumerate(queues):
            while queue and heads[w] < periods * len(queue):
                p, v = heads[w] // len(queue), queue[heads[w] % len(queue)]
                if (begin := ready(p, v)) is None:
                    break
                free[w] = finish[p, v] = max(begin, free[w]) + float(timed.seconds[v])
                for m in range(timed.sent_by[v], timed.sent_by[v + 1]):
                    arrived[p, m] = port[w] = max(port[w], free[w]) + float(timed.occupied[m])
                heads[w] += 1
                busy = True
    assert len(finish) == periods * len(plan), "jobs wait for one another in a ring"
    return np.array([[finish[p, v] for v in range(len(plan))] for p in range(periods)])


def rounded(timed):
    """The same with whole numbers of 2^-40 s, whose sums and differences are exact."""
    for name in ("seconds", "delay", "occupied"):
        setattr(timed, name, np.round(getattr(timed, name) * 2.0**40) / 2.0**40)
    return timed


@more_examples
@given(cases(most_depth=4), rooflines())
def test_the_rate_is_that_of_a_long_naive_run(case, machine):
    timed = rounded(timed_of(case, machine))
    assume(len(timed.plan) <= 150)
    periods = 60
    _, finish, rate = timed.run(periods // 2)
    ends = naive_finishes(timed, periods)
    seconds, several, steady = rate[0], int(rate[1]), bool(rate[2])
    if steady:  # a state came back, so from here on it does for ever
        np.testing.assert_allclose(ends[-1] - ends[-1 - several], seconds, rtol=1e-8, atol=2.0**-40)
    else:
        slope = (ends[-1].max() - ends[periods // 2].max()) / (periods // 2 - 1)
        assert seconds / several == pytest.approx(slope, rel=0.2)
    # The times of the last period are those of the naive run, wherever its clock began.
    mine = finish - finish.max()
    assert any(np.allclose(mine, end - end.max(), rtol=0, atol=1e-8 * max(end.max(), 1e-9)) for end in ends)


def test_twin_a_dropped_edge_or_a_changed_figure_is_another_run():
    machine = constant(handover_latency=0.5)
    timed = timed_of((INCREMENTAL, square(4), "layer-parallel", 4, {}), machine)
    rate = timed.run(64)[2]
    ends = naive_finishes(timed, 40)
    assert (ends[-1].max() - ends[19].max()) / 20 == pytest.approx(rate[0] / rate[1])
    critical = np.flatnonzero(timed.delay > 0)
    slopes = [np.ptp(naive_finishes(timed, 40, drop_edge=int(e))[[19, -1]].max(1)) / 20 for e in critical]
    whole = naive_finishes(timed, 40)
    assert any(np.any(naive_finishes(timed, 40, drop_edge=int(e)) != whole) for e in critical)
    assert all(slope <= rate[0] / rate[1] + 1e-12 for slope in slopes)
    timed.seconds[int(np.argmax(timed.seconds))] += 0.25
    assert not np.array_equal(naive_finishes(timed, 40), whole)
    changed = timed.run(64)[2]
    assert changed[0] / changed[1] != rate[0] / rate[1]


def test_messages_leave_one_after_the_other_through_the_senders_port():
    """Two layers on two ranks by hand: what goes over holds up what goes over next."""
    slow = MessageTimes(0.0, (Segment(0.0, 0.0, 1.0),))  # a second for each byte
    machine = dataclasses.replace(constant(), nodes=1, cores=64, within=slow)
    case = (INCREMENTAL, Net((1, 1, 1)), "layer-parallel", 2, {"ranks": 2, "wave": 1})
    timed = timed_of(case, machine)
    assert timed.occupied.size == 2  # a value's share up, and one down
    np.testing.assert_array_equal(timed.occupied, 4.0)
    ends = naive_finishes(timed, 60)
    assert seconds_of(case, machine) == pytest.approx((ends[-1].max() - ends[29].max()) / 30, rel=1e-9)
    assert seconds_of(case, machine) >= 4.0


@some_examples
@given(cases(most_depth=5), rooflines())
def test_how_many_periods_are_allowed_does_not_matter(case, machine):
    timed = timed_of(case, machine)
    _, _, rate = timed.run(200)
    assume(rate[2])
    longer = timed.run(4000)[2]
    assert longer[2] and longer[0] / longer[1] == pytest.approx(rate[0] / rate[1], rel=1e-9)
    assert simulate(*case[:2], machine, *case[2:4], **case[4]).steady


# --- lower bounds ---------------------------------------------------------------------------------------------------


def critical_path(timed):
    """Seconds per period with a worker for every job, hand-overs and messages for nothing: dependencies alone."""
    plan = dataclasses.replace(timed.plan, worker=np.arange(len(timed.plan), dtype=np.int32), workers=len(timed.plan))
    alone = object.__new__(type(timed))
    alone.__dict__.update(timed.__dict__)
    alone.plan, alone.delay = plan, np.zeros_like(timed.delay)
    alone.message = np.full_like(timed.message, -1)
    alone.occupied, alone.sent_by = np.zeros(0), np.zeros(len(plan) + 1, np.int64)
    rate = alone.run(400)[2]
    return rate[0] / rate[1]


@more_examples
@given(cases(), rooflines())
def test_never_below_the_critical_path_or_the_work_of_a_worker(case, machine):
    found = simulate(*case[:2], machine, *case[2:4], **case[4])
    timed = timed_of(case, machine)
    plan = timed.plan
    here = plan.worker >= 0
    work = float((timed.seconds * plan.alike[plan.worker])[here].sum()) / plan.updates
    slack = 1 + 1e-7
    assert found.seconds * slack >= work / found.workers
    assert found.seconds * slack >= critical_path(timed) / plan.updates
    assert 0 <= found.utilisation <= 1
    assert found.utilisation == pytest.approx(min(1.0, work / found.workers / found.seconds), rel=1e-6)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert all(share > 0 for share in found.shares.values())


@some_examples
@given(st.sampled_from(ALGORITHMS), st.integers(2, 8), st.lists(st.integers(0, 9), min_size=4, max_size=4), st.data())
def test_never_below_the_critical_path_of_the_tasks(algorithm, depth, prices, data):
    """Independent of plans: longest paths through the task graph, each product at its price."""
    assume(sum(prices) > 0)
    start, predict, backproject, update = (float(price) for price in prices)
    graph = algorithm.tasks(depth, 40)
    if isinstance(algorithm, BP):
        start = predict
    costs = np.array([start, predict, backproject, 0.0, update])[graph.kinds]
    indptr, before = graph.predecessors
    finish = np.zeros(len(graph))
    for v in range(len(graph)):
        finish[v] = max((finish[u] for u in before[indptr[v] : indptr[v + 1]]), default=0.0) + costs[v]
    ends = np.zeros(graph.updates)
    np.maximum.at(ends, graph.update_of, finish)
    ends = np.maximum.accumulate(ends)
    path = (ends[-1] - ends[19]) / 20
    workers = 1 if isinstance(algorithm, BP) else data.draw(st.integers(1, depth))
    machine = constant(constants={"start": start, "predict": predict, "backproject": backproject, "update": update})
    found = simulate(algorithm, square(depth), machine, layered_execution(algorithm, workers), workers)
    tail = graph.update_of >= 20
    assert found.seconds >= path - 1e-9
    assert found.seconds >= costs[tail].sum() / 20 / workers - 1e-9


# --- better figures, more workers -----------------------------------------------------------------------------------

FASTER = {name: 2.0 if name in ("flop rate", "memory bandwidth", "hand-over bandwidth") else 0.5 for name in FIGURES}


def test_every_figure_has_a_better_side():
    assert set(FASTER) == set(FIGURES)
    machine = load("cluster-ethernet")
    for name in FASTER:
        assert with_figure(machine, name, 2.0) != machine


@pytest.mark.parametrize("figure", FIGURES)
@some_examples
@given(cases(), rooflines(), st.floats(1.01, 100))
def test_a_better_figure_never_makes_anything_slower(figure, case, machine, by):
    factor = by if FASTER[figure] > 1 else 1 / by
    better = with_figure(machine, figure, factor)
    assert seconds_of(case, better) <= seconds_of(case, machine) * (1 + 1e-6)


@some_examples
@given(cases(), rooflines(), st.floats(1.01, 100), st.data())
def test_more_shared_bandwidth_never_makes_anything_slower(case, machine, by, data):
    which = data.draw(st.integers(0, len(machine.levels) - 1))
    level = machine.levels[which]
    assume(level.shared is not None)
    levels = list(machine.levels)
    levels[which] = dataclasses.replace(level, shared=level.shared * by)
    better = dataclasses.replace(machine, levels=tuple(levels))
    assert seconds_of(case, better) <= seconds_of(case, machine) * (1 + 1e-6)


@more_examples
@given(
    st.sampled_from(ALGORITHMS[1:]),
    st.integers(2, 10),
    st.integers(1, 200),
    st.sampled_from([1, 4]),
    rooflines(nodes=1),
    st.booleans(),
)
def test_more_workers_never_make_layers_on_workers_slower(algorithm, depth, width, batch, machine, one_level):
    machine = dataclasses.replace(
        machine, handover_latency=0.0, handover_bandwidth=math.inf,
        levels=machine.levels[-1:] if one_level else (Level("endless", None, 1e9),),
    )  # fmt: skip
    options = {"wave": 1} if isinstance(algorithm, IPC) else {}
    net = square(depth, width, batch)
    before = simulate(algorithm, net, machine, "serial", 1, **options).seconds
    for workers in range(2, depth + 1):
        now = simulate(algorithm, net, machine, "layer-parallel", workers, **options).seconds
        assert now <= before * (1 + 1e-6), workers
        before = now


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
        ((ipc, net, IDEAL, "intra-layer", 2), {}, "iPC has no execution"),
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


def test_what_moves_the_ratio_most_comes_first():
    found = sensitivity(square(6, 256, 2), load("server-64"), 4)
    assert {name for name, _ in found} == set(FIGURES)
    assert all(ratio > 0 for _, ratio in found)
    sizes = [abs(math.log(ratio)) for _, ratio in found]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0


def test_backprop_is_tried_in_every_execution_that_fits():
    def names(net, workers):
        return [p.execution for p in backprops(net, load("server-64"), workers)]

    assert names(square(4, 32), 1) == ["serial"]
    assert names(square(4, 32), 4) == ["serial", "intra-layer"]
    assert names(square(4, 32, 8), 4) == ["serial", "intra-layer", "pipeline", "data-parallel"]


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
