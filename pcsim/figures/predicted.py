"""Figures of predictions: crossover maps of the ratio, and its curves over more workers.

It draws maps and cases of :mod:`pcsim.predict.sweep`, or points of :mod:`pcsim.results.workers`, which have the same
attributes. It must never predict anything, and every figure names the machine and says whether it is calibrated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..tables import short
from . import keys
from .page import Page
from .style import (
    INK,
    PAPER,
    STROKES,
    Look,
    colour_of,
    grouped,
    ink_on,
    text_width,
    with_own_settings,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_FURTHEST = 10.0  # ratio (and 1 ÷ it) at which the colour of a map is strongest

_IPC, _BP = colour_of("ipc"), colour_of("bp")

_RATIO = "seconds per weight update, iPC ÷ the fastest BP on no more workers; below 1 (blue) iPC is faster"

_OUTSIDE = "outside the calibrated range"


@with_own_settings
def map_figure(maps: Sequence[Any], source: str, title: str | None = None, look: Look = PAPER) -> Figure:
    """A heat map for each of ``maps`` (:class:`pcsim.predict.sweep.Map`): the ratio in every cell, and the best BP, by
    name or, where that has no room, by its marker.

    Blue: iPC is faster; red: BP is. A thick line is drawn where the ratio crosses 1; ``*`` marks cells outside the
    calibrated range. ``source`` names the machine. Raises :class:`InputError` for no maps.
    """
    if not maps:
        raise InputError("there is no map to draw")
    columns, rows = max(len(m.columns) for m in maps), max(len(m.rows) for m in maps)
    page = Page(look, len(maps), least=4.0 * columns + 5, height=2.7 * rows, alike=True)
    names = list(dict.fromkeys(case.best.execution for one in maps for case in one.at.values()))
    room = look.points / page.across / columns - (4.5 / columns + 0.25) * look.sizes.text
    named = max(text_width(name, look.sizes.small) for name in names) <= room
    for number, one in enumerate(maps):
        (axes,) = page.panels[number]
        page.title(axes, one.title)
        _map(page, axes, one, named, room)
        page.name(axes, _axis(one.over[1]), _axis(one.over[0]) if page.leftmost(number) else "")
    starred = any(case.mark.startswith("outside") for one in maps for case in one.at.values())
    handles = [] if named else [keys.entry(page.look, f"fastest BP: {name}", INK, name, stroke="") for name in names]
    who = next(case.title for one in maps for case in one.at.values())
    title = f"Where {who} is faster: predicted ratio" if title is None else title
    note = _RATIO.replace("iPC", who) + ("" if not named else "; below each ratio that BP")
    mine = _executions([case for one in maps for case in one.at.values()])
    return page.finish(title, handles, source, note + (f"; *: {_OUTSIDE}" if starred else "") + f"; {mine}")


def _map(page: Page, axes: Axes, found: Any, named: bool, room: float) -> None:
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_hex

    sizes = page.look.sizes
    norm = LogNorm(1 / _FURTHEST, _FURTHEST, clip=True)
    shades = LinearSegmentedColormap.from_list("sides", [_IPC, "#f7f7f7", _BP])
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    below = {}
    for y, row in enumerate(found.rows):
        for x, column in enumerate(found.columns):
            case = found.at.get((row, column))
            if case is None:
                continue
            below[x, y] = case.ratio < 1
            shade = to_hex(shades(norm(case.ratio)))
            axes.fill_between([x, x + 1], y, y + 1, color=shade, edgecolor="white", linewidth=sizes.thin)
            star = "*" if case.mark.startswith("outside") else ""
            style: dict[str, Any] = {"ha": "center", "va": "center", "color": ink_on(shade)}
            number = short(case.ratio) + star
            size = sizes.text * min(1, room / text_width(number, sizes.text, bold=True))
            axes.text(x + 0.5, y + 0.66, number, fontsize=size, fontweight="bold", **style)
            if named:
                axes.text(x + 0.5, y + 0.27, case.best.execution, fontsize=sizes.small, **style)
            else:
                ink = {"markerfacecolor": style["color"], "markeredgecolor": style["color"]}
                axes.plot([x + 0.5], [y + 0.27], **(keys.point(page.look, INK, case.best.execution) | ink))
    line: dict[str, Any] = {"color": INK, "linewidth": 2.2 * sizes.thin, "solid_capstyle": "round"}
    for (x, y), side in below.items():
        if below.get((x + 1, y), side) != side:
            axes.plot([x + 1, x + 1], [y, y + 1], **line)
        if below.get((x, y + 1), side) != side:
            axes.plot([x, x + 1], [y + 1, y + 1], **line)
    axes.set(xlim=(0, len(found.columns)), ylim=(0, len(found.rows)))
    axes.set_xticks(np.arange(len(found.columns)) + 0.5, [_tick(found.over[1], v) for v in found.columns])
    axes.set_yticks(np.arange(len(found.rows)) + 0.5, [_tick(found.over[0], v) for v in found.rows])
    widest = max(text_width(_tick(found.over[1], value), sizes.small) for value in found.columns)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", labelsize=sizes.small * min(1, room / widest))


@with_own_settings
def curves_figure(
    cases: Sequence[Any], source: str, over: str = "workers", title: str | None = None, look: Look = PAPER
) -> Figure:
    """The ratio over ``over`` (workers, depth, width, batch, latency, bandwidth), a panel for each net: ÷ the fastest
    BP on no more workers, and ÷ serial BP (the paper's setting).

    Dotted, as predicted; the marker of a point is that of the BP it is divided by, hollow outside the calibrated range.
    Raises :class:`InputError` for no cases.
    """
    if not cases:
        raise InputError("there is no case to draw")
    names = ["sizes", "depth", "width", "batch", "steps_per_batch", "start", "workers", "latency", "bandwidth"]
    if any(one.sizes for one in cases):  # which say depth and width
        names = [n for n in names if n not in ("depth", "width")]
    varied = [n for n in names if n != over and len({getattr(one, n) for one in cases}) > 1]
    panels = grouped(cases, lambda one: tuple(getattr(one, n) for n in varied))
    same = [n for n in names if n not in (over, "latency", "bandwidth") and n not in varied]
    shared = [said for n in same if (said := _said(cases[0], n))]
    page = Page(look, len(panels))
    every = [1.0, *(ratio for one in cases for ratio in (one.ratio, one.paper_style))]
    for number, inside in enumerate(panels.values()):
        (axes,) = page.panels[number]
        page.log_x(axes, sorted({getattr(one, over) for one in cases}))
        page.log_y(axes, every)
        page.ratio(axes)
        page.title(axes, ", ".join(filter(None, (_said(inside[0], n, always=True) for n in varied))))
        ratio = f"{cases[0].title} ÷ BP" if page.leftmost(number) else ""
        page.name(axes, _axis(over) if page.lowest(number) else "", ratio)
        axes.tick_params(labelbottom=page.lowest(number), labelleft=page.leftmost(number))
        drawn = sorted(inside, key=lambda one: getattr(one, over))
        for strong in (False, True):
            points = [
                (getattr(one, over), one.ratio, None, None, one.best_execution, one.mark.startswith("outside"))
                if strong
                else (getattr(one, over), one.paper_style, None, None, "serial", one.mark.startswith("outside"))
                for one in drawn
            ]
            page.curve(axes, points, _IPC, STROKES["predicted"], strong=strong)
    handles = [keys.entry(page.look, "÷ fastest BP on no more workers (best-bp)", _IPC, strong=True)]
    handles.append(keys.entry(page.look, "÷ serial BP (paper-style)", _IPC, "serial", stroke=STROKES["predicted"]))
    for execution in dict.fromkeys(one.best_execution for one in cases):
        if execution != "serial":
            handles.append(keys.entry(page.look, f"÷ BP {execution}", _IPC, execution, stroke=STROKES["predicted"]))
    if any(one.mark.startswith("outside") for one in cases):
        handles.append(keys.entry(page.look, _OUTSIDE, INK, "layer-parallel", hollow=True, stroke=""))
    handles.append(keys.patch("BP faster"))
    title = f"Predicted ratio of seconds per weight update, {cases[0].title} ÷ BP" if title is None else title
    return page.finish(title, handles, source, "; ".join([", ".join(shared), _executions(cases)]))


def _executions(cases: Sequence[Any]) -> str:
    """By which executions, and in how many cases, the algorithm did what it did."""
    counts = Counter(case.execution for case in cases)
    return f"{cases[0].title} by " + ", ".join(f"{name} ({count} of {len(cases)})" for name, count in counts.items())


def _said(case: Any, name: str, always: bool = False) -> str:
    """What a figure says of its cases; what is usual only if ``always``."""
    value = getattr(case, name)
    if name == "sizes":
        return value or (f"{case.depth} × {case.width}" if always else "")
    if name == "steps_per_batch":
        return f"a new batch every {value} steps" if value else "one batch" if always else ""
    if name == "start":
        return f"{value} start" if always or value != "forward" else ""
    return f"{_axis(name)} {value:g}"


@with_own_settings
def sensitivity_figure(
    found: Sequence[tuple[str, float]],
    factor: float,
    source: str,
    case: str,
    title: str | None = None,
    look: Look = PAPER,
) -> Figure:
    """How the ratio changes when each figure of the machine is ``factor`` times as large, from
    :func:`pcsim.predict.rivals.sensitivity`."""
    if not found:
        raise InputError("there is nothing to draw")
    size = look.sizes.small
    names = ["\n".join(wrapped(name, 0.4 * look.points, size)) for name, _ in found][::-1]
    page = Page(look, 1, height=(1.7 if all("\n" not in name for name in names) else 2.7) * len(found))
    ((axes,),) = page.panels
    changes = [100 * (change - 1) for _, change in found][::-1]
    shades = [_BP if change > 0 else _IPC for change in changes]
    axes.barh(range(len(names)), changes, color=shades, height=0.62)
    axes.axvline(0, color=INK, linewidth=0.75 * look.sizes.thin)
    axes.set_yticks(range(len(names)), names)
    axes.grid(False, axis="y")
    low, high = min(-1.0, *changes), max(1.0, *changes)
    longest_name = max(text_width(line, size) for name in names for line in name.split("\n"))
    across = (look.points - longest_name) / size - 2  # of the axes, in ems
    spare = (high - low) * 4 / max(across - 8, 3)  # room for a number of four ems on both sides
    axes.set(xlim=(low - spare, high + spare), ylim=(-0.6, len(names) - 0.4))
    page.name(axes, "change of the ratio, %")
    for place, change in enumerate(changes):
        side: dict[str, Any] = {"ha": "left" if change >= 0 else "right", "va": "center_baseline"}
        side |= {"fontsize": look.sizes.small, "textcoords": "offset points", "color": INK}
        axes.annotate(f"{change:+.1f}".replace("-", "−"), (change, place), (3 if change >= 0 else -3, 0), **side)
    title = f"What the ratio depends on: {case}" if title is None else title
    return page.finish(
        title, [], source, f"each figure of the machine multiplied by {factor:g}, the others as they are"
    )


def _axis(name: str) -> str:
    return {"latency": "latency (factor)", "bandwidth": "memory bandwidth (factor)"}.get(name, name)


def _tick(name: str, value: float) -> str:
    return f"× {value:g}" if name in ("latency", "bandwidth") else f"{value:g}"


def longest(cases: Sequence[Any]) -> str:
    """The axis of a sweep: workers if there are several numbers of them, else what has the most values."""
    names = ("workers", "depth", "width", "batch", "latency", "bandwidth")
    counts = {name: len({getattr(one, name) for one in cases}) for name in names}
    return "workers" if counts["workers"] > 1 else max(names[1:], key=lambda name: counts[name])
