"""Figures of ranks: strong and weak scaling, and added latency."""

import pytest
import synthetic
from drawn import assert_legible, data, lines_by_label, said
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from pcsim.errors import InputError
from pcsim.figures.ranks import ranks_figure
from pcsim.figures.ratios import ratio_figure, times_figure
from pcsim.results.files import Results
from pcsim.results.pairs import pairs


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


def curves(axes):
    """The points of each curve by its label: of lines that have the colour of a label and are no marks alone."""
    labels = {to_hex(text.get_color()): text.get_text() for text in axes.texts}
    drawn = [line for line in axes.lines if line.get_linestyle() == "-" and to_hex(line.get_color()) in labels]
    return {labels[to_hex(line.get_color())]: data(line) for line in drawn}


def test_strong_scaling_of_each_net_and_its_ratio():
    results = synthetic.strong((8, 32), (64, 256), (1, 64))
    figure = ranks_figure(results)
    assert_legible(figure)
    wanted = [(batch, width) for batch in (1, 64) for width in (64, 256)]
    assert titles(figure) == [f"strong: 32 × {width}, batch {batch}" for batch, width in wanted]  # the deepest
    for (batch, width), times, ratios in zip(wanted, figure.axes[::2], figure.axes[1::2], strict=True):
        rows = [r for r in results.rows if (r["depth"], r["width"], r["batch"]) == (32, width, batch)]
        seconds = {(r["algorithm"], r["execution"], r["ranks"]): r["median"] for r in rows}
        ipc = {ranks: time for (algorithm, _, ranks), time in seconds.items() if algorithm == "ipc"}
        drawn = curves(times)
        assert drawn.pop("iPC") == list(ipc.items())
        assert drawn.pop("BP serial") == [(1, seconds["bp", "serial", 1])]
        below = curves(ratios)
        best = dict(below.pop("÷ best BP"))
        for label, points in drawn.items():
            name = label.removeprefix("BP ")
            assert points == [(ranks, seconds["bp", name, ranks]) for ranks in (2, 4)]
            assert below.pop(f"÷ {name}") == [(r, pytest.approx(ipc[r] / seconds["bp", name, r])) for r in (2, 4)]
        assert below == {}
        bp = {who: time for who, time in seconds.items() if who[0] == "bp"}
        for ranks in (1, 2, 4):
            assert best[ranks] == pytest.approx(ipc[ranks] / min(t for (*_, P), t in bp.items() if ranks >= P))
        (ideal,) = [line for line in times.lines if line.get_linestyle() == ":"]
        assert data(ideal) == [(1, ipc[1]), (4, pytest.approx(ipc[1] / 4))]
        assert {times.get_xscale(), times.get_yscale(), ratios.get_yscale()} == {"log"}


def test_points_with_more_workers_than_cores_are_hollow():
    figure = ranks_figure(synthetic.strong((8,), (64,), (1,)))
    for axes in figure.axes:
        hollow = [line for line in axes.lines if to_hex(line.get_markerfacecolor()) == "#ffffff" and data(line)]
        assert {x for line in hollow for x, _ in data(line)} == {4}
    assert "more workers than cores" in said(figure)
    assert "more workers than cores" not in said(ranks_figure(synthetic.strong((8,), (64,), (1,), (1, 2))))


def test_weak_scaling_is_drawn_where_depths_follow_the_ranks():
    results = synthetic.weak(8, (64, 256), (64,))
    figure = ranks_figure(results)
    assert_legible(figure)
    assert titles(figure) == [f"weak: 8 per rank × {width}, batch 64" for width in (64, 256)]
    ipc = [(r["ranks"], r["median"]) for r in results.rows if (r["algorithm"], r["width"]) == ("ipc", 64)]
    assert curves(figure.axes[0])["iPC"] == ipc
    (ideal,) = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert data(ideal) == [(1, ipc[0][1]), (4, ipc[0][1])]
    # Of strong scaling: where its depths happen to follow all of its ranks, and not only some.
    assert titles(ranks_figure(synthetic.strong((8, 32), (64,), (1,)))) == ["strong: 32 × 64, batch 1"]
    assert len(titles(ranks_figure(synthetic.strong((8, 16, 32), (64,), (1,))))) == 2


def test_ratios_over_added_latency():
    results = synthetic.delayed(ranks=(1, 2, 4))
    figure = ranks_figure(results)
    assert_legible(figure)
    assert titles(figure) == ["strong: 32 × 256, batch 64", "latency: 32 × 256, batch 64, 2 ranks"]  # four are too many
    times, ratios = figure.axes[2:]
    assert [tick.get_text() for tick in ratios.get_xticklabels()] == ["none", "20 µs", "100 µs", "500 µs"]
    seconds = {(r["delay"], r["execution"]): r["median"] for r in results.rows if r["ranks"] == 2}
    known = (0.0, 2e-5, 1e-4, 5e-4)
    assert [y for _, y in curves(times)["iPC"]] == [seconds[delay, "layer-parallel"] for delay in known]
    for name in ("intra-layer", "pipeline", "data-parallel"):
        wanted = [seconds[delay, "layer-parallel"] / seconds[delay, name] for delay in known]
        assert [y for _, y in curves(ratios)[f"÷ {name}"]] == pytest.approx(wanted)
    places = [x for x, _ in curves(ratios)["÷ pipeline"]]
    assert places == [5e-6, *known[1:]]  # nothing has no place on a logarithmic axis
    # Strong scaling is drawn without added latency.
    (first, *_) = curves(figure.axes[0])["iPC"]
    assert first == (1, next(r["median"] for r in results.rows if (r["delay"], r["ranks"]) == (0.0, 1)))


def test_times_and_ratios_do_not_mix_delays():
    results = synthetic.delayed((8, 32))
    drawn = lines_by_label(times_figure(results).axes[0])
    alone = Results(results.path, results.context, [row for row in results.rows if row["delay"] == 0])
    assert drawn == lines_by_label(times_figure(alone).axes[0])
    figure = ratio_figure(pairs(results))
    assert_legible(figure)
    assert len(figure.axes) == 4
    assert sum("500 µs added" in title for title in titles(figure)) == 1


def test_a_figure_of_ranks_needs_ranks():
    for results in (synthetic.everything((2,), (64,)), synthetic.strong((8,), (64,), (1,), (2,))):
        with pytest.raises(InputError, match="neither ranks nor depths nor latencies"):
            ranks_figure(results)
    mixed = synthetic.strong((8,), (64,), (64,))
    mixed.rows.extend([row | {"kind": "predicted", "dtype": "float64"} for row in mixed.rows])
    figure = ranks_figure(mixed)
    assert_legible(figure)
    assert {title.split("batch 64, ")[1] for title in titles(figure)} == {
        "measured, float32, tanh",
        "predicted, float64, tanh",
    }
    only_bp = synthetic.strong((8,), (64,), (64,))
    only_bp.rows[:] = [row for row in only_bp.rows if row["algorithm"] == "bp"]
    assert_legible(ranks_figure(only_bp))
    only_ipc = synthetic.strong((8,), (64,), (64,))
    only_ipc.rows[:] = [row for row in only_ipc.rows if row["algorithm"] == "ipc"]
    assert_legible(ranks_figure(only_ipc))


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.sampled_from((1, 2, 3, 4, 6, 8, 16, 64, 256)), min_size=2, max_size=6, unique=True).map(sorted),
    st.lists(st.sampled_from((0.0, 1e-6, 3e-6, 1e-5, 1e-4, 1e-3, 0.1)), min_size=1, max_size=5, unique=True).map(
        sorted
    ),
    st.integers(0, 3),
)
def test_figures_of_ranks_stay_legible(ranks, delays, spread):
    results = synthetic.delayed((32,), (64,), (64,), ranks, delays)
    for number, row in enumerate(results.rows):
        row["median"] *= 10 ** (spread * (number * 7 % 5 - 2))
    assert_legible(ranks_figure(results))
