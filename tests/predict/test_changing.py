"""Predictions of batches that change: forward and pipelined starts, rows of new batches, optimisers, unequal nets."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pcsim.kernels.graphs import plans
from simulated import constant

from pcsim import BP, IPC, PC, InputError
from pcsim.predict import sweep
from pcsim.predict.loads import with_loads
from pcsim.predict.machine import Level, Machine
from pcsim.predict.machine_files import load
from pcsim.predict.nets import Net
from pcsim.predict.plans import LOAD, layered
from pcsim.predict.simulate import make_plan, simulate
from pcsim.schedule.timeline import START, UPDATE, VALUE

STARTS = ("forward", "pipelined")


def roofline(bandwidth=1e9, **fields):
    return Machine(
        "made up", "", "roofline", 1, 1, None, flop_rate=1e9, levels=(Level("m", None, bandwidth),), **fields
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 7), st.integers(1, 9), st.sampled_from(STARTS), st.integers(1, 4), st.integers(1, 4))
def test_a_period_holds_every_update_and_start_once(depth, T, start, workers, wave):
    net = Net(tuple(range(5, 6 + depth)), 2, 4, T, start)
    plan = layered(IPC(), net, min(workers, depth), min(wave, T))
    order = np.empty(len(plan), np.int32)
    assert plans.runnable_order(plan.workers, plan.worker, plan.at, plan.before, plan.lag, order) == len(plan)
    assert plan.updates % T == 0
    assert np.sum(plan.work & UPDATE != 0) == depth * plan.updates
    assert np.sum(plan.work & START != 0) == (depth - (start == "pipelined")) * (plan.updates // T)


@pytest.mark.parametrize("T", [1, 3, 8])
@pytest.mark.parametrize("depth", [2, 5, 8])
def test_what_a_start_costs_by_closed_forms(depth, T):
    """Products of a second each. One worker: of a forward start the products replace predictions, a pipelined one has
    one more for each layer but the last. A worker a layer: the chain of a forward start is hidden but for a product for
    each layer, or step where these are fewer; never more with a pipelined one."""
    machine, forward, pipelined = constant(), *(Net((8,) * (depth + 1), 1, 4, T, start) for start in STARTS)

    def seconds(net, workers):
        return simulate(IPC(), net, machine, "layer-parallel" if workers > 1 else "serial", workers, wave=1).seconds

    assert seconds(forward, 1) == pytest.approx(3 * depth - 1)
    assert seconds(pipelined, 1) == pytest.approx(3 * depth - 1 + (depth - 1) / T)
    assert seconds(forward, depth) == pytest.approx(3 + min(depth - 1, T) / T)
    assert 3 <= seconds(pipelined, depth) <= seconds(forward, depth)
    still = dataclasses.replace(forward, steps_per_batch=None)
    assert seconds(still, depth) == 3
    assert seconds(forward, depth) > seconds(still, depth)  # the twin without starts


@pytest.mark.parametrize("execution", ["serial", "intra-layer", "data-parallel", "pipeline"])
def test_backprop_copies_a_new_batch_for_every_update(execution):
    workers = 1 if execution == "serial" else 2
    net = Net((40, 8, 8, 4), 6, 4, 8)
    plan = make_plan(BP(), net, execution, workers, 1, 3, "split", 1)
    copied = plan.work == LOAD
    alike = plan.alike[plan.worker[copied]]
    # Rows split: everyone has all of it; samples: everyone their own; layers: whoever has the lowest and the highest.
    times = 2 if execution == "intra-layer" else 1
    assert np.sum(plan.columns[copied] * plan.batch[copied] * alike) == times * 6 * (40 + 4)
    assert plan.updates == 1


def test_new_batches_take_their_bytes_from_memory():
    still, changing = Net((40, 8, 8, 4), 6), Net((40, 8, 8, 4), 6, 4, 8)
    seconds = 6 * (40 + 4) * 4 / 1e6
    for algorithm, times in ((BP(), 1), (PC(T=2), 1), (IPC(), 8)):
        more = simulate(algorithm, changing, roofline(1e6)).seconds - simulate(algorithm, still, roofline(1e6)).seconds
        if algorithm.name == "ipc":  # beside the starts, which take the place of predictions
            assert more == pytest.approx(seconds / times, rel=0.1)
        else:
            assert more == pytest.approx(seconds / times)
    assert "new batches" in simulate(BP(), changing, roofline(1e6)).words
    assert simulate(BP(), changing, constant()).seconds == simulate(BP(), still, constant()).seconds


def test_loads_wait_for_nothing_and_keep_all_other_edges():
    net = Net((8,) * 5, 2)
    plan = layered(IPC(), dataclasses.replace(net, steps_per_batch=4), 2)
    found = with_loads(plan, dataclasses.replace(net, steps_per_batch=4), False)
    old = np.flatnonzero(found.work != LOAD)
    assert len(found) == len(plan) + 2
    assert np.diff(found.at)[found.work == LOAD].tolist() == [0, 0]
    number = np.full(len(found), -1)
    number[old] = np.arange(len(plan))
    for v, u in enumerate(old):
        assert (
            number[found.before[found.at[u] : found.at[u + 1]]].tolist()
            == plan.before[plan.at[v] : plan.at[v + 1]].tolist()
        )
    for name in ("worker", "work", "layer", "rows", "columns", "batch"):
        assert getattr(found, name)[old].tolist() == getattr(plan, name).tolist()


def test_an_optimiser_adds_what_it_keeps():
    net = Net((64,) * 4, 8)
    plain, momentum, adam = (simulate(BP(1e-4, name), net, roofline()) for name in ("sgd", "momentum", "adam"))
    weights = 3 * 64 * 64 * 4
    assert momentum.bytes - plain.bytes == 2 * weights
    assert adam.bytes - plain.bytes == 4 * weights
    assert plain.seconds < momentum.seconds < adam.seconds
    assert plain.flops == adam.flops
    host = load("benchmarks/results/machine-2-cores.json")
    kept, told = simulate(IPC(optimizer="adam"), net, host), simulate(IPC(), net, host)
    assert kept.seconds > told.seconds
    assert (kept.mark, told.mark) == ("outside the calibrated range", "")  # this file has no points of Adam


def test_a_machine_that_measured_them_needs_no_bandwidth():
    host = load("benchmarks/results/machine-2-cores.json")
    points = [("load", 1, 1, 1, width, 0, width * 1e-9) for width in (16, 2048)]
    points += [("adam", 1, 1, width, width, d, width * width * 1e-9) for width in (16, 2048) for d in (1e5, 1e8)]
    known = dataclasses.replace(host, points=(*host.points, *points))
    net, changing = Net((64,) * 4), Net((64,) * 4, 1, 4, 8)
    more = simulate(BP(), changing, known).seconds - simulate(BP(), net, known).seconds
    assert more == pytest.approx(2 * 64e-9, rel=0.01)
    far = dataclasses.replace(known, levels=tuple(dataclasses.replace(l, size=1e12) for l in known.levels))
    adam, plain = (simulate(BP(1e-4, name), net, far) for name in ("adam", "sgd"))
    assert adam.mark == ""
    assert adam.seconds - plain.seconds > 3 * 64 * 64 * 1e-9 * 0.99


def test_unequal_nets_and_changing_batches_are_cells_of_their_own():
    server = load("server-64")
    nets = [Net((784, 64, 64, 10), 64, 4, T, start) for T in (None, 2, 8) for start in (STARTS if T else STARTS[:1])]
    cases = list(sweep.sweep_nets(server, nets, [2]))
    assert [case.net for case in cases] == nets
    assert len({case.name for case in cases}) == len(nets)
    assert cases[0].name == "784-64-64-10, batch 64"
    assert cases[-1].name == "784-64-64-10, batch 64, a new one every 8 steps, pipelined start"
    assert len({case.runs[0].seconds for case in cases}) == len(nets)
    alone = list(sweep.sweep_nets(server, nets[3:4], [2]))  # a cell's prediction depends on the cell alone
    assert alone[0] == cases[3]
    with pytest.raises(InputError, match="all alike"):
        sweep.maps(cases)
    titles = [one.title for one in sweep.maps(cases, sweep.MAPS["workers-latency"])]
    assert len(set(titles)) == len(nets)
    assert titles[1] == "784-64-64-10, batch 64, a new batch every 2 steps"


def test_a_pipelined_start_is_for_layers_on_workers():
    server, net = load("server-64"), Net((64,) * 5, 8, 4, 4, "pipelined")
    for execution in ("intra-layer", "data-parallel", "hybrid"):
        with pytest.raises(InputError, match="begins with a forward pass"):
            simulate(IPC(), net, server, execution, 2)
    assert sweep.case(server, net, 4).runs[0].execution in ("serial", "layer-parallel")


def test_values_move_as_often_whatever_the_batches_do():
    plan, changing = (layered(IPC(), Net((8,) * 5, 1, 4, T), 2, 1) for T in (None, 4))
    each = [np.sum(p.work & VALUE != 0) / p.updates for p in (plan, changing)]
    assert each[0] == each[1]
