"""The one truth about what depends on what: task graphs of BP, PC, Z-IL and iPC, and everything counted on them.

A graph lists every task of a run (predictions, error products, value and weight updates of all layers and steps)
with its data-flow edges. Values and weights count as double-buffered: only true dependencies are edges. Counts,
schedules and the check of a recorded run are derived from these edges, never from formulas. Nothing here knows
nets, machines, clocks or files.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcsim.errors import InputError


class Kind(IntEnum):
    """What a task computes; its ``layer`` is the l of ``W[l]``, or of ``x[l]`` for VALUE."""

    START = 0  # mu[l+1] of the forward start from W[l], which is also x[l+1]
    PREDICT = 1  # mu[l+1] and e[l+1] from W[l]
    BACKPROJECT = 2  # pi[l+1] e[l+1] @ W[l], l >= 1
    VALUE = 3  # elementwise update of x[l], 1 <= l < L: no product, so it costs nothing
    UPDATE = 4  # e[l+1].T @ f(x[l]), applied to W[l]


PAPER_COSTS: Mapping[Kind, int] = {Kind.PREDICT: 1, Kind.BACKPROJECT: 1}
FULL_COSTS: Mapping[Kind, int] = {**PAPER_COSTS, Kind.START: 1, Kind.UPDATE: 1}


class Predecessors(NamedTuple):
    """Tasks that task v waits for: ``indices[indptr[v]:indptr[v + 1]]``, all smaller than v."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]


class _Lookup:
    """Ids from (kind, step, layer); tasks of one kind and step stand together, layers rising or falling."""

    def __init__(self, kinds: NDArray[Any], layers: NDArray[Any], steps: NDArray[Any]) -> None:
        change = (np.diff(kinds) != 0) | (np.diff(steps) != 0)
        first = np.concatenate(([0], np.flatnonzero(change) + 1))
        last = np.concatenate((first[1:], [kinds.size])) - 1
        direction = np.where(layers[last] < layers[first], -1, 1)
        shape = (len(Kind), int(steps[-1]) + 1)
        where = (kinds[first], steps[first])
        self.direction, self.origin = np.ones(shape, np.int64), np.zeros(shape, np.int64)
        self.low, self.high = np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
        self.direction[where] = direction
        self.origin[where] = first - direction * layers[first]
        self.low[where] = np.minimum(layers[first], layers[last])
        self.high[where] = np.maximum(layers[first], layers[last])

    def __call__(self, kind: ArrayLike, step: ArrayLike, layer: ArrayLike) -> NDArray[np.int64]:
        kind, step, layer = np.asarray(kind), np.asarray(step), np.asarray(layer)
        known = (step >= 0) & (step < self.origin.shape[1])
        step = np.where(known, step, 0)
        known = known & (layer >= self.low[kind, step]) & (layer <= self.high[kind, step])
        return np.where(known, self.origin[kind, step] + self.direction[kind, step] * layer, -1)


@dataclass(frozen=True, eq=False)
class TaskGraph:
    """All tasks of ``updates`` complete weight updates, in topological order, and what each waits for.

    ``kinds``, ``layers``, ``steps`` (global inference step) and ``update_of`` (index of the weight update it
    belongs to) have one entry per task. The calendar repeats every ``period`` steps (1 for iPC on a full batch
    and BP, a whole cycle otherwise). The arrays are shared: treat them as read-only.
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

    def __len__(self) -> int:
        return self.kinds.size

    @cached_property
    def _lookup(self) -> _Lookup:
        return _Lookup(self.kinds, self.layers, self.steps)

    def task(self, kind: ArrayLike, step: ArrayLike, layer: ArrayLike) -> NDArray[np.int64]:
        """Ids of tasks, -1 where there is none; the arguments broadcast against one another."""
        return self._lookup(kind, step, layer)

    def _costs(self, costs: Mapping[Kind, int]) -> NDArray[np.int64]:
        return np.array([costs.get(kind, 0) for kind in Kind], np.int64)[self.kinds]

    def _finish_times(self, costs: Mapping[Kind, int]) -> NDArray[np.int64]:
        from pcsim.kernels import graph

        finish = np.empty(len(self), np.int64)
        graph.longest_path(*self.predecessors, self._costs(costs), finish)
        return finish

    def finish_times(self, full: bool = False) -> NDArray[np.int64]:
        """When each task ends with unlimited workers, in MMs; ``full`` counts starts and updates as MMs too."""
        return self._finish_times(FULL_COSTS if full else PAPER_COSTS)

    def critical_path(self, full: bool = False) -> NDArray[np.int64]:
        """Task ids of one longest chain of edges, first to last; tasks that cost nothing included."""
        from pcsim.kernels import graph

        finish = self.finish_times(full)
        on_chain = np.zeros(len(self), np.bool_)
        costs = self._costs(FULL_COSTS if full else PAPER_COSTS)
        graph.critical_chain(*self.predecessors, costs, finish, int(finish.argmax()), on_chain)
        return np.flatnonzero(on_chain)

    def _completion(self, finish: NDArray[np.int64]) -> NDArray[np.int64]:
        """When each weight update is complete: the last of its UPDATE tasks."""
        updating = self.kinds == Kind.UPDATE
        completion = np.zeros(self.updates, np.int64)
        np.maximum.at(completion, self.update_of[updating], finish[updating])
        return completion

    @cached_property
    def _period_updates(self) -> int:
        """Weight updates per period of the calendar; raises where the graph shows no steady state."""
        steps = int(self.steps[-1]) + 1
        updates = self.period * self.updates // steps
        if self.updates <= updates:
            raise InputError(
                f"a steady state needs at least {updates + 1} weight updates, the graph has {self.updates}:"
                " ask for more updates"
            )
        return updates

    def _products(self, costs: Mapping[Kind, int]) -> int | float:
        counted = self.update_of >= self.updates - self._period_updates
        return _number(Fraction(int(self._costs(costs)[counted].sum()), self._period_updates))

    def _growth(self, costs: Mapping[Kind, int]) -> int | float:
        # The first half of the updates is left out: there the forward start of iPC still shows.
        period = self._period_updates
        span = period * max(1, (self.updates - 1) // (2 * period))
        completion = self._completion(self._finish_times(costs))
        return _number(Fraction(int(completion[-1] - completion[-1 - span]), span))

    @cached_property
    def mm(self) -> int | float:
        """Matrix multiplications per weight update, steady state, paper convention (iPC paper, Table 4).

        Whole except for iPC with ``steps_per_batch``, where it is a mean over one batch. Raises ``InputError``
        with fewer than two updates (or, with ``steps_per_batch``, than one batch and a step), as all counts do.
        """
        return self._products(PAPER_COSTS)

    @cached_property
    def smm(self) -> int | float:
        """Longest chain of waiting MMs per weight update, steady state, paper convention (Table 4, Theorem 3.1)."""
        return self._growth(PAPER_COSTS)

    @cached_property
    def mm_full(self) -> int | float:
        """``mm`` with forward starts and weight-gradient products counted too."""
        return self._products(FULL_COSTS)

    @cached_property
    def smm_full(self) -> int | float:
        """``smm`` with forward starts and weight-gradient products counted too."""
        return self._growth(FULL_COSTS)

    def makespan(self, workers: int) -> float:
        """MMs' time per weight update, steady state, of ``schedule(workers)`` continued without end.

        Exact: the graph's last period is repeated until the schedule's state comes back. Never below
        ``max(smm, mm / workers)``; ``smm_workers`` of a results file.
        """
        from pcsim.kernels import graph

        workers = _count("workers", workers)
        updates = self._period_updates
        steps = int(self.steps[-1]) + 1
        indptr, indices = self.predecessors
        first = int(np.searchsorted(self.steps, steps - self.period))
        indices = indices[indptr[first] :]
        indptr = indptr[first:] - indptr[first]
        lag = indices < first
        earlier = indices[lag]
        indices = indices - np.int32(first)
        repeated = self.task(self.kinds[earlier], self.steps[earlier] + self.period, self.layers[earlier])
        indices[lag] = repeated - first
        if np.any(indices < 0):
            raise InputError("the graph's last period does not repeat the one before: take a graph of the builders")
        rate = np.zeros(2, np.int64)
        # In-order packing comes back after at most `workers` periods; Brent's search sees it within three times that.
        limit = 1000 + 4 * workers
        graph.steady_state(indptr, indices, lag, self._costs(PAPER_COSTS)[first:], workers, limit, rate)
        if rate[1] == 0:
            raise InputError("the graph never comes to a steady state: some layers do not wait for the others")
        return float(Fraction(int(rate[0]), int(rate[1]) * updates))

    def schedule(
        self, workers: int, costs: Mapping[Kind, int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """List schedule in task order on ``workers`` workers: (start, finish, worker) of every task, in MMs.

        No worker idles while an MM is ready, so work runs ahead wherever nothing has to wait. ``costs`` (0 or 1
        per kind, 0 where left out) replaces the paper convention; tasks that cost 0 take no worker (-1).
        """
        from pcsim.kernels import graph

        workers = _count("workers", workers)
        if costs is not None and not set(costs.values()) <= {0, 1}:
            raise InputError(f"a schedule's costs are 0 or 1 per kind, got {sorted(set(costs.values()))}")
        cost = self._costs(PAPER_COSTS if costs is None else costs)
        slots = int(cost.sum()) + 2
        start, finish, worker = (np.empty(len(self), np.int64) for _ in range(3))
        busy, next_free = np.zeros(slots, np.int64), np.arange(slots)
        graph.list_schedule(*self.predecessors, cost, workers, start, finish, worker, busy, next_free)
        return start, finish, worker

    def reached(self) -> NDArray[np.bool_]:
        """Which tasks the first output error can have changed.

        From a forward start all hidden errors are exactly zero, so an UPDATE not reached changes nothing.
        """
        from pcsim.kernels import graph

        reached = np.zeros(len(self), np.bool_)
        sources = self.task([Kind.START, Kind.PREDICT], 0, self.depth - 1)
        reached[sources[sources >= 0]] = True
        graph.reach(*self.predecessors, reached)
        return reached

    def check_order(
        self, event_of_task: ArrayLike, start: ArrayLike, end: ArrayLike, optional: Iterable[Kind] = ()
    ) -> list[str]:
        """What is wrong with the order of a recorded run: at most ten sentences, then a count; [] if nothing.

        ``event_of_task`` gives the event that covers each task (-1: none), ``start`` and ``end`` the events' times
        in any one unit. Along every edge the earlier task's event must have ended when the later one's starts,
        unless it is the same event. Tasks of the ``optional`` kinds need no event of their own; what they wait for,
        their followers wait for. Raises ``InputError`` for arrays that do not fit together.
        """
        from pcsim.kernels import graph

        event = np.asarray(event_of_task, np.int64)
        begin, finish = np.asarray(start, np.float64), np.asarray(end, np.float64)
        if event.shape != (len(self),) or begin.ndim != 1 or begin.shape != finish.shape:
            raise InputError(
                f"check_order needs one event per task ({len(self)}) and a start and an end per event, got shapes"
                f" {event.shape}, {begin.shape} and {finish.shape}"
            )
        if event.max() >= begin.size or event.min() < -1:
            raise InputError(f"events must be -1 (none) or below {begin.size}, the number of event times given")
        if not (np.isfinite(begin).all() and np.isfinite(finish).all()):
            raise InputError("event times must be finite numbers: leave out events that never started or ended")

        found: list[str] = []
        backwards = np.flatnonzero(finish < begin)
        found += [f"event {i} ends at {finish[i]:.9g} before it starts at {begin[i]:.9g}" for i in backwards[:10]]
        uncovered = np.flatnonzero((event < 0) & ~np.isin(self.kinds, [int(kind) for kind in optional]))
        found += [f"{self._name(i)} is covered by no event" for i in uncovered[:10]]
        edges, culprits = np.zeros(10, np.int64), np.zeros(10, np.int64)
        total, latest = np.zeros(1, np.int64), np.empty((len(self), 2), np.int64)
        graph.order_violations(*self.predecessors, event, begin, finish, latest, edges, culprits, total)
        indptr, indices = self.predecessors
        for edge, culprit in zip(edges[: total[0]], culprits, strict=False):
            later = int(np.searchsorted(indptr, edge, side="right")) - 1
            found.append(
                f"{self._name(later)} starts at {begin[event[later]]:.9g} (event {event[later]}), before"
                f" {self._name(indices[edge])} is ready at {finish[culprit]:.9g} (event {culprit})"
            )
        number = backwards.size + uncovered.size + int(total[0])
        return found[:10] + ([f"and {number - 10} more"] if number > 10 else [])

    def _name(self, task: int) -> str:
        return f"{Kind(self.kinds[task]).name} of layer {self.layers[task]} at step {self.steps[task]}"


def _number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def _count(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return number


# Peak of building, measured: 1,000 x 1,000 iPC. Counting on a graph stays below it.
_BYTES_PER_TASK = 130


def _enumerate(
    blocks: Sequence[tuple[NDArray[Any], NDArray[Any], NDArray[Any], int]], tasks: int
) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.int32]]:
    """(kinds, layers, steps) of all tasks: in every step, block after block of (kind, first layer, count, +-1)."""
    kind, first, count = (np.stack([block[i] for block in blocks], 1).ravel() for i in range(3))
    direction = np.tile([block[3] for block in blocks], count.size // len(blocks))
    origin = first - direction * (np.cumsum(count) - count)
    layers = np.repeat(origin, count)
    layers += np.repeat(direction, count) * np.arange(tasks)
    steps = np.repeat(np.arange(count.size) // len(blocks), count)
    return np.repeat(kind, count).astype(np.int8), layers.astype(np.int32), steps.astype(np.int32)
