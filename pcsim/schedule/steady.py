"""The pace of a task graph that is continued without end, for products of any size.

Where all products take alike the longest chain settles within an update or two (``TaskGraph.growth``). Where they do
not, a chain may stay for long with what is slow to begin with before it finds the layer that holds everybody up. So
nothing is waited for here: a chain can only go on without end around a cycle of waits from one period to another, and
of all cycles the one with the largest costs per period sets the pace.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tasks import Costs, Repeated, TaskGraph, as_number


def steady_chain(graph: TaskGraph, costs: Costs, owner: Sequence[int] | None = None) -> int | float:
    """The longest chain of such costs per weight update, in the steady state and without end.

    costs: a whole number for each kind of task, or one for each layer; kinds that are left out: 0. owner: the worker
    that makes the products of each layer, one at a time and in the order of the graph; None: as many workers as can be
    used, of which no two make products of one kind with the same layer at once, since with late gradients each would
    need a version of its weights. (A net of one layer has no late gradients, and need not take turns.)
    """
    from ..kernels.graphs import paths

    repeated = graph.repeated()
    cost = graph.costs_of(costs)[repeated.first :]
    unit = int(np.gcd.reduce(cost)) or 1
    kinds, layers = graph.kinds[repeated.first :], graph.layers[repeated.first :]
    if owner is not None:
        repeated = _in_turn(repeated, cost, np.append(np.asarray(owner, np.int64), -1)[layers])
    elif graph.depth > 1:
        repeated = _in_turn(repeated, cost, kinds.astype(np.int64) * (graph.depth + 1) + layers)
    rate = np.zeros(2, np.int64)
    paths.cycle_ratio(repeated.indptr, repeated.indices, repeated.lag, cost // unit, rate)
    return as_number(Fraction(int(rate[0]) * unit, int(rate[1]) * repeated.updates))


def _in_turn(waits: Repeated, cost: NDArray[Any], maker: NDArray[Any]) -> Repeated:
    """The same waits, and those of each task for the one that its maker makes before it. What costs nothing is made by
    nobody."""
    busy = np.flatnonzero(cost)
    if not busy.size:
        return waits
    busy = busy[np.argsort(maker[busy], kind="stable")]
    mine = maker[busy]
    begins = np.flatnonzero(np.diff(mine, prepend=-1))  # each one's first task, before which is its last
    before = np.roll(busy, 1)
    before[begins] = busy[np.append(begins[1:], busy.size) - 1]
    lag = np.zeros(busy.size, np.bool_)
    lag[begins] = True
    tasks = cost.size
    after = np.concatenate([np.repeat(np.arange(tasks), np.diff(waits.indptr)), busy])
    order = np.argsort(after, kind="stable")
    indptr = np.zeros(tasks + 1, np.int64)
    np.cumsum(np.bincount(after, minlength=tasks), out=indptr[1:])
    indices = np.concatenate([waits.indices, before.astype(np.int32)])[order]
    return Repeated(waits.first, indptr, indices, np.concatenate([waits.lag, lag])[order], waits.updates)
