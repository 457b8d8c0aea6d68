"""Orders of the exact pipeline of BP: what each stage does with each micro-batch, in turn, and what depends on what.

A stage has a block of layers. Of a micro-batch it makes the products forwards, those backwards (errors, which chain
from stage to stage) and those of the weights, which nobody waits for but the next batch. All orders give BP's gradient.

- ``split``: forwards first, errors as they come, and at the end the weight products of the whole batch at once.
- ``zero-bubble`` (Qi et al. 2024, arXiv:2401.10241, whose cut between errors and weight products this is): a stage that
  would wait makes weight products of single micro-batches meanwhile; those left come at the end at once.

As each stage's weights update when its own are done, and nothing else ends a batch, the lowest stage begins the next
one while those above it still work. So with enough micro-batches nobody waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import whole_number
from ..errors import InputError
from .blocks import balanced_blocks
from .builders import check_memory
from .tasks import Kind, Lookup, Predecessors, TaskGraph

ORDERS = ("split", "zero-bubble")

FORWARD, BACKWARD, ALONE, REST = range(4)  # of a turn, see kernels.graphs.stages

_BATCHES = 3  # before the turns of one repeat those of the one before


@dataclass(frozen=True, eq=False)
class Turns:
    """What one stage, with the layers ``lo … hi-1``, does with a batch, in order: ``what``, FORWARD, BACKWARD, ALONE or
    REST, with micro-batch ``part`` (REST: with all from ``part`` on, whose weight products are left)."""

    lo: int
    hi: int
    what: NDArray[np.int64]
    part: NDArray[np.int64]

    @property
    def alone(self) -> int:
        """Of how many micro-batches, from the first on, weight products are made apart."""
        return int(self.part[-1])


@dataclass(frozen=True, eq=False)
class Pipeline:
    """An order on stages."""

    order: str
    micro_batches: int
    stages: tuple[Turns, ...]

    @property
    def depth(self) -> int:
        """Layers of all stages."""
        return self.stages[-1].hi

    def graph(self, updates: int) -> TaskGraph:
        """The task graph of so many batches."""
        alone = [stage.alone for stage in self.stages for _ in range(stage.lo, stage.hi)]
        return pipeline_graph(self.depth, updates, self.micro_batches, alone)

    def span(self, full: bool = False) -> int | float:
        """Time of a weight update in the steady state in products of the whole batch, where each stage makes one
        product at a time in its order (CONTRACT's ``span_workers``); ``full``: weight products take time too."""
        return _shown(self._period(full) / self.micro_batches)

    @property
    def bubble(self) -> float:
        """The share of the slowest stage's time in which it waits, weight products counted."""
        busiest = max(sum(self._costs(stage, True)) for stage in self.stages) * self.micro_batches
        return float(1 - busiest / self._period(True))

    def _costs(self, stage: Turns, full: bool) -> tuple[int, int, int]:
        layers = stage.hi - stage.lo
        return layers, layers - (stage.lo == 0), layers * full

    def _period(self, full: bool) -> Fraction:
        """Products of a micro-batch from one update of the lowest stage to the next."""
        return self._full_period if full else self._paper_period

    @cached_property
    def _full_period(self) -> Fraction:
        return self._repeat(True)

    @cached_property
    def _paper_period(self) -> Fraction:
        return self._repeat(False)

    def _repeat(self, full: bool) -> Fraction:
        """Batch after batch, until the stages stand to one another as they did after an earlier one: from then on all
        repeats. (A stage with less to do is faster for some batches, until it has to wait for the others.)"""
        M, P = self.micro_batches, len(self.stages)
        free, batches = [0] * P, 0
        seen: dict[tuple[int, ...], tuple[int, int]] = {}
        while (stand := tuple(end - free[0] for end in free)) not in seen:
            seen[stand] = batches, free[0]
            batches += 1
            values, errors = np.full((2, P, M), -1).tolist()
            place = [0] * P
            while any(at < len(stage.what) for at, stage in zip(place, self.stages, strict=True)):
                for s, stage in enumerate(self.stages):
                    cost = self._costs(stage, full)
                    for what, m in zip(stage.what[place[s] :].tolist(), stage.part[place[s] :].tolist(), strict=True):
                        ready = 0
                        if what == FORWARD and s > 0:
                            ready = values[s - 1][m]
                        elif what == BACKWARD:
                            ready = errors[s + 1][m] if s + 1 < P else values[s][m]
                        if ready < 0:
                            break
                        free[s] = max(free[s], ready) + (cost[what] if what < REST else (M - m) * cost[2])
                        if what <= BACKWARD:
                            (values, errors)[what][s][m] = free[s]
                        place[s] += 1
        then, end = seen[stand]
        return Fraction(free[0] - end, batches - then)


@lru_cache(maxsize=64)
def make_pipeline(order: str, weights: tuple[float, ...], workers: int, micro_batches: int) -> Pipeline:
    """The turns of so many stages of a net whose layers have so many ``weights``, in an order of ``ORDERS``.

    >>> [stage.alone for stage in make_pipeline("zero-bubble", (1, 1, 1, 1), 4, 8).stages]
    [7, 4, 2, 0]
    """
    if order not in ORDERS:
        raise InputError(f"order {order!r} of a pipeline is unknown: choose from {', '.join(ORDERS)}")
    M, blocks = whole_number("micro_batches", micro_batches), balanced_blocks(weights, workers)
    if order == "split":
        return Pipeline(order, M, tuple(_split(lo, hi, hi == len(weights), M) for lo, hi in blocks))
    from ..kernels.graphs.stages import fill_waits

    forwards = np.array([round(sum(weights[lo:hi])) for lo, hi in blocks], np.int64)
    backwards = np.array([round(sum(weights[max(lo, 1) : hi])) for lo, hi in blocks], np.int64)
    what, part = np.zeros((2, workers, 3 * M + 1), np.int64)
    count = np.zeros(workers, np.int64)
    fill_waits(forwards, backwards, forwards, M, _BATCHES, what, part, count)
    return Pipeline(
        order, M, tuple(Turns(lo, hi, what[s, : count[s]], part[s, : count[s]]) for s, (lo, hi) in enumerate(blocks))
    )


def _split(lo: int, hi: int, last: bool, M: int) -> Turns:
    there = np.arange(M)
    what, part = np.repeat([FORWARD, BACKWARD], M), np.tile(there, 2)
    if last:  # each error at once
        what, part = np.tile([FORWARD, BACKWARD], M), np.repeat(there, 2)
    return Turns(lo, hi, np.append(what, REST), np.append(part, 0))


def pipeline_graph(depth: int, updates: int, micro_batches: int, alone: Sequence[int]) -> TaskGraph:
    """The task graph of BP in micro-batches: step n M + m has the products of micro-batch m of batch n.

    Of the first ``alone[l]`` micro-batches layer l has an UPDATE each, in whose order the gradient is summed up; the
    last step of a batch has the one of all others, after which its weights are new. MMs are of a micro-batch: M of them
    are one of the batch.
    """
    L, M, n = (
        whole_number("depth", depth),
        whole_number("micro_batches", micro_batches),
        whole_number("updates", updates),
    )
    check_memory(3 * L * M * n, M * n)
    layers = np.tile(np.arange(L, dtype=np.int32), (len(Kind), 1))
    layers[Kind.BACKPROJECT] = layers[Kind.BACKPROJECT, ::-1]
    there = np.zeros((M, len(Kind), L), np.bool_)
    there[:, Kind.PREDICT] = True
    there[:, Kind.BACKPROJECT] = layers[Kind.BACKPROJECT] > 0
    there[:, Kind.UPDATE] = np.arange(M)[:, None] < np.minimum(alone, M - 1)
    there[-1, Kind.UPDATE] = True
    part, kind, place = (found.astype(np.int32) for found in np.nonzero(there))
    steps = (np.arange(n, dtype=np.int32)[:, None] * M + part).ravel()
    kinds, layer = np.tile(kind, n).astype(np.int8), np.tile(layers[kind, place], n)
    find = Lookup(kinds, layer, steps)
    edges = _edges(find, kinds, layer, steps, L, M, np.asarray(alone))
    after, before = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    after, before = after[before >= 0], before[before >= 0]
    order = np.argsort(after, kind="stable")
    indptr = np.zeros(kinds.size + 1, np.int64)
    np.cumsum(np.bincount(after, minlength=kinds.size), out=indptr[1:])
    waiting = Predecessors(indptr, before[order].astype(np.int32))
    return TaskGraph("bp", L, n, M, kinds, layer, steps, steps // np.int32(M), waiting)


def _edges(
    find: Lookup, kinds: Any, layers: Any, steps: Any, L: int, M: int, alone: Any
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(after, before), -1 for none."""

    def error(step: Any, layer: Any) -> Any:
        """The task that makes the error above a layer."""
        return np.where(layer == L - 1, find(Kind.PREDICT, step, layer), find(Kind.BACKPROJECT, step, layer + 1))

    p, b, u = (np.flatnonzero(kinds == kind) for kind in (Kind.PREDICT, Kind.BACKPROJECT, Kind.UPDATE))
    found = [
        (p, find(Kind.PREDICT, steps[p], layers[p] - 1)),
        (p, find(Kind.UPDATE, steps[p] - steps[p] % M - 1, layers[p])),
        (b, error(steps[b], layers[b])),
        (u, error(steps[u], layers[u])),
    ]
    last = steps[u] % M == M - 1
    rest, sole = u[last], u[~last]
    found.append((sole, find(Kind.UPDATE, np.where(steps[sole] % M > 0, steps[sole] - 1, -1), layers[sole])))
    begin = steps[rest] - (M - 1)
    first = np.minimum(alone, M - 1)[layers[rest]]
    found.append((rest, np.where(first > 0, find(Kind.UPDATE, begin + first - 1, layers[rest]), -1)))
    for m in range(M - 1):
        found.append((rest, np.where(m >= first, error(begin + m, layers[rest]), -1)))
    return found


def _shown(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def pipeline_counts(
    depths: Iterable[int], micro_batches: Iterable[int], orders: Iterable[str], workers: Iterable[int]
) -> list[dict[str, Any]]:
    """What the pipeline of BP needs on stages of equal layers, for each depth and number of micro-batches in each order
    and with each of ``workers``, as far as there are layers.

    Rows hold ``algorithm``, ``execution``, ``order``, ``depth``, ``micro_batches``, ``workers``, ``span_workers`` and
    ``span_workers_full`` (:meth:`Pipeline.span`), and ``bubble`` (:attr:`Pipeline.bubble`).
    """
    found = []
    parts, orders, workers = list(micro_batches), list(orders), list(workers)
    for depth in depths:
        for count in dict.fromkeys(min(each, depth) for each in workers):
            for M in parts:
                for order in orders:
                    pipeline = make_pipeline(order, (1.0,) * depth, count, M)
                    row = {"algorithm": "bp", "execution": "pipeline", "order": order, "depth": depth}
                    row |= {"micro_batches": M, "workers": count, "span_workers": pipeline.span()}
                    found.append(row | {"span_workers_full": pipeline.span(True), "bubble": pipeline.bubble})
    return found
