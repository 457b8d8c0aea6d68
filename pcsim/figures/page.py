"""A figure being made: panels in a grid, and around them title, key and caption, for any width and size of text.

Everything is placed by the measured size of what is written. Matplotlib's constrained layout sets the panels; marks at
points are put where no line passes. It must never know what is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import keys
from .marks import End, Mark, place_marks, show_ends
from .scales import fit_decades, fit_ticks, limits, log_ticks
from .style import FAINT, GREY, INK, SHADE, Look, paler, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend


class Page:
    """``count`` panels, each no narrower than ``least`` times the size of the text, of ``stacked`` axes each.

    Where panels stand in two columns, the last of an odd number takes a line for itself, unless they are to be
    ``alike``: then all stand in one. ``panels[n]`` holds the axes of panel n, from top to bottom. Draw into them, then
    call :meth:`finish`.
    """

    def __init__(
        self, look: Look, count: int, least: float = 15.0, stacked: int = 1, height: float = 0.0, alike: bool = False
    ) -> None:
        from matplotlib.figure import Figure

        self.look, self.count, self.stacked = look, count, stacked
        self.across = _columns(count, max(1, int(look.points / look.sizes.text // least)))
        if alike and count % self.across:
            self.across = 1
        self.down = -(-count // self.across)
        ems = look.points / look.sizes.text / self.across
        least_high = 7.5 if self.down > 2 and self.across == 1 else 10.0 if stacked == 1 else 8.5
        self.height = height or float(np.clip(0.62 * (ems - 5), least_high, 20 if stacked == 1 else 12))  # in ems
        self.figure: Figure = Figure(figsize=(look.points / 72, 1), facecolor="white")
        grid = self.figure.add_gridspec(self.down * stacked, self.across)
        alone = count - 1 if self.across == 2 and count % 2 else -1  # such a panel takes a line for itself
        self.panels = [
            [
                self._axes(grid[n // self.across * stacked + level, slice(0, 2) if n == alone else n % self.across])
                for level in range(stacked)
            ]
            for n in range(count)
        ]
        self._marks: list[Mark] = []
        self._ticks: list[tuple[Axes, list[tuple[float, str]]]] = []
        self._decades: list[tuple[Axes, float | None]] = []
        self._titles: dict[Axes, str] = {}
        self._ends: list[End] = []

    def _axes(self, place: Any) -> Axes:
        sizes = self.look.sizes
        axes = self.figure.add_subplot(place)
        axes.spines[["top", "right"]].set_visible(False)
        for spine in axes.spines.values():
            spine.set(linewidth=0.75 * sizes.thin, color=INK)
        axes.tick_params(
            labelsize=sizes.small, color=INK, labelcolor=INK, width=0.75 * sizes.thin, length=0.35 * sizes.small, pad=2
        )
        axes.grid(True, color=FAINT, linewidth=0.6 * sizes.thin)
        axes.set_axisbelow(True)
        return axes

    def leftmost(self, number: int) -> bool:
        return number % self.across == 0

    def lowest(self, number: int) -> bool:
        """Whether nothing stands below the panel."""
        return number + self.across >= self.count + self.count % 2 * (self.across == 2)

    def title(self, axes: Axes, text: str) -> None:
        """Above the panel, in as many lines as it takes."""
        self._titles[axes] = text
        axes.set_title(text, loc="left", fontsize=self.look.sizes.text, color=INK, pad=0.5 * self.look.sizes.text)

    def name(self, axes: Axes, x: str = "", y: str = "") -> None:
        """Name the axes."""
        sizes = self.look.sizes
        lines = wrapped(y, (self.height + 0.8) * sizes.text, sizes.text)
        axes.set_ylabel("\n".join(lines), fontsize=sizes.text, color=INK, labelpad=2)
        lines = wrapped(x, self.look.points / self.across - 8 * sizes.text, sizes.text)
        axes.set_xlabel("\n".join(lines), fontsize=sizes.text, color=INK, labelpad=1.5)

    def log_y(self, axes: Axes, values: Iterable[Any], text: Callable[[float], str] = "{:g}".format) -> None:
        """A logarithmic vertical axis that holds the values."""
        low, high = limits(values)
        ticks = log_ticks(low, high, int(self.height / 1.7))
        axes.set(yscale="log", ylim=(low, high))
        axes.set_yticks(ticks, [text(tick) for tick in ticks])
        axes.yaxis.minorticks_off()

    def log_x(self, axes: Axes, places: Mapping[float, str] | Iterable[float], first: Iterable[float] = ()) -> None:
        """A logarithmic horizontal axis with a tick at each place, or as many as have room: ``first`` those, then
        powers of two."""
        named = places if isinstance(places, Mapping) else {place: f"{place:g}" for place in sorted(set(places))}
        axes.set(xscale="log", xlim=limits(named, 1.3))
        axes.xaxis.minorticks_off()
        wanted = list(first)
        order = sorted(named, key=lambda place: (place not in wanted, not np.log2(place).is_integer(), place))
        self._ticks.append((axes, [(place, named[place]) for place in order]))
        ends = sorted({min(named), max(named)})
        axes.set_xticks(ends, [named[end] for end in ends])  # so that there is room for them

    def broken_x(self, axes: Axes, before: float, after: float) -> None:
        """Break the horizontal axis between two places, of which the first is none on a logarithmic scale."""
        low, high = axes.get_xlim()
        at = (np.log(before * after) / 2 - np.log(low)) / np.log(high / low)  # as a share of the axis
        sizes = self.look.sizes
        style: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False, "linestyle": "", "zorder": 10}
        axes.plot([at], [0], marker="s", markersize=0.6 * sizes.small, markeredgewidth=0, color="white", **style)
        slash: dict[str, Any] = {"marker": [(-0.4, -1), (0.4, 1)], "markersize": sizes.small, "color": INK}
        for side in (-0.016, 0.016):
            axes.plot([at + side], [0], markeredgewidth=0.75 * sizes.thin, **style, **slash)

    def decades_x(self, axes: Axes, values: Iterable[Any]) -> float:
        """A logarithmic horizontal axis that holds the values, with a tick at each decade that has room; where to draw
        those that are 0: left of all others, beyond a break of the axis."""
        known = [float(value) for value in values]
        positive = [value for value in known if np.isfinite(value) and value > 0]
        least, most = min(positive, default=1.0), max(positive, default=1.0)
        zero = least / max(3.0, (most / least) ** 0.12)
        broken = 0.0 in known
        low, high = limits([*positive, *([zero] if broken else [])], 1.1)
        axes.set(xscale="log", xlim=(low, high))
        axes.xaxis.minorticks_off()
        self._decades.append((axes, zero if broken else None))
        ticks = [(tick, f"{tick:g}") for tick in log_ticks(low, high, 5) if tick >= least or not broken]
        ticks += [(zero, "0")] if broken else []
        axes.set_xticks([tick for tick, _ in ticks], [text for _, text in ticks])  # so that there is room for them
        if broken and positive:
            self.broken_x(axes, zero, least)
        return zero

    def edge(self, axes: Axes, x: float, y: float, colour: str) -> None:
        """A point that may lie above or below the panel, where an arrowhead then says so."""
        self._ends.append(End(axes, x, y, colour))

    def ratio(self, axes: Axes) -> None:
        """Draw the line of 1, and shade the side on which BP is faster."""
        axes.axhspan(1, max(axes.get_ylim()[1], 1), color=SHADE, linewidth=0, zorder=0)
        axes.axhline(1, color=INK, linewidth=0.75 * self.look.sizes.thin, zorder=1)

    def broad(self, axes: Axes, x: Sequence[float], y: Sequence[float], colour: str) -> None:
        """A broad, pale line, which lies below all others."""
        axes.plot(x, y, color=paler(colour), linewidth=self.look.sizes.strong, solid_capstyle="round", zorder=1.5)

    def curve(
        self,
        axes: Axes,
        points: Sequence[tuple[Any, ...]],
        colour: str,
        stroke: Any = "-",
        strong: bool = False,
    ) -> None:
        """A line through points (x, y, low, high, execution, hollow): the marker of each is its execution's.

        ``low`` and ``high`` may be None; ``strong`` lays a broad line below.
        """
        sizes, style = self.look.sizes, dict[str, Any]()
        x, y = [float(point[0]) for point in points], [float(point[1]) for point in points]
        if strong:
            self.broad(axes, x, y, colour)
        axes.plot(x, y, color=colour, linewidth=sizes.thin, linestyle=stroke, zorder=3)
        known = [(at, value, low, high) for at, value, low, high, *_ in points if low is not None and high is not None]
        if known:
            bars = [[value - low for _, value, low, _ in known], [high - value for _, value, _, high in known]]
            style = {"fmt": "none", "ecolor": colour, "elinewidth": 0.8 * sizes.thin, "zorder": 2.9}
            axes.errorbar(
                [at for at, *_ in known],
                [value for _, value, *_ in known],
                np.maximum(bars, 0),
                capsize=0.55 * sizes.marker,
                capthick=0.8 * sizes.thin,
                **style,
            )
        alike: dict[tuple[Any, bool], list[tuple[float, float]]] = {}
        for at, value, _, _, execution, hollow in points:
            alike.setdefault((execution, hollow), []).append((at, value))
            self._ends.append(End(axes, at, value, colour))
        for (execution, hollow), places in alike.items():
            style = {"zorder": 4 if hollow else 3.5, **keys.point(self.look, colour, execution, hollow)}
            axes.plot([at for at, _ in places], [value for _, value in places], **style)

    def strip(self, axes: Axes, x: float, values: Iterable[float], colour: str) -> None:
        """A tick for each process, in pale behind the point that stands for all."""
        known = list(values)
        style: dict[str, Any] = {
            "linestyle": "",
            "marker": "_",
            "markersize": 1.5 * self.look.sizes.marker,
            "alpha": 0.55,
        }
        axes.plot(
            [x] * len(known), known, color=colour, markeredgewidth=0.7 * self.look.sizes.thin, zorder=2.8, **style
        )

    def mark(self, axes: Axes, x: float, low: float, high: float, text: str) -> None:
        """Write a short text beside the point whose bar reaches from ``low`` to ``high``, where no line passes."""
        self._marks.append(Mark(axes, x, low, high, text))

    # --- what stands around the panels ---

    def finish(self, title: str, handles: Sequence[Any], *captions: str) -> Figure:
        """Place everything. The key goes into a gap in the grid of panels if there is one that has room for it."""
        sizes, em = self.look.sizes, self.look.sizes.text
        room = self.look.points - 1.2 * em
        heading = wrapped(title, room, sizes.heading, bold=True)
        whole = [re.sub(r"(?<=[A-Za-z]) (?=\d)", "\N{NO-BREAK SPACE}", text) for text in captions]  # "batch 1"
        notes = [line for text in whole for line in wrapped(text, room, sizes.small, most=5)]
        top = len(heading) * 1.25 * sizes.heading + (0.8 if heading else 0.4) * em
        bottom = len(notes) * 1.3 * sizes.small + 0.7 * em
        self._arrange(top, bottom)
        if self._wrap_titles():
            self._arrange(top, bottom)
        key = self._key_in_gap(handles, top, bottom) if handles else None
        if handles and key is None:
            key = keys.legend(self.figure, self.look, handles, keys.lowest(self.look, handles, room))
            high = key.get_window_extent().height * 72 / self.figure.dpi + 0.4 * em
            self._arrange(top + high, bottom)
            key.set_bbox_to_anchor((0.6 * em / self.look.points, 1 - top / self._points))
        for axes in self.figure.axes:  # the last bits differ between processes, and with them the names in an SVG
            left, low, width, height = (round(edge, 6) for edge in axes.get_position().bounds)
            axes.set_position((left, low, width, height))
        up = self._points
        style: dict[str, Any] = {"fontsize": sizes.heading, "fontweight": "bold", "color": INK, "va": "top"}
        if heading:
            self._write(0.6 * em, up - 0.5 * em, heading, style)
        self._write(0.6 * em, bottom - 0.3 * em, notes, {"fontsize": sizes.small, "color": GREY, "va": "top"})
        for axes, wanted in self._ticks:
            fit_ticks(axes, wanted, sizes.small)
        for axes, zero in self._decades:
            fit_decades(axes, sizes.small, zero)
        show_ends(self._ends, self.look)
        place_marks(self._marks, self.look)
        return self.figure

    def _write(self, left: float, top: float, lines: Sequence[str], style: Mapping[str, Any]) -> None:
        place = left / self.look.points, top / self._points
        if lines:
            self.figure.text(*place, "\n".join(lines), linespacing=1.25, **style)

    def _arrange(self, top: float, bottom: float) -> None:
        """Set the height of the figure, and the panels between two strips (points), once and for all."""
        em, across = self.look.sizes.text, self.look.points
        titles = [axes.get_title(loc="left").count("\n") + 1 for stack in self.panels for axes in stack[:1]]
        named = any(axes.get_title(loc="left") for stack in self.panels for axes in stack)
        each = self.stacked * (self.height + 1.4) + (1.3 * max(titles) if named else 0) + 1.2
        below = max(axes.get_xlabel().count("\n") for axes in self.figure.axes)
        body = (self.down * each + 2 + 1.3 * below) * em
        self._points = top + bottom + body
        self.figure.set_size_inches(across / 72, self._points / 72)
        rect = (0.4 * em / across, bottom / self._points, 1 - em / across, body / self._points)
        pads = {"w_pad": 0.3 * em / 72, "h_pad": 0.3 * em / 72, "wspace": 0.01, "hspace": 0.01}
        self.figure.set_layout_engine("constrained", rect=rect, **pads)
        self.figure.get_layout_engine().execute(self.figure)  # type: ignore[union-attr]
        self.figure.set_layout_engine("none")

    def _wrap_titles(self) -> bool:
        """Cut the titles of panels to the room that they have, up to the next panel; whether any is longer."""
        scale, long = 72 / self.figure.dpi, False
        for number, stack in enumerate(self.panels):
            text = self._titles.get(stack[0], "")
            column = number % self.across + 1
            last = column == self.across or (number == self.count - 1 and (self.down == 1 or self.across == 2))
            end = self.look.points if last else self.panels[column][0].bbox.x0 * scale
            lines = wrapped(text, end - stack[0].bbox.x0 * scale - 0.7 * self.look.sizes.text, self.look.sizes.text)
            long = long or len(lines) > 1
            stack[0].title.set_text("")
            style: dict[str, Any] = {"fontsize": self.look.sizes.text, "color": INK, "pad": 0.5 * self.look.sizes.text}
            stack[0].set_title("\n".join(lines), loc="left", **style)
        return long

    def _key_in_gap(self, handles: Sequence[Any], top: float, bottom: float) -> Legend | None:
        """A key where the last line of the grid has no panels, or None where it has no room there even if the panels
        become a little higher."""
        if self.down == 1 or self.across == 2 or not self.count % self.across:
            return None
        scale, em = 72 / self.figure.dpi, self.look.sizes.text
        above, beside = self.panels[self.count - self.across][-1], self.panels[-1][-1]
        left = above.bbox.x0 * scale
        fitted = keys.narrowest(self.look, handles, self.look.points - 0.6 * em - left)
        lacking = fitted[1] - self._gap(above, beside) if fitted else 0
        if fitted is None or lacking > 0.4 * self.stacked * self.height * em:
            return None
        if lacking > 0:
            self.height += lacking / em / self.stacked
            self._arrange(top, bottom)
        key = keys.legend(self.figure, self.look, handles, fitted[0])
        end = _foot(above) * scale - 0.7 * em
        key.set_bbox_to_anchor((left / self.look.points, end / self._points))
        return key

    def _gap(self, above: Axes, beside: Axes) -> float:
        """The height, in points, between what stands above a gap and the lowest of what stands beside it."""
        scale = 72 / self.figure.dpi
        return (_foot(above) - _foot(beside)) * scale - 0.7 * self.look.sizes.text


def _foot(axes: Axes) -> float:
    """Where a panel and what is written below it end, in pixels."""
    box = axes.get_tightbbox()
    return float(axes.bbox.y0 if box is None else box.y0)


def _columns(count: int, most: int) -> int:
    """How many panels stand beside one another: of ``most`` and fewer what leaves the smallest gap."""
    if count <= most:
        return count
    return min(range(most, max(1, most // 2), -1), key=lambda n: (-count % n, -n), default=1)
