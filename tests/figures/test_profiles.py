"""Performance profiles and sensitivity, as drawn."""

import pytest
from races import FEW, MANY, race_of

from pcsim.errors import InputError
from pcsim.figures.keys import entry, lowest
from pcsim.figures.profiles import profile_figure, sensitivity_figure
from pcsim.figures.style import PAPER, Look

NEVER = (None,) * 5


def race(name, costs):
    found = race_of(costs)
    found.declared["problem"] |= {"name": name}
    return found


RACES = [
    race("one", {"bp": (MANY, 1.0), "ipc": (FEW, 5.0)}),
    race("two", {"bp": (FEW, 1.0), "ipc": (NEVER, 5.0), "local": (MANY, 1.0)}),
]


def line(axes, number):
    (*_, drawn) = [axes.get_lines()[number]]
    return [float(x) for x in drawn.get_xdata()], [float(y) for y in drawn.get_ydata()]


def test_a_profile_rises_where_a_factor_is_reached():
    figure = profile_figure(RACES)
    samples, _, span = figure.axes[:3]
    last = line(samples, 0)[0][-1]
    assert line(samples, 0) == ([1, 2, last], [50, 100, 100])  # bp: twice the best in one, the best in two
    assert line(samples, 1) == ([1, last], [50, 50])  # ipc: the best in one, never in two
    assert line(samples, 2)[1] == [0, 100, 100]  # local: of one place alone
    assert line(span, 0)[1] == [100, 100]
    assert {tuple(axes.get_ylim()) for axes in figure.axes[:3]} == {(-4, 104)}
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["bp", "ipc", "local (1 of 2)"]
    assert samples.get_lines()[2].get_alpha() < 1


def test_lines_that_coincide_do_not_hide_each_other():
    figure = profile_figure([race("one", {"bp": (MANY, 1.0), "ipc": (MANY, 1.0)})])
    axes = figure.axes[0]
    heights = [each.get_transform().transform((1.0, 100.0))[1] for each in axes.get_lines()[:2]]
    assert 0 < heights[1] - heights[0] < 2 * PAPER.sizes.thin * figure.dpi / 72


def test_sensitivity_shows_trials_and_not_winners():
    figure = sensitivity_figure(RACES)
    assert len(figure.axes) == 6
    samples, span = figure.axes[0], figure.axes[2]
    assert line(samples, 0)[0][1:-1] == [19, 20, 21, 22]
    assert line(samples, 0)[1] == [0, 20, 60, 80, 100, 100]
    assert line(span, 1)[0][1:-1] == [45, 50, 55]
    assert line(figure.axes[3], 1)[1] == [0, 0]
    assert figure.axes[3].get_title(loc="left") == "two, 2 layers, to 80 %"


def test_of_one_race_every_goal_is_shown():
    found = race_of({"bp": (MANY, 1.0), "ipc": (FEW, 5.0)}, goals=(0.5, 0.8))
    assert len(sensitivity_figure([found]).axes) == 6
    narrow = sensitivity_figure([found], look=Look("paper", 3.4))
    assert all(axes.get_title(loc="left") for axes in narrow.axes)  # they stand below one another


def test_where_nothing_is_tuned_there_is_no_sensitivity():
    found = race_of({"bp": (MANY, 1.0)})
    found.contenders["bp"]["space"].clear()
    with pytest.raises(InputError, match="nobody tuned anything"):
        sensitivity_figure([found])


def test_a_label_is_whole_again_after_narrow_keys_were_tried():
    handles = [entry(PAPER, name) for name in ("bp-async-nesterov", *"abcdefghij")]
    lowest(PAPER, handles, 300)
    assert handles[0].get_label() == "bp-async-nesterov"
