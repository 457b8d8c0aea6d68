"""Tables of counts: Table 4 and Fig. 5 of the iPC paper."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import InputError
from .builders import backprop, incremental, predictive_coding, zero_divergence
from .tasks import Kind, TaskGraph, whole_count


def figure_5(graph: TaskGraph, backward: int = 6) -> tuple[int, int]:
    """(full, partial): weight updates complete within ``backward`` backward SMMs (iPC paper, Fig. 5).

    Workers are unlimited and only BACKPROJECT takes time. An update is full if the first output error has
    reached all its layers, partial if only some. Raises ``InputError`` if the graph ends too early to tell.
    """
    backward = whole_count("backward", backward)
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


def table4(depths: Iterable[int], steps: Iterable[int] = (), workers: Iterable[int] = ()) -> list[dict[str, Any]]:
    """The counts of BP, PC (one row per T in ``steps``), Z-IL and iPC at every depth (iPC paper, Table 4).

    Rows hold ``algorithm``, ``depth``, ``steps`` (None except for PC) and, per weight update in the steady
    state, ``mm``, ``smm``, ``mm_full``, ``smm_full`` and ``smm_workers`` (a value per number of workers).
    """
    steps, workers = list(steps), list(workers)
    counts = ("algorithm", "depth", "mm", "smm", "mm_full", "smm_full")

    def row(graph: TaskGraph, T: int | None = None) -> dict[str, Any]:
        makespans = {P: graph.makespan(P) for P in workers}
        return {**{name: getattr(graph, name) for name in counts}, "steps": T, "smm_workers": makespans}

    rows = []
    for depth in depths:
        rows.append(row(backprop(depth, 2)))
        rows += [row(predictive_coding(depth, 2, T), T) for T in steps]
        rows += [row(zero_divergence(depth, 2)), row(incremental(depth, 2))]
    return rows
