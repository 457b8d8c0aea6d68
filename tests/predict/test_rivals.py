"""Every execution of BP that fits, and what moves the ratio most."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import rooflines, square

from pcsim.algorithms import BP, IPC
from pcsim.algorithms.predictive_coding import SHARED
from pcsim.predict import sweep
from pcsim.predict.machine_files import load
from pcsim.predict.rivals import EXECUTIONS, Rivals, backprops, sensitivity
from pcsim.predict.what_if import FIGURES
from pcsim.schedule.teams import balanced_teams

few_examples = settings(deadline=None, max_examples=15)

machines = rooflines(nodes=1) | st.sampled_from(["server-64", "cluster-ethernet"]).map(load)


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


# A cell's prediction depends on the cell alone.


@settings(deadline=None, max_examples=8)
@given(
    st.integers(1, 9),
    st.sampled_from([3, 64, 200]),
    st.sampled_from([1, 8]),
    st.integers(1, 20),
    *(st.lists(st.integers(1, most), max_size=2) for most in (9, 300, 9, 24)),
    machines,
)
def test_other_cells_and_workers_leave_a_prediction_as_it_is(
    depth, width, batch, workers, depths, widths, batches, counts, machine
):
    alone = list(sweep.sweep(machine, [depth], [width], [batch], [workers]))
    lists = [sorted({*more, one}) for more, one in ((depths, depth), (widths, width), (batches, batch))]
    among = sweep.sweep(machine, *lists, sorted({*counts, workers}))
    cell = (depth, width, batch, workers)
    assert [one for one in among if (one.depth, one.width, one.batch, one.workers) == cell] == alone


def test_the_sample_in_which_fewer_workers_suited_bp_better():
    lists = {"depths": [2, 32], "widths": [128], "batches": [1]}
    alone = {one.depth: one for one in sweep.sweep(load("server-64"), **lists, workers=[64])}
    for one in sweep.sweep(load("server-64"), **lists, workers=[4, 64]):
        if one.workers == 64:
            assert one == alone[one.depth]
            assert (one.best.execution, one.best.workers) == ("intra-layer", 4)


def every(rivals, execution, most):
    """Predictions on every number of workers, one by one."""
    algorithm, least = (IPC(), 1) if execution == "layer-parallel" else (BP(1e-4), 2)
    net = rivals.net
    most = min(most, {"intra-layer": most, "data-parallel": net.batch}.get(execution, net.depth))
    return [rivals._on(algorithm, execution, count) for count in range(least, most + 1)]


@few_examples
@given(st.integers(1, 12), st.sampled_from([3, 17, 64, 100, 1024]), st.sampled_from([1, 7, 32]), machines)
def test_no_number_of_workers_is_better_than_the_one_that_was_found(depth, width, batch, machine):
    net, most = square(depth, width, batch), 20
    rivals, others = Rivals(net, machine), Rivals(net, machine)
    found = {one.execution: one for one in rivals.backprops(most)}
    mine = rivals.layers_on_workers(IPC(), most)
    found["layer-parallel"] = mine
    for execution in (*EXECUTIONS[1:], "layer-parallel"):
        if batch == 1 and execution in ("pipeline", "data-parallel"):
            continue
        for one in every(others, execution, most):
            assert found[execution].seconds <= one.seconds * 1.01, (execution, one.workers)
    for execution in SHARED if machine.nodes == 1 else ():  # of iPC too
        counts = range(2, min(most, batch if execution == "data-parallel" else most) + 1)
        if execution != "intra-layer":  # of which not all are looked at
            counts = [count for count in counts if count in (*range(9), 10, 12, 14, 16, 20)]
        for count in counts:
            if execution == "hybrid" and not 1 < len(balanced_teams(net.sizes, batch, count)) < count:
                continue
            assert mine.seconds <= others._on(IPC(), execution, count).seconds * 1.01, (execution, count)


def test_of_measured_products_every_number_of_workers_is_looked_at():
    host = load("benchmarks/results/machine-2-cores.json").scaled(12)
    net = square(6, 96, 4)
    rivals = Rivals(net, host)
    found = {one.execution: one for one in rivals.backprops(12)}
    for execution in EXECUTIONS[1:]:
        assert found[execution].seconds == min(one.seconds for one in every(Rivals(net, host), execution, 12))


def test_who_stands_for_ipc_is_the_fastest_of_all_its_executions():
    server = load("server-64")
    found = {net: Rivals(square(*net), server).layers_on_workers(IPC(), 64) for net in ((8, 1024), (8, 1024, 64))}
    assert {one.execution for one in found.values()} == {"hybrid"}
    (wide,) = [net for net in found if len(net) == 2]
    cluster = load("cluster-ethernet")  # ranks of several threads are teams, of one thread they have rows
    for ranks, execution in ((8, "hybrid"), (64, "intra-layer")):
        rivals = Rivals(square(*wide), cluster, ranks=ranks)
        found = rivals.layers_on_workers(IPC(), 64)
        assert (found.execution, found.ranks) == (execution, ranks)
        assert found.seconds == min(one.seconds for one in rivals.known.values())
    assert Rivals(square(2, 64, 512), server).layers_on_workers(IPC(), 8).execution == "data-parallel"


@pytest.mark.parametrize("batch", [1, 16])
def test_more_workers_to_choose_from_never_make_anything_slower(batch):
    rivals = Rivals(square(8, 100, batch), load("server-64"))
    times = [[one.seconds for one in rivals.backprops(most)] for most in range(9, 33)]
    assert all(after <= before for a, b in pairwise(times) for before, after in zip(a, b, strict=True))
