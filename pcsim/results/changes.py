"""What changed from one results file to another: each contender of each cell, and each ratio of iPC to its denominator.

Pure functions of two :class:`pcsim.results.files.Results`. Which row counts where a file has several of one contender
is :func:`pcsim.results.files.latest`'s and :func:`pcsim.results.pairs.merged`'s to say, as it is for reports. Measured,
predicted and counted rows are only ever compared with their own kind. Two files are two invocations: what is the same
in both differs by processes and by hours, and a change is called real by an interval of that kind alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from .comparison import Compared
from .fields import Row, names_of
from .files import Results, configuration, latest
from .pairs import HEADLINE, Cell, cell_of, cells, failed, merged, pairs, verdict_between
from .statistics import Ledger, Logs, Spread, change_interval, logs_of, median_interval, resolution, significant
from .verdicts import DIFFERENCE, WITHIN

FASTER, SLOWER = "faster", "slower"

# What makes another machine, or the same one set up otherwise: a time of one says nothing about the other.
MACHINE = {
    "cpu_model": "CPU model",
    "architecture": "architecture",
    "cores": "usable cores",
    "effective_cores": "cores' worth of time",
    "physical_cores": "physical cores",
    "threads_per_core": "threads per core",
    "caches": "caches",
    "governor": "governor",
    "turbo": "turbo",
    "quota": "quota",
    "virtual": "virtual machine",
    "kernels": "what kernels are compiled for and with",
}

# What else a time depends on, and what an old and a new version of something may rightly differ in.
SETTINGS = {
    "placement": "placement of workers",
    "pinned": "pinning",
    "system": "system",
    "huge_pages": "huge pages",
    "environment": "environment",
    "blas": "BLAS",
}


@dataclass(frozen=True)
class Changes:
    """What :func:`changes` found. ``contenders`` and ``ratios`` are lists of mappings with the fields of
    :class:`pcsim.results.pairs.Cell`, ``old`` and ``new`` (seconds, or ratios), ``change`` (new ÷ old), its 95 %
    interval ``low`` and ``high`` (None without samples), ``basis``, what the interval is of (``within one run``, or so
    many processes), ``verdict``, and ``resolves``, from which difference on the interval can tell one.

    contenders: also ``algorithm``, ``execution``, ``backend``, ``workers``, ``ranks``, ``steps`` and ``p`` of the rank
    test.
    ratios: also ``denominator``, ``old_low``, ``old_high``, ``new_low`` and ``new_high``.
    missing: the rows without a partner that has a time, with ``why``: ``only in OLD``, ``only in NEW``, ``failed in
    OLD`` or ``failed in NEW``.
    """

    contenders: list[Row]
    ratios: list[Row]
    missing: list[Row]


def changes(
    old: Results,
    new: Results,
    denominator: str = HEADLINE,
    difference: float = DIFFERENCE,
    ledger: Ledger | None = None,
) -> Changes:
    """Every contender that has times in both files, in the order of :func:`pcsim.results.pairs.cells`, and the ratio
    iPC ÷ ``denominator`` of every cell that has it in both; where no cell has it, there are no ratios.

    ``difference`` is how far apart two times may lie to count as alike: 0.03 for 3 %. ``ledger`` says how far hours lie
    apart; without it only what differs within an hour is known. Raises :class:`InputError` where
    the files share no contender, and for a denominator that is neither the default nor in both files.
    """
    before, after = _contenders(old), _contenders(new)
    shared = [who for who in before if who in after]
    if not shared:
        raise InputError(f"{old.path} and {new.path} have no contender in common{_kinds(old, new)}")
    times, ratios = (ledger.times, ledger.ratios) if ledger else (None, None)
    found = [_change(before[who], after[who], difference, times) for who in shared]
    missing = [*_missing(before, after, new, "NEW", "OLD"), *_missing(after, before, old, "OLD", "NEW")]
    return Changes(found, _ratios(old, new, denominator, difference, ratios), missing)


def machine_differences(old: Results, new: Results) -> list[str]:
    """In what the machines of two files differ, as far as both say, in words; none where they are alike."""
    return _differences(old, new, MACHINE)


def setting_differences(old: Results, new: Results) -> list[str]:
    """In what else the runs differ: versions, system, settings. In words."""
    found = _differences(old, new, SETTINGS)
    was, now = (results.context.get("versions") for results in (old, new))
    if isinstance(was, dict) and isinstance(now, dict):
        names = sorted(name for name in was.keys() & now.keys() if was[name] != now[name])
        found += [f"{name} ({was[name] or 'none'} → {now[name] or 'none'})" for name in names]
    return found


def slower_than(found: Changes, limit: float) -> list[Row]:
    """The contenders that are slower than ``limit`` beyond doubt, the interval's lower end above it (where there is no
    interval, as in predictions: the change itself), and those that had times in OLD and failed in NEW."""
    slow = [row for row in found.contenders if (row["change"] if row["low"] is None else row["low"]) > limit]
    measured = [row for row in slow if row["low"] is not None or row["kind"] != "measured"]
    return measured + [row for row in found.missing if row["why"] == "failed in NEW"]


# Contenders


def _contenders(results: Results) -> dict[tuple[Any, ...], Row]:
    """The contenders that have times, launches put together, by cell and configuration."""
    rows = latest(results.rows)
    known = cells(Results(results.path, results.context, rows))
    return {
        (cell, *configuration(run)): run
        for cell, inside in known.items()
        for name in names_of(inside)
        for run in merged(inside, name)
    }


def _change(old: Row, new: Row, difference: float, spread: Spread | None) -> Row:
    names = ("algorithm", "execution", "backend", "workers", "ranks", "steps")
    row = cell_of(new)._asdict() | {name: new.get(name) for name in names}
    row |= {"old": old["median"], "new": new["median"]}
    after, before = (list(run["medians"].values()) for run in (new, old))
    if min(len(after), len(before)) > 1:
        logs = logs_of(np.log(after)), logs_of(np.log(before))
        found = _of_processes(*logs, spread, significant(after, before))
    else:
        found = _within(new, old)
    return row | _judged(found, new["kind"], (FASTER, SLOWER), difference)


def _of_processes(new: Logs, old: Logs, spread: Spread | None, p: float | None = None) -> Compared:
    basis = f"{old.processes} and {new.processes} processes" + ("" if spread else ", within this hour")
    return Compared(*change_interval(new, old, spread), p, processes=min(old.processes, new.processes), basis=basis)


def _within(new: Row, old: Row) -> Compared:
    """Of the first process of each."""
    after, before = (run["parts"][min(run["parts"])] for run in (new, old))
    if not (np.isfinite(after).any() and np.isfinite(before).any()):
        return Compared(new["median"] / old["median"], None, None, None)
    return Compared(*median_interval(after, before), significant(after, before), basis=WITHIN)


def _judged(found: Compared, kind: str, names: tuple[str, str], difference: float) -> Row:
    row = {"change": found.ratio, "low": found.low, "high": found.high, "p": found.p, "basis": found.basis}
    verdict = verdict_between(found, kind, names, difference)
    return row | {"verdict": verdict, "resolves": resolution(found.low, found.high)}


def _missing(
    here: Mapping[tuple[Any, ...], Row], there: Mapping[tuple[Any, ...], Row], other: Results, name: str, own: str
) -> Iterator[Row]:
    """The contenders that the other file, called ``name``, has no time of."""
    broken = {(cell_of(row), *configuration(row)): row for row in failed(other)}
    for who, run in here.items():
        if who not in there:
            why = f"failed in {name}" if who in broken else f"only in {own}"
            yield run | {"why": why, "error": broken[who]["error"] if who in broken else None}


def _kinds(old: Results, new: Results) -> str:
    was, now = ({row["kind"] for row in results.rows} for results in (old, new))
    if was & now:
        return ": no cell has the same algorithm, execution and workers in both"
    return f": the rows of one are {' and '.join(sorted(was))}, of the other {' and '.join(sorted(now))}"


# Ratios


def _ratios(old: Results, new: Results, denominator: str, difference: float, spread: Spread | None) -> list[Row]:
    try:
        was, now = (
            {cell_of(pair): pair for pair in pairs(Results(r.path, r.context, latest(r.rows)), denominator)}
            for r in (old, new)
        )
    except InputError:
        if denominator != HEADLINE:
            raise
        return []
    return [_ratio(cell, was[cell], now[cell], difference, spread) for cell in was if cell in now]


def _ratio(cell: Cell, old: Row, new: Row, difference: float, spread: Spread | None) -> Row:
    ends = {f"{name}_{end}": pair[end] for name, pair in (("old", old), ("new", new)) for end in ("low", "high")}
    if old["variance"] is not None and new["variance"] is not None:
        after, before = (Logs(math.log(p["ratio"]), p["variance"], p["processes"]) for p in (new, old))
        found = _of_processes(after, before, spread)
    else:
        low, high = _added(old, new)
        found = Compared(new["ratio"] / old["ratio"], low, high, None, basis=None if low is None else WITHIN)
    row = cell._asdict() | {"denominator": new["denominator"], "old": old["ratio"], "new": new["ratio"]}
    return row | ends | _judged(found, cell.kind, ("lower", "higher"), difference)


def _added(old: Row, new: Row) -> tuple[float, float] | tuple[None, None]:
    """Two runs know nothing of one another: the halves of their intervals, on the logarithm, add as squares."""
    if old["low"] is None or new["low"] is None:
        return None, None
    change = new["ratio"] / old["ratio"]
    low = math.hypot(math.log(new["ratio"] / new["low"]), math.log(old["high"] / old["ratio"]))
    high = math.hypot(math.log(new["high"] / new["ratio"]), math.log(old["ratio"] / old["low"]))
    return change * math.exp(-low), change * math.exp(high)


# Machines


def _differences(old: Results, new: Results, names: Mapping[str, str]) -> list[str]:
    """Every run of both files is held against the first of the old one."""
    found: dict[str, str] = {}
    for context in (*old.resumed, new.context, *new.resumed):
        for name, words in names.items():
            was, now = (_said(name, one.get(name)) for one in (old.context, context))
            if was is not None and now is not None and was != now and words not in found:
                plain = all(isinstance(value, str | int | float) for value in (was, now))
                found[words] = f"{words} ({was} → {now})" if plain else words
    return list(found.values())


def _said(name: str, value: Any) -> Any:
    """What counts of a context's field; None where it says nothing."""
    if name == "caches" and isinstance(value, list):
        return sorted((c.get("level"), c.get("size"), c.get("shared_by")) for c in value if isinstance(c, dict)) or None
    if name == "blas" and isinstance(value, list):
        known = [one for one in value if isinstance(one, dict)]
        return sorted({" ".join(str(one.get(n)) for n in ("internal_api", "version", "architecture")) for one in known})
    return value
