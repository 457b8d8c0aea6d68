"""The task graph of dual propagation: half sweeps, in which the layers of one parity move between neighbours at rest.

In the half sweep in which x[k] moves ``W[k-1]`` predicts for it, it takes its new values (VALUE, of the output too),
and what it then sends back through ``W[k-1]`` (BACKPROJECT of layer k - 1) is there for x[k-1] in the next one.
"""

import numpy as np

from .calendar import Calendar
from .tasks import Ids, Kind, Lookup, Predecessors, TaskGraph


def swept_graph(algorithm: str, calendar: Calendar, depth: int, updates: int) -> TaskGraph:
    """The half sweeps of so many weight updates, with the forward pass that begins each batch."""
    stages, cycle, steps = len(calendar.stages), calendar.cycle, calendar.steps(updates)
    number = np.arange(steps)
    parity = np.array([stage.parity for stage in calendar.stages])[number % stages]
    moves = np.arange(depth + 1) % 2 == parity[:, None]  # (steps, depth + 1): whether x[k] moves
    present = np.zeros((steps, Kind.UPDATE + 1, depth + 1), np.bool_)
    present[:: cycle or steps, Kind.START, :depth] = True
    present[:, Kind.VALUE, 1:] = present[:, Kind.PREDICT, :depth] = moves[:, 1:]
    present[:, Kind.BACKPROJECT, 1:depth] = moves[:, 2:]
    present[:, Kind.UPDATE, :depth] = calendar.updates(depth)[number % stages]
    order = (Kind.START, Kind.PREDICT, Kind.VALUE, Kind.BACKPROJECT, Kind.UPDATE)  # as they wait for one another
    step, place, layer = (found.astype(np.int32) for found in np.nonzero(present[:, list(order)]))
    kinds = np.array(order, np.int32)[place]
    find = Lookup(kinds, layer, step)
    waits = np.stack(_waits(find, kinds, step, layer, calendar), 1)
    there = waits >= 0
    indptr = np.zeros(kinds.size + 1, np.int64)
    np.cumsum(there.sum(1), out=indptr[1:])
    complete = calendar.completed[number % stages] + number // stages * calendar.completed[-1]
    waiting = Predecessors(indptr, waits[there].astype(np.int32))
    return TaskGraph(
        algorithm, depth, updates, calendar.period, kinds.astype(np.int8), layer, step,
        complete.astype(np.int32)[step], waiting,
    )  # fmt: skip


def _waits(find: Lookup, kinds: Ids, s: Ids, l: Ids, calendar: Calendar) -> tuple[Ids, Ids, Ids]:
    """Three columns of predecessors, -1 for none. Of a VALUE task l is the layer of x[l], else that of ``W[l]``."""
    stages, cycle = len(calendar.stages), calendar.cycle
    begin = s - s % cycle if cycle else np.zeros_like(s)

    def value(of: Ids, until: Ids) -> Ids:
        """The task that made x[of] as it stands after step ``until``: a move of this batch, or its forward start."""
        found = find(Kind.START, begin, of - 1)
        for back in reversed(range(stages)):
            moved = find(Kind.VALUE, until - back, of)
            found = np.where((moved >= 0) & (until - back >= begin), moved, found)
        return found

    def updated(of: Ids) -> Ids:
        """The last update of W[of] before this step."""
        found = np.full(kinds.size, -1)
        for back in reversed(range(1, stages + 1)):
            before = find(Kind.UPDATE, s - back, of)
            found = np.where(before >= 0, before, found)
        return found

    weights, none = updated(l), np.full(kinds.size, -1)
    sent = none  # back to x[l], in a half sweep before, of this batch
    for back in reversed(range(1, stages + 1)):
        before = find(Kind.BACKPROJECT, s - back, l)
        sent = np.where((before >= 0) & (s - back >= begin), before, sent)
    first = np.select(
        [kinds == Kind.START, kinds == Kind.PREDICT, kinds == Kind.VALUE],
        [find(Kind.START, s, l - 1), value(l, s - 1), find(Kind.PREDICT, s, l - 1)],
        value(l + 1, s),
    )
    second = np.select([kinds == Kind.VALUE, kinds == Kind.UPDATE], [sent, value(l, s)], weights)
    return first, second, np.where(kinds == Kind.UPDATE, weights, none)
