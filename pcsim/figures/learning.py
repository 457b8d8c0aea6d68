"""Loss against updates, matrix products and seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .style import BLUE, GREEN, GREY, INK, ORANGE, PINK, RED, SKY, add_panel, floats, legend, log_scale, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_figure(curves: Sequence[Mapping[str, Any]], title: str = "Training loss against what it costs") -> Figure:
    """Loss against updates, SMMs, MMs and seconds, all axes logarithmic, one line per curve.

    A curve is a mapping with ``label``, ``loss`` and, of the same length each, ``updates``, ``smm``, ``mm`` and
    ``seconds`` (None where not recorded), all cumulative. What a logarithm cannot show (0, NaN) is left out.
    Whole numbers ``colour`` and ``stroke`` may group the lines. Raises :class:`InputError` for no curves and for
    lengths that do not fit.
    """
    if not curves:
        raise InputError("a figure of learning requires at least one curve")
    from matplotlib.lines import Line2D

    figure = new_figure(10.9, 8.6, title, [str(curve["label"]) for curve in curves])
    shades, strokes = [BLUE, RED, GREEN, ORANGE, SKY, PINK, INK], ["-", "--", ":", "-."]
    styles: list[dict[str, Any]] = [
        {"color": shades[c.get("colour", n) % 7], "ls": strokes[c.get("stroke", n // 7) % 4]}
        for n, c in enumerate(curves)
    ]
    for n, style in enumerate(styles):
        style["linewidth"] = 2.8 - 1.6 * n / len(curves)  # a line below another shows, as later ones are thinner
    names = {"updates": "complete weight updates", "smm": "SMMs (counted)", "mm": "MMs (counted)", "seconds": "seconds"}
    for number, (name, label) in enumerate(names.items()):
        axes = add_panel(figure, 0.95 + 5.05 * (number % 2), 4.55 - 3.85 * (number // 2), 4.6, 3.1)
        drawn = [(curve, style) for curve, style in zip(curves, styles, strict=True) if curve.get(name) is not None]
        log_scale(axes, "x", [cost for curve, _ in drawn for cost in floats(curve[name])])
        log_scale(axes, "y", [loss for curve in curves for loss in floats(curve["loss"])])
        axes.set(xlabel=label, ylabel="" if number % 2 else "training loss")
        for curve, style in drawn:
            place, loss = floats(curve[name]), floats(curve["loss"])
            if place.shape != loss.shape:
                raise InputError(f"curve {curve['label']!r}: {name} and loss must be lists of the same length")
            seen = np.isfinite(place) & np.isfinite(loss) & (place > 0) & (loss > 0)
            axes.plot(place[seen], loss[seen], **style)
        if not drawn:
            axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=GREY)
    legend(figure, [Line2D([], [], label=str(c["label"]), **style) for c, style in zip(curves, styles, strict=True)])
    return figure
