"""Task graphs against a naive reading of the algorithms, the published formulas and plain-Python schedulers."""

import dataclasses
import heapq
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim.algorithms import BP, IPC, PC, ZIL
from pcsim.errors import InputError
from pcsim.schedule.counts import figure_5, table4
from pcsim.schedule.tasks import FULL_COSTS, PAPER_COSTS, Kind, Predecessors, TaskGraph

START, PREDICT, BACKPROJECT, VALUE, UPDATE = Kind
DEPTHS = range(2, 65)


def backprop(depth, updates):
    return BP().tasks(depth, updates)


def incremental(depth, updates, steps_per_batch=None):
    return IPC().tasks(depth, updates, steps_per_batch)


def predictive_coding(depth, updates, steps):
    return PC(T=steps).tasks(depth, updates)


def zero_divergence(depth, updates):
    return ZIL().tasks(depth, updates)


# --- oracles ---------------------------------------------------------------------------------------------------


class Recorder:
    """Runs an algorithm in words: every array remembers who wrote it, every task waits for what it reads."""

    def __init__(self, depth):
        self.depth = depth
        self.edges = {}
        self.writer = {}

    def run(self, task, reads, writes, book=None):
        self.edges[task] = {self.writer[name] for name in reads if name in self.writer}
        (self.writer if book is None else book).update(dict.fromkeys(writes, task))

    def step(self, s, opening, relaxing, updating):
        L = self.depth
        if opening:
            self.writer = {name: task for name, task in self.writer.items() if name[0] == "W"}
        for l in range(L):
            if opening:
                made = [("x", l + 1)] if l + 1 < L else []
                self.run((START, s, l), [("x", l), ("W", l)], [("e", l + 1), *made])
            else:
                self.run((PREDICT, s, l), [("x", l), ("x", l + 1), ("W", l)], [("e", l + 1)])
        after = {}
        for l in range(1, L) if relaxing else ():
            self.run((BACKPROJECT, s, l), [("e", l + 1), ("W", l)], [("d", l)])
            self.run((VALUE, s, l), [("e", l), ("d", l), ("x", l)], [("x", l)], after)
        for l in updating:
            self.run((UPDATE, s, l), [("e", l + 1), ("x", l), ("W", l)], [("W", l)], after)
        self.writer.update(after)

    def backprop(self, s):
        L = self.depth
        self.writer = {name: task for name, task in self.writer.items() if name[0] == "W"}
        for l in range(L):
            self.run((PREDICT, s, l), [("x", l), ("W", l)], [("x", l + 1)])
        self.writer["e", L] = self.writer.pop(("x", L))
        for l in range(L - 1, 0, -1):
            self.run((BACKPROJECT, s, l), [("e", l + 1), ("W", l), ("x", l)], [("e", l)])
        for l in range(L):
            self.run((UPDATE, s, l), [("e", l + 1), ("x", l), ("W", l)], [("W", l)])


def naive_edges(algorithm, depth, updates, steps):
    recorder = Recorder(depth)
    layers = range(depth)
    if algorithm == "bp":
        for s in range(updates):
            recorder.backprop(s)
    elif algorithm == "ipc":
        for s in range(updates):
            recorder.step(s, s == 0 or (steps is not None and s % steps == 0), True, layers)
    else:
        T = depth - 1 if algorithm == "zil" else steps
        for s in range(updates * (T + 1)):
            t = s % (T + 1)
            updating = [depth - 1 - t] if algorithm == "zil" else layers if t == T else []
            recorder.step(s, t == 0, t < T, updating)
    return recorder.edges


def naive_list_schedule(graph, workers):
    """Event-driven list scheduling with a heap of ready MMs, smallest id first."""
    indptr, indices = graph.predecessors
    followers = [[] for _ in range(len(graph))]
    missing = np.diff(indptr).tolist()
    for v in range(len(graph)):
        for u in indices[indptr[v] : indptr[v + 1]]:
            followers[u].append(v)
    cost = [PAPER_COSTS.get(Kind(kind), 0) for kind in graph.kinds]
    start = [0] * len(graph)
    ready, time = [], 0

    def free(v):
        if cost[v]:
            heapq.heappush(ready, v)
        else:
            start[v] = time
            done(v)

    def done(v):
        for w in followers[v]:
            missing[w] -= 1
            if missing[w] == 0:
                free(w)

    for v in [v for v, number in enumerate(missing) if number == 0]:
        free(v)
    while ready:
        running = [heapq.heappop(ready) for _ in range(min(workers, len(ready)))]
        for v in running:
            start[v] = time
        time += 1
        for v in running:
            done(v)
    return start


def edge_list(graph):
    """(earlier, later) tasks of every edge."""
    indptr, indices = graph.predecessors
    return indices.astype(np.int64), np.repeat(np.arange(len(graph)), np.diff(indptr))


def without_edge(graph, edge):
    indptr, indices = graph.predecessors
    indptr = indptr - (np.arange(indptr.size) > edge_list(graph)[1][edge])
    return dataclasses.replace(graph, predecessors=Predecessors(indptr, np.delete(indices, edge)))


def build(algorithm, depth, updates, steps=None) -> TaskGraph:
    match algorithm:
        case "bp":
            return backprop(depth, updates)
        case "pc":
            return predictive_coding(depth, updates, steps)
        case "zil":
            return zero_divergence(depth, updates)
    return incremental(depth, updates, steps)


def formulas(algorithm, L, T=None):
    """mm and smm of the iPC paper's Table 4."""
    return {
        "bp": (2 * L - 1, 2 * L - 1),
        "pc": ((2 * L - 1) * (T or 0), 2 * (T or 0)),
        "zil": ((2 * L - 1) * (L - 1), 2 * (L - 1)),
        "ipc": (2 * L - 1, 2),
    }[algorithm]


# Kernels compile at their first call, which no deadline should count.
some_examples = settings(deadline=None, max_examples=60)


@st.composite
def cases(draw, max_depth=7, max_updates=6, steady=False, batches=True):
    """(algorithm, depth, updates, steps) for ``build``; ``steady``: long enough for counts."""
    algorithm = draw(st.sampled_from(["bp", "pc", "zil", "ipc"]))
    steps = draw(st.integers(1, 5)) if algorithm == "pc" else None
    if algorithm == "ipc" and batches:
        steps = draw(st.none() | st.integers(1, 4))
    least = 1 if not steady else steps + 1 if algorithm == "ipc" and steps else 2
    return algorithm, draw(st.integers(1, max_depth)), draw(st.integers(least, max_updates)), steps


graphs = cases().map(lambda case: build(*case))


# --- the graph itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "steps"),
    [("bp", None), ("zil", None), ("ipc", None), *(("ipc", T) for T in (1, 2, 4)), *(("pc", T) for T in (1, 2, 5))],
)
@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_the_edges_are_those_of_the_algorithm_in_words(algorithm, steps, depth):
    graph = build(algorithm, depth, 5, steps)
    names = [(Kind(k), s, l) for k, s, l in zip(graph.kinds, graph.steps, graph.layers, strict=True)]
    indptr, indices = graph.predecessors
    found = {name: [names[u] for u in indices[indptr[v] : indptr[v + 1]]] for v, name in enumerate(names)}
    expected = naive_edges(algorithm, depth, 5, steps)
    assert {name: set(before) for name, before in found.items()} == expected
    assert all(len(before) == len(set(before)) for before in found.values())
    assert len(names) == len(set(names)) == len(graph)


@some_examples
@given(graphs)
def test_ids_are_in_topological_order_and_found_by_name(graph):
    earlier, later = edge_list(graph)
    assert np.all(earlier < later)
    assert np.all(earlier >= 0)
    np.testing.assert_array_equal(graph.task(graph.kinds, graph.steps, graph.layers), np.arange(len(graph)))
    steps = int(graph.steps[-1]) + 1
    kind, step, layer = np.meshgrid(list(Kind), np.arange(-1, steps + 1), np.arange(-1, graph.depth + 1))
    assert np.sum(graph.task(kind, step, layer) >= 0) == len(graph)
    assert graph.update_of[-1] == graph.updates - 1
    assert Counter(graph.update_of[graph.kinds == UPDATE].tolist()) == dict.fromkeys(range(graph.updates), graph.depth)


def test_a_task_that_is_not_there_is_minus_one():
    graph = predictive_coding(3, 2, 2)
    assert graph.task(VALUE, 0, 0) == graph.task(VALUE, 2, 1) == graph.task(PREDICT, 0, 1) == -1
    assert graph.task(START, 3, [0, 1, 2, 3]).tolist() == [
        len(graph) // 2,
        len(graph) // 2 + 1,
        len(graph) // 2 + 2,
        -1,
    ]


# --- Table 4 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["bp", "zil", "ipc"])
def test_table_4(algorithm):
    for L in DEPTHS:
        graph = build(algorithm, L, 2 if algorithm == "zil" else 7)
        assert (graph.mm, graph.smm) == formulas(algorithm, L)
        if algorithm == "bp":
            assert graph.mm_full == 3 * L - 1
        if algorithm == "ipc":
            assert (graph.mm_full, graph.smm_full) == (3 * L - 1, 2)


def test_table_4_of_pc():
    for L in DEPTHS:
        for T in range(1, 17):
            graph = predictive_coding(L, 2, T)
            assert (graph.mm, graph.smm) == formulas("pc", L, T)
            assert graph.mm_full == (2 * L - 1) * T + 2 * L


def test_counts_are_whole_numbers_unless_they_are_means():
    assert all(isinstance(n, int) for n in (incremental(4, 3).smm, backprop(4, 3).mm, incremental(4, 3).mm_full))
    graph = incremental(3, 7, steps_per_batch=3)
    assert (graph.mm, graph.smm) == ((3 * 5 - 3) / 3, 4 / 3)


@some_examples
@given(cases(max_updates=9, steady=True))
def test_counts_do_not_depend_on_how_long_the_graph_is(case):
    algorithm, depth, updates, steps = case
    graph, longer = build(*case), build(algorithm, depth, 5 * updates, steps)
    for name in ("mm", "smm", "mm_full", "smm_full"):
        assert getattr(graph, name) == getattr(longer, name)
    for workers in (1, 2, 3, graph.depth):
        assert graph.makespan(workers) == longer.makespan(workers)


@pytest.mark.parametrize(("algorithm", "depth"), [("bp", 2), ("bp", 5), ("ipc", 2)])
def test_twin_one_missing_edge_breaks_a_formula(algorithm, depth):
    graph = build(algorithm, depth, 3)
    if algorithm == "bp":
        later, earlier = graph.task(PREDICT, 2, 0), graph.task(UPDATE, 1, 0)
    else:
        later, earlier = graph.task(VALUE, 1, 1), graph.task(BACKPROJECT, 1, 1)
    edges = edge_list(graph)
    twin = without_edge(graph, int(np.flatnonzero((edges[0] == earlier) & (edges[1] == later))[0]))
    assert (graph.mm, graph.smm) == formulas(algorithm, depth)
    assert (twin.mm, twin.smm) != formulas(algorithm, depth)


def test_table4_rows():
    rows = table4([2, 5], [BP(), PC(T=3), ZIL(), IPC()], workers=[1, 2, 5])
    assert [(row["algorithm"], row["depth"], row["steps"]) for row in rows] == [
        (name, L, 3 if name == "pc" else None) for L in (2, 5) for name in ("bp", "pc", "zil", "ipc")
    ]
    for row in rows:
        assert (row["mm"], row["smm"]) == formulas(row["algorithm"], row["depth"], row["steps"])
        assert row["smm_workers"][1] == row["mm"]
        assert row["smm_workers"][5] == row["smm"]
    assert rows[-1]["smm_workers"] == {1: 9.0, 2: 4.5, 5: 2.0}


# --- unlimited workers -------------------------------------------------------------------------------------------


@some_examples
@given(graphs, st.booleans())
def test_the_critical_path_is_a_chain_as_long_as_the_run(graph, full):
    finish = graph.finish_times(full)
    cost = np.array([(FULL_COSTS if full else PAPER_COSTS).get(Kind(k), 0) for k in graph.kinds])
    earlier, later = edge_list(graph)
    assert np.all(finish[earlier] + cost[later] <= finish[later])
    path = graph.critical_path(full)
    edges = set(zip(earlier.tolist(), later.tolist(), strict=True))
    assert all(edge in edges for edge in pairwise(path.tolist()))
    assert cost[path].sum() == finish.max()


# --- a limited number of workers -----------------------------------------------------------------------------------


@some_examples
@given(graphs, st.integers(1, 9))
def test_a_schedule_keeps_every_edge_and_gives_a_worker_one_task_at_a_time(graph, workers):
    start, finish, worker = graph.schedule(workers)
    earlier, later = edge_list(graph)
    assert np.all(finish[earlier] <= start[later])
    product = np.isin(graph.kinds, [PREDICT, BACKPROJECT])
    np.testing.assert_array_equal(finish - start, product)
    assert np.all(worker[~product] == -1)
    assert np.all((worker[product] >= 0) & (worker[product] < workers))
    taken = list(zip(start[product].tolist(), worker[product].tolist(), strict=True))
    assert len(taken) == len(set(taken))
    np.testing.assert_array_equal(start, naive_list_schedule(graph, workers))


@some_examples
@given(cases(max_depth=6, steady=True), st.integers(1, 9))
def test_makespan_is_the_rate_of_a_long_schedule(case, workers):
    algorithm, depth, _, steps = case
    updates = 240
    graph, longer = build(*case), build(algorithm, depth, 2 * updates, steps)
    _, finish, _ = longer.schedule(workers)
    complete = np.zeros(longer.updates, np.int64)
    np.maximum.at(complete, longer.update_of, finish)
    complete = np.maximum.accumulate(complete)
    # The transient and a window that is no whole number of repetitions cost a few slots, however long it is.
    slack = (2 * graph.depth + 2 * graph.period + workers) / updates
    assert graph.makespan(workers) == pytest.approx((complete[-1] - complete[updates - 1]) / updates, abs=slack)


def check_bounds(graph, workers):
    """The bounds of the counting contract, and that more workers never take longer."""
    L, makespans = graph.depth, [graph.makespan(P) for P in workers]
    for P, makespan in zip(workers, makespans, strict=True):
        assert max(graph.smm, graph.mm / P) <= makespan
        if graph.algorithm == "ipc":
            assert makespan <= ceil(L / P) + ceil((L - 1) / P)
        if P >= L or graph.algorithm == "bp":
            assert makespan == graph.smm
        # More than the bounds: with these graphs packing in task order loses nothing.
        else:
            assert makespan == max(graph.smm, graph.mm / P)
    assert all(more <= fewer for fewer, more in pairwise(makespans))


@pytest.mark.parametrize("algorithm", ["bp", "ipc"])
def test_makespan_bounds_at_every_depth(algorithm):
    for L in DEPTHS:
        check_bounds(build(algorithm, L, 2), range(1, L + 3))


@pytest.mark.parametrize("steps", range(1, 17))
def test_makespan_bounds_of_pc(steps):
    for L in DEPTHS:
        check_bounds(predictive_coding(L, 2, steps), range(1, L + 1))


def test_makespan_bounds_of_zil():
    for L in DEPTHS:
        check_bounds(zero_divergence(L, 2), range(1, L + 1))


@some_examples
@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 30))
def test_makespan_lower_bound_with_batches(depth, steps, workers):
    graph = incremental(depth, steps + 1, steps_per_batch=steps)
    assert max(graph.smm, graph.mm / workers) <= graph.makespan(workers) * (1 + 1e-12)


def test_a_graph_without_steady_state_says_so():
    graph = incremental(2, 3, steps_per_batch=1)
    with pytest.raises(InputError, match="fewer workers"):
        # One MM per update that nothing waits for: so many workers would be busy only after 10**8 updates.
        graph.makespan(10**8)


def test_schedule_with_other_costs_is_that_of_figure_5():
    graph = incremental(3, 8)
    start, finish, worker = graph.schedule(2, {BACKPROJECT: 1})
    np.testing.assert_array_equal(worker >= 0, graph.kinds == BACKPROJECT)
    assert finish.max() == 8
    assert np.all(start[worker >= 0] == graph.steps[worker >= 0])


# --- a large graph -----------------------------------------------------------------------------------------------


def test_a_thousand_layers_and_updates():
    graph = incremental(1000, 1000)
    assert len(graph) == 1000 * (1000 + 999 + 999 + 1000)
    assert (graph.mm, graph.smm, graph.mm_full, graph.smm_full) == (1999, 2, 2999, 2)
    assert [graph.makespan(P) for P in (1, 8, 999, 1000)] == [1999, 1999 / 8, 1999 / 999, 2]
    assert graph.reached().sum() == 2001998


# --- Fig. 5 ------------------------------------------------------------------------------------------------------


def test_figure_5():
    assert figure_5(incremental(3, 8), backward=6) == (5, 2)
    assert figure_5(backprop(3, 4), backward=6) == (3, 0)


@pytest.mark.parametrize("depth", [2, 4, 6, 9])
def test_figure_5_at_other_depths(depth):
    # The error moves one layer a step: the first depth - 1 updates change only the upper layers.
    assert figure_5(incremental(depth, 14), backward=12) == (14 - depth, depth - 1)
    assert figure_5(backprop(depth, 14), backward=12) == (12 // (depth - 1), 0)


def test_reached_spreads_one_layer_a_step():
    graph = incremental(4, 6)
    ids = graph.task(UPDATE, np.arange(6)[:, None], np.arange(4))
    np.testing.assert_array_equal(graph.reached()[ids], np.arange(6)[:, None] + np.arange(4) >= 3)
    assert zero_divergence(5, 2).reached()[zero_divergence(5, 2).kinds == UPDATE].all()


def test_figure_5_needs_a_graph_that_goes_on():
    with pytest.raises(InputError, match="more updates"):
        figure_5(incremental(3, 7), backward=6)


# --- the order of a recorded run ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, -1, 1.5, "4", None, True, np.nan])
def test_counts_must_be_whole_and_positive(bad):
    graph = incremental(2, 2)
    for attempt in (
        lambda: backprop(bad, 2),
        lambda: zero_divergence(2, bad),
        lambda: predictive_coding(2, 2, bad),
        lambda: incremental(2, 2, False if bad is None else bad),
        lambda: graph.makespan(bad),
        lambda: graph.schedule(bad),
        lambda: figure_5(graph, bad),
    ):
        with pytest.raises(InputError, match="whole number of at least 1") as caught:
            attempt()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("builder", [backprop, incremental, zero_divergence, lambda L, n: predictive_coding(L, n, 4)])
@pytest.mark.parametrize(("depth", "updates"), [(10**6, 10**6), (10**12, 2), (2, 10**12)])
def test_a_graph_larger_than_memory_is_refused(builder, depth, updates):
    with pytest.raises(InputError, match="fewer updates"):
        builder(depth, updates)


def test_a_steady_state_needs_two_updates():
    for graph in (backprop(3, 1), incremental(3, 1), zero_divergence(3, 1), incremental(3, 4, steps_per_batch=4)):
        for name in ("mm", "smm", "mm_full", "smm_full"):
            with pytest.raises(InputError, match="ask for more updates"):
                getattr(graph, name)
        with pytest.raises(InputError, match="ask for more updates"):
            graph.makespan(2)


def test_the_last_period_must_repeat():
    graph = incremental(2, 2)
    indptr, indices = graph.predecessors
    indices = indices.copy()
    indices[indptr[graph.task(PREDICT, 1, 1)]] = graph.task(START, 0, 1)
    with pytest.raises(InputError, match="repeat"):
        dataclasses.replace(graph, predecessors=Predecessors(indptr, indices)).makespan(1)


def test_importing_tasks_does_not_import_numba():
    code = "import sys, pcsim.schedule.tasks; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# --- messages ----------------------------------------------------------------------------------------------------


def owners(depth, workers):
    """Layers in contiguous blocks, as even as can be."""
    return [l * workers // depth for l in range(depth)]


def naive_messages(graph, owner, once=True):
    """Results that leave a worker, each counted ``once`` for every worker that waits for it, in a period in the middle
    and per weight update; read off the edges one by one. Values between two workers' layers are moved by both."""
    period = graph.period if graph.algorithm == "ipc" else 1  # of updates
    first = (graph.updates - period + 1) // 2

    def homes(task):
        l = int(graph.layers[task])
        return {owner[l], owner[l - 1]} if graph.kinds[task] == VALUE else {owner[l]}

    sent = []
    for u, v in zip(*edge_list(graph), strict=True):
        if first <= graph.update_of[u] < first + period:
            sent += [(u, worker) for worker in homes(v) - homes(u)]
    return (len(set(sent)) if once else len(sent)) / period


@some_examples
@given(cases(steady=True), st.data())
def test_messages_are_the_edges_between_workers(case, data):
    graph = build(*case)
    cuts = data.draw(st.lists(st.booleans(), min_size=graph.depth, max_size=graph.depth))
    owner = [sum(cuts[: l + 1]) for l in range(graph.depth)]
    assert graph.messages(owner) == naive_messages(graph, owner)
    assert graph.messages([0] * graph.depth) == 0


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [4, 8, 16, 31])
def test_messages_per_update_of_each_algorithm(depth, workers):
    """Per pair of neighbours: iPC two whatever the depth, PC 2T, Z-IL 2(L-1), BP two (of each micro-batch)."""
    owner = owners(depth, workers)
    pairs = workers - 1
    assert incremental(depth, 5).messages(owner) == 2 * pairs
    assert backprop(depth, 3).messages(owner) == 2 * pairs
    assert zero_divergence(depth, 3).messages(owner) == 2 * (depth - 1) * pairs
    for T in (1, 4, 7):
        assert predictive_coding(depth, 3, T).messages(owner) == 2 * T * pairs


def test_messages_do_not_depend_on_how_long_the_graph_is():
    owner = owners(9, 3)
    for builder in (incremental, backprop, zero_divergence, lambda L, n: predictive_coding(L, n, 3)):
        assert len({builder(9, updates).messages(owner) for updates in range(2, 7)}) == 1


@pytest.mark.parametrize("algorithm", ["pc", "zil"])
def test_twin_a_message_for_each_edge_is_more(algorithm):
    """A forward start's values serve two tasks of the worker above, and are sent once."""
    graph, owner = build(algorithm, 8, 4, 3 if algorithm == "pc" else None), owners(8, 2)
    assert naive_messages(graph, owner, once=False) > graph.messages(owner)


def test_twin_a_missing_edge_is_a_missing_message():
    graph, owner = incremental(6, 5), owners(6, 2)
    earlier, later = edge_list(graph)
    kinds = graph.kinds
    crossing = (kinds[earlier] == BACKPROJECT) & (kinds[later] == VALUE) & (graph.layers[earlier] == 3)
    edge = np.flatnonzero(crossing & (graph.update_of[earlier] == 2))
    assert edge.size == 1
    assert without_edge(graph, edge[0]).messages(owner) == graph.messages(owner) - 1
