"""The event loop: against a naive one, its lower bounds, and that a better machine never makes anything slower."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pcsim.kernels.graphs import plans
from simulated import ALGORITHMS, cases, constant, rooflines, seconds_of, shared_cases, square, timed_of

from pcsim.algorithms import BP, IPC
from pcsim.predict.machine import Level, Machine, MessageTimes, Segment
from pcsim.predict.machine_files import load
from pcsim.predict.plans import Net
from pcsim.predict.simulate import simulate
from pcsim.predict.timing import gathered
from pcsim.predict.what_if import FIGURES, with_figure
from pcsim.schedule.timeline import PREDICT

INCREMENTAL = ALGORITHMS[-1]
# Kernels compile at their first call, which no deadline should count.
some_examples = settings(deadline=None, max_examples=60)
more_examples = settings(deadline=None, max_examples=150)


def layered_execution(algorithm, workers):
    return "serial" if workers == 1 or isinstance(algorithm, BP) else "layer-parallel"


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
@given(cases(most_depth=4) | shared_cases(most_depth=3), rooflines())
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


@pytest.mark.parametrize("ranks", [2, 3])
def test_messages_leave_one_after_the_other_through_the_senders_port(ranks):
    """A layer for each rank, by hand: what goes over holds up what goes over next."""
    slow = MessageTimes(0.0, (Segment(0.0, 0.0, 1.0),))  # a second for each byte
    machine = dataclasses.replace(constant(), nodes=1, cores=64, within=slow)
    case = (INCREMENTAL, Net((1,) * (ranks + 1)), "layer-parallel", ranks, {"ranks": ranks, "wave": 1})
    timed = timed_of(case, machine)
    assert timed.occupied.size == 2 * (ranks - 1)  # over each edge a value's share up, and one down
    np.testing.assert_array_equal(timed.occupied, 4.0)
    ends = naive_finishes(timed, 60)
    assert seconds_of(case, machine) == pytest.approx((ends[-1].max() - ends[29].max()) / 30, rel=1e-9)
    assert seconds_of(case, machine) >= 4.0 * (ranks - 1)  # the middle one of three sends both ways


@pytest.mark.parametrize(("ranks", "overheads"), [(2, 2), (4, 4), (3, 4), (16, 8)])
def test_gathering_costs_an_overhead_to_send_and_one_to_receive(ranks, overheads):
    """Of each of the others, or of each round of doubling, whichever is fewer."""
    assert gathered(MessageTimes(1.0, (Segment(0.0, 0.0, 0.0),)), ranks, 64.0) == overheads


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_messages_of_meetings_are_counted(ranks):
    """Sums of the gradients of 3 layers of 8 x 8: from everyone to everyone else, and back."""
    machine = dataclasses.replace(constant(), nodes=1, cores=64, within=MessageTimes(0.0, (Segment(0.0, 0.0, 1.0),)))
    timed = timed_of((BP(1e-4), square(3, batch=6), "data-parallel", ranks, {"ranks": ranks}), machine)
    assert timed.collectives == 3 * 2 * ranks * (ranks - 1)
    assert timed.collective_bytes == 3 * 2 * (ranks - 1) * 8 * 8 * 4


def test_a_handover_takes_its_latency_and_its_bytes():
    """A vector of 8 numbers of 4 bytes over 8 bytes a second, and half a second on the way."""
    machine = constant(handover_latency=0.5, handover_bandwidth=8.0)
    timed = timed_of((INCREMENTAL, square(4), "layer-parallel", 2, {}), machine)
    assert set(timed.delay.tolist()) == {0.0, 0.5 + 8 * 4 / 8}
    assert timed.message.max(initial=-1) == -1


# Of 2 layers of 8 units and 4 samples on 2 workers, how many numbers each reads in an update that the other has made.
# Rows: 4 samples × 4 of the units between the layers, and as many shares of the sums. Samples: half of 2 matrices, and
# for each of the updates 2 samples' errors of 4 rows; of the values between the layers 8 of 2 samples.
FETCHED = [
    (BP(1e-4), "intra-layer", 16 + 16),
    (IPC(), "intra-layer", 16 + 16),
    (BP(1e-4), "data-parallel", 2 * 32 + 2 * 2 * 4 + 2 * 8),
    (IPC(), "data-parallel", 2 * 32 + 2 * 2 * 4 + 2 * 8),
]


@pytest.mark.parametrize(("algorithm", "execution", "numbers"), FETCHED)
def test_what_others_have_written_takes_its_bytes(algorithm, execution, numbers):
    net, seconds = square(2, batch=4), []
    for bandwidth in (math.inf, 8.0):
        seconds.append(simulate(algorithm, net, constant(handover_bandwidth=bandwidth), execution, 2).seconds)
    assert seconds[1] - seconds[0] == pytest.approx(numbers * 4 / 8)


@pytest.mark.parametrize(("algorithm", "execution", "numbers"), FETCHED)
def test_what_no_cache_holds_comes_from_memory(algorithm, execution, numbers):
    """The twin: weights beyond the last cache."""
    levels = (Level("cache", 64.0, 1e9), Level("memory", None, 1e9))
    few, many = (
        simulate(algorithm, square(2, batch=4), constant(handover_bandwidth=b, levels=levels), execution, 2).seconds
        for b in (8.0, math.inf)
    )
    assert few == pytest.approx(many)


def test_two_messages_of_one_job_do_not_leave_at_once():
    """Worker 0 does a job of 1 s, whose two messages take its port 10 s each; workers 1 and 2 wait for one of them."""
    of_worker = np.arange(3, dtype=np.int32)
    order = np.empty(3, np.int32)
    at, before, lag = np.array([0, 0, 1, 2]), np.zeros(2, np.int32), np.zeros(2, np.int8)
    assert plans.runnable_order(3, of_worker, at, before, lag, order) == 3
    start, finish, rate = np.zeros(3), np.zeros(3), np.zeros(3)
    plans.run_plan(
        order, of_worker, at, before, lag, np.zeros(2), np.array([0, 1], np.int32), np.ones(3), np.full(2, 10.0),
        np.array([0, 2, 2, 2]), 3, 1, 0.0, start, finish, rate,
    )  # fmt: skip
    assert start.tolist() == [0.0, 11.0, 21.0]


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
@given(cases() | shared_cases(), rooflines())
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
@given(cases() | shared_cases(), rooflines(), st.floats(1.01, 100))
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


@pytest.mark.parametrize(("top", "least", "most"), [(128, 1.6, 2.01), (16, 1.0, 1.35)])
def test_measured_products_are_as_slow_as_others_are_busy(top, least, most):
    """Points of two workers that take twice as long as those of one: even blocks pay nearly all of it, and where one
    worker has next to nothing to do the other's products take little longer than alone."""
    points = tuple(
        (work, count, 4, width, width, 1e4, count * 1e-9 * width**2)
        for work in ("start", "predict", "backproject", "update", "values")
        for count in (1, 2)
        for width in (16, 128)
    )
    machine = Machine("by hand", "", "measured", 1, 1, 2, points=points)

    def first_prediction(execution, workers):
        timed = timed_of((IPC(), Net((128, 128, top), 4), execution, workers, {"wave": 1}), machine)
        return timed.seconds[(timed.plan.layer == 0) & (timed.plan.work & PREDICT != 0)][0]

    assert least < first_prediction("layer-parallel", 2) / first_prediction("serial", 1) < most
