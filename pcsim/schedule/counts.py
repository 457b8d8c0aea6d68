"""Tables of counts: Table 4 and Fig. 5 of the iPC paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Protocol

import numpy as np

from ..checks import whole_number
from ..errors import InputError
from .calendar import Calendar
from .costs import CLASSES, WIDTH, costs_of, span_on
from .sizes import LayerSizes
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

    def steady_tasks(self, depth: int, steps_per_batch: int | None = None, start: str = "forward") -> TaskGraph:
        """Its task graph, long enough for the counts of the steady state."""

    def checked_calendar(self, depth: int) -> Calendar:
        """Its calendar."""


def table4(
    depths: Iterable[int],
    algorithms: Iterable[Counted],
    workers: Iterable[int] = (),
    steps_per_batch: Sequence[int] = (),
    starts: Sequence[str] = ("forward",),
    width: int = WIDTH,
    classes: int = CLASSES,
    batch: int = 1,
) -> list[dict[str, Any]]:
    """The counts of each of ``algorithms`` at every depth (iPC paper, Table 4); of those that would stay on a batch for
    ever, for each of ``steps_per_batch`` and of ``starts``, if there are any.

    Rows hold ``algorithm``, ``depth``, ``steps`` (T of PC and of others that have one; else None) and, per weight
    update in the steady state, ``mm``, ``smm``, ``mm_full``, ``smm_full``, ``mm_starts`` and ``smm_starts`` (with
    forward starts) and ``smm_workers`` (a value per number of workers); ``first``, the SMMs of the first update, which
    of a pipeline are more as it has to fill; ``steps_per_batch`` (None: for ever) and ``start``; ``optimizer``;
    ``batch``, ``width`` and ``classes``, and what :func:`pcsim.schedule.costs.costs_of` says of layers of that width.
    """
    depths, workers = list(depths), list(workers)
    found = []
    for depth, one in product(depths, list(algorithms)):
        for change in _changes(one, depth, steps_per_batch, starts):
            graph = one.steady_tasks(depth, *change)  # which refuses a depth that is beyond memory
            row = _row(one, graph, *change, workers) | {"width": width, "classes": classes, "batch": batch}
            found.append(row | costs_of(graph, LayerSizes.equal(depth, width, classes), batch))
    return found


def table_of_nets(
    nets: Mapping[str, LayerSizes],
    algorithms: Iterable[Counted],
    workers: Iterable[int] = (),
    steps_per_batch: Sequence[int] = (),
    starts: Sequence[str] = ("forward",),
    batch: int = 1,
) -> list[dict[str, Any]]:
    """The same of nets whose layers may be of any sizes, net by net.

    Rows also hold ``net``, the name; ``sizes``, units from the input; ``shapes``, rows and columns of each layer's
    weights; ``positions``, how often a sample's product has them, and ``multiplications``, of that product; ``width``
    is the widest layer's. ``span_workers``: a value per number of workers, which have layers in blocks
    (:func:`pcsim.schedule.costs.span_on`).
    """
    workers, found = list(workers), []
    for (name, sizes), one in product(nets.items(), list(algorithms)):
        told: dict[str, Any] = {"net": name, "sizes": sizes.units, "shapes": sizes.shapes, "positions": sizes.positions}
        told |= {"multiplications": sizes.multiplications, "width": max(sizes.units), "classes": sizes.classes}
        for change in _changes(one, sizes.depth, steps_per_batch, starts):
            graph = one.steady_tasks(sizes.depth, *change)
            row = _row(one, graph, *change, workers) | told | {"batch": batch} | costs_of(graph, sizes, batch)
            found.append(row | {"span_workers": {P: span_on(graph, sizes, P, batch) for P in workers}})
    return found


def _changes(
    one: Counted, depth: int, steps_per_batch: Sequence[int], starts: Sequence[str]
) -> list[tuple[int | None, str]]:
    """How batches change in each row of an algorithm: not at all, unless it would stay on one for ever."""
    if steps_per_batch and one.checked_calendar(depth).endless:
        return list(product(steps_per_batch, starts))
    return [(None, "forward")]


def _row(one: Counted, graph: TaskGraph, steps: int | None, start: str, workers: Iterable[int]) -> dict[str, Any]:
    """What has nothing to do with sizes."""
    makespans = {P: graph.makespan(P) for P in workers}
    counts = ("algorithm", "depth", "mm", "smm", "mm_full", "smm_full", "first")
    found = {name: getattr(graph, name) for name in counts} | {"steps": getattr(one, "T", None)}
    found |= {"smm_workers": makespans, "mm_starts": graph.mm_starts, "smm_starts": graph.smm_starts}
    return found | {"steps_per_batch": steps, "start": start, "optimizer": getattr(one, "optimizer", "sgd")}
