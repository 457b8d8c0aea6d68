"""Timelines: traces of real runs are valid orders of the task graph, twins with a fault are told, metrics by hand."""

import dataclasses
import itertools
import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim import BP, IPC, PC, ZIL, Event, InputError, Network, Timeline
from pcsim.engines.threads import ThreadsEngine
from pcsim.schedule import timeline as timeline_of
from pcsim.schedule.tasks import FULL_COSTS, Kind
from pcsim.schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE

pytestmark = pytest.mark.slow

some = settings(max_examples=60, deadline=None, derandomize=True)
BITS = {
    Kind.PREDICT: PREDICT,
    Kind.BACKPROJECT: BACKPROJECT,
    Kind.UPDATE: UPDATE,
    Kind.START: START,
    Kind.VALUE: VALUE,
}
LAYERED = [IPC(0.01, 0.2), PC(0.01, 0.2, T=3), ZIL(0.01)]
ALL = [*LAYERED, BP(0.01)]
DEPTH, UPDATES = 5, 4
CASES = [(algorithm, workers) for algorithm in ALL for workers in (1, 2, 3) if algorithm.name != "bp" or workers == 1]
by_batch = pytest.mark.parametrize("batch", [1, 4])


def engine_for(algorithm, batch, workers=1, wave=None, depth=DEPTH):
    rng = np.random.default_rng(0)
    net = Network.mlp([6, 5, 7, 4, 6, 3][: depth + 1], "tanh", seed=0)
    x, y = rng.normal(size=(batch, 6)), rng.normal(size=(batch, net.sizes[-1]))
    rows = np.arange(batch)
    return ThreadsEngine(net, algorithm, x, y, lambda: rows, workers=workers, wave=wave)


def traced(algorithm, batch, workers=1, wave=None, depth=DEPTH):
    engine = engine_for(algorithm, batch, workers, wave, depth)
    engine.run(UPDATES, trace=True)
    return engine.timeline


def serial(graph):
    """One worker that does task after task: task i from 10 i to 10 i + 8."""
    return [
        Event(0, BITS[Kind(kind)], int(layer), int(step), 10.0 * i, 10.0 * i + 8)
        for i, (kind, layer, step) in enumerate(zip(graph.kinds, graph.layers, graph.steps, strict=True))
    ]


def edges(graph):
    """Pairs (before, after) of tasks."""
    indptr, indices = graph.predecessors
    return list(zip(indices.tolist(), np.repeat(np.arange(len(graph)), np.diff(indptr)).tolist(), strict=True))


def at_another_time(event, start, end):
    return dataclasses.replace(event, start=start, end=end)


# Traces of real runs


@by_batch
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("algorithm", LAYERED, ids=lambda a: a.name)
def test_a_real_run_keeps_the_order_of_its_graph(algorithm, workers, batch):
    graph = algorithm.tasks(DEPTH, UPDATES)
    for wave in (None, 1, 2, 3, 4, 5):
        timeline = traced(algorithm, batch, workers, wave)
        assert timeline.violations(graph) == [], f"wave {wave}"
        assert timeline.workers == workers


@by_batch
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.name)
def test_so_does_a_run_of_any_depth(algorithm, depth, batch):
    assert traced(algorithm, batch, 1, depth=depth).violations(algorithm.tasks(depth, UPDATES)) == []


@by_batch
@pytest.mark.parametrize(("algorithm", "workers"), CASES, ids=lambda case: getattr(case, "name", str(case)))
def test_a_trace_holds_every_task_once_and_shared_values_twice(algorithm, workers, batch):
    graph = algorithm.tasks(DEPTH, UPDATES)
    engine = engine_for(algorithm, batch, workers)
    engine.run(UPDATES, trace=True)
    owner = {l: worker for worker, (lo, hi) in enumerate(engine.layout.blocks) for l in range(lo, hi)}
    boundaries = {lo for lo, _ in engine.layout.blocks[1:]}
    done: dict[tuple[int, int, int], list[int]] = {}
    for event in engine.timeline.events:
        for bit in BITS.values():
            if event.work & bit:
                done.setdefault((bit, event.layer, event.step), []).append(event.worker)
    wanted = {
        (BITS[Kind(kind)], int(layer), int(step))
        for kind, layer, step in zip(graph.kinds, graph.layers, graph.steps, strict=True)
    }
    assert done.keys() == wanted
    for (bit, layer, _), workers_of_it in done.items():
        shared = bit == VALUE and layer in boundaries
        assert sorted(workers_of_it) == ([owner[layer] - 1, owner[layer]] if shared else [owner[layer]])


@by_batch
@pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.name)
def test_events_of_a_worker_follow_one_another(algorithm, batch):
    timeline = traced(algorithm, batch, 1 if algorithm.name == "bp" else 3)
    for worker in range(timeline.workers):
        own = [event for event in timeline.events if event.worker == worker]
        assert all(event.start <= event.end for event in own)
        assert all(before.end <= after.start for before, after in itertools.pairwise(own))
    assert sum(timeline.busy) <= timeline.workers * timeline.span * (1 + 1e-9)


@by_batch
@pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.name)
def test_tracing_changes_no_bit(algorithm, batch):
    plain, noted = engine_for(algorithm, batch), engine_for(algorithm, batch)
    energies = plain.run(UPDATES)[1], noted.run(UPDATES, trace=True)[1]
    assert energies[0] == energies[1]
    assert plain.timeline is None
    for a, b in zip([*plain.network.weights, *plain.values], [*noted.network.weights, *noted.values], strict=True):
        assert np.array_equal(a, b)


@by_batch
def test_another_algorithm_has_another_order(batch):
    timeline = traced(IPC(0.01), batch, 2)
    assert timeline.violations(PC(T=3).tasks(DEPTH, 1))
    assert timeline.violations(IPC().tasks(DEPTH, UPDATES + 1))
    assert traced(PC(0.01, T=3), batch, 2).violations(PC(T=3).tasks(DEPTH, UPDATES)) == []


@by_batch
@pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.name)
def test_a_real_trace_with_two_events_in_each_others_time_is_told(algorithm, batch):
    graph = algorithm.tasks(DEPTH, UPDATES)
    # The trace of one worker in its true order, at times that no clock's resolution can make equal.
    order = [at_another_time(e, 2.0 * i, 2.0 * i + 1) for i, e in enumerate(traced(algorithm, batch).events)]
    assert Timeline(order).violations(graph) == []
    did = {(bit, e.layer, e.step): i for i, e in enumerate(order) for bit in BITS.values() if e.work & bit}
    event_of = [did[BITS[Kind(k)], l, s] for k, l, s in zip(graph.kinds, graph.layers, graph.steps, strict=True)]
    linked = sorted({(event_of[p], event_of[q]) for p, q in edges(graph)} - {(i, i) for i in range(len(order))})
    for first, second in linked[::5]:
        twin = list(order)
        twin[first] = at_another_time(order[first], order[second].start, order[second].end)
        twin[second] = at_another_time(order[second], order[first].start, order[first].end)
        assert Timeline(twin).violations(graph), f"{order[first]} and {order[second]}"


# Twins by hand


@pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.name)
def test_task_after_task_is_a_valid_order_and_backwards_is_none(algorithm):
    graph = algorithm.tasks(4, 3)
    events = serial(graph)
    assert Timeline(events).violations(graph) == []
    assert Timeline(reversed(events)).violations(graph) == []  # the order of the list means nothing
    times = [(event.start, event.end) for event in reversed(events)]
    mirrored = [at_another_time(event, *time) for event, time in zip(events, times, strict=True)]
    faults = Timeline(mirrored).violations(graph)
    assert len(faults) == 11
    assert faults[-1] == f"… {len(edges(graph))} faults in all"


@some
@given(st.sampled_from(ALL), st.integers(1, 5), st.integers(1, 3), st.data())
def test_two_dependent_events_in_each_others_time_are_told(algorithm, depth, updates, data):
    graph = algorithm.tasks(depth, updates)
    events = serial(graph)
    pairs = edges(graph)
    before, after = data.draw(st.sampled_from(pairs))
    a, b = events[before], events[after]
    events[before], events[after] = at_another_time(a, b.start, b.end), at_another_time(b, a.start, a.end)
    faults = Timeline(events).violations(graph)
    assert faults
    if len(faults) <= 10:
        assert f"{graph.describe(after)} began before {graph.describe(before)} ended" in faults


@some
@given(st.sampled_from(ALL), st.integers(2, 5), st.data())
def test_an_overlap_however_short_is_told(algorithm, depth, data):
    graph = algorithm.tasks(depth, 2)
    events = serial(graph)
    before, after = data.draw(st.sampled_from([(a, b) for a, b in edges(graph) if b == a + 1]))
    touching = at_another_time(events[after], events[before].end, events[after].end)
    assert Timeline([*events[:after], touching, *events[after + 1 :]]).violations(graph) == []
    early = at_another_time(events[after], events[before].end - 1e-3, events[after].end)
    assert Timeline([*events[:after], early, *events[after + 1 :]]).violations(graph) == [
        f"{graph.describe(after)} began before {graph.describe(before)} ended"
    ]


@some
@given(st.sampled_from(ALL), st.integers(1, 4), st.data())
def test_a_dropped_event_is_told(algorithm, depth, data):
    graph = algorithm.tasks(depth, 2)
    events = serial(graph)
    lost = data.draw(st.integers(0, len(events) - 1))
    assert Timeline(events[:lost] + events[lost + 1 :]).violations(graph) == [f"{graph.describe(lost)} was never done"]


@some
@given(st.sampled_from(ALL), st.integers(1, 4), st.data())
def test_an_event_moved_to_the_other_update_is_told(algorithm, depth, data):
    graph = algorithm.tasks(depth, 2)
    events = serial(graph)
    moved = data.draw(st.integers(0, len(events) - 1))
    period = (int(graph.steps[-1]) + 1) // 2
    step = events[moved].step
    elsewhere = step + period if step < period else step - period
    if graph.task(graph.kinds[moved], elsewhere, graph.layers[moved]) < 0:
        return  # tasks that the graph does not know: below
    events[moved] = dataclasses.replace(events[moved], step=elsewhere)
    assert f"{graph.describe(moved)} was never done" in Timeline(events).violations(graph)


@pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.name)
def test_the_last_event_moved_to_a_step_that_is_not_there_is_told(algorithm):
    graph = algorithm.tasks(3, 2)
    events = serial(graph)
    events[-1] = dataclasses.replace(events[-1], step=events[-1].step + 1)
    assert Timeline(events).violations(graph)


@pytest.mark.parametrize(
    "extra",
    [
        Event(0, UPDATE, 0, 99, 9000.0, 9001.0),
        Event(0, UPDATE, 7, 0, 9000.0, 9001.0),
        Event(0, BACKPROJECT, 0, 1, 9000.0, 9001.0),
        Event(0, VALUE, 3, 0, 9000.0, 9001.0),
        Event(0, START, 0, 1, 9000.0, 9001.0),
    ],
    ids=["no such step", "no such layer", "no drive below the input", "the target moves", "a second start"],
)
def test_an_event_that_is_no_task_of_the_graph_is_told(extra):
    graph = IPC().tasks(3, 3)
    assert Timeline([*serial(graph), extra]).violations(graph)


@pytest.mark.parametrize(
    ("kind", "worker"), [(Kind.UPDATE, 0), (Kind.UPDATE, 1), (Kind.PREDICT, 1), (Kind.VALUE, 0), (Kind.VALUE, 2)]
)
def test_a_task_done_twice_is_told(kind, worker):
    """Only values at the edge of two blocks may be computed twice, by two neighbours."""
    graph = IPC().tasks(3, 3)
    again = Event(worker, BITS[kind], 2, 2, 9000.0, 9001.0)
    assert Timeline([*serial(graph), again]).violations(graph)


def test_ten_faults_are_told_and_the_rest_counted():
    graph = IPC().tasks(2, 5)
    names = [graph.describe(task) for task in range(len(graph))]
    faults = Timeline([]).violations(graph)
    assert faults == [f"{name} was never done" for name in names[:10]] + [f"… {len(graph)} faults in all"]
    assert Timeline(serial(graph)[10:]).violations(graph) == [f"{name} was never done" for name in names[:10]]
    assert len(Timeline(serial(graph)[11:]).violations(graph)) == 11


def test_an_event_that_ends_before_it_starts_is_told():
    graph = BP().tasks(1, 1)
    a, b = serial(graph)
    assert Timeline([a, at_another_time(b, 18.0, 17.0)]).violations(graph) == ["event 1 ends before it starts"]


def test_one_pass_may_do_several_tasks_that_need_one_another():
    graph = IPC().tasks(2, 2)
    whole = PREDICT | BACKPROJECT | UPDATE
    passes = [
        Event(0, START, 0, 0, 0, 1),
        Event(0, START, 1, 0, 1, 2),
        Event(0, UPDATE, 0, 0, 2, 3),
        Event(0, BACKPROJECT | UPDATE, 1, 0, 3, 4),
        Event(0, VALUE, 1, 0, 4, 5),
        Event(0, PREDICT | UPDATE, 0, 1, 5, 6),
        Event(0, whole, 1, 1, 6, 7),
        Event(0, VALUE, 1, 1, 7, 8),
    ]
    assert Timeline(passes).violations(graph) == []
    passes[-1] = at_another_time(passes[-1], 6.5, 8)
    assert Timeline(passes).violations(graph) == [
        "VALUE of layer 1 at step 1 began before BACKPROJECT of layer 1 at step 1 ended"
    ]


def two_workers(own=5.0, neighbours=5.0, start=6.0):
    """iPC at depth 2, a worker per layer; ``own`` and ``neighbours``: when each has the new x[1]."""
    return Timeline(
        [
            Event(0, START, 0, 0, 0, 1),
            Event(1, START, 1, 0, 1, 2),
            Event(0, UPDATE, 0, 0, 2, 3),
            Event(1, BACKPROJECT | UPDATE, 1, 0, 3, 4),
            Event(0, VALUE, 1, 0, 4, own),
            Event(1, VALUE, 1, 0, 4, neighbours),
            Event(0, PREDICT | UPDATE, 0, 1, start, start + 1),
            Event(1, PREDICT | BACKPROJECT | UPDATE, 1, 1, 20, 21),
            Event(0, VALUE, 1, 1, 22, 23),
            Event(1, VALUE, 1, 1, 22, 23),
        ]
    )


def test_each_worker_is_held_against_its_own_copy_of_shared_values():
    graph = IPC().tasks(2, 2)
    assert two_workers().violations(graph) == []
    assert two_workers(neighbours=15.0).violations(graph) == []  # worker 0 has its own by then
    late = two_workers(own=6.5).violations(graph)
    assert late
    assert set(late) <= {
        f"{kind} of layer 0 at step 1 began before VALUE of layer 1 at step 0 ended" for kind in ("PREDICT", "UPDATE")
    }
    also = two_workers(neighbours=20.5).violations(graph)
    assert also
    assert all("of layer 1 at step 1 began before VALUE of layer 1 at step 0 ended" in fault for fault in also)


def test_a_copy_has_to_wait_for_its_sources_too():
    graph = IPC().tasks(2, 2)
    for number in (4, 5):  # either copy of x[1], begun before the drive from above was there
        events = list(two_workers().events)
        events[number] = at_another_time(events[number], 3.5, 5)
        assert Timeline(events).violations(graph) == [
            "VALUE of layer 1 at step 0 began before BACKPROJECT of layer 1 at step 0 ended"
        ]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.name)
def test_the_graphs_own_schedule_is_a_valid_order(algorithm, workers):
    graph = algorithm.tasks(4, 3)
    start, finish, worker = graph.schedule(workers, FULL_COSTS)
    events = [
        dataclasses.replace(event, worker=max(0, int(w)), start=float(begin), end=float(end))
        for event, w, begin, end in zip(serial(graph), worker, start, finish, strict=True)
    ]
    assert Timeline(events).violations(graph) == []
    assert Timeline(events).span == finish.max()


# What follows from a timeline


HAND_MADE = Timeline(
    [
        Event(0, PREDICT, 0, 0, 2.0, 3.0),
        Event(0, PREDICT, 1, 0, 5.0, 6.0),  # after a pause of 2
        Event(0, UPDATE, 1, 1, 6.5, 8.0),  # after a pause of 0.5
        Event(0, UPDATE, 0, 2, 9.0, 9.5),  # after a pause of 1
        Event(2, PREDICT, 2, 2, 11.0, 12.0),  # first in time of worker 2 is the next; a pause of 7
        Event(2, PREDICT, 2, 0, 3.0, 4.0),
    ]
)


def test_metrics_by_hand():
    assert HAND_MADE.workers == 3
    assert HAND_MADE.span == 10.0
    assert HAND_MADE.busy == [4.0, 0.0, 2.0]
    assert HAND_MADE.utilisation == pytest.approx(6 / 30)
    np.testing.assert_array_equal(HAND_MADE.pauses, [[2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [7.0, 0.0, 0.0]])


def test_a_worker_without_a_pause_is_wholly_used():
    timeline = Timeline(Event(0, PREDICT, 0, step, float(step), step + 1.0) for step in range(4))
    assert timeline.utilisation == 1.0
    assert not timeline.pauses.any()
    assert timeline.pauses.shape == (1, 4)


def test_an_empty_timeline():
    empty = Timeline([])
    assert (empty.events, empty.workers, empty.span, empty.busy, empty.utilisation) == ((), 0, 0.0, [], 0.0)
    assert empty.pauses.shape == (0, 0)
    assert empty.chrome_trace()["traceEvents"] == []
    assert Timeline([Event(0, PREDICT, 0, 0, 1.0, 1.0)]).utilisation == 0.0


@some
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100), st.integers(0, 50)), min_size=1, max_size=20),
    st.integers(-100, 100),
)
def test_metrics_do_not_depend_on_the_origin_of_the_clock(given_events, origin):
    def timeline(shift):
        return Timeline(Event(w, PREDICT, 0, 0, float(s + shift), float(s + d + shift)) for w, s, d in given_events)

    here, there = timeline(0), timeline(origin)
    assert (here.span, here.busy, here.utilisation) == (there.span, there.busy, there.utilisation)
    np.testing.assert_array_equal(here.pauses, there.pauses)
    assert here.chrome_trace() == there.chrome_trace()


def test_events_and_timelines_cannot_be_assigned_to_and_compare_by_content():
    with pytest.raises(dataclasses.FrozenInstanceError):
        HAND_MADE.events = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        HAND_MADE.events[0].end = 0.0
    assert Timeline(list(HAND_MADE.events)) == HAND_MADE
    assert Timeline(HAND_MADE.events[:-1]) != HAND_MADE


def test_events_in_words():
    names = [Event(0, work, 0, 0, 0.0, 1.0).name for work in (PREDICT | BACKPROJECT | UPDATE, START, VALUE)]
    assert names == ["predict+backproject+update", "start", "values"]


# Chrome's format


def check_chrome_trace(trace, timeline):
    """Everything in the timeline is in the trace, and nothing else."""
    assert set(trace) == {"displayTimeUnit", "traceEvents"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    named = [event for event in trace["traceEvents"] if event["ph"] == "M"]
    assert [(event["tid"], event["args"]["name"]) for event in named] == [
        (worker, f"worker {worker}") for worker in range(timeline.workers)
    ]
    assert all(event["name"] == "thread_name" for event in named)
    complete = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert len(complete) + len(named) == len(trace["traceEvents"])
    origin = min(event.start for event in timeline.events)
    assert len(complete) == len(timeline.events)
    for shown, event in zip(complete, timeline.events, strict=True):
        assert (shown["pid"], shown["tid"], shown["cat"]) == (0, event.worker, event.name)
        assert shown["name"] == f"{event.name} {event.layer}"
        assert shown["args"] == {"layer": event.layer, "step": event.step}
        assert shown["ts"] == pytest.approx((event.start - origin) * 1e6, abs=1e-3)
        assert shown["dur"] == pytest.approx((event.end - event.start) * 1e6, abs=2e-3)
        assert shown["ts"] >= 0
    check_slices(trace)


def check_slices(trace):
    """As a viewer reads them, in whole nanoseconds: no slice of a thread overlaps the next."""
    threads = {}
    for shown in trace["traceEvents"]:
        if shown["ph"] == "X":
            start, length = int(shown["ts"] * 1000), int(shown["dur"] * 1000)
            assert (shown["ts"], shown["dur"]) == pytest.approx((start / 1000, length / 1000), rel=1e-12)
            threads.setdefault(shown["tid"], []).append((start, start + length))
    for slices in threads.values():
        slices.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(slices))


def test_a_chrome_trace_holds_every_event(tmp_path):
    check_chrome_trace(HAND_MADE.chrome_trace(), HAND_MADE)
    path = tmp_path / "trace.json"
    HAND_MADE.save_chrome_trace(path)
    check_chrome_trace(json.loads(path.read_text()), HAND_MADE)
    HAND_MADE.save_chrome_trace(str(path))  # a second time, by name
    check_chrome_trace(json.loads(path.read_text()), HAND_MADE)


@some
@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1e-5), st.floats(0, 1e-5)), max_size=40), st.floats(0, 1e5))
def test_slices_of_a_thread_do_not_overlap(work, origin):
    """Each worker begins when it has ended, or later, and sums of floats are not exact."""
    now, events = [origin] * 3, []
    for worker, pause, length in work:
        start = now[worker] + pause * (pause > 5e-6)
        now[worker] = start + length
        events.append(Event(worker, PREDICT, 0, 0, start, start * (1 + 1e-15) + length))
    check_slices(Timeline(events).chrome_trace())


def test_twin_slices_that_really_overlap_are_shown_so():
    both = Timeline([Event(0, PREDICT, 0, 0, 0.0, 2e-8), Event(0, PREDICT, 1, 0, 1e-8, 3e-8)])
    with pytest.raises(AssertionError):
        check_slices(both.chrome_trace())


@some
@given(st.integers(0, 2**52))
def test_viewers_read_whole_nanoseconds(nanoseconds):
    assert int(timeline_of._microseconds(nanoseconds) * 1000) == nanoseconds


@by_batch
def test_a_real_run_as_chrome_trace_is_plain_json(tmp_path, batch):
    timeline = traced(IPC(0.01), batch, 2)
    timeline.save_chrome_trace(tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text()
    check_chrome_trace(json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")), timeline)


def test_a_path_that_cannot_be_written_is_one_line(tmp_path):
    for path in (tmp_path / "missing" / "trace.json", tmp_path, str(tmp_path / "missing" / "trace.json")):
        with pytest.raises(InputError) as caught:
            HAND_MADE.save_chrome_trace(path)
        assert str(caught.value).startswith(f"cannot write {path}: ")
        assert len(str(caught.value).splitlines()) == 1
