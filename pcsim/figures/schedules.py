"""Schedules over time: timelines of workers, and task graphs as Gantt charts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..schedule.tasks import Kind, TaskGraph
from ..schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE, Event
from . import keys
from .page import Page
from .style import INK, PAPER, UNITS, Look, grouped, ink_on, text_width, with_own_settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_HEAD, _FEEDBACK, _HEAD_UPDATE, _COMBINE = -1, -2, -3, -4  # which no engine tells of yet

_WORK = {START: "forward start", PREDICT: "predict", BACKPROJECT: "back-project", UPDATE: "update", VALUE: "values"}
_OF_HEADS = {_HEAD: "head", _FEEDBACK: "feedback", _HEAD_UPDATE: "update of the head", _COMBINE: "combine"}

_WORK_OF = {
    Kind.START: START,
    Kind.PREDICT: PREDICT,
    Kind.BACKPROJECT: BACKPROJECT,
    Kind.VALUE: VALUE,
    Kind.UPDATE: UPDATE,
    Kind.HEAD: _HEAD,
    Kind.FEEDBACK: _FEEDBACK,
    Kind.HEAD_UPDATE: _HEAD_UPDATE,
    Kind.COMBINE: _COMBINE,
}

# Kinds of work that occur in one schedule differ in grey, too: those of BP, and those of a fused step of iPC.
_WORK_COLOURS = {
    START: "#EEDD88",
    PREDICT: "#0A5AA5",
    BACKPROJECT: "#E68A55",
    UPDATE: "#228855",
    VALUE: "#BBBBBB",
    PREDICT | BACKPROJECT: "#332288",
    PREDICT | UPDATE: "#33BBEE",
    BACKPROJECT | UPDATE: "#CC3311",
    PREDICT | BACKPROJECT | UPDATE: "#AA4499",
    _HEAD: "#77CCEE",
    _FEEDBACK: "#E68A55",
    _HEAD_UPDATE: "#EEDD88",
    _COMBINE: "#AA4499",
}

# The same of the kinds of tasks.
NAMES = {kind: (_WORK | _OF_HEADS)[work] for kind, work in _WORK_OF.items()}
COLOURS = {kind: _WORK_COLOURS[work] for kind, work in _WORK_OF.items()}


@with_own_settings
def gantt(
    events: Iterable[Event], title: str | None = None, colour: str = "kind", look: Look = PAPER, caption: str = ""
) -> Figure:
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
    shades = {group: _WORK_COLOURS.get(group, INK) if colour == "kind" else _STEPS[group] for group in groups}
    page = Page(look, 1, height=_lane(len(workers)) * len(workers))
    ((axes,),) = page.panels
    edge: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.4} if len(events) <= 1000 else {"linewidth": 0}
    for group, inside in sorted(groups.items()):
        for lane, worker in enumerate(workers):
            bars = [((e.start - first) * factor, (e.end - e.start) * factor) for e in inside if e.worker == worker]
            axes.broken_barh(bars, (lane - 0.4, 0.8), facecolor=shades[group], **edge)
    axes.set(xlim=(0, span * factor), ylim=(len(workers) - 0.5, -0.5))
    axes.set_yticks(range(len(workers)), [f"worker {worker}" for worker in workers])
    axes.grid(False, axis="y")
    page.name(axes, f"{unit} since the first start; numbers: layers")
    for lane, worker in enumerate(workers):
        busy = sum(event.end - event.start for event in events if event.worker == worker) / span
        style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "size": look.sizes.small, "color": INK}
        axes.annotate(f"{busy:.0%} busy", (span * factor, lane), (4, 0), **style)
    handles = [keys.patch(labels[group], shades[group]) for group in sorted(groups)]
    figure = page.finish("Workers over time" if title is None else title, handles, caption)
    scale = axes.bbox.width * 72 / figure.dpi / span  # points of a second
    written = False
    for event in events:
        if (event.end - event.start) * scale > text_width(str(event.layer), look.sizes.small) + 2:
            shade = shades[event.work if colour == "kind" else event.step % 2]
            middle = ((event.start + event.end) / 2 - first) * factor
            _number(axes, look, middle, workers.index(event.worker), event.layer, ink_on(shade))
            written = True
    if not written:
        page.name(axes, f"{unit} since the first start")
    return figure


_STEPS = ("#0A5AA5", "#E68A55")


def _lane(lanes: int) -> float:
    """The height of a lane in ems: less where there are many."""
    return float(np.clip(40 / lanes, 1.15, 2.1))


def _number(axes: Axes, look: Look, x: float, y: float, number: int, ink: str) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": look.sizes.small, "color": ink}
    axes.text(x, y, str(number), **style)


@with_own_settings
def schedule_figure(
    graph: TaskGraph,
    workers: int,
    until: int,
    costs: Mapping[Kind, int] | None = None,
    lanes: str = "worker",
    title: str | None = None,
    look: Look = PAPER,
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

    works = [_WORK_OF[kind] for kind in Kind if np.any((worker >= 0) & (graph.kinds == kind))]
    handles: list[Any] = [keys.patch((_WORK | _OF_HEADS)[work], _WORK_COLOURS[work]) for work in works]
    mark: dict[str, Any] = {"marker": "v", "color": _WORK_COLOURS[UPDATE], "ls": "", "ms": 1.5 * look.sizes.marker}
    if by_layer:
        handles.append(Line2D([], [], label="weights change", **mark))
        handles.append(Line2D([], [], label="no error yet", mfc="white", **mark))
    line: dict[str, Any] = {"color": INK, "linewidth": look.sizes.thin, "linestyle": (0, (4, 3))}
    handles.append(Line2D([], [], label="update complete", **line))
    page = Page(look, 1, height=_lane(len(names)) * len(names))
    ((axes,),) = page.panels
    axes.set(xlim=(0, until), ylim=(-0.5, len(names) - 0.5) if by_layer else (len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(0, until + 1, 1 + int(until * 2.2 * look.sizes.small // (0.85 * look.points))))
    axes.grid(False)
    numbers = "weight updates" if by_layer else "layers"
    pale, drawn = ~graph.reached() & by_layer, []
    for task in np.flatnonzero(finish <= until):
        layer, shade = int(graph.layers[task]), _WORK_COLOURS[_WORK_OF[Kind(graph.kinds[task])]]
        if worker[task] >= 0:
            lane, number = (layer, graph.update_of[task]) if by_layer else (worker[task], layer)
            fill: dict[str, Any] = {"facecolor": shade, "edgecolor": "white", "alpha": 0.3 if pale[task] else 1}
            axes.broken_barh([(start[task], 1)], (lane - 0.4, 0.8), linewidth=0.5, **fill)
            drawn.append((start[task] + 0.5, lane, number, INK if pale[task] else ink_on(shade)))
        elif by_layer and updating[task]:
            axes.plot(finish[task], layer, mfc="white" if pale[task] else shade, clip_on=False, zorder=3, **mark)
    for number in range(graph.updates):
        complete = finish[updating & (graph.update_of == number)].max()
        if complete <= until:
            axes.axvline(complete, zorder=0.5, clip_on=False, **line)
    page.name(axes, f"time in MMs, counted; numbers: {numbers}")
    title = "Workers over time, as the task graph allows" if title is None else title
    figure = page.finish(title, handles)
    widest = max((text_width(str(number), look.sizes.small) for *_, number, _ in drawn), default=0.0)
    if widest + 1.5 > axes.bbox.width * 72 / figure.dpi / until:
        page.name(axes, "time in MMs, counted")
        drawn = []
    for x, lane, number, ink in drawn:
        _number(axes, look, x, lane, int(number), ink)
    return figure


def _work(work: int) -> str:
    return " + ".join(name for bit, name in _WORK.items() if work & bit) or f"work {work}"
