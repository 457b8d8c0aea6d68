"""What a count of products in a row leaves out: their sizes, how late gradients are, what is kept, and who is told.

All of it is read off a task graph, for layers of any sizes. Nothing here knows algorithms.
"""

from __future__ import annotations

from fractions import Fraction
from heapq import heappop, heappush
from typing import Any

import numpy as np

from ..checks import whole_number
from ..errors import InputError
from .blocks import balanced_blocks
from .sizes import BYTES, LayerSizes
from .steady import steady_chain
from .tasks import FULL_COSTS, PAPER_COSTS, Kind, TaskGraph, as_number

WIDTH, CLASSES = 64, 10  # unless told otherwise


# Muon's products cannot be left out beside those of a step, nor the gradients that they wait for.
MUON = (Kind.ORTHOGONALISE, Kind.HEAD_ORTHOGONALISE)
MUON_AND_GRADIENTS = (Kind.UPDATE, Kind.HEAD_UPDATE, *MUON)


def costs(graph: TaskGraph, width: int = WIDTH, classes: int = CLASSES, batch: int = 1) -> dict[str, Any]:
    """:func:`costs_of` layers of ``width`` units each, the output's included, and heads and feedback of so many
    ``classes``."""
    return costs_of(graph, LayerSizes.equal(graph.depth, width, classes), batch)


def costs_of(graph: TaskGraph, sizes: LayerSizes, batch: int = 1) -> dict[str, Any]:
    """What a weight update costs in the steady state, for layers of these sizes, on as many workers as can be used, of
    which no two make the same kind of product with one layer's weights at once. ``batch``: samples of a batch, among
    which Muon's products, which are made once for all of them, are shared out.

    - ``span_flop``: as ``smm``, with each product weighed by its multiplications; the unit is the average layer's
      product for the whole batch, so that one product with each layer makes L; with Muon, weight gradients and its
      products stand in it
    - ``delay``: weight updates between the first layer's prediction for a batch and its update from that batch
    - ``held``: batches whose values the first layer has to keep at once
    - ``messages_up``, ``messages_down``: sent to higher and to lower layers where each has a worker of its own, divided
      by the pairs of neighbours
    - ``flops``: of all products, weight gradients and forward starts included, for one sample: 2 for each
      multiplication
    - ``span_flops``: of the products in ``span_flop``, for one sample
    - ``weight_bytes``: of weights of float32 that products read, each product its layer's, weight gradients too (which
      then write them)
    - ``up_bytes``, ``down_bytes``: of all messages, for one sample: values and errors of float32
    - ``held_bytes``: of the values below it that the layer keeps which has to keep most, for one sample

    No layer above the first has a later gradient or keeps more batches. Raises ``InputError`` for numbers below 1, a
    graph that shows no steady state, and sizes of another number of layers.
    """
    chain, samples = _chain(graph, sizes, batch)
    orthogonal = _orthogonal(graph)
    products = {kind: each for kind, each in sizes.of_products(samples).items() if kind in FULL_COSTS}
    flop = graph.products({kind: tuple(2 * count for count in each) for kind, each in products.items()})
    span = _longest(graph, sizes, chain)
    tasks, upwards = graph.sent(range(graph.depth))
    numbers = np.array([sizes.sent(Kind(graph.kinds[task]), int(graph.layers[task])) for task in tasks.tolist()], int)

    def each_update(total: int) -> int | float:
        return as_number(Fraction(total, graph.period_updates))

    up, down = (each_update(int(ways.sum())) / max(graph.depth - 1, 1) for ways in (upwards, ~upwards))
    up_bytes, down_bytes = (each_update(BYTES * int(numbers @ ways)) for ways in (upwards, ~upwards))
    delay, held = _kept(graph)
    held += _started(graph)
    return {
        "span_flop": span / (samples * as_number(sizes.mean)), "delay": delay, "held": held,
        "messages_up": up, "messages_down": down, "flops": flop / samples if orthogonal else flop,
        "span_flops": as_number(Fraction(span) * 2 / samples),
        "weight_bytes": BYTES * graph.products(sizes.of_weights()),
        "up_bytes": up_bytes, "down_bytes": down_bytes, "held_bytes": BYTES * _fullest(graph, sizes, held),
    }  # fmt: skip


def span_on(graph: TaskGraph, sizes: LayerSizes, workers: int, batch: int = 1) -> float:
    """``span_flop`` on so many workers: each makes the products of a block of neighbouring layers, one at a time and in
    the order of the graph. The blocks are those whose largest takes least; more workers than layers are of no use."""
    workers = min(whole_number("workers", workers), graph.depth)
    chain, samples = _chain(graph, sizes, batch)
    load = np.zeros(graph.depth + 1, np.int64)
    np.add.at(load, graph.layers, np.where(graph.in_period(), graph.costs_of(chain), 0))
    blocks = balanced_blocks(load[: graph.depth].tolist(), workers)
    owner = np.repeat(np.arange(workers), [end - first for first, end in blocks])
    return steady_chain(graph, chain, owner.tolist()) / (samples * as_number(sizes.mean))


def _orthogonal(graph: TaskGraph) -> bool:
    return bool(np.isin(graph.kinds, MUON).any())


def _chain(graph: TaskGraph, sizes: LayerSizes, batch: int) -> tuple[dict[Kind, tuple[int, ...]], int]:
    """Multiplications of the products that stand in the span, and of how many samples they are."""
    batch = whole_number("batch", batch)
    sizes.check(graph)
    orthogonal = _orthogonal(graph)
    samples = batch if orthogonal else 1  # what else there is takes each sample as long
    kinds = (*PAPER_COSTS, *(MUON_AND_GRADIENTS if orthogonal else ()))
    return {kind: each for kind, each in sizes.of_products(samples).items() if kind in kinds}, samples


def _longest(graph: TaskGraph, sizes: LayerSizes, chain: dict[Kind, tuple[int, ...]]) -> int | float:
    """The longest chain per update. Where layers are alike it settles within the graph."""
    return graph.growth({kind: each[0] for kind, each in chain.items()}) if sizes.alike else steady_chain(graph, chain)


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


def _kept(graph: TaskGraph, layer: int = 0) -> tuple[float, int]:
    """Delay of a layer, and batches that it keeps from prediction to update: the most in the last period."""
    mine, latest = graph.layers == layer, graph.in_period()
    predicts = np.flatnonzero(mine & np.isin(graph.kinds, (Kind.START, Kind.PREDICT)))
    updates = np.flatnonzero(mine & latest & (graph.kinds == Kind.UPDATE))
    begins = [prediction_of(graph, update) for update in updates.tolist()]
    held = int(np.max(np.searchsorted(predicts, updates) - np.searchsorted(predicts, begins)))
    # All predictions but its own are of later batches, each of which makes its share of an update in the meantime.
    return (held - 1) * graph.period_updates / int(latest[predicts].sum()), held


def _started(graph: TaskGraph, layer: int = 0) -> int:
    """Batches for which a layer has made its forward start, and which have not begun: the most at once."""
    indptr, before = graph.predecessors
    after = np.repeat(np.arange(len(graph)), np.diff(indptr))
    used = (graph.kinds[before] == Kind.START) & (graph.layers[before] == layer) & (graph.kinds[after] != Kind.START)
    begins = np.full(len(graph), np.iinfo(np.int64).max)
    np.minimum.at(begins, before[used], graph.steps[after[used]])
    starts = np.unique(before[used])
    made, begun = graph.steps[starts], begins[starts]  # both ascend
    return int(np.max(np.searchsorted(made, begun) - np.arange(len(starts)), initial=0))


def _fullest(graph: TaskGraph, sizes: LayerSizes, held: int) -> int:
    """Numbers that the layer keeps which keeps most of what is below it, for one sample; ``held``: batches that the
    first one keeps."""
    most = 0
    for layer in sorted(range(graph.depth), key=lambda layer: (-sizes.units[layer], layer)):
        if held * sizes.units[layer] <= most:  # no layer keeps more batches
            break
        batches = held if layer == 0 else _kept(graph, layer)[1] + _started(graph, layer)
        most = max(most, batches * sizes.units[layer])
    return most
