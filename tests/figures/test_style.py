"""Files of figures, and when Matplotlib is imported."""

import subprocess
import sys

import pytest
from drawn import pair

from pcsim.errors import InputError
from pcsim.figures.ratios import ratio_figure
from pcsim.figures.style import save


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


def test_places_and_suffixes_that_do_not_work(tmp_path):
    figure = ratio_figure([pair()])
    for name in ("figure", "figure.gif", "figure.", ".png", "missing/figure.png"):
        with pytest.raises(InputError) as caught:
            save(figure, tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        save(figure, str(tmp_path / "folder.png"))
    assert [file.name for file in tmp_path.iterdir()] == ["folder.png"]


def test_matplotlib_comes_late_and_pyplot_never():
    program = (
        "import sys, pcsim.schedule.timeline as t\n"
        "from pcsim.figures import learning, predicted, ranks, ratios, schedules, style\n"
        "assert 'matplotlib' not in sys.modules\n"
        "schedules.gantt([t.Event(0, 1, 0, 0, 0.0, 1.0)]).canvas.draw()\n"
        "assert 'matplotlib.figure' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
