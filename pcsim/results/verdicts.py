"""What an interval lets one say: which side is the faster, that both are alike, or that this run cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .statistics import resolution

DIFFERENCE = 0.03  # what is not worth a word, unless told otherwise

LEVEL = 0.05  # of the rank test, which decides along with an interval within one run

WITHIN = "within one run"  # what an interval of one process is of

UNRESOLVED = "not resolved"

NEITHER = "alike, or not resolved"  # of a mark for the two verdicts that call no side faster


def verdict_of(
    low: float | None,
    high: float | None,
    names: tuple[str, str],
    difference: float = DIFFERENCE,
    p: float | None = None,
) -> str:
    """The verdict on a ratio whose interval is ``low`` to ``high``; ``names`` are for a ratio below 1 and above it.

    *No difference larger than D*: the whole interval lies within 1/(1 + D) … 1 + D. One of the names: it does not hold
    1. *Not resolved*: neither, or no interval. ``p`` is given where the interval is within one run alone: then the rank
    test must agree (p < 0.05) before a name is called.
    """
    if low is None or high is None:
        return UNRESOLVED
    if 1 / (1 + difference) <= low and high <= 1 + difference:
        return alike(difference)
    if low <= 1 <= high or (p is not None and p >= LEVEL):
        return UNRESOLVED
    return names[low > 1]


def alike(difference: float = DIFFERENCE) -> str:
    """The verdict that two times are alike."""
    return f"no difference larger than {difference * 100:.4g} %"


def undecided(verdict: str | None) -> bool:
    """Whether a verdict calls no side faster."""
    return verdict is None or verdict == UNRESOLVED or verdict.startswith("no difference")


def verdict_words(row: Mapping[str, Any]) -> str:
    """The verdict of a pair or a change in words: where it is not resolved, from which difference on it would be."""
    least = resolution(row["low"], row["high"])
    if row["verdict"] != UNRESOLVED or least is None:
        return str(row["verdict"])
    return f"{UNRESOLVED}: this run can tell differences from {percent(least)} on"


def percent(part: float) -> str:
    """Two digits: ``0.74 %``, ``7.4 %``, ``74 %``."""
    number = part * 100
    return f"{number:.0f} %" if number >= 9.95 else f"{number:.1f} %" if number >= 0.995 else f"{number:.2f} %"
