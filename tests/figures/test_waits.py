"""Pictures of who waits for whom."""

import itertools

import pytest
from drawn import assert_legible, bars, key_of
from matplotlib.colors import to_hex

from pcsim import BP, DFA, IPC, AsyncBP, DualProp, InputError, Local
from pcsim.figures.schedules import COLOURS
from pcsim.figures.style import Look, lightness
from pcsim.figures.waits import waits_figure
from pcsim.schedule.tasks import Kind


def arrows(axes):
    """From and to, up and then down."""
    found = [(text.xyann, text.xy) for text in axes.texts if text.get_text() == ""]
    up = [(begin, end) for begin, end in found if begin[1] < end[1]]
    return up, [pair for pair in found if pair not in up]


def numbers(axes):
    """The numbers in the bars, by layer, from left to right."""
    found = {}
    for text in sorted(axes.texts, key=lambda text: text.get_position()[0]):
        if text.get_text():
            found.setdefault(text.get_position()[1], []).append(int(text.get_text()))
    return found


def test_backprop_is_a_chain_up_and_down():
    figure = waits_figure(BP().tasks(4, 5), 0, 14)
    (axes,) = figure.axes
    drawn = sorted((start, lane, colour) for colour, lane, start, _ in bars(axes))
    lanes, P, B = [0, 1, 2, 3, 3, 2, 1], COLOURS[Kind.PREDICT].lower(), COLOURS[Kind.BACKPROJECT].lower()
    wanted = [(t + 7 * k, lane, P if t < 4 else B) for k in (0, 1) for t, lane in enumerate(lanes)]
    assert [(pytest.approx(start), lane, colour) for start, lane, colour in wanted] == drawn
    up, down = arrows(axes)
    assert (len(up), len(down)) == (6, 5)
    assert numbers(axes) == {0: [1, 2], 1: [1, 1, 2, 2], 2: [1, 1, 2, 2], 3: [1, 1, 2, 2]}
    marks = [line for line in axes.lines if to_hex(line.get_color()) == COLOURS[Kind.UPDATE].lower()]
    assert sorted(line.get_xdata()[0] for line in marks) == [4, 5, 6, 7, 11, 12, 13, 14]


def test_local_losses_send_nothing_down_and_feedback_goes_to_every_layer():
    (axes,) = waits_figure(Local().tasks(4, 20), 6, 10).axes
    up, down = arrows(axes)
    assert down == []
    assert len(up) > 10
    (axes,) = waits_figure(DFA().tasks(4, 20), 6, 10).axes
    ends = {round(end[1]) for _, end in arrows(axes)[1]}
    begins = {round(begin[1]) for begin, _ in arrows(axes)[1]}
    assert (begins, ends) == ({3}, {0, 1, 2})


def test_numbers_say_how_late_an_error_is():
    """When the first layer changes its weights for update k it has predicted for k + 6."""
    (axes,) = waits_figure(AsyncBP().tasks(4, 30), 8, 14).axes
    found = numbers(axes)
    assert found[0] == list(range(8, 15))
    assert found[1][:4] == [1, 6, 2, 7]


def test_sizes_are_drawn_to_scale():
    (axes,) = waits_figure(Local().tasks(3, 20), 4, 8, parts=4).axes
    widths = {colour: round(end - start, 6) for colour, _, start, end in bars(axes)}
    assert [widths[COLOURS[kind].lower()] for kind in (Kind.PREDICT, Kind.HEAD, Kind.FEEDBACK)] == [1, 0.25, 0.25]
    assert "head and feedback drawn as 1/4 of one" in axes.get_xlabel()


def test_kinds_differ_in_grey_and_are_named():
    for algorithm, names in ((Local(), ["predict", "head", "feedback"]), (IPC(), ["predict", "back-project"])):
        figure = waits_figure(algorithm.tasks(4, 20), 6, 10)
        light = sorted(lightness(shade) for shade in {colour for colour, *_ in bars(figure.axes[0])})
        assert all(after - before > 15 for before, after in itertools.pairwise(light))
        waiting = ["the layer above waits", "a layer below waits", "weights change"]
        assert key_of(figure) == [*names, *waiting]


@pytest.mark.slow
@pytest.mark.parametrize("look", [Look(style, width) for style in ("paper", "talk") for width in (3.4, 7)])
def test_every_look_is_legible(look):
    for algorithm in (BP(), AsyncBP(), Local(), DFA(), DualProp(incremental=True)):
        assert_legible(waits_figure(algorithm.tasks(4, 30), 8, 14, look=look), look.sizes.small)


@pytest.mark.parametrize(("after", "until"), [(0, 0), (0, 100), (4, 14), (99, 1)])
def test_a_picture_needs_a_graph_long_enough(after, until):
    with pytest.raises(InputError, match="the graph ends after"):
        waits_figure(BP().tasks(4, 5), after, until)
