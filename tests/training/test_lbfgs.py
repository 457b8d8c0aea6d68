"""L-BFGS: against a closed form, finite differences, and SciPy itself on a plain function."""

import numpy as np
import pytest
from scipy.optimize import minimize

from pcsim import BP, Network
from pcsim.engines.numpy import NumpyEngine
from pcsim.errors import InputError
from pcsim.training import lbfgs
from pcsim.training.lbfgs import gradient, train_lbfgs

RANDOM = np.random.default_rng(3)
X, Y = RANDOM.normal(size=(30, 5)), RANDOM.normal(size=(30, 2))


def linear(bias=False):
    return Network.mlp([5, 2], "identity", bias=bias, seed=1, dtype="float64")


def least_squares(x, y):
    """The least of 1/2 sum (x W' - y)^2."""
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    return best.T, 0.5 * np.sum((x @ best - y) ** 2)


@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_net_arrives_at_the_least_squares(bias):
    run = train_lbfgs(linear(bias), X, Y, evaluations=60)
    weights, least = least_squares(np.c_[X, np.ones(len(X))] if bias else X, Y)
    found = np.c_[run.network.weights[0], run.network.biases[0]] if bias else run.network.weights[0]
    np.testing.assert_allclose(found, weights, atol=1e-6)
    assert min(run.loss) == pytest.approx(least, rel=1e-12)


def test_the_twin_another_gradient_does_not_arrive(monkeypatch):
    """Of a layer's error that lacks its last row."""
    monkeypatch.setattr(lbfgs, "gradient", lambda net, values, y: [-(y - values[1])[:-1].T @ values[0][:-1]])
    run = train_lbfgs(linear(), X, Y, evaluations=60)
    assert min(run.loss) > least_squares(X, Y)[1] * (1 + 1e-6)


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
@pytest.mark.parametrize("bias", [False, True])
def test_gradients_are_those_of_the_loss(loss, bias):
    net = Network.mlp([5, 4, 3, 2], "tanh", bias=bias, seed=2, dtype="float64", loss=loss)
    y = np.abs(Y) / np.abs(Y).sum(1, keepdims=True)
    found = gradient(net, net.forward(X), y)
    for part, of in zip([*net.weights, *(net.biases or [])], found, strict=True):
        assert of.shape == part.shape
        for at in np.ndindex(part.shape):
            kept, losses = part[at], []
            for step in (1e-5, -1e-5):
                part[at] = kept + step
                losses.append(net.loss.loss(net.forward(X)[-1], y))
            part[at] = kept
            assert of[at] == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-6, abs=1e-7)


def test_gradients_are_those_of_the_oracle():
    """An update of BP with a rate of 1 moves the weights by them."""
    net = Network.mlp([5, 4, 2], "tanh", seed=2, dtype="float64")
    engine = NumpyEngine(net, BP(1.0), X, Y, lambda: np.arange(len(X)))
    engine.run(1)
    for before, after, of in zip(net.weights, engine.network.weights, gradient(net, net.forward(X), Y), strict=True):
        np.testing.assert_allclose(before - after, of, rtol=1e-10)


def test_every_evaluation_is_recorded_those_of_line_searches_too():
    net = Network.mlp([5, 4, 2], "tanh", seed=2, dtype="float64")
    first = np.concatenate([w.ravel() for w in net.weights])
    seen = []

    def function(point):
        a, b = point[:20].reshape(4, 5), point[20:].reshape(2, 4)
        hidden = X @ a.T
        error = Y - np.tanh(hidden) @ b.T
        seen.append(0.5 * np.sum(error**2))
        below = (error @ b) * (1 - np.tanh(hidden) ** 2)
        return seen[-1], -np.r_[(below.T @ X).ravel(), (error.T @ np.tanh(hidden)).ravel()]

    minimize(function, first, jac=True, method="L-BFGS-B", options={"maxcor": 10, "ftol": 0, "gtol": 0, "maxfun": 25})
    run = train_lbfgs(net, X, Y, evaluations=25)
    assert run.recorded == list(range(25)) and run.updates == 25
    np.testing.assert_allclose([*run.loss, run.final_loss][: len(seen)], seen[:26], rtol=1e-9)
    np.testing.assert_array_equal(net.weights[0].ravel(), first[:20])  # the net that was given is as it was


def test_it_ends_at_the_goal():
    least = least_squares(X, Y)[1]
    run = train_lbfgs(linear(), X, Y, evaluations=60, until_loss=1.01 * least)
    assert run.loss[-1] <= 1.01 * least < run.loss[-2]
    assert run.updates == run.recorded[-1] == len(run.loss) - 1 and run.final_loss is None


def test_a_net_of_float32_is_trained_in_float64():
    net = Network.mlp([5, 2], "identity", seed=1)
    run = train_lbfgs(net, X.astype(np.float32), Y.astype(np.float32), evaluations=60)
    assert net.dtype == np.float32 and run.network.weights[0].dtype == np.float64
    weights, _ = least_squares(X.astype(np.float32).astype(float), Y.astype(np.float32).astype(float))
    np.testing.assert_allclose(run.network.weights[0], weights, atol=1e-6)


def test_whoever_listens_can_end_it():
    def heard(progress):
        if progress.updates == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_lbfgs(linear(), X, Y, evaluations=60, on_progress=heard)


def test_a_lazy_net_is_refused():
    with pytest.raises(InputError, match="in memory"):
        train_lbfgs(Network.mlp([5, 2], lazy=True), X, Y, evaluations=3)
