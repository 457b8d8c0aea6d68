"""Gantt charts of timelines, and schedules of task graphs."""

import itertools

import numpy as np
import pytest
from drawn import assert_legible, bars, said

from pcsim.algorithms import BP, IPC
from pcsim.errors import InputError
from pcsim.figures.schedules import gantt, schedule_figure
from pcsim.figures.style import Look, lightness
from pcsim.schedule.tasks import Kind
from pcsim.schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE, Event

FUSED = PREDICT | BACKPROJECT | UPDATE


# --- Gantt charts ---


def timeline(steps=4, workers=2, layers=2, unit=1e-6):
    """Workers with pauses; times far from zero, as clocks give them."""
    return [
        Event(worker, (START if step == 0 else FUSED) if part == 0 else VALUE, layer, step, 100 + at, 100 + at + long)
        for step, worker, layer in itertools.product(range(steps), range(workers), range(layers))
        for begin in [(step * (layers + 1) + layer + 0.25 * worker) * unit]
        for part, at, long in ((0, begin, 0.5 * unit), (1, begin + 0.5 * unit, 0.25 * unit))
    ]


def test_every_event_is_a_bar_in_its_lane():
    events = timeline()
    figure = gantt(events, "A run")
    (axes,) = figure.axes
    drawn = sorted((lane, start, end) for _, lane, start, end in bars(axes))
    wanted = sorted((event.worker, (event.start - 100) * 1e6, (event.end - 100) * 1e6) for event in events)
    np.testing.assert_allclose(drawn, wanted, atol=1e-4)
    assert "µs since the first start" in axes.get_xlabel()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["worker 0", "worker 1"]
    assert "A run" in said(figure)
    # 8 passes and value updates of 0.75 each, in a span from 0 to 11
    assert [text.get_text() for text in axes.texts].count("55% busy") == 2
    assert_legible(figure)


def test_colours_show_kinds_or_steps():
    events = [
        Event(0, work, 0, step, step, step + 1) for step, work in enumerate((START, PREDICT, FUSED, VALUE, 3, 32))
    ]
    by_kind = gantt(events)
    assert len({shade for shade, *_ in bars(by_kind.axes[0])}) == 6
    assert {
        "forward start",
        "predict",
        "predict + back-project + update",
        "values",
        "predict + back-project",
        "work 32",
    } <= set(said(by_kind))
    by_step = gantt(events, colour="step")
    shades = [shade for shade, *_ in sorted(bars(by_step.axes[0]), key=lambda bar: bar[2])]
    assert len(set(shades)) == 2
    assert shades[0::2] == [shades[0]] * 3
    assert shades[1::2] == [shades[1]] * 3
    assert {"even steps", "odd steps"} <= set(said(by_step))
    assert_legible(by_kind)


def test_kinds_that_occur_together_differ_in_grey():
    for kinds in ((PREDICT, BACKPROJECT, UPDATE), (START, PREDICT, BACKPROJECT, VALUE), (START, FUSED, VALUE)):
        figure = gantt([Event(0, work, 0, step, step, step + 1) for step, work in enumerate(kinds)])
        light = sorted(lightness(shade) for shade, *_ in bars(figure.axes[0]))
        assert all(after - before > 15 for before, after in itertools.pairwise(light))


@pytest.mark.slow
@pytest.mark.parametrize("look", [Look(style, width) for style in ("paper", "talk") for width in (3.4, 7)])
def test_every_look_is_legible(look):
    title = "iPC layer-parallel on 8, 8 × 256, batch 1: predicted for server-64, not calibrated"
    for figure in (
        gantt(timeline(), title, look=look, caption="machine x"),
        gantt(timeline(workers=40), look=look),
        gantt(timeline(workers=1), title, look=look),
        schedule_figure(BP().tasks(3, 8), 8, 6, {Kind.BACKPROJECT: 1}, "layer", look=look),
        schedule_figure(IPC().tasks(4, 10), 2, 24, look=look),
    ):
        assert_legible(figure, look.sizes.small)


def test_layers_are_written_only_where_they_fit():
    few, many = gantt(timeline()), gantt(timeline(steps=200, workers=4, layers=4))
    events = timeline()
    for text in [text for text in few.axes[0].texts if "busy" not in text.get_text()]:
        at, lane = text.get_position()
        (event,) = [e for e in events if e.worker == lane and (e.start - 100) * 1e6 < at < (e.end - 100) * 1e6]
        assert text.get_text() == str(event.layer)
    assert [text.get_text() for text in few.axes[0].texts].count("1") >= 8
    assert "numbers: layers" in few.axes[0].get_xlabel()
    assert all("busy" in text.get_text() for text in many.axes[0].texts)
    assert "layers" not in many.axes[0].get_xlabel()
    assert_legible(many)


@pytest.mark.parametrize(("unit", "name"), [(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")])
def test_time_has_a_unit_that_fits(unit, name):
    (axes,) = gantt(timeline(unit=unit)).axes
    assert axes.get_xlabel().startswith(f"{name} since")
    assert axes.get_xlim() == pytest.approx((0, 11), rel=1e-2)


def test_a_chart_needs_events():
    for wrong in (lambda: gantt([]), lambda: gantt(timeline(), colour="layer")):
        with pytest.raises(InputError):
            wrong()
    assert_legible(gantt([Event(3, PREDICT, 0, 0, 1.0, 1.0)]))


def test_a_schedule_shows_figure_5_of_the_paper():
    """Triangles: 3 full updates of BP; 7 of iPC, of which the first reaches one layer and the second two."""
    for graph, solid, hollow in ((BP().tasks(3, 8), 3 * 3 + 1, 0), (IPC().tasks(3, 12), 7 * 3 - 3, 3)):
        figure = schedule_figure(graph, 8, 6, {Kind.BACKPROJECT: 1}, "layer")
        assert_legible(figure)
        marks = [line.get_markerfacecolor() for line in figure.axes[0].lines if line.get_marker() == "v"]
        assert (len(marks) - marks.count("white"), marks.count("white")) == (solid, hollow)


def test_a_schedule_has_a_bar_for_each_product():
    figure = schedule_figure(IPC().tasks(4, 10), 2, 24)
    assert_legible(figure)
    assert {"worker 0", "worker 1", "update complete"} <= set(said(figure))
    assert len(figure.axes[0].texts) == 2 * 24  # both workers always busy
    assert len(schedule_figure(BP().tasks(4, 6), 2, 24).axes[0].texts) == 24


@pytest.mark.parametrize(("until", "lanes"), [(0, "worker"), (10**6, "worker"), (6, "step")])
def test_a_schedule_needs_a_graph_long_enough(until, lanes):
    with pytest.raises(InputError, match="the graph ends after"):
        schedule_figure(BP().tasks(3, 2), 2, until, lanes=lanes)
