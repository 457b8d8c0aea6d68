"""The figure of MPI ranks: how time and ratio change with more of them, and with latency added between them.

It turns points of :mod:`pcsim.results.ranks` into panels, in the style and with the colours of
:mod:`pcsim.figures.style`. It must never decide what is compared with what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..results.files import Results
from ..results.pairs import HEADLINE
from ..results.ranks import delays, exchanges, rank_scaling, weak_scaling
from .style import (
    BLUE,
    EXECUTION_COLOURS,
    GREY,
    INK,
    RED,
    STRONG,
    add_panel,
    axis_seconds,
    caption,
    grouped,
    label_ends,
    legend,
    log_scale,
    new_figure,
    number_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_Point = Mapping[str, Any]

_ACROSS = 3  # panels beside one another

_NET = ("kind", "dtype", "activation", "batch", "width")


class _Panel(NamedTuple):
    """A pair of panels, seconds above and the ratio below: what they show, over what."""

    name: str
    points: list[_Point]
    over: str  # a field of the points
    ideal: Callable[[float, float, float], float] | None  # of seconds at the first place: first, place → seconds


def ranks_figure(results: Results, title: str = "Seconds per update and ratio, iPC ÷ BP, on MPI ranks") -> Figure:
    """Strong scaling, weak scaling and the effect of added latency, as far as the file has them.

    A pair of panels for each net: seconds per weight update of iPC and of every execution of BP above, the ratio below,
    iPC ÷ each BP on as many workers, and ÷ the fastest BP on no more (``best-bp``), the strong line, with 95 %
    intervals. Of nets that differ in depth alone the deepest is drawn, for strong scaling without added latency if it
    was measured so; over latency its largest number of ranks that fit the cores. Hollow points had more workers than
    cores. Raises :class:`InputError` where there is none of them.
    """
    panels = [*_strong(results), *_weak(results), *_delayed(results)]
    if not panels:
        raise InputError(f"{results.path}: neither ranks nor depths nor latencies to draw; measure with --backend mpi")
    across = min(_ACROSS, len(panels))
    down = -(-len(panels) // across)
    points = [point for panel in panels for point in panel.points]
    kinds = sorted({point["kind"] for point in points})
    types = sorted({f"{point['dtype']}, {point['activation']}" for point in points})
    from matplotlib.lines import Line2D

    style: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 4.5, "linewidth": 1.4}
    handles = [Line2D([], [], label=", ".join(kinds), **style)]
    if any(point["oversubscribed"] for point in points):
        handles.append(Line2D([], [], label="more workers than cores", mfc="white", **style))
    if any(panel.ideal for panel in panels):
        handles.append(Line2D([], [], label="iPC, perfect scaling", color=GREY, ls=":", linewidth=1.3))
    figure = new_figure(max(7.4, 0.8 + 4.35 * across), 1.5 + 5.35 * down, title, [str(h.get_label()) for h in handles])
    for number, panel in enumerate(panels):
        left, bottom = 0.95 + 4.35 * (number % across), 1.25 + 5.35 * (down - 1 - number // across)
        first = panel.points[0]
        name = panel.name + (f", {first['kind']}" if len(kinds) > 1 else "")
        name += f", {first['dtype']}, {first['activation']}" if len(types) > 1 else ""
        times = add_panel(figure, left, bottom + 2.5, 2.3, 2.0, name)
        _times(times, panel)
        ratios = add_panel(figure, left, bottom, 2.3, 1.95)
        _ratios(ratios, panel)
        if number % across == 0:
            times.set_ylabel("seconds per update")
            ratios.set_ylabel("ratio: iPC ÷ BP")
    legend(figure, handles)
    meaning = "medians; ÷ best BP: the fastest BP on no more workers; bars: 95 % bootstrap intervals"
    caption(figure, f"{results.context.get('cpu_model') or 'unknown CPU'}; {'; '.join(types)}", meaning)
    return figure


def _points(source: Callable[[Results], list[dict[str, Any]]], results: Results) -> list[dict[str, Any]]:
    """The points of iPC and BP, if there are any."""
    try:
        return [point for point in source(results) if point["algorithm"] in ("ipc", "bp")]
    except InputError:  # says only that the file has nothing of the kind
        return []


def _net(point: _Point) -> tuple[Any, ...]:
    return tuple(point[name] for name in _NET)


def _strong(results: Results) -> list[_Panel]:
    panels = []
    for inside in grouped(_points(rank_scaling, results), _net).values():
        plain = min((point["delay"] is not None, point["delay"]) for point in inside)[1]
        alike = [point for point in inside if point["delay"] == plain]
        depth = max(point["depth"] for point in alike)
        drawn = [point for point in alike if point["depth"] == depth]
        name = f"strong: {depth} × {drawn[0]['width']}, batch {drawn[0]['batch']}"
        panels.append(_Panel(name, drawn, "ranks", lambda seconds, first, place: seconds * first / place))
    return panels


def _weak(results: Results) -> list[_Panel]:
    """Nets that grow through all the ranks that were used: in a file of strong scaling some depths may happen to."""
    panels, every = [], _points(exchanges, results)
    for net, inside in grouped(_points(weak_scaling, results), _net).items():
        plain = min((point["delay"] is not None, point["delay"]) for point in inside)[1]
        alike = [point for point in inside if point["delay"] == plain]
        groups = grouped(alike, lambda point: (point["layers"], point["threads"]))
        counts = {group: {point["ranks"] for point in points} for group, points in groups.items()}
        layers, threads = max(groups, key=lambda group: (len(counts[group]), group))
        if not counts[layers, threads] >= {point["ranks"] for point in every if _net(point) == net}:
            continue
        drawn = groups[layers, threads]
        name = f"weak: {layers} per rank × {drawn[0]['width']}, batch {drawn[0]['batch']}"
        panels.append(_Panel(name, drawn, "ranks", lambda seconds, first, place: seconds))
    return panels


def _delayed(results: Results) -> list[_Panel]:
    panels = []
    for inside in grouped(_points(delays, results), _net).values():
        depth = max(point["depth"] for point in inside)
        deep = [point for point in inside if point["depth"] == depth]
        fitting = [point for point in deep if not point["oversubscribed"]] or deep
        ranks = max(point["ranks"] for point in fitting)
        drawn = [point | {"delay": point["delay"] or 0.0} for point in deep if point["ranks"] == ranks]
        name = f"latency: {depth} × {drawn[0]['width']}, batch {drawn[0]['batch']}, {ranks} ranks"
        panels.append(_Panel(name, drawn, "delay", None))
    return panels


def _place(panel: _Panel) -> Callable[[float], float]:
    """The position of a point on the logarithmic axis: no added latency is one step before the first."""
    there = sorted({point[panel.over] for point in panel.points})
    if panel.over != "delay" or there[0] > 0:
        return lambda place: place
    first = there[1] / 4 if len(there) > 1 else 1e-6
    return lambda place: place or first


def _axis(axes: Axes, panel: _Panel) -> None:
    there = sorted({point[panel.over] for point in panel.points})
    if panel.over == "ranks":
        number_scale(axes, "ranks", there)
        return
    place = _place(panel)
    log_scale(axes, "x", [place(value) for value in there])
    low, high = axes.get_xlim()
    apart = (high / low) ** 0.22
    kept: list[float] = []
    for value in there:  # as many ticks as have room for their names
        if not kept or place(value) / place(kept[-1]) >= apart:
            kept.append(value)
    axes.set_xticks([place(value) for value in kept], [axis_seconds(value) if value else "none" for value in kept])
    axes.set_xlabel("latency added to each message, one way")


def _curves(panel: _Panel) -> dict[str, list[_Point]]:
    """iPC's points, and those of each execution of BP: at each place the fastest, in order."""
    found = {}
    name = lambda point: "iPC" if point["algorithm"] == "ipc" else point["execution"]  # noqa: E731
    for label, inside in grouped(panel.points, name).items():
        places = grouped(inside, lambda point: point[panel.over])
        found[label] = [min(places[place], key=lambda point: point["median"]) for place in sorted(places)]
    return found


def _times(axes: Axes, panel: _Panel) -> None:
    place, curves = _place(panel), _curves(panel)
    _axis(axes, panel)
    axes.set_xlabel("")
    lines, ends = [], []
    if panel.ideal and "iPC" in curves:
        start, last = curves["iPC"][0], curves["iPC"][-1]
        at = [start[panel.over], last[panel.over]]
        lines = [panel.ideal(start["median"], at[0], where) for where in at]
        axes.plot(at, lines, color=GREY, ls=":", linewidth=1.3, zorder=1)
    log_scale(
        axes, "y", [*(point["median"] for point in panel.points), *lines], lambda seconds, _: axis_seconds(seconds)
    )
    for label, points in curves.items():
        shade, marker = (BLUE, "o") if label == "iPC" else EXECUTION_COLOURS.get(label, (GREY, "x"))
        at, seconds = [place(point[panel.over]) for point in points], [point["median"] for point in points]
        _line(axes, at, seconds, points, shade, marker, strong=label == "iPC")
        if label == "serial" and at[-1] < axes.get_xlim()[1] / 1.5:  # a leader line would look like a curve
            style: dict[str, Any] = {"fontsize": 9, "color": shade, "textcoords": "offset points"}
            axes.annotate("BP serial", (at[-1], seconds[-1]), (6, 4), **style)
        else:
            ends.append((at[-1], seconds[-1], label if label == "iPC" else f"BP {label}", shade))
    label_ends(axes, ends)


def _ratios(axes: Axes, panel: _Panel) -> None:
    place, curves = _place(panel), _curves(panel)
    _axis(axes, panel)
    drawn = {label: [point for point in points if point["ratio"]] for label, points in curves.items()}
    # With one worker the best BP is the serial one, which has no further points.
    alone = len(drawn) > 2 and "iPC" in drawn
    drawn = {label: points for label, points in drawn.items() if points and not (alone and label == "serial")}
    ends_of = ("ratio", "ratio_low", "ratio_high")
    known = [point[end] for points in drawn.values() for point in points for end in ends_of if point[end]]
    log_scale(axes, "y", [1, *known])
    axes.axhspan(1, axes.get_ylim()[1], color="#f7f1ea", zorder=0)
    axes.axhline(1, color=INK, linewidth=1, zorder=1)
    ends = []
    for label, points in drawn.items():
        best = points[0]["denominator"] == HEADLINE
        shade, marker = (RED, "s") if best else EXECUTION_COLOURS.get(label, (GREY, "x"))
        at, ratios = [place(point[panel.over]) for point in points], [point["ratio"] for point in points]
        bars = [[point["ratio"] - (point["ratio_low"] or point["ratio"]) for point in points]]
        bars += [[(point["ratio_high"] or point["ratio"]) - point["ratio"] for point in points]]
        axes.errorbar(at, ratios, np.maximum(bars, 0), fmt="none", ecolor=shade, capsize=2.5, elinewidth=1)
        _line(axes, at, ratios, points, shade, marker, strong=best)
        ends.append((at[-1], ratios[-1], "÷ best BP" if best else f"÷ {label}", shade))
    label_ends(axes, ends)


def _line(
    axes: Axes, at: list[float], values: list[float], points: Sequence[_Point], shade: str, marker: str, strong: bool
) -> None:
    """A curve; its points are hollow where workers were more than cores."""
    style: dict[str, Any] = {"color": shade, "marker": marker, "markersize": 4.5}
    axes.plot(at, values, linewidth=STRONG if strong else 1.4, **style, zorder=3 if strong else 2)
    over = [number for number, point in enumerate(points) if point["oversubscribed"]]
    style |= {"ls": "", "mfc": "white", "zorder": 4}
    axes.plot([at[n] for n in over], [values[n] for n in over], **style)
