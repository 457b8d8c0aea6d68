"""Pairs and curves over MPI ranks: strong and weak scaling, delays, exchanges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import InputError
from .comparison import compared, interval, opposed
from .fields import Row, names_of
from .files import Results
from .gains import steps_of
from .pairs import (
    APART,
    FUSED,
    HEADLINE,
    LADDER,
    RANKS,
    Cell,
    cells,
    fastest,
    merged,
    quotient,
    ranks_of,
    verdict_between,
    within,
)


def rank_scaling(results: Results) -> list[Row]:
    """Strong scaling: the same net on more and more ranks, for iPC and each execution of BP (PC and Z-IL if there).

    Of every cell in which an algorithm ran with MPI on several numbers of workers: a point for each row with MPI. Each
    holds the fields of :class:`Cell`; ``algorithm``, ``execution``, ``steps``, ``workers``, ``ranks``, ``hosts``;
    ``oversubscribed``, whether there were more workers than cores; ``median`` and its interval ``low``, ``high``
    (seconds); ``speedup``, the algorithm's own seconds with 1 worker (of BP: of serial BP) ÷ these, its interval
    ``speedup_low``, ``speedup_high`` and ``efficiency`` (speedup ÷ workers), None without such a row; and ``counted``,
    the speedup that the task graph allows (``smm_workers``), None for BP.

    The ratio is seconds of iPC ÷ seconds of BP. A point of BP (``denominator``: its execution) is the denominator of
    iPC with MPI on the same number of workers, of the same number of ranks if there is one. A point of iPC
    (``"best-bp"``) is divided by the fastest BP of its cell on no more workers, any execution, threads or ranks. So
    ``ratio``, its interval ``ratio_low``, ``ratio_high``, the ``verdict``, and ``other_execution``, ``other_backend``,
    ``other_workers`` and ``other_ranks`` of the BP; None where one of the two is missing.

    Raises :class:`InputError` where there is no such cell.
    """
    found = []
    for cell, rows in cells(results).items():
        runs = _with_ranks(rows)
        counts: dict[str, set[int]] = {}
        for run in runs:
            counts.setdefault(run["algorithm"], set()).add(run["workers"])
        if not any(len(several) > 1 for several in counts.values()):
            continue
        for run in runs:
            start = _start(run, [other for other in runs if other["workers"] == 1])
            speedup, low, high = compared(start, run)[:3] if start else (None,) * 3
            gain = {"speedup": speedup, "speedup_low": low, "speedup_high": high}
            gain["efficiency"] = quotient(speedup, run["workers"])
            allowed = None if start is None or run["algorithm"] == "bp" else start.get("smm_workers")
            gain["counted"] = quotient(allowed, run.get("smm_workers"))
            found.append(_point(cell, run) | gain | _opposed(run, runs, rows))
    if not found:
        raise InputError(f"{results.path}: no cell was measured with MPI on several numbers of workers")
    return found


def weak_scaling(results: Results) -> list[Row]:
    """Weak scaling: nets whose depth grows with the ranks, so that every rank keeps as many layers.

    Cells that differ in depth alone are put together by depth ÷ ranks and by the threads of a rank (workers ÷ ranks)
    where there is one rank and more: without threads inside ranks, by depth ÷ workers. Each point holds what one of
    :func:`rank_scaling` does, but in place of the speedup ``layers`` and ``threads`` of a rank; ``growth``, these
    seconds ÷ the algorithm's own on one rank (of BP: of serial BP), 1 where scaling is perfect; its interval
    ``growth_low``, ``growth_high``; and ``efficiency``, 1 ÷ growth. The ratio is that of one cell, as ever: ``best-bp``
    is the fastest BP at that depth.

    Raises :class:`InputError` where nothing grows so.
    """
    known = {cell: (rows, _with_ranks(rows)) for cell, rows in cells(results).items()}
    groups: dict[tuple[Cell, int], list[tuple[Cell, Row]]] = {}
    for cell, (_, runs) in known.items():
        for run in runs:
            layers, more = divmod(cell.depth, ranks_of(run))
            if not more:
                groups.setdefault((cell._replace(depth=0), layers), []).append((cell, run))
    found = []
    for (_, layers), inside in groups.items():
        for threads in sorted({run["workers"] // ranks_of(run) for _, run in inside if ranks_of(run) > 1}):
            alike = [(cell, run) for cell, run in inside if _threads(run) in (threads, None)]
            alone = [run for _, run in alike if ranks_of(run) == 1]
            points = []
            for cell, run in alike if alone else ():
                start = _start(run, alone)
                growth, low, high = compared(run, start)[:3] if start else (None,) * 3
                grown = {"layers": layers, "threads": threads, "growth": growth, "growth_low": low, "growth_high": high}
                rows, runs = known[cell]
                points.append(
                    _point(cell, run) | grown | {"efficiency": quotient(1, growth)} | _opposed(run, runs, rows)
                )
            found += sorted(points, key=_curve)
    if not found:
        raise InputError(f"{results.path}: no depth grows with the ranks; measure with --scaling weak")
    return found


def delays(results: Results) -> list[Row]:
    """What latency added on purpose does: for each net that was measured with MPI under several delays, its rows there.

    Each point holds the fields of :class:`Cell` (with ``delay``, seconds), those of :func:`rank_scaling` from
    ``algorithm`` to ``high`` and from ``denominator`` on, and ``latency``. Nothing is divided by what another delay
    has. Rows without any delay are there unless some have a delay of 0, which is a network's. Raises
    :class:`InputError` where no net has several.
    """
    known = cells(results)
    there: dict[Cell, set[float | None]] = {}
    for cell, rows in known.items():
        if any(run["workers"] > 1 for run in _with_ranks(rows)):
            there.setdefault(cell._replace(delay=None), set()).add(cell.delay)
    found = []
    for cell, rows in known.items():
        several = there.get(cell._replace(delay=None), set())
        several = several - {None} if 0 in several else several
        if len(several) > 1 and cell.delay in several:
            runs = _with_ranks(rows)
            found += [
                _point(cell, run) | {"latency": run.get("latency")} | _opposed(run, runs, rows)
                for run in runs
                if run["workers"] > 1
            ]
    if not found:
        raise InputError(f"{results.path}: no cell was measured with MPI under several added latencies")
    return found


def exchanges(results: Results) -> list[Row]:
    """What passes between ranks, and what it costs: every row with MPI on more than one worker.

    Each holds the fields of :class:`Cell`; ``algorithm``, ``execution``, ``steps``, ``workers``, ``ranks``, ``hosts``,
    ``oversubscribed``, ``median``, ``low`` and ``high`` as in :func:`rank_scaling`; per weight update ``messages``,
    ``counted_messages``, ``message_bytes`` and ``collectives``; ``differs``, whether messages and counted ones are
    known and not the same; seconds of ``latency`` (a delay, if any, is in it) and ``handover_seconds``, which is what
    the overlap does not hide; ``handover_latencies``, hand-over ÷ latency; and ``handover_share``, all hand-overs of an
    update ÷ its seconds. None where the row does not say. Raises :class:`InputError` where there is no such row.
    """
    found = []
    for cell, rows in cells(results).items():
        for run in (run for run in _with_ranks(rows) if run["workers"] > 1):
            names = ("messages", "counted_messages", "message_bytes", "collectives", "latency", "handover_seconds")
            sent = {name: run.get(name) for name in names}
            share, lost = quotient(sent["messages"], sent["counted_messages"]), sent["handover_seconds"]
            sent["differs"] = share is not None and abs(share - 1) > 1e-6
            sent["handover_latencies"] = quotient(lost, sent["latency"])
            each = steps_of(run)
            sent["handover_share"] = None if lost is None or each is None else lost * each / run["median"]
            found.append(_point(cell, run) | sent)
    if not found:
        raise InputError(f"{results.path}: no row was measured with MPI on more than one worker")
    return found


def _threads(run: Mapping[str, Any]) -> int | None:
    """Threads of a rank; None of a serial row, which is where curves begin however many threads other rows have."""
    return None if run["execution"] == "serial" else run["workers"] // ranks_of(run)


_ORDER = ("ipc", "bp", "pc", "zil")  # of algorithms; others follow


def _with_ranks(rows: Iterable[Row]) -> list[Row]:
    """The merged rows with MPI: iPC first, then BP in the order of ``LADDER``, asynchronous BP, PC, Z-IL, others; each
    by workers and ranks."""
    rows = [row for row in rows if row["backend"] == RANKS]
    found = [run for name in names_of(rows) for run in merged(rows, name, FUSED if name == "ipc" else None)]
    return sorted(found + merged(rows, "bp", APART), key=_curve)


def _curve(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a row or point stands: points of one scaling curve follow one another."""
    name, rung = run["algorithm"], 0
    place = _ORDER.index(name) if name in _ORDER else len(_ORDER)
    if run["algorithm"] == "bp":
        rung = LADDER.index(run["execution"]) if run["execution"] in LADDER else len(LADDER)
    return place, name, _steps(run), rung, run["workers"], ranks_of(run), run["execution"]


def _steps(run: Mapping[str, Any]) -> int:
    """T of PC, and of others that have one, which tells one curve from another."""
    return 0 if run["algorithm"] in ("bp", "zil", "ipc") else run["steps"] or 0


def _start(run: Row, alone: Iterable[Row]) -> Row | None:
    """What a run is measured against: of those alone its own algorithm's fastest; of BP that of serial BP, if any."""
    name = run["algorithm"]
    own = [row for row in alone if row["algorithm"] == name and _steps(row) == _steps(run)]
    serial = [row for row in own if row["execution"] == "serial"]
    return fastest((name == "bp" and serial) or own)


def _point(cell: Cell, run: Row) -> Row:
    """Who ran where and how long: what every point of a scaling curve begins with."""
    low, high = interval(run) or (None, None)
    names = ("algorithm", "execution", "steps", "workers")
    who = {name: run.get(name) for name in names} | {"ranks": ranks_of(run), "hosts": run.get("hosts")}
    who["oversubscribed"] = any("oversubscribed" in text for text in run["warnings"])
    return cell._asdict() | who | {"median": run["median"], "low": low, "high": high}


def _opposed(run: Row, runs: Sequence[Row], rows: Iterable[Row]) -> Row:
    """The ratio that a point of iPC or BP belongs to, as :func:`rank_scaling` says; Nones for other algorithms."""
    ours: list[Row] = []
    theirs: list[Row] = []
    denominator = None
    if run["algorithm"] == "bp":
        same = [other for other in runs if other["algorithm"] == "ipc" and other["workers"] == run["workers"]]
        ours = [other for other in same if ranks_of(other) == ranks_of(run)] or same
        theirs, denominator = [run], run["execution"]
    elif run["algorithm"] == "ipc":
        ours, theirs, denominator = [run], within(merged(rows, "bp"), run["workers"]), HEADLINE
    names = ("denominator", "ratio", "ratio_low", "ratio_high", "verdict")
    if not (ours and theirs):
        return dict.fromkeys(names) | {f"other_{name}": None for name in ("execution", "backend", "workers", "ranks")}
    found, _, (bp, _) = opposed(ours, theirs)
    verdict = verdict_between(found, run["kind"], ("iPC faster", "BP faster"))
    other = {f"other_{name}": bp.get(name) for name in ("execution", "backend", "workers", "ranks")}
    return dict(zip(names, (denominator, *found[:3], verdict), strict=True)) | other
