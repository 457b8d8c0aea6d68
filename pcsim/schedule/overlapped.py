"""The task graph of an overlapped calendar, in which every layer works on a batch of its own.

A step of the graph is a slot. In slot s layer l predicts for batch s - l. Asynchronous BP, whose errors come from the
layer above, back-projects and updates for batch s - (2(L-1) - l); local losses do it for the batch of the prediction,
and direct feedback alignment for batch s - (L-1). In the first slots some of these batches do not exist, and their
tasks are not there: these are the bubbles. From then on every slot has all of them.
"""

import numpy as np

from .calendar import FROM_ABOVE, FROM_HEADS, Calendar
from .tasks import Ids, Kind, Lookup, Predecessors, TaskGraph

# Within a slot, as they wait for one another.
_ORDER = [Kind.PREDICT, Kind.HEAD, Kind.FEEDBACK, Kind.BACKPROJECT, Kind.UPDATE, Kind.HEAD_UPDATE]


def overlapped_graph(algorithm: str, calendar: Calendar, depth: int, updates: int) -> TaskGraph:
    """The slots up to the one that completes so many weight updates, in which the last layer to begin has updated so
    often (the others may by then have gone on, as batches keep coming)."""
    stages, layer = len(calendar.stages), np.arange(depth)
    first = layer + np.array([calendar.late(l, depth) for l in range(depth)])  # slot of each layer's first update
    fill = int(first.max())
    slots = fill + calendar.steps(updates)
    slot = np.arange(slots)[:, None]
    present = np.zeros((slots, len(Kind), depth), np.bool_)
    present[:, Kind.PREDICT] = slot >= layer
    present[:, Kind.UPDATE] = slot >= first
    for kind in _others(calendar):
        there = (slot >= first) & ((layer > 0) if kind == Kind.BACKPROJECT else (layer < depth - 1))
        present[:, kind] = there
    steps, places, layers = (found.astype(np.int32) for found in np.nonzero(present[:, _ORDER]))
    kinds = np.array(_ORDER, np.int32)[places]
    find = Lookup(kinds, layers, steps)
    waits = np.stack(_waits(find, kinds, steps, layers, depth, calendar), 1)
    there = waits >= 0
    indptr = np.zeros(kinds.size + 1, np.int64)
    np.cumsum(there.sum(1), out=indptr[1:])
    # Of a layer that began earlier the update that is complete when all have made theirs.
    update_of = np.maximum(steps - fill, 0) // stages
    waiting = Predecessors(indptr, waits[there].astype(np.int32))
    return TaskGraph(
        algorithm, depth, updates, calendar.period * calendar.waits, kinds.astype(np.int8), layers, steps,
        update_of.astype(np.int32), waiting,
    )  # fmt: skip


def _others(calendar: Calendar) -> tuple[Kind, ...]:
    """What bridges a layer's prediction and its update."""
    if calendar.errors == FROM_ABOVE:
        return (Kind.BACKPROJECT,)
    return (Kind.HEAD, Kind.FEEDBACK, Kind.HEAD_UPDATE) if calendar.errors == FROM_HEADS else (Kind.FEEDBACK,)


def _waits(find: Lookup, kinds: Ids, s: Ids, layer: Ids, depth: int, calendar: Calendar) -> tuple[Ids, Ids, Ids]:
    """Three columns of predecessors, -1 for none. What a layer does in a slot it does with the weights of that slot: it
    begins the next one when its update, and whatever reads its weights, is done. (The values from which a layer updates
    have come before its error has, so they need no edge.)"""
    predicts, last = kinds == Kind.PREDICT, layer == depth - 1
    value, output = find(Kind.PREDICT, s - 1, layer - 1), find(Kind.PREDICT, s, layer)
    updated = find(Kind.UPDATE, s - 1, layer)
    if calendar.errors == FROM_ABOVE:
        error = np.where(last, output, find(Kind.BACKPROJECT, s - 1, layer + 1))
        done = np.where(predicts, find(Kind.BACKPROJECT, s - 1, layer), -1)
        return np.where(predicts, value, error), updated, done
    none = np.full(kinds.size, -1)
    feedback = find(Kind.FEEDBACK, s, layer)
    if calendar.errors == FROM_HEADS:
        source, head_updated = find(Kind.HEAD, s, layer), find(Kind.HEAD_UPDATE, s - 1, layer)
    else:
        source, head_updated = find(Kind.PREDICT, s, np.full_like(layer, depth - 1)), none
    from_ = np.select(
        [predicts, kinds == Kind.UPDATE, kinds == Kind.HEAD], [value, np.where(last, output, feedback), output], source
    )
    weights = np.where(predicts | (kinds == Kind.UPDATE), updated, head_updated)
    return from_, weights, none
