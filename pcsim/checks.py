"""Checks that all rooms share: whole and finite numbers, and rules for the fields of files.

A rule is what a value must be, in words that follow "must be", and whether a value is that.
"""

import math
import numbers
import operator
import reprlib
from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np

from .errors import InputError

Rule = tuple[str, Callable[[Any], bool]]


def scalar(value: Any) -> Any:
    """What a NumPy array without dimensions holds; anything else as it is, as is what is masked."""
    plain = isinstance(value, np.ndarray) and value.ndim == 0 and not np.ma.is_masked(value)
    return value[()] if plain else value


def is_truth(value: Any) -> bool:
    """Whether ``value`` is True or False, Python's or NumPy's."""
    return isinstance(scalar(value), bool | np.bool_)


def is_whole(value: Any, least: int = 1) -> TypeGuard[int]:
    """Whether ``value`` is a whole number (Python's or NumPy's, also without dimensions) of at least ``least``; True
    and False are not, nor is what is masked."""
    value = scalar(value)
    try:
        return not isinstance(value, bool | np.ndarray) and operator.index(value) >= least
    except TypeError:
        return False


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number (Python's or NumPy's, also without dimensions); True and False are not."""
    value = scalar(value)
    try:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(float(value))
    except OverflowError:  # an integer beyond what a float holds
        return False


def shown(value: Any) -> str:
    """``value`` for a message: in one line, cut where it is long; Python refuses to write thousands of digits."""
    try:
        return " ".join(reprlib.repr(value).split())
    except ValueError:
        return f"a number of {value.bit_length()} bits"


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """``value`` if it is a whole number of at least ``least``; else InputError."""
    if not is_whole(value, least):
        raise InputError(f"{name} must be a whole number of at least {least}, not {shown(value)}")
    return operator.index(value)


def positive_number(name: str, value: Any) -> float:
    """``value`` as Python's number if it is a finite number above 0; else InputError."""
    if not is_number(value) or not float(value) > 0:
        raise InputError(f"{name} must be a finite number above 0, not {shown(value)}")
    return value if isinstance(value, int) else float(value)


def whole(least: int = 1) -> Rule:
    """The rule of a whole number of at least ``least``."""
    return f"a whole number of at least {least}", lambda value: is_whole(value, least)


def one_of(values: tuple[str, ...]) -> Rule:
    """The rule of one of these texts."""
    return f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values


def list_of(what: str, fits: Callable[[Any], bool], least: int = 0) -> Rule:
    """The rule of a list of at least so many entries, each of which ``fits``."""
    return what, lambda value: isinstance(value, list) and len(value) >= least and all(map(fits, value))


def or_null(rule: Rule, also: str = " or null") -> Rule:
    """The rule of what may be missing too."""
    words, fits = rule
    return words + also, lambda value: value is None or fits(value)


FLAG: Rule = ("true or false", lambda value: isinstance(value, bool))

NUMBER: Rule = ("a finite number", is_number)
