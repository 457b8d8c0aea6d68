"""Colours, markers, sizes, files of figures, and when Matplotlib is imported."""

import itertools
import subprocess
import sys

import pytest
from drawn import pair

from pcsim.errors import InputError
from pcsim.figures import style
from pcsim.figures.ratios import ratio_figure
from pcsim.figures.style import Look, save


def seen(colour, missing=None):
    """A colour as linear light, as eyes without red or green cones see it (Viénot et al. 1999)."""
    linear = [(int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
    matrices = {
        "red": ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
        "green": ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
    }
    if missing:
        linear = [sum(a * b for a, b in zip(line, linear, strict=True)) for line in matrices[missing]]
    return [255 * max(part, 0) ** (1 / 2.2) for part in linear]


def test_colours_of_pcsims_algorithms_differ_for_colour_blind_eyes_and_in_grey():
    colours = [style.colour_of(name) for name in ("ipc", "bp", "pc", "zil")]
    for one, other in itertools.combinations(colours, 2):
        assert abs(style.lightness(one) - style.lightness(other)) > 50
        for missing in (None, "red", "green"):
            apart = [a - b for a, b in zip(seen(one, missing), seen(other, missing), strict=True)]
            assert sum(part**2 for part in apart) ** 0.5 > 60


def test_each_algorithm_has_a_colour_and_each_execution_a_marker_of_its_own():
    every = [*style.ALGORITHM_COLOURS.values(), *style.OTHER_COLOURS]
    assert len(set(every)) == len(every)
    markers = [*style.EXECUTION_MARKERS.values(), style.OTHER_MARKER]
    assert len(set(markers)) == len(markers)
    outside = ["zebra", "aspen"]
    assert style.colour_of("aspen", outside) != style.colour_of("zebra", outside)
    assert style.colour_of("aspen", ["ipc", *outside]) == style.colour_of("aspen", outside)
    assert {style.colour_of(name, outside) for name in outside} <= set(style.OTHER_COLOURS)
    assert style.marker_of("never seen") == style.marker_of(None) == style.OTHER_MARKER


def test_a_look_has_a_style_and_a_width():
    assert (Look().points, Look("talk").points, Look("paper", 3.4).points) == (7 * 72, 12 * 72, pytest.approx(3.4 * 72))
    assert min(Look("talk").sizes[1:4]) > 1.5 * max(Look("paper").sizes[1:3])
    assert all(7 <= Look().sizes[n] <= 8 for n in (1, 2))  # what journals ask for
    for wrong in (("poster", 0.0), ("paper", 1.0), ("talk", 1000.0)):
        with pytest.raises(InputError):
            Look(*wrong)


def test_text_is_cut_to_a_room_and_nothing_is_lost():
    text = "seconds per weight update " + "x" * 80
    lines = style.wrapped(text, 100, 7.0)
    assert all(style.text_width(line, 7.0) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert style.wrapped("", 100, 7.0) == []
    short = style.wrapped("word " * 100, 100, 7.0, most=2)
    assert len(short) == 2
    assert short[1].endswith(" …")
    assert style.text_width(short[1], 7.0) <= 100
    assert style.wrapped("batch\N{NO-BREAK SPACE}64, 2", 40, 7.0)[-1] == "2"


@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")]
)
def test_figures_are_saved_by_suffix_and_reproducibly(tmp_path, suffix, magic):
    for name in ("one", "two"):
        save(ratio_figure([pair()]), tmp_path / f"{name}.{suffix}")
    first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("one", "two"))
    assert first.startswith(magic)
    assert first == second
    assert b"Date" not in first


def test_text_stays_text_and_a_figure_is_as_wide_as_it_was_asked_to_be(tmp_path):
    figure = ratio_figure([pair()], "A title of one's own", look=Look("paper", 3.4))
    for name in ("figure.svg", "figure.pdf", "figure.png"):
        save(figure, tmp_path / name)
    drawn = (tmp_path / "figure.svg").read_text()
    assert "A title of one's own" in drawn or "A title of one&apos;s own" in drawn
    assert 'width="244.8pt"' in drawn
    assert b"/Type3" not in (tmp_path / "figure.pdf").read_bytes()
    header = (tmp_path / "figure.png").read_bytes()[:24]
    assert int.from_bytes(header[16:20], "big") == 1020  # 3.4 inches of 300 dots


def test_places_and_suffixes_that_do_not_work(tmp_path):
    figure = ratio_figure([pair()])
    for name in ("figure", "figure.gif", "figure.", ".png", "missing/figure.png"):
        with pytest.raises(InputError) as caught:
            save(figure, tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        save(figure, str(tmp_path / "folder.png"))
    assert [file.name for file in tmp_path.iterdir()] == ["folder.png"]


def test_matplotlib_comes_late_and_pyplot_never():
    program = (
        "import sys, pcsim.schedule.timeline as t\n"
        "from pcsim.figures import keys, learning, marks, page, predicted, ranks, ratios, scales, schedules, style\n"
        "assert 'matplotlib' not in sys.modules\n"
        "schedules.gantt([t.Event(0, 1, 0, 0, 0.0, 1.0)]).canvas.draw()\n"
        "assert 'matplotlib.figure' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
