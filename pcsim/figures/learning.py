"""Loss against updates, matrix products and seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from . import keys
from .page import Page
from .style import ALGORITHM_COLOURS, DASHES, GREY, OTHER_COLOURS, PAPER, Look, colour_of, floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_COSTS = {"updates": "weight updates", "smm": "SMMs (counted)", "mm": "MMs (counted)", "seconds": "seconds"}


def learning_figure(
    curves: Sequence[Mapping[str, Any]], title: str | None = None, caption: str = "", look: Look = PAPER
) -> Figure:
    """Loss against updates, SMMs, MMs and seconds, all axes logarithmic, one line per curve.

    A curve is a mapping with ``label``, ``loss`` and, of the same length each, ``updates``, ``smm``, ``mm`` and
    ``seconds`` (None where not recorded), all cumulative. What a logarithm cannot show (0, NaN) is left out.
    ``algorithm`` gives a line its colour, the whole number ``stroke`` its dashes. ``caption`` says what all curves
    share: data, optimiser, rate, machine. Raises :class:`InputError` for no curves and for lengths that do not fit.
    """
    if not curves:
        raise InputError("a figure of learning requires at least one curve")
    styles = _styles(curves, look)
    page = Page(look, len(_COSTS), height=13.0)
    for number, (name, label) in enumerate(_COSTS.items()):
        (axes,) = page.panels[number]
        drawn = [(curve, style) for curve, style in zip(curves, styles, strict=True) if curve.get(name) is not None]
        page.decades_x(axes, [cost for curve, _ in drawn for cost in floats(curve[name])])
        page.log_y(axes, [loss for curve in curves for loss in floats(curve["loss"])])
        page.name(axes, label, "training loss" if page.leftmost(number) else "")
        axes.tick_params(labelleft=page.leftmost(number))
        for curve, style in drawn:
            place, loss = floats(curve[name]), floats(curve["loss"])
            if place.shape != loss.shape:
                raise InputError(f"curve {curve['label']!r}: {name} and loss must be lists of the same length")
            seen = np.isfinite(place) & np.isfinite(loss) & (place > 0) & (loss > 0)
            axes.plot(place[seen], loss[seen], **style)
        if not drawn:
            text: dict[str, Any] = {"ha": "center", "color": GREY, "fontsize": look.sizes.text}
            axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, **text)
    handles = [
        keys.entry(page.look, str(curve["label"]), style["color"], stroke=style["linestyle"])
        for curve, style in zip(curves, styles, strict=True)
    ]
    return page.finish("Training loss against what it costs" if title is None else title, handles, caption)


def _styles(curves: Sequence[Mapping[str, Any]], look: Look) -> list[dict[str, Any]]:
    """Colour by algorithm and dashes by what else tells curves apart; by their order where a curve does not say."""
    every = [*ALGORITHM_COLOURS.values(), *OTHER_COLOURS]
    others = [str(curve.get("algorithm")) for curve in curves]
    found = []
    for number, curve in enumerate(curves):
        algorithm = curve.get("algorithm")
        shade = colour_of(algorithm, others) if algorithm else every[number % len(every)]
        stroke = DASHES[curve.get("stroke", number // len(every)) % len(DASHES)]
        found.append({"color": shade, "linestyle": stroke, "linewidth": 1.3 * look.sizes.thin})
    return found
