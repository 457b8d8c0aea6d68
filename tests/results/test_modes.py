"""Two modes are told from one, with few values and with many."""

import numpy as np
import pytest
from rows import made, row, some

from pcsim.results.modes import two_modes
from pcsim.results.pairs import pairs


def test_two_groups_are_found_and_described():
    found = two_modes([2.7, 1.0, 1.01, 2.72, 0.99])
    assert (found.fast_count, found.slow_count) == (3, 2)
    assert (found.fast, found.slow) == (pytest.approx(1, rel=0.01), pytest.approx(2.71, rel=0.01))


@pytest.mark.parametrize(
    "times",
    [
        [1.0, 1.01, 2.7],  # of three values none has two groups
        [1.0, 1.01, 0.99, 1.02, 2.7],  # one outlier is no mode
        [1.0, 1.001, 1.002, 1.03, 1.031],  # apart, and too near to matter
        [1.0] * 6,
        [1.0, 1.3, 1.6, 2.0, 2.4],  # spread evenly
    ],
)
def test_one_mode_is_one(times):
    assert two_modes(times) is None


@pytest.mark.parametrize("size", [4, 5, 10, 25])
def test_one_normal_mode_rarely_looks_like_two(size):
    random = np.random.default_rng(size)
    assert sum(two_modes(np.exp(random.normal(0, 0.2, size))) is not None for _ in range(1000)) <= 20


def test_two_modes_in_many_values_are_found_although_they_overlap_less_than_they_spread():
    random = np.random.default_rng(1)
    found = [two_modes(np.repeat([1.0, 1.3], [6, 4]) * np.exp(random.normal(0, 0.02, 10))) for _ in range(200)]
    assert sum(modes is not None and modes.slow_count == 4 for modes in found) > 190


def test_rows_carry_the_modes_of_their_processes():
    slow = [row("ipc", seconds=some(time, seed=n), launch=n) for n, time in enumerate((1.0, 2.5, 1.01, 2.52, 1.0))]
    bp = [row("bp", seconds=some(9, seed=n), launch=n) for n in range(5)]
    (pair,) = pairs(made(*slow, *bp))
    assert (pair["modes"].fast_count, pair["modes"].slow_count, pair["other_modes"]) == (3, 2, None)
