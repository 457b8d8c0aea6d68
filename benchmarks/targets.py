"""The figures this benchmark is held to, and which of them a results file reaches.

    python benchmarks/targets.py FILE.jsonl [--format markdown]

``must`` is what has to be reached, ``aim`` what is hoped for. A ratio is seconds per complete weight update of iPC ÷
that of what is named; a share is the part of a ceiling measured beside the cell. ``-`` stands where the file has no
such cell. Exit code 0 whatever was reached; 2 for a file that cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple, NoReturn

from pcsim import tables
from pcsim.errors import InputError
from pcsim.report import words
from pcsim.results import gains, pairs, ranks
from pcsim.results.files import Results, latest, read

Row = dict[str, Any]
Chosen = Callable[[pairs.Cell], bool]


class Reached(NamedTuple):
    """A number reached, its 95 % interval (None: not known), and whose it is; ``short_of`` says what spoils it."""

    value: float
    low: float | None
    high: float | None
    where: str
    short_of: str = ""


class Target(NamedTuple):
    """A figure: its name, its two bounds (None: none), how it is read, and whether more is better (shares) or less."""

    name: str
    must: float | None
    aim: float | None
    reach: Callable[[Results], Reached | None]
    more: bool = False
    strict: bool = False  # below the bound, not at it


def at(depth: int, width: int, batch: int = 1) -> Chosen:
    """One cell."""
    return lambda cell: (cell.depth, cell.width, cell.batch) == (depth, width, batch)


def deep(cell: pairs.Cell) -> bool:
    """The cells in which iPC is to be faster than any BP."""
    return cell.batch == 1 and cell.depth >= 4 and cell.width >= 32


def rows_of(table: Callable[..., list[Row]], results: Results, *arguments: str) -> list[Row]:
    """The rows of a table; none where the file has nothing for it."""
    try:
        return table(results, *arguments)
    except InputError:
        return []


def ratios(results: Results, denominator: str, chosen: Chosen) -> list[Row]:
    """The measured pairs of the chosen cells; none where the file has no such denominator."""
    rows = [row for row in results.rows if row["kind"] == "measured" and chosen(pairs.cell_of(row))]
    return rows_of(pairs.pairs, replace(results, rows=rows), denominator)


def name_of(row: Row) -> str:
    """A cell, shortly."""
    return f"{row['depth']} × {row['width']}" + ("" if row["batch"] == 1 else f", batch {row['batch']}")


def worst(found: Iterable[Reached], more: bool = False) -> Reached | None:
    """The highest (of shares: the lowest), saying of how many."""
    found = list(found)
    if not found:
        return None
    least = (min if more else max)(found, key=lambda reached: reached.value)
    return least._replace(where=f"{least.where}; worst of {len(found)}") if len(found) > 1 else least


def ratio(denominator: str, chosen: Chosen) -> Callable[[Results], Reached | None]:
    """The ratio of the chosen cells; of several the worst."""

    def reach(results: Results) -> Reached | None:
        found = ratios(results, denominator, chosen)
        by = [f"{pair['other_execution']} {pair['other_workers']}" for pair in found]
        return worst(
            Reached(pair["ratio"], pair["low"], pair["high"], f"{name_of(pair)} (against {name})")
            for pair, name in zip(found, by, strict=True)
        )

    return reach


def every_deep(results: Results) -> Reached | None:
    """The worst ratio to the best BP, and in how many cells it is below 1: one without a ratio counts as not."""
    found = ratios(results, "best-bp", deep)
    cells = [cell for cell in pairs.cells(results) if cell.kind == "measured" and deep(cell)]
    if not found:
        return None
    pair = max(found, key=lambda pair: pair["ratio"])
    below = sum(pair["ratio"] < 1 for pair in found)
    lacking = "" if len(found) == len(cells) else f"; {len(cells) - len(found)} without a ratio"
    where = f"worst: {name_of(pair)}; {below} of {len(cells)} below 1{lacking}"
    return Reached(pair["ratio"], pair["low"], pair["high"], where, lacking)


def median_deep(results: Results) -> Reached | None:
    """The median over cells of the ratio to the best BP."""
    found = [pair["ratio"] for pair in ratios(results, "best-bp", deep)]
    return Reached(median(found), None, None, f"{len(found)} cells") if found else None


def share(above: str, below: str | None, chosen: Chosen) -> Callable[[Results], Reached | None]:
    """A field of iPC's row (÷ another), in the chosen cells that have it: the worst, its interval that of the time."""

    def reach(results: Results) -> Reached | None:
        found = []
        for cell, rows in pairs.cells(results).items():
            row = pairs.representative(rows) if cell.kind == "measured" and chosen(cell) else None
            if row is None or row.get(above) is None or (below and not row.get(below)):
                continue
            value = row[above] / (row[below] if below else 1)
            # What is counted per update is fixed, so the share is as uncertain as the time.
            ends = pairs.interval(row)
            low, high = (value * row["median"] / end for end in reversed(ends)) if ends else (None, None)
            found.append(Reached(value, low, high, name_of(row)))
        return worst(found, more=True)

    return reach


def step(algorithm: str) -> Callable[[Results], Reached | None]:
    """Seconds of an inference step of PC or Z-IL ÷ those of a step of iPC: the worst."""

    def reach(results: Results) -> Reached | None:
        return worst(
            Reached(s["ratio"], s["low"], s["high"], f"{name_of(s)}, {s['execution']} on {s['workers']}")
            for s in rows_of(gains.steps, results)
            if s["algorithm"] == algorithm and s["kind"] == "measured"
        )

    return reach


def ranks_for_threads(chosen: Chosen) -> Callable[[Results], Reached | None]:
    """iPC on two ranks ÷ iPC on two threads, in the chosen cells that have both: the worst."""

    def reach(results: Results) -> Reached | None:
        found = []
        for cell, rows in pairs.cells(results).items():
            two = [row for row in pairs.merged(rows, "ipc", ["layer-parallel"]) if row["workers"] == 2]
            ranks = [row for row in two if row.get("ranks") == 2]
            threads = [row for row in two if row["backend"] == "threads"]
            if cell.kind == "measured" and chosen(cell) and ranks and threads:
                value, low, high = pairs.compared(ranks[0], threads[0])[:3]
                found.append(Reached(value, low, high, name_of(cell._asdict())))
        return worst(found)

    return reach


def exchange_cost(results: Results) -> Reached | None:
    """iPC on two ranks that have a core each: what a step's exchange costs ÷ the latency of its message, the worst."""
    return worst(
        Reached(point["handover_latencies"], None, None, name_of(point))
        for point in rows_of(ranks.exchanges, results)
        if (point["algorithm"], point["workers"], point["ranks"]) == ("ipc", 2, 2)
        and not point["oversubscribed"]
        and point["handover_latencies"] is not None
    )


def messages_per_pair(results: Results) -> Reached | None:
    """Messages of iPC per weight update and pair of neighbouring ranks, whatever the depth: the most."""
    return worst(
        Reached(point["messages"] / (point["ranks"] - 1), None, None, f"{name_of(point)}, {point['ranks']} ranks")
        for point in rows_of(ranks.exchanges, results)
        if point["algorithm"] == "ipc" and point["messages"] is not None and point["ranks"] > 1
    )


PEER = "fastest peer's iPC"
TARGETS = (
    Target("batch 1, depth ≥ 4, width ≥ 32: iPC ÷ best BP, every cell", 1, None, every_deep, strict=True),
    Target("batch 1, depth ≥ 4, width ≥ 32: iPC ÷ best BP, median", None, 0.45, median_deep),
    Target("batch 1, 32 × 1024: iPC ÷ best BP", 0.60, 0.45, ratio("best-bp", at(32, 1024))),
    Target("batch 1, 32 × 1024: iPC ÷ torch BP", 0.20, 0.14, ratio("torch", at(32, 1024))),
    Target("batch 1, 32 × 1024: iPC ÷ jax BP", 0.35, 0.25, ratio("jax", at(32, 1024))),
    Target("batch 1, 32 × 1024: iPC ÷ numpy BP", 0.09, 0.06, ratio("numpy", at(32, 1024))),
    Target("batch 1, 32 × 64: iPC ÷ jax BP", 0.40, 0.20, ratio("jax", at(32, 64))),
    Target("batch 1, 4 × 64: iPC ÷ jax BP", 0.75, 0.45, ratio("jax", at(4, 64))),
    Target(f"batch 1, 32 × 1024: iPC ÷ {PEER}", 0.33, 0.24, ratio("peer-ipc", at(32, 1024))),
    Target(f"batch 1, 32 × 64: iPC ÷ {PEER}", 0.12, 0.07, ratio("peer-ipc", at(32, 64))),
    Target(f"batch 1, 32 × 256: iPC ÷ {PEER}", 0.35, 0.22, ratio("peer-ipc", at(32, 256))),
    Target(
        "batch 1, width ≥ 1024: share of the bandwidth ceiling",
        0.85,
        0.95,
        share("roofline", None, lambda cell: cell.batch == 1 and cell.width >= 1024),
        more=True,
    ),
    Target(
        "batch 1, widths 128 to 512 in cache: flop rate ÷ the same kernel's on one tile",
        0.5,
        0.8,
        share("flop_rate", "tile_rate", lambda cell: cell.batch == 1 and cell.width in (128, 256, 512)),
        more=True,
    ),
    Target(
        "batch 64, 32 × 1024: flop rate ÷ GEMM's", 0.80, 0.90, share("flop_rate", "gemm_rate", at(32, 1024, 64)), True
    ),
    Target(
        "batch 256, 32 × 1024: flop rate ÷ GEMM's", 0.80, 0.90, share("flop_rate", "gemm_rate", at(32, 1024, 256)), True
    ),
    Target("batch 64, 32 × 1024: iPC ÷ jax BP", 0.80, 0.70, ratio("jax", at(32, 1024, 64))),
    Target("batch 250, 6 × 64: iPC ÷ best BP", 1, 0.7, ratio("best-bp", at(6, 64, 250)), strict=True),
    Target("PC: an inference step ÷ iPC's", 1.05, 1.0, step("pc")),
    Target("Z-IL: an inference step ÷ iPC's", 1.05, 1.0, step("zil")),
    Target("batch 1, 32 × 1024: iPC on 2 ranks ÷ on 2 threads", 1.15, 1.0, ranks_for_threads(at(32, 1024))),
    Target("batch 1, 32 × 256: iPC on 2 ranks ÷ on 2 threads", 1.5, 1.0, ranks_for_threads(at(32, 256))),
    Target("iPC on 2 ranks: exchange of a step ÷ one-way latency", 2, 1, exchange_cost),
    Target("iPC: messages per pair of ranks and update", 2, 2, messages_per_pair),
)


def answer(target: Target, bound: float | None, reached: Reached | None) -> str:
    """Whether a bound is reached: yes, no, with ``~`` where the interval holds the bound; - where nothing is asked."""
    if bound is None or reached is None:
        return "-"
    value = reached.value
    met = value >= bound if target.more else value < bound if target.strict and bound == target.must else value <= bound
    doubtful = reached.low is not None and reached.high is not None and reached.low <= bound <= reached.high
    return ("yes" if met and not reached.short_of else "no") + ("~" if doubtful else "")


def table(results: Results, format: str = "text") -> str:
    """A line for each figure: its bounds, what the file reaches, the interval, and whether that is enough."""
    header = ["figure", "must", "aim", "reached", "95 % interval", "must?", "aim?", "cell"]
    sign, body = {True: "≥", False: "≤"}, []
    for target in TARGETS:
        reached = target.reach(results)
        bounds = [
            "-" if bound is None else f"{'<' if target.strict and bound == target.must else sign[target.more]} {bound}"
            for bound in (target.must, target.aim)
        ]
        answers = [answer(target, bound, reached) for bound in (target.must, target.aim)]
        if reached is None:
            body.append([target.name, *bounds, "-", "-", *answers, "-"])
        else:
            ends = "-" if reached.low is None else f"{reached.low:.3g} to {reached.high:.3g}"
            body.append([target.name, *bounds, f"{reached.value:.3g}", ends, *answers, reached.where])
    text = tables.layout(header, body, format)
    if format == "csv":
        return text
    return f"{text}\n\n~ the 95 % interval holds the bound\n{words.machine(results)}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = _Parser(prog="targets.py", description="the figures this benchmark is held to, and which are reached")
    parser.add_argument("results", metavar="FILE.jsonl")
    parser.add_argument("--format", choices=tables.FORMATS, default="text")
    given = parser.parse_args(arguments)
    try:
        results = read(given.results)
        results.rows[:] = latest(results.rows)
        text = table(results, given.format)
    except InputError as error:
        print(f"targets.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for warning in results.warnings:
        print(f"targets.py: {warning}", file=sys.stderr)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
