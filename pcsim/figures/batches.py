"""BP ÷ iPC per weight update over depth and batch, as maps: counted, predicted, and points that were measured.

It must never count, predict or read anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from . import keys
from .page import Page
from .style import INK, PAPER, Look, colour_of, ink_on, with_own_settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = (0.5, 1.0, 1.1, 1.5, 2.0, 4.0, 10.0, 30.0, 100.0)

_FURTHEST = 10.0  # ratio (and 1 ÷ it) at which the colour is strongest


@dataclass(frozen=True)
class Panel:
    """A map: BP ÷ iPC at (depth, batch). ``points``: single cells, drawn as such, without contours."""

    title: str
    ratios: Mapping[tuple[int, int], float]
    points: bool = False


@with_own_settings
def batches_figure(panels: Sequence[Panel], title: str | None = None, caption: str = "", look: Look = PAPER) -> Figure:
    """A heat map for each panel, with contour lines; blue where iPC is ahead, red where BP is. InputError for none, and
    for a map of less than two depths or batches, which has no lines."""
    panels = [panel for panel in panels if panel.ratios]
    if not panels:
        raise InputError("there is no map to draw")
    whole = [panel for panel in panels if not panel.points]
    cells = [at for panel in whole or panels for at in panel.ratios]
    depths, batches = sorted({depth for depth, _ in cells}), sorted({batch for _, batch in cells})
    if whole:
        check_map(depths, batches)
    page = Page(look, len(panels), least=24.0, height=17.0, alike=True)
    for number, panel in enumerate(panels):
        (axes,) = page.panels[number]
        axes.grid(False)
        page.log_x(axes, batches)
        page.log_y(axes, depths)
        axes.set_yticks(depths, [f"{depth:g}" for depth in depths])
        axes.set_xlim(_edges(batches)[[0, -1]])
        axes.set_ylim(_edges(depths)[[0, -1]])
        page.title(axes, panel.title)
        (_points if panel.points else _map)(axes, panel.ratios, depths, batches, look)
        page.name(axes, "batch" if page.lowest(number) else "", "depth" if page.leftmost(number) else "")
        axes.tick_params(labelleft=page.leftmost(number))
    heading = "BP ÷ iPC for one weight update" if title is None else title
    handles = [keys.patch("above 1: iPC is ahead", _IPC), keys.patch("below 1: BP is ahead", _BP)]
    return page.finish(heading, handles, *([caption] if caption else []))


def check_map(depths: Sequence[int], batches: Sequence[int]) -> None:
    """InputError, before anything is counted, for what has no lines."""
    if len(depths) < 2 or len(batches) < 2:
        raise InputError("a map needs two depths and two batches at least")


_IPC, _BP = colour_of("ipc"), colour_of("bp")


def _shade(ratio: float) -> str:
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_hex

    shades = LinearSegmentedColormap.from_list("sides", [_BP, "#f7f7f7", _IPC])
    return str(to_hex(shades(LogNorm(1 / _FURTHEST, _FURTHEST, clip=True)(ratio))))


def _edges(places: Sequence[int]) -> Any:
    """Of cells around places on a logarithmic axis."""
    logs = np.log2(np.asarray(places, dtype=float))
    middle = (logs[1:] + logs[:-1]) / 2 if len(logs) > 1 else np.empty(0)
    half = (logs[1] - logs[0]) / 2 if len(logs) > 1 else 0.5
    last = (logs[-1] - logs[-2]) / 2 if len(logs) > 1 else 0.5
    return 2.0 ** np.r_[logs[0] - half, middle, logs[-1] + last]


def _map(
    axes: Axes, ratios: Mapping[tuple[int, int], float], depths: Sequence[int], batches: Sequence[int], look: Look
) -> None:
    x, y = _edges(batches), _edges(depths)
    for (depth, batch), ratio in ratios.items():
        i, j = batches.index(batch), depths.index(depth)
        shade = _shade(ratio)
        axes.fill_between([x[i], x[i + 1]], y[j], y[j + 1], color=shade, edgecolor=shade, linewidth=0.3, zorder=0.5)
    grid = np.array([[ratios.get((depth, batch), np.nan) for batch in batches] for depth in depths])
    levels = [level for level in LEVELS if np.nanmin(grid) < level < np.nanmax(grid)]
    if not levels:
        return
    # Between cells the logarithm is interpolated: along both axes it is what changes evenly.
    inks = ["white" if level >= _FURTHEST else INK for level in levels]
    drawn = axes.contour(
        batches, depths, np.log(grid), levels=np.log(levels), colors=inks, linewidths=look.sizes.thin, zorder=2
    )
    names = {float(np.log(level)): f"{level:g}" for level in levels}
    style: dict[str, Any] = {"fontsize": look.sizes.small, "inline_spacing": 2, "manual": _label_places(drawn, depths)}
    axes.clabel(drawn, fmt=lambda at: names[float(at)], **style)


def _label_places(drawn: Any, depths: Sequence[int]) -> list[tuple[float, float]]:
    """Where each contour has its number: at another depth than its neighbours', so that numbers do not meet."""
    inner, found = depths[1:-1] or depths, []
    for number, path in enumerate(drawn.get_paths()):
        wanted = inner[2 * number % len(inner)]
        x, y = min(path.vertices, key=lambda at: abs(np.log(at[1] / wanted)))
        found.append((float(x), float(y)))
    return found


def _points(
    axes: Axes, ratios: Mapping[tuple[int, int], float], depths: Sequence[int], batches: Sequence[int], look: Look
) -> None:
    size = 4.2 * look.sizes.marker
    for (depth, batch), ratio in ratios.items():
        shade = _shade(ratio)
        style: dict[str, Any] = {"marker": "o", "markersize": size, "linestyle": "", "clip_on": False}
        axes.plot([batch], [depth], markerfacecolor=shade, markeredgecolor=INK, markeredgewidth=0.5, **style)
        text: dict[str, Any] = {"ha": "center", "va": "center", "color": ink_on(shade), "zorder": 4}
        axes.text(batch, depth, f"{ratio:.2f}", fontsize=0.85 * look.sizes.small, **text)
