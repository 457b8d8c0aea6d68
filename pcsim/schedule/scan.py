"""Exact BP whose backward pass is a parallel scan: an example of few products in a row, most of them very large.

The error of x[l] is ``J[l] ... J[L-1] e``, with e the output's error and ``J[l] = f'(x[l]) W[l].T`` a matrix of its own
for each sample. These products may be formed in any order (Wang, Bai and Pekhimenko 2020, BPPSA). In cyclic reduction
(Danieli et al. 2023, DeepPCR) each factor takes in, in round k, what stands 2**k places above it, and after log2 L
rounds all errors are there. What BP multiplies with vectors, (width,) for each sample, is multiplied matrix by matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..checks import whole_number
from .builders import check_memory
from .calendar import Calendar, Stage
from .tasks import Kind, Predecessors, TaskGraph

_Task = tuple[Kind, int, int]  # kind, step and layer


@dataclass(frozen=True)
class Scan:
    """What is counted; nothing here is executed."""

    name: ClassVar[str] = "bp-scan"
    title: ClassVar[str] = "BP by a scan"

    def checked_calendar(self, depth: int) -> Calendar:
        """BP's: one update for each batch."""
        return Calendar((Stage(move=False, update=tuple(range(depth)), completes=True),), chained=True)

    def steady_tasks(self, depth: int, steps_per_batch: int | None = None, start: str = "forward") -> TaskGraph:
        """Three updates: one in the middle."""
        return scan_graph(depth, 3)


def scan_graph(depth: int, updates: int) -> TaskGraph:
    """The task graph of so many updates: a step for the predictions, and one for each round. COMBINE and BACKPROJECT of
    layer l take in what stands above ``J[l]``: a product of matrices, or, once it reaches up to e, a vector.
    """
    L, updates = whole_number("depth", depth), whole_number("updates", updates)
    rounds = (L - 1).bit_length()
    check_memory(L * (rounds + 2) * updates, (rounds + 1) * updates)
    ids: dict[_Task, int] = {}
    waits: list[list[int]] = []

    def add(task: _Task, *before: _Task) -> None:
        ids[task] = len(ids)
        waits.append(sorted({ids[one] for one in before if one in ids}))  # of the first update some are not there

    for begin in range(0, updates * (rounds + 1), rounds + 1):

        def updated(l: int, now: int = begin) -> _Task:
            return Kind.UPDATE, now - 1, l

        def factor(i: int, k: int, now: int = begin) -> tuple[_Task, ...]:
            """What the i-th factor, counted from e down, is made of when round k begins."""
            if i == 0:
                return ((Kind.PREDICT, now, L - 1),)
            last = min(k, i.bit_length()) - 1  # round in which it took something in
            if last < 0:
                return (Kind.PREDICT, now, L - i - 1), updated(L - i)
            return ((Kind.BACKPROJECT if last == i.bit_length() - 1 else Kind.COMBINE, now + 1 + last, L - i),)

        for l in range(L):
            add((Kind.PREDICT, begin, l), (Kind.PREDICT, begin, l - 1), updated(l))
        for k in range(rounds):
            for i in range(2**k, L):
                kind = Kind.COMBINE if i >= 2 ** (k + 1) else Kind.BACKPROJECT
                add((kind, begin + 1 + k, L - i), *factor(i, k), *factor(i - 2**k, k))
        for l in range(L):
            value = Kind.PREDICT, begin, l - 1
            add((Kind.UPDATE, begin + rounds, l), *factor(L - 1 - l, rounds), value, updated(l))
    kinds, steps, layers = np.array(list(ids), np.int32).T
    indptr = np.concatenate([[0], np.cumsum([len(before) for before in waits])])
    waiting = Predecessors(indptr, np.array([one for before in waits for one in before], np.int32))
    return TaskGraph(
        Scan.name, L, updates, rounds + 1, kinds.astype(np.int8), layers, steps, steps // np.int32(rounds + 1), waiting
    )
