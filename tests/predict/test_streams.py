"""Plans of what streams through layers, held against closed forms on machines of constants."""

from dataclasses import replace

import pytest
from simulated import IDEAL, constant, square

from pcsim import DFA, DualProp, InputError, Local
from pcsim.predict.machine_files import load
from pcsim.predict.plans import Net
from pcsim.predict.rivals import Rivals
from pcsim.predict.simulate import simulate
from pcsim.schedule.tasks import Kind

BOTH = pytest.mark.parametrize("algorithm", [Local(), DFA()], ids=["local", "dfa"])
ALL = pytest.mark.parametrize(
    "algorithm", [Local(), DFA(), DualProp(incremental=True)], ids=["local", "dfa", "incremental"]
)


def products(algorithm, depth):
    """Of an update, by the task graph."""
    graph = algorithm.steady_tasks(depth)
    return float((graph.in_period() & (graph.kinds != Kind.VALUE)).sum()) / graph.period_updates


@ALL
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("depth", [1, 2, 5, 9])
def test_one_worker_makes_all_products_one_after_another(algorithm, depth, batch):
    found = simulate(algorithm, square(depth, batch=batch), constant())
    assert found.seconds == pytest.approx(products(algorithm, depth))
    assert found.execution == "serial"


@pytest.mark.parametrize("depth", [2, 5, 9])
def test_layers_with_a_worker_each_take_what_one_layer_takes(depth):
    """Of local losses: two products, and three of the head. In feedback alignment the last layer but one, with three,
    waits for each error of the output before it predicts for the next, and the last one, with two, waits for that."""
    net = square(depth, batch=4)
    assert simulate(Local(), net, constant(), "layer-parallel", depth).seconds == pytest.approx(5)
    assert simulate(DFA(), net, constant(), "layer-parallel", depth).seconds == pytest.approx(3 + 2)


@pytest.mark.parametrize("depth", [2, 5, 9])
def test_half_sweeps_with_a_worker_for_each_layer(depth):
    """A layer makes three products in one of two half sweeps, and its neighbours in the other; so two are enough. With
    a forward start and k sweeps the output alone moves in the first half sweep, and all weights update in the last."""
    net = square(depth, batch=4)
    found = simulate(DualProp(incremental=True), net, constant(), "layer-parallel", depth)
    assert found.seconds == pytest.approx(6 if depth > 2 else 5)  # nothing goes on to the input
    few, more = (simulate(DualProp(sweeps=k), net, constant(), "layer-parallel", depth).seconds for k in (8, 9))
    assert more - few == pytest.approx(4 if depth > 2 else 3)
    assert simulate(DualProp(sweeps=8), net, constant()).seconds > few


@ALL
def test_what_is_slower_makes_nothing_faster(algorithm):
    net, base = Net((30, 50, 40, 20, 10), 1), load("server-64")
    for workers in (1, 2, 4):
        execution = "serial" if workers == 1 else "layer-parallel"
        quick = simulate(algorithm, net, base, execution, workers).seconds
        slow = replace(base, handover_latency=base.handover_latency * 10 + 1e-6, overhead=base.overhead * 2)
        assert simulate(algorithm, net, slow, execution, workers).seconds >= quick * (1 - 1e-12)


@BOTH
def test_weights_beyond_the_cache_are_fetched_once_for_a_wave(algorithm):
    """A machine with one small cache: several batches of a layer at once are faster than one, of large nets alone."""
    base = load("server-64")
    for width, faster in ((8, False), (1024, True)):
        net = square(24, width)
        one, wave = (simulate(algorithm, net, base, wave=each).seconds for each in (1, 8))
        assert (wave < 0.95 * one) == faster


@ALL
def test_they_have_one_execution(algorithm):
    net = square(4)
    found = Rivals(net, load("server-64")).layers_on_workers(algorithm, 8)
    assert (found.algorithm, found.workers <= 4) == (algorithm.name, True)
    with pytest.raises(InputError, match="has no execution 'intra-layer'"):
        simulate(algorithm, net, IDEAL, "intra-layer", 2)
    with pytest.raises(InputError, match="5 workers are more than the 4 layers"):
        simulate(algorithm, net, IDEAL, "layer-parallel", 5)
    with pytest.raises(InputError, match="leave it out"):
        simulate(algorithm, net, load("gpu-batched"))
