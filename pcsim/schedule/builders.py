"""Builds the task graph of an algorithm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .tasks import MOST, Ids, Kind, Lookup, Predecessors, TaskGraph, whole_count

# Measured peaks of building a graph and asking it everything: 50 to 89 bytes a task in deep graphs, and up to
# 380 a step on top, which shows in shallow ones.
_BYTES_PER_TASK, _BYTES_PER_STEP = 90, 400

# One entry per inference step: the kind, first layer and number of tasks; then +1 or -1, how the layers run.
_Block = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]

# From the kind, steps and layers of tasks to at most three columns of predecessors, -1 for none.
_Edges = Callable[[Kind, Ids, Ids, Lookup], tuple[Ids, ...]]


def _check_memory(tasks: int, steps: int) -> None:
    import psutil

    available = psutil.virtual_memory().available
    needed = tasks * _BYTES_PER_TASK + steps * _BYTES_PER_STEP
    if needed > available or tasks > MOST // 3:
        raise InputError(
            f"a graph of {tasks:,} tasks (at most {MOST // 3:,}) needs {needed / 1e9:,.1f} GB where"
            f" {available / 1e9:,.1f} GB are free: ask for less depth, fewer updates or fewer steps"
        )


def _graph(
    algorithm: str,
    depth: int,
    updates: int,
    period: int,
    interval: int,
    blocks: Sequence[_Block],
    edges: _Edges,
) -> TaskGraph:
    """Lay out block after block in every step and tie each task to its predecessors; no loop over tasks."""
    kind, first, count = (np.stack([block[i] for block in blocks], 1).ravel() for i in range(3))
    direction = np.tile([block[3] for block in blocks], count.size // len(blocks))
    kinds = np.repeat(kind, count).astype(np.int8)
    steps = np.repeat(np.arange(count.size) // len(blocks), count).astype(np.int32)
    origin = first - direction * (np.cumsum(count) - count)
    layers = (np.repeat(origin, count) + np.repeat(direction, count) * np.arange(kinds.size)).astype(np.int32)

    find = Lookup(kinds, layers, steps)
    waits = np.full((kinds.size, 3), -1, np.int32)
    for member in Kind:
        ids = np.flatnonzero(kinds == member)
        if ids.size:
            for column, found in enumerate(edges(member, steps[ids], layers[ids], find)):
                waits[ids, column] = found
    present = waits >= 0
    indptr = np.zeros(kinds.size + 1, np.int64)
    np.cumsum(present.sum(1), out=indptr[1:])
    update_of = steps // np.int32(interval)
    waiting = Predecessors(indptr, waits[present])
    return TaskGraph(algorithm, depth, updates, period, kinds, layers, steps, update_of, waiting)


def _relaxation(
    algorithm: str,
    depth: int,
    updates: int,
    interval: int,
    due: Callable[[Ids], Ids],
    cycle: int,
    rest: int,
) -> TaskGraph:
    """PC, Z-IL and iPC are one dynamics with three calendars (iPC paper, Algorithms 1-3, Eqs. 9-11 jointly).

    ``W[l]`` updates at every step that is ``due(l)`` modulo ``interval``. A forward start opens every cycle
    of ``cycle`` steps (0: one for ever); its last ``rest`` steps leave the values alone.
    """
    total = updates * interval
    period, cycle = cycle or 1, cycle or total
    relaxing = total - total // cycle * rest
    _check_memory((total + updates) * depth + relaxing * 2 * (depth - 1), total)

    step = np.arange(total)
    zero = np.zeros_like(step)
    hidden = np.where(step % cycle < cycle - rest, depth - 1, 0)
    falling = np.arange(depth)[::-1]
    first_due = np.zeros(interval, np.int64)
    first_due[due(falling)] = falling  # where several are due, the last written is the lowest
    number_due = np.bincount(due(falling), minlength=interval)
    blocks: list[_Block] = [
        (np.where(step % cycle == 0, int(Kind.START), int(Kind.PREDICT)), zero, zero + depth, 1),
        (zero + Kind.BACKPROJECT, zero + 1, hidden, 1),
        (zero + Kind.VALUE, zero + 1, hidden, 1),
        (zero + Kind.UPDATE, first_due[step % interval], number_due[step % interval], 1),
    ]

    def edges(kind: Kind, s: Ids, layer: Ids, find: Lookup) -> tuple[Ids, ...]:
        def error(of: Ids) -> Ids:
            return np.maximum(find(Kind.START, s, of - 1), find(Kind.PREDICT, s, of - 1))

        def value(of: Ids) -> Ids:
            return np.where(opening, find(Kind.START, s, of - 1), find(Kind.VALUE, s - 1, of))

        opening = s % cycle == 0
        weights = find(Kind.UPDATE, s - 1 - (s - 1 - due(layer)) % interval, layer)
        match kind:
            case Kind.START:
                return find(Kind.START, s, layer - 1), weights
            case Kind.PREDICT:
                return find(Kind.VALUE, s - 1, layer), find(Kind.VALUE, s - 1, layer + 1), weights
            case Kind.BACKPROJECT:
                return error(layer + 1), weights
            case Kind.VALUE:
                # At the opening one START made both the error and the value: one edge, not two.
                return error(layer), find(Kind.BACKPROJECT, s, layer), np.where(opening, -1, value(layer))
            case Kind.UPDATE:
                return error(layer + 1), value(layer), weights

    return _graph(algorithm, depth, updates, period, interval, blocks, edges)


def incremental(depth: int, updates: int, steps_per_batch: int | None = None) -> TaskGraph:
    """iPC: every weight updates at every step; one endless cycle, or a start every ``steps_per_batch``.

    Raises ``InputError``, as all builders do, for counts below 1 or a graph too large for the memory at hand.
    """
    depth, updates = whole_count("depth", depth), whole_count("updates", updates)
    cycle = 0 if steps_per_batch is None else whole_count("steps_per_batch", steps_per_batch)
    return _relaxation("ipc", depth, updates, 1, np.zeros_like, cycle, rest=0)


def predictive_coding(depth: int, updates: int, steps: int) -> TaskGraph:
    """PC(T): forward start, T = ``steps`` value updates, then all weights from the errors at t = T."""
    depth, updates, steps = whole_count("depth", depth), whole_count("updates", updates), whole_count("steps", steps)
    return _relaxation("pc", depth, updates, steps + 1, lambda layer: np.full_like(layer, steps), steps + 1, rest=1)


def zero_divergence(depth: int, updates: int) -> TaskGraph:
    """Z-IL: PC with T = L - 1 whose ``W[L-1-t]`` updates at step t already (iPC paper, Algorithm 3)."""
    depth, updates = whole_count("depth", depth), whole_count("updates", updates)
    return _relaxation("zil", depth, updates, depth, lambda layer: depth - 1 - layer, depth, rest=1)


def backprop(depth: int, updates: int) -> TaskGraph:
    """BP: the forward chain, the backward chain and all weight updates, one step per weight update."""
    depth, updates = whole_count("depth", depth), whole_count("updates", updates)
    _check_memory(updates * (3 * depth - 1), updates)
    zero = np.zeros(updates, np.int64)
    blocks: list[_Block] = [
        (zero + Kind.PREDICT, zero, zero + depth, 1),
        (zero + Kind.BACKPROJECT, zero + depth - 1, zero + depth - 1, -1),
        (zero + Kind.UPDATE, zero, zero + depth, 1),
    ]

    def edges(kind: Kind, s: Ids, layer: Ids, find: Lookup) -> tuple[Ids, ...]:
        values, weights = find(Kind.PREDICT, s, layer - 1), find(Kind.UPDATE, s - 1, layer)
        if kind == Kind.PREDICT:
            return values, weights
        output = np.where(layer == depth - 1, find(Kind.PREDICT, s, layer), -1)
        error = np.maximum(output, find(Kind.BACKPROJECT, s, layer + 1))
        return error, values, weights

    return _graph("bp", depth, updates, 1, 1, blocks, edges)
