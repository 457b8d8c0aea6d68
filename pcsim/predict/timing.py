"""Times of all jobs of a plan on a machine: products, caches, hand-overs, messages."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from ..algorithms import Algorithm
from ..algorithms.common import MOMENTS
from ..schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE
from .machine import Machine, MessageTimes
from .plans import ALLREDUCE, DESCEND, EXCHANGE, GATHER, GRADIENT, LOAD, MEET, REDUCE, Net, Plan
from .prices import ITEMS, Cost, Form, Task
from .prices import LOAD as LOADING

TOLERANCE = 1e-9  # of a period, between two states that are the same

_NAMES = {
    START: "start",
    PREDICT: "predict",
    BACKPROJECT: "backproject",
    UPDATE: "update",
    VALUE: "values",
    GRADIENT: "gradient",
    DESCEND: "descend",
    LOAD: LOADING,
}

# Last-level caches do not keep what streams through them: of 24 layers of 2.4 MB that BP walks up and down, a cache of
# 32 MB gave back a part of the layer that had just been read, and next to nothing of the one before (times of a trace).
# So of what could still be there a part of 1 - exp(-fetched / (KEPT * size)) is lost, if so much was fetched since.
KEPT = 0.3

SYNCHRONOUS = ("intra-layer", "data-parallel", "hybrid")


class Timed:
    """A plan with its seconds: what the compiled loop needs."""

    def __init__(self, plan: Plan, machine: Machine, net: Net, algorithm: Algorithm, ranks: int | None) -> None:
        self.plan, self.machine, self.net = plan, machine, net
        self.chained, self.moments = algorithm.chained, MOMENTS[algorithm.optimizer]
        self.orthogonal = algorithm.orthogonal
        self.ranks = ranks
        self.all = int(plan.alike.sum())
        P = self.all
        here = machine.sockets * machine.cores if machine.cores else P  # workers of a node
        place = np.cumsum(plan.alike) - plan.alike  # of each worker among all
        self.node = place // here
        self.nodes = -(-P // here)
        if ranks is None and self.nodes > 1:
            self.ranks = self.nodes
            self.rank = self.node
        else:
            self.rank = place * (ranks or 1) // P
        self.at_once = min(P, here)
        self._price()
        self._connect()

    def _price(self) -> None:
        plan, machine = self.plan, self.machine
        self._walk()
        walk = [self.distances, self.crowds, self.far, self.lost]
        kinds = self._kinds_of_layers()
        keys = np.stack([plan.work, plan.meeting, plan.rows, plan.columns, plan.batch, plan.fetched, kinds, *walk], 1)
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
            if work == "predict" and self.chained and machine.model == "measured":
                work = "start"
            if plan.meeting[v] or not work:
                self.tasks.append(None)
                self.costs.append(
                    (
                        self._meeting(*(int(a[v]) for a in (plan.meeting, plan.rows, plan.columns, plan.batch))),
                        0.0,
                        True,
                    )
                )
                continue
            task = Task(
                work, int(plan.rows[v]), int(plan.columns[v]), int(plan.batch[v]), self.net.item,
                float(self.distances[v]), self.at_once, float(self.crowds[v]), together, self.moments,
                self.orthogonal, *self.special[int(kinds[v])],
            )  # fmt: skip
            self.tasks.append(task)
            self.costs.append(self._cost(v, task).plus(self._fetched(v)))
        self._count_collectives(first)
        seconds, memory, inside = zip(*self.costs, strict=True)
        self.seconds, self.memory = np.array(seconds)[self.kind], np.array(memory)[self.kind]
        if machine.model == "measured" and plan.workers == self.all > 1 and not together:
            self._ease(first)
        product = (plan.work & ~(VALUE | LOAD) != 0) & (plan.worker >= 0)
        self.products = float((self.seconds * times)[product].sum())
        if machine.step_overhead and not self.chained:  # of each worker's loop: with its lowest layer's products
            lowest = np.full(plan.workers, np.iinfo(np.int32).max)
            np.minimum.at(lowest, plan.worker[product], plan.layer[product])
            first_of = product & (plan.layer == lowest[plan.worker])
            self.seconds[first_of] += machine.step_overhead
        kind = (machine.calibrated or {}).get("dtype", "")
        self.inside = all(inside) and ITEMS.get(kind, self.net.item) == self.net.item

    def _kinds_of_layers(self) -> np.ndarray:
        """For each job which of ``special`` its layer is: convolutions and skips, that others are alike but for."""
        net, count = self.net, int(self.plan.layer.max(initial=0)) + 1
        forms = [net.form(l) for l in range(count)]
        skips = [l < len(net.skip) and net.skip[l] for l in range(count)]
        self.special: list[tuple[Form | None, bool]] = list(
            dict.fromkeys([(None, False), *zip(forms, skips, strict=True)])
        )
        return np.array([self.special.index(pair) for pair in zip(forms, skips, strict=True)])[self.plan.layer]

    def _cost(self, v: int, task: Task) -> Cost:
        """What job v's task takes, if a cache has not always kept its weights."""
        near, lost = self.machine.cost(task), float(self.lost[v])
        if not lost or self.far[v] <= self.distances[v]:
            return near
        far = self.machine.cost(task._replace(distance=float(self.far[v])))
        return Cost(
            near.seconds + lost * (far.seconds - near.seconds),
            near.memory + lost * (far.memory - near.memory),
            near.inside and far.inside,
        )

    def _fetched(self, v: int) -> Cost:
        """What it takes to get what other cores have written, as long as caches hold it; from memory it comes as the
        task says."""
        caches = [level for level in self.machine.levels if level.size is not None]
        there = not caches or self.far[v] <= float(caches[-1].size or 0)
        size = float(self.plan.fetched[v]) * self.net.item
        return Cost(size / self.machine.handover_bandwidth if there else 0.0, 0.0)

    def _ease(self, first: np.ndarray) -> None:
        """Points are measured while all workers are at work. Where blocks are uneven they are not: of what a job takes
        longer then than alone it pays the share of time in which the others are busy."""
        plan, here = self.plan, self.plan.worker >= 0
        busy = np.bincount(plan.worker[here], self.seconds[here], minlength=plan.workers)
        others = (busy.sum() - busy) / ((plan.workers - 1) * max(float(busy.max()), 1e-300))
        share = np.where(here, others[plan.worker], 1.0)
        pairs = zip(first, self.tasks, self.costs, strict=True)
        alone = [cost if task is None else self._cost(v, task._replace(workers=1)) for v, task, cost in pairs]
        seconds, memory = (np.array([cost[i] for cost in alone])[self.kind] for i in (0, 1))
        self.seconds = seconds + share * (self.seconds - seconds)
        self.memory = memory + share * (self.memory - memory)

    def _count_collectives(self, first: np.ndarray) -> None:
        """Messages of meetings of ranks and their bytes, in a period: everyone's part to everyone else (of collectives
        between nodes once for each pair of nodes), and twice for sums."""
        self.collectives = self.collective_bytes = 0.0
        for v, count in zip(first, self.count, strict=True):
            kind = int(self.plan.meeting[v])
            if kind in (GATHER, REDUCE, ALLREDUCE, EXCHANGE):
                parties = self.nodes if self.nodes > 1 and kind != EXCHANGE else self.all
                times = int(count) * (2 if kind == ALLREDUCE else 1) * (parties - 1)
                self.collectives += times * parties
                self.collective_bytes += times * int(self.plan.columns[v]) * int(self.plan.batch[v]) * self.net.item

    def _walk(self) -> None:
        """Where each job's weights come from: how far its worker has gone since it had them last, how much all workers
        are who have a cache in common, and how likely it is that a cache has not kept them although it could."""
        from ..kernels.graphs import plans

        plan, levels = self.plan, self.machine.levels
        product = (plan.meeting == 0) & (plan.work & ~(VALUE | LOAD) != 0)
        weights = plan.rows.astype(np.float64) * plan.columns * (1 + self.moments)
        # With weights alone the distance of a batch would be too short: there are three vectors to each of its layers.
        units = np.array(self.net.sizes)[plan.layer] if self.net.forms else plan.columns
        values = np.where(plan.batch > 1, 3.0 * plan.batch * units, 0.0)
        size = np.where(product, (weights + values) * self.net.item, 0.0)
        self.distances, self.crowds, self.far = size.copy(), np.ones(len(plan)), np.zeros(len(plan))
        self.lost: np.ndarray = np.zeros(len(plan))
        if plan.execution == "batched":
            self.distances[:] = sum(self.net.weights()) * self.net.item * (1 + self.moments)
            return
        layers = int(plan.layer.max()) + 1
        caches = [level for level in levels if level.size is not None]
        last = float(caches[-1].size or 0) if caches else math.inf
        together = caches[-1].shared_by if caches else 1
        own = np.zeros(plan.workers)
        walk = (plan.workers, plan.worker, plan.layer, layers, size)
        plans.reuse_distances(*walk, np.full(plan.workers, last), math.inf, self.distances, self.lost, own)
        here = plan.worker >= 0
        crowd: np.ndarray = np.ones(plan.workers)
        if plan.execution == "data-parallel":  # whose workers read the same weights
            pass
        elif plan.workers < self.all:
            crowd[:] = min(together, self.all)
        else:
            group = np.arange(plan.workers) // together
            crowd = np.bincount(group, own)[group] / np.maximum(own, 1.0)
        if self.net.forms:  # whose values are not at hand when they move
            others = here & ~product
            self.distances[others] = own[plan.worker[others]]
        # Half a cache's size: from there on, rings that are walked in a circle begin to lose it.
        plans.reuse_distances(*walk, last / 2 / crowd, KEPT * last, self.distances, self.lost, own)
        self.lost = np.round(self.lost, 3)
        self.far[here], self.crowds[here] = own[plan.worker[here]], crowd[plan.worker[here]]

    def _meeting(self, kind: int, parties: int, columns: int, batch: int) -> float:
        P, machine = self.all, self.machine
        if kind == 0:
            return 0.0
        if kind == MEET:
            return machine.meeting(parties)
        size = columns * batch * self.net.item
        if kind == EXCHANGE:
            return self._exchanged(size)[1]
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

    def _exchanged(self, size: float) -> tuple[float, float, float]:
        """What it takes until each rank has sent every other its part of ``size`` bytes: seconds of a core, of a rank's
        port, and from there on the way."""
        here = -(-self.all // self.nodes)
        core = port = way = 0.0
        for others, across in ((here - 1, False), (self.all - here, True)):
            if others:
                messages = self.machine.messages(across)
                segment = messages.segment(size / self.all)
                core += 2 * others * messages.overhead
                port += others * size / self.all * segment.gap
                way = max(way, segment.latency)
        return core, port, way

    def _on_cores(self) -> np.ndarray:
        """What is the cores' own of meetings that the work goes on beside becomes a part of the jobs before them; of
        exchanges, the seconds on the way, for each edge behind one."""
        plan = self.plan
        after, way = np.repeat(np.arange(len(plan)), np.diff(plan.at)), np.zeros(len(plan.before))
        for v in np.flatnonzero((plan.meeting == EXCHANGE) | ((plan.meeting == ALLREDUCE) & (self.nodes == 1))):
            if plan.meeting[v] == EXCHANGE:
                core, _, latency = self._exchanged(int(plan.columns[v]) * int(plan.batch[v]) * self.net.item)
                way[(plan.before == v) & (plan.worker[after] >= 0)] = latency
            else:  # on one host it is the cores that sum up, with nothing to hide behind
                core, self.seconds[v] = float(self.seconds[v]), 0.0
            for edge in range(plan.at[v], plan.at[v + 1]):
                if plan.worker[plan.before[edge]] >= 0:
                    self.seconds[plan.before[edge]] += core
        return way

    def _connect(self) -> None:
        plan, machine = self.plan, self.machine
        delay, message = self._on_cores(), np.full(len(plan.before), -1, np.int32)
        after = np.repeat(np.arange(len(plan)), np.diff(plan.at))
        crossing = plan.size > 0
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
        from ..kernels.graphs import plans

        plan = self.plan
        order = np.empty(len(plan), np.int32)
        if plans.runnable_order(plan.workers, plan.worker, plan.at, plan.before, plan.lag, order) < len(plan):
            raise AssertionError("jobs of this plan wait for one another in a ring")
        start, finish, rate = np.zeros(len(plan)), np.zeros(len(plan)), np.zeros(3)
        plans.run_plan(
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


def gathered(messages: MessageTimes, ranks: int, size: float) -> float:
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
