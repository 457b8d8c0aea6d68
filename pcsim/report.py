"""What a results file says in words: tables, the evidence behind them, a summary in sentences.

Pure functions of :class:`pcsim.results.Results`: the same file gives the same text. It must never decide what is
compared with what (that is :mod:`pcsim.comparison`), measure anything, look at a clock or at this machine. ``ratio``
always means seconds per complete weight update of iPC ÷ those of BP, or of what else is named; below 1, iPC is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .comparison import (
    HEADLINE,
    LEVEL,
    RANKS,
    UNDECIDED,
    VERDICTS,
    Cell,
    bp_executions,
    cell_of,
    cells,
    delays,
    exchanges,
    failed,
    gains,
    interval,
    ladder,
    merged,
    pairs,
    peers,
    quotient,
    rank_scaling,
    representative,
    scaling,
    sides,
    steps,
    unsteady,
    weak_scaling,
)
from .errors import InputError
from .results import KEY, Results
from .tables import FORMATS, between, layout, listing, records, scaled, short
from .tables import case as plain_case
from .tables import place as plain_place

__all__ = [
    "FORMATS",
    "HEADLINE",
    "LEVEL",
    "UNDECIDED",
    "VERDICTS",
    "Cell",
    "cell_of",
    "cells",
    "definition",
    "delays",
    "details",
    "exchanges",
    "failed",
    "gains",
    "interval",
    "ladder",
    "layout",
    "machine",
    "merged",
    "origins",
    "pairs",
    "rank_scaling",
    "ranks",
    "representative",
    "rungs",
    "scaled",
    "scaling",
    "speedups",
    "step_costs",
    "steps",
    "summary",
    "table",
    "verdicts",
    "weak_scaling",
]


def machine(results: Results) -> str:
    """Where the results come from: CPU model, usable cores, pcsim's version, as far as the file says."""
    context = results.context
    versions = context.get("versions")
    version = versions.get("pcsim") if isinstance(versions, dict) else None
    cores = f"{context['cores']} usable cores" if context.get("cores") else ""
    parts = [context.get("cpu_model") or "unknown CPU", cores, f"pcsim {version}" if version else ""]
    return ", ".join(str(part) for part in [*parts, context.get("note")] if part)


def definition(denominator: str = HEADLINE, results: Results | None = None) -> str:
    """The one line that says what the ratios of a table mean; ``results`` name the peers where they are meant."""
    names = {"best-bp": "best-bp: the fastest of each cell on the same workers", "paper-style": "serial: paper-style"}
    other = f"BP (execution {names.get(denominator, denominator)})"
    if denominator == "peer-ipc":
        known = f" ({', '.join(peers(results))})" if results else ""
        other = f"the fastest peer's iPC{known} on the same workers"
    elif denominator.startswith("ipc:"):
        execution = denominator[4:]
        other = f"iPC by {execution}" if results and execution in peers(results) else f"iPC (execution {execution})"
    first = sides(denominator)[0]
    return f"ratio = seconds per complete weight update of {first} ÷ that of {other}; below 1, {first} is faster"


def table(results: Results, denominator: str = HEADLINE, format: str = "text") -> str:
    """Ratios over depth (rows) and width (columns), a table for each kind, net type, batch and delay that has any.

    The definition stands first. Where the denominator is the fastest of several, a second table says which it was
    and on how many workers. ``~`` marks a ratio that may as well be 1, ``!`` one with an unsteady time, ``error`` a
    failed cell, ``-`` one without measurement. The last column, the ratio of the SMMs, is counted. CSV is one table
    of ratios, the definition its first line, beginning with ``#``.
    """
    found = {cell_of(pair): pair for pair in pairs(results, denominator)}
    broken = {cell_of(row) for row in failed(results)}
    known = cells(results)
    texts, lines = [], []
    every = sorted({cell.width for cell in known})
    delayed = any(cell.delay is not None for cell in known)
    for group in dict.fromkeys((*cell[:4], cell.delay) for cell in known):
        inside = [cell for cell in known if (*cell[:4], cell.delay) == group]
        kind, dtype, activation, batch, delay = group
        widths = every if format == "csv" else sorted({cell.width for cell in inside})
        body, others = [], []
        for depth in sorted({cell.depth for cell in inside}):
            row = [Cell(kind, dtype, activation, batch, depth, width, delay) for width in widths]
            counted = next((found[cell]["smm_ratio"] for cell in row if cell in found), None)
            body.append([depth, *(_shown(found.get(cell), cell in broken) for cell in row), short(counted)])
            others.append([depth, *(_fastest_of(found.get(cell)) for cell in row)])
        lines += [[*group[: 4 + delayed], *row] for row in body]
        if not any(cell in found or cell in broken for cell in inside):
            continue
        header = ["depth", *(f"width {width}" for width in widths)]
        texts.append(f"{kind}, batch {batch}, {dtype}, {activation}{_latency(delay)}")
        texts.append(layout([*header, "SMMs (counted)"], body, format))
        if denominator in ("best-bp", "peer-ipc"):
            name = "BP" if denominator == "best-bp" else "peer's iPC"
            texts += [f"the fastest {name}, and on how many workers", layout(header, others, format)]
    if format == "csv":
        header = [*Cell._fields[:4], *(["delay"] if delayed else []), "depth"]
        header += [*(f"width {width}" for width in every), "SMMs (counted)"]
        return f"# {definition(denominator, results)}\n{layout(header, lines, format)}"
    marked = any(pair["verdict"] == UNDECIDED for pair in found.values())
    notes = [f"~ {UNDECIDED}: the 95 % interval holds 1, or p ≥ {LEVEL}"] if marked else []
    if any(pair["unsteady"] for pair in found.values()):
        notes.append("! one of the two times is unsteady: measure again on a quieter machine, or for longer")
    return "\n\n".join([definition(denominator, results), *texts, *notes])


def verdicts(results: Results, denominator: str = HEADLINE, format: str = "text") -> str:
    """The evidence behind :func:`table`, a line for each pair: ratio, interval, p, verdict, who ran, times, SMMs."""
    found = pairs(results, denominator)
    if format == "csv":
        return records(found)
    other = "BP by" if sides(denominator)[1] == "BP" else "other by"
    header = ["ratio", "95 % interval", "p", "verdict", "iPC by", "seconds", other, "seconds", "SMMs (counted)"]
    body = [
        [
            *_case(pair),
            short(pair["ratio"]),
            between(pair["low"], pair["high"]),
            "-" if pair["p"] is None else f"{pair['p']:.2g}",
            pair["verdict"],
            _by(pair["execution"], _team(pair), pair["variant"]),
            scaled(pair["median"]),
            _by(pair["other_execution"], _team(pair, "other_"), pair["other_variant"]),
            scaled(pair["other_median"]),
            short(pair["smm_ratio"]),
        ]
        for pair in found
    ]
    return f"{definition(denominator, results)}\n\n{listing(header, body, format)}"


def details(results: Results, format: str = "text") -> str:
    """A line for each row of the file, by cell. CSV has plain seconds and bytes per second, the others scaled units."""
    rows = [row for inside in cells(results).values() for row in inside]
    if format == "csv":
        names = [*KEY, "kind", "median", "low", "high", "mm", "smm", "smm_workers", "bandwidth", "roofline"]
        names += ["variant", "launch", "flop_rate", "tile_rate", "gemm_rate", "drift", "ranks", "hosts", "delay"]
        names += ["messages", "counted_messages", "message_bytes", "collectives", "latency", "handover_seconds"]
        ends = [dict(zip(("low", "high"), row["ci95"] or (None, None), strict=True)) for row in rows]
        body = [[*map((row | end).get, names), _notes(row)] for row, end in zip(rows, ends, strict=True)]
        return layout([*names, "notes"], body, format)
    header = ["algorithm", "execution", "workers", "seconds"]
    header += ["95 % interval", "MM", "SMM", "SMM on workers", "GB/s", "roofline", "notes"]
    body = [
        [
            *_case(row),
            row["algorithm"],
            row["execution"] + (f" ({row['variant']})" if row.get("variant") else ""),
            f"{_team(row)} (auto)" if row.get("auto") else _team(row),
            scaled(row["median"]),
            " to ".join(map(scaled, row["ci95"] or (None,))),
            *(short(row.get(name), whole=True) for name in ("mm", "smm", "smm_workers")),
            short(quotient(row.get("bandwidth"), 1e9)),
            "-" if row.get("roofline") is None else f"{row['roofline']:.0%}",
            _notes(row),
        ]
        for row in rows
    ]
    return listing(header, body, format)


def speedups(results: Results, format: str = "text") -> str:
    """:func:`pcsim.comparison.scaling` as a table."""
    found = scaling(results)
    if format == "csv":
        return records(found)
    backends = {gain["backend"] for gain in found}
    body = [
        [
            *_case(gain),
            f"{gain['workers']} ({gain['backend']})" if len(backends) > 1 else gain["workers"],
            short(gain["speedup"]),
            between(gain["low"], gain["high"]),
            f"{gain['efficiency']:.0%}",
            short(gain["counted"]),
        ]
        for gain in found
    ]
    header = ["workers", "speedup", "95 % interval", "efficiency", "counted"]
    return f"speedup = seconds of iPC with 1 worker ÷ with more\n\n{listing(header, body, format)}"


def rungs(results: Results, format: str = "text") -> str:
    """:func:`pcsim.comparison.ladder` as a table: a line per cell, a column per execution of BP, the fastest with
    ``*``. Below it stands which variant of an execution ran. CSV has a line per rung."""
    found = ladder(results)
    if format == "csv":
        return records(found)
    executions = bp_executions(results)
    lines: dict[Cell, list[Any]] = {}
    for rung in found:
        text = scaled(rung["median"]) + (" *" if rung["best"] else "  ")
        lines.setdefault(cell_of(rung), _case(rung)).append("error  " if rung["error"] else text)
    if format == "markdown":
        lines = {cell: [str(entry).rstrip() for entry in line] for cell, line in lines.items()}
    header = [name if format == "markdown" else f"{name}  " for name in executions]
    said = "median seconds per complete weight update of BP by execution; * the fastest of the cell (best-bp)"
    ran = {
        name: sorted({r["variant"] for r in found if r["execution"] == name and r["variant"]}) for name in executions
    }
    variants = [f"{name}: {', '.join(known)}" for name, known in ran.items() if known]
    notes = [f"variants: {'; '.join(variants)}"] if variants else []
    return "\n\n".join([said, listing(header, list(lines.values()), format), *notes])


def origins(results: Results, format: str = "text") -> str:
    """:func:`pcsim.comparison.gains` as a table: seconds of BP and of iPC in each form, and the factors."""
    found = gains(results)
    if format == "csv":
        return records(found)
    times = {
        "BP serial": "bp_serial",
        "best BP": "best_bp",
        "unfused, 1": "serial_unfused",
        "fused, 1": "serial",
        "unfused, P": "layer_parallel_unfused",
        "fused, P": "layer_parallel",
    }
    factors = ("fusion", "layers", "both")
    body = [
        [
            *_case(gain),
            "-" if gain["workers"] is None else gain["workers"],
            *(scaled(gain[name]) for name in times.values()),
            *(entry for name in factors for entry in _factor(gain, name)),
        ]
        for gain in found
    ]
    header = ["P", *times, *(entry for name in factors for entry in (name, "95 % interval"))]
    said = (
        "median seconds per complete weight update of BP and of iPC, unfused (three passes per layer) and fused (one),"
        " on 1 worker and on P.\nfusion = unfused, 1 ÷ fused, 1; layers = unfused, 1 ÷ unfused, P (parallel layers"
        " alone); both = unfused, 1 ÷ fused, P"
    )
    return f"{said}\n\n{listing(header, body, format)}"


def step_costs(results: Results, format: str = "text") -> str:
    """:func:`pcsim.comparison.steps` as a table."""
    found = steps(results)
    if format == "csv":
        return records(found)
    body = [
        [
            *_case(step),
            step["algorithm"],
            _by(step["execution"], _team(step)),
            step["steps"],
            scaled(step["seconds"]),
            scaled(step["ipc"]),
            *_factor(step, "ratio", ""),
        ]
        for step in found
    ]
    header = ["algorithm", "execution", "steps", "seconds per step", "iPC's", "ratio", "95 % interval"]
    said = (
        "ratio = seconds per inference step of PC or Z-IL ÷ seconds per step of iPC, same execution and workers;"
        " PC takes T + 1 steps per weight update, Z-IL one per layer"
    )
    return f"{said}\n\n{listing(header, body, format)}"


def ranks(results: Results, format: str = "text") -> str:
    """What MPI's rows say, as far as the file has it: strong scaling, weak scaling, added latency, exchanges.

    These are :func:`pcsim.comparison.rank_scaling`, ``weak_scaling``, ``delays`` and ``exchanges`` as tables. ``†``
    marks rows with more workers than cores, ``~`` a ratio that may as well be 1, ``≠`` messages that are not those
    counted. CSV is one table whose first column, ``table``, says which (``strong``, ``weak``, ``latency``,
    ``exchange``). Raises :class:`InputError` where there is none of them.
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
        f"~ {UNDECIDED}: the 95 % interval holds 1, or p ≥ {LEVEL}": any(
            point.get("verdict") == UNDECIDED for point in points
        ),
        "≠ not as many messages as the task graph needs": any(point.get("differs") for point in points),
    }
    return "\n\n".join([*texts, "\n".join(note for note, there in notes.items() if there)]).rstrip()


def _strong(points: list[dict[str, Any]], format: str) -> list[str]:
    body = [
        [
            *_case(point),
            *_runner(point),
            scaled(point["median"]),
            *_factor(point, "speedup"),
            _share(point["efficiency"]),
            short(point["counted"]),
            *_ratio(point),
        ]
        for point in points
    ]
    header = [*_RUNNER, "seconds", "speedup", "95 % interval", "efficiency", "counted", *_RATIO]
    said = (
        "strong scaling, the same net on more ranks: speedup = seconds on 1 worker (of BP: of serial BP) ÷ seconds;"
        " efficiency = speedup ÷ workers;\ncounted: the speedup that the task graph allows"
    )
    return [said, listing(header, body, format)]


def _weak(points: list[dict[str, Any]], format: str) -> list[str]:
    body = [
        [
            *_case(point),
            point["layers"],
            *_runner(point),
            scaled(point["median"]),
            *_factor(point, "growth"),
            _share(point["efficiency"]),
            *_ratio(point),
        ]
        for point in points
    ]
    header = ["layers per rank", *_RUNNER, "seconds", "growth", "95 % interval", "efficiency", *_RATIO]
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
    header = ["added", "latency", *_RUNNER, "seconds", "95 % interval", *_RATIO]
    return ["latency added to every message on purpose, and measured with it", listing(header, body, format)]


def _exchanged(points: list[dict[str, Any]], format: str) -> list[str]:
    body = [
        [
            *_case(point),
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


def summary(results: Results, denominator: str = HEADLINE) -> list[str]:
    """The results in some sentences, losses, failures and doubts included."""
    found = pairs(results, denominator)
    first, second = sides(denominator)
    lines = [definition(denominator, results) + "."]
    for kind in dict.fromkeys(pair["kind"] for pair in found):
        some = [pair for pair in found if pair["kind"] == kind]
        names = (f"{first} faster", f"{second} faster", UNDECIDED)
        won, lost, open_ = ([pair for pair in some if pair["verdict"] == verdict] for verdict in names)
        count = f"{first} is faster in {len(won)}, {second} in {len(lost)}, and {len(open_)} show {UNDECIDED}"
        lines.append(f"Of {len(some)} {kind} cells {count}.")
        some.sort(key=lambda pair: pair["ratio"])
        lines += [f"Best ratio: {_told(some[0])}.", f"Worst ratio: {_told(some[-1])}."]
        places = "; ".join(f"{_place(pair)} ({short(pair['ratio'])})" for pair in lost)
        lines.append(f"iPC loses at {places}." if lost else "iPC loses in none of them.")
    lines.append(f"Source: {machine(results)}.")
    shaky = [_who(row) for row in results.rows if unsteady(row)]
    if shaky:
        lines.append(f"Unsteady, to be measured again on a quieter machine or for longer: {_some(shaky)}.")
    broken = [f"{_who(row)} ({row['error']})" for row in failed(results)]
    if broken:
        lines.append(f"Failed: {_some(broken)}.")
    return lines + [f"Note: {text}." for text in results.warnings]


def _shown(pair: Mapping[str, Any] | None, broken: bool) -> str:
    if pair is None:
        return "error" if broken else "-"
    return ("~" if pair["verdict"] == UNDECIDED else "") + short(pair["ratio"]) + ("!" if pair["unsteady"] else "")


def _fastest_of(pair: Mapping[str, Any] | None) -> str:
    return "-" if pair is None else f"{pair['other_execution']} {_team(pair, 'other_')}"


def _case(row: Mapping[str, Any]) -> list[Any]:
    """The cell of a row for :func:`listing`, its delay said with the type."""
    kind, type_, *sizes = plain_case(row)
    return [kind, type_ + _latency(row.get("delay")), *sizes]


def _place(row: Mapping[str, Any]) -> str:
    return plain_place(row) + _latency(row.get("delay"))


def _latency(delay: float | None) -> str:
    return "" if delay is None else f", {scaled(delay) if delay else 'no'} latency added"


def _team(row: Mapping[str, Any], prefix: str = "") -> str:
    """The workers of a row or of a side of a pair: ``"2"`` threads, ``"2 ranks"``, ``"2 ranks × 4"`` threads each."""
    workers, backend, ranks = (row.get(prefix + name) for name in ("workers", "backend", "ranks"))
    if backend != RANKS or workers is None:
        return str(workers)
    ranks = ranks or workers
    return f"{ranks} rank{'s' if ranks > 1 else ''}" + (f" × {workers // ranks}" if workers > ranks else "")


_RUNNER = ("algorithm", "execution", "ranks")
_RATIO = ("ratio", "95 % interval", "BP by")


def _runner(point: Mapping[str, Any]) -> list[str]:
    """Entries for ``_RUNNER``; a rank of several threads is ``2 × 4``."""
    threads = point["workers"] // point["ranks"]
    count = f"{point['ranks']} × {threads}" if threads > 1 else str(point["ranks"])
    name = f"pc (T = {point['steps']})" if point["algorithm"] == "pc" else point["algorithm"]
    return [name, point["execution"], ("†" if point["oversubscribed"] else "") + count]


def _ratio(point: Mapping[str, Any]) -> list[str]:
    """Entries for ``_RATIO``."""
    if point["ratio"] is None:
        return ["-", "-", "-"]
    named = " (best-bp)" if point["denominator"] == HEADLINE else ""
    ratio = ("~" if point["verdict"] == UNDECIDED else "") + short(point["ratio"])
    ends = between(point["ratio_low"], point["ratio_high"])
    return [ratio, ends, _by(point["other_execution"], _team(point, "other_")) + named]


def _share(part: float | None) -> str:
    return "-" if part is None else f"{part:.0%}"


def _by(execution: str, team: str, variant: str | None = None) -> str:
    return f"{execution} on {team}" + (f" ({variant})" if variant else "")


def _factor(found: Mapping[str, Any], name: str, prefix: str | None = None) -> tuple[str, str]:
    """A number and its interval; the ends are called after it unless a prefix is given."""
    prefix = f"{name}_" if prefix is None else prefix
    return short(found[name]), between(found[f"{prefix}low"], found[f"{prefix}high"])


def _notes(row: Mapping[str, Any]) -> str:
    texts = [*([] if row["error"] is None else [f"error: {row['error']}"]), *row["warnings"]]
    return "; ".join(" ".join(text.split()) for text in texts)


def _who(row: Mapping[str, Any]) -> str:
    return f"{row['algorithm']} {row['execution']} at {_place(row)}"


def _some(texts: list[str]) -> str:
    more = f"; and {len(texts) - 3} more" if len(texts) > 3 else ""
    return "; ".join(texts[:3]) + more


def _told(pair: Mapping[str, Any]) -> str:
    ends = "" if pair["low"] is None else f" ({between(pair['low'], pair['high'])})"
    times = f"{scaled(pair['median'])} against {scaled(pair['other_median'])}"
    return f"{short(pair['ratio'])}{ends} at {_place(pair)}: {times} with {pair['other_execution']}"
