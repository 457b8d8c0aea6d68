"""Predictions of convolutions and skips: closed forms, the engines' own cuts, and what is refused."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import MEASURED
from pcsim.kernels.layers import convolution as kernel

from pcsim.algorithms import BP, IPC, PC, ZIL, AsyncBP, Local
from pcsim.engines.layout import LAYERS, Layout
from pcsim.errors import InputError
from pcsim.net.named import named, outline
from pcsim.predict import images as images_module
from pcsim.predict.images import MULTIPLY, pieces
from pcsim.predict.machine import COLUMNS, RUNS, Machine
from pcsim.predict.machine_files import load, parse
from pcsim.predict.nets import Net, named_net
from pcsim.predict.prices import LOAD, PASSES, SKIPS, Form, Task
from pcsim.predict.rivals import Rivals
from pcsim.predict.simulate import simulate, timeline
from pcsim.schedule.blocks import balanced_blocks

SMALL = "cnn-8-16-8@12x12x1"
NAMES = (SMALL, "cnn-64-128-64", "vgg5@32x32x3", "vgg7@32x32x3", "alexnet@32x32x3", "residual-mlp-6-16")
ROWS = (16, 64)  # of a product, measured


def net_of(name, batch=8, **options):
    return named_net(name, outline(name), batch, **options)


def form_of(positions, filters=4, columns=4, at_once=4, pooled=False):
    return Form(filters, columns, positions, columns, pooled, at_once, positions * columns, positions * filters, 1)


def task_of(work, form, batch=4, **options):
    return Task(work, form.filters, form.columns, batch, 4, 1e3, 1, form=form, **options)


def point(work, batch, rows, columns, seconds, workers=1):
    return (work, workers, batch, rows, columns, 0, seconds)


def measured(of_pass=0.0):
    """A machine where a multiplication takes a nanosecond, and a number of a pass ``of_pass`` seconds."""
    products = [
        point(work, rows, kernels, numbers, 1e-9 * rows * kernels * numbers)
        for work in MULTIPLY for rows in ROWS for kernels in (4, 16) for numbers in (4, 64)
    ]  # fmt: skip
    others = [
        point(name, RUNS, 1, columns, of_pass * RUNS * columns)
        for name in (*PASSES, *SKIPS.values(), "values", LOAD) for columns in (1, 1024)
    ]  # fmt: skip
    return dataclasses.replace(parse(MEASURED, Path("machine.json")), images=(*products, *others))


# --- closed forms ----------------------------------------------------------------------------------------------------


@given(st.sampled_from(["predict", "backproject", "update", "start", "predict+backproject+update"]), st.integers(1, 64))
@settings(deadline=None, max_examples=50)
def test_a_kernel_of_one_on_an_image_of_one_costs_a_dense_layers_price(work, batch):
    form = form_of(1, at_once=batch)
    machine = Machine("by hand", "", "roofline", 1, 1, 1, flop_rate=1e9, overhead=1e-6)
    dense = task_of(work, form, batch)._replace(form=None)
    assert machine.cost(task_of(work, form, batch)) == machine.cost(dense)
    assert task_of(work, form, batch).flops == dense.flops
    constants = Machine("by hand", "", "constant", 1, 1, 1, constants=dict.fromkeys(MULTIPLY, 1.0))
    assert constants.cost(task_of(work, form, batch)) == constants.cost(dense)
    two = task_of(work, form_of(2, at_once=batch), batch)  # the twin: at two positions there is more to do
    assert machine.cost(two).seconds > machine.cost(dense).seconds


@pytest.mark.parametrize("work", ["predict", "backproject", "gradient"])
def test_at_saturation_twice_the_positions_take_twice_the_time(work):
    machine = measured()
    once, twice, below = (machine.cost(task_of(work, form_of(n))).seconds for n in (16, 32, 2))
    assert once == pytest.approx(1e-9 * 4 * 16 * 4 * 4) and twice == pytest.approx(2 * once)
    assert below == pytest.approx(once / 8)
    assert machine.cost(task_of(work, form_of(16))).inside
    assert not machine.cost(task_of(work, form_of(2))).inside  # fewer rows than were measured


def test_samples_are_multiplied_some_at_a_time():
    batches = [(p.batch, p.times) for p in pieces(task_of("predict", form_of(16, at_once=3), 8)) if p.multiplies]
    assert batches == [(48, 2), (32, 1)]


def works_of(work, pooled=False):
    return [piece.work for piece in pieces(task_of(work, form_of(16, pooled=pooled)))]


def test_what_kernels_do_in_which_order():
    assert works_of("start") == ["activate", "gather", "predict"]
    assert works_of("predict+backproject+update", True) == [
        "gather", "predict", "pool", "subtract", "unpool", "backproject", "scatter", "slope", "update", "descend",
    ]  # fmt: skip
    assert works_of("backproject", True) == ["unpool", "backproject", "scatter", "slope"]
    assert works_of("update") == ["gather", "update", "descend"]
    assert works_of("descend") == ["descend"]


def joined_costs(machine):
    """What the joint pass of iPC saves against its three products apart."""
    whole = machine.cost(task_of("predict+backproject+update", form_of(16))).seconds
    return sum(machine.cost(task_of(work, form_of(16))).seconds for work in MULTIPLY) - whole


def test_a_joint_pass_gathers_once(monkeypatch):
    assert joined_costs(measured(1e-9)) == pytest.approx(1e-9 * 4 * 16 * 4)

    # The twin: kernels that gathered for each product would save nothing.
    def each(task):
        return [piece for work in task.work.split("+") for piece in pieces(task._replace(work=work))]

    monkeypatch.setattr("pcsim.predict.machine.pieces", each)
    assert joined_costs(measured(1e-9)) == pytest.approx(0.0, abs=1e-15)
    assert images_module.pieces is pieces


def test_shared_rows_gather_for_the_whole_batch():
    form = form_of(16, filters=8)
    gathered, multiplied = ({p.rows for p in pieces(task_of("update", form)._replace(rows=2)) if p.work == work}
                            for work in ("gather", "update"))  # fmt: skip
    assert gathered == {4 * 16} and multiplied == {2}


# --- as the engines have it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES[:4])
@pytest.mark.parametrize("batch", [1, 5, 32])
def test_cuts_are_those_of_the_engines(name, batch):
    network, net = named(name, dtype="float32"), net_of(name, batch)
    for workers in (1, 2, 3):
        layout = Layout(network, batch, LAYERS, workers, workers, 0, 1)
        assert layout.all_blocks == balanced_blocks(net.costs(), workers)
    assert layout.forms is not None
    at_once = [form.at_once if form else 0 for form in net.forms]
    assert at_once == layout.forms[:, kernel.SAMPLES].tolist()
    assert [net.rows, net.columns] == [tuple(side) for side in np.array(net_shapes(network)).T.tolist()]


def net_shapes(network):
    return [layer.weight_shape for layer in network.layers]


def test_costs_of_dense_nets_are_their_weights():
    net = Net((8, 5, 3), 4)
    assert net.costs() == net.weights() == net.multiplications() == [40, 15] and not net.forms
    assert net_of("residual-mlp-6-16").forms == () and net_of("residual-mlp-6-16").skip[1]


@pytest.mark.parametrize("name", NAMES)
def test_flop_are_those_of_the_products(name):
    net, server = net_of(name), load("server-64")
    once = np.array(net.multiplications())
    expected = 2.0 * net.batch * (3 * once.sum() - once[0])
    for algorithm, execution, workers in ((IPC(), "layer-parallel", 2), (BP(), "pipeline", 2), (BP(), "serial", 1)):
        assert simulate(algorithm, net, server, execution, workers).flops == expected


@pytest.mark.parametrize("algorithm", [BP(), PC(T=2), ZIL(), IPC()], ids=lambda one: one.name)
def test_timelines_are_orders_of_the_task_graph(algorithm):
    net, server = net_of(SMALL), load("server-64")
    workers, execution = (1, "serial") if isinstance(algorithm, BP) else (2, "layer-parallel")
    found = timeline(algorithm, net, server, execution, workers, updates=3)
    assert not found.violations(algorithm.tasks(net.depth, 3))


@pytest.mark.parametrize("execution", ["layer-parallel", "data-parallel"])
def test_batches_that_change_cost_more(execution):
    server = load("server-64")
    stays, changes = net_of(SMALL), net_of(SMALL, steps_per_batch=1)
    assert simulate(IPC(), changes, server, execution, 2).seconds > simulate(IPC(), stays, server, execution, 2).seconds


# --- skips -----------------------------------------------------------------------------------------------------------


def test_a_skip_is_a_pass_more_for_what_is_predicted_and_what_is_driven():
    machine = measured(1e-9)
    plain = Task("predict+backproject+update", 16, 16, 8, 4, 1e3, 1)
    more = machine.cost(plain._replace(skip=True)).seconds - machine.cost(plain).seconds
    assert more == pytest.approx(2 * 1e-9 * 8 * 16)
    assert machine.cost(plain._replace(work="update", skip=True)) == machine.cost(plain._replace(work="update"))


def test_residual_nets_take_longer_than_plain_ones():
    server = load("server-64")
    net = net_of("residual-mlp-6-16")
    plain = dataclasses.replace(net, skip=())
    assert simulate(IPC(), net, server).seconds > simulate(IPC(), plain, server).seconds
    assert simulate(IPC(), plain, server).seconds == simulate(IPC(), Net(net.sizes, 8), server).seconds


# --- files -----------------------------------------------------------------------------------------------------------


def with_images(**changes):
    content = copy.deepcopy(MEASURED)
    rows = [list(one) for one in measured(1e-9).images]
    part = {"unit": "s", "source": "by hand", "columns": list(COLUMNS), "points": rows}
    return content | {"convolutions": part | changes}


def test_files_from_before_load_and_their_predictions_say_so():
    old, new = parse(MEASURED, Path("old.json")), parse(with_images(), Path("new.json"))
    assert old.images == () and new.images == measured(1e-9).images
    found = simulate(IPC(), net_of(SMALL), old)
    assert found.seconds > 0 and found.mark == "outside the calibrated range"
    # Dense nets without skips are predicted as ever.
    for net in (Net((16, 32, 16), 8), Net((64,) * 4, 8, steps_per_batch=2)):
        for workers, execution in ((1, "serial"), (2, "layer-parallel"), (2, "data-parallel")):
            assert (
                simulate(IPC(), net, old, execution, workers).seconds
                == simulate(IPC(), net, new, execution, workers).seconds
            )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"points": []}, "convolutions.points: must hold a point at least"),
        ({"unit": "ms"}, "convolutions.unit: must be 's', not 'ms'"),
        ({"columns": ["work"]}, "convolutions.columns: must be"),
        ({"points": [["fold", 1, 8, 1, 8, 0, 1.0]]}, "convolutions.points[0]: work must be of predict, backproject"),
        ({"points": [["pool", 1, 8, 1, 8, 0, 0.0]]}, "convolutions.points[0]: seconds must be above 0"),
        ({"more": 1}, "convolutions.more: is unknown"),
    ],
)
def test_faults_are_one_line(changes, said):
    with pytest.raises(InputError) as caught:
        parse(with_images(**changes), Path("machine.json"))
    assert said in str(caught.value) and "\n" not in str(caught.value)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "execution", "options", "said"),
    [
        (BP(), "intra-layer", {}, "execution 'intra-layer' has no convolutions"),
        (IPC(), "hybrid", {}, "execution 'hybrid' has no convolutions"),
        (BP(), "pipeline", {"order": "zero-bubble"}, r"'pipeline \(zero-bubble\)' has no convolutions"),
        (IPC(), "data-parallel", {"ranks": 2}, "execution 'data-parallel' has no convolutions on ranks"),
        (AsyncBP(), "pipeline-async", {}, "with convolutions is not predicted"),
        (Local(), "layer-parallel", {}, "with convolutions is not predicted"),
        (BP(optimizer="muon"), "pipeline", {}, "optimizer muon with convolutions is not predicted"),
    ],
)
def test_what_no_engine_runs_is_refused(algorithm, execution, options, said):
    with pytest.raises(InputError, match=said):
        simulate(algorithm, net_of(SMALL), load("cluster-infiniband"), execution, 2, **options)


def test_launches_of_equal_layers_are_refused():
    with pytest.raises(InputError, match="one launch for products of equal layers"):
        simulate(IPC(), net_of(SMALL), load("gpu-batched"))


@pytest.mark.parametrize("ranks", [None, 2])
def test_rivals_are_those_that_run(ranks):
    rivals = Rivals(net_of(SMALL), load("cluster-infiniband"), ranks)
    rows = [*rivals.backprops(4), rivals.layers_on_workers(IPC(), 4)]
    found = {row.execution for row in rows[:-1]}
    assert found == {"serial", "pipeline"} | (set() if ranks else {"data-parallel"})
    assert rows[-1].execution in ("serial", "layer-parallel", "data-parallel")
