"""Signs beside points, put where no line passes, and arrowheads where a curve leaves its panel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .style import INK, Look, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Mark(NamedTuple):
    """A short text for the point at ``x`` whose bar reaches from ``low`` to ``high``."""

    axes: Axes
    x: float
    low: float
    high: float
    text: str


class End(NamedTuple):
    """A point of a curve, which may lie beyond the axes."""

    axes: Axes
    x: float
    y: float
    colour: str


def place_marks(marks: Sequence[Mark], look: Look) -> None:
    """Write each beside its point, where it meets the fewest lines, bars and other marks."""
    from matplotlib.path import Path
    from matplotlib.transforms import Bbox

    drawn = {id(mark.axes): obstacles(mark.axes) for mark in marks}
    for mark in marks:
        size, scale = look.sizes.text + 1, mark.axes.figure.dpi / 72
        width, height = text_width(mark.text, size) * scale, 0.9 * size * scale
        best = (np.inf, 0.0, 0.0)
        for far in np.arange(0, 3, 0.25) * size * scale:
            for x, y in _places(mark, (width, height), 0.5 * look.sizes.marker * scale + 0.25 * size * scale, far):
                box = Bbox.from_bounds(x - width / 2, y - height / 2, width, height)
                met = sum(path.intersects_bbox(box, filled=False) for path in drawn[id(mark.axes)])
                best = min(best, (met + 100 * (not _inside(box, mark.axes.bbox)), x, y), key=lambda place: place[0])
            if best[0] == 0:
                break
        _, x, y = best
        style: dict[str, Any] = {"fontsize": size, "color": INK, "ha": "center", "va": "center_baseline", "zorder": 5}
        place = mark.axes.transData.inverted().transform((x, y))
        mark.axes.text(float(place[0]), float(place[1]), mark.text, **style)
        corners = [(x - width / 2, y - height / 2), (x + width / 2, y + height / 2)]
        drawn[id(mark.axes)].append(Path(corners))


def _places(mark: Mark, size: tuple[float, float], gap: float, far: float) -> list[tuple[float, float]]:
    """Where a mark can stand, as centres in pixels: above, below, then at the sides."""
    low, high = mark.axes.transData.transform([(mark.x, mark.low), (mark.x, mark.high)])
    x, away = float(low[0]), gap + far
    beside = [(side * (gap + far + size[0] / 2), y) for side in (1, -1) for y in (high[1], low[1], (low + high)[1] / 2)]
    above_below = [(0.0, high[1] + away + size[1] / 2), (0.0, low[1] - away - size[1] / 2)]
    return [(x + aside, float(y)) for aside, y in [*above_below, *beside]]


def _inside(box: Any, frame: Any) -> bool:
    return bool(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)


def show_ends(ends: Iterable[End], look: Look) -> None:
    """Where a curve leaves a panel above or below, an arrowhead at its edge says that there is a point."""
    from matplotlib.markers import CARETDOWN, CARETUP

    beside: dict[tuple[int, float, float], int] = {}
    for axes, x, y, colour in dict.fromkeys(ends):
        low, high = axes.get_ylim()
        if not low <= y <= high:
            edge, size = (high if y > high else low), 1.3 * look.sizes.marker
            count = beside[id(axes), x, edge] = beside.get((id(axes), x, edge), -1) + 1
            at = axes.transData.transform((x, edge))[0] - count * size * axes.figure.dpi / 72
            place = axes.transData.inverted().transform((at, 1))[0]
            style: dict[str, Any] = {"markersize": size, "color": colour, "linestyle": "", "clip_on": False}
            axes.plot([place], [edge], marker=CARETUP if y > high else CARETDOWN, **style)


def obstacles(axes: Axes) -> list[Any]:
    """Every line, bar and marker of a panel as a path in pixels; a marker as a cross of its size."""
    from matplotlib.collections import LineCollection
    from matplotlib.path import Path

    found = []
    for line in axes.lines:
        path = line.get_transform().transform_path(line.get_path())
        corners = np.asarray(path.vertices, dtype=float)
        if len(corners) > 1 and line.get_linestyle() not in ("", "None", "none"):
            found.append(path)
        half = 0.5 * line.get_markersize() * axes.figure.dpi / 72
        for centre in corners if line.get_marker() not in ("", "None", "none", None) else ():
            found += [Path([centre - arm, centre + arm]) for arm in (np.array([half, half]), np.array([half, -half]))]
    for bars in axes.collections:
        if isinstance(bars, LineCollection):
            found += [bars.get_transform().transform_path(path) for path in bars.get_paths()]
    return [path for path in found if np.isfinite(np.asarray(path.vertices, dtype=float)).all()]
