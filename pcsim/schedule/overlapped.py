"""The task graph of an overlapped calendar: asynchronous BP, in which every layer works on a batch of its own.

A step of the graph is a slot. In slot s layer l predicts for batch s - l and back-projects and updates for batch
s - (2(L-1) - l). In the first 2(L-1) slots some of these batches do not exist, and their tasks are not there: these
are the bubbles. From then on every slot has all of them.
"""

import numpy as np

from .calendar import Calendar
from .tasks import Ids, Kind, Lookup, Predecessors, TaskGraph


def overlapped_graph(algorithm: str, calendar: Calendar, depth: int, updates: int) -> TaskGraph:
    """The slots up to the one that completes so many weight updates, in which W[0] has updated so often (the layers
    above it have by then gone on, as batches keep coming)."""
    fill, stages = 2 * (depth - 1), len(calendar.stages)
    slots = fill + calendar.steps(updates)
    slot, layer = np.arange(slots)[:, None], np.arange(depth)
    present = np.zeros((slots, len(Kind), depth), np.bool_)
    present[:, Kind.PREDICT] = slot >= layer
    present[:, Kind.UPDATE] = slot >= fill - layer
    present[:, Kind.BACKPROJECT, 1:] = (slot >= fill - layer)[:, 1:]
    steps, kinds, layers = (found.astype(np.int32) for found in np.nonzero(present))
    find = Lookup(kinds, layers, steps)
    waits = np.stack(_waits(find, kinds, steps, layers, depth), 1)
    there = waits >= 0
    indptr = np.zeros(kinds.size + 1, np.int64)
    np.cumsum(there.sum(1), out=indptr[1:])
    update_of = np.maximum(steps - fill, 0) // stages
    waiting = Predecessors(indptr, waits[there].astype(np.int32))
    return TaskGraph(
        algorithm, depth, updates, calendar.period, kinds.astype(np.int8), layers, steps,
        update_of.astype(np.int32), waiting,
    )  # fmt: skip


def _waits(find: Lookup, kinds: Ids, s: Ids, layer: Ids, depth: int) -> tuple[Ids, Ids, Ids]:
    """Three columns of predecessors, -1 for none. What a layer does in a slot it does with the weights of that slot: it
    begins the next one when both update and back-projection are done. (The values from which a layer updates have come
    before its error has, so they need no edge.)"""
    predicts = kinds == Kind.PREDICT
    value = find(Kind.PREDICT, s - 1, layer - 1)
    output = find(Kind.PREDICT, s, layer)
    error = np.where(layer == depth - 1, output, find(Kind.BACKPROJECT, s - 1, layer + 1))
    done = np.where(predicts, find(Kind.BACKPROJECT, s - 1, layer), -1)
    return np.where(predicts, value, error), find(Kind.UPDATE, s - 1, layer), done
