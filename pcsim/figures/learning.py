"""Loss against updates, matrix products and seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from . import keys
from .page import Page
from .style import (
    ALGORITHM_COLOURS,
    DASHES,
    GREY,
    INK,
    OTHER_COLOURS,
    PAPER,
    Look,
    colour_of,
    floats,
    paler,
    with_own_settings,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


_COSTS = {"updates": "weight updates", "smm": "SMMs (counted)", "mm": "MMs (counted)", "seconds": "seconds"}


@with_own_settings
def learning_figure(
    curves: Sequence[Mapping[str, Any]], title: str | None = None, caption: str = "", look: Look = PAPER
) -> Figure:
    """Loss against updates, SMMs, MMs and seconds, all axes logarithmic, one line per curve.

    A curve is a mapping with ``label``, ``loss`` and, of the same length each, ``updates``, ``smm``, ``mm`` and
    ``seconds`` (None where not recorded), all cumulative. What has cost nothing yet stands left of a break of the axis;
    a loss of 0, and one that is not finite, is an arrowhead at the edge. The end of each curve is marked: where it has
    ``diverged`` (not None), was ``interrupted``, or simply ended. ``algorithm`` gives a line its colour, the whole
    number ``stroke`` its dashes. ``caption`` says what all curves share: data, optimiser, rate, machine. Raises
    :class:`InputError` for no curves and for lengths that do not fit.
    """
    if not curves:
        raise InputError("a figure of learning requires at least one curve")
    styles = styles_of(curves, look)
    page = Page(look, len(_COSTS), height=13.0)
    for number, (name, label) in enumerate(_COSTS.items()):
        (axes,) = page.panels[number]
        drawn = [(curve, style) for curve, style in zip(curves, styles, strict=True) if curve.get(name) is not None]
        zero = page.decades_x(axes, [cost for curve, _ in drawn for cost in floats(curve[name])])
        page.log_y(axes, [loss for curve in curves for loss in floats(curve["loss"])])
        page.name(axes, label, "training loss" if page.leftmost(number) else "")
        axes.tick_params(labelleft=page.leftmost(number))
        for curve, style in drawn:
            _draw(page, axes, curve, name, style, zero)
        if not drawn:
            text: dict[str, Any] = {"ha": "center", "color": GREY, "fontsize": look.sizes.text}
            axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, **text)
    handles = [
        keys.entry(page.look, str(curve["label"]), style["color"], stroke=style["linestyle"])
        for curve, style in zip(curves, styles, strict=True)
    ]
    handles += [_end_of(look, INK, ending, label=ending) for ending in dict.fromkeys(map(_ending, curves))]
    lost = [bool((np.isfinite(loss) & (loss == 0)).any()) for loss in (floats(curve["loss"]) for curve in curves)]
    notes = [caption, *(["arrowheads at the lower edge: loss 0"] if any(lost) else [])]
    heading = "Training loss against what it costs" if title is None else title
    return page.finish(heading, handles, *(note for note in notes if note))


_ENDINGS = {"end of the run": "o", "interrupted": "o", "diverged": "X"}  # and their markers; one is hollow


def _ending(curve: Mapping[str, Any]) -> str:
    if curve.get("diverged") is not None:
        return "diverged"
    return "interrupted" if curve.get("interrupted") else "end of the run"


def _end_of(look: Look, colour: str, ending: str, at: tuple[float, float] | None = None, label: str = "") -> Line2D:
    """The marker at the end of a curve."""
    from matplotlib.lines import Line2D

    x, y = ([], []) if at is None else ([at[0]], [at[1]])
    style: dict[str, Any] = {"marker": _ENDINGS[ending], "markersize": look.sizes.marker, "linestyle": ""}
    style |= {"markeredgecolor": colour, "markerfacecolor": "white" if ending == "interrupted" else colour}
    style |= {"markeredgewidth": 0.75 * look.sizes.thin, "zorder": 4, "label": label or None}
    return Line2D(x, y, **style)


def _draw(page: Page, axes: Axes, curve: Mapping[str, Any], name: str, style: Mapping[str, Any], zero: float) -> None:
    """One curve in one panel: each record is a point of a line, a marker, or an arrowhead at an edge."""
    place, loss = floats(curve[name]), floats(curve["loss"])
    if place.shape != loss.shape:
        raise InputError(f"curve {curve['label']!r}: {name} and loss must be lists of the same length")
    known = np.isfinite(place) & (place >= 0)
    at = np.where(place > 0, place, zero)
    seen = known & np.isfinite(loss) & (loss > 0)
    beyond = np.flatnonzero(seen & (place > 0))
    axes.plot(at[beyond], loss[beyond], **style)
    alone = [*np.flatnonzero(seen & (place == 0)), *(beyond if len(beyond) == 1 else [])]
    size = 0.7 * page.look.sizes.marker
    axes.plot(at[alone], loss[alone], color=style["color"], marker="o", markersize=size, linestyle="", zorder=3.5)
    for edge, outside in ((0.0, known & (loss == 0)), (np.inf, known & ~np.isfinite(loss))):
        inside = np.r_[False, outside, False]
        for i in np.flatnonzero(outside & ~(inside[:-2] & inside[2:])):  # of many in a row the first and the last
            page.edge(axes, float(at[i]), edge, style["color"])
    if seen.any():
        last = int(np.flatnonzero(seen)[-1])
        axes.add_line(_end_of(page.look, style["color"], _ending(curve), (float(at[last]), float(loss[last]))))


def styles_of(curves: Sequence[Mapping[str, Any]], look: Look) -> list[dict[str, Any]]:
    """Colour by algorithm and dashes by what else tells curves apart; by their order where a curve does not say."""
    every = [*ALGORITHM_COLOURS.values(), *OTHER_COLOURS]
    others = [str(curve.get("algorithm")) for curve in curves]
    found = []
    for number, curve in enumerate(curves):
        algorithm = curve.get("algorithm")
        shade = colour_of(algorithm, others) if algorithm else every[number % len(every)]
        round_, stroke = divmod(curve.get("stroke", number // len(every)), len(DASHES))
        # When all dashes are taken they begin again, in a paler colour, then in a broader line, then in both.
        shade = paler(shade, 0.45) if round_ % 2 else shade
        width = (1.3 + 1.1 * (round_ // 2 % 3)) * look.sizes.thin
        found.append({"color": shade, "linestyle": DASHES[stroke], "linewidth": width})
    return found
