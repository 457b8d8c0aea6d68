"""Figures of ratios, times and gains: what is drawn, and that all of it can be read."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import synthetic
from drawn import assert_legible, data, lines_by_label, pair, said
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from pcsim.cli import main
from pcsim.errors import InputError
from pcsim.figures.ratios import gains_figure, ratio_figure, times_figure
from pcsim.report.words import machine
from pcsim.results.files import Results, read
from pcsim.results.pairs import pairs

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"


@pytest.fixture(scope="module")
def fixture():
    return read(FIXTURE)


# --- ratios ---


def test_ratios_over_depth_and_over_width(fixture):
    found = pairs(fixture, "best-bp")
    figure = ratio_figure(found, machine=machine(fixture))
    assert [axes.get_xlabel() for axes in figure.axes] == ["depth", "width", "depth"]  # batch 250 has one width only
    for axes, batch in zip(figure.axes, (1, 1, 250), strict=True):
        over, line = ("depth", "width") if axes.get_xlabel() == "depth" else ("width", "depth")
        inside = [one for one in found if one["batch"] == batch]
        lines = [data(drawn) for drawn in axes.lines if drawn.get_linestyle() == "-"]
        for value in {one[line] for one in inside}:
            assert [(one[over], one["ratio"]) for one in inside if one[line] == value] in lines
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
        ([row for row in alone if row["algorithm"] != "bp"], "none has a BP beside it"),
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
