"""Maps over depth and batch, as drawn."""

import pytest

from pcsim.errors import InputError
from pcsim.figures.batches import Panel, batches_figure

RATIOS = {(depth, batch): 1 + (depth - 1) / batch for depth in (2, 8, 32, 128) for batch in (1, 4, 16, 64)}


def test_a_map_has_its_contours_where_the_ratio_has_these_values():
    figure = batches_figure([Panel("counted", RATIOS), Panel("measured", {(8, 1): 1.4, (8, 250): 0.9}, points=True)])
    counted, measured = figure.axes
    assert counted.get_xscale() == counted.get_yscale() == "log"
    names = {text.get_text() for text in counted.texts}
    assert names == {"1.1", "1.5", "2", "4", "10", "30", "100"}
    (line,) = [one for one in counted.collections if hasattr(one, "levels")]
    paths = dict(zip(line.levels, line.get_paths(), strict=True))
    for level, path in paths.items():
        for batch, depth in path.vertices:
            assert 1 + (depth - 1) / batch == pytest.approx(2.718281828**level, rel=0.35)
    assert {text.get_text() for text in measured.texts} == {"1.40", "0.90"}
    assert measured.get_xlim()[1] >= 64


def test_shades_are_blue_above_one_and_red_below():
    figure = batches_figure([Panel("a", {(2, 1): 9.0, (2, 2): 1 / 9, (4, 1): 9.0, (4, 2): 1 / 9})])
    red, _, blue = zip(*[patch.get_facecolor()[0][:3] for patch in figure.axes[0].collections[:2]], strict=True)
    assert blue[0] > red[0] and red[1] > blue[1]


@pytest.mark.parametrize(
    ("panels", "message"),
    [([], "no map"), ([Panel("a", {})], "no map"), ([Panel("a", {(2, 1): 1.0, (2, 4): 1.0})], "two depths")],
)
def test_what_cannot_be_drawn(panels, message):
    with pytest.raises(InputError, match=message):
        batches_figure(panels)
