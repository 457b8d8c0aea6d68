"""Accuracy on rows that are not trained on, against seconds and epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from . import keys
from .learning import styles_of
from .page import Page
from .style import PAPER, Look, floats, with_own_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AXES = {"seconds": "seconds of training", "epochs": "epochs"}
_KINDS = {"test_accuracy": "test", "validation_accuracy": "validation"}


@with_own_settings
def accuracy_figure(
    curves: Sequence[Mapping[str, Any]], title: str | None = None, caption: str = "", look: Look = PAPER
) -> Figure:
    """Accuracy in percent against seconds and against epochs, one line per curve, with a point for each look.

    A curve is one of a curves file with ``evaluations``: of the test split where there is one, else of the validation
    rows. InputError where no curve has any.
    """
    kinds = [next((kind for kind in _KINDS if curve.get("evaluations", {}).get(kind)), None) for curve in curves]
    shown = [(curve, kind) for curve, kind in zip(curves, kinds, strict=True) if kind]
    if not shown:
        raise InputError("no curve has accuracies: train with --validation or --test")
    styles = styles_of([curve for curve, _ in shown], look)
    page = Page(look, len(_AXES), height=13.0)
    for number, (name, label) in enumerate(_AXES.items()):
        (axes,) = page.panels[number]
        for (curve, kind), style in zip(shown, styles, strict=True):
            seen = curve["evaluations"]
            axes.plot(
                floats(seen[name]), 100 * floats(seen[kind]), marker="o", markersize=0.5 * look.sizes.marker, **style
            )
        axes.set_xlim(left=0)
        page.name(axes, label, "accuracy in percent" if page.leftmost(number) else "")
        axes.tick_params(labelleft=page.leftmost(number))
    handles = [
        keys.entry(look, f"{curve['label']} ({_KINDS[kind]})", style["color"], stroke=style["linestyle"])
        for (curve, kind), style in zip(shown, styles, strict=True)
    ]
    heading = "Accuracy on rows that are not trained on" if title is None else title
    return page.finish(heading, handles, *([caption] if caption else []))
