"""Logarithmic axes: ends and ticks."""

import math

from hypothesis import given
from hypothesis import strategies as st

from pcsim.figures.scales import limits, log_ticks

numbers = st.floats(1e-9, 1e9)


@given(st.lists(numbers, min_size=1))
def test_an_axis_holds_its_values_and_is_not_too_short(values):
    low, high = limits([*values, None, math.nan, 0, -1])
    assert low < min(values)
    assert max(values) < high
    assert high / low >= 1.3


def test_nothing_has_an_axis_too():
    low, high = limits([])
    assert low < 1 < high


@given(numbers, st.floats(1.9, 1e12), st.integers(2, 12))
def test_ticks_lie_on_the_axis_and_are_not_too_many(low, factor, most):
    ticks = log_ticks(low, low * factor, most)
    assert len(ticks) <= most
    assert ticks == sorted(set(ticks))
    assert all(low <= tick <= low * factor for tick in ticks)
    assert len(ticks) >= 1 or factor < 2.1 or most < 3


def test_ticks_are_round_numbers():
    assert log_ticks(0.9, 60, 9) == [1, 2, 5, 10, 20, 50]
    assert log_ticks(0.9, 60, 5) == [1, 3, 10, 30]
    assert log_ticks(0.9, 60, 3) == [1, 10]
    assert log_ticks(0.4, 1.6, 9) == [0.5, 0.7, 1, 1.5]
    assert log_ticks(1e-9, 1e9, 5)[:2] == [1e-8, 1e-4]
