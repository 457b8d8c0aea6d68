"""Checks of numbers and fields: what is a whole or a finite number and what is not, and one form of message."""

import math

import numpy as np
import pytest

from pcsim import InputError
from pcsim.checks import (
    FLAG,
    is_number,
    is_whole,
    list_of,
    one_of,
    or_null,
    positive_number,
    whole,
    whole_number,
)


@pytest.mark.parametrize("value", [1, 7, 10**400, np.int64(3), np.uint8(1)])
def test_whole_numbers(value):
    assert is_whole(value)
    assert whole_number("n", value) == value
    assert type(whole_number("n", value)) is int


@pytest.mark.parametrize(
    "value", [0, -1, np.int32(0), True, False, np.True_, 1.0, np.float64(2), "1", None, [1], math.nan]
)
def test_what_is_not_a_whole_number_of_at_least_1(value):
    assert not is_whole(value)
    with pytest.raises(InputError) as refusal:
        whole_number("n", value)
    assert str(refusal.value) == f"n must be a whole number of at least 1, not {value!r}"


def test_the_least_whole_number_is_part_of_the_message():
    assert whole_number("n", 0, 0) == 0
    with pytest.raises(InputError, match=r"^n must be a whole number of at least 0, not -1$"):
        whole_number("n", -1, 0)
    assert whole(3)[0] == "a whole number of at least 3"


@pytest.mark.parametrize("value", [0, -2.5, 1e308, np.float64(1)])
def test_finite_numbers(value):
    assert is_number(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "1", None, 1j])
def test_what_is_not_a_finite_number(value):
    assert not is_number(value)
    with pytest.raises(InputError) as refusal:
        positive_number("rate", value)
    assert str(refusal.value) == f"rate must be a finite number above 0, not {value!r}"


def test_a_positive_number_is_above_0():
    assert positive_number("rate", 1e-300) == 1e-300
    with pytest.raises(InputError):
        positive_number("rate", 0)


def test_rules_of_fields():
    assert [FLAG[1](value) for value in (True, False, 1, None)] == [True, True, False, False]
    words, fits = one_of(("a", "b"))
    assert words == "one of a, b"
    assert [fits(value) for value in ("a", "c", ["a"], None)] == [True, False, False, False]
    words, fits = list_of("two or more", is_whole, 2)
    assert words == "two or more"
    assert [fits(value) for value in ([1, 2], [1], [1, 0], (1, 2), "12")] == [True, False, False, False, False]
    words, fits = or_null(whole())
    assert words == "a whole number of at least 1 or null"
    assert [fits(value) for value in (None, 2, 0)] == [True, True, False]


def test_numbers_of_numpy_are_numbers():
    assert is_number(np.float32(0.5))
    assert is_number(np.int64(3))
    assert not is_number(np.float64("nan"))
    assert not is_number(np.bool_(True))
    assert type(positive_number("alpha", np.float32(0.5))) is float


@pytest.mark.parametrize("large", [10**400, 10**5000], ids=["400 digits", "5000 digits"])
def test_a_number_beyond_all_bounds_is_said_in_short(large):
    with pytest.raises(InputError, match="must be a finite number above 0, not ") as found:
        positive_number("alpha", large)
    assert len(str(found.value)) < 100
