"""Figures of ranks: strong and weak scaling, and added latency."""

import pytest
import synthetic
from drawn import assert_legible, hollow, key_of, points, strokes
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim.errors import InputError
from pcsim.figures.ranks import ranks_figure
from pcsim.figures.ratios import ratio_figure, times_figure
from pcsim.figures.style import GREY, Look, colour_of, paler
from pcsim.results.files import Results
from pcsim.results.pairs import pairs


def titles(figure):
    found = [" ".join(axes.get_title(loc="left").split()) for axes in figure.axes]
    return [title for title in found if title]


def every(axes, algorithm="ipc"):
    """All points in an algorithm's colour, whatever their marker."""
    return sorted(place for places in points(axes, algorithm).values() for place in places)


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
        assert every(times) == sorted(ipc.items())
        drawn, below = points(times, "bp"), points(ratios)
        assert drawn.pop("serial") == [(1, seconds["bp", "serial", 1])]
        for name, places in drawn.items():
            assert places == [(ranks, seconds["bp", name, ranks]) for ranks in (2, 4)]
            apart = [(r, pytest.approx(ipc[r] / seconds["bp", name, r])) for r in (2, 4)]
            assert all(any(place == one for place in below[name]) for one in apart)
        ((*_, best),) = strokes(ratios, paler(colour_of("ipc")))
        bp = {who: time for who, time in seconds.items() if who[0] == "bp"}
        for ranks, ratio in best:
            assert ratio == pytest.approx(ipc[ranks] / min(t for (*_, P), t in bp.items() if ranks >= P))
        assert [ranks for ranks, _ in best] == [1, 2, 4]
        ((*_, ideal),) = strokes(times, GREY)
        assert ideal == [(1, ipc[1]), (4, pytest.approx(ipc[1] / 4))]
        assert {times.get_xscale(), times.get_yscale(), ratios.get_yscale()} == {"log"}


def test_points_with_more_workers_than_cores_are_hollow():
    figure = ranks_figure(synthetic.strong((8,), (64,), (1,)))
    for axes in figure.axes:
        assert {x for x, _ in hollow(axes)} == {4}
    assert "more workers than cores" in key_of(figure)
    assert "more workers than cores" not in key_of(ranks_figure(synthetic.strong((8,), (64,), (1,), (1, 2))))


def test_points_with_more_workers_than_cores_do_not_set_the_scale():
    results = synthetic.strong((8,), (64,), (1,))
    ends = [axes.get_ylim() for axes in ranks_figure(results).axes]
    for row in results.rows:
        if row["ranks"] == 4:  # iPC a hundred times as slow as BP, which is a hundred times as slow as it was
            factor = 1e4 if row["algorithm"] == "ipc" else 1e2
            row.update(median=row["median"] * factor, seconds=[s * factor for s in row["seconds"]])
            row["ci95"] = [end * factor for end in row["ci95"]]
    figure = ranks_figure(results)
    assert_legible(figure)
    for axes, (low, high) in zip(figure.axes, ends, strict=True):
        assert axes.get_ylim()[0] == pytest.approx(low, rel=0.2)
        assert high < axes.get_ylim()[1] < 12 * high
    times = figure.axes[0]
    assert max(y for _, y in every(times)) > times.get_ylim()[1]
    heads = [line for line in times.lines if isinstance(line.get_marker(), int)]
    assert len(heads) == 2
    assert len({line.get_xdata()[0] for line in heads}) == 2  # beside one another
    # Where no point has cores of its own, all of them set it.
    for row in results.rows:
        row["warnings"] = ["oversubscribed: 4 workers on 1 core"]
    alone = ranks_figure(results).axes[0]
    assert max(y for _, y in every(alone)) < alone.get_ylim()[1]


def test_weak_scaling_is_drawn_where_depths_follow_the_ranks():
    results = synthetic.weak(8, (64, 256), (64,))
    figure = ranks_figure(results)
    assert_legible(figure)
    assert titles(figure) == [f"weak: 8 per rank × {width}, batch 64" for width in (64, 256)]
    ipc = [(r["ranks"], r["median"]) for r in results.rows if (r["algorithm"], r["width"]) == ("ipc", 64)]
    assert every(figure.axes[0]) == ipc
    ((*_, ideal),) = strokes(figure.axes[0], GREY)
    assert ideal == [(1, ipc[0][1]), (4, ipc[0][1])]
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
    assert [y for _, y in every(times)] == [seconds[delay, "layer-parallel"] for delay in known]
    for name in ("intra-layer", "pipeline", "data-parallel"):
        wanted = [seconds[delay, "layer-parallel"] / seconds[delay, name] for delay in known]
        assert {round(y, 9) for y in wanted} <= {round(y, 9) for _, y in points(ratios)[name]}
    places = [x for x, _ in every(times)]
    assert places == [pytest.approx(2e-6), *known[1:]]  # nothing has no place on a logarithmic axis
    # Strong scaling is drawn without added latency.
    first = every(figure.axes[0])[0]
    assert first == (1, next(r["median"] for r in results.rows if (r["delay"], r["ranks"]) == (0.0, 1)))


def test_no_line_passes_the_break_before_the_first_latency():
    figure = ranks_figure(synthetic.delayed(ranks=(2,)))
    for axes in figure.axes:
        for *_, line in strokes(axes):
            assert min(x for x, _ in line) > 2e-6
        slashes = [line for line in axes.lines if isinstance(line.get_marker(), list)]
        assert len(slashes) == 2
        none, first = (axes.transData.transform((x, 1))[0] for x in (2e-6, 2e-5))
        for slash in slashes:
            assert none < slash.get_transform().transform((slash.get_xdata()[0], 0))[0] < first
    unbroken = ranks_figure(synthetic.delayed(ranks=(2,), delays=(1e-5, 1e-4)))
    assert not [line for axes in unbroken.axes for line in axes.lines if isinstance(line.get_marker(), list)]


def test_times_and_ratios_do_not_mix_delays():
    results = synthetic.delayed((8, 32))
    alone = Results(results.path, results.context, [row for row in results.rows if row["delay"] == 0])
    for algorithm in ("ipc", "bp"):
        drawn, without = (points(times_figure(which).axes[0], algorithm) for which in (results, alone))
        assert drawn == without != {}
    figure = ratio_figure(pairs(results))
    assert_legible(figure)
    assert len(figure.axes) == 4
    assert sum("500 µs latency added" in title for title in titles(figure)) == 1


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


@pytest.mark.slow
@pytest.mark.parametrize("look", [Look(style, width) for style in ("paper", "talk") for width in (3.4, 7)])
def test_every_look_is_legible(look):
    for results in (synthetic.strong((8,), (64,), (64,)), synthetic.delayed(ranks=(1, 2))):
        assert_legible(ranks_figure(results, look=look), look.sizes.small)


def test_a_net_on_one_number_of_ranks_does_not_scale():
    results = synthetic.strong((8,), (64, 128), (1,))
    results.rows[:] = [row for row in results.rows if row["width"] == 64 or row["ranks"] in (1, 4)]
    results.rows[:] = [r for r in results.rows if (r["width"], r["algorithm"], r["ranks"]) != (128, "ipc", 1)]
    assert titles(ranks_figure(results)) == ["strong: 8 × 64, batch 1"]


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
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
