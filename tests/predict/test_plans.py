"""Plans against the task graphs that they are laid out from: every task once, every edge kept, each worker its own."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pcsim.kernels.graphs import plans

from pcsim.algorithms import BP, IPC, PC, ZIL
from pcsim.errors import InputError
from pcsim.predict.plans import NOBODY, ORDERS, Net, by_rows, data_parallel, layered, pipeline
from pcsim.schedule.blocks import balanced_blocks
from pcsim.schedule.tasks import Kind
from pcsim.schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE

ALGORITHMS = (BP(1e-4), PC(T=2), ZIL(), IPC())
BITS = {
    Kind.START: START,
    Kind.PREDICT: PREDICT,
    Kind.BACKPROJECT: BACKPROJECT,
    Kind.UPDATE: UPDATE,
    Kind.VALUE: VALUE,
}
some_examples = settings(deadline=None, max_examples=60)


def runnable(plan):
    order = np.empty(len(plan), np.int32)
    return plans.runnable_order(plan.workers, plan.worker, plan.at, plan.before, plan.lag, order) == len(plan)


def edges_kept(plan, graph, owner):
    """Whether of every edge of the graph the jobs are one, or the later waits for the earlier, or comes after it on
    one worker."""
    jobs = {}
    for v in range(len(plan)):
        for kind, bit in BITS.items():
            if plan.work[v] & bit:
                jobs.setdefault((kind, int(plan.step[v]), int(plan.layer[v])), []).append(v)
    waits = [set(plan.before[plan.at[v] : plan.at[v + 1]].tolist()) for v in range(len(plan))]
    indptr, before = graph.predecessors
    name = [(Kind(k), int(s), int(l)) for k, s, l in zip(graph.kinds, graph.steps, graph.layers, strict=True)]
    for v in range(len(graph)):
        for u in before[indptr[v] : indptr[v + 1]]:
            for later in jobs[name[v]]:
                if not any(
                    a == later or a in waits[later] or (plan.worker[a] == plan.worker[later] and a < later)
                    for a in jobs[name[u]]
                ):
                    return False
    return all(plan.worker[v] in (owner[l], owner[max(l, 1) - 1]) for (_, _, l), vs in jobs.items() for v in vs)


@some_examples
@given(st.sampled_from(ALGORITHMS), st.integers(1, 6), st.integers(1, 4), st.data())
def test_a_whole_run_has_every_task_and_keeps_every_edge(algorithm, depth, updates, data):
    sizes = tuple(data.draw(st.lists(st.integers(1, 60), min_size=depth + 1, max_size=depth + 1)))
    net = Net(sizes)
    workers = 1 if isinstance(algorithm, BP) else data.draw(st.integers(1, depth))
    graph = algorithm.tasks(depth, updates)
    plan = layered(algorithm, net, workers, whole=updates)
    blocks = balanced_blocks(net.weights(), workers)
    owner = [w for w, (lo, hi) in enumerate(blocks) for _ in range(lo, hi)]
    done = {
        (int(bit), int(s), int(l))
        for work, s, l in zip(plan.work, plan.step, plan.layer, strict=True)
        for bit in BITS.values()
        if work & bit
    }
    kinds = [BITS[Kind(k)] for k in graph.kinds]
    assert done == set(zip(kinds, graph.steps.tolist(), graph.layers.tolist(), strict=True))
    assert runnable(plan)
    assert edges_kept(plan, graph, owner)


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([(1, "pipelined"), (3, "forward"), (3, "pipelined"), (8, "pipelined")]),
    st.integers(1, 5),
    st.data(),
)
def test_a_run_of_changing_batches_keeps_every_edge(changing, depth, data):
    net, updates = Net((8,) * (depth + 1), 1, 4, *changing), data.draw(st.integers(1, 7))
    workers, graph = data.draw(st.integers(1, depth)), IPC().tasks(depth, updates, *changing)
    plan = layered(IPC(), net, workers, whole=updates)
    blocks = balanced_blocks(net.weights(), workers)
    assert runnable(plan)
    assert edges_kept(plan, graph, [w for w, (lo, hi) in enumerate(blocks) for _ in range(lo, hi)])


def test_twin_a_dropped_edge_is_seen():
    algorithm, net = IPC(), Net((8,) * 4)
    plan, graph = layered(algorithm, net, 3, whole=3), algorithm.tasks(3, 3)
    assert edges_kept(plan, graph, [0, 1, 2])
    edge = int(np.flatnonzero(plan.size > 0)[0])
    at = plan.at - (np.arange(plan.at.size) > np.searchsorted(plan.at, edge, side="right") - 1)
    twin = dataclasses.replace(plan, at=at, **{n: np.delete(getattr(plan, n), edge) for n in ("before", "lag", "size")})
    assert not edges_kept(twin, graph, [0, 1, 2])
    ring = dataclasses.replace(plan, before=np.where(np.arange(len(plan.before)) == edge, len(plan) - 1, plan.before))
    assert not runnable(ring)


@some_examples
@given(st.integers(2, 6), st.integers(1, 9), st.sampled_from([1, 3, 8]), st.data())
def test_backprop_in_every_execution_does_all_the_work(depth, workers, batch, data):
    sizes = tuple(data.draw(st.lists(st.integers(1, 60), min_size=depth + 1, max_size=depth + 1)))
    net, graph = Net(sizes, batch), BP(1e-4).tasks(depth, 3)
    wanted = batch * (2 * sum(net.weights()) + sum(net.weights()[1:]))
    plans = [by_rows(net, workers, graph)]
    plans += [data_parallel(net, min(workers, batch), graph)]
    plans += [pipeline(net, min(workers, depth), graph, min(4, batch), order) for order in ORDERS]
    for plan in plans:
        assert runnable(plan)
        product = (plan.worker != NOBODY) & (plan.work & (PREDICT | BACKPROJECT | UPDATE) != 0)
        assert not np.any(plan.work[product] & VALUE)
        alike = plan.alike[plan.worker[product]]
        several = sum((plan.work & bit != 0).astype(np.int64) for bit in (PREDICT, BACKPROJECT, UPDATE))
        done = several * plan.rows * plan.columns * plan.batch
        assert plan.updates == 1
        assert (done[product] * alike).sum() == wanted, plan.execution
        assert np.all(plan.size[plan.lag == 1] >= 0)


@pytest.mark.parametrize("wave", [1, 2, 3, 4])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_waves_do_the_same_work(wave, workers):
    plan = layered(IPC(), Net((8, 9, 7, 6, 5)), workers, wave)
    assert runnable(plan)
    assert plan.updates == (2 * wave if wave > 1 and workers > 1 else wave)
    assert np.sum(plan.work & UPDATE != 0) == 4 * plan.updates


def test_neighbours_walk_in_opposite_directions_and_turn_round_after_each_wave():
    wave, workers = 3, 2
    plan = layered(IPC(), Net((4,) * 9), workers, wave)
    for worker in range(workers):
        for number in range(2):
            mine = (plan.worker == worker) & (plan.step == number * wave) & (plan.work & UPDATE != 0)
            walked = plan.layer[mine].tolist()
            assert walked == sorted(walked, reverse=(worker + number) % 2 == 1) and len(walked) == 4


def test_an_unknown_order_is_refused():
    with pytest.raises(InputError, match="'zigzag' of a pipeline is unknown"):
        pipeline(Net((4, 4, 4), 2), 2, BP(1e-4).tasks(2, 3), 2, "zigzag")


# --- reuse distances ------------------------------------------------------------------------------------------------


def naive_distances(worker, layer, size):
    """Bytes of the layers that each job's worker goes through since its last job on the same layer, period after
    period; of a layer, those of its largest job."""
    found = []
    for v, (w, l) in enumerate(zip(worker, layer, strict=True)):
        if not size[v]:
            found.append(0.0)
            continue
        walk = [u for u in range(len(worker)) if worker[u] == w and size[u]]
        here = walk.index(v)
        between = {l}
        for u in reversed(walk[here:] + walk[:here]):  # what this worker did before, the latest first
            if layer[u] == l:
                break
            between.add(layer[u])
        found.append(sum(max(size[u] for u in walk if layer[u] == m) for m in between))
    return found


jobs = st.tuples(st.integers(0, 2), st.integers(0, 4), st.sampled_from([0.0, 1.0, 2.0, 7.0, 30.0]))


def distances(worker, layer, size):
    count, workers, layers = len(worker), max(worker) + 1, max(layer) + 1
    found, lost, own = np.array(size), np.zeros(count), np.zeros(workers)
    plans.reuse_distances(
        workers, np.array(worker, np.int32), np.array(layer, np.int32), layers, np.array(size),
        np.full(workers, np.inf), np.inf, found, lost, own,
    )  # fmt: skip
    assert not lost.any()
    return found.tolist()


@some_examples
@given(st.lists(jobs, min_size=1, max_size=14))
def test_reuse_distances_are_those_of_a_walk_back(drawn):
    worker, layer, size = (list(each) for each in zip(*drawn, strict=True))
    assert distances(worker, layer, size) == naive_distances(worker, layer, size)


def test_a_layer_that_comes_twice_in_a_row_is_near():
    """1, 2, 2, 3, 1, 2, 2, 3 …: nothing lies between the two in the middle."""
    assert distances([0] * 4, [1, 2, 2, 3], [10.0, 20.0, 20.0, 30.0]) == [60.0, 60.0, 20.0, 60.0]
