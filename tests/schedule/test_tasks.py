"""Task graphs: their order, critical path, schedules on a limited number of workers, and messages."""

import dataclasses
import heapq
from collections import Counter
from itertools import pairwise
from math import ceil

import numpy as np
import pytest
from graphs import (
    DEPTHS,
    backprop,
    build,
    cases,
    edge_list,
    incremental,
    predictive_coding,
    without_edge,
    zero_divergence,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim.errors import InputError
from pcsim.schedule.tasks import FULL_COSTS, PAPER_COSTS, Kind, Predecessors

START, PREDICT, BACKPROJECT, VALUE, UPDATE, *_ = Kind


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


# Kernels compile at their first call, which no deadline should count.
some_examples = settings(deadline=None, max_examples=60)
graphs = cases().map(lambda case: build(*case))


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


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 7, 8, 16])
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
