"""Tables of MPI ranks: strong and weak scaling, added latency, messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InputError
from ..results.fields import ALGORITHMS
from ..results.files import Results
from ..results.pairs import HEADLINE, quotient
from ..results.ranks import delays, exchanges, rank_scaling, weak_scaling
from ..results.verdicts import NEITHER, undecided
from ..tables import between, listing, records, scaled, short
from ..tables import case as plain_case
from .promises import basis_words
from .words import by_whom, case_cells, factor, team


def ranks(results: Results, format: str = "text") -> str:
    """What the rows of MPI show, as far as the file has it: strong scaling, weak scaling, added latency, exchanges.

    These are :func:`pcsim.results.ranks.rank_scaling`, ``weak_scaling``, ``delays`` and ``exchanges`` as tables. ``†``
    marks rows with more workers than cores, ``~`` a ratio of which no side is called faster, ``≠`` a number of
    messages other than counted. CSV is one table whose first column, ``table``, names it (``strong``, ``weak``,
    ``latency``, ``exchange``). Raises :class:`InputError` where there is none of these.
    """
    sources: dict[str, Callable[[Results], list[dict[str, Any]]]] = {
        "strong": rank_scaling,
        "weak": weak_scaling,
        "latency": delays,
        "exchange": exchanges,
    }
    found = {}
    for name, source in sources.items():
        try:
            found[name] = source(results)
        except InputError:  # each says only that the file has nothing of its kind
            continue
    if not found:
        raise InputError(f"{results.path}: nothing measured with MPI; use mpiexec -n P pcsim bench --backend mpi")
    if format == "csv":
        points = [{"table": name, **point} for name, inside in found.items() for point in inside]
        names = dict.fromkeys(name for point in points for name in point)
        return records([{name: point.get(name) for name in names} for point in points])
    shown = {"strong": _strong, "weak": _weak, "latency": _delayed, "exchange": _exchanged}
    texts = [text for name, points in found.items() for text in shown[name](points, format)]
    points = [point for inside in found.values() for point in inside]
    if len(found) > ("exchange" in found):
        texts.insert(
            0,
            "ratio = seconds per complete weight update of iPC ÷ that of BP; below 1, iPC is faster. On a line of BP: "
            "that BP and iPC on as many workers.\nOn a line of iPC: best-bp, the fastest BP on no more workers",
        )
    notes = {
        "† oversubscribed, more workers than cores: shows what exchange costs, not what more cores would gain": any(
            point["oversubscribed"] for point in points
        ),
        f"~ {NEITHER}": any(point.get("ratio") is not None and undecided(point["verdict"]) for point in points),
        "≠ a number of messages other than counted on the task graph": any(point.get("differs") for point in points),
    }
    notes[basis_words(results)] = True
    return "\n\n".join([*texts, "\n".join(note for note, there in notes.items() if there)]).rstrip()


def _strong(points: list[dict[str, Any]], format: str) -> list[str]:
    body = [
        [
            *case_cells(point),
            *_runner(point),
            scaled(point["median"]),
            *factor(point, "speedup"),
            _share(point["efficiency"]),
            short(point["counted"]),
            *_ratio(point),
        ]
        for point in points
    ]
    header = [*_RUNNER, "seconds", "speedup", "interval", "efficiency", "counted", *_RATIO]
    said = (
        "strong scaling, the same net on more ranks: speedup = seconds on 1 worker (of BP: of serial BP) ÷ seconds;"
        " efficiency = speedup ÷ workers;\ncounted: the speedup that the task graph allows"
    )
    return [said, listing(header, body, format)]


def _weak(points: list[dict[str, Any]], format: str) -> list[str]:
    body = [
        [
            *case_cells(point),
            point["layers"],
            *_runner(point),
            scaled(point["median"]),
            *factor(point, "growth"),
            _share(point["efficiency"]),
            *_ratio(point),
        ]
        for point in points
    ]
    header = ["layers per rank", *_RUNNER, "seconds", "growth", "interval", "efficiency", *_RATIO]
    said = (
        "weak scaling, as many layers on every rank: growth = seconds ÷ seconds on one rank (of BP: of serial BP);"
        " efficiency = 1 ÷ growth"
    )
    return [said, listing(header, body, format)]


def _delayed(points: list[dict[str, Any]], format: str) -> list[str]:
    body = [
        [
            *plain_case(point),
            "-" if point["delay"] is None else scaled(point["delay"]) if point["delay"] else "0",
            scaled(point["latency"]),
            *_runner(point),
            scaled(point["median"]),
            "-" if point["low"] is None else f"{scaled(point['low'])} to {scaled(point['high'])}",
            *_ratio(point),
        ]
        for point in points
    ]
    header = ["added", "latency", *_RUNNER, "seconds", "interval", *_RATIO]
    return ["latency added to every message on purpose, and measured with it", listing(header, body, format)]


def _exchanged(points: list[dict[str, Any]], format: str) -> list[str]:
    body = [
        [
            *case_cells(point),
            *_runner(point),
            short(point["messages"], whole=True) + (" ≠" if point["differs"] else ""),
            short(point["counted_messages"], whole=True),
            short(quotient(point["message_bytes"], 1e3)),
            short(point["collectives"], whole=True),
            scaled(point["latency"]),
            scaled(point["handover_seconds"]),
            short(point["handover_latencies"]),
            "-" if point["handover_share"] is None else f"{point['handover_share']:.1%}",
        ]
        for point in points
    ]
    header = [
        *_RUNNER,
        "messages",
        "counted",
        "kB",
        "collectives",
        "latency",
        "hand-over",
        "÷ latency",
        "of the update",
    ]
    said = (
        "exchange: messages, kB in them and collectives per complete weight update, over all ranks; latency of one such"
        " message, measured beside it;\nhand-over: seconds per step that a worker loses between its tasks, and their"
        " share of an update"
    )
    return [said, listing(header, body, format)]


_RUNNER = ("algorithm", "execution", "ranks")

_RATIO = ("ratio", "interval", "BP by")


def _runner(point: Mapping[str, Any]) -> list[str]:
    """Entries for ``_RUNNER``; ranks of several threads are ``2 × 4``."""
    threads = point["workers"] // point["ranks"]
    count = f"{point['ranks']} × {threads}" if threads > 1 else str(point["ranks"])
    name = point["algorithm"]
    if name == "pc" or (name not in ALGORITHMS and (point["steps"] or 1) > 1):
        name = f"{name} (T = {point['steps']})"
    return [name, point["execution"], ("†" if point["oversubscribed"] else "") + count]


def _ratio(point: Mapping[str, Any]) -> list[str]:
    """Entries for ``_RATIO``."""
    if point["ratio"] is None:
        return ["-", "-", "-"]
    named = " (best-bp)" if point["denominator"] == HEADLINE else ""
    ratio = ("~" if undecided(point["verdict"]) else "") + short(point["ratio"])
    ends = between(point["ratio_low"], point["ratio_high"])
    return [ratio, ends, by_whom(point["other_execution"], team(point, "other_")) + named]


def _share(part: float | None) -> str:
    return "-" if part is None else f"{part:.0%}"
