"""Machines as files: what a task, a hand-over and a message cost, every figure with its unit and where it is from.

A machine file is JSON of the schema ``pcsim-machine/1``. Products of layers are priced in one of three ways: by a
*constant* for each product, by a *roofline* (flop rate, and the bandwidth of the level of memory that the weights come
from), or by *measured* points that ``pcsim calibrate`` took on a host. Nothing here knows task graphs, nets or clocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..errors import InputError
from ..schedule.patches import PATCH_BYTES
from ..schedule.tasks import ITERATIONS
from .images import Piece, pieces
from .points import Table
from .prices import LOAD, RULE_FLOPS, RULES, SKIPS, Cost, Task

COLUMNS = ("work", "workers", "batch", "rows", "columns", "distance", "seconds")  # of a measured point

MODELS = ("constant", "roofline", "measured")

RUNS = 64  # of a pass over patches or images, in its point


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
class MessageTimes:
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
    images: tuple[tuple, ...] = ()  # points of what convolutions and skips consist of
    handover_latency: float = 0.0
    handover_bandwidth: float = math.inf
    barrier: tuple[float, float] = (0.0, 0.0)  # seconds for two workers, and for each doubling beyond
    within: MessageTimes | None = None  # between ranks of one node
    between: MessageTimes | None = None  # between nodes
    flop_energy: float | None = None
    message_energy: float | None = None
    calibrated: Mapping[str, Any] | None = None  # when, where and over which range
    source: Mapping[str, Any] = field(default_factory=dict, repr=False)  # the file's content

    @property
    def workers(self) -> int | None:
        """All cores of all nodes; None for no end."""
        return None if self.cores is None or self.nodes is None else self.nodes * self.sockets * self.cores

    @cached_property
    def table(self) -> Table:
        return Table(self.points)

    @cached_property
    def table_of_images(self) -> Table:
        return Table(self.images, square=False)

    def cost(self, task: Task) -> Cost:
        """What a task takes on one worker while ``task.workers`` are at work."""
        if task.rows == 0 or task.batch == 0:  # there are more workers than rows, or samples
            return Cost(0.0, 0.0)
        if task.work == LOAD:
            return self._load(task)
        if task.skip:
            return self.cost(task._replace(skip=False)).plus(self._skipped(task))
        if self.model == "measured" and task.form:
            return self._convolved(task)
        if self.model == "measured":
            # Where a cache is shared, a point was measured while all who were at work went through as much.
            own = max((level.size or 0 for level in self.levels if level.shared_by == 1), default=0)
            if task.distance > own and self.levels:
                at_work = min(task.workers, self.table.most)
                task = task._replace(distance=max(own, task.distance * task.crowd / at_work))
            found = self.table.cost(task._replace(crowd=1.0, together=True, moments=0, orthogonal=False))
            if task.moments and task.updates:
                found = found.plus(self._rule(task))
            if task.orthogonal and task.updates:
                found = found.plus(self._orthogonal(task))
            return found._replace(seconds=found.seconds + self.overhead) if task.work == "values" else found
        parts = task.work.split("+")
        elements = task.columns * task.batch if "values" in parts else 0
        if self.model == "constant":
            times = task.samples if self.serial_batch else 1
            names = ["update" if part == "gradient" else part for part in parts if part != "descend"]
            seconds = sum(self.constants.get(part, 0.0) * times for part in names if part != "values")
            seconds += 3 * ITERATIONS * self.constants.get("update", 0.0) * (task.orthogonal and task.updates)
            values = self.constants.get("values", 0.0) if "values" in names else 0.0
            return Cost(seconds + self.overhead + elements * self.element + values, 0.0)
        flops = task.flops + RULE_FLOPS[task.moments] * task.rows * task.columns * task.updates
        arithmetic = flops / self.flop_rate + elements * self.element
        traffic = self.traffic(task)
        cost = Cost(self.overhead + max(arithmetic, traffic), max(0.0, traffic - arithmetic))
        for piece in pieces(task) if task.form and task.products else ():
            if not piece.multiplies and piece.work != "descend":  # which is traffic of the weights
                cost = cost.plus(self._passed(task, piece))
        return cost

    def _convolved(self, task: Task) -> Cost:
        """What a convolution takes, piece by piece, where products are measured."""
        if task.work == "values":
            return self._of_images(task, Piece("values", task.batch, task.columns, moved=6))
        total = Cost(0.0, 0.0)
        for piece in pieces(task):
            if piece.work == "descend":
                traffic = piece.moved * piece.rows * piece.columns * task.item / self._rate(task, task.distance)
                total = total.plus(Cost(traffic, traffic))
            else:
                total = total.plus(self._of_images(task, piece))
        return total.plus(self._rule(task)) if task.moments and task.updates else total

    def _of_images(self, task: Task, piece: Piece) -> Cost:
        """A pass or products, as they were measured; where convolutions were not, a pass is traffic, and a product that
        of a dense layer at the largest batch that was."""
        plain = task._replace(
            work=piece.work, rows=piece.rows, columns=piece.columns, batch=piece.batch, form=None, skip=False,
            crowd=1.0, together=True, moments=0, orthogonal=False,
        )  # fmt: skip
        measured = piece.work in self.table_of_images.tree
        if not measured and not piece.multiplies:
            return self._passed(task, piece)
        if piece.multiplies:  # with more rows a product is as fast as with the most that were measured
            table, distance = (self.table_of_images, 0.0) if measured else (self.table, task.distance)
            known = [b for counts in table.tree.get(piece.work, {}).values() for b in counts]
            batch = min(piece.batch, max(known, default=1))
            times, plain = piece.times * piece.batch / batch, plain._replace(batch=batch, distance=distance)
        else:
            table, times, plain = self.table_of_images, piece.rows / RUNS, plain._replace(rows=1, batch=RUNS)
        cost = table.cost(plain)
        return Cost(cost.seconds * times, cost.memory * times, cost.inside and measured)

    def _passed(self, task: Task, piece: Piece) -> Cost:
        """A pass over patches or images as traffic: of patches in the cache that holds those of a product."""
        here = PATCH_BYTES if piece.work in ("gather", "scatter", "pool", "unpool") else task.distance
        moved = piece.moved * piece.rows * piece.columns * task.item
        arithmetic = self.element * piece.rows * piece.columns if piece.work == "activate" else 0.0
        traffic = moved / self._rate(task, here)
        return Cost(max(traffic, arithmetic), max(0.0, traffic - arithmetic), self.model != "measured")

    def _rate(self, task: Task, size: float) -> float:
        """Byte/s for a worker that goes through so many bytes again and again."""
        level = self.level(task._replace(distance=size))
        return level.rate(task.workers if task.together else 1) if level else math.inf

    def _skipped(self, task: Task) -> Cost:
        """What a skip adds: its input to the predictions, and errors to the drives."""
        total = Cost(0.0, 0.0)
        for part in task.products:
            if part in SKIPS:
                columns = task.form.below if task.form else task.columns
                piece = Piece(SKIPS[part], task.batch, columns, moved=3)
                measured = piece.work in self.table_of_images.tree
                total = total.plus(self._of_images(task, piece) if measured else self._passed(task, piece))
        return total

    def _load(self, task: Task) -> Cost:
        """Rows of a new batch come from the last level of memory; a machine of constants has none."""
        if task.form and LOAD in self.table_of_images.tree:
            return self._of_images(task, Piece(LOAD, task.batch, task.columns, moved=2))
        if self.model == "measured" and LOAD in self.table.tree:
            return self.table.cost(task._replace(crowd=1.0, together=True, moments=0, rows=1, distance=0.0))
        if not self.levels:
            return Cost(0.0, 0.0)
        traffic = task.bytes / self.levels[-1].rate(task.workers if task.together else 1)
        return Cost(self.overhead * (self.model == "roofline") + traffic, traffic, self.model != "measured")

    def _rule(self, task: Task) -> Cost:
        """What an optimiser adds to a measured update: as it was measured, or where it was not, its traffic."""
        rule = RULES[task.moments]
        if rule in self.table.tree:
            task = task._replace(work=rule, crowd=1.0, together=True, moments=0, batch=1, orthogonal=False, form=None)
            return self.table.cost(task)
        level = self.level(task)
        moved = 2.0 * task.moments * task.rows * task.columns * task.item
        traffic = moved / level.rate(task.workers if task.together else 1) if level else 0.0
        return Cost(traffic, traffic, inside=False)

    def _orthogonal(self, task: Task) -> Cost:
        """What Muon adds to a measured update: its products, as those of layers are, for as many samples as they have
        rows."""
        small, large = sorted((task.rows, task.columns))
        here = 2.0 * small * (large + small) * task.item
        task = Task("start", small, small, small, task.item, here, task.workers)
        both = (2, self.table.cost(task._replace(columns=large))), (1, self.table.cost(task))
        seconds, memory = (ITERATIONS * sum(times * cost[i] for times, cost in both) for i in (0, 1))
        return Cost(seconds, memory, all(cost.inside for _, cost in both))

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

    def messages(self, across_nodes: bool) -> MessageTimes:
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
