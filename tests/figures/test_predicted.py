"""Figures of predictions: ratio and best BP in every cell, the machine and its mark on every figure."""

from itertools import pairwise

import pytest

from pcsim import InputError
from pcsim.figures import predicted
from pcsim.figures.style import save
from pcsim.predict import rows as rows_of
from pcsim.predict import sweep
from pcsim.predict.machine_files import load
from pcsim.predict.rivals import sensitivity


@pytest.fixture(scope="module")
def server():
    return load("server-64")


@pytest.fixture(scope="module")
def cases(server):
    return list(sweep.sweep(server, [2, 8], [32, 256, 2048], [1], [1, 4, 16]))


def texts(figure):
    """All that is written on a figure."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts] + [axes.get_title(loc="left")]
        found += [tick.get_text() for tick in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        found += [axes.get_xlabel(), axes.get_ylabel()]
    return found


def sizes(figure):
    import matplotlib.text

    return [text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text().strip()]


def test_a_map_has_the_ratio_and_the_best_bp_in_every_cell(server, cases):
    found = sweep.maps(cases)
    figure = predicted.map_figure(found, rows_of.source(server))
    assert len(figure.axes) == len(found) == 3
    for axes, one in zip(figure.axes, found, strict=True):
        written = [text.get_text() for text in axes.texts]
        assert len(written) == 2 * len(one.at)
        assert {case.best.execution for case in one.at.values()} <= set(written)
    whole = "\n".join(texts(figure))
    assert "machine server-64 (not calibrated), predicted" in whole
    assert "batch 1, 16 workers" in whole
    assert min(sizes(figure)) >= 8


def test_ratio_1_is_drawn_where_it_is_crossed_and_nowhere_else(server, cases):
    for one in sweep.maps(cases):
        figure = predicted.map_figure([one], rows_of.source(server))
        inside = {at: case.ratio < 1 for at, case in one.at.items()}
        rows, columns = list(one.rows), list(one.columns)
        beside = sum(inside[r, a] != inside[r, b] for r in rows for a, b in pairwise(columns))
        above = sum(inside[a, c] != inside[b, c] for c in columns for a, b in pairwise(rows))
        assert len(figure.axes[0].lines) == beside + above


def test_what_is_outside_the_calibrated_range_has_a_star(server, cases):
    class Outside:
        ratio, mark, best = 2.0, "outside the calibrated range", cases[0].best

    found = sweep.Map("", ("depth", "width"), (2,), (32,), {(2, 32): Outside})
    whole = texts(predicted.map_figure([found], "machine x"))
    assert "2.00*" in whole
    assert any("outside the calibrated range" in text for text in whole)


def test_curves_have_a_line_for_each_net_and_both_denominators(server, cases):
    figure = predicted.curves_figure(cases, rows_of.source(server))
    assert len(figure.axes) == 2
    for axes in figure.axes:
        dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
        assert len(dotted) == 6
        assert all(list(line.get_xdata()) == [1, 4, 16] for line in dotted)
    whole = "\n".join(texts(figure))
    assert "best-bp" in whole
    assert "paper-style" in whole
    assert "not calibrated" in whole
    assert min(sizes(figure)) >= 8


def test_a_sweep_over_one_number_of_workers_is_drawn_over_what_varies(server, cases):
    assert predicted.longest(cases) == "workers"
    assert predicted.longest([one for one in cases if one.workers == 4]) == "width"


def test_sensitivity_has_a_bar_for_each_figure(server, cases):
    found = sensitivity(cases[0].net, server, 1)
    figure = predicted.sensitivity_figure(found, 2.0, rows_of.source(server), cases[0].name)
    assert len(figure.axes[0].patches) == len(found)
    assert {name for name, _ in found} <= set(texts(figure))


@pytest.mark.parametrize("draw", [predicted.map_figure, predicted.curves_figure])
def test_nothing_to_draw_is_told(draw):
    with pytest.raises(InputError):
        draw([], "machine x")


def test_the_same_figure_gives_the_same_bytes(server, cases, tmp_path):
    for name in ("one.png", "two.png"):
        save(predicted.map_figure(sweep.maps(cases), rows_of.source(server)), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
