"""Pages: columns, the key's place, marks beside lines, breaks, ends of curves."""

import pytest
from drawn import assert_legible, data, texts
from matplotlib.transforms import Bbox

from pcsim.figures import keys
from pcsim.figures.marks import obstacles
from pcsim.figures.page import Page
from pcsim.figures.style import Look, colour_of

LOOKS = [Look(style, width) for style in ("paper", "talk") for width in (3.4, 7)]


def page_of(count, look=Look(), entries=6, **how):  # noqa: B008
    page = Page(look, count, **how)
    for number, (axes, *_) in enumerate(page.panels):
        page.log_x(axes, [2, 4, 8])
        page.log_y(axes, [0.1, 1, 10])
        page.title(axes, f"panel {number}")
        page.name(axes, "depth" if page.lowest(number) else "", "seconds" if page.leftmost(number) else "")
        page.curve(axes, [(2, 1, 0.5, 2, "serial", False), (8, 4, None, None, "blas", True)], colour_of("bp"))
    handles = [keys.entry(look, f"entry number {n}", execution="serial") for n in range(entries)]
    return page, page.finish("A title that is so long that it has no room in one line of a narrow column", handles)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_pages_of_any_size_are_legible(look, count):
    page, figure = page_of(count, look)
    assert_legible(figure, look.sizes.small)
    assert figure.get_size_inches()[0] == pytest.approx(look.width)
    assert page.across * page.down >= count


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_no_quarter_of_a_page_is_empty(look):
    for count in range(1, 14):
        page, figure = page_of(count, look)
        slots = page.across * page.down
        last = page.panels[-1][0].bbox
        if page.across == 2 and count % 2:
            assert last.width > 1.5 * page.panels[0][0].bbox.width or count == 1
        else:
            assert slots - count < slots / 4 or figure.legends[0].get_window_extent().y1 < page.panels[0][0].bbox.y0


def test_the_key_fills_a_gap_that_has_room_for_it():
    page, figure = page_of(7)
    assert (page.across, page.down) == (4, 2)
    key = figure.legends[0].get_window_extent()
    assert key.x0 > page.panels[6][0].bbox.x1
    assert key.y1 < page.panels[3][0].bbox.y0
    above = page_of(8)[1].legends[0].get_window_extent()
    assert above.y0 > page.panels[0][0].bbox.y1
    many = page_of(7, entries=40)[1]
    assert_legible(many)
    assert many.legends[0].get_window_extent().y0 > max(axes.bbox.y1 for axes in many.axes)


def test_marks_stand_beside_their_point_where_no_line_passes():
    page = Page(Look("paper", 3.4), 1)
    ((axes,),) = page.panels
    page.log_x(axes, [1, 2, 4, 8])
    page.log_y(axes, [0.1, 10])
    zigzag = [(1, 1, 0.5, 2, "serial", False), (2, 8, None, None, "serial", False), (4, 0.2, 0.1, 6, "serial", False)]
    page.curve(axes, [*zigzag, (8, 8, None, None, "serial", False)], colour_of("ipc"))
    for x, _, low, high, *_ in zigzag:
        page.mark(axes, x, low or 8, high or 8, "~!")
    figure = page.finish("", [])
    assert_legible(figure)
    assert [text.get_text() for text in axes.texts] == ["~!"] * 3
    for text, (x, y, *_) in zip(axes.texts, zigzag, strict=True):
        at = axes.transData.transform((x, y))[0]
        assert abs(text.get_window_extent().x0 - at) < 30
    # The twin: a text on the line is found out.
    axes.text(2.83, 1.26, "word", ha="center", va="center")
    with pytest.raises(AssertionError, match="on a line"):
        assert_legible(figure)


def test_obstacles_are_lines_bars_and_markers():
    page = Page(Look(), 1)
    ((axes,),) = page.panels
    axes.set(xlim=(0, 10), ylim=(0, 10))
    assert obstacles(axes) == []
    page.curve(axes, [(2, 2, 1, 4, "serial", False), (8, 8, None, None, "serial", False)], colour_of("ipc"))

    def met(x, y):
        at = axes.transData.transform((x, y))
        return any(path.intersects_bbox(Bbox([at - 1, at + 1]), filled=False) for path in obstacles(axes))

    assert met(5, 5)
    assert met(2, 3.5)
    assert met(8, 8)
    assert not met(2, 8)


def test_a_point_beyond_the_axis_has_an_arrowhead_at_its_edge():
    page = Page(Look(), 1)
    ((axes,),) = page.panels
    page.log_x(axes, [1, 2, 4])
    page.log_y(axes, [1, 10])
    low, high = axes.get_ylim()
    page.curve(axes, [(1, 2, None, None, "serial", False), (4, 1000, None, None, "serial", True)], colour_of("ipc"))
    page.curve(axes, [(1, 3, None, None, "serial", False), (4, 0.001, None, None, "serial", True)], colour_of("bp"))
    page.finish("", [])
    assert axes.get_ylim() == (low, high)
    heads = [data(line)[0] for line in axes.lines if isinstance(line.get_marker(), int)]
    assert heads == [(pytest.approx(4), high), (pytest.approx(4), low)]


def test_ticks_that_have_no_room_are_left_out_first_ones_last():
    page = Page(Look("paper", 2.5), 1)
    ((axes,),) = page.panels
    page.log_x(axes, range(1, 65))
    page.log_y(axes, [1])
    figure = page.finish("", [])
    assert_legible(figure)
    kept = [int(text.get_text()) for text in axes.get_xticklabels()]
    assert {1, 2, 4, 8, 16, 32, 64} <= set(kept)
    assert kept == sorted(kept)
    assert len(kept) < 20


def test_a_title_may_be_left_out():
    page = Page(Look(), 1)
    page.log_y(page.panels[0][0], [1])
    figure = page.finish("", [])
    assert not figure.texts
    assert texts(figure)
