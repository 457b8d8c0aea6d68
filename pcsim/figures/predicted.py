"""Figures of predictions: crossover maps of the ratio, and its curves over more workers.

It draws maps and cases of :mod:`pcsim.predict.sweep`, as plain data, in the style and with the colours of
:mod:`pcsim.figures.style`. It must never predict anything, and every figure names the machine and says whether it is
calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..tables import short
from .style import (
    GREY,
    INK,
    add_panel,
    caption,
    grouped,
    ink_on,
    label_ends,
    legend,
    log_scale,
    new_figure,
    number_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_CELL = 1.12, 0.62  # inches of a cell of a map

_FURTHEST = 10.0  # ratio (and 1 ÷ it) at which the colour is strongest

_RATIO = "seconds per weight update, iPC ÷ the fastest BP; below 1 (blue) iPC is faster"


def map_figure(maps: Sequence[Any], source: str, title: str = "Where iPC is faster: predicted ratio") -> Figure:
    """A heat map for each of ``maps`` (:class:`pcsim.predict.sweep.Map`): the ratio in every cell, and the best BP.

    Blue: iPC is faster; red: BP is. A thick line is drawn where the ratio crosses 1; ``*`` marks cells outside the
    calibrated range. ``source`` names the machine. Raises :class:`InputError` for no maps.
    """
    if not maps:
        raise InputError("there is no map to draw")
    across = min(2, len(maps))
    down = -(-len(maps) // across)
    most = max(len(m.columns) for m in maps), max(len(m.rows) for m in maps)
    wide, high = _CELL[0] * most[0], _CELL[1] * most[1]
    step, rise = wide + 1.15, high + 1.05
    figure = new_figure(max(7.4, 0.3 + step * across), 1.2 + rise * down, title)
    for number, one in enumerate(maps):
        left, bottom = 0.95 + step * (number % across), 1.3 + rise * (down - 1 - number // across)
        size = _CELL[0] * len(one.columns), _CELL[1] * len(one.rows)
        axes = add_panel(figure, left, bottom, *size, one.title)
        _map(axes, one)
    starred = any(case.mark.startswith("outside") for one in maps for case in one.at.values())
    caption(figure, source, _RATIO + ("; *: outside the calibrated range" if starred else ""))
    return figure


def _map(axes: Axes, found: Any) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, to_hex

    norm, shades = LogNorm(1 / _FURTHEST, _FURTHEST, clip=True), colormaps["RdBu_r"]
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    below = {}
    for y, row in enumerate(found.rows):
        for x, column in enumerate(found.columns):
            case = found.at.get((row, column))
            if case is None:
                continue
            below[x, y] = case.ratio < 1
            shade = to_hex(shades(0.08 + 0.84 * norm(case.ratio)))
            axes.fill_between([x, x + 1], y, y + 1, color=shade, edgecolor="white", linewidth=1)
            ink = ink_on(shade)
            star = "*" if case.mark.startswith("outside") else ""
            style: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
            axes.text(x + 0.5, y + 0.62, short(case.ratio) + star, fontsize=10, fontweight="bold", **style)
            axes.text(x + 0.5, y + 0.25, case.best.execution, fontsize=8, **style)
    line: dict[str, Any] = {"color": INK, "linewidth": 2.6, "solid_capstyle": "round"}
    for (x, y), side in below.items():
        if below.get((x + 1, y), side) != side:
            axes.plot([x + 1, x + 1], [y, y + 1], **line)
        if below.get((x, y + 1), side) != side:
            axes.plot([x, x + 1], [y + 1, y + 1], **line)
    axes.set(xlim=(0, len(found.columns)), ylim=(0, len(found.rows)))
    axes.set_xticks(np.arange(len(found.columns)) + 0.5, [_tick(found.over[1], v) for v in found.columns])
    axes.set_yticks(np.arange(len(found.rows)) + 0.5, [_tick(found.over[0], v) for v in found.rows])
    axes.tick_params(length=0)
    axes.set(xlabel=_axis(found.over[1]), ylabel=_axis(found.over[0]))


def curves_figure(
    cases: Sequence[Any], source: str, over: str = "workers", title: str = "Predicted ratio, iPC ÷ BP"
) -> Figure:
    """The ratio over ``over`` (workers, depth, width, batch, latency, bandwidth), a line for each net: ÷ the fastest
    BP on no more workers, and ÷ serial BP (the paper's setting).

    Dotted, as predicted; hollow points are outside the calibrated range. Raises :class:`InputError` for no cases.
    """
    if not cases:
        raise InputError("there is no case to draw")
    names = ("depth", "width", "batch", "workers", "latency", "bandwidth")
    varied = [n for n in names if n != over and len({getattr(one, n) for one in cases}) > 1]
    lines = grouped(cases, lambda one: tuple(getattr(one, n) for n in varied))
    shared = [f"{_axis(n)} {getattr(cases[0], n):g}" for n in names[:4] if n != over and n not in varied]
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    hollow = any(one.mark.startswith("outside") for one in cases)
    handles = [Line2D([], [], color=INK, ls=":", marker="o", markersize=4.5, label="predicted")]
    if hollow:
        style: dict[str, Any] = {"color": INK, "ls": ":", "marker": "o", "markersize": 4.5, "mfc": "white"}
        handles.append(Line2D([], [], label="predicted, outside the calibrated range", **style))
    labels = [str(handle.get_label()) for handle in handles]
    figure = new_figure(11.8, 5.75, title, labels)
    shades = colormaps["viridis"](np.linspace(0.05, 0.8, len(lines)))
    panels = (("÷ the fastest BP on no more workers (best-bp)", "ratio"), ("÷ serial BP (paper-style)", "paper_style"))
    every = [1.0, *(getattr(one, name) for one in cases for _, name in panels)]
    for number, (label, name) in enumerate(panels):
        axes = add_panel(figure, 0.85 + 5.7 * number, 1.3, 3.85, 3.3, label)
        number_scale(axes, _axis(over), [getattr(one, over) for one in cases])
        log_scale(axes, "y", every)
        axes.axhspan(1, axes.get_ylim()[1], color="#f7f1ea", zorder=0)
        axes.axhline(1, color=INK, linewidth=1, zorder=1)
        axes.text(0.015, 0.98, "BP faster", transform=axes.transAxes, va="top", fontsize=8.5, color=GREY)
        axes.text(0.015, 0.02, "iPC faster", transform=axes.transAxes, va="bottom", fontsize=8.5, color=GREY)
        axes.set_ylabel("" if number else "ratio (log scale)")
        ends = []
        for (values, inside), shade in zip(lines.items(), shades, strict=True):
            drawn = sorted(inside, key=lambda one: getattr(one, over))
            at, ratios = [getattr(one, over) for one in drawn], [getattr(one, name) for one in drawn]
            axes.plot(at, ratios, ls=":", color=shade, linewidth=1.8, zorder=2)
            for place, ratio, one in zip(at, ratios, drawn, strict=True):
                face = "white" if one.mark.startswith("outside") else shade
                axes.plot([place], [ratio], marker="o", markersize=4.5, color=shade, mfc=face, zorder=3)
            words = ", ".join(f"{_axis(n)} {v:g}" for n, v in zip(varied, values, strict=True)) or "iPC"
            ends.append((at[-1], ratios[-1], words, shade))
        label_ends(axes, ends)
    legend(figure, handles)
    caption(figure, source, ", ".join(shared))
    return figure


def sensitivity_figure(found: Sequence[tuple[str, float]], factor: float, source: str, case: str) -> Figure:
    """How the ratio changes when each figure of the machine is ``factor`` times as large, from
    :func:`pcsim.predict.rivals.sensitivity`."""
    if not found:
        raise InputError("there is nothing to draw")
    figure = new_figure(8.2, 1.9 + 0.34 * len(found), f"What the ratio depends on: {case}")
    axes = add_panel(figure, 1.9, 0.95, 5.6, 0.34 * len(found))
    names = [name for name, _ in found][::-1]
    changes = [100 * (change - 1) for _, change in found][::-1]
    shades = ["#B2182B" if change > 0 else "#2166AC" for change in changes]
    axes.barh(range(len(names)), changes, color=shades, height=0.62)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(names)), names)
    reach = max(5.0, *(abs(change) for change in changes)) * 1.25
    axes.set(xlim=(-reach, reach), xlabel=f"change of the ratio, %, when the figure is multiplied by {factor:g}")
    for place, change in enumerate(changes):
        side: dict[str, Any] = {"ha": "left" if change >= 0 else "right", "va": "center", "fontsize": 8.5}
        axes.annotate(
            f"{change:+.1f} %", (change, place), (4 if change >= 0 else -4, 0), textcoords="offset points", **side
        )
    caption(figure, source)
    return figure


def _axis(name: str) -> str:
    return {"latency": "latency (factor)", "bandwidth": "memory bandwidth (factor)"}.get(name, name)


def _tick(name: str, value: float) -> str:
    return f"× {value:g}" if name in ("latency", "bandwidth") else f"{value:g}"


def longest(cases: Sequence[Any]) -> str:
    """The axis of a sweep: workers if there are several numbers of them, else what has the most values."""
    names = ("workers", "depth", "width", "batch", "latency", "bandwidth")
    counts = {name: len({getattr(one, name) for one in cases}) for name in names}
    return "workers" if counts["workers"] > 1 else max(names[1:], key=lambda name: counts[name])
