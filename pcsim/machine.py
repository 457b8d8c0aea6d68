"""Machines as files: what a task, a hand-over and a message cost, every figure with its unit and where it is from.

A machine file is JSON of the schema ``pcsim-machine/1``. Products of layers are priced in one of three ways: by a
*constant* for each product, by a *roofline* (flop rate, and the bandwidth of the level of memory that the weights come
from), or by *measured* points that ``pcsim calibrate`` took on a host. Nothing here knows task graphs, nets or clocks.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .errors import InputError

SCHEMA = "pcsim-machine/1"
PRESETS = Path(__file__).with_name("machines")

# What a worker does in one go; the names of the events of a timeline. A pass does several at once.
PARTS = ("start", "predict", "backproject", "update", "values")
SPLIT = ("gradient", "descend")  # an update whose gradient is summed over ranks in between
ITEMS = {"float32": 4, "float64": 8}  # bytes
MOST = 2**31 - 1  # workers, units of a layer
COLUMNS = ("work", "workers", "batch", "rows", "columns", "distance", "seconds")  # of a measured point
MODELS = ("constant", "roofline", "measured")


class Task(NamedTuple):
    """Work that is priced: ``work`` names what is done, joined by "+", with ``rows`` × ``columns`` weights.

    ``distance``: bytes that the worker goes through until it comes back to these weights, which are found in a cache of
    that size; ``crowd``: how many times as many all go through who have a cache in common with it. ``workers``: how
    many are at work at the same time; ``together``: whether they do the same, and so share bandwidth all the time.
    """

    work: str
    rows: int
    columns: int
    batch: int
    item: int
    distance: float
    workers: int
    crowd: float = 1.0
    together: bool = True

    @property
    def products(self) -> list[str]:
        """The products among the work."""
        return [part for part in self.work.split("+") if part not in ("values", "descend")]

    @property
    def flops(self) -> float:
        """Flop of the products; elementwise work is left out."""
        return 2.0 * len(self.products) * self.rows * self.columns * self.batch

    @property
    def bytes(self) -> float:
        """Bytes of weights read, and written where they update: once for all products of a batch of one."""
        size, parts = float(self.rows * self.columns * self.item), self.products
        if self.work == "descend":
            return 3 * size
        if not parts:
            return 0.0
        if self.work == "gradient":  # it writes, but reads no weights
            return size
        passes = 1 if self.batch == 1 else len(parts)
        return size * (passes + ("update" in parts))


class Cost(NamedTuple):
    """Seconds, and how many of them are spent on getting weights from memory; ``inside``: of the calibrated range."""

    seconds: float
    memory: float
    inside: bool = True


@dataclass(frozen=True)
class Level:
    """A level of memory: ``size`` bytes (None: no end), ``bandwidth`` in byte/s for one worker and for all of the
    ``sharers`` that have it in common together; ``energy`` in J/byte."""

    name: str
    size: float | None
    bandwidth: float
    shared: float | None = None
    sharers: int | None = None
    energy: float | None = None

    @property
    def shared_by(self) -> int:
        """How many cores have it in common."""
        return self.sharers or 1

    def rate(self, workers: int) -> float:
        """Byte/s for each of so many workers at once."""
        if self.shared is None:
            return self.bandwidth
        together = workers if self.sharers is None else min(workers, self.sharers)
        return min(self.bandwidth, self.shared / together)


@dataclass(frozen=True)
class Segment:
    """Messages of ``begin`` bytes and more: ``latency`` + bytes × ``gap`` seconds on the way (LogGP's L and G;
    Alexandrov et al. 1995), of which the gap holds up the next message of the sender."""

    begin: float
    latency: float
    gap: float
    protocol: str = ""


@dataclass(frozen=True)
class Messages:
    """What messages cost. ``overhead``: seconds that a core spends on sending one, and on receiving one (LogGP's o);
    ``reduction``: seconds for each byte of a sum over ranks, beside its messages."""

    overhead: float
    segments: tuple[Segment, ...]
    reduction: float = 0.0

    def segment(self, size: float) -> Segment:
        """That of a message of so many bytes."""
        return [s for s in self.segments if s.begin <= size or s is self.segments[0]][-1]

    def one_way(self, size: float) -> float:
        """Seconds from the sender's memory into the receiver's."""
        segment = self.segment(size)
        return segment.latency + size * segment.gap


@dataclass(frozen=True)
class Machine:
    """See the module. Times in seconds, sizes in bytes, rates per second, energies in joules."""

    name: str
    title: str
    model: str
    nodes: int | None  # None: as many as are asked for
    sockets: int
    cores: int | None  # of a socket
    batched: bool = False  # products that need not wait for one another are one launch on the whole machine
    constants: Mapping[str, float] = field(default_factory=dict)  # seconds of each product of a layer
    serial_batch: bool = False  # constants are for one sample
    flop_rate: float = math.inf  # of a worker
    overhead: float = 0.0  # of each task; measured: of the loop, for each layer and step of PC, Z-IL and iPC
    step_overhead: float = 0.0  # measured: of the loop, for each worker and step
    element: float = 0.0  # seconds for one elementwise update of a value
    points: tuple[tuple, ...] = ()
    levels: tuple[Level, ...] = ()
    handover_latency: float = 0.0
    handover_bandwidth: float = math.inf
    barrier: tuple[float, float] = (0.0, 0.0)  # seconds for two workers, and for each doubling beyond
    within: Messages | None = None  # between ranks of one node
    between: Messages | None = None  # between nodes
    flop_energy: float | None = None
    message_energy: float | None = None
    calibrated: Mapping[str, Any] | None = None  # when, where and over which range
    source: Mapping[str, Any] = field(default_factory=dict, repr=False)  # the file's content

    @property
    def workers(self) -> int | None:
        """All cores of all nodes; None for no end."""
        return None if self.cores is None or self.nodes is None else self.nodes * self.sockets * self.cores

    @cached_property
    def _table(self) -> _Table:
        return _Table(self.points)

    def cost(self, task: Task) -> Cost:
        """What a task takes on one worker while ``task.workers`` are at work."""
        if task.rows == 0 or task.batch == 0:  # there are more workers than rows, or samples
            return Cost(0.0, 0.0)
        if self.model == "measured":
            # Where a cache is shared, a point was measured while all who were at work went through as much.
            own = max((level.size or 0 for level in self.levels if level.shared_by == 1), default=0)
            if task.distance > own and self.levels:
                at_work = min(task.workers, self._table.most)
                task = task._replace(distance=max(own, task.distance * task.crowd / at_work))
            found = self._table.cost(task._replace(crowd=1.0, together=True))
            return found._replace(seconds=found.seconds + self.overhead) if task.work == "values" else found
        parts = task.work.split("+")
        elements = task.columns * task.batch if "values" in parts else 0
        if self.model == "constant":
            times = task.batch if self.serial_batch else 1
            names = ["update" if part == "gradient" else part for part in parts if part != "descend"]
            seconds = sum(self.constants.get(part, 0.0) * times for part in names if part != "values")
            values = self.constants.get("values", 0.0) if "values" in names else 0.0
            return Cost(seconds + self.overhead + elements * self.element + values, 0.0)
        arithmetic = task.flops / self.flop_rate + elements * self.element
        traffic = self.traffic(task)
        return Cost(self.overhead + max(arithmetic, traffic), max(0.0, traffic - arithmetic))

    def traffic(self, task: Task) -> float:
        """Seconds to move a task's weights at the bandwidth of the level that holds them."""
        level = self.level(task)
        return task.bytes / level.rate(task.workers if task.together else 1) if level else 0.0

    def level(self, task: Task) -> Level | None:
        """The level of memory that a task's weights come from."""
        for level in self.levels:
            if level.size is None or task.distance * (task.crowd if level.shared_by > 1 else 1) <= level.size:
                return level
        return self.levels[-1] if self.levels else None

    def handover(self, size: float) -> float:
        """Seconds until another worker of the same process sees so many bytes."""
        return self.handover_latency + size / self.handover_bandwidth

    def meeting(self, workers: int) -> float:
        """Seconds of a barrier of so many workers of one process."""
        if workers < 2:
            return 0.0
        return self.barrier[0] + self.barrier[1] * max(0.0, math.log2(workers) - 1)

    def messages(self, across_nodes: bool) -> Messages:
        """Of ranks on one node, or on several; InputError where the machine knows none."""
        found = self.between if across_nodes else (self.within or self.between)
        if found is None:
            where = "between nodes" if across_nodes else "between ranks"
            raise InputError(
                f"machine {self.name} has no messages {where}: calibrate under mpiexec, or give it messages.between"
            )
        return found

    def energy(self, task: Task) -> float | None:
        """Joules of a task: flop and bytes, each times its figure; None where the file has none."""
        level = self.level(task)
        if self.flop_energy is None:
            return None
        moved = task.bytes * (level.energy or 0.0) if level else 0.0
        return task.flops * self.flop_energy + moved

    def scaled(self, cores: int, bandwidth: bool = False) -> Machine:
        """The same with so many cores on each socket; all that is a core's own stays as it is. With ``bandwidth`` the
        socket is put together of such sockets: each part keeps its caches, and memory has the bandwidth of all.
        Without, all cores share the caches and the memory of one."""
        if cores < 1:
            raise InputError(f"a socket has at least one core, got {cores}")
        factor = cores / self.cores if self.cores else 1.0
        levels = []
        for level in self.levels:
            if level.sharers == self.cores and level.sharers and not (bandwidth and level.size is not None):
                grown = factor if bandwidth else 1.0
                level = replace(level, sharers=cores, shared=level.shared and level.shared * grown)
            levels.append(level)
        parts = "with the memory of all" if bandwidth else "on the memory of one"
        name = f"{self.name} scaled to {cores} cores {parts}"
        return replace(self, cores=cores, levels=tuple(levels), name=name)

    def with_figure(self, name: str, value: float) -> Machine:
        """The same but for one of ``FIGURES``, for what-if."""
        if name not in FIGURES:
            raise InputError(f"machine figure {name!r} is unknown: choose from {', '.join(FIGURES)}")
        return FIGURES[name](self, value)


def _of_messages(change: str) -> Any:
    def changed(machine: Machine, factor: float) -> Machine:
        def of(messages: Messages | None) -> Messages | None:
            if messages is None:
                return None
            if change == "overhead":
                return replace(messages, overhead=messages.overhead * factor)
            return replace(
                messages, segments=tuple(replace(s, **{change: getattr(s, change) * factor}) for s in messages.segments)
            )

        return replace(machine, within=of(machine.within), between=of(machine.between))

    return changed


def _of_levels(machine: Machine, factor: float) -> Machine:
    levels = tuple(
        replace(level, bandwidth=level.bandwidth * factor, shared=level.shared and level.shared * factor)
        for level in machine.levels
    )
    return _faster_traffic(replace(machine, levels=levels), factor)


def _faster_traffic(machine: Machine, factor: float) -> Machine:
    """Of measured points, what a task takes beyond the same with its weights in the nearest cache is traffic."""
    if machine.model != "measured":
        return machine
    table = machine._table
    points = []
    for point in machine.points:
        hot = table.hot(point)
        points.append((*point[:-1], hot + (point[-1] - hot) / factor))
    return replace(machine, points=tuple(points))


def _faster_arithmetic(machine: Machine, factor: float) -> Machine:
    if machine.model == "constant":
        return replace(machine, constants={name: seconds / factor for name, seconds in machine.constants.items()})
    if machine.model == "roofline":
        return replace(machine, flop_rate=machine.flop_rate * factor, element=machine.element / factor)
    table = machine._table
    return replace(machine, points=tuple((*p[:-1], p[-1] - table.hot(p) * (1 - 1 / factor)) for p in machine.points))


# Figures that a what-if may change, each by a factor.
FIGURES = {
    "flop rate": _faster_arithmetic,
    "memory bandwidth": _of_levels,
    "hand-over latency": lambda m, f: replace(m, handover_latency=m.handover_latency * f),
    "hand-over bandwidth": lambda m, f: replace(m, handover_bandwidth=m.handover_bandwidth * f),
    "barrier": lambda m, f: replace(m, barrier=(m.barrier[0] * f, m.barrier[1] * f)),
    "task overhead": lambda m, f: replace(m, overhead=m.overhead * f),
    "message latency": _of_messages("latency"),
    "message gap": _of_messages("gap"),
    "message overhead": _of_messages("overhead"),
}


class _Table:
    """Measured points, interpolated: between batches, widths and distances along the logarithm, in the number of rows
    along a line. Outside of what was measured the nearest holds (by the weight, and by the sample), and it is said."""

    def __init__(self, points: Sequence[tuple]) -> None:
        tree: dict[str, dict] = {}
        for work, workers, batch, rows, columns, distance, seconds in points:
            part = tree.setdefault(work, {}).setdefault(workers, {}).setdefault(batch, {}).setdefault(columns, {})
            part.setdefault(rows, {})[distance] = seconds
        self.tree = tree
        self.most = max((point[1] for point in points), default=1)  # workers
        self.found: dict[Task, Cost] = {}

    def cost(self, task: Task) -> Cost:
        """Seconds of a task."""
        if task not in self.found:
            self.found[task] = self._cost(task)
        return self.found[task]

    def hot(self, point: tuple) -> float:
        """Seconds of the point's task with its weights in the nearest cache that was measured."""
        work, workers, batch, rows, columns, _, _ = point
        distances = self.tree[work][workers][batch][columns][rows]
        return min(distances[min(distances)], distances[point[5]])

    def _cost(self, task: Task) -> Cost:
        works = self._known(task)
        total = [self._one(work, task) for work in works]
        seconds = sum(cost.seconds for cost in total)
        return Cost(seconds, sum(cost.memory for cost in total), all(cost.inside for cost in total))

    def _known(self, task: Task) -> list[str]:
        """Measured works that make up this one: itself, or its parts one by one."""
        split = task.work in SPLIT and not (task.work in self.tree and self._has_batch(task.work, task.batch))
        for works in (["update"],) if split else ([task.work], task.work.split("+")):
            if all(work in self.tree and self._has_batch(work, task.batch) for work in works):
                return works
        raise InputError(
            f"the machine has no measured points for {task.work!r} at batch {task.batch}: calibrate it anew"
        )

    def _has_batch(self, work: str, batch: int) -> bool:
        """A batch of one is a kernel of its own, which says nothing of larger ones."""
        return any((known == 1) == (batch == 1) for counts in self.tree[work].values() for known in counts)

    def _one(self, work: str, task: Task) -> Cost:
        counts = self.tree[work]
        below = [count for count in counts if count <= task.workers] or [min(counts)]
        inside = task.workers in counts
        batches = {b: c for b, c in counts[max(below)].items() if (b == 1) == (task.batch == 1)}
        at = [(math.log(b), *self._of_batch(columns, task, work)) for b, columns in sorted(batches.items())]
        # Seconds for each sample, as those of a product are nearly the same for all batches.
        known = sorted(batches)
        per_sample = [seconds / b for (_, seconds, _, _), b in zip(at, known, strict=True)]
        memory = [m / b for (_, _, m, _), b in zip(at, known, strict=True)]
        place = math.log(task.batch)
        x = [entry[0] for entry in at]
        inside = inside and all(entry[3] for entry in at) and known[0] <= task.batch <= known[-1]
        return Cost(
            float(np.interp(place, x, per_sample)) * task.batch, float(np.interp(place, x, memory)) * task.batch, inside
        )

    def _of_batch(self, columns: Mapping[int, dict], task: Task, work: str) -> tuple[float, float, bool]:
        known = sorted(columns)
        wide = max(task.columns, 1)
        near = sorted(
            {max([k for k in known if k <= wide] or known[:1]), min([k for k in known if k >= wide] or known[-1:])}
        )
        # For each weight (of values: for each element), which changes slowly with the width.
        found = []
        for k in near:
            rows = task.rows * k / wide  # the same share of a square matrix
            cold, hot = (self._of_width(columns[k], rows, d) for d in (task.distance, 0.0))
            scale = k if work == "values" else rows * k
            found.append((cold / scale, max(0.0, cold - hot) / scale))
        x = [math.log(k) for k in near]
        scale = task.columns if work == "values" else task.rows * task.columns
        seconds, memory = (float(np.interp(math.log(wide), x, [f[i] for f in found])) * scale for i in (0, 1))
        return seconds, memory, known[0] <= task.columns <= known[-1]

    def _of_width(self, rows: Mapping[int, dict], count: float, distance: float) -> float:
        known = sorted(rows)
        found = [self._of_rows(rows[k], distance) for k in known]
        if count >= known[0] or len(known) == 1:
            if count >= known[-1]:
                return found[-1] * count / known[-1]
            return float(np.interp(count, known, found))
        return found[0] * count / known[0]

    def _of_rows(self, distances: Mapping[float, float], distance: float) -> float:
        known = sorted(distances)
        return float(
            np.interp(
                math.log(max(distance, 1.0)), [math.log(max(k, 1.0)) for k in known], [distances[k] for k in known]
            )
        )


# Files


class _Reader:
    """Reads fields of a machine file and knows where it is, for one line that names what is wrong."""

    def __init__(self, path: Path, content: Any, at: str = "") -> None:
        self.path, self.at = path, at
        if not isinstance(content, dict):
            self.fail("", f"must be an object, not {_short(content)}")
        self.content, self.asked = content, set[str]()

    def fail(self, name: str, what: str) -> Any:
        where = ".".join(part for part in (self.at, name) if part)
        raise InputError(f"{self.path}: {where + ': ' if where else ''}{what}")

    def get(self, name: str, kind: type | tuple[type, ...], default: Any = ...) -> Any:
        """A plain field."""
        self.asked.add(name)
        if name not in self.content:
            return self.fail(name, "is missing") if default is ... else default
        value = self.content[name]
        wrong = isinstance(value, bool) and kind is not bool
        if wrong or not isinstance(value, kind):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            self.fail(name, f"must be {' or '.join(_KINDS[k] for k in kinds)}, not {_short(value)}")
        return value

    def figure(self, name: str, unit: str, default: Any = ..., least: float = 0.0, none: bool = False) -> Any:
        """A figure: ``{"value": …, "unit": …, "source": …}``; null, where that is allowed, stands for no end."""
        self.asked.add(name)
        if name not in self.content:
            return self.fail(name, f"is missing ({unit})") if default is ... else default
        inner = self.inside(name)
        told = inner.get("unit", str, None)
        if told != unit:
            inner.fail("unit", f"must be {unit!r}" + (f", not {told!r}" if told is not None else " and is missing"))
        if not inner.get("source", str).strip():
            inner.fail("source", "must say where the figure is from")
        value = inner.content.get("value", ...)
        inner.asked.add("value")
        if value is None and none:
            inner.close()
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
            inner.fail("value", "is missing" if value is ... else f"must be a finite number, not {_short(value)}")
        if value < least:
            inner.fail("value", f"must be at least {least:g}, not {value!r}")
        inner.close()
        return value

    def count(self, name: str, unit: str, none: bool = True) -> int | None:
        """A whole figure of at least 1."""
        value = self.figure(name, unit, least=1, none=none)
        if value is not None and value > MOST:
            self.fail(name + ".value", f"must be at most {MOST}, not {value!r}")
        if value is not None and value != int(value):
            self.fail(name + ".value", f"must be a whole number, not {value!r}")
        return None if value is None else int(value)

    def inside(self, name: str, optional: bool = False) -> Any:
        """The reader of an object in a field."""
        self.asked.add(name)
        if name not in self.content:
            return None if optional else self.fail(name, "is missing")
        return _Reader(self.path, self.content[name], ".".join(part for part in (self.at, name) if part))

    def each(self, name: str) -> list[_Reader]:
        """Readers of the objects in a list."""
        values = self.get(name, list, [])
        return [_Reader(self.path, v, f"{self.at + '.' if self.at else ''}{name}[{i}]") for i, v in enumerate(values)]

    def close(self) -> None:
        """Every field must have been asked for."""
        for name in self.content:
            if name not in self.asked:
                self.fail(
                    name.encode("unicode_escape").decode(),
                    f"is unknown: known here are {', '.join(sorted(self.asked))}",
                )


_KINDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
    bool: "true or false",
}


def _finite(value: float) -> bool:
    return abs(value) <= sys.float_info.max  # also of whole numbers that no float holds


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "…"


def presets() -> list[str]:
    """Names of the machines that come with pcsim."""
    return sorted(path.stem for path in PRESETS.glob("*.json"))


def load(name: str | Path) -> Machine:
    """A machine: a preset by its name, or a machine file by its path. InputError in one line that names the field."""
    path = PRESETS / f"{name}.json" if str(name) in presets() else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        hint = "" if "/" in str(name) or "." in str(name) else f"; presets are {', '.join(presets())}"
        raise InputError(f"{name}: {error.strerror or error}{hint}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no machine file: not text") from None
    try:
        content = json.loads(text, parse_constant=lambda word: float("nan"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON: {error}") from None
    return parse(content, path)


def parse(content: Any, path: Path) -> Machine:
    """A machine from the content of a file."""
    top = _Reader(path, content)
    schema = top.get("schema", str, None)
    if schema != SCHEMA:
        top.fail("schema", f"must be {SCHEMA!r}" + (f", not {schema!r}" if schema else " and is missing"))
    name, title = top.get("name", str), top.get("title", str, "")
    top.get("notes", list, [])
    calibrated = top.get("calibrated", dict, None)
    if calibrated is not None:
        _check_calibrated(top.inside("calibrated"))
    topology = top.inside("topology")
    nodes, sockets, cores = (topology.count(part, part) for part in ("nodes", "sockets", "cores"))
    batched = topology.get("batched", bool, False)
    topology.close()
    fields = _products(top.inside("products"), batched)
    fields["levels"] = tuple(_level(level) for level in top.each("memory"))
    _check_levels(top, fields["levels"])
    if fields["model"] == "roofline" and not fields["levels"]:
        top.fail("memory", "is missing: a roofline needs a level at least")
    if handover := top.inside("handover", optional=True):
        fields["handover_latency"] = handover.figure("latency", "s", 0.0)
        fields["handover_bandwidth"] = handover.figure("bandwidth", "byte/s", math.inf, least=1)
        handover.close()
    if barrier := top.inside("barrier", optional=True):
        fields["barrier"] = barrier.figure("pair", "s", 0.0), barrier.figure("doubling", "s", 0.0)
        barrier.close()
    if messages := top.inside("messages", optional=True):
        for which in ("within", "between"):
            fields[which] = _read_messages(messages.inside(which, optional=True))
        messages.close()
    if energy := top.inside("energy", optional=True):
        fields["flop_energy"] = energy.figure("flop", "J/flop", None)
        fields["message_energy"] = energy.figure("message", "J/byte", None)
        energy.close()
    top.close()
    return Machine(
        name, title, nodes=nodes, sockets=sockets or 1, cores=cores, calibrated=calibrated, source=content, **fields
    )


def _check_calibrated(reader: _Reader) -> None:
    """When a calibration was, and its range; other fields are for people."""
    reader.get("time", str)
    if reader.get("dtype", str) not in ITEMS:
        reader.fail("dtype", f"must be one of {', '.join(ITEMS)}")
    for name in ("widths", "batches", "workers"):
        numbers = reader.get(name, list)
        if not numbers or not all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= MOST for n in numbers):
            reader.fail(name, "must be a list of whole numbers of at least 1")


def _products(reader: _Reader, batched: bool) -> dict[str, Any]:
    model = reader.get("model", str)
    found: dict[str, Any] = {"model": model, "batched": batched}
    if model not in MODELS:
        reader.fail("model", f"must be one of {', '.join(MODELS)}, not {model!r}")
    if model == "measured":
        reader.get("unit", str)
        if reader.content["unit"] != "s":
            reader.fail("unit", f"must be 's', not {reader.content['unit']!r}")
        reader.get("source", str)
        found["overhead"] = reader.figure("overhead", "s", 0.0)
        found["step_overhead"] = reader.figure("step_overhead", "s", 0.0)
        columns = reader.get("columns", list)
        if columns != list(COLUMNS):
            reader.fail("columns", f"must be {json.dumps(list(COLUMNS))}")
        found["points"] = tuple(_point(reader, i, p) for i, p in enumerate(reader.get("points", list)))
        if not found["points"]:
            reader.fail("points", "must hold a point at least")
    else:
        found["overhead"] = reader.figure("overhead", "s", 0.0)
        found["element"] = reader.figure("element", "s", 0.0)
        if model == "roofline":
            found["flop_rate"] = reader.figure("flop_rate", "flop/s", least=1)
        else:
            found["constants"] = {part: reader.figure(part, "s", 0.0) for part in PARTS}
            found["serial_batch"] = reader.get("serial_batch", bool, False)
    reader.close()
    return found


def _point(reader: _Reader, number: int, point: Any) -> tuple:
    where = f"points[{number}]"
    if not isinstance(point, list) or len(point) != len(COLUMNS):
        reader.fail(where, f"must be a list of {len(COLUMNS)}: {', '.join(COLUMNS)}")
    work, *numbers = point
    if not isinstance(work, str) or not set(work.split("+")) <= {*PARTS, *SPLIT}:
        reader.fail(where, f"work must be of {', '.join(PARTS)}, joined by '+', not {_short(work)}")
    for name, value in zip(COLUMNS[1:], numbers, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value) or value < 0:
            reader.fail(where, f"{name} must be a number of at least 0, not {_short(value)}")
        if value <= 0 and name != "distance":
            reader.fail(where, f"{name} must be above 0, not {value!r}")
        if value != int(value) and name not in ("distance", "seconds"):
            reader.fail(where, f"{name} must be a whole number, not {value!r}")
    return tuple(point)


def _level(reader: _Reader) -> Level:
    level = Level(
        reader.get("level", str),
        reader.figure("size", "byte", least=1, none=True),
        reader.figure("bandwidth", "byte/s", least=1),
        reader.figure("shared_bandwidth", "byte/s", None, least=1),
        reader.count("sharers", "cores") if "sharers" in reader.content else None,
        reader.figure("energy", "J/byte", None),
    )
    reader.asked |= {"sharers"}
    reader.close()
    return level


def _check_levels(top: _Reader, levels: Sequence[Level]) -> None:
    for number, (near, far) in enumerate(itertools.pairwise(levels)):
        if near.size is None or (far.size is not None and far.size <= near.size):
            top.fail(
                f"memory[{number + 1}].size", "must be larger than that of the level before; null only in the last"
            )


def _read_messages(reader: _Reader | None) -> Messages | None:
    if reader is None:
        return None
    overhead, reduction = reader.figure("overhead", "s", 0.0), reader.figure("reduction", "s/byte", 0.0)
    segments = []
    for inner in reader.each("segments"):
        segments.append(
            Segment(
                inner.figure("from", "byte"),
                inner.figure("latency", "s"),
                inner.figure("gap", "s/byte"),
                inner.get("protocol", str, ""),
            )
        )
        inner.close()
        if len(segments) > 1 and segments[-1].begin <= segments[-2].begin:
            inner.fail("from.value", "must be larger than that of the segment before")
    if not segments or segments[0].begin != 0:
        reader.fail("segments", "must begin with one from 0 bytes on")
    reader.close()
    return Messages(overhead, tuple(segments), reduction)


def figure(value: float | None, unit: str, source: str) -> dict[str, Any]:
    """A figure as it stands in a machine file."""
    return {"value": value, "unit": unit, "source": source}
