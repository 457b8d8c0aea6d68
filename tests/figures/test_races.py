"""Scores of winners against what they cost."""

import pytest
from races import FEW, MANY, race_of

from pcsim.errors import InputError
from pcsim.figures.races import race_figure


def test_a_line_for_each_contender_and_goal():
    figure = race_figure(race_of({"bp": (MANY, 1.0), "bp-dwelling": (FEW, 9.0), "ipc": (FEW, 5.0)}))
    for axes in figure.axes[:3]:
        lines = axes.get_lines()
        assert len(lines) == 3 + 1
        assert {axis.get_ylim() for axis in figure.axes[:3]} == {axes.get_ylim()}
    samples, _, span = figure.axes[:3]
    assert samples.get_lines()[2].get_xdata().tolist() == [1, 10]
    assert span.get_lines()[2].get_xdata().tolist() == [5, 50]
    assert samples.get_lines()[0].get_color() == samples.get_lines()[1].get_color()
    assert samples.get_lines()[0].get_linestyle() != samples.get_lines()[1].get_linestyle()


def test_a_line_goes_on_until_the_median_seed_is_there():
    race = race_of({"bp": (MANY, 1.0)})
    for row in race.finals[:2]:  # two seeds are there at the first look
        row["updates"], row["score"] = [1], [0.9]
    line = race_figure(race).axes[0].get_lines()[0]
    assert line.get_xdata().tolist() == [1, 19] and line.get_ydata().tolist() == pytest.approx([10, 90])
    race.finals[2]["updates"], race.finals[2]["score"] = [1], [0.9]  # three of five: the median, a single point
    line = race_figure(race).axes[0].get_lines()[0]
    assert line.get_xdata().tolist() == [1] and line.get_marker() == "o"


def test_a_race_without_winners_has_no_figure():
    race = race_of({"bp": (MANY, 1.0)})
    race.finals.clear()
    with pytest.raises(InputError, match="nobody has won this race yet"):
        race_figure(race)
