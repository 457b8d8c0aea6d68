"""Figures of predictions: ratio and best BP in every cell, the machine and its mark on every figure."""

from itertools import pairwise

import pytest
from drawn import assert_legible, hollow, key_of, points, said, strokes

from pcsim import InputError
from pcsim.figures import predicted
from pcsim.figures.style import EXECUTION_MARKERS, Look, colour_of, paler, save
from pcsim.predict import rows as rows_of
from pcsim.predict import sweep
from pcsim.predict.machine_files import load
from pcsim.predict.rivals import sensitivity
from pcsim.results.workers import WorkersPoint


@pytest.fixture(scope="module")
def server():
    return load("server-64")


@pytest.fixture(scope="module")
def cases(server):
    return list(sweep.sweep(server, [2, 8], [32, 256, 2048], [1], [1, 4, 16]))


LOOKS = [Look(style, width) for style in ("paper", "talk") for width in (3.4, 7)]


def test_a_map_has_the_ratio_and_the_best_bp_in_every_cell(server, cases):
    found = sweep.maps(cases)
    figure = predicted.map_figure(found, rows_of.source(server))
    assert len(figure.axes) == len(found) == 3
    for axes, one in zip(figure.axes, found, strict=True):
        written = [text.get_text() for text in axes.texts]
        names = [case.best.execution for case in one.at.values()]
        if len(written) == 2 * len(one.at):
            assert set(names) <= set(written)
        else:
            markers = [line.get_marker() for line in axes.lines if line.get_linestyle() == "None"]
            assert sorted(markers) == sorted(EXECUTION_MARKERS[name] for name in names)
            assert {f"fastest BP: {name}" for name in names} <= set(key_of(figure))
    whole = "\n".join(said(figure))
    assert "machine server-64 (not calibrated), predicted" in whole
    assert "batch 1, 16 workers" in whole
    assert_legible(figure)


def test_a_map_names_the_best_bp_where_there_is_room(server, cases):
    one = sweep.maps(cases)[-1:]
    assert "intra-layer" in {case.best.execution for case in one[0].at.values()}
    wide, narrow = (predicted.map_figure(one, "machine x", look=look) for look in (Look(), Look("talk", 3.4)))
    assert not wide.legends
    assert len(wide.axes[0].texts) == 2 * len(narrow.axes[0].texts) == 2 * len(one[0].at)
    assert narrow.legends


def test_ratio_1_is_drawn_where_it_is_crossed_and_nowhere_else(server, cases):
    for one in sweep.maps(cases):
        figure = predicted.map_figure([one], rows_of.source(server))
        inside = {at: case.ratio < 1 for at, case in one.at.items()}
        rows, columns = list(one.rows), list(one.columns)
        beside = sum(inside[r, a] != inside[r, b] for r in rows for a, b in pairwise(columns))
        above = sum(inside[a, c] != inside[b, c] for c in columns for a, b in pairwise(rows))
        crossed = [line for line in figure.axes[0].lines if line.get_linestyle() != "None"]
        assert len(crossed) == beside + above


def test_what_is_outside_the_calibrated_range_has_a_star(server, cases):
    class Outside:
        ratio, mark, best, title = 2.0, "outside the calibrated range", cases[0].best, "iPC"
        execution = "serial"

    found = sweep.Map("", ("depth", "width"), (2,), (32,), {(2, 32): Outside})
    whole = said(predicted.map_figure([found], "machine x"))
    assert "2.00*" in whole
    assert any("outside the calibrated range" in text for text in whole)


def test_curves_have_a_panel_for_each_net_and_both_denominators(server, cases):
    figure = predicted.curves_figure(cases, rows_of.source(server))
    nets = dict.fromkeys((one.depth, one.width) for one in cases)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [f"depth {d}, width {w}" for d, w in nets]
    for axes, net in zip(figure.axes, nets, strict=True):
        inside = [one for one in cases if (one.depth, one.width) == net]
        ((*_, best),) = strokes(axes, paler(colour_of("ipc")))
        assert best == [(one.workers, one.ratio) for one in inside]
        assert all(dashed for _, dashed, *_ in strokes(axes, colour_of("ipc")))  # dotted, as predicted
        assert {(one.workers, one.paper_style) for one in inside} <= set(points(axes)["serial"])
        for one in inside:
            assert (one.workers, one.ratio) in points(axes)[one.best.execution]
    whole = "\n".join(said(figure))
    assert "best-bp" in whole
    assert "paper-style" in whole
    assert "not calibrated" in whole
    assert "interval" not in whole
    assert_legible(figure)


def test_points_outside_the_calibrated_range_are_hollow():
    points_of = [WorkersPoint(8, 64, 1, P, 0.5, 0.4, "serial", "outside the range" if P > 2 else "") for P in (1, 2, 4)]
    figure = predicted.curves_figure(points_of, "machine x")
    assert {x for x, _ in hollow(figure.axes[0])} == {4}
    assert "outside the calibrated range" in key_of(figure)
    assert "outside the calibrated range" not in key_of(predicted.curves_figure(points_of[:2], "machine x"))


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_every_look_is_legible(server, cases, look):
    found = sensitivity(cases[0].net, server, 1)
    for figure in (
        predicted.map_figure(sweep.maps(cases), rows_of.source(server), look=look),
        predicted.curves_figure(cases, rows_of.source(server), look=look),
        predicted.sensitivity_figure(found, 2.0, rows_of.source(server), cases[0].name, look=look),
    ):
        assert_legible(figure, look.sizes.small)


def test_a_sweep_over_one_number_of_workers_is_drawn_over_what_varies(server, cases):
    assert predicted.longest(cases) == "workers"
    assert predicted.longest([one for one in cases if one.workers == 4]) == "width"


def test_sensitivity_has_a_bar_for_each_figure(server, cases):
    found = sensitivity(cases[0].net, server, 1)
    figure = predicted.sensitivity_figure(found, 2.0, rows_of.source(server), cases[0].name)
    assert len(figure.axes[0].patches) == len(found)
    assert {name for name, _ in found} <= set(said(figure))


@pytest.mark.parametrize("draw", [predicted.map_figure, predicted.curves_figure])
def test_nothing_to_draw_is_told(draw):
    with pytest.raises(InputError):
        draw([], "machine x")


def test_the_same_figure_gives_the_same_bytes(server, cases, tmp_path):
    for name in ("one.png", "two.png"):
        save(predicted.map_figure(sweep.maps(cases), rows_of.source(server)), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
