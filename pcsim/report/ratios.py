"""What a results file says in words: tables, the evidence behind them, a summary in sentences.

Pure functions of :class:`pcsim.results.files.Results`: the same file gives the same text. It must never decide what is
compared with what (that is :mod:`pcsim.results.pairs`), measure anything, look at a clock or at this machine. ``ratio``
always means seconds per complete weight update of iPC ÷ those of BP, or of another named denominator; below 1, iPC is
faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..results.comparison import unsteady
from ..results.fields import USUAL, names_of
from ..results.files import KEY, Results
from ..results.gains import SHARED, gains, steps
from ..results.pairs import (
    HEADLINE,
    Cell,
    bp_executions,
    cell_of,
    cells,
    failed,
    ladder,
    merged,
    pairs,
    quotient,
    scaling,
    sides,
    subject,
)
from ..results.statistics import Ledger
from ..results.verdicts import DIFFERENCE, UNRESOLVED, WITHIN, alike, undecided, verdict_words
from ..tables import between, layout, listing, records, scaled, short
from .promises import basis_words, chosen_words, flat, in_brackets, interval_columns, promises, resolves, signs
from .words import (
    by_whom,
    case_cells,
    definition,
    factor,
    first_few,
    grid_of,
    machine,
    notes_of,
    place_words,
    table_words,
    team,
    who,
)


def table(
    results: Results,
    denominator: str = HEADLINE,
    format: str = "text",
    difference: float = DIFFERENCE,
    ledger: Ledger | None = None,
) -> str:
    """Ratios over depth (rows) and width (columns), a table for each kind, net type, batch, way in which batches change
    and delay that has any; unequal nets have one of their own, a line each.

    The definition stands first. Where the denominator is the fastest of several, a second table says which it was
    and on how many workers. ``~`` marks a ratio of which no side is called faster, ``!`` one with an unsteady time,
    ``error`` a failed cell, ``-`` one without measurement. The last column, the ratio of the SMMs, is counted. CSV is
    one table of ratios, the definition its first line, beginning with ``#``.
    """
    found = {cell_of(pair): pair for pair in _pairs(results, denominator, difference, ledger)}
    broken = {cell_of(row) for row in failed(results)}
    known = cells(results)
    texts, lines = [], []
    every = sorted({cell.width for cell in known})
    more = [name for name in (*USUAL, "delay") if any(getattr(cell, name) != USUAL.get(name) for cell in known)]
    for group in dict.fromkeys(cell.table for cell in known):
        inside = [cell for cell in known if cell.table == group]
        corner, columns, grid = grid_of(inside, every if format == "csv" else None)
        body, others = [], []
        for first, row in grid:
            counted = next((found[cell]["smm_ratio"] for cell in row if cell in found), None)
            body.append([first, *(_shown(found.get(cell), cell in broken) for cell in row), short(counted)])
            others.append([first, *(_fastest_of(found.get(cell)) for cell in row)])
        for (_, row), line in zip(grid, body, strict=True):
            lines.append([*group[:4], *(getattr(row[0], name) for name in more), row[0].depth, *line[1:]])
        if not any(cell in found or cell in broken for cell in inside):
            continue
        header = [corner, *columns]
        texts.append(table_words(group))
        texts.append(layout([*header, "SMMs (counted)"], body, format))
        if denominator in ("best-bp", "peer-ipc"):
            name = "BP" if denominator == "best-bp" else "peer's iPC"
            texts += [f"the fastest {name}, and on how many workers", layout(header, others, format)]
    if format == "csv":
        header = [*Cell._fields[:4], *more, "depth"]
        header += [*(f"width {width}" for width in every), "SMMs (counted)"]
        return f"# {definition(denominator, results)}\n{layout(header, lines, format)}"
    marked = any(undecided(pair["verdict"]) for pair in found.values())
    notes = [f"~ {alike(difference)}, or {UNRESOLVED}"] if marked else []
    if any(pair["unsteady"] for pair in found.values()):
        notes.append("! one of the two times is unsteady: measure again on a quieter machine, or for longer")
    if any(pair["modes"] or pair["other_modes"] for pair in found.values()):
        notes.append("‡ one of the two times has two modes")
    return "\n\n".join([definition(denominator, results), *texts, *notes])


def verdicts(
    results: Results,
    denominator: str = HEADLINE,
    format: str = "text",
    difference: float = DIFFERENCE,
    ledger: Ledger | None = None,
) -> str:
    """The evidence behind :func:`table`, a line a pair: ratio, intervals, p, verdict, executions, times, SMMs."""
    found = _pairs(results, denominator, difference, ledger)
    if format == "csv":
        return records([flat(pair) for pair in found])
    first, second = sides(denominator, subject(results))
    by = f"{first.removeprefix('our ')} by", "BP by" if second == "BP" else "other by"
    ends, intervals = interval_columns(found)
    header = ["ratio", *ends, "p", "verdict", by[0], "seconds", by[1], "seconds", "SMMs (counted)"]
    body = [
        [
            *case_cells(pair),
            short(pair["ratio"]),
            *ends,
            "-" if pair["p"] is None else f"{pair['p']:.2g}",
            verdict_words(pair),
            chosen_words(pair),
            scaled(pair["median"]),
            chosen_words(pair, "other_"),
            scaled(pair["other_median"]),
            short(pair["smm_ratio"]),
        ]
        for pair, ends in zip(found, intervals, strict=True)
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
        body = [[*map((row | end).get, names), notes_of(row)] for row, end in zip(rows, ends, strict=True)]
        return layout([*names, "notes"], body, format)
    header = ["algorithm", "execution", "workers", "seconds"]
    header += [WITHIN, "MM", "SMM", "SMM on workers", "GB/s", "roofline", "notes"]
    body = [
        [
            *case_cells(row),
            row["algorithm"],
            row["execution"] + (f" ({row['variant']})" if row.get("variant") else ""),
            f"{team(row)} (auto)" if row.get("auto") else team(row),
            scaled(row["median"]),
            " to ".join(map(scaled, row["ci95"] or (None,))),
            *(short(row.get(name), whole=True) for name in ("mm", "smm", "smm_workers")),
            short(quotient(row.get("bandwidth"), 1e9)),
            "-" if row.get("roofline") is None else f"{row['roofline']:.0%}",
            notes_of(row),
        ]
        for row in rows
    ]
    return listing(header, body, format)


def speedups(results: Results, format: str = "text") -> str:
    """:func:`pcsim.results.pairs.scaling` as a table."""
    found = scaling(results)
    if format == "csv":
        return records(found)
    backends = {gain["backend"] for gain in found}
    body = [
        [
            *case_cells(gain),
            f"{gain['workers']} ({gain['backend']})" if len(backends) > 1 else gain["workers"],
            short(gain["speedup"]),
            between(gain["low"], gain["high"]),
            f"{gain['efficiency']:.0%}",
            short(gain["counted"]),
        ]
        for gain in found
    ]
    header = ["workers", "speedup", "interval", "efficiency", "counted"]
    said = f"speedup = seconds of iPC with 1 worker ÷ with more; {basis_words(results)}"
    return f"{said}\n\n{listing(header, body, format)}"


def ladder_table(results: Results, format: str = "text") -> str:
    """:func:`pcsim.results.pairs.ladder` as a table: a line per cell, a column per execution of BP, the fastest with
    ``*``, and below it the variants of each execution. CSV has a line per execution."""
    found = ladder(results)
    if format == "csv":
        return records([flat(rung) for rung in found])
    executions = bp_executions(results)
    lines: dict[Cell, list[Any]] = {}
    for rung in found:
        text = scaled(rung["median"]) + "‡" * (rung["modes"] is not None) + (" *" if rung["best"] else "  ")
        lines.setdefault(cell_of(rung), case_cells(rung)).append("error  " if rung["error"] else text)
    if format == "markdown":
        lines = {cell: [str(entry).rstrip() for entry in line] for cell, line in lines.items()}
    header = [name if format == "markdown" else f"{name}  " for name in executions]
    said = "median seconds per complete weight update of BP by execution; * the fastest of the cell (best-bp)"
    ran = {
        name: sorted({r["variant"] for r in found if r["execution"] == name and r["variant"]}) for name in executions
    }
    variants = [f"{name}: {', '.join(known)}" for name, known in ran.items() if known]
    notes = [f"variants: {'; '.join(variants)}"] if variants else []
    notes += ["‡ two modes"] if any(rung["modes"] for rung in found) else []
    return "\n\n".join([said, listing(header, list(lines.values()), format), *notes])


def gains_table(results: Results, format: str = "text") -> str:
    """:func:`pcsim.results.gains.gains` as a table: seconds of BP and of iPC in each form, and the factors."""
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
    shared = [name for name in SHARED if any(gain[_field(name)] for gain in found)]
    body = [
        [
            *case_cells(gain),
            "-" if gain["workers"] is None else gain["workers"],
            *(scaled(gain[name]) for name in times.values()),
            *(entry for name in factors for entry in factor(gain, name)),
            *(
                entry
                for name in shared
                for entry in (scaled(gain[_field(name)]), *factor(gain, f"{_field(name)}_gain"))
            ),
        ]
        for gain in found
    ]
    header = ["P", *times, *(entry for name in factors for entry in (name, "interval"))]
    header += [entry for name in shared for entry in (name, "gain", "interval")]
    said = (
        "median seconds per complete weight update of BP and of iPC, unfused (three passes per layer) and fused (one),"
        " on 1 worker and on P.\nfusion = unfused, 1 ÷ fused, 1; layers = unfused, 1 ÷ unfused, P (parallel layers"
        f" alone); both = unfused, 1 ÷ fused, P; {basis_words(results)}"
    )
    if shared:
        said += (
            f"\n{', '.join(shared)}: iPC whose workers share layers, as many as were fastest; gain = unfused, 1 (at"
            " larger batches fused, 1) ÷ it"
        )
    return f"{said}\n\n{listing(header, body, format)}"


def _field(execution: str) -> str:
    return execution.replace("-", "_")


def step_costs(results: Results, format: str = "text") -> str:
    """:func:`pcsim.results.gains.steps` as a table."""
    found = steps(results)
    if format == "csv":
        return records(found)
    body = [
        [
            *case_cells(step),
            step["algorithm"],
            by_whom(step["execution"], team(step)),
            step["steps"] if isinstance(step["steps"], int) else short(step["steps"]),
            scaled(step["seconds"]),
            scaled(step["ipc"]),
            *factor(step, "ratio", ""),
        ]
        for step in found
    ]
    header = ["algorithm", "execution", "steps", "seconds per step", "iPC's", "ratio", "interval"]
    said = (
        "ratio = seconds per inference step ÷ seconds per step of iPC with the same execution and workers;"
        f" PC takes T + 1 steps per weight update, Z-IL one per layer; {basis_words(results)}"
    )
    return f"{said}\n\n{listing(header, body, format)}"


def summary(
    results: Results,
    denominator: str = HEADLINE,
    difference: float = DIFFERENCE,
    ledger: Ledger | None = None,
) -> list[str]:
    """The results in a few sentences, with losses, failures and doubts; the last says what the run can resolve."""
    found = _pairs(results, denominator, difference, ledger)
    first, second = sides(denominator, subject(results))
    lines = [definition(denominator, results) + "."]
    for kind in dict.fromkeys(pair["kind"] for pair in found):
        some = [pair for pair in found if pair["kind"] == kind]
        names = (f"{first} faster", f"{second} faster", alike(difference), UNRESOLVED)
        won, lost, same, open_ = ([pair for pair in some if pair["verdict"] == verdict] for verdict in names)
        count = f"{first} is faster in {len(won)}, {second} in {len(lost)}; {len(same)} show {alike(difference)}"
        lines.append(f"Of {len(some)} {kind} cells {count}, {len(open_)} are {UNRESOLVED}.")
        some.sort(key=lambda pair: pair["ratio"])
        lines += [f"Best ratio: {_in_words(some[0])}.", f"Worst ratio: {_in_words(some[-1])}."]
        places = "; ".join(f"{place_words(pair)} ({short(pair['ratio'])})" for pair in lost)
        loser = first.removeprefix("our ")
        lines.append(f"{loser} loses at {places}." if lost else f"{loser} loses in none of them.")
    last = resolves(found)
    return [*lines, *promises(found), *source_and_doubts(results), *([last] if last else [])]


def source_and_doubts(results: Results) -> list[str]:
    """Where the results come from, and what in them is unsteady, failed or else to be known."""
    lines = [f"Source: {machine(results)}."]
    runs = [run for rows in cells(results).values() for name in names_of(rows) for run in merged(rows, name)]
    shaky = [who(run) for run in runs if unsteady(run)]
    if shaky:
        lines.append(f"Unsteady, to be measured again on a quieter machine or for longer: {first_few(shaky)}.")
    broken = [f"{who(row)} ({row['error']})" for row in failed(results)]
    if broken:
        lines.append(f"Failed: {first_few(broken)}.")
    return lines + [f"Note: {text}." for text in results.warnings]


def _shown(pair: Mapping[str, Any] | None, broken: bool) -> str:
    if pair is None:
        return "error" if broken else "-"
    return ("~" if undecided(pair["verdict"]) else "") + short(pair["ratio"]) + signs(pair)


def _pairs(results: Results, denominator: str, difference: float, ledger: Ledger | None) -> list[dict[str, Any]]:
    return pairs(results, denominator, difference, ledger.ratios if ledger else None)


def _fastest_of(pair: Mapping[str, Any] | None) -> str:
    return "-" if pair is None else f"{pair['other_execution']} {team(pair, 'other_')}"


def _in_words(pair: Mapping[str, Any]) -> str:
    times = f"{scaled(pair['median'])} against {scaled(pair['other_median'])}"
    return f"{short(pair['ratio'])}{in_brackets(pair)} at {place_words(pair)}: {times} with {pair['other_execution']}"
