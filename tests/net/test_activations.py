"""Activations and their slopes: by hand, by differences, and for large values."""

import math

import numpy as np
import pytest

from pcsim import Network
from pcsim.net.activations import ACTIVATIONS

# What the activations are, in the words of the standard library.
BY_HAND = {
    "identity": lambda v: v,
    "tanh": math.tanh,
    "relu": lambda v: max(v, 0.0),
    "leaky_relu": lambda v: v if v > 0 else 0.01 * v,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "gelu": lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))),
}


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_are_what_their_names_say(name):
    x = np.concatenate([np.linspace(-8, 8, 401), [-30.0, 30.0, 1e-9]])
    net = Network.mlp([1, 1], name, dtype=np.float64)
    np.testing.assert_allclose(net.f(1, x), [BY_HAND[name](v) for v in x], rtol=1e-13, atol=1e-15)
    assert np.array_equal(net.f(0, x), x)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_slopes_by_central_differences(name):
    step = 1e-5
    x = np.linspace(-6.05, 6.05, 122)  # no point nearer to a kink at 0 than the step
    assert np.abs(x).min() > step
    net = Network.mlp([1, 1], name, dtype=np.float64)
    numeric = (net.f(1, x + step) - net.f(1, x - step)) / (2 * step)
    np.testing.assert_allclose(net.f_slope(1, x), numeric, rtol=1e-7, atol=1e-9)
    assert np.array_equal(net.f_slope(0, x), np.ones_like(x))


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_bear_large_values_without_a_warning(name):
    f, slope = ACTIVATIONS[name]
    x = np.array([-1e4, 1e4], np.float32)
    assert np.isfinite(f(x)).all()
    assert np.isfinite(slope(x)).all()
