"""Figures show the numbers they are given, in text that is large enough and does not overlap."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.text import Text

from pcsim.cli import main
from pcsim.errors import InputError
from pcsim.figures.learning import learning_figure
from pcsim.figures.ranks import ranks_figure
from pcsim.figures.ratios import gains_figure, ratio_figure, times_figure
from pcsim.figures.schedules import gantt, schedule_figure
from pcsim.figures.style import save
from pcsim.report.words import machine
from pcsim.results.files import Results, read
from pcsim.results.pairs import pairs
from pcsim.schedule.builders import backprop, incremental
from pcsim.schedule.tasks import Kind
from pcsim.schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE, Event

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"
FUSED = PREDICT | BACKPROJECT | UPDATE


@pytest.fixture(scope="module")
def fixture():
    return read(FIXTURE)


def texts(figure):
    """Every text that is drawn, as matplotlib objects."""
    figure.draw_without_rendering()
    hidden = set()
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            low, high = sorted((low, high))
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                outside = not low <= tick.get_loc() <= high
                hidden |= {text for text in (tick.label1, tick.label2) if outside or not text.get_visible()}
    return [
        text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible() and text not in hidden
    ]


def said(figure):
    return [text.get_text() for text in texts(figure)]


def assert_legible(figure):
    """8 points or more, within the figure, and no text upon another."""
    drawn = texts(figure)
    assert min(text.get_fontsize() for text in drawn) >= 8
    boxes = [(Text.get_window_extent(text), text.get_text()) for text in drawn]
    for box, text in boxes:
        inside = (
            figure.bbox.x0 <= box.x0
            and box.x1 <= figure.bbox.x1
            and figure.bbox.y0 <= box.y0
            and box.y1 <= figure.bbox.y1
        )
        assert inside, f"{text!r} leaves the figure"
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        up = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 0 or up <= 2, f"{first!r} and {second!r} overlap"


def data(line):
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def pair(depth=8, width=64, ratio=0.5, kind="measured", batch=1, spread=0.1):
    return {
        "kind": kind,
        "dtype": "float32",
        "activation": "tanh",
        "batch": batch,
        "depth": depth,
        "width": width,
        "ratio": ratio,
        "low": ratio * (1 - spread) if spread else None,
        "high": ratio * (1 + spread) if spread else None,
        "smm_ratio": 2 / (2 * depth - 1),
        "denominator": "paper-style",
    }


# --- ratios ---


def test_ratios_over_depth_and_over_width(fixture):
    found = pairs(fixture, "best-bp")
    figure = ratio_figure(found, machine=machine(fixture))
    assert [axes.get_xlabel() for axes in figure.axes] == ["depth", "width", "depth"]  # batch 250 has one width only
    for axes, batch in zip(figure.axes, (1, 1, 250), strict=True):
        over, line = ("depth", "width") if axes.get_xlabel() == "depth" else ("width", "depth")
        inside = [pair for pair in found if pair["batch"] == batch]
        lines = [data(drawn) for drawn in axes.lines if drawn.get_linestyle() == "-"]
        for value in {pair[line] for pair in inside}:
            assert [(pair[over], pair["ratio"]) for pair in inside if pair[line] == value] in lines
            assert f"{line} {value}" in [text.get_text() for text in axes.texts]
        assert [(0, 1), (1, 1)] in lines  # the whole width of the panel, at 1
        assert axes.get_yscale() == "log"
        low, high = axes.get_ylim()
        assert all(low < pair["low"] and pair["high"] < high for pair in inside)


def test_bars_are_the_intervals():
    figure = ratio_figure([pair(depth=2, ratio=0.5), pair(depth=4, ratio=0.25)])
    (bars,) = figure.axes[0].collections
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [[0.45, 0.55], [0.225, 0.275]])


def test_counted_is_dashed_predicted_dotted_and_both_are_named():
    found = [
        pair(depth, width, 0.5, kind) for depth in (2, 4) for width in (64, 128) for kind in ("measured", "predicted")
    ]
    figure = ratio_figure(found)
    depth, width = figure.axes
    styles = {style: [line for line in depth.lines if line.get_linestyle() == style] for style in (":", "--")}
    assert [data(line) for line in styles["--"]] == [[(2, 2 / 3), (4, 2 / 7)]]
    assert all(to_hex(line.get_markerfacecolor()) == "#ffffff" for line in styles[":"])
    assert len(styles[":"]) == 2
    assert {"measured", "predicted", "counted", "counted (SMMs)"} <= set(said(figure))
    levels = [data(line) for line in width.lines if line.get_linestyle() == "--"]
    assert levels == [[(w, 2 / (2 * depth - 1)) for w in (64, 128)] for depth in (2, 4)]
    assert not {"predicted", "counted"} & set(said(ratio_figure([pair() | {"smm_ratio": None}])))


def test_the_caption_names_machine_and_denominator(fixture):
    for denominator, words in (("best-bp", "fastest BP"), ("paper-style", "serial BP"), ("numpy", "execution numpy")):
        text = "\n".join(said(ratio_figure(pairs(fixture, denominator), machine="Made-up CPU 2000")))
        assert f"denominator: {'each cell' if denominator == 'best-bp' else ''}" in text
        assert words in text
        assert "Made-up CPU 2000" in text


def test_ratios_to_other_ipc_say_so():
    results = synthetic.everything((2, 8), (64, 128))
    for denominator, other, below in (
        ("peer-ipc", "the peer's iPC", "each cell's fastest iPC of another library"),
        ("ipc:pcx", "pcx iPC", "iPC, execution pcx"),
    ):
        figure = ratio_figure(pairs(results, denominator))
        text = "\n".join(said(figure))
        assert {"our iPC faster", f"{other} faster", f"ratio: our iPC ÷ {other} (log scale)"} <= set(said(figure))
        assert f"Our iPC against {other}" in text
        assert f"denominator: {below}" in text
        assert "BP" not in text
        assert_legible(figure)
    against_bp = said(ratio_figure(pairs(results)))
    assert {"iPC faster", "BP faster", "iPC against BP: seconds per complete weight update"} <= set(against_bp)
    assert "fastest BP on the same workers (best-bp)" in "\n".join(against_bp)


def test_batches_of_one_width_share_a_row():
    figure = ratio_figure(pairs(synthetic.everything()))
    names = [(axes.get_title(loc="left").split("batch ")[1].split(",")[0], axes.get_xlabel()) for axes in figure.axes]
    assert names == [("1", "depth"), ("1", "width"), ("64", "depth"), ("250", "depth"), ("256", "depth")]
    corners = [(round(box.x0, 3), round(box.y0, 3)) for box in (axes.get_position() for axes in figure.axes)]
    assert len(set(corners)) == 5
    assert len({x for x, _ in corners}) == 2
    assert len({y for _, y in corners}) == 3
    assert_legible(figure)
    # Two widths need a row of their own.
    mixed = [pair(batch=1), pair(batch=2), pair(batch=2, width=128), pair(batch=3)]
    rows = [round(axes.get_position().y0, 3) for axes in ratio_figure(mixed).axes]
    assert rows[0] > rows[1] == rows[2] > rows[3]
    assert_legible(ratio_figure(mixed))


def test_widths_have_colours_of_their_own_in_order_of_lightness():
    figure = ratio_figure(
        [pair(depth, width, 0.1 * n) for depth in (2, 4) for n, width in enumerate((32, 64, 128, 256, 512), 1)]
    )
    shades = [
        line.get_color() for line in figure.axes[0].lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2
    ][1:]
    light = [0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue, _ in shades]
    assert len(light) == 5
    assert all(np.diff(light) > 0.05)


def test_a_figure_of_ratios_takes_one_denominator():
    for wrong in ([], [pair(), pair() | {"denominator": "numpy"}]):
        with pytest.raises(InputError, match="one denominator"):
            ratio_figure(wrong)


ratios = st.floats(0.01, 20)
depths, widths = (2, 3, 4, 8, 16, 32), (32, 64, 128, 256, 512, 1024)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.tuples(st.sampled_from(depths), st.sampled_from(widths)), ratios, min_size=1), st.booleans())
def test_ratios_stay_legible_whatever_they_are(cells, bars):
    figure = ratio_figure(
        [pair(*cell, ratio, spread=0.1 * bars) for cell, ratio in cells.items()], machine="CPU " * 150
    )
    assert_legible(figure)


def test_equal_ratios_in_many_lines_stay_legible():
    assert_legible(ratio_figure([pair(*cell, 0.01) for cell in itertools.product(depths, widths)]))
    assert_legible(ratio_figure([pair(depth, 64) for depth in range(1, 65)]))


# --- times ---


def lines_by_label(axes):
    """Each line's points by the label beside it, which has its colour."""
    labels = {to_hex(text.get_color()): text.get_text() for text in axes.texts}
    return {labels[to_hex(line.get_color())]: data(line) for line in axes.lines}


def test_times_beside_smms(fixture):
    figure = times_figure(fixture)
    *timed, counted = figure.axes
    assert [axes.get_title(loc="left") for axes in timed] == [f"measured seconds, width {w}" for w in (64, 256, 1024)]
    for axes, width in zip(timed, (64, 256, 1024), strict=True):
        drawn = lines_by_label(axes)
        good = [row for row in fixture.rows if row["width"] == width and row["batch"] == 1 and row["error"] is None]
        for label, wanted in (
            ("iPC, best workers", lambda row: row["algorithm"] == "ipc"),
            ("iPC, 1 worker", lambda row: row["algorithm"] == "ipc" and row["workers"] == 1),
            ("BP, best", lambda row: row["algorithm"] == "bp"),
            ("BP serial", lambda row: row["algorithm"] == "bp" and row["execution"] == "serial"),
            ("BP intra-layer", lambda row: row["execution"] == "intra-layer"),
            ("BP numpy", lambda row: row["execution"] == "numpy"),
            ("PC", lambda row: row["algorithm"] == "pc"),
            ("Z-IL", lambda row: row["algorithm"] == "zil"),
        ):
            cells = sorted({row["depth"] for row in good if wanted(row)})
            best = [min(row["median"] for row in good if wanted(row) and row["depth"] == depth) for depth in cells]
            assert drawn.pop(label) == list(zip(cells, best, strict=True))
        assert drawn == {}
    smms = lines_by_label(counted)
    assert smms["iPC"] == [(depth, 2) for depth in (2, 4, 8, 16)]
    assert smms["BP"] == [(depth, 2 * depth - 1) for depth in (2, 4, 8, 16, 32)]
    assert smms["Z-IL"] == [(depth, 2 * (depth - 1)) for depth in (2, 4, 8, 16)]
    assert smms["PC"] == [(depth, 16) for depth in (2, 4, 8, 16)]
    assert "counted" in counted.get_title(loc="left")
    assert_legible(figure)


def test_every_bp_is_drawn_and_the_best_stands_out():
    results = synthetic.everything((2, 8), (64, 128))
    figure = times_figure(results)
    assert_legible(figure)
    axes = figure.axes[0]
    drawn = lines_by_label(axes)
    at_one = [name for name, (factor, _) in synthetic.BP.items() if factor]
    assert {label for label in drawn if label.startswith("BP")} == {"BP, best", *(f"BP {name}" for name in at_one)}
    assert drawn["BP, best"] == drawn["BP intra-layer"] != drawn["BP serial"]
    for label, names in (("iPC, best workers", ["layer-parallel"]), ("iPC, best peer", ["jax", "pcx"])):
        best = [
            min(r["median"] for r in results.rows if key_of(r) == (depth, 64, 1, "ipc") and r["execution"] in names)
            for depth in (2, 8)
        ]
        assert [y for _, y in drawn[label]] == best
    labels = {to_hex(text.get_color()): text.get_text() for text in axes.texts}
    wide = {labels[to_hex(line.get_color())]: line.get_linewidth() for line in axes.lines}
    assert len(wide) == len(axes.lines)  # each line has a colour of its own
    strong = {label for label, width in wide.items() if width == max(wide.values())}
    assert strong == {"BP, best", "iPC, best workers"}
    thin = {label for label, width in wide.items() if width == min(wide.values())}
    assert thin == {f"BP {name}" for name in at_one}
    # In larger batches there are others, and another is the best.
    later = lines_by_label(times_figure(results, batch=250).axes[0])
    assert later["BP, best"] == later["BP data-parallel"]
    assert "BP pipeline" in later


def key_of(row):
    return row["depth"], row["width"], row["batch"], row["algorithm"]


def test_the_best_bp_of_the_figure_is_that_of_the_report():
    """A BP on more workers than iPC was offered is neither the denominator nor the strong line."""
    results = synthetic.everything((2,), (64,))
    results.rows.append(synthetic.row("bp", "intra-layer", 1e-9, 2, 64, workers=8))
    drawn = lines_by_label(times_figure(results).axes[0])
    ((_, best),) = drawn["BP, best"]
    assert best == next(pair["other_median"] for pair in pairs(results) if pair["batch"] == 1) > 1e-9
    results.rows.append(synthetic.row("ipc", "layer-parallel", 1.0, 2, 64, workers=8))
    assert lines_by_label(times_figure(results).axes[0])["BP, best"] == [(2, pytest.approx(1e-9))]


def test_chosen_widths_and_batches(fixture):
    assert len(times_figure(fixture, widths=[256]).axes) == 2
    (axes, _) = times_figure(fixture, batch=250).axes
    assert axes.get_title(loc="left") == "measured seconds, width 64"
    assert [x for x, _ in lines_by_label(axes)["BP serial"]] == [2, 8]


def test_times_that_are_not_there(fixture):
    for wrong in ({"widths": [65]}, {"widths": [64, 65]}, {"widths": []}, {"batch": 7}):
        with pytest.raises(InputError, match="no times"):
            times_figure(fixture, **wrong)
    with pytest.raises(InputError, match="holds no rows"):
        times_figure(Results(Path("made.jsonl"), {}, []))
    mixed = [row | {"dtype": "float64"} if row["depth"] == 2 else row for row in fixture.rows]
    with pytest.raises(InputError, match="several types"):
        times_figure(Results(Path("made.jsonl"), {}, mixed))


def test_predicted_times_say_so_and_launches_are_put_together(fixture):
    base = next(row for row in fixture.rows if row["algorithm"] == "bp") | {"kind": "predicted"}
    rows = [
        base | {"launch": launch, "median": seconds, "seconds": [seconds]}
        for launch, seconds in enumerate((1.0, 5.0, 2.0))
    ]
    axes, _ = times_figure(Results(Path("made.jsonl"), {}, rows)).axes
    assert axes.get_title(loc="left") == "predicted seconds, width 64"
    assert lines_by_label(axes) == {"BP, best": [(2, 2.0)], "BP serial": [(2, 2.0)]}
    measured = base | {"kind": "measured", "median": 9.0, "seconds": [9.0]}
    axes, _ = times_figure(Results(Path("made.jsonl"), {}, [*rows, measured])).axes
    assert lines_by_label(axes) == {"BP, best": [(2, 9.0)], "BP serial": [(2, 9.0)]}


# --- gains ---


def test_gains_are_drawn_against_the_best_bp():
    results = synthetic.everything((2, 4, 8), (32, 64, 128, 256))
    figure = gains_figure(results)
    assert_legible(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [f"width {w}" for w in (32, 64, 128, 256)]
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    wanted = {
        "BP serial": 1 / 0.7,
        "best BP": 1,
        "iPC unfused, 1 worker": 1.2 / 0.7,
        "iPC unfused, 2 workers": 0.65 / 0.7,
        "iPC fused, 1 worker": 0.5 / 0.7,
        "iPC fused, 2 workers": 0.3 / 0.7,
    }
    assert labels == list(wanted)
    styles = [(line.get_color(), line.get_linestyle()) for line in legend.get_lines()]
    assert len(set(styles)) == len(styles)
    for axes in figure.axes:
        assert axes.get_ylim() == figure.axes[0].get_ylim()
        for label, style in zip(labels, styles, strict=True):
            (line,) = [line for line in axes.lines if (line.get_color(), line.get_linestyle()) == style]
            assert [x for x, _ in data(line)] == [2, 4, 8]
            assert [y for _, y in data(line)] == pytest.approx([wanted[label]] * 3)


def test_what_is_not_there_is_not_drawn():
    results = synthetic.everything((2,), (64,))
    alone = [row for row in results.rows if row["execution"] not in ("layer-parallel", "layer-parallel-unfused")]
    figure = gains_figure(Results(results.path, results.context, alone))
    assert not [text for text in said(figure) if "workers" in text]
    assert "iPC unfused, 1 worker" in said(figure)
    for rows, why in (
        ([row for row in alone if row["execution"] != "serial-unfused"], "no cell has iPC serial-unfused"),
        ([row for row in alone if row["algorithm"] != "bp"], "none stands beside a BP"),
        ([*alone, *(row | {"dtype": "float64"} for row in alone)], "several types"),
    ):
        with pytest.raises(InputError, match=why):
            gains_figure(Results(results.path, results.context, rows))
    with pytest.raises(InputError, match="batch 7"):
        gains_figure(results, batch=7)


def test_a_verb_for_each_figure(tmp_path, capsys):
    synthetic.store(synthetic.everything((2, 8), (64,)), tmp_path / "all.jsonl")
    sizes = set()
    synthetic.store(synthetic.strong((8,), (64,)), tmp_path / "ranks.jsonl")
    assert main.main(["plot", str(tmp_path / "ranks.jsonl"), "--ranks", "--out", str(tmp_path / "ranks.svg")]) == 0
    assert capsys.readouterr().out == f"figure: {tmp_path / 'ranks.svg'}\n"
    assert main.main(["plot", str(tmp_path / "all.jsonl"), "--ranks", "--out", str(tmp_path / "none.svg")]) == 2
    assert "measure with --backend mpi" in capsys.readouterr().err
    assert not (tmp_path / "none.svg").exists()
    for extra in ([], ["--times"], ["--gains"], ["--denominator", "peer-ipc"]):
        out = tmp_path / "figure.svg"
        assert main.main(["plot", str(tmp_path / "all.jsonl"), "--out", str(out), *extra]) == 0
        sizes.add(out.read_bytes())
        assert capsys.readouterr().out == f"figure: {out}\n"
    assert len(sizes) == 4
    for both in (["--times", "--gains"], ["--gains", "--ranks"]):
        with pytest.raises(SystemExit) as left:
            main.main(["plot", str(tmp_path / "all.jsonl"), "--out", "x.png", *both])
        assert left.value.code == 2


# --- ranks ---


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


# --- Gantt charts ---


def timeline(steps=4, workers=2, layers=2, unit=1e-6):
    """Workers with pauses; times far from zero, as clocks give them."""
    return [
        Event(worker, (START if step == 0 else FUSED) if part == 0 else VALUE, layer, step, 100 + at, 100 + at + long)
        for step, worker, layer in itertools.product(range(steps), range(workers), range(layers))
        for begin in [(step * (layers + 1) + layer + 0.25 * worker) * unit]
        for part, at, long in ((0, begin, 0.5 * unit), (1, begin + 0.5 * unit, 0.25 * unit))
    ]


def bars(axes):
    """(colour, lane, start, end) of every bar."""
    return [
        (to_hex(bar.get_facecolor()[0]), round(box[:, 1].mean(), 6), box[:, 0].min(), box[:, 0].max())
        for bar in axes.collections
        for box in (path.vertices[:4] for path in bar.get_paths())
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


def test_layers_are_written_only_where_they_fit():
    few, many = gantt(timeline()), gantt(timeline(steps=200, workers=4, layers=4))
    events = timeline()
    for text in [text for text in few.axes[0].texts if "busy" not in text.get_text()]:
        at, lane = text.get_position()
        (event,) = [e for e in events if e.worker == lane and (e.start - 100) * 1e6 < at < (e.end - 100) * 1e6]
        assert text.get_text() == str(event.layer)
    assert [text.get_text() for text in few.axes[0].texts].count("1") >= 8
    assert "numbers in the bars are layers" in few.axes[0].get_xlabel()
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


# --- learning ---


def curve(label, smm=2, **fields):
    updates = np.arange(5)
    return {
        "label": label,
        "updates": updates,
        "smm": updates * smm,
        "mm": updates * 11,
        "seconds": updates * 1e-4,
        "loss": 10.0 / (1 + updates),
    } | fields


def test_loss_against_each_cost():
    figure = learning_figure([curve("iPC"), curve("BP", smm=11, seconds=None)], "Two nets")
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "complete weight updates",
        "SMMs (counted)",
        "MMs (counted)",
        "seconds",
    ]
    assert [len(axes.lines) for axes in figure.axes] == [2, 2, 2, 1]
    losses = [5.0, 10 / 3, 2.5, 2.0]  # update 0 has no place on a logarithmic axis
    assert data(figure.axes[1].lines[0]) == list(zip([2, 4, 6, 8], losses, strict=True))
    assert data(figure.axes[1].lines[1]) == list(zip([11, 22, 33, 44], losses, strict=True))
    assert all(axes.get_xscale() == axes.get_yscale() == "log" for axes in figure.axes)
    assert {"iPC", "BP", "Two nets"} <= set(said(figure))
    assert_legible(figure)


def test_what_a_logarithm_cannot_show_is_left_out():
    figure = learning_figure([curve("diverged", loss=[10, 5, np.inf, np.nan, 0])])
    assert data(figure.axes[0].lines[0]) == [(1, 5)]
    stored = learning_figure([curve("from a file", loss=[10, 5, None, 2, None], seconds=[None, 1, 2, 3, 4])])
    assert [data(axes.lines[0]) for axes in stored.axes[::3]] == [[(1, 5), (3, 2)], [(1, 5), (3, 2)]]
    nothing = learning_figure([curve("none", seconds=None, loss=[np.nan] * 5)])
    assert "not recorded" in said(nothing)
    assert_legible(nothing)


def test_many_curves_are_told_apart():
    figure = learning_figure([curve(f"a curve with a long name, number {number}") for number in range(12)])
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(styles) == 12
    assert_legible(figure)


def test_curves_must_fit_together():
    for wrong in ([], [curve("short", loss=[1.0])], [curve("iPC"), curve("long", mm=range(6))]):
        with pytest.raises(InputError):
            learning_figure(wrong)


# --- files ---


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


def test_a_schedule_shows_figure_5_of_the_paper():
    """Triangles: 3 full updates of BP; 7 of iPC, of which the first reaches one layer and the second two."""
    for graph, solid, hollow in ((backprop(3, 8), 3 * 3 + 1, 0), (incremental(3, 12), 7 * 3 - 3, 3)):
        figure = schedule_figure(graph, 8, 6, {Kind.BACKPROJECT: 1}, "layer")
        assert_legible(figure)
        marks = [line.get_markerfacecolor() for line in figure.axes[0].lines if line.get_marker() == "v"]
        assert (len(marks) - marks.count("white"), marks.count("white")) == (solid, hollow)


def test_a_schedule_has_a_bar_for_each_product():
    figure = schedule_figure(incremental(4, 10), 2, 24)
    assert_legible(figure)
    assert {"worker 0", "worker 1", "update complete"} <= set(said(figure))
    assert len(figure.axes[0].texts) == 2 * 24  # both workers always busy
    assert len(schedule_figure(backprop(4, 6), 2, 24).axes[0].texts) == 24


@pytest.mark.parametrize(("until", "lanes"), [(0, "worker"), (10**6, "worker"), (6, "step")])
def test_a_schedule_needs_a_graph_long_enough(until, lanes):
    with pytest.raises(InputError, match="the graph ends after"):
        schedule_figure(backprop(3, 2), 2, until, lanes=lanes)
