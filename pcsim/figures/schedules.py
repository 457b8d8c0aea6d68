"""Schedules over time: timelines of workers, and task graphs as Gantt charts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..schedule.tasks import Kind, TaskGraph
from ..schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE, Event
from .style import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, UNITS, add_panel, grouped, ink_on, legend, new_figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure


_WORK = {START: "forward start", PREDICT: "predict", BACKPROJECT: "back-project", UPDATE: "update", VALUE: "values"}

_WORK_OF = {
    Kind.START: START,
    Kind.PREDICT: PREDICT,
    Kind.BACKPROJECT: BACKPROJECT,
    Kind.VALUE: VALUE,
    Kind.UPDATE: UPDATE,
}

_WORK_COLOURS = {
    START: "#F0E442",
    PREDICT: BLUE,
    BACKPROJECT: ORANGE,
    UPDATE: GREEN,
    VALUE: "#999999",
    PREDICT | BACKPROJECT: "#5D3A9B",
    PREDICT | UPDATE: SKY,
    BACKPROJECT | UPDATE: RED,
    PREDICT | BACKPROJECT | UPDATE: PINK,
}


def gantt(events: Iterable[Event], title: str = "Workers over time", colour: str = "kind") -> Figure:
    """One lane per worker over time, measured or simulated: events as those of
    :class:`pcsim.schedule.timeline.Timeline`.

    Colours show the ``"kind"`` of work or the ``"step"`` (even, odd). Numbers in the bars are layers, where they fit;
    on the right is the share of time in which the worker is busy. Raises :class:`InputError` for no events.
    """
    events = sorted(events, key=lambda event: event.start)
    if not events or colour not in ("kind", "step"):
        raise InputError("a Gantt chart requires events, and a colour by 'kind' or by 'step'")
    first, last = events[0].start, max(event.end for event in events)
    span = last - first or 1e-9
    factor, unit = next((unit for unit in UNITS if span * unit[0] >= 2), UNITS[-1])
    workers = sorted({event.worker for event in events})
    groups = grouped(events, lambda event: event.work if colour == "kind" else event.step % 2)
    labels = {group: _work(group) if colour == "kind" else ("even steps", "odd steps")[group] for group in groups}
    figure = new_figure(11.6, 1.65 + 0.55 * len(workers), title, list(labels.values()))
    axes = add_panel(figure, 0.95, 0.6, 9.75, 0.55 * len(workers))
    edge: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.5} if len(events) <= 1000 else {"linewidth": 0}
    from matplotlib.patches import Patch

    handles: list[Artist] = []
    for group, inside in sorted(groups.items()):
        shade = _WORK_COLOURS.get(group, INK) if colour == "kind" else (BLUE, ORANGE)[group]
        handles.append(Patch(facecolor=shade, label=labels[group]))
        for lane, worker in enumerate(workers):
            bars = [((e.start - first) * factor, (e.end - e.start) * factor) for e in inside if e.worker == worker]
            axes.broken_barh(bars, (lane - 0.36, 0.72), facecolor=shade, **edge)
        for event in inside:
            if (event.end - event.start) / span * 9.75 * 72 > 4 + 6 * len(str(event.layer)):
                middle = ((event.start + event.end) / 2 - first) * factor
                style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "color": ink_on(shade)}
                axes.text(middle, workers.index(event.worker), str(event.layer), **style)
    axes.set(xlim=(0, span * factor), ylim=(len(workers) - 0.5, -0.5))
    axes.set_yticks(range(len(workers)), [f"worker {worker}" for worker in workers])
    axes.grid(False, axis="y")
    axes.set_xlabel(f"{unit} since the first start{'; numbers in the bars are layers' if axes.texts else ''}")
    for lane, worker in enumerate(workers):
        busy = sum(event.end - event.start for event in events if event.worker == worker) / span
        axes.annotate(
            f"{busy:.0%} busy", (span * factor, lane), (6, 0), textcoords="offset points", va="center", size=9
        )
    legend(figure, handles)
    return figure


def schedule_figure(
    graph: TaskGraph,
    workers: int,
    until: int,
    costs: Mapping[Kind, int] | None = None,
    lanes: str = "worker",
    title: str = "Workers over time, as the task graph allows",
) -> Figure:
    """The first ``until`` MMs of ``graph.schedule(workers, costs)``: a bar is one MM; counted, nothing was measured.

    A lane for each ``"worker"``, the numbers in the bars being layers; or for each ``"layer"``, the numbers being
    weight updates, with a triangle where the weights of the lane change, hollow and pale where the first output error
    cannot have arrived yet. Raises :class:`InputError` for a graph that ends earlier.
    """
    start, finish, worker = graph.schedule(workers, costs)
    if lanes not in ("worker", "layer") or not 0 < until <= finish.max():
        raise InputError(f"the graph ends after {finish.max()} MMs; draw up to that, lanes by 'worker' or 'layer'")
    by_layer, updating = lanes == "layer", graph.kinds == Kind.UPDATE
    names = [f"W[{l}]" for l in range(graph.depth)] if by_layer else [f"worker {p}" for p in range(workers)]
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    works = [_WORK_OF[kind] for kind in Kind if np.any((worker >= 0) & (graph.kinds == kind))]
    handles: list[Artist] = [Patch(facecolor=_WORK_COLOURS[work], label=_WORK[work]) for work in works]
    mark: dict[str, Any] = {"marker": "v", "color": _WORK_COLOURS[UPDATE], "ls": "", "ms": 9}
    if by_layer:
        handles.append(Line2D([], [], label="weights change", **mark))
        handles.append(Line2D([], [], label="no error yet", mfc="white", **mark))
    line: dict[str, Any] = {"color": INK, "linewidth": 0.9, "linestyle": (0, (4, 3))}
    handles.append(Line2D([], [], label="update complete", **line))
    figure = new_figure(11.6, 1.65 + 0.55 * len(names), title, [str(handle.get_label()) for handle in handles])
    axes = add_panel(figure, 0.95, 0.6, 10.3, 0.55 * len(names))
    pale = ~graph.reached() & by_layer
    for task in np.flatnonzero(finish <= until):
        layer, shade = int(graph.layers[task]), _WORK_COLOURS[_WORK_OF[Kind(graph.kinds[task])]]
        if worker[task] >= 0:
            lane, number = (layer, graph.update_of[task]) if by_layer else (worker[task], layer)
            fill: dict[str, Any] = {"facecolor": shade, "edgecolor": "white", "alpha": 0.3 if pale[task] else 1}
            axes.broken_barh([(start[task], 1)], (lane - 0.36, 0.72), **fill)
            ink = INK if pale[task] else ink_on(shade)
            axes.text(start[task] + 0.5, lane, str(number), ha="center", va="center", fontsize=8, color=ink)
        elif by_layer and updating[task]:
            axes.plot(finish[task], layer, mfc="white" if pale[task] else shade, clip_on=False, zorder=3, **mark)
    for number in range(graph.updates):
        complete = finish[updating & (graph.update_of == number)].max()
        if complete <= until:
            axes.axvline(complete, zorder=0.5, clip_on=False, **line)
    below = len(names) - 0.5
    axes.set(xlim=(0, until), ylim=(-0.5, below) if by_layer else (below, -0.5))
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(0, until + 1, 1 + until // 25))
    axes.grid(False)
    axes.set_xlabel(f"time in MMs, counted; numbers in the bars are {'weight updates' if by_layer else 'layers'}")
    legend(figure, handles)
    return figure


def _work(work: int) -> str:
    return " + ".join(name for bit, name in _WORK.items() if work & bit) or f"work {work}"
