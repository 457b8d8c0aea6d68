"""Builds the task graph of an algorithm from its calendar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..checks import whole_number
from ..errors import InputError
from ..host.memory import available
from .calendar import FROM_HEADS, Calendar
from .overlapped import overlapped_graph
from .swept import swept_graph
from .tasks import MOST, Ids, Kind, Lookup, Predecessors, TaskGraph

# Measured peaks of building a graph and asking it everything: 50 to 89 bytes a task in deep graphs, and up to
# 380 a step on top, which shows in shallow ones.
_BYTES_PER_TASK, _BYTES_PER_STEP = 90, 400

# From the kind, steps and layers of tasks to at most three columns of predecessors, -1 for none.
_Edges = Callable[[Kind, Ids, Ids], tuple[Ids, ...]]


def check_memory(tasks: int, steps: int) -> None:
    """InputError for a graph too large for the memory at hand."""
    free = available()
    needed = tasks * _BYTES_PER_TASK + steps * _BYTES_PER_STEP
    if needed > free or tasks > MOST // 3:
        raise InputError(
            f"a graph of {tasks:,} tasks (at most {MOST // 3:,}) needs {needed / 1e9:,.1f} GB where"
            f" {free / 1e9:,.1f} GB are free: ask for less depth, fewer updates or fewer steps"
        )


def task_graph(algorithm: str, calendar: Calendar, depth: int, updates: int) -> TaskGraph:
    """The graph of ``updates`` complete weight updates of a net of that depth; ``algorithm``: its name.

    Everything that the calendar's rules allow can be built. Raises ``InputError`` for counts below 1 and for a graph
    too large for the memory at hand. No loop over tasks.
    """
    depth, updates = whole_number("depth", depth), whole_number("updates", updates)
    if calendar.overlapped:
        tasks = 5 if calendar.errors == FROM_HEADS else 3
        check_memory(tasks * depth * (calendar.steps(updates) + 2 * depth), calendar.steps(updates) + 2 * depth)
        return overlapped_graph(algorithm, calendar, depth, updates)
    if calendar.swept:
        check_memory(3 * depth * calendar.steps(updates), calendar.steps(updates))
        return swept_graph(algorithm, calendar, depth, updates)
    steps, lead = calendar.steps(updates), calendar.lead(depth)
    rounds, rest = divmod(steps, len(calendar.stages))
    products = 2 * depth - 1 if calendar.chained else depth
    sizes = [products + 2 * (depth - 1) * stage.move + len(stage.update) for stage in calendar.stages]
    check_memory(
        rounds * sum(sizes) + sum(sizes[:rest]) + lead * (1 + steps // (calendar.cycle or steps)), steps + lead
    )

    kinds, layers, step = _lay_out(calendar, depth, steps)
    find = Lookup(kinds, layers, step)
    edges = _chained(find, depth) if calendar.chained else _relaxing(find, depth, calendar)
    waits = np.full((kinds.size, 3), -1, np.int32)
    for member in (Kind.START, Kind.PREDICT, Kind.BACKPROJECT, Kind.VALUE, Kind.UPDATE):
        ids = np.flatnonzero(kinds == member)
        if ids.size:
            for column, before in enumerate(edges(member, step[ids], layers[ids])):
                waits[ids, column] = before
    present = waits >= 0
    indptr = np.zeros(kinds.size + 1, np.int64)
    np.cumsum(present.sum(1), out=indptr[1:])
    number = np.arange(-lead, steps)
    complete = calendar.completed[number % len(calendar.stages)]
    complete += number // len(calendar.stages) * calendar.completed[-1]
    complete[:lead] = 0  # the first starts, before any update
    waiting = Predecessors(indptr, waits[present])
    return TaskGraph(
        algorithm, depth, updates, calendar.period, kinds, layers, step, complete.astype(np.int32)[step], waiting, lead
    )


def _lay_out(calendar: Calendar, depth: int, steps: int) -> tuple[NDArray[np.int8], Ids, Ids]:
    """Kind, layer and step of every task: in the order of steps, kinds and layers."""
    layers = np.tile(np.arange(depth, dtype=np.int32), (Kind.UPDATE + 1, 1))
    if calendar.chained:  # errors come down
        layers[Kind.BACKPROJECT] = layers[Kind.BACKPROJECT, ::-1]
    hidden = layers[Kind.BACKPROJECT] > 0
    there = np.zeros((len(calendar.stages), *layers.shape), np.bool_)
    there[:, Kind.PREDICT] = True
    there[:, Kind.BACKPROJECT] = (calendar.moves | calendar.chained)[:, None] & hidden
    there[:, Kind.VALUE] = calendar.moves[:, None] & hidden
    there[:, Kind.UPDATE] = calendar.updates(depth)
    lead = calendar.lead(depth)
    present = there[np.arange(-lead, steps) % len(there)]
    if calendar.pipelined:
        present[:lead] = False
        after = np.arange(lead + steps)[:, None] - np.arange(depth)  # steps since a start would have begun
        present[:, Kind.START] = (after >= 0) & (after % calendar.cycle == 0) & (np.arange(depth) < depth - 1)
    elif not calendar.chained:
        opening = present[:: calendar.cycle or steps]
        opening[:, Kind.START], opening[:, Kind.PREDICT] = True, False
    found = np.flatnonzero(present)
    del present  # as large as a column of the graph
    step = (found // layers.size).astype(np.int32)
    found %= layers.size
    return (found // depth).astype(np.int8), layers.ravel()[found], step


def _since(happens: NDArray[np.bool_]) -> Ids:
    """Steps from each stage back to the last one before it, in endless rounds, where it ``happens``; stages first. More
    than any graph has where it never does."""
    stages = len(happens)
    at = np.arange(2 * stages, dtype=np.int32).reshape(-1, *[1] * (happens.ndim - 1))
    twice = np.concatenate([happens, happens])
    last = np.maximum.accumulate(np.where(twice, at, -MOST // 2), axis=0)
    return at[stages:] - last[stages - 1 : -1]


def _relaxing(find: Lookup, depth: int, calendar: Calendar) -> _Edges:
    """PC, Z-IL, iPC and whatever else relaxes: one dynamics with different calendars (iPC paper, Algorithms 1-3,
    Eqs. 9-11 jointly). With a pipelined start the steps count from the first start on."""
    since_update, since_move = _since(calendar.updates(depth)), _since(calendar.moves)
    stages, cycle, lead, pipelined = len(calendar.stages), calendar.cycle, calendar.lead(depth), calendar.pipelined

    def edges(kind: Kind, s: Ids, layer: Ids) -> tuple[Ids, ...]:
        def error(of: Ids) -> Ids:
            predicted = find(Kind.PREDICT, s, of - 1)
            return predicted if pipelined else np.maximum(find(Kind.START, s, of - 1), predicted)

        def value(of: Ids) -> Ids:
            at = begin - lead + of - 1 if pipelined else begin
            started = np.where(of < depth, find(Kind.START, at, of - 1), -1)
            return np.where(moved >= begin, find(Kind.VALUE, moved, of), started)

        begin = s - (s - lead) % cycle if cycle else np.zeros_like(s)
        moved = s - since_move[(s - lead) % stages]
        weights = find(Kind.UPDATE, s - since_update[(s - lead) % stages, layer], layer)
        match kind:
            case Kind.START:
                return find(Kind.START, s - pipelined, layer - 1), weights
            case Kind.PREDICT:
                return value(layer), value(layer + 1), weights
            case Kind.BACKPROJECT:
                return error(layer + 1), weights
            case Kind.VALUE:
                # At the opening one START made both the error and the value: one edge, not two.
                return (
                    error(layer),
                    find(Kind.BACKPROJECT, s, layer),
                    np.where((s == begin) & (not pipelined), -1, value(layer)),
                )
            case _:  # UPDATE
                return error(layer + 1), value(layer), weights

    return edges


def _chained(find: Lookup, depth: int) -> _Edges:
    """BP: the forward chain, the backward chain and all weight updates in one step."""

    def edges(kind: Kind, s: Ids, layer: Ids) -> tuple[Ids, ...]:
        values, weights = find(Kind.PREDICT, s, layer - 1), find(Kind.UPDATE, s - 1, layer)
        if kind == Kind.PREDICT:
            return values, weights
        output = np.where(layer == depth - 1, find(Kind.PREDICT, s, layer), -1)
        error = np.maximum(output, find(Kind.BACKPROJECT, s, layer + 1))
        return error, values, weights

    return edges
