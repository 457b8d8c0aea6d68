"""The one truth about what depends on what: task graphs.

A graph lists every task of a run (predictions, error products, value and weight updates, per layer and step)
with its data-flow edges. Values and weights count as double-buffered: only true dependencies are edges.
Counts, schedules and the check of a recorded run are derived from these edges, never from formulas.
Nothing here knows nets, machines, clocks or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import whole_number
from ..errors import InputError

Ids = NDArray[Any]


class Kind(IntEnum):
    """What a task computes; its ``layer`` is the l of ``W[l]``, or of ``x[l]`` for VALUE."""

    START = 0  # mu[l+1] of the forward start from W[l], which is also x[l+1]
    PREDICT = 1  # mu[l+1] and e[l+1] from W[l]
    BACKPROJECT = 2  # pi[l+1] e[l+1] @ W[l], l >= 1
    VALUE = 3  # elementwise update of x[l], 1 <= l < L (dual propagation: <= L): no product, so it costs nothing
    UPDATE = 4  # e[l+1].T @ f(x[l]), applied to W[l]
    HEAD = 5  # f(x[l+1]) @ V[l].T, l < L - 1: what a head says of x[l+1], and its error
    FEEDBACK = 6  # the error of a head, or of the output, brought to x[l+1] by V[l], or by a fixed matrix
    HEAD_UPDATE = 7  # the gradient of V[l], applied to it
    COMBINE = 8  # the product of two matrices of (width, width) for each sample, of BP by a scan
    ORTHOGONALISE = 9  # Muon's products on the gradient of W[l], all in a row; they make the step that is applied to it
    HEAD_ORTHOGONALISE = 10  # the same on that of V[l]


ITERATIONS = 5  # of Muon, three products each


PAPER_COSTS: Mapping[Kind, int] = dict.fromkeys(
    (Kind.PREDICT, Kind.BACKPROJECT, Kind.HEAD, Kind.FEEDBACK, Kind.COMBINE), 1
)

STARTS_COSTS: Mapping[Kind, int] = {**PAPER_COSTS, Kind.START: 1}

FULL_COSTS: Mapping[Kind, int] = {
    **PAPER_COSTS, Kind.START: 1, Kind.UPDATE: 1, Kind.HEAD_UPDATE: 1,
    Kind.ORTHOGONALISE: 3 * ITERATIONS, Kind.HEAD_ORTHOGONALISE: 3 * ITERATIONS,
}  # fmt: skip

# What tasks of a kind cost: a number, or one for each layer.
Costs = Mapping[Kind, int | Sequence[int]]

# Ids take 32 bits: on millions of tasks every pass is memory traffic.
MOST = np.iinfo(np.int32).max


class Predecessors(NamedTuple):
    """Tasks that task v waits for: ``indices[indptr[v]:indptr[v + 1]]``, all smaller than v."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]


class Repeated(NamedTuple):
    """The last period of a graph, as it goes on without end: task v of it, number ``first + v`` of the graph, waits for
    ``indices[indptr[v]:indptr[v + 1]]``, of the same period or, where ``lag`` says so, of the one before. It makes so
    many ``updates``."""

    first: int
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    lag: NDArray[np.bool_]
    updates: int


class Lookup:
    """Ids from (kind, step, layer)."""

    def __init__(self, kinds: NDArray[Any], layers: NDArray[Any], steps: NDArray[Any]) -> None:
        shape = (int(kinds.max()) + 1, int(steps[-1]) + 1, int(layers.max()) + 1)
        self.ids = np.full(shape, -1, np.int32)
        self.ids[kinds, steps, layers] = np.arange(kinds.size, dtype=np.int32)

    def __call__(self, kind: ArrayLike, step: ArrayLike, layer: ArrayLike) -> NDArray[np.int64]:
        kind, step, layer = np.asarray(kind), np.asarray(step), np.asarray(layer)
        there = kind < self.ids.shape[0]
        kind = np.where(there, kind, 0)
        known = there & (step >= 0) & (step < self.ids.shape[1]) & (layer >= 0) & (layer < self.ids.shape[2])
        return np.where(known, self.ids[kind, np.where(known, step, 0), np.where(known, layer, 0)], np.int64(-1))


@dataclass(frozen=True, eq=False)
class TaskGraph:
    """All tasks of ``updates`` complete weight updates, in topological order, and what each waits for.

    ``kinds``, ``layers``, ``steps`` (global inference step) and ``update_of`` (index of the weight update it
    belongs to) have one entry per task. The calendar repeats every ``period`` steps: 1 for BP and for iPC on
    a full batch, a whole cycle (or round, where there is no end) otherwise. With a pipelined start the first ``lead``
    steps hold nothing but starts, and the first inference step is number ``lead``. The arrays are shared: treat them as
    read-only.
    """

    algorithm: str
    depth: int
    updates: int
    period: int
    kinds: NDArray[np.int8] = field(repr=False)
    layers: NDArray[np.int32] = field(repr=False)
    steps: NDArray[np.int32] = field(repr=False)
    update_of: NDArray[np.int32] = field(repr=False)
    predecessors: Predecessors = field(repr=False)
    lead: int = 0

    def __len__(self) -> int:
        return self.kinds.size

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self.kinds, self.layers, self.steps)

    def messages(self, owner: Sequence[int]) -> int | float:
        """Messages per weight update, the mean of a period in the middle of this graph, where worker ``owner[l]`` has
        layer l's products.

        A message is one task's result sent to one worker that needs it. Values between two workers' layers are moved by
        both (each has a copy, as in the engines), so that these need the other's error or product, but not its values.
        """
        return as_number(sum(self._ways(owner), Fraction(0)))

    def message_ways(self, owner: Sequence[int]) -> tuple[int | float, int | float]:
        """The same apart: to workers with a higher number than the sender's, and to those with a lower one."""
        up, down = self._ways(owner)
        return as_number(up), as_number(down)

    def _ways(self, owner: Sequence[int]) -> tuple[Fraction, Fraction]:
        tasks, upwards = self.sent(owner)
        up = int(upwards.sum())
        return Fraction(up, self.period_updates), Fraction(tasks.size - up, self.period_updates)

    def sent(self, owner: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Of each message of a period in the middle of this graph, the task whose result it is, and whether it goes to
        a worker with a higher number than the sender's."""
        indptr, before = self.predecessors
        after = np.repeat(np.arange(len(self)), np.diff(indptr))
        own = np.append(np.asarray(owner, np.int64), -1)
        moved = self.kinds == Kind.VALUE
        below = np.where(moved, own[self.layers - 1], own[self.layers])
        homes = np.where(self.layers < self.depth, own[self.layers], below), below
        found = set()
        first = (self.updates - self.period_updates + 1) // 2
        middle = (self.update_of[before] >= first) & (self.update_of[before] < first + self.period_updates)
        for home in homes:
            needs = home[after]
            sent = middle & (needs != homes[0][before]) & (needs != homes[1][before])
            found |= set(zip(before[sent].tolist(), needs[sent].tolist(), strict=True))
        tasks, workers = np.array(sorted(found), np.int64).reshape(-1, 2).T
        return tasks, workers > homes[0][tasks]

    def task(self, kind: ArrayLike, step: ArrayLike, layer: ArrayLike) -> NDArray[np.int64]:
        """Ids of tasks, -1 where there is none; the arguments broadcast against one another."""
        return self._lookup(kind, step, layer)

    def costs_of(self, costs: Costs) -> NDArray[np.int64]:
        """The cost of each task; kinds that are left out: 0."""
        if all(isinstance(each, int) for each in costs.values()):
            return np.array([costs.get(kind, 0) for kind in Kind], np.int64)[self.kinds]
        table = np.zeros((len(Kind), self.depth + 1), np.int64)
        for kind, each in costs.items():
            table[kind, : self.depth] = each
        return table[self.kinds, self.layers]

    def _finish_times(self, costs: Mapping[Kind, int]) -> NDArray[np.int64]:
        from ..kernels.graphs import paths

        finish = np.empty(len(self), np.int64)
        paths.longest_path(*self.predecessors, self.costs_of(costs), finish)
        return finish

    def finish_times(self, full: bool = False) -> NDArray[np.int64]:
        """When each task ends with unlimited workers, in MMs; ``full`` counts starts and updates too."""
        return self._finish_times(FULL_COSTS if full else PAPER_COSTS)

    def critical_path(self, full: bool = False) -> NDArray[np.int64]:
        """Task ids of one longest chain of edges, first to last; tasks that cost nothing included."""
        from ..kernels.graphs import paths

        finish = self.finish_times(full)
        on_chain = np.zeros(len(self), np.bool_)
        costs = self.costs_of(FULL_COSTS if full else PAPER_COSTS)
        paths.critical_chain(*self.predecessors, costs, finish, int(finish.argmax()), on_chain)
        return np.flatnonzero(on_chain)

    def _completion(self, finish: NDArray[np.int64]) -> NDArray[np.int64]:
        """When each weight update is complete: the last of its UPDATE tasks, and of what follows them."""
        updating = np.isin(self.kinds, (Kind.UPDATE, Kind.ORTHOGONALISE))
        completion = np.zeros(self.updates, np.int64)
        np.maximum.at(completion, self.update_of[updating], finish[updating])
        return completion

    @cached_property
    def period_updates(self) -> int:
        """Weight updates per period of the calendar; raises where the graph shows no steady state."""
        last = int(self.steps[-1])
        steps = last + 1 - self.lead
        if steps > self.period:
            before = np.searchsorted(self.steps, last - self.period)
            updates = int(self.update_of[-1] - self.update_of[before])
        else:
            updates = self.period * self.updates // steps
        if self.updates <= updates:
            raise InputError(
                f"a steady state needs at least {updates + 1} weight updates, the graph has {self.updates}:"
                " ask for more updates"
            )
        return updates

    def in_period(self) -> NDArray[np.bool_]:
        """Which tasks belong to the weight updates of the last period, which is in the steady state."""
        return self.update_of >= self.updates - self.period_updates

    def products(self, costs: Costs) -> int | float:
        """The sum of all tasks' costs per weight update, the mean of the last period; kinds that are left out: 0."""
        return as_number(Fraction(int(self.costs_of(costs)[self.in_period()].sum()), self.period_updates))

    def growth(self, costs: Mapping[Kind, int]) -> int | float:
        """The longest chain of such costs per weight update, in the steady state. (Costs that differ from layer to
        layer settle late: for these there is ``steady.steady_chain``.)"""
        # The first half of the updates is left out, in case the forward start still shows there.
        period = self.period_updates
        span = period * max(1, (self.updates - 1) // (2 * period))
        completion = self._completion(self._finish_times(costs))
        return as_number(Fraction(int(completion[-1] - completion[-1 - span]), span))

    @cached_property
    def mm(self) -> int | float:
        """Matrix multiplications per weight update, steady state, paper convention (iPC paper, Table 4).

        The mean of a period: whole, unless several updates share one (as in iPC with ``steps_per_batch``). As all
        counts do, it raises ``InputError`` where the graph has no more updates than a period.
        """
        return self.products(PAPER_COSTS)

    @cached_property
    def smm(self) -> int | float:
        """Longest chain of MMs that wait for one another per weight update (Table 4, Theorem 3.1)."""
        return self.growth(PAPER_COSTS)

    @cached_property
    def mm_starts(self) -> int | float:
        """``mm`` with forward starts counted too."""
        return self.products(STARTS_COSTS)

    @cached_property
    def smm_starts(self) -> int | float:
        """``smm`` with forward starts counted too."""
        return self.growth(STARTS_COSTS)

    @cached_property
    def mm_full(self) -> int | float:
        """``mm`` with forward starts and weight-gradient products counted too, and Muon's."""
        return self.products(FULL_COSTS)

    @cached_property
    def smm_full(self) -> int | float:
        """``smm`` with forward starts and weight-gradient products counted too, and Muon's."""
        return self.growth(FULL_COSTS)

    @property
    def first(self) -> int:
        """Longest chain of MMs up to the first complete weight update (paper convention): with ``smm`` it says what an
        empty pipeline costs."""
        return int(self._completion(self._finish_times(PAPER_COSTS))[0])

    def makespan(self, workers: int) -> float:
        """MMs' time per weight update, steady state, of ``schedule(workers)`` continued without end.

        Exact: the graph's last period is repeated until the schedule's state comes back. Never below
        ``max(smm, mm / workers)``; ``smm_workers`` of a results file.
        """
        from ..kernels.graphs import paths

        workers = min(whole_number("workers", workers), MOST)
        first, indptr, indices, lag, updates = self.repeated()
        rate = np.zeros(2, np.int64)
        # In-order packing comes back after at most `workers` periods, and Brent's search sees it within three
        # times as many; the rest is for graphs changed by hand.
        limit = 1000 + 100 * min(workers, 1_000_000)
        paths.steady_state(indptr, indices, lag, self.costs_of(PAPER_COSTS)[first:], workers, limit, rate)
        if rate[1] == 0:
            raise InputError(f"no steady state within {limit} periods: use fewer workers or a graph of the builders")
        return float(Fraction(int(rate[0]), int(rate[1]) * updates))

    def repeated(self) -> Repeated:
        """The last period and what its tasks wait for; of several periods where starts begin more than one before their
        batch. Raises ``InputError`` where it does not repeat the one before."""
        steps = int(self.steps[-1]) + 1
        indptr, indices = self.predecessors
        back = np.repeat(self.steps, np.diff(indptr)) - self.steps[indices]
        several = -(-int(back.max(initial=1)) // self.period) or 1
        period, updates = several * self.period, several * self.period_updates
        first = int(np.searchsorted(self.steps, steps - period))
        indices = indices[indptr[first] :]
        indptr = indptr[first:] - indptr[first]
        lag = indices < first
        earlier = indices[lag]
        indices = indices - np.int32(first)
        repeated = self.task(self.kinds[earlier], self.steps[earlier] + period, self.layers[earlier])
        indices[lag] = repeated - first
        if np.any(indices < 0):
            raise InputError("the last period does not repeat the one before: use a graph of the builders")
        return Repeated(first, indptr, indices, lag, updates)

    def schedule(
        self, workers: int, costs: Mapping[Kind, int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """List schedule, earlier tasks first: (start, finish, worker) of every task, times in MMs.

        No worker idles while an MM is ready, so work runs ahead wherever nothing has to wait. ``costs`` (0 or
        1 per kind, 0 where left out) replaces the paper convention; tasks that cost 0 take no worker (-1).
        Raises ``InputError`` for other costs or fewer than one worker.
        """
        from ..kernels.graphs import paths

        workers = min(whole_number("workers", workers), MOST)
        costs = PAPER_COSTS if costs is None else costs
        found = {costs.get(Kind(kind), 0) for kind in np.unique(self.kinds)}
        if not found <= {0, 1}:
            raise InputError(f"a schedule's costs are 0 or 1 per kind, got {sorted(found)}")
        cost = self.costs_of(costs)
        slots = int(cost.sum()) + 2
        start, finish, worker = (np.empty(len(self), np.int64) for _ in range(3))
        busy, next_free = np.zeros(slots, np.int64), np.arange(slots)
        paths.list_schedule(*self.predecessors, cost, workers, start, finish, worker, busy, next_free)
        return start, finish, worker

    def reached(self) -> NDArray[np.bool_]:
        """Which tasks the first error of the output, or of heads, can have changed.

        From a forward start all hidden errors are exactly zero, so an UPDATE not reached changes nothing.
        """
        from ..kernels.graphs import paths

        reached = np.zeros(len(self), np.bool_)
        output = self.layers == self.depth  # of dual propagation, which pulls the output's values
        if not output.any():
            output = (self.layers == self.depth - 1) & np.isin(self.kinds, [Kind.START, Kind.PREDICT])
        reached[np.flatnonzero(output)[:1]] = True
        reached[self.kinds == Kind.HEAD] = True
        paths.reach(*self.predecessors, reached)
        return reached

    def describe(self, task: int) -> str:
        """A task in words, for messages."""
        return f"{Kind(self.kinds[task]).name} of layer {self.layers[task]} at step {self.steps[task]}"


def as_number(value: Fraction) -> int | float:
    """A whole number where it is one."""
    return int(value) if value.denominator == 1 else float(value)
