"""Learning curves: loss against each cost."""

import numpy as np
import pytest
from drawn import assert_legible, data, said

from pcsim.errors import InputError
from pcsim.figures.learning import learning_figure
from pcsim.figures.style import OTHER_COLOURS, Look, colour_of


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
        "weight updates",
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
    styles = {(line.get_color(), line.get_linestyle(), str(line._dash_pattern)) for line in figure.axes[0].lines}
    assert len(styles) == 12
    assert_legible(figure)


def test_colour_is_the_algorithms_and_dashes_tell_the_rest():
    figure = learning_figure(
        [curve(f"{name} {n}", algorithm=name, stroke=n) for name in ("bp", "ipc", "outside") for n in (0, 1)]
    )
    for axes in figure.axes:
        shades = [line.get_color() for line in axes.lines]
        assert shades[:4] == [colour_of("bp")] * 2 + [colour_of("ipc")] * 2
        assert shades[4] in OTHER_COLOURS
        assert [line.is_dashed() for line in axes.lines] == [False, True] * 3
    (key,) = figure.legends
    assert [line.get_color() for line in key.get_lines()] == shades


@pytest.mark.parametrize("look", [Look(style, width) for style in ("paper", "talk") for width in (3.4, 7)])
def test_the_caption_and_every_look_are_legible(look):
    caption = "fashion-mnist, 250 samples; optimiser adam; alpha 0.0001; Made-up CPU 2000, 2 usable cores"
    figure = learning_figure([curve("iPC"), curve("BP", smm=11)], None, caption, look)
    assert_legible(figure, look.sizes.small)
    assert caption in said(figure)


def test_curves_must_fit_together():
    for wrong in ([], [curve("short", loss=[1.0])], [curve("iPC"), curve("long", mm=range(6))]):
        with pytest.raises(InputError):
            learning_figure(wrong)
