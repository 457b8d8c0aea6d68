"""Figures of ratios, times and gains: what is drawn, and that all of it can be read."""

import itertools
from pathlib import Path

import pytest
import synthetic
from drawn import assert_legible, key_of, pair, points, said, strokes
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection

from pcsim.cli import main
from pcsim.errors import InputError
from pcsim.figures.ratios import gains_figure, ratio_figure, times_figure
from pcsim.figures.style import GREY, PALE, Look, colour_of, paler
from pcsim.report.words import machine
from pcsim.results.files import Results, read
from pcsim.results.pairs import pairs
from pcsim.results.verdicts import NEITHER, UNRESOLVED

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"

LOOKS = [Look(style, width) for style in ("paper", "talk") for width in (3.4, 7)]


@pytest.fixture(scope="module")
def fixture():
    return read(FIXTURE)


def titles(figure):
    return [" ".join(axes.get_title(loc="left").split()) for axes in figure.axes]


def bars_of(axes):
    """The ends of every interval."""
    found = [collection for collection in axes.collections if isinstance(collection, LineCollection)]
    return [tuple(segment[:, 1].tolist()) for bars in found for segment in bars.get_segments()]


# --- ratios ---


def test_a_panel_for_each_width_and_a_marker_for_each_denominator(fixture):
    found = pairs(fixture, "best-bp")
    figure = ratio_figure(found, machine=machine(fixture))
    cells = {(one["batch"], one["width"]) for one in found}
    assert titles(figure) == [f"width {width}, batch {batch}" for batch, width in sorted(cells)]
    for axes, (batch, width) in zip(figure.axes, sorted(cells), strict=True):
        inside = [one for one in found if (one["batch"], one["width"]) == (batch, width)]
        drawn = points(axes)
        for name in {one["other_execution"] for one in inside}:
            assert drawn.pop(name) == [(p["depth"], p["ratio"]) for p in inside if p["other_execution"] == name]
            assert f"÷ BP {name}" in key_of(figure)
        assert drawn == {}
        (line,) = [at for _, dashed, _, at in strokes(axes, colour_of("ipc")) if not dashed]
        assert line == [(one["depth"], one["ratio"]) for one in inside]
        assert axes.get_yscale() == axes.get_xscale() == "log"
        assert axes.get_ylim() == figure.axes[0].get_ylim()
        low, high = axes.get_ylim()
        assert all(low < pair["low"] and pair["high"] < high for pair in inside)
    assert_legible(figure)


def test_bars_are_the_intervals():
    figure = ratio_figure([pair(depth=2, ratio=0.5), pair(depth=4, ratio=0.25)])
    assert bars_of(figure.axes[0]) == [pytest.approx((0.45, 0.55)), pytest.approx((0.225, 0.275))]
    assert "bars: intervals within one run" in "\n".join(said(figure))
    several = ratio_figure([pair(depth=2, ratio=0.5, basis="8 processes, within this hour")])
    assert "bars: intervals for a re-run, 8 processes, within this hour" in " ".join(said(several)).replace("\n", " ")
    assert_legible(several)


def test_what_is_counted_for_the_workers_that_were_there_is_dashed_and_unlimited_is_faint():
    found = [pair(depth, ratio=0.6, counted=0.5) for depth in (2, 4, 32)]
    figure = ratio_figure(found)
    (axes,) = figure.axes
    assert [at for *_, at in strokes(axes, GREY)] == [[(2, 0.5), (4, 0.5), (32, 0.5)]]
    assert [at for *_, at in strokes(axes, PALE)] == [[(2, 2 / 3), (4, 2 / 7), (32, 2 / 63)]]
    assert axes.get_ylim()[0] > 0.3  # what nobody measured does not set the scale
    assert {"counted, same workers", "counted, unlimited"} <= set(key_of(figure))
    assert "(down to 0.032)" in "\n".join(said(figure))
    alone = ratio_figure([pair(smm_ratio=None)])
    assert not [label for label in key_of(alone) if "counted" in label]
    assert not strokes(alone.axes[0], GREY) + strokes(alone.axes[0], PALE)


def test_counted_for_workers_is_the_makespan_of_the_rows():
    results = synthetic.everything((2, 8), (64,))
    for row in results.rows:
        mm = 2 * row["depth"] - 1
        row["smm_workers"] = max(2, mm / row["workers"]) if row["algorithm"] == "ipc" else mm
    figure = ratio_figure([one for one in pairs(results) if one["batch"] == 1])
    assert strokes(figure.axes[0], GREY)[0][3] == [(2, pytest.approx(2 / 3)), (8, pytest.approx(0.5))]


def test_signs_stand_at_the_points_that_they_are_about_and_in_the_key():
    doubtful = {"verdict": UNRESOLVED}
    found = [pair(2, ratio=1.02, **doubtful), pair(4), pair(8, unsteady=True), pair(16, unsteady=True, **doubtful)]
    figure = ratio_figure(found)
    (axes,) = figure.axes
    assert_legible(figure)
    assert [text.get_text() for text in axes.texts] == ["~", "!", "~!"]
    for text, depth in zip(axes.texts, (2, 8, 16), strict=True):
        at = axes.transData.transform((depth, 1))[0]
        assert text.get_window_extent().x0 - 15 < at < text.get_window_extent().x1 + 15
    assert {NEITHER, "unsteady time"} <= set(key_of(figure))
    plain = ratio_figure([pair(2), pair(4)])
    assert not plain.axes[0].texts
    assert not {NEITHER, "unsteady time"} & set(key_of(plain))


def test_predicted_is_dotted_and_says_nothing_about_intervals():
    kinds = [pair(depth, ratio=0.5, kind=kind) for depth in (2, 4) for kind in ("measured", "predicted")]
    figure = ratio_figure(kinds)
    assert sorted(dashed for _, dashed, *_ in strokes(figure.axes[0], colour_of("ipc"))) == [False, True]
    assert {"measured: iPC ÷ BP", "predicted: iPC ÷ BP"} <= set(key_of(figure))
    alone = ratio_figure([pair(depth, kind="predicted", spread=0) for depth in (2, 4)])
    assert "intervals" not in "\n".join(said(alone))
    assert "measured: iPC ÷ BP" not in key_of(alone)


def test_the_caption_names_machine_and_denominator(fixture):
    for denominator, words in (("best-bp", "fastest BP"), ("paper-style", "serial BP"), ("numpy", "execution numpy")):
        text = "\n".join(said(ratio_figure(pairs(fixture, denominator), machine="Made-up CPU 2000")))
        assert f"denominator: {'each cell' if denominator == 'best-bp' else ''}" in text
        assert words in text
        assert "Made-up CPU 2000" in text
        assert "float32, tanh" in text


def test_ratios_to_other_ipc_say_so():
    results = synthetic.everything((2, 8), (64, 128))
    for denominator, other, below in (
        ("peer-ipc", "the peer's iPC", "each cell's fastest iPC of another library"),
        ("ipc:pcx", "pcx iPC", "iPC, execution pcx"),
    ):
        figure = ratio_figure(pairs(results, denominator))
        text = "\n".join(said(figure))
        assert {f"{other} faster", f"measured: our iPC ÷ {other}", f"our iPC ÷ {other}"} <= set(said(figure))
        assert f"Our iPC against {other}" in text
        assert f"denominator: {below}" in text
        assert "BP" not in text
        assert "counted" not in text
        assert_legible(figure)
    against_bp = said(ratio_figure(pairs(results)))
    assert {"BP faster", "iPC against BP: seconds per weight update"} <= set(against_bp)
    assert "fastest BP on the same workers (best-bp)" in "\n".join(against_bp)


def test_one_depth_is_drawn_over_width():
    figure = ratio_figure([pair(8, width) for width in (32, 64, 128)])
    (axes,) = figure.axes
    assert axes.get_xlabel() == "width"
    assert titles(figure) == ["depth 8"]
    assert points(axes) == {"serial": [(32, 0.5), (64, 0.5), (128, 0.5)]}


def test_a_title_of_ones_own_or_none():
    assert "Mine" in said(ratio_figure([pair()], "Mine"))
    figure = ratio_figure([pair()], "")
    assert not any(text.get_fontweight() == "bold" for text in figure.texts)


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_every_look_is_legible(fixture, look):
    for figure in (
        ratio_figure(pairs(fixture), machine=machine(fixture), look=look),
        times_figure(fixture, look=look),
        gains_figure(synthetic.everything((2, 4, 8), (32, 64, 128)), look=look),
    ):
        assert_legible(figure, look.sizes.small)
        assert figure.get_size_inches()[0] == pytest.approx(look.width)


def test_a_figure_of_ratios_takes_one_denominator():
    for wrong in ([], [pair(), pair() | {"denominator": "numpy"}]):
        with pytest.raises(InputError, match="one denominator"):
            ratio_figure(wrong)


ratios = st.floats(0.01, 20)
depths, widths = (2, 3, 4, 8, 16, 32), (32, 64, 128, 256, 512, 1024)


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(st.dictionaries(st.tuples(st.sampled_from(depths), st.sampled_from(widths)), ratios, min_size=1), st.booleans())
def test_ratios_stay_legible_whatever_they_are(cells, bars):
    figure = ratio_figure(
        [pair(*cell, ratio, spread=0.1 * bars) for cell, ratio in cells.items()], machine="CPU " * 150
    )
    assert_legible(figure)


def test_equal_ratios_in_many_lines_stay_legible():
    assert_legible(ratio_figure([pair(*cell, 0.01) for cell in itertools.product(depths, widths)]))
    assert_legible(ratio_figure([pair(depth, 64) for depth in range(1, 65)]))
    assert_legible(ratio_figure([pair(depth, 64, 1, unsteady=True) for depth in range(1, 33)]))


# --- times ---


def test_times_of_all_widths_beside_smms(fixture):
    figure = times_figure(fixture)
    widths = sorted({row["width"] for row in fixture.rows if row["batch"] == 1})
    assert titles(figure) == [*(f"width {width}" for width in widths), "SMMs per update, counted"]
    *timed, counted = figure.axes
    for axes, width in zip(timed, widths, strict=True):
        good = [row for row in fixture.rows if row["width"] == width and row["batch"] == 1 and row["error"] is None]
        for algorithm, executions in (
            ("ipc", ("serial", "layer-parallel")),
            ("bp", ("serial", "intra-layer", "numpy")),
        ):
            drawn = points(axes, algorithm)
            for execution in executions:
                rows = [row for row in good if (row["algorithm"], row["execution"]) == (algorithm, execution)]
                depths = sorted({row["depth"] for row in rows})
                best = [min(row["median"] for row in rows if row["depth"] == depth) for depth in depths]
                assert drawn.get(execution, []) == list(zip(depths, best, strict=True))
            ours = [row for row in good if row["algorithm"] == algorithm and row["execution"] in executions]
            ends = {
                depth: min(r["median"] for r in ours if r["depth"] == depth) for depth in {r["depth"] for r in ours}
            }
            (broad,) = [at for *_, at in strokes(axes, paler(colour_of(algorithm)))]
            assert broad == sorted(ends.items())
        for algorithm in ("pc", "zil"):
            rows = [row for row in good if row["algorithm"] == algorithm]
            best = {
                depth: min(r["median"] for r in rows if r["depth"] == depth) for depth in {r["depth"] for r in rows}
            }
            assert sorted(itertools.chain(*points(axes, algorithm).values())) == sorted(best.items())
        known = {tuple(row["ci95"]) for row in good}
        assert {tuple(map(float, bar)) for bar in bars_of(axes)} <= {tuple(map(float, ends)) for ends in known}
        assert len(bars_of(axes)) > 3
    smms = {shade: at for shade, dashed, _, at in strokes(counted) if dashed}
    assert smms[colour_of("ipc").lower()] == [(depth, 2) for depth in (2, 4, 8, 16)]
    assert smms[colour_of("bp").lower()] == [(depth, 2 * depth - 1) for depth in (2, 4, 8, 16, 32)]
    assert smms[colour_of("zil").lower()] == [(depth, 2 * (depth - 1)) for depth in (2, 4, 8, 16)]
    assert smms[colour_of("pc").lower()] == [(depth, 16) for depth in (2, 4, 8, 16)]
    assert_legible(figure)


def test_the_caption_of_times_says_what_they_are_of(fixture):
    context = {"cpu_model": "Made-up CPU 2000", "cores": 2, "versions": {"pcsim": "0.1", "numpy": "2.4", "numba": None}}
    text = "\n".join(said(times_figure(Results(fixture.path, context, fixture.rows))))
    for words in (
        "Made-up CPU 2000",
        "2 usable cores",
        "pcsim 0.1",
        "numpy 2.4",
        "measured",
        "intervals within one run",
    ):
        assert words in text
    assert "numba" not in text


def test_every_bp_is_drawn_and_the_best_stands_out():
    results = synthetic.everything((2, 8), (64, 128))
    figure = times_figure(results)
    assert_legible(figure)
    axes = figure.axes[0]
    at_one = [name for name, (factor, _) in synthetic.BP.items() if factor]
    assert set(points(axes, "bp")) == set(at_one)
    assert {f"BP {name}" for name in at_one} <= set(key_of(figure))
    ((_, _, wide, best),) = strokes(axes, paler(colour_of("bp")))
    assert best == points(axes, "bp")["intra-layer"]
    assert wide > 2 * max(width for _, _, width, _ in strokes(axes, colour_of("bp")))
    assert {"jax", "pcx", "serial", "layer-parallel"} == set(points(axes))  # iPC, ours and peers'
    ((*_, ours),) = strokes(axes, paler(colour_of("ipc")))
    assert ours == points(axes)["layer-parallel"]  # a peer's iPC does not stand for ours
    # In larger batches there are others, and another is the best.
    later = times_figure(results, batch=250).axes[0]
    assert strokes(later, paler(colour_of("bp"))) == []  # one depth is a point, and no line
    assert "pipeline" in points(later, "bp")


def test_the_best_bp_of_the_figure_is_that_of_the_report():
    """A BP on more workers than iPC was offered is neither the denominator nor the broad line."""
    results = synthetic.everything((2, 4), (64,))
    results.rows.append(synthetic.row("bp", "intra-layer", 1e-9, 2, 64, workers=8))

    def best():
        return dict(strokes(times_figure(results).axes[0], paler(colour_of("bp")))[0][3])[2]

    assert best() == next(p["other_median"] for p in pairs(results) if (p["batch"], p["depth"]) == (1, 2)) > 1e-9
    results.rows.append(synthetic.row("ipc", "layer-parallel", 1.0, 2, 64, workers=8))
    assert best() == pytest.approx(1e-9)


def test_chosen_widths_and_batches(fixture):
    assert titles(times_figure(fixture, widths=[256])) == ["width 256", "SMMs per update, counted"]
    figure = times_figure(fixture, batch=250)
    assert titles(figure)[:-1] == ["width 64"]
    assert [x for x, _ in points(figure.axes[0], "bp")["serial"]] == [2, 8]


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
        for launch, seconds in enumerate((1.0, 4.0, 2.0))
    ]
    figure = times_figure(Results(Path("made.jsonl"), {}, rows))
    assert "seconds per update, predicted" in said(figure)
    assert points(figure.axes[0], "bp") == {"serial": [(2, pytest.approx(2.0))]}
    measured = base | {"kind": "measured", "median": 9.0, "seconds": [9.0]}
    figure = times_figure(Results(Path("made.jsonl"), {}, [*rows, measured]))
    assert "seconds per update" in said(figure)
    assert points(figure.axes[0], "bp") == {"serial": [(2, 9.0)]}
    nothing = [row | {"seconds": [], "ci95": None} for row in rows]
    assert "intervals" not in "\n".join(said(times_figure(Results(Path("made.jsonl"), {}, nothing))))


# --- gains ---


def test_gains_are_drawn_against_the_best_bp():
    results = synthetic.everything((2, 4, 8), (32, 64, 128, 256))
    figure = gains_figure(results)
    assert_legible(figure)
    assert titles(figure) == [f"width {w}" for w in (32, 64, 128, 256)]
    wanted = {
        "BP serial": ("bp", "serial", 1 / 0.7),
        "iPC unfused, 1 worker": ("ipc", "serial-unfused", 1.2 / 0.7),
        "iPC unfused, 2 workers": ("ipc", "layer-parallel-unfused", 0.65 / 0.7),
        "iPC fused, 1 worker": ("ipc", "serial", 0.5 / 0.7),
        "iPC fused, 2 workers": ("ipc", "layer-parallel", 0.3 / 0.7),
    }
    assert set(key_of(figure)) == {"BP, fastest (1)", *wanted}
    for axes in figure.axes:
        assert axes.get_ylim() == figure.axes[0].get_ylim()
        for algorithm, execution, factor in wanted.values():
            drawn = points(axes, algorithm)[execution]
            assert drawn == [(depth, pytest.approx(factor)) for depth in (2, 4, 8)]
        assert strokes(axes, paler(colour_of("bp")))[0][3] == [(2, 1), (8, 1)]


def test_what_is_not_there_is_not_drawn():
    results = synthetic.everything((2,), (64,))
    alone = [row for row in results.rows if row["execution"] not in ("layer-parallel", "layer-parallel-unfused")]
    figure = gains_figure(Results(results.path, results.context, alone))
    assert not [text for text in key_of(figure) if "workers" in text]
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
