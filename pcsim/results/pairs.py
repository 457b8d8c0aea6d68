"""Which rows of a results file are compared, and what comes out: ratios, and where they come from.

Pure functions of :class:`pcsim.results.files.Results`, plain data out: each returns a list of mappings that begin with
the fields of :class:`Cell`. It must never measure anything, look at a clock or at this machine, nor lay out text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..checks import is_whole
from ..errors import InputError
from .comparison import Compared, compared, interval, opposed, unsteady
from .fields import USUAL, Row, names_of, value_of
from .files import Results, configuration, samples
from .modes import two_modes
from .statistics import Spread, logs_of, resolution
from .verdicts import DIFFERENCE, WITHIN, verdict_of

HEADLINE = "best-bp"

APART = ("pipeline-async",)  # executions that learn from late gradients: none of them ever stands for BP

TITLES = {"ipc": "iPC", "pc": "PC", "zil": "Z-IL", "bp": "BP"}  # for people; others go by their names

# The executions that stand for iPC.
FUSED = ("serial", "layer-parallel", "intra-layer", "data-parallel", "hybrid")

UNFUSED = ("serial-unfused", "layer-parallel-unfused")  # iPC with three passes per layer in place of one

LADDER = ("serial", "intra-layer", "blas", "pipeline", "data-parallel", "numpy", "torch", "jax")  # BP, in TRUST's order

RANKS = "mpi"  # the backend whose workers are ranks, which share nothing and send messages

_RATES = ("flop_rate", "bandwidth", "roofline", "tile_rate", "gemm_rate", "drift", "latency", "handover_seconds")


class Cell(NamedTuple):
    """What two rows must share to be compared.

    ``delay`` is the latency, in seconds, that was added to every message on purpose: None where nothing was. ``net``
    names the sizes of a net whose layers are not all ``width`` wide; ``steps_per_batch`` is for how many updates iPC
    stays on a batch (None: it never changes), each of which begins with a ``start``.
    """

    kind: str
    dtype: str
    activation: str
    batch: int
    depth: int
    width: int
    delay: float | None = None
    net: str | None = None
    steps_per_batch: int | None = None
    start: str = "forward"
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    data: str = "random"

    @property
    def table(self) -> Cell:
        """What the cells of one table share: all but depth and width, or all but which unequal net it is."""
        return self._replace(depth=0, width=0, net=self.net and "-")

    @property
    def place(self) -> tuple[Any, ...]:
        """Where it stands among others; None comes first."""
        optimizer = self.optimizer != "sgd", self.optimizer, self.momentum, self.weight_decay
        changing = self.steps_per_batch or 0, self.start, self.data != "random", self.data
        return (*self[:6], self.net or "", *optimizer, *changing, self.delay is not None, self.delay or 0.0)


def cell_of(row: Mapping[str, Any]) -> Cell:
    """The cell of a row or of a pair."""
    known = {name: row[name] for name in Cell._fields[:6]} | {name: value_of(row, name) for name in USUAL}
    return Cell(**known, delay=row.get("delay"))


def cells(results: Results) -> dict[Cell, list[Row]]:
    """The rows of each cell, as in the file; sorted by kind, net type, batch, depth, width, net, how batches change,
    and delay.

    Raises :class:`InputError` where there are none.
    """
    found: dict[Cell, list[Row]] = {}
    for row in results.rows:
        found.setdefault(cell_of(row), []).append(row)
    if not found:
        raise InputError(f"{results.path}: holds no rows; measure something first")
    return dict(sorted(found.items(), key=lambda item: item[0].place))


def failed(results: Results) -> list[Row]:
    """Rows with an error, without those that another row of the same configuration and process made good."""

    def who(row: Row) -> tuple[Any, ...]:
        return configuration(row), row["kind"], row.get("launch") or 0

    good = {who(row) for row in results.rows if row["error"] is None}
    return [row for row in results.rows if row["error"] is not None and who(row) not in good]


def subject(results: Results) -> str:
    """The algorithm whose times are divided by BP's: iPC, or in a file without it the only other one that is not BP."""
    there = [name for name in names_of(results.rows, ()) if name != "bp"]
    return there[0] if len(there) == 1 else "ipc"


def representative(rows: Iterable[Row], algorithm: str = "ipc") -> Row | None:
    """The row that stands for iPC (or the ``subject``) in a cell: the fastest of our fused ones, on any backend and
    workers.

    BP is represented alike (:func:`best_bp`). Which number of workers ``--workers auto`` settled on beforehand is a
    mark of its row (``auto``) and decides nothing here: a short trial may have been wrong. Neither a peer's iPC nor
    unfused rows ever stand for iPC. None where the cell has no time of it. Launches are put together (see
    :func:`merged`); a ratio takes the choice of :func:`pcsim.results.comparison.opposed`, which of several processes
    does not choose on what it reports.
    """
    return fastest(merged(rows, algorithm, FUSED))


def merged(rows: Iterable[Row], algorithm: str, executions: Iterable[str] | None = None) -> list[Row]:
    """The good rows of an algorithm, one for each configuration, its launches (processes) put together.

    ``launches`` says how many there are, ``medians`` holds the median of each and ``parts`` its samples, by number;
    ``modes`` are the two groups that they fall into, if any (:func:`pcsim.results.modes.two_modes`). ``seconds`` has
    all samples one after the other. ``median`` is the geometric mean of the medians, rates are the median of the
    launches', and ``variant`` names each that ran. ``executions``, if given, are those wanted; else all but those that
    learn something else than the algorithm does (``APART``).
    """
    runs: dict[tuple[Any, ...], dict[int, Row]] = {}
    wanted = None if executions is None else set(executions)
    for row in rows:
        good = row["algorithm"] == algorithm and row["error"] is None and row["median"] is not None
        if good and (row["execution"] not in APART if wanted is None else row["execution"] in wanted):
            runs.setdefault(configuration(row), {})[row.get("launch") or 0] = row
    found = []
    for by_launch in runs.values():
        launches = [by_launch[number] for number in sorted(by_launch)]
        whole = launches[0] | {"auto": any(row.get("auto") for row in launches), "launches": len(launches)}
        whole["parts"] = {number: samples(by_launch[number]) for number in sorted(by_launch)}
        whole["medians"] = {number: by_launch[number]["median"] for number in sorted(by_launch)}
        whole["modes"] = two_modes(list(whole["medians"].values()))
        if len(launches) > 1:
            pooled = np.concatenate(list(whole["parts"].values()))
            whole |= {"seconds": pooled, "median": logs_of(np.log(list(whole["medians"].values()))).ratio}
            for name in _RATES:
                known = [row[name] for row in launches if row.get(name) is not None]
                whole |= {name: float(np.median(known))} if known else {}
            whole["warnings"] = list(dict.fromkeys(text for row in launches for text in row["warnings"]))
            whole["variant"] = ", ".join(sorted({row["variant"] for row in launches if row.get("variant")})) or None
        found.append(whole)
    return found


def peers(results: Results) -> list[str]:
    """Whose iPC, beside ours, the file holds: executions, sorted."""
    there = {row["execution"] for row in results.rows if row["algorithm"] == "ipc"}
    return sorted(there - {*FUSED, *UNFUSED})


def bp_executions(results: Results) -> list[str]:
    """The executions of BP in the file, failed ones too: in the order of ``LADDER``, then others, sorted."""
    there = {row["execution"] for row in results.rows if row["algorithm"] == "bp"}
    return [name for name in LADDER if name in there] + sorted(there - set(LADDER))


def sides(denominator: str, algorithm: str = "ipc") -> tuple[str, str]:
    """What the two sides of a ratio are called: ``("iPC", "BP")``; for peers ``("our iPC", "the peer's iPC")``."""
    if denominator == "peer-ipc":
        return "our iPC", "the peer's iPC"
    return (
        ("our iPC", f"{denominator[4:]} iPC")
        if denominator.startswith("ipc:")
        else (TITLES.get(algorithm, algorithm), "BP")
    )


def best_bp(results: Results, kind: str, rows: Iterable[Row]) -> Row | None:
    """The fastest BP among the rows of a cell on no more workers than iPC was offered in the file, threads or ranks."""
    return fastest(within(merged(rows, "bp"), _offered(results, kind)))


def pairs(
    results: Results, denominator: str = HEADLINE, difference: float = DIFFERENCE, spread: Spread | None = None
) -> list[Row]:
    """The ratio of every cell in which both iPC and the denominator have times, sorted by :class:`Cell`.

    iPC is represented by the fastest of our fused rows. The denominator is the fastest BP row of the cell
    (``"best-bp"``), BP with execution ``serial`` (``"paper-style"``), one execution of BP by name, the fastest iPC of
    another library (``"peer-ipc"``), or one execution of iPC (``"ipc:pcx"``, ``"ipc:serial-unfused"``). Both sides
    choose among the same workers: the other may use as many as the file was made with (by its header, or as iPC has
    anywhere in it), or with ``auto`` all usable cores, also where iPC did better with fewer. Workers are threads or
    ranks alike, on both sides. Of several processes each is one value, and neither side is chosen on what is reported
    (:func:`pcsim.results.comparison.opposed`); of several rows of one launch the last good one counts.

    A file without iPC, but with one other algorithm beside BP, has ratios of that one.

    Each pair holds the fields of :class:`Cell`; ``algorithm``, whose ratio it is; those of
    :class:`pcsim.results.comparison.Compared`, with ``spread`` for re-runs of another hour; ``verdict``, where
    ``difference`` is what does not matter, and ``resolves``, from which difference on the interval can tell one;
    ``execution``, ``variant``, ``backend``, ``workers``, ``ranks``, ``median`` (seconds), ``modes``, ``smm``,
    ``smm_workers`` and ``roofline`` of the iPC that was chosen most often, ``chosen``, in how many of the
    ``processes``, and under ``other_…`` the same of the denominator; the ``denominator`` asked for; ``unsteady``,
    whether one of the two times is; and two that are counted, not measured: ``smm_ratio``, for as many workers as
    there are layers, and ``counted``, for the workers that were there (the smallest ``smm_workers`` of iPC in the cell
    ÷ that of the denominator).

    Raises :class:`InputError` for an unknown denominator and for results without any pair.
    """
    others, name = _others(results, denominator), subject(results)
    found = []
    for cell, rows in cells(results).items():
        ours = merged(rows, name, FUSED)
        theirs = within(merged(rows, *others), _offered(results, cell.kind))
        if ours and theirs:
            pair = _pair(cell, ours, theirs, denominator, difference, spread)
            found.append(pair | {"counted": _counted(ours if name == "ipc" else [], pair["other_smm_workers"])})
    if not found:
        both = f"both {' and '.join(sides(denominator, name))} ({denominator})"
        raise InputError(f"{results.path}: no cell has times of {both}, so there is no ratio")
    return found


def scaling(results: Results) -> list[Row]:
    """What iPC gains by workers: seconds with 1 worker ÷ seconds with P, for each cell, backend and each P > 1.

    A backend is compared with itself: ranks with one rank, threads with one thread. Each holds the fields of
    :class:`Cell`, ``backend``, ``workers``, ``speedup``, its interval ``low``, ``high``, ``efficiency``
    (speedup ÷ P) and ``counted``: what the task graph allows, ``smm_workers`` with 1 ÷ with P (None where not counted).
    Raises :class:`InputError` where no cell has both.
    """
    found = []
    for cell, rows in cells(results).items():
        ours = merged(rows, "ipc", FUSED)
        for backend in dict.fromkeys(run["backend"] for run in ours):
            best = by_workers(run for run in ours if run["backend"] == backend)
            for count in sorted(best)[1:] if 1 in best else ():
                speedup, low, high = compared(best[1], best[count])[:3]
                gain = {"backend": backend, "workers": count, "speedup": speedup, "low": low, "high": high}
                counted = quotient(best[1].get("smm_workers"), best[count].get("smm_workers"))
                found.append(cell._asdict() | gain | {"efficiency": speedup / count, "counted": counted})
    if not found:
        raise InputError(f"{results.path}: no cell has iPC with 1 worker and with more; measure both with --workers")
    return found


def ladder(results: Results) -> list[Row]:
    """Every BP of every cell: a rung for each execution in the file, on the workers with which it is fastest, threads
    or ranks.

    Each holds the fields of :class:`Cell`, ``execution``; ``backend``, ``workers``, ``variant``, ``median``, ``modes``,
    ``low``, ``high`` (seconds; None where it has no time, the interval also without samples); ``best``, whether it is
    the cell's fastest, that is ``best-bp``; and ``error``, the message where it only failed. Workers beyond those that
    iPC was offered are left out. Raises :class:`InputError` where there is no BP.
    """
    executions = bp_executions(results)
    if not executions:
        raise InputError(f"{results.path}: holds no BP; measure it with --algorithms bp")
    broken = {(cell_of(row), row["execution"]): row["error"] for row in failed(results) if row["algorithm"] == "bp"}
    found = []
    for cell, rows in cells(results).items():
        allowed = within(merged(rows, "bp", executions), _offered(results, cell.kind))
        best = fastest([run for run in allowed if run["execution"] not in APART])
        for execution in executions:
            run = fastest([run for run in allowed if run["execution"] == execution])
            rung = {name: run and run.get(name) for name in ("backend", "workers", "variant", "median", "modes")}
            low, high = (interval(run) if run else None) or (None, None)
            rung |= {"low": low, "high": high, "best": run is not None and run is best}
            error = None if run else broken.get((cell, execution))
            found.append(cell._asdict() | {"execution": execution} | rung | {"error": error})
    return found


def quotient(above: float | None, below: float | None) -> float | None:
    """One number ÷ another; None where either is missing or the lower is 0."""
    return above / below if above is not None and below else None


def _others(results: Results, denominator: str) -> tuple[str, list[str] | None]:
    """Algorithm and executions that a denominator stands for; None for all of them."""
    bp, other = bp_executions(results), peers(results)
    named: dict[str, tuple[str, list[str] | None]] = {"best-bp": ("bp", None), "paper-style": ("bp", ["serial"])}
    named |= {name: ("bp", [name]) for name in bp}
    named |= {"peer-ipc": ("ipc", other)} if other else {}
    there = sorted({row["execution"] for row in results.rows if row["algorithm"] == "ipc"})
    named |= {f"ipc:{name}": ("ipc", [name]) for name in there}
    if denominator not in named and results.rows:
        raise InputError(f"{results.path}: no row is {denominator!r}; choose one of {', '.join(named)}")
    return named.get(denominator, ("bp", None))


def offered(results: Results) -> list[int]:
    """The numbers of workers that a file was made with, as its headers say; empty where they do not."""
    headers = [results.context, *results.resumed]
    lists = [header["offered"] for header in headers if isinstance(header.get("offered"), list)]
    return sorted({count for counts in lists for count in counts if is_whole(count)})


def _offered(results: Results, kind: str) -> float:
    """The largest number of workers that our iPC could have had, in every cell alike: which other cells are in the file
    must not matter. No limit where there is no iPC, and no header tells."""
    name = subject(results)
    rows = [r for r in results.rows if r["algorithm"] == name and r["kind"] == kind and r["execution"] in FUSED]
    cores = results.context.get("cores") if any(row.get("auto") for row in rows) else None
    counts = [row["workers"] for row in rows] + ([cores] if isinstance(cores, int) else []) + offered(results)
    return max(counts, default=float("inf"))


def within(rows: Iterable[Row], offered: float) -> list[Row]:
    """Those on no more workers than offered; what is called serial is one thread, whatever its row says."""
    return [row for row in rows if row["workers"] <= offered or row["execution"] == "serial"]


def fastest(rows: Iterable[Row]) -> Row | None:
    return min(rows, key=lambda row: row["median"], default=None)


def ranks_of(run: Mapping[str, Any]) -> int:
    """How many processes a row had; a row that does not say had one for each worker."""
    return int(run.get("ranks") or run["workers"])


def by_workers(rows: Iterable[Row]) -> dict[int, Row]:
    """The fastest row of each number of workers."""
    best: dict[int, Row] = {}
    for row in rows:
        if row["workers"] not in best or row["median"] < best[row["workers"]]["median"]:
            best[row["workers"]] = row
    return best


def _pair(
    cell: Cell, ours: list[Row], theirs: list[Row], denominator: str, difference: float, spread: Spread | None
) -> Row:
    found, mine, other = opposed(ours, theirs, spread)
    first, second = sides(denominator, mine.row["algorithm"])
    pair = cell._asdict() | {"algorithm": mine.row["algorithm"]} | found._asdict()
    pair["verdict"] = verdict_between(found, cell.kind, (f"{first} faster", f"{second} faster"), difference)
    pair["resolves"] = resolution(found.low, found.high)
    for prefix, (row, chosen) in (("", mine), ("other_", other)):
        names = ("execution", "variant", "backend", "workers", "ranks", "median", "modes", "smm", "smm_workers")
        pair |= {prefix + name: row.get(name) for name in (*names, "roofline")} | {f"{prefix}chosen": chosen}
    pair["unsteady"] = unsteady(mine.row) or unsteady(other.row)
    smms = mine.row.get("smm"), other.row.get("smm")
    return pair | {"denominator": denominator, "smm_ratio": quotient(*smms)}


def verdict_between(found: Compared, kind: str, names: tuple[str, str], difference: float = DIFFERENCE) -> str:
    """The verdict on a ratio. Nothing of a prediction or a count was drawn from chance, so it is its own interval."""
    if kind != "measured" and found.low is None:
        return verdict_of(found.ratio, found.ratio, names, difference)
    return verdict_of(found.low, found.high, names, difference, found.p if found.basis == WITHIN else None)


def _counted(ours: Iterable[Row], other: float | None) -> float | None:
    """What counting allows on the workers that a cell has: makespan of iPC ÷ that of the other."""
    known = [run["smm_workers"] for run in ours if run.get("smm_workers")]
    return quotient(min(known, default=None), other)
