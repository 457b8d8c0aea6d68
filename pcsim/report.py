"""What a results file says: ratios with intervals and verdicts, tables, a summary in sentences.

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
from .results import KEY, Results, key, ratio_interval, samples, significant

FORMATS = ("text", "markdown", "csv")
UNDECIDED = "no significant difference"
VERDICTS = ("iPC faster", "BP faster", UNDECIDED)
LEVEL = 0.05  # of the rank test
UNSTEADY = 0.15  # half the interval ÷ median: above this a time is not worth quoting

_WORDS = {"kind", "type", "algorithm", "execution", "iPC by", "BP by", "verdict", "notes"}  # columns set flush left
_Row = dict[str, Any]


class Cell(NamedTuple):
    """What two rows must share to be compared. Sorts by kind, net type, batch, depth, width."""

    kind: str
    dtype: str
    activation: str
    batch: int
    depth: int
    width: int


def cell_of(row: Mapping[str, Any]) -> Cell:
    """The cell of a row or of a pair."""
    return Cell(**{name: row[name] for name in Cell._fields})


def pairs(results: Results, denominator: str = "paper-style") -> list[_Row]:
    """The ratio of every cell in which both iPC and the denominator have times, sorted by :class:`Cell`.

    iPC is represented by the row that ``--workers auto`` chose, else by its fastest. The denominator is the fastest BP
    row of the cell (``"best-bp"``), BP with execution ``serial`` (``"paper-style"``), or one execution by name. Both
    sides choose among the same workers: BP may use as many as iPC was given anywhere in the file, or with ``auto`` all
    usable cores, also where iPC did better with fewer. Rows of several launches (fresh processes) are put together;
    of several rows of one launch the last good one counts.

    Each pair holds the fields of :class:`Cell`; ``ratio``, its 95 % interval ``low``, ``high`` and the rank test's
    ``p`` (these three are None where there are no raw samples) and ``verdict``; ``execution``, ``backend``,
    ``workers``, ``median`` (seconds), ``smm``, ``smm_workers`` and ``roofline`` of iPC and, under ``bp_…``, of BP;
    the ``denominator`` asked for; ``unsteady``, whether one of the two times is; and ``smm_ratio``, which is counted,
    not measured.

    Raises :class:`InputError` for an unknown denominator and for results without any pair.
    """
    known = sorted({row["execution"] for row in results.rows if row["algorithm"] == "bp"})
    if denominator not in ("best-bp", "paper-style", *known):
        choice = ", ".join(["best-bp", "paper-style", *known])
        raise InputError(f"{results.path}: no BP row has execution {denominator!r}; choose one of {choice}")
    found = []
    for cell, rows in cells(results).items():
        ipc, bp = _merged(rows, "ipc"), _merged(rows, "bp")
        ipc = [row for row in ipc if row.get("auto")] or ipc
        offered = _offered(results, cell.kind)
        bp = [row for row in bp if row["workers"] <= offered or row["execution"] == "serial"]
        if denominator != "best-bp":
            execution = "serial" if denominator == "paper-style" else denominator
            bp = [row for row in bp if row["execution"] == execution]
        if ipc and bp:
            found.append(_pair(cell, _fastest(ipc), _fastest(bp), denominator))
    if not found:
        raise InputError(f"{results.path}: no cell has times of both iPC and BP ({denominator}), so there is no ratio")
    return found


def scaling(results: Results) -> list[_Row]:
    """What iPC gains by workers: seconds with 1 worker ÷ seconds with P, for each cell and each P > 1.

    Each holds the fields of :class:`Cell`, ``workers``, ``speedup``, its interval ``low``, ``high``, ``efficiency``
    (speedup ÷ P) and ``counted``: what the task graph allows, ``smm_workers`` with 1 ÷ with P (None where not counted).
    Raises :class:`InputError` where no cell has both.
    """
    found = []
    for cell, rows in cells(results).items():
        runs = _merged(rows, "ipc")
        counts = sorted({row["workers"] for row in runs})
        best = {count: _fastest([row for row in runs if row["workers"] == count]) for count in counts}
        for count in counts[1:] if 1 in best else ():
            speedup, low, high, _ = _compared(best[1], best[count])
            gain = {"workers": count, "speedup": speedup, "low": low, "high": high, "efficiency": speedup / count}
            counted = _quotient(best[1].get("smm_workers"), best[count].get("smm_workers"))
            found.append(cell._asdict() | gain | {"counted": counted})
    if not found:
        raise InputError(f"{results.path}: no cell has iPC with 1 worker and with more; measure both with --workers")
    return found


def cells(results: Results) -> dict[Cell, list[_Row]]:
    """The rows of each cell: cells sorted, rows as in the file. Raises :class:`InputError` where there are none."""
    found: dict[Cell, list[_Row]] = {}
    for row in results.rows:
        found.setdefault(cell_of(row), []).append(row)
    if not found:
        raise InputError(f"{results.path}: holds no rows; measure something first")
    return dict(sorted(found.items()))


def failed(results: Results) -> list[_Row]:
    """Rows with an error, without those that another row of the same configuration made good."""
    good = {(key(row), row["kind"]) for row in results.rows if row["error"] is None}
    return [row for row in results.rows if row["error"] is not None and (key(row), row["kind"]) not in good]


def machine(results: Results) -> str:
    """Where the results come from: CPU model, usable cores, pcsim's version, as far as the file says."""
    context = results.context
    versions = context.get("versions")
    version = versions.get("pcsim") if isinstance(versions, dict) else None
    cores = f"{context['cores']} usable cores" if context.get("cores") else ""
    parts = [context.get("cpu_model") or "unknown CPU", cores, f"pcsim {version}" if version else ""]
    return ", ".join(str(part) for part in [*parts, context.get("note")] if part)


def definition(denominator: str) -> str:
    """The one line that says what the ratios of a table mean."""
    names = {"best-bp": "best-bp: the fastest of each cell on the same workers", "paper-style": "serial: paper-style"}
    meaning = names.get(denominator, denominator)
    return (
        f"ratio = seconds per complete weight update of iPC ÷ that of BP (execution {meaning}); below 1, iPC is faster"
    )


def table(results: Results, denominator: str = "paper-style", format: str = "text") -> str:
    """Ratios over depth (rows) and width (columns), a table for each kind, net type and batch; the definition first.

    ``~`` marks a ratio that may as well be 1, ``!`` one with an unsteady time, ``error`` a failed cell, ``-`` one
    without measurement. The last column, the ratio of the SMMs, is counted. CSV is one table, the definition its first
    line, beginning with ``#``.
    """
    found = {cell_of(pair): pair for pair in pairs(results, denominator)}
    broken = {cell_of(row) for row in failed(results)}
    known = cells(results)
    texts, lines = [], []
    every = sorted({cell.width for cell in known})
    for group in dict.fromkeys(cell[:4] for cell in known):
        inside = [cell for cell in known if cell[:4] == group]
        widths = every if format == "csv" else sorted({cell.width for cell in inside})
        body = []
        for depth in sorted({cell.depth for cell in inside}):
            row = [Cell(*group, depth, width) for width in widths]
            counted = next((found[cell]["smm_ratio"] for cell in row if cell in found), None)
            body.append([depth, *(_shown(found.get(cell), cell in broken) for cell in row), _short(counted)])
        lines += [[*group, *row] for row in body]
        kind, dtype, activation, batch = group
        header = ["depth", *(f"width {width}" for width in widths), "SMMs (counted)"]
        texts.append(f"{kind}, batch {batch}, {dtype}, {activation}\n\n{layout(header, body, format)}")
    if format == "csv":
        header = [*Cell._fields[:5], *(f"width {width}" for width in every), "SMMs (counted)"]
        return f"# {definition(denominator)}\n{layout(header, lines, format)}"
    marked = any(pair["verdict"] == UNDECIDED for pair in found.values())
    notes = [f"~ {UNDECIDED}: the 95 % interval holds 1, or p ≥ {LEVEL}"] if marked else []
    if any(pair["unsteady"] for pair in found.values()):
        notes.append("! one of the two times is unsteady: measure again on a quieter machine, or for longer")
    return "\n\n".join([definition(denominator), *texts, *notes])


def verdicts(results: Results, denominator: str = "paper-style", format: str = "text") -> str:
    """The evidence behind :func:`table`, a line for each pair: ratio, interval, p, verdict, who ran, times, SMMs."""
    found = pairs(results, denominator)
    if format == "csv":
        return layout(list(found[0]), [list(pair.values()) for pair in found], format)
    header = ["kind", "type", "batch", "depth", "width", "ratio", "95 % interval", "p", "verdict"]
    header += ["iPC by", "seconds", "BP by", "seconds", "SMMs (counted)"]
    body = [
        [
            *_case(pair),
            _short(pair["ratio"]),
            _between(pair["low"], pair["high"]),
            "-" if pair["p"] is None else f"{pair['p']:.2g}",
            pair["verdict"],
            f"{pair['execution']} on {pair['workers']}",
            scaled(pair["median"]),
            f"{pair['bp_execution']} on {pair['bp_workers']}",
            scaled(pair["bp_median"]),
            _short(pair["smm_ratio"]),
        ]
        for pair in found
    ]
    return f"{definition(denominator)}\n\n{_listing(header, body, format)}"


def details(results: Results, format: str = "text") -> str:
    """A line for each row of the file, by cell. CSV has plain seconds and bytes per second, the others scaled units."""
    rows = [row for inside in cells(results).values() for row in inside]
    if format == "csv":
        names = [*KEY, "kind", "median", "low", "high", "mm", "smm", "smm_workers", "bandwidth", "roofline"]
        ends = [dict(zip(("low", "high"), row["ci95"] or (None, None), strict=True)) for row in rows]
        body = [[*map((row | end).get, names), _notes(row)] for row, end in zip(rows, ends, strict=True)]
        return layout([*names, "notes"], body, format)
    header = ["kind", "type", "batch", "depth", "width", "algorithm", "execution", "workers", "seconds"]
    header += ["95 % interval", "MM", "SMM", "SMM on workers", "GB/s", "roofline", "notes"]
    body = [
        [
            *_case(row),
            row["algorithm"],
            row["execution"],
            f"{row['workers']} (auto)" if row.get("auto") else row["workers"],
            scaled(row["median"]),
            " to ".join(map(scaled, row["ci95"] or (None,))),
            *(_short(row.get(name), whole=True) for name in ("mm", "smm", "smm_workers")),
            _short(_quotient(row.get("bandwidth"), 1e9)),
            "-" if row.get("roofline") is None else f"{row['roofline']:.0%}",
            _notes(row),
        ]
        for row in rows
    ]
    return _listing(header, body, format)


def speedups(results: Results, format: str = "text") -> str:
    """:func:`scaling` as a table."""
    found = scaling(results)
    if format == "csv":
        return layout(list(found[0]), [list(gain.values()) for gain in found], format)
    header = ["kind", "type", "batch", "depth", "width", "workers", "speedup", "95 % interval", "efficiency", "counted"]
    body = [
        [
            *_case(gain),
            gain["workers"],
            _short(gain["speedup"]),
            _between(gain["low"], gain["high"]),
            f"{gain['efficiency']:.0%}",
            _short(gain["counted"]),
        ]
        for gain in found
    ]
    return f"speedup = seconds of iPC with 1 worker ÷ with more\n\n{_listing(header, body, format)}"


def summary(results: Results, denominator: str = "paper-style") -> list[str]:
    """The results in some sentences, losses, failures and doubts included."""
    found = pairs(results, denominator)
    lines = [definition(denominator) + "."]
    for kind in dict.fromkeys(pair["kind"] for pair in found):
        some = [pair for pair in found if pair["kind"] == kind]
        won, lost, open_ = ([pair for pair in some if pair["verdict"] == verdict] for verdict in VERDICTS)
        count = f"iPC is faster in {len(won)}, BP in {len(lost)}, and {len(open_)} show {UNDECIDED}"
        lines.append(f"Of {len(some)} {kind} cells {count}.")
        some.sort(key=lambda pair: pair["ratio"])
        lines += [f"Best ratio: {_told(some[0])}.", f"Worst ratio: {_told(some[-1])}."]
        places = "; ".join(f"{_place(pair)} ({_short(pair['ratio'])})" for pair in lost)
        lines.append(f"iPC loses at {places}." if lost else "iPC loses in none of them.")
    lines.append(f"Source: {machine(results)}.")
    shaky = [_who(row) for row in results.rows if _unsteady(row)]
    if shaky:
        lines.append(f"Unsteady, to be measured again on a quieter machine or for longer: {_some(shaky)}.")
    broken = [f"{_who(row)} ({row['error']})" for row in failed(results)]
    if broken:
        lines.append(f"Failed: {_some(broken)}.")
    return lines + [f"Note: {text}." for text in results.warnings]


def layout(header: Sequence[str], body: Iterable[Sequence[Any]], format: str) -> str:
    """A table as aligned text, Markdown or CSV; raises :class:`InputError` for another format."""
    lines = [["" if entry is None else str(entry) for entry in line] for line in (header, *body)]
    if format == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(lines)
        return out.getvalue().rstrip("\n")
    if format not in FORMATS:
        raise InputError(f"no format {format!r}; choose one of {', '.join(FORMATS)}")
    signs = ["<" if name in _WORDS else ">" for name in header]
    if format == "markdown":
        lines = [[entry.replace("|", "\\|") for entry in line] for line in lines]
        lines.insert(1, [":--" if sign == "<" else "--:" for sign in signs])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    sizes = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = ([f"{e:{sign}{size}}" for e, sign, size in zip(line, signs, sizes, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def scaled(seconds: float | None) -> str:
    """Seconds with three digits and a fitting unit: ``scaled(5.213e-3)`` is ``"5.21 ms"``; ``-`` for None."""
    if seconds is None:
        return "-"
    factor, unit = next(((f, u) for f, u in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if seconds * f >= 0.9995), (1e9, "ns"))
    return f"{_short(seconds * factor)} {unit}"


def _merged(rows: Iterable[_Row], algorithm: str) -> list[_Row]:
    """The good rows of an algorithm, one for each configuration: its launches' samples one after the other."""
    runs: dict[tuple[Any, ...], dict[int, _Row]] = {}
    for row in rows:
        if row["algorithm"] == algorithm and row["error"] is None and row["median"] is not None:
            runs.setdefault(key(row), {})[row.get("launch") or 0] = row
    merged = []
    for by_launch in runs.values():
        launches = [by_launch[number] for number in sorted(by_launch)]
        whole = launches[0] | {"auto": any(row.get("auto") for row in launches), "launches": len(launches)}
        if len(launches) > 1:
            pooled = np.concatenate([samples(row) for row in launches])
            medians = [row["median"] for row in launches]
            whole |= {"seconds": pooled, "median": float(np.nanmedian(pooled if pooled.size else medians))}
        merged.append(whole)
    return merged


def _offered(results: Results, kind: str) -> int:
    """The largest number of workers that iPC could have had."""
    rows = [row for row in results.rows if row["algorithm"] == "ipc" and row["kind"] == kind]
    cores = results.context.get("cores") if any(row.get("auto") for row in rows) else None
    return max(cores if isinstance(cores, int) else 1, *(row["workers"] for row in rows), 1)


def _fastest(rows: Iterable[_Row]) -> _Row:
    return min(rows, key=lambda row: row["median"])


def _compared(above: _Row, below: _Row) -> tuple[float, float | None, float | None, float | None]:
    """Ratio of medians, its interval, and p; the last three None where one side has no samples."""
    first, second = samples(above), samples(below)
    if not (np.isfinite(first).any() and np.isfinite(second).any()):
        return above["median"] / below["median"], None, None, None
    launches = above["launches"] if above["launches"] == below["launches"] else 1
    return *ratio_interval(first, second, launches=launches), significant(first, second)


def _pair(cell: Cell, ipc: _Row, bp: _Row, denominator: str) -> _Row:
    ratio, low, high, p = _compared(ipc, bp)
    doubtful = low is not None and high is not None and p is not None and (low <= 1 <= high or p >= LEVEL)
    verdict = UNDECIDED if doubtful or ratio == 1 else VERDICTS[ratio > 1]
    pair = cell._asdict() | {"ratio": ratio, "low": low, "high": high, "p": p, "verdict": verdict}
    for prefix, row in (("", ipc), ("bp_", bp)):
        names = ("execution", "backend", "workers", "median", "smm", "smm_workers", "roofline")
        pair |= {prefix + name: row.get(name) for name in names}
    pair["unsteady"] = bool(_unsteady(ipc) or _unsteady(bp))
    return pair | {"denominator": denominator, "smm_ratio": _quotient(ipc.get("smm"), bp.get("smm"))}


def _quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _short(number: float | None, whole: bool = False) -> str:
    """Three digits, as in 0.0431, 0.431, 4.31, 43.1, 431; counts as they are."""
    if number is None:
        return "-"
    return f"{number:g}" if whole else f"{number:.0f}" if number >= 999.5 else f"{number:#.3g}".rstrip(".")


def _shown(pair: _Row | None, broken: bool) -> str:
    if pair is None:
        return "error" if broken else "-"
    return ("~" if pair["verdict"] == UNDECIDED else "") + _short(pair["ratio"]) + ("!" if pair["unsteady"] else "")


def _case(row: Mapping[str, Any]) -> list[Any]:
    return [row["kind"], f"{row['dtype']} {row['activation']}", row["batch"], row["depth"], row["width"]]


def _notes(row: Mapping[str, Any]) -> str:
    texts = [*([] if row["error"] is None else [f"error: {row['error']}"]), *row["warnings"]]
    return "; ".join(" ".join(text.split()) for text in texts)


def _listing(header: list[str], body: list[list[Any]], format: str) -> str:
    """The table, its first two columns (kind and type) said once where they are the same in every line."""
    if len({(line[0], line[1]) for line in body}) > 1:
        return layout(header, body, format)
    return f"{body[0][0]}, {body[0][1]}\n\n{layout(header[2:], [line[2:] for line in body], format)}"


def _between(low: float | None, high: float | None) -> str:
    return "-" if low is None else f"{_short(low)} to {_short(high)}"


def _place(row: Mapping[str, Any]) -> str:
    return f"depth {row['depth']} × width {row['width']}, batch {row['batch']}"


def _who(row: Mapping[str, Any]) -> str:
    return f"{row['algorithm']} {row['execution']} at {_place(row)}"


def _some(texts: list[str]) -> str:
    more = f"; and {len(texts) - 3} more" if len(texts) > 3 else ""
    return "; ".join(texts[:3]) + more


def _told(pair: Mapping[str, Any]) -> str:
    interval = "" if pair["low"] is None else f" ({_between(pair['low'], pair['high'])})"
    times = f"{scaled(pair['median'])} against {scaled(pair['bp_median'])}"
    return f"{_short(pair['ratio'])}{interval} at {_place(pair)}: {times} with {pair['bp_execution']}"


def _unsteady(row: Mapping[str, Any]) -> bool:
    return row["median"] and row["ci95"] and row["ci95"][1] - row["ci95"][0] > 2 * UNSTEADY * row["median"]
