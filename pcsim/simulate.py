"""Who predicts: a task graph on a machine under an execution, timed job by job until it repeats itself.

Each worker takes its jobs in the order of the engines' loops, and waits for what a job needs: hand-overs within a
process, messages between ranks (which leave one after the other through the sender's port), meetings of all. So times
depend on the figures of a machine alone, and without a figure getting better anything gets worse: a later start never
makes an end earlier. What workers share they share steadily: where all do the same at the same time (rows, samples),
each has its part of the bandwidth; where they do not (blocks of layers), an update takes at least its bytes ÷ the
bandwidth of all. Nothing here measures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from .algorithms import BP, IPC, Algorithm
from .engines.cache import Caches, wave_length
from .errors import InputError
from .machine import ITEMS, MOST, Cost, Machine, Messages, Task
from .plans import (
    ALLREDUCE,
    DESCEND,
    EXECUTIONS,
    GATHER,
    GRADIENT,
    MEET,
    REDUCE,
    Net,
    Plan,
    by_rows,
    data_parallel,
    layered,
    pipeline,
)
from .timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE, Event, Timeline

MICRO_BATCHES = 8
TOLERANCE = 1e-9  # of a period, between two states that are the same
MOST_JOBS = 40_000_000  # timed in search of a steady state
LEAST_PERIODS = 8
_NAMES = {
    START: "start",
    PREDICT: "predict",
    BACKPROJECT: "backproject",
    UPDATE: "update",
    VALUE: "values",
    GRADIENT: "gradient",
    DESCEND: "descend",
}
# Last-level caches do not keep what streams through them: of 24 layers of 2.4 MB that BP walks up and down, a cache of
# 32 MB gave back a part of the layer that had just been read, and next to nothing of the one before (times of a trace).
# So of what could still be there a part of 1 - exp(-fetched / (KEPT * size)) is lost, if so much was fetched since.
KEPT = 0.3
SYNCHRONOUS = ("intra-layer", "data-parallel")


@dataclass(frozen=True)
class Prediction:
    """Seconds per complete weight update in the steady state, and where they go.

    ``shares``: parts of the critical cycle, the chain of jobs that sets the pace, by what they are spent on; they add
    up to 1. ``waits``: (share of all workers' time, layer) spent waiting, by the layer waited for. ``calibrated``: the
    machine was measured; ``inside``: and over a range that holds this case. ``steady``: a state came back; if not, the
    seconds are a slope over many periods.
    """

    algorithm: str
    execution: str
    workers: int
    ranks: int | None
    net: Net
    machine: str
    seconds: float
    steady: bool
    calibrated: bool
    inside: bool
    utilisation: float
    flops: float
    bytes: float
    messages: float
    message_bytes: float
    energy: float | None
    shares: dict[str, float] = field(default_factory=dict)
    waits: tuple[tuple[float, int], ...] = ()
    slowest_layer: int | None = None
    micro_batches: int | None = None

    @property
    def mark(self) -> str:
        """What must stand beside the number: empty where it is calibrated and inside the calibrated range."""
        if not self.calibrated:
            return "not calibrated"
        return "" if self.inside else "outside the calibrated range"

    @property
    def words(self) -> str:
        """The critical path in words."""
        parts = sorted(self.shares.items(), key=lambda item: -item[1])
        told = [f"{share:.0%} {name}" for name, share in parts if share >= 0.005]
        if self.slowest_layer is not None and self.net.depth > 1 and self.execution != "batched":
            told.append(f"longest on layer {self.slowest_layer}")
        if self.waits and self.waits[0][0] >= 0.005:
            told.append(f"workers wait {sum(w for w, _ in self.waits):.0%}, most for layer {self.waits[0][1]}")
        return ", ".join(told)


class _Timed:
    """A plan with its seconds: what the compiled loop needs."""

    def __init__(self, plan: Plan, machine: Machine, net: Net, algorithm: Algorithm, ranks: int | None) -> None:
        self.plan, self.machine, self.net = plan, machine, net
        self.is_backprop = isinstance(algorithm, BP)
        self.ranks = ranks
        self.all = int(plan.alike.sum())
        P = plan.workers if plan.workers == self.all else self.all
        here = machine.sockets * machine.cores if machine.cores else P  # workers of a node
        self.node = np.arange(P) // here
        self.nodes = int(self.node[-1]) + 1
        if ranks is None and self.nodes > 1:
            self.ranks = self.nodes
            self.rank = self.node
        else:
            self.rank = np.arange(P) * (ranks or 1) // P
        self.at_once = min(P, here)
        self._price()
        self._connect()

    def _price(self) -> None:
        plan, machine = self.plan, self.machine
        self._walk()
        walk = [self.distances, self.crowds, self.far, self.lost]
        keys = np.stack([plan.work, plan.meeting, plan.rows, plan.columns, plan.batch, *walk], 1)
        keys = np.ascontiguousarray(keys.astype(np.float64))
        _, first, self.kind = np.unique(
            keys.view([("", np.float64)] * keys.shape[1]).ravel(), return_index=True, return_inverse=True
        )
        times = np.where(plan.worker >= 0, plan.alike[plan.worker], 1)
        self.count = np.bincount(self.kind, times)
        self.costs: list[tuple[float, float, bool]] = []
        self.tasks: list[Task | None] = []
        together = plan.execution in SYNCHRONOUS
        for v in first:
            work = "+".join(name for bit, name in _NAMES.items() if int(plan.work[v]) & bit)
            if work == "predict" and self.is_backprop and machine.model == "measured":
                work = "start"
            if plan.meeting[v] or not work:
                self.tasks.append(None)
                self.costs.append(
                    (self._meeting(int(plan.meeting[v]), int(plan.columns[v]), int(plan.batch[v])), 0.0, True)
                )
                continue
            task = Task(
                work, int(plan.rows[v]), int(plan.columns[v]), int(plan.batch[v]), self.net.item,
                float(self.distances[v]), self.at_once, float(self.crowds[v]), together,
            )  # fmt: skip
            self.tasks.append(task)
            near, lost = machine.cost(task), float(self.lost[v])
            if lost and self.far[v] > self.distances[v]:
                far = machine.cost(task._replace(distance=float(self.far[v])))
                near = Cost(
                    near.seconds + lost * (far.seconds - near.seconds),
                    near.memory + lost * (far.memory - near.memory),
                    near.inside and far.inside,
                )
            self.costs.append(near)
        self._count_collectives(first)
        seconds, memory, inside = zip(*self.costs, strict=True)
        self.seconds, self.memory = np.array(seconds)[self.kind], np.array(memory)[self.kind]
        if machine.step_overhead and not self.is_backprop:  # of each worker's loop: with its lowest layer's products
            product = (plan.work & ~VALUE != 0) & (plan.worker >= 0)
            lowest = np.full(plan.workers, np.iinfo(np.int32).max)
            np.minimum.at(lowest, plan.worker[product], plan.layer[product])
            first_of = product & (plan.layer == lowest[plan.worker])
            self.seconds[first_of] += machine.step_overhead
        kind = (machine.calibrated or {}).get("dtype", "")
        self.inside = all(inside) and ITEMS.get(kind, self.net.item) == self.net.item

    def _count_collectives(self, first: np.ndarray) -> None:
        """Messages of meetings of ranks and their bytes, in a period: everyone's part to everyone else (between nodes
        once for each pair of nodes), and twice for sums."""
        parties = self.nodes if self.nodes > 1 else self.all
        self.collectives = self.collective_bytes = 0.0
        for v, count in zip(first, self.count, strict=True):
            kind = int(self.plan.meeting[v])
            if kind in (GATHER, REDUCE, ALLREDUCE) or (kind == MEET and self.nodes > 1):
                times = int(count) * (2 if kind == ALLREDUCE else 1) * (parties - 1)
                self.collectives += times * parties
                self.collective_bytes += times * int(self.plan.columns[v]) * int(self.plan.batch[v]) * self.net.item

    def _walk(self) -> None:
        """Where each job's weights come from: how far its worker has gone since it had them last, how much all workers
        are who have a cache in common, and how likely it is that a cache has not kept them although it could."""
        from .kernels import graph

        plan, levels = self.plan, self.machine.levels
        product = (plan.meeting == 0) & (plan.work & ~VALUE != 0)
        weights = plan.rows.astype(np.float64) * plan.columns
        # With weights alone the distance of a batch would be too short: there are three vectors to each of its layers.
        values = np.where(plan.batch > 1, 3.0 * plan.batch * plan.columns, 0.0)
        size = np.where(product, (weights + values) * self.net.item, 0.0)
        self.distances, self.crowds, self.far = size.copy(), np.ones(len(plan)), np.zeros(len(plan))
        self.lost: np.ndarray = np.zeros(len(plan))
        if plan.execution == "batched":
            self.distances[:] = sum(self.net.weights()) * self.net.item
            return
        layers = int(plan.layer.max()) + 1
        caches = [level for level in levels if level.size is not None]
        last = float(caches[-1].size or 0) if caches else math.inf
        together = caches[-1].shared_by if caches else 1
        own = np.zeros(plan.workers)
        walk = (plan.workers, plan.worker, plan.layer, layers, size)
        graph.reuse_distances(*walk, np.full(plan.workers, last), math.inf, self.distances, self.lost, own)
        here = plan.worker >= 0
        crowd: np.ndarray = np.ones(plan.workers)
        if plan.execution == "data-parallel":  # whose workers read the same weights
            pass
        elif plan.workers < self.all:
            crowd[:] = min(together, self.all)
        else:
            group = np.arange(plan.workers) // together
            crowd = np.bincount(group, own)[group] / np.maximum(own, 1.0)
        # Half a cache's size: from there on, rings that are walked in a circle begin to lose it.
        graph.reuse_distances(*walk, last / 2 / crowd, KEPT * last, self.distances, self.lost, own)
        self.lost = np.round(self.lost, 3)
        self.far[here], self.crowds[here] = own[plan.worker[here]], crowd[plan.worker[here]]

    def _meeting(self, kind: int, columns: int, batch: int) -> float:
        P, machine = self.all, self.machine
        if kind == 0:
            return 0.0
        if kind == MEET and not self.ranks:
            return machine.meeting(P)
        size = columns * batch * self.net.item
        here = -(-P // self.nodes)
        if self.nodes == 1:
            seconds = gathered(machine.messages(False), P, size)
        else:  # between nodes once for all workers of a node, which then share it out
            seconds = gathered(machine.messages(True), self.nodes, size)
            if here > 1 and machine.within:
                seconds += 2 * gathered(machine.within, here, size)
            elif here > 1:
                seconds += 2 * machine.meeting(here) + machine.handover(size)
        if kind == ALLREDUCE:  # reduce-scatter and gather, and the sums
            return 2 * seconds + size * machine.messages(self.nodes > 1).reduction
        return seconds

    def _connect(self) -> None:
        plan, machine = self.plan, self.machine
        for v in np.flatnonzero((plan.meeting == ALLREDUCE) & (self.nodes == 1)):
            # On one host it is the cores that sum up, with nothing to hide behind.
            for edge in range(plan.at[v], plan.at[v + 1]):
                if plan.worker[plan.before[edge]] >= 0:
                    self.seconds[plan.before[edge]] += self.seconds[v]
            self.seconds[v] = 0.0
        after = np.repeat(np.arange(len(plan)), np.diff(plan.at))
        crossing = plan.size > 0
        delay, message = np.zeros(len(plan.before)), np.full(len(plan.before), -1, np.int32)
        edges = np.flatnonzero(crossing)
        source, target = plan.worker[plan.before[edges]], plan.worker[after[edges]]
        same = self.rank[source] == self.rank[target]
        sizes = plan.size[edges]
        delay[edges[same]] = machine.handover_latency + sizes[same] / machine.handover_bandwidth
        self.occupied = np.zeros(0)
        sent = np.zeros(0, np.int64)
        far = np.flatnonzero(~same)
        self.message_bytes = 0.0
        if far.size:
            pairs = np.stack([plan.before[edges[far]], target[far]], 1).astype(np.int64)
            unique, first, number = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
            number = number.ravel()
            sent, bytes_ = unique[:, 0], sizes[far[first]]
            across = self.node[plan.worker[sent]] != self.node[unique[:, 1]]
            costs = [machine.messages(bool(a)) for a in across]
            segments = [m.segment(b) for m, b in zip(costs, bytes_, strict=True)]
            self.occupied = np.array([s.gap * b for s, b in zip(segments, bytes_, strict=True)])
            latency = np.array([s.latency for s in segments])
            overhead = np.array([m.overhead for m in costs])
            message[edges[far]] = number
            delay[edges[far]] = latency[number]
            self.message_bytes = float(bytes_.sum())
            # A core is busy with what it sends and what it receives; a message is received once by each worker.
            self.seconds = self.seconds.copy()
            np.add.at(self.seconds, sent, overhead)
            receiver = np.full(len(unique), len(plan), np.int64)
            np.minimum.at(receiver, number, after[edges[far]])
            np.add.at(self.seconds, receiver, overhead)
        self.delay, self.message = delay, message
        self.sent_by = np.zeros(len(plan) + 1, np.int64)
        np.cumsum(np.bincount(sent, minlength=len(plan)), out=self.sent_by[1:])

    def run(self, limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start and finish of each job in the last period, and (seconds, periods, whether steady)."""
        from .kernels import graph

        plan = self.plan
        order = np.empty(len(plan), np.int32)
        if graph.runnable_order(plan.workers, plan.worker, plan.at, plan.before, plan.lag, order) < len(plan):
            raise AssertionError("jobs of this plan wait for one another in a ring")
        start, finish, rate = np.zeros(len(plan)), np.zeros(len(plan)), np.zeros(3)
        graph.run_plan(
            order, plan.worker, plan.at, plan.before, plan.lag, self.delay, self.message, self.seconds, self.occupied,
            self.sent_by, plan.workers, limit, TOLERANCE, start, finish, rate,
        )  # fmt: skip
        return start, finish, rate

    @cached_property
    def work(self) -> dict[str, float]:
        """Flop and bytes of a period, joules if the machine knows them, and the least seconds by shared bandwidth."""
        flops = moved = energy = 0.0
        known = self.machine.flop_energy is not None
        shared: dict[str, float] = {}
        for count, task in zip(self.count, self.tasks, strict=True):
            if task is None:
                continue
            flops += count * task.flops
            moved += count * task.bytes
            energy += count * (self.machine.energy(task) or 0.0)
            level = self.machine.level(task)
            if level and level.shared:
                shared[level.name] = shared.get(level.name, 0.0) + count * task.bytes
        least = 0.0
        measured = self.machine.calibrated or {}
        if self.machine.model == "measured" and self.at_once <= max(measured.get("workers", [0])):
            shared = {}  # it is in the measured times already
        for level in self.machine.levels:
            if level.name in shared and level.shared:
                groups = self.nodes * math.ceil(self.at_once / level.shared_by) if level.sharers else self.nodes
                least = max(least, shared[level.name] / groups / level.shared)
        if known and self.machine.message_energy:
            energy += (self.message_bytes + self.collective_bytes) * self.machine.message_energy
        return {"flops": flops, "bytes": moved, "energy": energy if known else math.nan, "least": least}


def gathered(messages: Messages, ranks: int, size: float) -> float:
    """Seconds for each of ``ranks`` to get all of ``size`` bytes, of which each has its part: everyone sends to
    everyone, or twice as much to ever fewer (recursive doubling; Thakur et al. 2005), whichever is sooner."""
    if ranks < 2:
        return 0.0
    part = size / ranks
    rounds = math.ceil(math.log2(ranks))
    near, far = messages.segment(part), messages.segment(size / 2)
    direct = 2 * messages.overhead * (ranks - 1) + near.latency + (size - part) * near.gap
    doubling = rounds * (2 * messages.overhead + far.latency) + (size - part) * far.gap
    return min(direct, doubling)


def caches_of(machine: Machine) -> Caches:
    """The caches by which an engine on such a machine chooses its waves."""
    finite = [level for level in machine.levels if level.size is not None]
    if not finite:
        return Caches(own=1 << 62)
    own = [level for level in finite if (level.sharers or 1) == 1]
    last = finite[-1]
    return Caches(int(own[-1].size or 0) if own else 0, int(last.size or 0), last.sharers or 1)


@lru_cache(maxsize=256)
def make_plan(
    algorithm: Algorithm, net: Net, execution: str, workers: int, ranks: bool, micro_batches: int, order: str, wave: int
) -> Plan:
    """The plan of an execution; InputError where the work cannot be shared so."""
    L = net.depth
    if execution not in EXECUTIONS:
        raise InputError(f"execution {execution!r} is unknown: choose from {', '.join(EXECUTIONS)}")
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    backprop = isinstance(algorithm, BP)
    if backprop == (execution == "layer-parallel") and execution not in ("serial", "batched"):
        who = "BP" if backprop else algorithm.title
        raise InputError(f"{who} has no execution {execution!r}")
    if execution == "serial" and workers > 1:
        raise InputError("execution 'serial' has one worker")
    limits = {"layer-parallel": (L, "layers"), "pipeline": (L, "layers"), "data-parallel": (net.batch, "samples")}
    limit, what = limits.get(execution, (workers, ""))
    if workers > limit:
        raise InputError(f"{workers} workers are more than the {limit} {what}: use at most {limit}")
    if execution in ("serial", "layer-parallel", "batched"):
        return layered(algorithm, net, workers, wave, batched=execution == "batched")
    graph = algorithm.tasks(L, 3)
    if execution == "intra-layer":
        return by_rows(net, workers, graph, ranks)
    if execution == "data-parallel":
        return data_parallel(net, workers, graph, ranks)
    return pipeline(net, workers, graph, min(micro_batches, net.batch), order)


def simulate(
    algorithm: Algorithm,
    net: Net,
    machine: Machine,
    execution: str = "serial",
    workers: int = 1,
    *,
    ranks: int | None = None,
    micro_batches: int = MICRO_BATCHES,
    order: str = "split",
    wave: int | None = None,
) -> Prediction:
    """Predict seconds per weight update of ``algorithm`` on ``net`` under an execution.

    ``workers``: cores in use; ``ranks``: over how many processes they are spread (None: one on each node). Raises
    InputError where the machine has fewer workers, or the work cannot be shared so.
    """
    timed = _timed(algorithm, net, machine, execution, workers, ranks, micro_batches, order, wave)
    limit = max(LEAST_PERIODS, min(4096, MOST_JOBS // max(1, len(timed.plan))))
    start, finish, rate = timed.run(limit)
    plan, work = timed.plan, timed.work
    period = float(rate[0] / rate[1])
    # Who does the same at the same time has been given its part of the bandwidth; where points are measured, of theirs.
    least = work["least"] if execution not in SYNCHRONOUS or machine.model == "measured" else 0.0
    bound = least > period
    product = plan.worker >= 0
    busy = float((timed.seconds * timed.plan.alike[plan.worker])[product].sum())
    shares, slowest = _critical(timed, start, finish, period)
    if bound:  # nobody's chain sets the pace, but what all have in common
        shares, slowest = {"shared bandwidth": 1.0}, None
    updates = plan.updates
    seconds = float(max(period, least)) / updates
    return Prediction(
        algorithm.name, execution, workers, timed.ranks if timed.ranks and timed.ranks > 1 else ranks, net,
        machine.name, seconds, bool(rate[2]), machine.calibrated is not None, timed.inside,
        min(1.0, busy / (timed.all * seconds * updates)) if seconds else 0.0,
        work["flops"] / updates, work["bytes"] / updates,
        (len(timed.occupied) + timed.collectives) / updates, (timed.message_bytes + timed.collective_bytes) / updates,
        None if math.isnan(work["energy"]) else work["energy"] / updates, shares, _waits(timed, start, finish, period),
        slowest, min(micro_batches, net.batch) if execution == "pipeline" else None,
    )  # fmt: skip


def _timed(
    algorithm: Algorithm, net: Net, machine: Machine, execution: str, workers: int, ranks: int | None,
    micro_batches: int, order: str, wave: int | None,
) -> _Timed:  # fmt: skip
    if max(net.sizes) > MOST or min(net.sizes) < 1 or net.batch > MOST:
        raise InputError(f"layers of {max(net.sizes)} units, batch {net.batch}: numbers from 1 to {MOST} are simulated")
    if machine.batched and execution in ("serial", "layer-parallel"):
        execution, workers, ranks = "batched", 1, None
    if machine.workers is not None and workers > machine.workers:
        raise InputError(f"{workers} workers are more than the {machine.workers} of machine {machine.name}")
    if ranks is not None and not 1 <= ranks <= workers:
        raise InputError(f"{ranks} ranks for {workers} workers: each rank has at least one")
    if wave is None:
        wave = 1
        if isinstance(algorithm, IPC) and execution in ("serial", "layer-parallel"):
            sizes = [
                (n + 1) * m * net.item + (net.batch > 1) * 8 * net.batch * m * net.item
                for n, m in zip(net.sizes, net.sizes[1:], strict=False)
            ]
            wave = wave_length(sum(sizes), max(sizes), workers, caches_of(machine))
    on_ranks = bool(ranks and ranks > 1)
    here = machine.sockets * machine.cores if machine.cores else workers
    plan = make_plan(algorithm, net, execution, workers, on_ranks or workers > here, micro_batches, order, wave)
    return _Timed(plan, machine, net, algorithm, ranks if on_ranks else None)


def timeline(
    algorithm: Algorithm,
    net: Net,
    machine: Machine,
    execution: str = "serial",
    workers: int = 1,
    *,
    updates: int = 4,
    ranks: int | None = None,
    micro_batches: int = MICRO_BATCHES,
    order: str = "split",
) -> Timeline:
    """The same as events. Of layers on workers (and BP alone) the first ``updates`` from the forward start, which
    ``Timeline.violations`` can hold against the task graph; else so many in the steady state."""
    timed = _timed(algorithm, net, machine, execution, workers, ranks, micro_batches, order, 1)
    if execution in ("serial", "layer-parallel") and not machine.batched:
        plan = layered(algorithm, net, workers, whole=updates)
        timed = _Timed(plan, machine, net, algorithm, timed.ranks)
        start, finish, _ = timed.run(1)
        return _events(plan, start, finish, 0, 0.0)
    start, finish, rate = timed.run(64)
    period = rate[0] / rate[1]
    repeats = max(1, updates // timed.plan.updates)
    return Timeline(
        [e for turn in range(repeats) for e in _events(timed.plan, start, finish, turn, turn * period).events]
    )


def _events(plan: Plan, start: np.ndarray, finish: np.ndarray, turn: int, shift: float) -> Timeline:
    steps = int(plan.step.max()) + 1
    return Timeline(
        [
            Event(
                int(w),
                int(work) if work < GRADIENT else UPDATE,
                int(l),
                int(step) + turn * steps,
                float(a) + shift,
                float(b) + shift,
            )
            for w, work, l, step, a, b in zip(plan.worker, plan.work, plan.layer, plan.step, start, finish, strict=True)
            if w >= 0 and work
        ]
    )


def _critical(
    timed: _Timed, start: np.ndarray, finish: np.ndarray, period: float
) -> tuple[dict[str, float], int | None]:
    """What the chain of jobs that sets the pace is spent on. From the last job back, always to what it waited for,
    until a job comes up again: between its two turns lies a cycle of whole periods."""
    plan = timed.plan
    previous, last_of = np.full(len(plan), -1), np.full(plan.workers, -1)
    for job in np.flatnonzero(plan.worker >= 0):
        previous[job] = last_of[plan.worker[job]]
        last_of[plan.worker[job]] = job
    first = previous < 0
    shares: dict[str, float] = {}
    layers: dict[int, float] = {}
    seen: dict[int, int] = {}
    trail: list[tuple[str, float, int]] = []
    v = int(np.argmax(finish))
    while v not in seen and len(seen) <= len(plan):
        seen[v] = len(trail)
        w = int(plan.worker[v])
        name = {0: "work", MEET: "meetings", GATHER: "messages", REDUCE: "messages", ALLREDUCE: "messages"}[
            int(plan.meeting[v])
        ]
        memory = float(timed.memory[v])
        layer = int(plan.layer[v])
        if name == "work":
            rest = float(timed.seconds[v]) - memory
            trail.append(("weights traffic", memory, layer))
            trail.append(("new values" if plan.work[v] == VALUE else "arithmetic", rest, layer))
        else:
            trail.append((name, float(timed.seconds[v]), layer))
        best, came, what, lost = -1, -math.inf, "", 0.0
        if w >= 0:
            before = int(last_of[w] if first[v] else previous[v])
            best, came = before, float(finish[before]) - (period if first[v] else 0.0)
        for edge in range(plan.at[v], plan.at[v + 1]):
            b = int(plan.before[edge])
            done = float(finish[b]) - (period if plan.lag[edge] else 0.0)
            far = int(timed.message[edge]) >= 0
            delay = float(timed.delay[edge]) + (float(timed.occupied[timed.message[edge]]) if far else 0.0)
            if best < 0 or done + delay > came + 1e-12 * abs(came):
                best, came, what, lost = b, done + delay, "messages" if far else "hand-over", delay
        if what and lost > 0:
            trail.append((what, lost, layer))
        if best < 0:
            break
        v = best
    for name, seconds, layer in trail[seen.get(v, 0) :]:
        shares[name] = shares.get(name, 0.0) + seconds
        layers[layer] = layers.get(layer, 0.0) + seconds
    total = sum(shares.values())
    if not total:
        return {}, None
    alike = max(layers.values()) <= 1.001 * min(layers.values())
    slowest = None if alike else max(layers, key=lambda l: layers[l])
    return {name: seconds / total for name, seconds in shares.items() if seconds}, slowest


def _waits(timed: _Timed, start: np.ndarray, finish: np.ndarray, period: float) -> tuple[tuple[float, int], ...]:
    """Shares of all workers' time spent waiting, by the layer waited for, the largest first."""
    plan = timed.plan
    found: dict[int, float] = {}
    order = np.argsort(plan.worker, kind="stable")
    order = order[plan.worker[order] >= 0]
    free, worker = np.roll(finish[order], 1), plan.worker[order]
    begins = np.flatnonzero(np.diff(worker, prepend=-1))
    ends = np.append(begins[1:], len(order)) - 1
    free[begins] = finish[order[ends]] - period
    idle = start[order] - free
    for i in np.flatnonzero(idle > 1e-9 * period):
        v = int(order[i])
        edges = range(plan.at[v], plan.at[v + 1])
        if not edges:
            continue
        ready = [finish[plan.before[e]] - (period if plan.lag[e] else 0.0) + timed.delay[e] for e in edges]
        layer = int(plan.layer[plan.before[edges[int(np.argmax(ready))]]])
        found[layer] = found.get(layer, 0.0) + float(idle[i]) * int(plan.alike[plan.worker[v]])
    whole = period * timed.all
    return tuple(sorted(((seconds / whole, layer) for layer, seconds in found.items()), reverse=True)) if whole else ()


def backprops(
    net: Net, machine: Machine, workers: int, ranks: int | None = None, alpha: float = 1e-4
) -> list[Prediction]:
    """BP in every execution that fits, on so many workers: of these ``best-bp`` is the fastest."""
    bp = BP(alpha)
    found = [simulate(bp, net, machine, "serial", 1)]
    if workers > 1 and not machine.batched:
        found.append(simulate(bp, net, machine, "intra-layer", workers, ranks=ranks))
    if net.batch > 1 and not machine.batched:
        stages = min(workers, net.depth)
        if stages > 1:
            parts = sorted({min(net.batch, stages * k) for k in (1, 2, 4, 8)})
            choice = [
                simulate(bp, net, machine, "pipeline", stages, ranks=ranks and min(ranks, stages), micro_batches=part)
                for part in parts
            ]
            found.append(min(choice, key=lambda p: p.seconds))
        several = min(workers, net.batch)
        if several > 1:
            found.append(simulate(bp, net, machine, "data-parallel", several, ranks=ranks and min(ranks, several)))
    return found


def layers_on_workers(
    algorithm: Algorithm, net: Net, machine: Machine, workers: int, ranks: int | None = None
) -> Prediction:
    """PC, Z-IL or iPC with as many workers as there are layers to share out among them."""
    count = min(workers, net.depth)
    execution = "layer-parallel" if count > 1 else "serial"
    return simulate(algorithm, net, machine, execution, count, ranks=ranks and min(ranks, count))


@dataclass(frozen=True)
class Comparison:
    """iPC against BP on one machine: ``ratio`` is seconds of iPC ÷ seconds of ``bp``, the fastest BP of that case."""

    ipc: Prediction
    bps: Sequence[Prediction]

    @property
    def bp(self) -> Prediction:
        """The fastest."""
        return min(self.bps, key=lambda p: p.seconds)

    @property
    def ratio(self) -> float:
        """Against ``best-bp``; below 1, iPC is faster."""
        return self.ipc.seconds / self.bp.seconds

    @property
    def paper_style(self) -> float:
        """Against BP on one worker, the paper's setting."""
        return self.ipc.seconds / next(p.seconds for p in self.bps if p.execution in ("serial", "batched"))

    @property
    def mark(self) -> str:
        """As of its predictions."""
        return next((p.mark for p in (self.ipc, *self.bps) if p.mark), "")


def compare(
    net: Net, machine: Machine, workers: int, algorithm: Algorithm | None = None, ranks: int | None = None
) -> Comparison:
    """iPC (or another) on so many workers against every BP on as many."""
    return Comparison(
        layers_on_workers(algorithm or IPC(), net, machine, workers, ranks), backprops(net, machine, workers, ranks)
    )


def sensitivity(
    net: Net, machine: Machine, workers: int, factor: float = 2.0, **options: Any
) -> list[tuple[str, float]]:
    """(figure, ratio with the figure times ``factor`` ÷ ratio as it is), what moves the ratio most first."""
    from .machine import FIGURES

    base = compare(net, machine, workers, **options).ratio
    found = [
        (name, compare(net, machine.with_figure(name, factor), workers, **options).ratio / base) for name in FIGURES
    ]
    return sorted(found, key=lambda item: -abs(math.log(item[1])))
