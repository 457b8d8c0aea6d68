"""Learning curves: loss against each cost."""

import numpy as np
import pytest
from drawn import assert_legible, data, said

from pcsim.errors import InputError
from pcsim.figures.learning import learning_figure


def curve(label, smm=2, **fields):
    updates = np.arange(5)
    return {
        "label": label,
        "updates": updates,
        "smm": updates * smm,
        "mm": updates * 11,
        "seconds": updates * 1e-4,
        "loss": 10.0 / (1 + updates),
    } | fields


def test_loss_against_each_cost():
    figure = learning_figure([curve("iPC"), curve("BP", smm=11, seconds=None)], "Two nets")
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "complete weight updates",
        "SMMs (counted)",
        "MMs (counted)",
        "seconds",
    ]
    assert [len(axes.lines) for axes in figure.axes] == [2, 2, 2, 1]
    losses = [5.0, 10 / 3, 2.5, 2.0]  # update 0 has no place on a logarithmic axis
    assert data(figure.axes[1].lines[0]) == list(zip([2, 4, 6, 8], losses, strict=True))
    assert data(figure.axes[1].lines[1]) == list(zip([11, 22, 33, 44], losses, strict=True))
    assert all(axes.get_xscale() == axes.get_yscale() == "log" for axes in figure.axes)
    assert {"iPC", "BP", "Two nets"} <= set(said(figure))
    assert_legible(figure)


def test_what_a_logarithm_cannot_show_is_left_out():
    figure = learning_figure([curve("diverged", loss=[10, 5, np.inf, np.nan, 0])])
    assert data(figure.axes[0].lines[0]) == [(1, 5)]
    stored = learning_figure([curve("from a file", loss=[10, 5, None, 2, None], seconds=[None, 1, 2, 3, 4])])
    assert [data(axes.lines[0]) for axes in stored.axes[::3]] == [[(1, 5), (3, 2)], [(1, 5), (3, 2)]]
    nothing = learning_figure([curve("none", seconds=None, loss=[np.nan] * 5)])
    assert "not recorded" in said(nothing)
    assert_legible(nothing)


def test_many_curves_are_told_apart():
    figure = learning_figure([curve(f"a curve with a long name, number {number}") for number in range(12)])
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(styles) == 12
    assert_legible(figure)


def test_curves_must_fit_together():
    for wrong in ([], [curve("short", loss=[1.0])], [curve("iPC"), curve("long", mm=range(6))]):
        with pytest.raises(InputError):
            learning_figure(wrong)
