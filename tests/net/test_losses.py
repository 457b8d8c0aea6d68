"""The squared loss against its formula, its slope by differences, and numbers that are not finite."""

import warnings

import numpy as np
import pytest

from pcsim import Network
from pcsim.net.losses import Squared
from pcsim.training.train import forward_loss

MU, Y = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([[0.0, -2.5], [1.5, 3.0]])


def test_it_is_half_the_sum_of_squares():
    assert Squared().loss(MU, Y) == 0.5 * (1 + 0.25 + 1)
    assert Squared().energy(Squared().error(MU, Y), 4.0) == 2 * (1 + 0.25 + 1)


def slope(loss, mu, step=1e-6):
    found = np.zeros_like(mu)
    for index in np.ndindex(mu.shape):
        moved = np.zeros_like(mu)
        moved[index] = step
        found[index] = (loss(mu + moved, Y) - loss(mu - moved, Y)) / (2 * step)
    return found


def test_the_error_is_minus_its_slope():
    np.testing.assert_allclose(Squared().error(MU, Y), -slope(Squared().loss, MU), atol=1e-8)


def test_twin_a_mean_is_told_apart():
    mean = slope(lambda mu, y: Squared().loss(mu, y) / len(mu), MU)
    assert np.abs(Squared().error(MU, Y) + mean).max() > 0.1


def test_it_adds_up_in_float64():
    tiny = np.full((1, 1 << 16), 1e-4, np.float32)
    tiny[0, 0] = 1e4  # beside its square those of the others vanish in float32
    expected = 0.5 * (1e8 + ((1 << 16) - 1) * float(tiny[0, 1]) ** 2)
    assert Squared().energy(tiny) == pytest.approx(expected, rel=1e-14)


def test_what_has_diverged_is_infinite_or_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(Squared().loss(np.array([[1e300]]), np.array([[0.0]])))
        assert np.isnan(Squared().loss(np.array([[np.nan]]), np.array([[0.0]])))


def test_nets_have_it():
    net = Network.mlp([2, 2], dtype=np.float64)
    assert net.loss == Squared()
    assert net.replace(net.weights, None).loss is net.loss
    assert forward_loss(net, MU, Y) == net.loss.loss(net.forward(MU)[-1], Y)
