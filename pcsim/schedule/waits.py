"""Who waits for whom where every layer has a worker: the products of a task graph and the waits between them.

A task that costs nothing, such as a value update, is none of its own here: whoever waits for it waits for the products
that it waits for. Made for graphs that fit on a page; nothing else here is fast.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .costs import prediction_of
from .tasks import STARTS_COSTS, Kind, TaskGraph


def waits(graph: TaskGraph) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of products, weight gradients left out, of which the later waits for the earlier: of
    several of one layer for the last, as a layer makes them in turn; and a wait that follows from two others is none.
    """
    indptr, before = graph.predecessors
    products = np.isin(graph.kinds, list(STARTS_COSTS))
    earlier: list[int] = []  # of each task all products before it, a bit for each
    sources: list[set[int]] = []  # of each task the last of these: itself, or what it waits for
    found = []
    for task in range(len(graph)):
        mine = before[indptr[task] : indptr[task + 1]].tolist()
        known = set().union(*(sources[other] for other in mine))
        known = set({int(graph.layers[one]): one for one in sorted(known)}.values())
        last = {one for one in known if not any(earlier[other] >> one & 1 for other in known)}
        reached = 0
        for other in last:
            reached |= earlier[other] | 1 << other
        earlier.append(reached)
        sources.append({task} if products[task] else last)
        found += [(other, task) for other in sorted(last)] if products[task] else []
    return found


def turns(graph: TaskGraph, costs: Mapping[Kind, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When each task starts and ends if a layer makes one product at a time, in the order of the graph, as soon as what
    it waits for is there; ``costs``: how long a product of each kind takes (0 where left out)."""
    indptr, before = graph.predecessors
    start, finish = np.zeros((2, len(graph)), np.int64)
    free = np.zeros(graph.depth + 1, np.int64)
    for task in range(len(graph)):
        mine = before[indptr[task] : indptr[task + 1]]
        cost, layer = costs.get(Kind(graph.kinds[task]), 0), graph.layers[task]
        start[task] = max(finish[mine].max(initial=0), free[layer] if cost else 0)
        finish[task] = start[task] + cost
        if cost:
            free[layer] = finish[task]
    return start, finish


def updates_of(graph: TaskGraph) -> NDArray[np.int64]:
    """Of each task, the weight update of its layer that it is for, from 0 on. With several batches under way this is
    not the one that is complete next."""
    found = graph.update_of.astype(np.int64)
    begins: dict[int, int] = {}
    for layer in range(graph.depth):
        updates = np.flatnonzero((graph.kinds == Kind.UPDATE) & (graph.layers == layer)).tolist()
        begins |= {prediction_of(graph, update): number for number, update in enumerate(updates)}
    for task in np.flatnonzero(np.isin(graph.kinds, list(STARTS_COSTS))).tolist():
        found[task] = begins.get(prediction_of(graph, task), found[task])
    return found
