"""A ledger: results files of the same machine at other hours, and how far those lie apart.

An invocation is a file. Its processes say how well it knows its own mean; what the means of several invocations differ
by beyond that is the hour's: another state of the machine, other neighbours on the host, other pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .changes import machine_differences
from .fields import names_of
from .files import Results, configuration, latest
from .pairs import HEADLINE, cell_of, cells, merged, pairs
from .statistics import Ledger, Logs, Spread, logs_of

INVOCATIONS = 5  # fewer do not tell how far hours lie apart


def ledger(files: Sequence[Results], of: Results, denominator: str = HEADLINE) -> Ledger:
    """What ``files`` say of the hours of the machine that ``of`` was measured on.

    Of every cell that several processes measured in five files at least: σ_d² = Var(ȳ_j) − mean(s_j²/n_j) over its
    files j, with ȳ_j and s_j² mean and variance of the logarithms of n_j processes; their mean over cells, each weighed
    by its files less one, is the pooled σ_d², or 0 where it is negative. Single estimates vary so much that cells are
    pooled, and cut off at 0 only afterwards, as half of them are negative where hours do not matter. The degrees of
    freedom are the files of a cell less one, as an hour moves all cells together. Ratios to ``denominator`` and times
    of contenders, which share less, are pooled apart. The cells need not be those of ``of``.

    Raises :class:`InputError` for fewer than five files, files of another machine or given twice, and where no cell is
    in five.
    """
    if len(files) < INVOCATIONS:
        raise InputError(f"a ledger needs results files from at least {INVOCATIONS} hours, and {len(files)} were given")
    for place, one in enumerate(files):
        if any(one.path == other.path or _same_time(one, other) for other in files[:place]):
            raise InputError(f"{one.path}: stands in the ledger twice; give files from at least {INVOCATIONS} hours")
    for one in files:
        apart = machine_differences(of, one)
        if apart:
            raise InputError(f"{one.path}: is of another machine than {of.path}: {', '.join(apart)}; leave it out")
    known = [Results(one.path, one.context, latest(one.rows), resumed=one.resumed) for one in files]
    ratios, times = pooled([_ratios(one, denominator) for one in known]), pooled([_times(one) for one in known])
    if times is None:
        raise InputError(
            f"the ledger has no cell that several processes measured in {INVOCATIONS} of its files; measure the same "
            "cells again at other hours, with --launches 2 or more"
        )
    # Where no cell has a ratio in five files, it varies at most like two times that know nothing of one another.
    return Ledger(len(files), ratios or Spread(2 * times.variance, times.freedom), times)


def _same_time(one: Results, other: Results) -> bool:
    """Whether two files, by whichever names, are of one run."""
    time = one.context.get("time")
    return time is not None and time == other.context.get("time")


def _ratios(results: Results, denominator: str) -> Mapping[Any, Logs]:
    try:
        found = pairs(results, denominator)
    except InputError:  # nothing to divide here
        return {}
    known = [pair for pair in found if pair["kind"] == "measured" and pair["variance"] is not None]
    return {cell_of(pair): Logs(float(np.log(pair["ratio"])), pair["variance"], pair["processes"]) for pair in known}


def _times(results: Results) -> Mapping[Any, Logs]:
    runs = [
        (cell, run)
        for cell, rows in cells(results).items()
        if cell.kind == "measured"
        for name in names_of(rows)
        for run in merged(rows, name)
    ]
    return {
        (cell, *configuration(run)): logs_of(np.log(list(run["medians"].values())))
        for cell, run in runs
        if run["launches"] > 1
    }


def pooled(invocations: Iterable[Mapping[Any, Logs]]) -> Spread | None:
    """σ_d², as :func:`ledger` says, of what each invocation knows of its cells; None where none is in five."""
    by_cell: dict[Any, list[Logs]] = {}
    for one in invocations:
        for cell, logs in one.items():
            by_cell.setdefault(cell, []).append(logs)
    known = [found for found in by_cell.values() if len(found) >= INVOCATIONS]
    if not known:
        return None
    weights = [len(found) - 1 for found in known]
    variance = sum(weight * _of_hours(found) for weight, found in zip(weights, known, strict=True)) / sum(weights)
    return Spread(max(0.0, variance), max(weights))


def _of_hours(found: Sequence[Logs]) -> float:
    """σ_d² of one cell, not cut off at 0."""
    between = float(np.var([logs.mean for logs in found], ddof=1))
    return between - float(np.mean([logs.variance / logs.processes for logs in found]))
