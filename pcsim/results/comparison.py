"""Two sides of a cell held against one another, process by process, each at its best.

What is divided are merged rows (:func:`pcsim.results.pairs.merged`): rows of one contender, of which each process
(launch) gives one median. It must never decide which rows may stand for a side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .fields import Row
from .statistics import (
    Floats,
    Spread,
    logs_of,
    mean_interval,
    median_interval,
    ratio_interval,
    rerun_interval,
    significant,
)
from .verdicts import WITHIN

UNSTEADY = 0.15  # half the interval ÷ median, or the spread of processes: above this a time is not worth quoting

_FAR = 1e300  # of a contender that no other process knows: any that one does is preferred


class Compared(NamedTuple):
    """A ratio of two sides.

    ``low`` and ``high`` are the re-run interval where there are several ``processes``; of one process a bootstrap
    within it; None without samples. ``mean_low`` and ``mean_high`` are the interval of the ratio itself, None of one
    process; ``variance`` is that of the processes' logarithms; ``p`` is the rank test's. ``basis`` says what ``low``
    and ``high`` are of; ``each`` is the ratio in each process, empty for one.
    """

    ratio: float
    low: float | None
    high: float | None
    p: float | None
    mean_low: float | None = None
    mean_high: float | None = None
    variance: float | None = None
    processes: int = 1
    basis: str | None = None
    each: tuple[float, ...] = ()


class Side(NamedTuple):
    """Who stands for a side: the row that was chosen most often, and how often (``chosen``: in so many processes)."""

    row: Row
    chosen: int


def compared(above: Row, below: Row, spread: Spread | None = None) -> Compared:
    """The ratio of two merged rows."""
    return opposed([above], [below], spread)[0]


def opposed(ours: Sequence[Row], theirs: Sequence[Row], spread: Spread | None = None) -> tuple[Compared, Side, Side]:
    """The ratio of the fastest of our contenders to the fastest of theirs, and who that is.

    The fastest of several, chosen on the samples that are then reported, is too fast. So with two processes or more,
    in common to both sides, the choice is cross-fitted: for each process each side's contender is the one with the
    lowest geometric mean of medians over the *other* processes, and y_i is the logarithm of the two medians' ratio in
    this process. Where that is not the same one in all of them, the choice itself varies, and the y_i hang together:
    then s² is n times the jackknife's variance of ȳ (Efron and Tibshirani 1993, chapter 11: the whole procedure without
    each process in turn), if that is larger. With one process choice and report are of the same samples. A contender
    that lacks a process which others of its side have stands back. ``spread`` is that of invocations, from a ledger.
    """
    ours, theirs = _complete(ours), _complete(theirs)
    common = sorted(_processes(ours) & _processes(theirs))
    if len(common) < 2:
        first, second = fastest_of(ours), fastest_of(theirs)
        return _within(first, second), Side(first, 1), Side(second, 1)
    tables = _logs(ours, common), _logs(theirs, common)
    chosen = [_cross_fitted(table) for table in tables]
    medians = [table[rows, range(len(common))] for table, rows in zip(tables, chosen, strict=True)]
    logs = logs_of(medians[0] - medians[1])
    if any(np.ptp(rows) for rows in chosen) and logs.processes > 2:
        logs = logs._replace(variance=max(logs.variance, _jackknifed(*tables)))
    found = Compared(
        logs.ratio,
        *rerun_interval(logs, spread),
        significant(*medians),
        *mean_interval(logs),
        logs.variance,
        logs.processes,
        f"{logs.processes} processes" + ("" if spread else ", within this hour"),
        tuple(np.exp(medians[0] - medians[1]).tolist()),
    )
    return found, _most_often(ours, chosen[0]), _most_often(theirs, chosen[1])


def fastest_of(rows: Iterable[Row]) -> Row:
    """The one with the lowest median; there is one at least."""
    return min(rows, key=lambda row: row["median"])


def interval(run: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of the median of a row, seconds: of a merged row of several processes a t interval on the logarithm
    of their medians, else within one run."""
    if run.get("launches", 1) > 1:
        return mean_interval(logs_of(np.log(list(run["medians"].values()))))
    return (run["ci95"][0], run["ci95"][1]) if run["ci95"] else None


def unsteady(run: Mapping[str, Any]) -> bool:
    """Whether a time varies too much for it to be quoted: half the interval of the median of a row, or the standard
    deviation of the logarithms of a merged row's processes, exceeds ``UNSTEADY``."""
    if run.get("launches", 1) > 1:
        return math.sqrt(logs_of(np.log(list(run["medians"].values()))).variance) > UNSTEADY
    ends = interval(run) if run["median"] else None
    return ends is not None and bool(ends[1] - ends[0] > 2 * UNSTEADY * run["median"])


def _within(above: Row, below: Row) -> Compared:
    """Of one process that both have, or, where there is none, of the first of each."""
    number = min(above["parts"].keys() & below["parts"].keys(), default=None)
    first, second = (row["parts"][min(row["parts"]) if number is None else number] for row in (above, below))
    if not (np.isfinite(first).any() and np.isfinite(second).any()):
        return Compared(above["median"] / below["median"], None, None, None)
    found = median_interval(first, second) if number is None else ratio_interval(first, second)
    return Compared(*found, significant(first, second), basis=WITHIN)


def _processes(rows: Iterable[Row]) -> set[int]:
    return {number for row in rows for number in row["medians"]}


def _complete(rows: Sequence[Row]) -> Sequence[Row]:
    every = _processes(rows)
    return [row for row in rows if row["medians"].keys() >= every] or rows


def _logs(rows: Sequence[Row], processes: Sequence[int]) -> Floats:
    """Logarithms of medians, a line for each row and a column for each process; NaN where it was not measured."""
    return np.log([[row["medians"].get(number, math.nan) for number in processes] for row in rows])


def _cross_fitted(logs: Floats) -> NDArray[np.intp]:
    """For each process the line that is the lowest in the others, among those that were measured in it."""
    known = np.isfinite(logs)
    others = known.sum(axis=1, keepdims=True) - known
    total = np.nansum(logs, axis=1, keepdims=True) - np.where(known, logs, 0)
    means = np.where(others > 0, total / np.maximum(others, 1), _FAR)
    return np.argmin(np.where(known, means, np.inf), axis=0)


def _jackknifed(ours: Floats, theirs: Floats) -> float:
    """n times the jackknife's variance of the mean of the cross-fitted logarithms: what s² is where all y_i are
    independent."""
    count = ours.shape[1]
    means = np.empty(count)
    for number in range(count):
        sides = [np.delete(table, number, axis=1) for table in (ours, theirs)]
        lower = [side[_cross_fitted(side), range(count - 1)] for side in sides]
        means[number] = (lower[0] - lower[1]).mean()
    return float((count - 1) * ((means - means.mean()) ** 2).sum())


def _most_often(rows: Sequence[Row], chosen: NDArray[np.intp]) -> Side:
    """Where two were chosen equally often, the faster one."""
    counts = Counter(chosen.tolist())
    number = min(counts, key=lambda number: (-counts[number], rows[number]["median"]))
    return Side(rows[number], counts[number])
