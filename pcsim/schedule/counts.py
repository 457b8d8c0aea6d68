"""Tables of counts: Table 4 and Fig. 5 of the iPC paper."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from ..checks import whole_number
from ..errors import InputError
from .tasks import Kind, TaskGraph


def figure_5(graph: TaskGraph, backward: int = 6) -> tuple[int, int]:
    """(full, partial): weight updates complete within ``backward`` backward SMMs (iPC paper, Fig. 5).

    Workers are unlimited and only BACKPROJECT takes time. An update is full if the first output error has
    reached all its layers, partial if only some. Raises ``InputError`` if the graph ends too early to tell.
    """
    backward = whole_number("backward", backward)
    completion = graph._completion(graph._finish_times({Kind.BACKPROJECT: 1}))
    if completion[-1] <= backward:
        raise InputError(
            f"the last update is complete after {completion[-1]} backward SMMs, not beyond {backward}:"
            " ask for more updates and a depth of at least 2"
        )
    updating = graph.kinds == Kind.UPDATE
    layers = np.bincount(graph.update_of[updating & graph.reached()], minlength=graph.updates)
    layers = layers[completion <= backward]
    return int(np.sum(layers == graph.depth)), int(np.sum((layers > 0) & (layers < graph.depth)))


class Counted(Protocol):
    """An algorithm, as far as it is counted."""

    def steady_tasks(self, depth: int) -> TaskGraph:
        """Its task graph, long enough for the counts of the steady state."""


def table4(depths: Iterable[int], algorithms: Iterable[Counted], workers: Iterable[int] = ()) -> list[dict[str, Any]]:
    """The counts of each of ``algorithms`` at every depth (iPC paper, Table 4).

    Rows hold ``algorithm``, ``depth``, ``steps`` (T of PC and of others that have one; else None) and, per weight
    update in the steady state, ``mm``, ``smm``, ``mm_full``, ``smm_full`` and ``smm_workers`` (a value per number of
    workers); and ``first``, the SMMs of the first update, which of a pipeline are more as it has to fill.
    """
    algorithms, workers = list(algorithms), list(workers)
    counts = ("algorithm", "depth", "mm", "smm", "mm_full", "smm_full", "first")

    def row(graph: TaskGraph, T: int | None) -> dict[str, Any]:
        makespans = {P: graph.makespan(P) for P in workers}
        return {**{name: getattr(graph, name) for name in counts}, "steps": T, "smm_workers": makespans}

    return [row(one.steady_tasks(depth), getattr(one, "T", None)) for depth in depths for one in algorithms]
