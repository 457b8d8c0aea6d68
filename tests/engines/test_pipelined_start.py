"""The next batch starts during the steps of the one at hand: oracle, graph, threads, state and what is refused."""

import itertools

import numpy as np
import pytest

from pcsim import BP, IPC, PC, InputError, Network, train
from pcsim.engines.numpy import NumpyEngine
from pcsim.engines.threads import ThreadsEngine

CASES = list(itertools.product((1, 2, 6), (1, 2, 5), (1, 3)))  # depth, steps per batch, batch


def made(kind, depth, steps, batch, alpha=1e-2, start="pipelined", seed=0, given=False, **options):
    rng = np.random.default_rng(100 * depth + 10 * steps + batch + seed)
    sizes = rng.integers(2, 20, depth + 1).tolist()
    net = Network.mlp(sizes, "tanh", seed=1, dtype="float64", bias=True)
    x, y = rng.normal(size=(40, sizes[0])), rng.normal(size=(40, sizes[-1]))
    number = itertools.count()
    values = [rng.normal(size=(batch, n)) for n in sizes] if given else None
    algorithm = IPC(alpha, 0.1, options.pop("optimizer", "sgd"), value_momentum=options.pop("momentum", 0.0))

    def rows():
        return (np.arange(batch) + batch * next(number)) % 40

    return kind(net, algorithm, x, y, rows, steps_per_batch=steps, start=start, values=values, **options)


def left(engine):
    started = [values for start in engine.state()["starts"] for values in start]
    return [*engine.network.weights, *engine.network.biases, *engine.values, *started]


def apart(a, b):
    return max(float(np.abs(p - q).max()) for p, q in zip(left(a), left(b), strict=True))


def test_two_layers_of_one_unit_by_hand():
    w, v, alpha, gamma = 0.5, -0.25, 0.1, 0.2
    (x0, y0), (x1, y1) = (2.0, 1.0), (-1.0, 3.0)
    net = Network(weights=[np.array([[w]]), np.array([[v]])], activation="identity")
    rows = iter([[0], [1], [0]])
    data = np.array([[x0], [x1]]), np.array([[y0], [y1]])
    engine = NumpyEngine(
        net, IPC(alpha, gamma), *data, lambda: np.array(next(rows)), steps_per_batch=2, start="pipelined"
    )
    engine.run(3)
    h = w * x0  # the first batch: an ordinary forward pass
    e, d = h - w * x0, y0 - v * h  # step 0
    h, w, v = h + gamma * (v * d - e), w + alpha * e * x0, v + alpha * d * h
    following = w * x1  # step 1: the next batch's value, by the weights with which the step begins
    e, d = h - w * x0, y0 - v * h
    w, v = w + alpha * e * x0, v + alpha * d * h
    h = following  # step 2: the weights are no longer those
    e, d = h - w * x1, y1 - v * h
    assert e != 0
    h, w, v = h + gamma * (v * d - e), w + alpha * e * x1, v + alpha * d * h
    assert np.allclose([weights.item() for weights in engine.network.weights], [w, v], rtol=1e-15)
    assert np.allclose(engine.values[1].item(), h, rtol=1e-15)


@pytest.mark.parametrize("depth", [1, 2, 3, 7])
@pytest.mark.parametrize("steps", [1, 2, 4, 9])
def test_at_frozen_weights_it_is_a_forward_start(depth, steps):
    engines = [made(NumpyEngine, depth, steps, 3, 1e-300, start) for start in ("pipelined", "forward")]
    for engine in engines:
        engine.run(3 * steps + 1)
    for mine, its in zip(*(engine.values for engine in engines), strict=True):
        assert np.array_equal(mine, its)
    learning = [made(NumpyEngine, depth, steps, 3, 1e-2, start) for start in ("pipelined", "forward")]
    for engine in learning:
        engine.run(3 * steps + 1)
    if depth > 2 and steps > 1:  # the twin: where weights below the last change, the starts differ
        last = [engine.network.weights[-1] for engine in learning]
        assert float(np.abs(last[0] - last[1]).max()) > 1e-9


@pytest.mark.parametrize(("depth", "steps", "batch"), CASES)
def test_threads_leave_the_oracle_s_values_and_the_same_bits_for_any_number(depth, steps, batch):
    oracle, bits = made(NumpyEngine, depth, steps, batch), None
    runs = (3, 1, 2 * steps + 1)
    for updates in runs:
        oracle.run(updates)
    for workers in sorted({1, min(2, depth), depth}):
        for wave, fused in ((1, True), (3, True), (1, False)):
            mine = made(ThreadsEngine, depth, steps, batch, workers=workers, wave=wave, fused=fused)
            for updates in runs:
                mine.run(updates)
            assert apart(mine, oracle) < 1e-12
            bits = bits or left(mine)
            assert all(np.array_equal(p, q) for p, q in zip(bits, left(mine), strict=True))


def test_given_values_adam_and_momentum_of_values():
    options = {"given": True, "optimizer": "adam", "momentum": 0.5}
    oracle, mine = made(NumpyEngine, 4, 3, 2, **options), made(ThreadsEngine, 4, 3, 2, workers=2, **options)
    for engine in (oracle, mine):
        engine.run(10)
    assert apart(mine, oracle) < 1e-12


class _Late(NumpyEngine):
    """The twin: starts are predicted by weights that the step has already updated."""

    def _step(self, energy):
        weights = [w.copy() for w in self.net.weights]
        known = len(self.starts)
        found = super()._step(energy)
        for _, values in self.starts if known else ():
            if len(values) > 1:
                values[-1] = self.net.layers[len(values) - 2].predict(values[-2])
        assert any(np.any(a != b) for a, b in zip(weights, self.net.weights, strict=True))
        return found


def test_twin_that_starts_with_updated_weights_is_found():
    oracle, late = made(NumpyEngine, 6, 5, 3), made(_Late, 6, 5, 3)
    for engine in (oracle, late):
        engine.run(12)
    assert apart(oracle, late) > 1e-6


@pytest.mark.parametrize(("depth", "steps", "batch"), [(6, 1, 3), (6, 2, 1), (3, 5, 3)])
@pytest.mark.parametrize("first", [1, 4, 7])
def test_a_state_goes_on_elsewhere(depth, steps, batch, first):
    whole, begun = (made(ThreadsEngine, depth, steps, batch, workers=2) for _ in range(2))
    whole.run(first)
    whole.run(6)
    begun.run(first)
    state = begun.state()
    for kind, options in ((ThreadsEngine, {"workers": 3}), (NumpyEngine, {})):
        then = made(kind, depth, steps, batch, **options)
        then.restore(state)
        then.run(6)
        assert apart(whole, then) == 0 if kind is ThreadsEngine else apart(whole, then) < 1e-12
    if state["starts"]:  # the twin: starts that were lost
        spoilt = {**state, "starts": [[x + 1e-3 for x in start] for start in state["starts"]]}
        then = made(ThreadsEngine, depth, steps, batch)
        then.restore(spoilt)
        then.run(6)
        assert apart(whole, then) > 1e-6
        with pytest.raises(InputError, match=r"starts\[0\] of the state has"):
            made(ThreadsEngine, depth, steps, batch).restore({**state, "starts": [[]]})


def test_a_batch_takes_no_more_than_2t_and_1_products_in_a_row_at_any_depth():
    for depth, steps in itertools.product((2, 3, 16, 33, 64), (1, 2, 8, 20)):
        graph = IPC().steady_tasks(depth, steps, "pipelined")
        assert graph.smm_starts * graph.period_updates <= 2 * steps + 1
        assert graph.mm_starts * steps == pytest.approx((2 * depth - 1) * steps + depth - 1)
        assert graph.smm <= graph.smm_starts <= graph.smm_full
        assert graph.makespan(1) == pytest.approx(graph.mm)
    forward = IPC().steady_tasks(16, 20)
    assert forward.smm_starts * 20 > 2 * 20 + 10  # the twin: a chain through all layers


@pytest.mark.parametrize(("depth", "steps", "wave"), [(5, 2, 1), (5, 7, 3), (2, 1, 1)])
def test_a_trace_is_a_valid_order_of_the_graph(depth, steps, wave):
    engine = made(ThreadsEngine, depth, steps, 2, workers=2, wave=wave)
    engine.run(2 * steps + 1, trace=True)
    graph = IPC().tasks(depth, 2 * steps + 1, steps, "pipelined")
    assert engine.timeline.violations(graph) == []
    assert engine.timeline.violations(IPC().tasks(depth, 2 * steps + 1, steps))  # the twin: another graph


def test_train_takes_it_and_refuses_what_has_no_start():
    rng = np.random.default_rng(0)
    net, x, y = Network.mlp([3, 5, 5, 2], seed=0, dtype="float64"), rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    options = {"updates": 7, "batch_size": 2, "steps_per_batch": 2, "start": "pipelined"}
    runs = [train(net, IPC(1e-2, 0.1), x, y, backend=backend, **options) for backend in ("numpy", "threads")]
    assert np.allclose(runs[0].network.weights[0], runs[1].network.weights[0], rtol=1e-12)
    for algorithm in (BP(), PC(T=2)):
        with pytest.raises(InputError, match="start='pipelined' is not for"):
            train(net, algorithm, x, y, **options)
    with pytest.raises(InputError, match="needs steps_per_batch"):
        train(net, IPC(), x, y, updates=1, start="pipelined")
    with pytest.raises(InputError, match="a start is forward or pipelined"):
        train(net, IPC(), x, y, updates=1, batch_size=2, steps_per_batch=2, start="late")
