"""The zero-bubble order of BP's pipeline: BP's gradient, in turns that are those of the task graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import distance, problems

from pcsim import BP, Network, train
from pcsim.algorithms.common import OPTIMIZERS
from pcsim.engines import make_engine
from pcsim.engines.turns import Turns
from pcsim.errors import InputError

EXACT = 1e-12
FILLED = {"execution": "pipeline", "order": "zero-bubble"}


def engine(backend, problem, algorithm, **options):
    net, x, y = problem
    rows = np.arange(len(x))
    return make_engine(backend, net, algorithm, x, y, lambda: rows, **options)


def alone(engine):
    return sum(stage.alone for stage in engine.turns.pipeline.stages)


@settings(max_examples=25, deadline=None)
@given(problems(max_batch=9, plain=True), st.integers(2, 4), st.integers(1, 9), st.sampled_from(OPTIMIZERS))
def test_equals_the_oracle(problem, workers, micro_batches, optimizer):
    if len(problem[1]) == 1:
        return
    algorithm = BP(0.004, optimizer)
    oracle = engine("numpy", problem, algorithm)
    options = {"workers": min(workers, problem[0].depth), "micro_batches": micro_batches, **FILLED}
    mine = engine("threads", problem, algorithm, **options)
    energies = [[each.run(1)[1] for _ in range(3)] for each in (oracle, mine)]
    assert distance(mine.network, oracle.network) < EXACT
    assert distance(mine.values, oracle.values) < EXACT
    np.testing.assert_allclose(*energies, rtol=1e-11, atol=1e-24)


def wide(depth=4, batch=16):
    rng = np.random.default_rng(1)
    net = Network.mlp([40] * (depth + 1), "tanh", seed=3, dtype=np.float64, bias=True)
    return net, rng.normal(size=(batch, 40)), rng.normal(size=(batch, 40))


def test_stages_make_weight_products_apart_and_sum_up_all_of_them(monkeypatch):
    """Twins: one micro-batch forgotten, and the sums of the batch before kept."""
    problem = wide()
    oracle = engine("numpy", problem, BP(0.004))
    oracle.run(3)

    def trained():
        mine = engine("threads", problem, BP(0.004), workers=4, **FILLED)
        mine.run(3)
        return mine

    right = trained()
    assert alone(right) >= 8
    assert distance(right.network, oracle.network) < EXACT
    of_worker = Turns.of_worker

    def spoilt(change):
        def changed(self, worker):
            turning = of_worker(self, worker)
            return turning._replace(part=change(turning.what, turning.part))

        return changed

    for change in (
        lambda what, part: np.where((what == 2) & (part == 1), 2, part),
        lambda what, part: np.where(what == 2, np.maximum(part, 1), part),
    ):
        monkeypatch.setattr(Turns, "of_worker", spoilt(change))
        assert distance(trained().network, oracle.network) > 1e-6


def test_a_trace_is_an_order_of_the_task_graph():
    mine = engine("threads", wide(), BP(0.004), workers=3, micro_batches=5, **FILLED)
    mine.run(3, trace=True)
    graph = mine.turns.pipeline.graph(3)
    assert alone(mine)
    assert mine.timeline.violations(graph) == []
    assert mine.timeline.violations(BP().tasks(4, 15))  # the twin: 15 batches, each of which updates the weights


def test_the_same_run_has_the_same_bits():
    runs = [engine("threads", wide(), BP(0.004, "adam"), workers=3, **FILLED) for _ in range(2)]
    for each in runs:
        each.run(4)
    assert all(map(np.array_equal, *(each.network.weights for each in runs)))


def test_train_takes_the_order_and_refuses_what_is_none():
    net, x, y = wide()
    run, whole = (
        train(net, BP(0.004), x, y, updates=3, workers=2, execution="pipeline", order=order)
        for order in ("zero-bubble", "split")
    )
    assert 0 < distance(run.network, whole.network) < EXACT
    with pytest.raises(InputError, match="order 'odd' of a pipeline is unknown"):
        train(net, BP(0.004), x, y, updates=3, workers=2, execution="pipeline", order="odd")
    with pytest.raises(InputError, match="order 'zero-bubble' is of a pipeline: choose execution 'pipeline'"):
        train(net, BP(0.004), x, y, updates=3, workers=2, execution="intra-layer", order="zero-bubble")
