"""What a results file says: ratios with intervals and verdicts, tables, and a summary in sentences.

Pure functions of :class:`pcsim.results.Results`: the same file gives the same text. It must never measure anything,
look at a clock or at this machine. ``ratio`` always means seconds per complete weight update of iPC ÷ those of BP;
below 1, iPC is faster.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .errors import InputError
from .results import Results, key, ratio_interval, samples, significant

DENOMINATORS = ("best-bp", "paper-style")  # or the name of one execution
FORMATS = ("text", "markdown", "csv")
UNDECIDED = "no significant difference"
UNSTABLE = 0.15  # half the interval ÷ median: above this a time is not worth quoting
LEVEL = 0.05

_Row = dict[str, Any]


class Cell(NamedTuple):
    """What two rows must share to be compared. Sorts by kind, net type, batch, depth, width."""

    kind: str
    dtype: str
    activation: str
    batch: int
    depth: int
    width: int


def pairs(results: Results, denominator: str = "paper-style") -> list[_Row]:
    """The ratio of every cell in which both iPC and the denominator have times, sorted by :class:`Cell`.

    iPC is represented by its row that ``--workers auto`` chose, else by its fastest. The denominator is the fastest BP
    row of the cell (``"best-bp"``), BP with execution ``serial`` (``"paper-style"``), or one execution by name. Both
    sides had the same workers to choose from: BP rows with more workers than iPC was given in that cell do not count.
    Rows of several launches (fresh processes) are put together; of several rows of one launch the last good one counts.

    Each pair holds the fields of :class:`Cell`; ``ratio``, its 95 % interval ``low``, ``high``, the rank test's ``p``
    (all None but the ratio where there are no raw samples) and ``verdict``; ``execution``, ``backend``, ``workers``,
    ``median`` (seconds), ``smm``, ``smm_workers`` and ``roofline`` of iPC and, as ``denominator_…``, of BP; the
    ``denominator`` asked for, and ``smm_ratio``, which is counted.

    Raises :class:`InputError` for an unknown denominator and for results without any pair.
    """
    _check_denominator(results, denominator)
    found = []
    for cell, rows in cells(results).items():
        ipc, bp = _contenders(results, rows, denominator)
        if ipc and bp:
            found.append(_pair(cell, ipc, bp, denominator))
    if not found:
        raise InputError(f"{results.path}: no cell has times of both iPC and BP ({denominator}): nothing to compare")
    return found


def scaling(results: Results) -> list[_Row]:
    """How much iPC gains by workers: seconds with 1 worker ÷ seconds with P > 1, for each cell and P.

    Each holds the fields of :class:`Cell`, ``workers``, ``speedup``, ``low``, ``high``, ``efficiency`` (speedup ÷ P)
    and ``counted``, the speedup that the task graph allows (``smm_workers`` with 1 ÷ with P; None where not counted).
    Raises :class:`InputError` where no cell has both.
    """
    found = []
    for cell, rows in cells(results).items():
        by_workers: dict[int, _Row] = {}
        for row in _merged(rows, "ipc"):
            best = by_workers.get(row["workers"])
            if best is None or row["median"] < best["median"]:
                by_workers[row["workers"]] = row
        one = by_workers.pop(1, None)
        for workers, row in sorted(by_workers.items()) if one else ():
            assert one is not None
            speedup, low, high, _ = _compared(one, row)
            counted = _quotient(one.get("smm_workers"), row.get("smm_workers"))
            gain = {"speedup": speedup, "low": low, "high": high, "efficiency": speedup / workers, "counted": counted}
            found.append(cell._asdict() | {"workers": workers} | gain)
    if not found:
        raise InputError(f"{results.path}: no cell has iPC with 1 worker and with more; measure --workers 1 auto")
    return found


def cells(results: Results) -> dict[Cell, list[_Row]]:
    """The rows of each cell, cells in order, rows as in the file."""
    found: dict[Cell, list[_Row]] = {}
    for row in results.rows:
        found.setdefault(Cell(**{name: row[name] for name in Cell._fields}), []).append(row)
    if not found:
        raise InputError(f"{results.path}: holds no rows: nothing was measured yet")
    return dict(sorted(found.items()))


def failed(results: Results) -> list[_Row]:
    """Rows with an error, leaving out those that a later row of the same configuration made good."""
    good = {(key(row), row["kind"]) for row in results.rows if row["error"] is None}
    return [row for row in results.rows if row["error"] is not None and (key(row), row["kind"]) not in good]


def definition(denominator: str) -> str:
    """The one line that says what the ratios of a table mean."""
    meaning = {
        "best-bp": "best-bp: the fastest execution in each cell, given the same workers",
        "paper-style": "paper-style: execution serial",
    }.get(denominator, f"execution {denominator}")
    return f"ratio = seconds per complete weight update of iPC ÷ that of BP ({meaning}); below 1, iPC is faster"


def table(results: Results, denominator: str = "paper-style", format: str = "text") -> str:
    """Ratios over depth (rows) and width (columns), one table for each kind, net type and batch.

    Text and Markdown print the definition first; CSV prints it as a ``#`` line above a single table. ``~`` marks a
    ratio that may as well be 1, ``error`` a failed cell, ``-`` one that was not measured. The last column is the
    ratio of SMMs, which is counted, not measured.
    """
    found = {Cell(**{name: pair[name] for name in Cell._fields}): pair for pair in pairs(results, denominator)}
    known = cells(results)
    broken = {Cell(**{name: row[name] for name in Cell._fields}) for row in failed(results)}
    parts, lines = [], []
    for group in dict.fromkeys(cell[:4] for cell in known):
        inside = [cell for cell in known if cell[:4] == group]
        widths = sorted({cell.width for cell in inside})
        header = ["depth", *(f"width {width}" for width in widths), "SMMs (counted)"]
        body = []
        for depth in sorted({cell.depth for cell in inside}):
            row = [Cell(*group, depth, width) for width in widths]
            counted = next((found[cell]["smm_ratio"] for cell in row if cell in found), None)
            body.append([str(depth), *(_ratio_text(found.get(c), c in broken) for c in row), _short(counted)])
        kind, dtype, activation, batch = group
        parts.append(f"{kind}, batch {batch}, {dtype}, {activation}\n\n{layout(header, body, format)}")
        lines += [[kind, batch, dtype, activation, row[0], w, *row[1:]] for row, w in zip(body, [0] * len(body))]
    return "\n\n".join([definition(denominator), *parts])
