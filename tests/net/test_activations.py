"""Activations and their slopes: by hand, by differences, and for large values."""

import math

import numpy as np
import pytest

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
    np.testing.assert_allclose(ACTIVATIONS[name][0](x), [BY_HAND[name](v) for v in x], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_slopes_by_central_differences(name):
    step = 1e-5
    x = np.linspace(-6.05, 6.05, 122)  # no point nearer to a kink at 0 than the step
    assert np.abs(x).min() > step
    f, slope = ACTIVATIONS[name]
    np.testing.assert_allclose(slope(x), (f(x + step) - f(x - step)) / (2 * step), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_bear_large_values_without_a_warning(name):
    f, slope = ACTIVATIONS[name]
    x = np.array([-1e4, 1e4], np.float32)
    assert np.isfinite(f(x)).all()
    assert np.isfinite(slope(x)).all()
