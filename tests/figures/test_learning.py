"""Learning curves: loss against each cost."""

import numpy as np
import pytest
from drawn import assert_legible, data, said, strokes
from matplotlib.colors import to_hex
from matplotlib.markers import CARETDOWN, CARETUP

from pcsim.errors import InputError
from pcsim.figures.learning import learning_figure
from pcsim.figures.style import OTHER_COLOURS, Look, colour_of


def curve(label, smm=2, updates=None, **fields):
    updates = np.arange(5) if updates is None else updates
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
    assert [len(strokes(axes)) for axes in figure.axes] == [2, 2, 2, 1]
    losses = [5.0, 10 / 3, 2.5, 2.0]
    lines = [points for *_, points in strokes(figure.axes[1])]
    assert lines[0] == list(zip([2, 4, 6, 8], losses, strict=True))
    assert lines[1] == list(zip([11, 22, 33, 44], losses, strict=True))
    assert all(axes.get_xscale() == axes.get_yscale() == "log" for axes in figure.axes)
    assert {"iPC", "BP", "Two nets"} <= set(said(figure))
    assert_legible(figure)


def markers(axes, marker="o"):
    """The points that have such a marker, hollow or not, by whether they are hollow."""
    found = {True: [], False: []}
    for line in axes.lines:
        if line.get_marker() == marker and line.get_transform() == axes.transData:
            found[to_hex(line.get_markerfacecolor()) == "#ffffff"] += data(line)
    return found


def seen(axes):
    """Every record that has a place: on a line, with a marker, or as an arrowhead at an edge."""
    held = [point for *_, points in strokes(axes) for point in points]
    for marker in ("o", "X", CARETUP, CARETDOWN):
        held += [point for points in markers(axes, marker).values() for point in points]
    return held


@pytest.mark.parametrize("count", [1, 2, 3, 5, 200])
@pytest.mark.parametrize("losses", ["falling", "zero at once", "zero in the end", "diverging", "never finite"])
def test_every_record_is_seen(count, losses):
    updates = np.arange(count) * 40
    loss = {
        "falling": 10.0 / (1 + updates),
        "zero at once": np.zeros(count),
        "zero in the end": np.where(np.arange(count) > count // 2, 0, 10.0),
        "diverging": np.where(np.arange(count) == count - 1, np.inf, 10.0 * (1 + updates)),
        "never finite": np.full(count, np.nan),
    }[losses]
    costs = {"updates": updates, "smm": updates * 2, "mm": updates * 11, "seconds": updates * 1e-4}
    figure = learning_figure(
        [curve("one", loss=loss, diverged=40 if losses == "diverging" else None, **{**costs, "smm": 2})]
    )
    figure.draw_without_rendering()
    for axes, cost in zip(figure.axes, costs.values(), strict=True):
        low, high = axes.get_xlim()
        bottom, top = axes.get_ylim()
        there = seen(axes)
        assert all(low <= x <= high and bottom <= y <= top for x, y in there)
        for at, value in zip(cost, loss, strict=True):
            places = [y for x, y in there if (x == pytest.approx(at, rel=1e-6) if at else x < min(cost[1:], default=2))]
            if np.isfinite(value) and value > 0:
                assert pytest.approx(value) in places
        missing = ~np.isfinite(loss) | (loss == 0)
        assert sum(y in (bottom, top) for _, y in there) >= min(2, missing.sum())
        named = [text.get_text() for text in axes.get_xticklabels()]
        assert named[0] == "0"  # what has cost nothing yet stands left of a break
    assert_legible(figure)


def test_the_end_of_each_curve_is_marked_and_says_how_it_ended():
    ended = [
        curve("whole"),
        curve("lost", diverged=4, loss=[10, 20, 40, 80, np.inf]),
        curve("cut", interrupted=True, diverged=None),
    ]
    figure = learning_figure(ended)
    for axes, place in zip(figure.axes, (4, 8, 44, 4e-4), strict=True):
        assert (place, 2.0) in markers(axes)[False]
        assert (place, 2.0) in markers(axes)[True]
        (lost,) = markers(axes, "X")[False]
        assert lost[1] == 80
        assert markers(axes, CARETUP)[False]
    assert {"end of the run", "diverged", "interrupted"} <= set(said(figure))
    assert not {"diverged", "interrupted"} & set(said(learning_figure([curve("whole")])))
    assert_legible(figure)


def test_losses_of_zero_are_explained():
    figure = learning_figure([curve("learned", loss=[10, 5, 0, 0, 0])], caption="digits")
    assert "digits arrowheads at the lower edge: loss 0" in said(figure)
    assert not [text for text in said(learning_figure([curve("learning")])) if "loss 0" in text]
    low = [at for at, _ in markers(figure.axes[0], CARETDOWN)[False]]
    assert low == pytest.approx([2, 4])  # the first and the last


def test_what_was_not_recorded_is_said():
    stored = learning_figure([curve("from a file", loss=[10, 5, None, 2, None], seconds=[None, 1, 2, 3, 4])])
    assert [strokes(axes)[0][3] for axes in stored.axes[::3]] == [[(1, 5), (3, 2)], [(1, 5), (3, 2)]]
    nothing = learning_figure([curve("none", seconds=None, loss=[np.nan] * 5)])
    assert "not recorded" in said(nothing)
    assert_legible(nothing)


def test_many_curves_are_told_apart():
    figure = learning_figure([curve(f"a curve with a long name, number {number}") for number in range(12)])
    assert len(styles_of(figure.axes[0])) == 12
    assert_legible(figure)


def styles_of(axes):
    lines = [line for line in axes.lines if len(line.get_xdata()) > 1 and line.get_linestyle() != "None"]
    return {(line.get_color(), line.get_linewidth(), str(line._dash_pattern)) for line in lines}


def test_so_are_many_of_one_algorithm():
    figure = learning_figure([curve(f"BP, seed {n}", algorithm="bp", stroke=n, loss=10.0 / (1 + n + np.arange(5)))
                              for n in range(24)])  # fmt: skip
    assert len(styles_of(figure.axes[0])) == 24


def test_colour_is_the_algorithms_and_dashes_tell_the_rest():
    figure = learning_figure(
        [curve(f"{name} {n}", algorithm=name, stroke=n) for name in ("bp", "ipc", "outside") for n in (0, 1)]
    )
    for axes in figure.axes:
        lines = [line for line in axes.lines if len(line.get_xdata()) > 1 and line.get_linestyle() != "None"]
        shades = [line.get_color() for line in lines]
        assert shades[:4] == [colour_of("bp")] * 2 + [colour_of("ipc")] * 2
        assert shades[4] in OTHER_COLOURS
        assert [line.is_dashed() for line in lines] == [False, True] * 3
    (key,) = figure.legends
    assert [line.get_color() for line in key.get_lines()][:6] == shades


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
