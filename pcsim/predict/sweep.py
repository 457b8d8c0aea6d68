"""Sweeps of predictions: iPC against every BP over depths, widths, batches, workers, and figures of the machine.

What comes out are cases and maps of them, tables, and rows of kind "predicted" for a results file. Each says which
machine it is of, and whether that was calibrated. Nothing here prices a job, measures, or draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from typing import Any

from ..algorithms import BP, IPC, Algorithm
from ..errors import InputError
from ..schedule.timeline import Timeline
from .machine import Machine
from .nets import Net, equal_nets
from .plans import ORDERS
from .rivals import EXECUTIONS, Rivals
from .simulate import MICRO_BATCHES, Prediction, timeline
from .what_if import FIGURES, with_figure

# What a factor of latency changes: the ways from worker to worker, whichever the machine has.
LATENCY = ("hand-over latency", "barrier", "message latency", "message overhead")

BANDWIDTH = ("memory bandwidth",)

MAPS = {"depth-width": ("depth", "width"), "workers-latency": ("workers", "latency")}


@dataclass(frozen=True)
class How:
    """What a sweep is about beside sizes: who is set against BP, which BPs there are, and how a pipeline goes.

    ``micro_batches``: None for the best number of them; ``optimizer``: of BP.
    """

    algorithms: tuple[Algorithm, ...] = (IPC(),)
    executions: tuple[str, ...] = EXECUTIONS
    ranks: int | None = None
    micro_batches: int | None = None
    order: str = "split"
    optimizer: str = "sgd"

    def __post_init__(self) -> None:
        for name in self.executions:
            if name not in EXECUTIONS:
                raise InputError(f"execution {name!r} of BP is unknown: choose from {', '.join(EXECUTIONS)}")
        if self.order not in ORDERS:
            raise InputError(f"order {self.order!r} is unknown: choose from {', '.join(ORDERS)}")
        if not self.algorithms or not self.executions:
            raise InputError("a sweep needs an algorithm, and an execution of BP to hold it against")


@dataclass(frozen=True)
class Projection:
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
    optimizer: str = "sgd"  # of BP

    @property
    def title(self) -> str:
        """Of the algorithm whose ratios these are."""
        return self.algorithms[0].title

    @property
    def depth(self) -> int:
        """L."""
        return self.net.depth

    @property
    def width(self) -> int:
        """Of the widest layer."""
        return self.net.width

    @property
    def sizes(self) -> str | None:
        """In words, where the layers are not all alike."""
        return self.net.unequal

    @property
    def steps_per_batch(self) -> int | None:
        """For how many updates iPC stays on a batch; None where it never changes."""
        return self.net.steps_per_batch

    @property
    def start(self) -> str:
        """What a new batch begins with."""
        return self.net.start

    @property
    def batch(self) -> int:
        """Data points in an update."""
        return self.net.batch

    @property
    def name(self) -> str:
        """The net and its batches in words."""
        return self.net.name

    @property
    def best(self) -> Prediction:
        """The fastest BP of the executions that count (``best-bp``)."""
        counted = [bp for bp in self.bps if bp.execution in self.executions]
        if not counted:
            names = ", ".join(self.executions)
            raise InputError(f"BP by {names} does not fit {self.name} on {self.workers} workers: add an execution")
        return min(counted, key=lambda bp: bp.seconds)

    @property
    def best_execution(self) -> str:
        """Of ``best``."""
        return self.best.execution

    @property
    def execution(self) -> str:
        """Of the first of ``runs``."""
        return self.runs[0].execution

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
        machine = replace(with_figure(machine, name, factor), name=f"{machine.name}, {name} × {factor:g}")
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
    machine: Machine, net: Net, workers: int, how: How | None = None, known: dict[Net, Rivals] | None = None
) -> Projection:
    """Predict one net on no more than so many workers: who does better with fewer takes fewer, on both sides.

    ``known``: what was predicted before on this machine, in the same way.
    """
    how = how or How()
    new = Rivals(net, machine, how.ranks, how.micro_batches, how.order, how.optimizer)
    rivals = new if known is None else known.setdefault(net, new)
    runs = tuple(rivals.layers_on_workers(algorithm, workers) for algorithm in how.algorithms)
    bps = tuple(rivals.backprops(workers))
    return Projection(net, workers, machine.name, runs, bps, how.algorithms, how.executions, optimizer=how.optimizer)


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
) -> Iterator[Projection]:
    """Predict every combination; ``item``: bytes of an element. ``workers``: none for ``default_workers``."""
    options: dict[str, Any] = {"how": how, "latencies": latencies, "bandwidths": bandwidths, "on_progress": on_progress}
    yield from sweep_nets(machine, equal_nets(depths, widths, batches, item), workers, **options)


def sweep_nets(
    machine: Machine,
    nets: Sequence[Net],
    workers: Sequence[int] = (),
    *,
    how: How | None = None,
    latencies: Sequence[float] = (1.0,),
    bandwidths: Sequence[float] = (1.0,),
    on_progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Iterator[Projection]:
    """The same of any nets, whose layers and batches are their own."""
    workers = list(workers) or default_workers(machine)
    check_workers(machine, workers, how.ranks if how else None)
    machines = {(a, b): with_factors(machine, a, b) for a in latencies for b in bandwidths}
    all_of_them = list(product(nets, latencies, bandwidths, sorted(workers)))
    known: dict[tuple[float, float], dict[Net, Rivals]] = {factors: {} for factors in machines}
    for number, (net, latency, bandwidth, count) in enumerate(all_of_them):
        on_progress(f"{net.name}, {count} workers", number, len(all_of_them))
        factors = latency, bandwidth
        found = case(machines[factors], net, count, how, known[factors])
        yield replace(found, latency=latency, bandwidth=bandwidth)


@dataclass(frozen=True)
class Map:
    """Ratios over two sizes: ``at[row, column]`` is the case there. ``title`` says what all of them share."""

    title: str
    over: tuple[str, str]
    rows: tuple[float, ...]
    columns: tuple[float, ...]
    at: Mapping[tuple[float, float], Projection] = field(repr=False)

    def crossings(self) -> list[tuple[float, float, float]]:
        """(row, column before, column after) between which the ratio goes through 1."""
        found = []
        for row in self.rows:
            there = [column for column in self.columns if (row, column) in self.at]
            for before, after in pairwise(there):
                if (self.at[row, before].ratio < 1) != (self.at[row, after].ratio < 1):
                    found.append((row, before, after))
        return found


def maps(cases: Sequence[Projection], over: tuple[str, str] = MAPS["depth-width"]) -> list[Map]:
    """Crossover maps of a sweep: one for each combination of what is not ``over``."""
    if over == MAPS["depth-width"] and any(one.sizes for one in cases):
        raise InputError("a map over depth and width is of nets whose layers are all alike: leave --nets out")
    names = ["sizes", "depth", "width", "batch", "steps_per_batch", "start", "workers", "latency", "bandwidth"]
    names = [name for name in names if name not in over]
    groups: dict[tuple, list[Projection]] = {}
    for one in cases:
        groups.setdefault(tuple(getattr(one, name) for name in names), []).append(one)
    found = []
    for values, inside in groups.items():
        axes = [tuple(sorted({getattr(one, name) for one in inside})) for name in over]
        place = {(getattr(one, over[0]), getattr(one, over[1])): one for one in inside}
        plain = zip(names, values, strict=True)
        known = dict(zip(names, values, strict=True))
        hidden = {"depth", "width"} if known.get("sizes") else set()
        shared = [_said(n, v) for n, v in plain if n not in hidden and _worth(n, v)]
        found.append(Map(", ".join(shared), over, axes[0], axes[1], place))
    return found


_USUAL = {"latency": 1.0, "bandwidth": 1.0, "sizes": None, "steps_per_batch": None, "start": "forward"}


def _worth(name: str, value: Any) -> bool:
    return name not in _USUAL or value != _USUAL[name]


def _said(name: str, value: Any) -> str:
    forms = {
        "latency": "latency × {:g}", "bandwidth": "bandwidth × {:g}", "workers": "{:g} workers", "sizes": "{}",
        "start": "{} start", "steps_per_batch": "a new batch every {} steps",
    }  # fmt: skip
    return forms.get(name, f"{name} {{:g}}").format(value)


def by(run: Prediction) -> str:
    """Who did it: ``"pipeline on 4 (8 parts)"``."""
    ranks = f" in {run.ranks} ranks" if run.ranks and run.ranks > 1 else ""
    parts = f" ({run.micro_batches} parts)" if run.micro_batches else ""
    return f"{run.execution} on {run.workers}{ranks}{parts}"


def title_of(algorithm: Algorithm) -> str:
    """For people; with T where there is one."""
    T = getattr(algorithm, "T", None)
    return algorithm.title if T is None else f"{algorithm.title}, T = {T}"


# One case over time


def timeline_of(
    one: Projection, machine: Machine, backprop: bool = False, how: How | None = None, updates: int = 3
) -> tuple[Timeline, str]:
    """The first updates of a case's first algorithm, or of the best BP, with a title that says the machine."""
    how = how or How()
    run, algorithm = (one.best, BP(optimizer=one.optimizer)) if backprop else (one.runs[0], one.algorithms[0])
    found = timeline(
        algorithm, one.net, machine, run.execution, run.workers, updates=updates,
        ranks=how.ranks and min(how.ranks, run.workers), micro_batches=run.micro_batches or MICRO_BATCHES,
        order=how.order,
    )  # fmt: skip
    mark = f", {run.mark}" if run.mark else ""
    return found, f"{title_of(algorithm)} {by(run)}, {one.name}: predicted for {machine.name}{mark}"


def trace(found: Timeline, title: str, source: str) -> dict[str, Any]:
    """A Chrome trace that says what it is of."""
    made = found.chrome_trace()
    made["traceEvents"].insert(0, {"ph": "M", "name": "process_name", "pid": 0, "args": {"name": title}})
    return made | {"otherData": {"kind": "predicted", "source": source}}
