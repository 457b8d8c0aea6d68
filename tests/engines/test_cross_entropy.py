"""Softmax cross-entropy: the oracle against finite differences, everything fast against the oracle."""

from dataclasses import replace

import numpy as np
import pytest

from pcsim import BP, IPC, PC, ZIL, InputError, Network, train
from pcsim.engines.numpy import NumpyEngine
from pcsim.engines.threads import ThreadsEngine
from pcsim.net.losses import CrossEntropy
from pcsim.training.batches import Batches

RNG = np.random.default_rng(3)
X = RNG.normal(size=(13, 5))
Y = RNG.dirichlet(np.ones(4), 13)
NET = Network.mlp([5, 9, 17, 6, 4], seed=1, dtype="float64", bias=True, loss="cross-entropy")


def made(kind, algorithm, net=NET, **options):
    repeats = {"steps_per_batch": 5} if isinstance(algorithm, IPC) else {}
    return kind(net, algorithm, X, Y, Batches(13, 6, 1), **repeats, **options)


def left(engine):
    net = engine.network
    return [*net.weights, *net.biases, *engine.values]


def apart(one, other):
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(left(one), left(other), strict=True))


def slope(function, at, step=1e-6):
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        moved = at.copy()
        moved[place] += step
        above = function(moved)
        moved[place] -= 2 * step
        found[place] = (above - function(moved)) / (2 * step)
    return found


def test_the_error_is_minus_the_slope_of_the_loss():
    mu = RNG.normal(size=(3, 4))
    loss = CrossEntropy()
    np.testing.assert_allclose(loss.error(mu, Y[:3]), -slope(lambda m: loss.loss(m, Y[:3]), mu), atol=1e-8)
    doubled = slope(lambda m: loss.loss(m, Y[:3], 2.0), mu)
    np.testing.assert_allclose(doubled, -2 * loss.error(mu, Y[:3]), atol=1e-8)
    assert np.abs(loss.error(mu, Y[:3]) - (Y[:3] - mu)).max() > 0.1
    assert loss.loss(np.array([[1e3, 0.0]]), np.array([[0.0, 1.0]])) == 1e3  # nothing overflows
    assert not loss.error(np.array([[1e30, 0.0]]), np.array([[1.0, 0.0]])).any()


def test_backprop_descends_the_slope_of_the_loss():
    def loss(w):
        net = NET.replace([NET.weights[0], w, *NET.weights[2:]], NET.biases)
        return net.loss.loss(net.forward(X)[-1], Y)

    engine = NumpyEngine(NET, BP(1e-3), X, Y, Batches(13, 13, 0))
    engine.run(1)
    gradient = (NET.weights[1] - engine.network.weights[1]) / 1e-3
    np.testing.assert_allclose(gradient, slope(loss, NET.weights[1]), atol=1e-7)


def test_predictive_coding_descends_the_slope_of_the_energy():
    algorithm = IPC(1e-3, 1e-3, precision=1.7)

    def energy(x):
        mu = [NET.layers[l].predict(x[l]) for l in range(4)]
        hidden = sum(0.5 * np.sum((x[l + 1] - mu[l]) ** 2) for l in range(3))
        return hidden - 1.7 * np.sum(x[4] * np.log(np.exp(mu[3]) / np.exp(mu[3]).sum(1, keepdims=True)))

    values = [v + 0.1 * RNG.normal(size=v.shape) for v in NET.forward(X)]
    values[0], values[4] = X, Y
    engine = NumpyEngine(NET, algorithm, X, Y, Batches(13, 13, 0), values=values)
    assert engine.run(1)[1] == pytest.approx(energy(values), rel=1e-12)
    for l in (1, 3):
        moved = slope(lambda v, l=l: energy([*values[:l], v, *values[l + 1 :]]), values[l])
        np.testing.assert_allclose((engine.values[l] - values[l]) / 1e-3, -moved, atol=1e-6)


def test_zil_still_equals_backprop():
    bp, zil = made(NumpyEngine, BP(0.05)), made(NumpyEngine, ZIL(0.05))
    bp.run(4)
    zil.run(4)
    assert all(np.allclose(a, b, rtol=1e-12) for a, b in zip(left(bp)[:8], left(zil)[:8], strict=True))


CASES = {
    "ipc": (IPC(0.02, 0.2, precision=(0.5, 2.0)), {"wave": 1}),
    "ipc in waves on three workers": (IPC(0.02, 0.2, value_momentum=0.5), {"wave": 3, "workers": 3}),
    "ipc unfused on two workers": (IPC(0.02, 0.2), {"fused": False, "workers": 2}),
    "pc": (PC(0.02, 0.2, T=3), {"workers": 2}),
    "zil": (ZIL(0.02), {"workers": 4}),
    "bp": (BP(0.02, "adam"), {}),
    "bp by BLAS": (BP(0.02), {"execution": "blas", "workers": 2}),
    "bp in samples": (BP(0.02), {"execution": "data-parallel", "workers": 2}),
    "bp in a pipeline": (BP(0.02), {"execution": "pipeline", "workers": 2}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, 6])
def test_threads_do_what_the_oracle_does(name, batch):
    algorithm, options = CASES[name]
    if batch == 1 and options.get("execution") in ("data-parallel", "pipeline"):
        pytest.skip("one sample is not split")
    repeats = {"steps_per_batch": 5} if isinstance(algorithm, IPC) else {}
    oracle = NumpyEngine(NET, algorithm, X, Y, Batches(13, batch, 1), **repeats)
    threads = ThreadsEngine(NET, algorithm, X, Y, Batches(13, batch, 1), **repeats, **options)
    for updates in (1, 6, 4):
        assert threads.run(updates)[1] == pytest.approx(oracle.run(updates)[1], rel=1e-11)
    assert apart(threads, oracle) < 1e-11
    # The twin: the squared error.
    twin = ThreadsEngine(replace(NET, loss="squared"), algorithm, X, Y, Batches(13, batch, 1), **repeats, **options)
    twin.run(11)
    assert apart(twin, oracle) > 1e-3


def test_errors_that_overflow_are_found():
    run = train(replace(NET, activation="identity"), BP(1e3), X, Y, updates=200)
    assert run.diverged is None or run.diverged > 0
    wide = train(replace(NET, activation="identity"), IPC(50.0, 0.5), X, Y, updates=400)
    assert wide.diverged is not None


def test_a_net_keeps_its_loss(tmp_path):
    NET.save(tmp_path / "net")
    again = Network.load(tmp_path / "net")
    assert again.loss == CrossEntropy() == NET.replace(NET.weights, NET.biases).loss
    replace(NET, loss="squared").save(tmp_path / "old")
    assert "loss" not in (tmp_path / "old" / "network.json").read_text()
    assert Network.load(tmp_path / "old") == replace(NET, loss="squared") != NET
    text = (tmp_path / "net" / "network.json").read_text().replace("cross-entropy", "hinge")
    (tmp_path / "net" / "network.json").write_text(text)
    with pytest.raises(InputError, match=r"loss is 'hinge'; expected one of squared, cross-entropy"):
        Network.load(tmp_path / "net")


def test_what_cannot_be_done_is_refused():
    with pytest.raises(InputError, match="execution 'intra-layer' has no cross-entropy yet: choose from serial, blas"):
        made(ThreadsEngine, BP(), execution="intra-layer", workers=2)
    with pytest.raises(InputError, match="the cross-entropy takes targets that are shares"):
        train(NET, BP(), X, 2 * Y, updates=1)
