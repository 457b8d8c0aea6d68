"""Sweeps of predictions: iPC against every BP over depths, widths, batches, workers, and figures of the machine.

What comes out are cases and maps of them, tables, and rows of kind "predicted" for a results file. Each says which
machine it is of, and whether that was calibrated. Nothing here prices a job, measures, or draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise, product
from typing import Any

from .algorithms import BP, IPC, PC, Algorithm
from .context import capture
from .errors import InputError
from .machine import FIGURES, Machine
from .plans import ORDERS, Net
from .simulate import MICRO_BATCHES, Prediction, backprops, layers_on_workers, simulate, timeline
from .tables import layout, scaled, short
from .tasks import TaskGraph
from .timeline import Timeline

EXECUTIONS = ("serial", "intra-layer", "pipeline", "data-parallel")  # of BP
# What a factor of latency changes: the ways from worker to worker, whichever the machine has.
LATENCY = ("hand-over latency", "barrier", "message latency", "message overhead")
BANDWIDTH = ("memory bandwidth",)
MAPS = {"depth-width": ("depth", "width"), "workers-latency": ("workers", "latency")}
RATIO = "ratio = seconds per complete weight update of iPC ÷ that of BP; below 1, iPC is faster"
_ITEMS = {4: "float32", 8: "float64"}


@dataclass(frozen=True)
class How:
    """What a sweep is about beside sizes: who is set against BP, which BPs there are, and how a pipeline goes.

    ``micro_batches``: None for the best number of them.
    """

    algorithms: tuple[Algorithm, ...] = (IPC(),)
    executions: tuple[str, ...] = EXECUTIONS
    ranks: int | None = None
    micro_batches: int | None = None
    order: str = "split"

    def __post_init__(self) -> None:
        for name in self.executions:
            if name not in EXECUTIONS:
                raise InputError(f"execution {name!r} of BP is unknown: choose from {', '.join(EXECUTIONS)}")
        if self.order not in ORDERS:
            raise InputError(f"order {self.order!r} is unknown: choose from {', '.join(ORDERS)}")
        if not self.algorithms or not self.executions:
            raise InputError("a sweep needs an algorithm, and an execution of BP to hold it against")


@dataclass(frozen=True)
class Case:
    """One net on no more than so many workers: ``runs`` of those who are set against BP, and ``bps``, the fastest of
    each execution, of which the first is serial (the paper's setting). ``latency`` and ``bandwidth`` are the factors by
    which the machine was changed.
    """

    net: Net
    workers: int
    machine: str
    runs: tuple[Prediction, ...]
    bps: tuple[Prediction, ...]
    algorithms: tuple[Algorithm, ...] = (IPC(),)  # of the runs
    executions: tuple[str, ...] = EXECUTIONS  # of BP, that count
    latency: float = 1.0
    bandwidth: float = 1.0

    @property
    def depth(self) -> int:
        """L."""
        return self.net.depth

    @property
    def width(self) -> int:
        """Of all layers."""
        return self.net.sizes[-1]

    @property
    def batch(self) -> int:
        """Data points in an update."""
        return self.net.batch

    @property
    def name(self) -> str:
        """The net in words."""
        return f"{self.depth} × {self.width}, batch {self.batch}"

    @property
    def best(self) -> Prediction:
        """The fastest BP of the executions that count (``best-bp``)."""
        counted = [bp for bp in self.bps if bp.execution in self.executions]
        if not counted:
            names = ", ".join(self.executions)
            raise InputError(f"BP by {names} does not fit {self.name} on {self.workers} workers: add an execution")
        return min(counted, key=lambda bp: bp.seconds)

    @property
    def ratio(self) -> float:
        """Of the first of ``runs`` to ``best``."""
        return self.runs[0].seconds / self.best.seconds

    @property
    def paper_style(self) -> float:
        """The same to serial BP."""
        return self.runs[0].seconds / self.bps[0].seconds

    @property
    def mark(self) -> str:
        """What must stand beside the ratio: see ``Prediction.mark``."""
        return next((p.mark for p in (self.runs[0], self.best) if p.mark), "")


def changed(machine: Machine, words: Iterable[str]) -> Machine:
    """The machine with figures changed, each said as ``"memory bandwidth=2"``; its name says so."""
    for word in words:
        name, sign, text = word.rpartition("=")
        try:
            factor = float(text)
        except ValueError:
            sign = ""
        if not sign or not 0 < factor < float("inf"):
            raise InputError(f"{word!r}: say which figure and by what factor, as in 'memory bandwidth=2'")
        name = name.strip()
        machine = replace(machine.with_figure(name, factor), name=f"{machine.name}, {name} × {factor:g}")
    return machine


def with_factors(machine: Machine, latency: float = 1.0, bandwidth: float = 1.0) -> Machine:
    """The machine with all its latencies, and the bandwidth of its memory, times a factor."""
    for names, factor in ((LATENCY, latency), (BANDWIDTH, bandwidth)):
        for name in names if factor != 1 else ():
            machine = FIGURES[name](machine, factor)
    return machine


def check_workers(machine: Machine, workers: Iterable[int], ranks: int | None = None) -> None:
    """InputError where the machine has fewer workers, or ranks would have none."""
    for count in workers:
        if machine.workers is not None and count > machine.workers:
            raise InputError(f"--workers: {count} are more than the {machine.workers} of machine {machine.name}")
        if ranks is not None and ranks > count:
            raise InputError(f"--ranks: {ranks} ranks for {count} workers: each rank has at least one")


def default_workers(machine: Machine, most: int = 64) -> list[int]:
    """All that the machine has; ``most`` where it has no end."""
    return [min(machine.workers or most, most)]


def case(
    machine: Machine, net: Net, workers: int, how: How | None = None, fewer: Iterable[int] = (), known: Any = None
) -> Case:
    """Predict one net on no more than so many workers: who does better with fewer takes fewer, on both sides.

    Looked at are all of them, one, a node's, and ``fewer``. ``known``: a dictionary of what was predicted before.
    """
    how = how or How()
    node = machine.sockets * machine.cores if machine.cores else workers
    counts = sorted({count for count in (1, node, *fewer, workers) if count <= workers})
    known = {} if known is None else known
    for count in counts:
        if (machine.name, net, count) not in known:
            known[machine.name, net, count] = _on(machine, net, count, how)
    found = [known[machine.name, net, count] for count in counts]
    runs = [min(alike, key=lambda run: run.seconds) for alike in zip(*(runs for runs, _ in found), strict=True)]
    bps: dict[str, Prediction] = {}
    for bp in (bp for _, several in found for bp in several):
        if bp.execution not in bps or bp.seconds < bps[bp.execution].seconds:
            bps[bp.execution] = bp
    return Case(net, workers, machine.name, tuple(runs), tuple(bps.values()), how.algorithms, how.executions)


def _on(machine: Machine, net: Net, workers: int, how: How) -> tuple[list[Prediction], list[Prediction]]:
    """Who is held against BP, and every BP, on so many workers."""
    ranks = how.ranks and min(how.ranks, workers)
    runs = [layers_on_workers(algorithm, net, machine, workers, ranks) for algorithm in how.algorithms]
    bps = backprops(net, machine, workers, ranks)
    if how.micro_batches or how.order != "split":
        for number, bp in enumerate(bps):
            if bp.execution == "pipeline":
                bps[number] = simulate(
                    BP(), net, machine, "pipeline", bp.workers, ranks=ranks and min(ranks, bp.workers),
                    micro_batches=how.micro_batches or bp.micro_batches or MICRO_BATCHES, order=how.order,
                )  # fmt: skip
    return runs, bps


def sweep(
    machine: Machine,
    depths: Sequence[int],
    widths: Sequence[int],
    batches: Sequence[int] = (1,),
    workers: Sequence[int] = (),
    *,
    how: How | None = None,
    latencies: Sequence[float] = (1.0,),
    bandwidths: Sequence[float] = (1.0,),
    item: int = 4,
    on_progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Iterator[Case]:
    """Predict every combination; ``item``: bytes of an element. ``workers``: none for ``default_workers``."""
    workers = list(workers) or default_workers(machine)
    check_workers(machine, workers, how.ranks if how else None)
    machines = {(a, b): with_factors(machine, a, b) for a in latencies for b in bandwidths}
    all_of_them = list(product(batches, depths, widths, latencies, bandwidths, sorted(workers)))
    known: dict[tuple[float, float], dict] = {factors: {} for factors in machines}
    for number, (batch, depth, width, latency, bandwidth, count) in enumerate(all_of_them):
        on_progress(f"depth {depth}, width {width}, batch {batch}, {count} workers", number, len(all_of_them))
        net = Net((width,) * (depth + 1), batch, item)
        factors = latency, bandwidth
        found = case(machines[factors], net, count, how, workers, known[factors])
        yield replace(found, latency=latency, bandwidth=bandwidth)


@dataclass(frozen=True)
class Map:
    """Ratios over two sizes: ``at[row, column]`` is the case there. ``title`` says what all of them share."""

    title: str
    over: tuple[str, str]
    rows: tuple[float, ...]
    columns: tuple[float, ...]
    at: Mapping[tuple[float, float], Case] = field(repr=False)

    def crossings(self) -> list[tuple[float, float, float]]:
        """(row, column before, column after) between which the ratio goes through 1."""
        found = []
        for row in self.rows:
            there = [column for column in self.columns if (row, column) in self.at]
            for before, after in pairwise(there):
                if (self.at[row, before].ratio < 1) != (self.at[row, after].ratio < 1):
                    found.append((row, before, after))
        return found


def maps(cases: Sequence[Case], over: tuple[str, str] = MAPS["depth-width"]) -> list[Map]:
    """Crossover maps of a sweep: one for each combination of what is not ``over``."""
    names = [name for name in ("depth", "width", "batch", "workers", "latency", "bandwidth") if name not in over]
    groups: dict[tuple, list[Case]] = {}
    for one in cases:
        groups.setdefault(tuple(getattr(one, name) for name in names), []).append(one)
    found = []
    for values, inside in groups.items():
        axes = [tuple(sorted({getattr(one, name) for one in inside})) for name in over]
        place = {(getattr(one, over[0]), getattr(one, over[1])): one for one in inside}
        plain = zip(names, values, strict=True)
        told = [f"{n} × {v:g}" if n in ("latency", "bandwidth") else _told(n, v) for n, v in plain if _worth(n, v)]
        found.append(Map(", ".join(told), over, axes[0], axes[1], place))
    return found


def _worth(name: str, value: float) -> bool:
    return name not in ("latency", "bandwidth") or value != 1


def _told(name: str, value: float) -> str:
    return f"{value:g} workers" if name == "workers" else f"{name} {value:g}"


# What is shown


def source(machine: Machine, validation: str = "") -> str:
    """The line that stands over every table and under every figure: machine, mark, report card."""
    text = f"machine {machine.name} ({_state(machine)}), predicted"
    return f"{text}; {_card(machine, validation)}" if validation else text


def _as_measured(machine: Machine) -> bool:
    """Whether the machine is that of its file, not scaled in cores and with its own figures."""
    return machine.name == machine.source.get("name", machine.name)


def _state(machine: Machine) -> str:
    if not machine.calibrated:
        return "not calibrated"
    return "calibrated" if _as_measured(machine) else "calibrated, then changed"


def _card(machine: Machine, validation: str) -> str:
    return validation if _as_measured(machine) else f"{validation}, of the machine as it was measured"


def table(cases: Sequence[Case], machine: Machine, format: str = "text", validation: str = "") -> str:
    """A line for each case and algorithm. CSV has plain seconds, and its first lines begin with ``#``."""
    several = any(len(one.runs) > 1 for one in cases)
    known = any(run.energy is not None for one in cases for run in one.runs)
    noted = machine.calibrated is not None and any(run.mark or one.best.mark for one in cases for run in one.runs)
    factors = [name for name in ("latency", "bandwidth") if any(getattr(one, name) != 1 for one in cases)]
    plain = format == "csv"
    seconds = (lambda value: f"{value:.6g}") if plain else scaled
    ratio = (lambda value: f"{value:.6g}") if plain else short
    header = ["batch", "depth", "width", "workers", *factors, *(["algorithm"] if several else []), "iPC by", "seconds"]
    header += ["BP by", "seconds", "÷ best-bp", "÷ paper-style", "busy", *(["J", "J of BP"] if known else [])]
    header += ["notes"] if noted else []
    if several:
        header[header.index("iPC by")] = "by"
    if plain:
        header[header.index("seconds", header.index("BP by"))] = "BP seconds"
    body = []
    for one in cases:
        for algorithm, run in zip(one.algorithms, one.runs, strict=True):
            line = [one.batch, one.depth, one.width, one.workers, *(f"{getattr(one, name):g}" for name in factors)]
            line += [_title(algorithm)] if several else []
            line += [by(run), seconds(run.seconds), by(one.best), seconds(one.best.seconds)]
            line += [ratio(run.seconds / one.best.seconds), ratio(run.seconds / one.bps[0].seconds)]
            line += [f"{run.utilisation:.4f}" if plain else f"{run.utilisation:.0%}"]
            line += [*map(joules, (run.energy, one.best.energy))] if known else []
            line += [run.mark or one.best.mark] if noted else []
            body.append(line)
    text = f"{source(machine, validation)}\n{RATIO}"
    if plain:
        text = "\n".join(f"# {line}" for line in text.splitlines())
        return f"{text}\n{layout(header, body, format)}"
    return f"{text}\n\n{layout(header, body, format)}"


def map_table(found: Map, format: str = "text") -> str:
    """A map as a table: the ratio, and which BP is the fastest; ``*`` marks what is outside the calibrated range."""
    row, column = found.over
    header = [row, *(f"{column} {'× ' if column in ('latency', 'bandwidth') else ''}{c:g}" for c in found.columns)]
    body = []
    for r in found.rows:
        inside = [found.at.get((r, c)) for c in found.columns]
        star = [one is not None and one.mark.startswith("outside") for one in inside]
        entries = [
            "-" if one is None else f"{short(one.ratio)}{'*' * s} {one.best.execution}"
            for one, s in zip(inside, star, strict=True)
        ]
        body.append([f"{r:g}", *entries])
    title = f"# {found.title}" if format == "csv" else f"{found.title}\n"
    text = f"{title}\n{layout(header, body, format)}"
    if format != "csv" and any(one.mark.startswith("outside") for one in found.at.values()):
        text += "\n\n* outside the calibrated range"
    return text


def ladder(one: Case, format: str = "text") -> str:
    """Every BP of a case, the fastest first."""
    header = ["BP by", "seconds", "÷ iPC's", "busy", "critical path"]
    mine = one.runs[0].seconds
    body = [
        [by(bp), scaled(bp.seconds), short(bp.seconds / mine), f"{bp.utilisation:.0%}", bp.words]
        for bp in sorted(one.bps, key=lambda bp: bp.seconds)
    ]
    return layout(header, body, format)


def by(run: Prediction) -> str:
    """Who did it: ``"pipeline on 4 (8 parts)"``."""
    ranks = f" in {run.ranks} ranks" if run.ranks and run.ranks > 1 else ""
    parts = f" ({run.micro_batches} parts)" if run.micro_batches else ""
    return f"{run.execution} on {run.workers}{ranks}{parts}"


def joules(energy: float | None) -> str:
    """With a unit; ``-`` for None."""
    if energy is None:
        return "-"
    factor, unit = next(((f, u) for f, u in ((1, "J"), (1e3, "mJ"), (1e6, "µJ")) if energy * f >= 0.9995), (1e9, "nJ"))
    return f"{short(energy * factor)} {unit}"


# Rows of a results file


def context(machine: Machine, validation: str = "", command: Sequence[str] | None = None) -> dict[str, Any]:
    """For the header of a results file. What the file is of is the machine that was predicted, not this host, which
    stands under ``host``."""
    host = capture(list(command) if command else None)
    card = _card(machine, validation) if validation else None
    return {
        **{name: host[name] for name in ("time", "versions", "commit", "command") if name in host},
        "cpu_model": f"machine {machine.name}, predicted, {_state(machine)}",
        "cores": machine.workers,
        "note": card,
        "machine": machine.name,
        "model": machine.model,
        "calibrated": dict(machine.calibrated) if machine.calibrated else None,
        "validation": card,
        "host": host,
    }


def rows(cases: Iterable[Case]) -> Iterator[dict[str, Any]]:
    """The predictions of a sweep as rows of ``pcsim-results/1``, each once. InputError for several machines: their
    rows could not be told apart."""
    seen: set[tuple] = set()
    for one in cases:
        if (one.latency, one.bandwidth) != (1, 1):
            raise InputError("a results file is of one machine: change its figures with --set, a file for each")
        everybody = [*zip(one.algorithms, one.runs, strict=True), *((BP(), bp) for bp in one.bps)]
        for algorithm, run in everybody:
            key = (algorithm, run.execution, run.workers, run.ranks, one.net)
            if key not in seen:
                seen.add(key)
                yield _row(one, algorithm, run)


def _title(algorithm: Algorithm) -> str:
    return f"{algorithm.title}, T = {algorithm.T}" if isinstance(algorithm, PC) else algorithm.title


@lru_cache(maxsize=64)
def _counted(algorithm: Algorithm, depth: int) -> tuple[TaskGraph, dict[str, float]]:
    graph = algorithm.tasks(depth, 3)
    return graph, {name: getattr(graph, name) for name in ("mm", "smm", "mm_full", "smm_full")}


def _row(one: Case, algorithm: Algorithm, run: Prediction) -> dict[str, Any]:
    graph, counts = _counted(algorithm, one.depth)
    return {
        "algorithm": run.algorithm,
        "execution": run.execution,
        "backend": "mpi" if run.ranks and run.ranks > 1 else "threads",
        "workers": run.workers,
        "depth": one.depth,
        "width": one.width,
        "batch": one.batch,
        "steps": algorithm.T if isinstance(algorithm, PC) else 1,
        "dtype": _ITEMS.get(one.net.item, f"{one.net.item} bytes"),
        "activation": "tanh",
        "kind": "predicted",
        "seconds": [],
        "median": run.seconds,
        "ci95": None,
        **counts,
        "smm_workers": graph.makespan(run.workers if run.execution == "layer-parallel" else 1),
        "flops": run.flops,
        "bytes": run.bytes,
        "flop_rate": run.flops / run.seconds,
        "bandwidth": run.bytes / run.seconds,
        "variant": f"{run.micro_batches} parts" if run.micro_batches else None,
        **({"ranks": run.ranks, "messages": run.messages} if run.ranks and run.ranks > 1 else {}),
        "machine": run.machine,
        "utilisation": run.utilisation,
        "joules": run.energy,
        "critical_path": run.words,
        "warnings": [run.mark] if run.mark else [],
        "error": None,
    }


# One case over time


def timeline_of(
    one: Case, machine: Machine, backprop: bool = False, how: How | None = None, updates: int = 3
) -> tuple[Timeline, str]:
    """The first updates of a case's first algorithm, or of the best BP, with a title that says the machine."""
    how = how or How()
    run, algorithm = (one.best, BP()) if backprop else (one.runs[0], one.algorithms[0])
    found = timeline(
        algorithm, one.net, machine, run.execution, run.workers, updates=updates,
        ranks=how.ranks and min(how.ranks, run.workers), micro_batches=run.micro_batches or MICRO_BATCHES,
        order=how.order,
    )  # fmt: skip
    mark = f", {run.mark}" if run.mark else ""
    return found, f"{_title(algorithm)} {by(run)}, {one.name}: predicted for {machine.name}{mark}"


def trace(found: Timeline, title: str, told: str) -> dict[str, Any]:
    """A Chrome trace that says what it is of."""
    made = found.chrome_trace()
    made["traceEvents"].insert(0, {"ph": "M", "name": "process_name", "pid": 0, "args": {"name": title}})
    return made | {"otherData": {"kind": "predicted", "source": told}}
