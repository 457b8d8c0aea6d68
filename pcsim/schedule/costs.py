"""What a count of products in a row leaves out: their sizes, how late gradients are, what is kept, and who is told.

All of it is read off a task graph, for layers of equal width. Nothing here knows algorithms.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

import numpy as np

from ..checks import whole_number
from ..errors import InputError
from .orthogonal import multiplications
from .tasks import FULL_COSTS, PAPER_COSTS, Kind, TaskGraph

# Products of a head or of a fixed feedback matrix: (classes, width), where a layer's are (width, width).
SMALL = frozenset({Kind.HEAD, Kind.FEEDBACK, Kind.HEAD_UPDATE})

WIDTH, CLASSES = 64, 10  # unless told otherwise


# Muon's products cannot be left out beside those of a step, nor the gradients that they wait for.
MUON = (Kind.ORTHOGONALISE, Kind.HEAD_ORTHOGONALISE)
MUON_AND_GRADIENTS = (Kind.UPDATE, Kind.HEAD_UPDATE, *MUON)


def costs(graph: TaskGraph, width: int = WIDTH, classes: int = CLASSES, batch: int = 1) -> dict[str, Any]:
    """What a weight update costs in the steady state, for layers of ``width`` units each, the output's included, and
    heads and feedback of so many ``classes``, on as many workers as can be used. ``batch``: samples of a batch, among
    which Muon's products, which are made once for all of them, are shared out.

    - ``span_flop``: as ``smm``, with each product weighed by its multiplications; the unit is a hidden layer's product
      for the whole batch, ``width * width`` for each sample; with Muon, weight gradients and its products stand in it
    - ``delay``: weight updates between the first layer's prediction for a batch and its update from that batch
    - ``held``: batches whose values the first layer has to keep at once
    - ``messages_up``, ``messages_down``: sent to higher and to lower layers where each has a worker of its own, divided
      by the pairs of neighbours
    - ``flops``: of all products, weight gradients and forward starts included, for one sample: 2 for each
      multiplication

    No layer above the first has a later gradient or keeps more. Raises ``InputError`` for numbers below 1 and a graph
    that shows no steady state.
    """
    width, classes = whole_number("width", width), whole_number("classes", classes)
    batch = whole_number("batch", batch)
    sizes = dict.fromkeys(Kind, width**2) | dict.fromkeys(SMALL, width * classes) | {Kind.COMBINE: width**3}
    orthogonal = bool(np.isin(graph.kinds, MUON).any())
    samples = batch if orthogonal else 1  # what else there is takes each sample as long
    sizes = {kind: size * samples for kind, size in sizes.items()}
    sizes |= dict(zip(MUON, (multiplications(rows, width) for rows in (width, classes)), strict=True))
    chain = {kind: sizes[kind] for kind in (*PAPER_COSTS, *(MUON_AND_GRADIENTS if orthogonal else ()))}
    flop = graph.products({kind: 2 * sizes[kind] for kind in FULL_COSTS})
    ways = graph.message_ways(range(graph.depth))
    up, down = (number / max(graph.depth - 1, 1) for number in ways)
    delay, held = _kept(graph)
    return {
        "span_flop": graph.growth(chain) / (samples * width**2), "delay": delay, "held": held + _started(graph),
        "messages_up": up, "messages_down": down, "flops": flop / samples if orthogonal else flop,
    }  # fmt: skip


def prediction_of(graph: TaskGraph, update: int) -> int:
    """The prediction from which the error of an UPDATE follows: the latest of its layer on which it depends."""
    indptr, before = graph.predecessors
    predicts = np.isin(graph.kinds, (Kind.START, Kind.PREDICT)) & (graph.layers == graph.layers[update])
    waiting, seen = [-update], {update}
    while waiting:
        task = -heappop(waiting)
        if predicts[task]:
            return task
        for earlier in before[indptr[task] : indptr[task + 1]].tolist():
            if earlier not in seen:
                seen.add(earlier)
                heappush(waiting, -earlier)
    raise InputError(f"{graph.describe(update)} depends on no prediction of its layer")


def _kept(graph: TaskGraph) -> tuple[float, int]:
    """Delay of the first layer, and batches that it keeps from prediction to update: the most in the last period."""
    first, latest = graph.layers == 0, graph.in_period()
    predicts = np.flatnonzero(first & np.isin(graph.kinds, (Kind.START, Kind.PREDICT)))
    updates = np.flatnonzero(first & latest & (graph.kinds == Kind.UPDATE))
    begins = [prediction_of(graph, update) for update in updates.tolist()]
    held = int(np.max(np.searchsorted(predicts, updates) - np.searchsorted(predicts, begins)))
    # All predictions but its own are of later batches, each of which makes its share of an update in the meantime.
    return (held - 1) * graph.period_updates / int(latest[predicts].sum()), held


def _started(graph: TaskGraph) -> int:
    """Batches for which the first layer has made its forward start, and which have not begun: the most at once."""
    indptr, before = graph.predecessors
    after = np.repeat(np.arange(len(graph)), np.diff(indptr))
    used = (graph.kinds[before] == Kind.START) & (graph.layers[before] == 0) & (graph.kinds[after] != Kind.START)
    begins = np.full(len(graph), np.iinfo(np.int64).max)
    np.minimum.at(begins, before[used], graph.steps[after[used]])
    starts = np.unique(before[used])
    made, begun = graph.steps[starts], begins[starts]  # both ascend
    return int(np.max(np.searchsorted(made, begun) - np.arange(len(starts)), initial=0))
