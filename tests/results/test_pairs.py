"""Which rows are compared with which, and the ratio, interval and verdict of each pair."""

from pathlib import Path

import numpy as np
import pytest
import synthetic
from rows import failure, made, row, some

from pcsim.errors import InputError
from pcsim.report.ratios import gains_table, summary, table, verdicts
from pcsim.report.words import definition
from pcsim.results.comparison import interval, unsteady
from pcsim.results.fields import USUAL
from pcsim.results.files import Results, latest, read
from pcsim.results.gains import gains, steps
from pcsim.results.pairs import (
    LADDER,
    cell_of,
    cells,
    failed,
    ladder,
    merged,
    pairs,
    representative,
    scaling,
    sides,
    subject,
)
from pcsim.results.statistics import logs_of, mean_interval, rerun_interval
from pcsim.results.verdicts import UNRESOLVED, WITHIN

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"


@pytest.fixture(scope="module")
def fixture():
    return read(FIXTURE)


# --- pairs ---


def by_hand(results, cell, wanted):
    """Median seconds of the rows of a cell that are wanted, straight from the samples."""
    return [
        np.median(row["seconds"])
        for row in results.rows
        if cell_of(row) == cell and row["error"] is None and wanted(row)
    ]


@pytest.mark.parametrize(
    ("denominator", "belongs"),
    [
        ("paper-style", lambda row: row["execution"] == "serial"),
        ("best-bp", lambda row: True),
        ("numpy", lambda row: row["execution"] == "numpy"),
        ("intra-layer", lambda row: row["execution"] == "intra-layer"),
    ],
)
def test_pairs_of_the_fixture_are_what_a_hand_would_compute(fixture, denominator, belongs):
    found = pairs(fixture, denominator)
    assert len(found) == (13 if denominator == "intra-layer" else 14)
    assert [cell_of(pair) for pair in found] == sorted({cell_of(pair) for pair in found})
    for pair in found:
        cell = cell_of(pair)
        above = min(by_hand(fixture, cell, lambda row: row["algorithm"] == "ipc"))
        below = min(by_hand(fixture, cell, lambda row: row["algorithm"] == "bp" and belongs(row)))
        assert (pair["median"], pair["other_median"]) == (
            pytest.approx(above, rel=1e-3),
            pytest.approx(below, rel=1e-3),
        )
        assert pair["ratio"] == pytest.approx(above / below)
        assert pair["low"] <= pair["ratio"] <= pair["high"]
        assert pair["denominator"] == denominator
        assert pair["smm_ratio"] == 2 / (2 * pair["depth"] - 1)
        doubtful = pair["low"] <= 1 <= pair["high"] or pair["p"] >= 0.05
        assert pair["verdict"] == (UNRESOLVED if doubtful else "iPC faster" if pair["ratio"] < 1 else "BP faster")
        assert (pair["basis"], pair["processes"], pair["mean_low"], pair["chosen"]) == (WITHIN, 1, None, 1)


def test_the_fixture_has_wins_losses_and_doubts(fixture):
    found = [pair["verdict"] for pair in pairs(fixture, "best-bp")]
    assert [found.count(verdict) for verdict in ("iPC faster", "BP faster", UNRESOLVED)] == [11, 2, 1]


def test_pairs_are_sorted_by_cell():
    cells = [(64, 1, 8), (8, 250, 2), (64, 1, 2), (8, 1, 8)]
    rows = [row(name, width=width, batch=batch, depth=depth) for width, batch, depth in cells for name in ("bp", "ipc")]
    found = [(pair["batch"], pair["depth"], pair["width"]) for pair in pairs(made(*rows))]
    assert found == [(1, 2, 64), (1, 8, 8), (1, 8, 64), (250, 2, 8)]


def test_the_fastest_row_stands_for_ipc_even_where_auto_had_settled_on_another():
    rows = [row("bp"), row("ipc", workers=1, seconds=some(0.5)), row("ipc", "layer-parallel", 2, some(0.7), auto=True)]
    (pair,) = pairs(made(*rows))
    assert (pair["workers"], pair["execution"]) == (1, "serial")
    (pair,) = pairs(made(*rows[:2], rows[2] | {"seconds": some(0.4), "median": 0.4}))
    assert (pair["workers"], pair["execution"]) == (2, "layer-parallel")


def test_bp_may_use_the_workers_that_ipc_was_given_and_no_more():
    serial, four = row("bp"), row("bp", "numpy", 4, some(0.2))
    two = row("ipc", "layer-parallel", 2, some(0.5))
    chosen = two | {"auto": True}

    def denominator(*rows, **context):
        pair = next(pair for pair in pairs(made(*rows, **context), "best-bp") if pair["depth"] == 8)
        return pair["other_execution"], pair["other_workers"]

    assert denominator(serial, four, two) == ("serial", 1)
    assert denominator(serial, four, two, cores=4) == ("serial", 1)
    # Four were on offer: by --workers auto on four cores, or as another, deeper cell shows.
    assert denominator(serial, four, chosen, cores=4) == ("numpy", 4)
    assert denominator(serial, four, chosen, cores=2) == ("serial", 1)
    assert denominator(serial, four, two, row("ipc", "layer-parallel", 4, depth=16)) == ("numpy", 4)
    assert denominator(serial, four, two, failure("ipc", "layer-parallel", workers=4)) == ("numpy", 4)
    assert denominator(serial, four, two, row("ipc", "layer-parallel", 4, kind="predicted")) == ("serial", 1)
    with pytest.raises(InputError, match="no cell"):
        pairs(made(serial, four, two), "numpy")
    # What someone called serial is one thread, whatever its row says of workers.
    assert denominator(serial | {"workers": 8}, two) == ("serial", 8)


def test_other_cells_of_a_file_do_not_change_what_bp_may_use():
    shallow = [
        row("ipc", "layer-parallel", 2, some(0.5), depth=2),
        row("bp", depth=2),
        row("bp", "intra-layer", 16, some(0.7), depth=2),
    ]
    deep = [row("ipc", "layer-parallel", 32, some(0.5), depth=32), row("bp", depth=32)]

    def first(rows):
        return pairs(made(*rows, offered=[4, 64]))[0]

    assert first(shallow) == first([*shallow, *deep])
    assert first(shallow)["other_workers"] == 16


def test_measured_and_predicted_never_pair():
    measured, predicted = row("ipc", seconds=some(0.5)), row("bp", kind="predicted")
    with pytest.raises(InputError, match="no cell"):
        pairs(made(measured, predicted))
    found = pairs(made(measured, predicted, row("bp"), row("ipc", seconds=some(2), kind="predicted")))
    assert [(pair["kind"], pair["verdict"]) for pair in found] == [
        ("measured", "iPC faster"),
        ("predicted", "BP faster"),
    ]


@pytest.mark.parametrize("field", ["dtype", "activation", "batch", "depth", "width"])
def test_different_cells_never_pair(field):
    other = {"dtype": "float64", "activation": "relu"}.get(field, 3)
    with pytest.raises(InputError, match="no cell"):
        pairs(made(row("ipc"), row("bp", **{field: other})))


def test_a_prediction_without_samples_has_a_ratio_but_no_interval():
    rows = [
        row(name, kind="predicted") | {"seconds": [], "median": time, "ci95": None}
        for name, time in (("ipc", 1.0), ("bp", 4.0))
    ]
    (pair,) = pairs(made(*rows))
    assert (pair["ratio"], pair["low"], pair["high"], pair["p"], pair["verdict"]) == (
        0.25,
        None,
        None,
        None,
        "iPC faster",
    )
    assert "0.250" in verdicts(made(*rows))
    assert "predicted, batch 1" in table(made(*rows))
    assert "Of 1 predicted cells" in " ".join(summary(made(*rows)))


def test_within_one_run_a_difference_counts_only_if_interval_and_rank_test_agree():
    # Two samples a side: the interval excludes 1, but no rank test can tell four numbers apart.
    (pair,) = pairs(made(row("ipc", seconds=[1.0, 1.1]), row("bp", seconds=[2.0, 2.1])))
    assert pair["high"] < 1
    assert pair["verdict"] == UNRESOLVED
    # The ranks differ, but half of the rounds lie so close together that the medians may be anywhere there.
    near = np.linspace(0.95, 1.05, 6)
    (pair,) = pairs(made(row("ipc", seconds=[*near, *[0.5] * 5]), row("bp", seconds=[*near[::-1] - 0.01, *[2.0] * 5])))
    assert pair["p"] < 0.05
    assert pair["ratio"] < 1 < pair["high"]
    assert pair["verdict"] == UNRESOLVED
    (pair,) = pairs(made(row("ipc", seconds=some(1)), row("bp", seconds=some(2))))
    assert pair["verdict"] == "iPC faster"


def test_interleaved_rounds_are_compared_in_pairs():
    drift = np.random.default_rng(0).lognormal(size=21)
    (pair,) = pairs(made(row("ipc", seconds=0.9 * drift), row("bp", seconds=drift)))
    assert (pair["low"], pair["high"]) == (pytest.approx(0.9), pytest.approx(0.9))


def test_launches_are_put_together_and_the_last_good_row_of_a_launch_counts():
    ipc = [row("ipc", seconds=some(time, seed=launch), launch=launch) for launch, time in enumerate((1.0, 1.2, 1.4))]
    bp = [row("bp", seconds=some(4, seed=launch), launch=launch) for launch in range(3)]
    (whole,) = pairs(made(*ipc, *bp))
    assert whole["median"] == pytest.approx(np.prod([row["median"] for row in ipc]) ** (1 / 3))
    logs = logs_of(np.log([one["median"] / other["median"] for one, other in zip(ipc, bp, strict=True)]))
    assert whole["ratio"] == logs.ratio == pytest.approx(whole["median"] / whole["other_median"])
    assert (whole["low"], whole["high"]) == pytest.approx(rerun_interval(logs))
    assert (whole["mean_low"], whole["mean_high"]) == pytest.approx(mean_interval(logs))
    assert (whole["processes"], whole["basis"], whole["chosen"]) == (3, "3 processes, within this hour", 3)
    assert pairs(made(*reversed([*ipc, *bp]))) == [whole]
    (single,) = pairs(made(ipc[0], bp[0]))
    assert single["high"] < 0.26
    later = made(
        ipc[0] | {"seconds": [9.0], "median": 9.0}, failure("ipc", launch=0), ipc[0], failure("ipc", launch=0), bp[0]
    )
    assert pairs(later) == [single]
    assert failed(later) == []


def test_the_best_bp_is_divided_by_unless_told_otherwise(fixture):
    for call in (pairs, table, verdicts, summary):
        assert call(fixture) == call(fixture, "best-bp") != call(fixture, "paper-style")
    assert definition() == definition("best-bp")
    assert "paper-style" in definition("paper-style")


def test_neither_peers_nor_unfused_rows_stand_for_ipc():
    rows = [row("bp"), row("ipc", seconds=some(0.5)), row("ipc", "layer-parallel", 2, some(0.4))]
    for execution in ("jax", "pcx", "serial-unfused", "layer-parallel-unfused"):
        faster = row("ipc", execution, 2, some(0.1), auto=True)
        (pair,) = pairs(made(*rows, faster))
        assert (pair["execution"], pair["ratio"]) == ("layer-parallel", pytest.approx(0.4, rel=0.02))
        assert [gain["speedup"] for gain in scaling(made(*rows, faster))] == [pytest.approx(1.25, rel=0.02)]
        with pytest.raises(InputError, match="no cell has times of both"):
            pairs(made(rows[0], faster))
        assert representative([faster]) is None
        # Ours by name, the same row does stand for iPC.
        (pair,) = pairs(made(*rows, faster | {"execution": "layer-parallel", "workers": 3}))
        assert pair["ratio"] == pytest.approx(0.1, rel=0.02)


def test_only_our_ipc_offers_workers_to_bp():
    rows = [row("bp"), row("bp", "jax", 4, some(0.2)), row("ipc", "layer-parallel", 2, some(0.5))]
    for extra, best in (
        (row("ipc", "jax", 4), "serial"),
        (row("ipc", "layer-parallel-unfused", 4), "serial"),
        (row("ipc", "layer-parallel", 4), "jax"),
    ):
        (pair,) = pairs(made(*rows, extra))
        assert pair["other_execution"] == best
        assert [rung["execution"] for rung in ladder(made(*rows, extra)) if rung["best"]] == [best]


def test_ipc_against_the_ipc_of_peers():
    ours, slow, fast = row("ipc", seconds=some(1)), row("ipc", "pcx", seconds=some(9)), row("ipc", "jax", 1, some(4))
    results = made(ours, slow, fast, row("bp"))
    (pair,) = pairs(results, "peer-ipc")
    assert (pair["other_execution"], pair["ratio"], pair["verdict"]) == ("jax", 0.25, "our iPC faster")
    (pair,) = pairs(results, "ipc:pcx")
    assert (pair["other_execution"], pair["ratio"]) == ("pcx", pytest.approx(1 / 9))
    (pair,) = pairs(made(row("ipc", seconds=some(8)), slow, fast), "peer-ipc")
    assert (pair["ratio"], pair["verdict"]) == (2, "the peer's iPC faster")
    (pair,) = pairs(made(row("ipc", seconds=some(8)), fast), "ipc:jax")
    assert pair["verdict"] == "jax iPC faster"
    # Faster on more workers than ours had is no fair peer; unfused rows are ours.
    (pair,) = pairs(made(*results.rows, row("ipc", "pcx", 8, some(0.1)), row("ipc", "serial-unfused")), "peer-ipc")
    assert pair["ratio"] == 0.25
    (pair,) = pairs(made(*results.rows, row("ipc", "serial-unfused", seconds=some(2))), "ipc:serial-unfused")
    assert pair["ratio"] == 0.5
    assert "iPC is faster in 1, the peer's iPC in 0" in summary(results, "peer-ipc")[1]
    with pytest.raises(InputError, match="no row is 'peer-ipc'"):
        pairs(made(ours, row("ipc", "serial-unfused"), row("bp")), "peer-ipc")


def test_every_definition_says_what_is_divided_by_what():
    results = made(row("ipc"), row("ipc", "pcx"), row("ipc", "jax"), row("ipc", "serial-unfused"), row("bp"))
    for denominator, words_of_it in (
        (
            "best-bp",
            "of iPC ÷ that of BP (execution best-bp: the fastest of each cell on the same workers); below 1, iPC",
        ),
        ("paper-style", "of iPC ÷ that of BP (execution serial: paper-style); below 1, iPC"),
        ("torch", "of iPC ÷ that of BP (execution torch); below 1, iPC"),
        ("peer-ipc", "of our iPC ÷ that of the fastest peer's iPC (jax, pcx) on the same workers; below 1, our iPC"),
        ("ipc:pcx", "of our iPC ÷ that of iPC by pcx; below 1, our iPC"),
        ("ipc:serial-unfused", "of our iPC ÷ that of iPC (execution serial-unfused); below 1, our iPC"),
    ):
        line = definition(denominator, results)
        assert line.startswith(f"ratio = seconds per complete weight update {words_of_it} is faster; ")
        assert line.endswith("iPC is the fastest of each cell" + (", too" if denominator == "best-bp" else ""))
        assert line.split("; ")[-2] == f"below 1, {sides(denominator)[0]} is faster"


def test_what_launches_have_in_common_is_put_together():
    rows = [
        row("bp", "jax", 1, some(time), launch=n, flop_rate=rate, variant=name)
        for n, (time, rate, name) in enumerate(((1.0, 3.0, "b"), (1.5, 1.0, "a"), (2.0, 2.0, "b")))
    ]
    (whole,) = merged(rows, "bp")
    assert (whole["flop_rate"], whole["variant"], whole["launches"]) == (2.0, "a, b", 3)
    assert interval(whole) == mean_interval(logs_of(np.log([row["median"] for row in rows])))
    assert unsteady(whole)
    assert not any(unsteady(row) for row in rows)
    (single,) = merged(rows[:1], "bp")
    assert (single["flop_rate"], single["variant"], interval(single)) == (3.0, "b", tuple(rows[0]["ci95"]))


# --- where the ratio comes from ---


def test_every_bp_is_a_rung_and_the_fastest_is_the_best_bp(fixture):
    for results in (fixture, synthetic.everything((2, 8), (64, 128))):
        found = ladder(results)
        best = {cell_of(pair): pair["other_execution"] for pair in pairs(results)}
        marked = {cell_of(rung): rung["execution"] for rung in found if rung["best"]}
        assert {cell: marked[cell] for cell in best} == best
        for rung in found:
            mine = [
                row["median"]
                for row in results.rows
                if (cell_of(row), row["algorithm"], row["execution"]) == (cell_of(rung), "bp", rung["execution"])
                and row["error"] is None
            ]
            assert rung["median"] == pytest.approx(min(mine)) if mine else rung["median"] is None
            assert not mine or rung["low"] <= rung["median"] <= rung["high"]
    names = [rung["execution"] for rung in ladder(synthetic.everything((2,), (64,)))]
    assert names == list(LADDER) * 4
    odd = made(row("bp", "zebra"), row("bp", "antelope"), row("bp", "jax"))
    assert [rung["execution"] for rung in ladder(odd)] == ["jax", "antelope", "zebra"]


def test_gains_are_the_factors_that_were_put_in():
    results = synthetic.everything((2, 8), (64, 128))
    found = gains(results)
    assert [cell_of(gain)[3:6] for gain in found] == [(1, 2, 64), (1, 2, 128), (1, 8, 64), (1, 8, 128)]
    for gain in found:
        wanted = {"fusion": 1.2 / 0.5, "layers": 1.2 / 0.65, "both": 1.2 / 0.3}
        assert {name: gain[name] for name in wanted} == pytest.approx(wanted)
        for name in wanted:
            assert gain[f"{name}_low"] <= gain[name] * 1.000001
            assert gain[f"{name}_high"] >= gain[name] * 0.999999
        assert gain["best_bp"] / gain["bp_serial"] == pytest.approx(0.7)
        assert gain["workers"] == 2
    # Another time of one contender moves its factor and no other.
    for other in results.rows:
        if other["execution"] == "serial" and other["algorithm"] == "ipc":
            other |= {"seconds": [2 * s for s in other["seconds"]], "median": 2 * other["median"]}
    moved = gains(results)[0]
    assert (moved["fusion"], moved["layers"]) == (pytest.approx(1.2), pytest.approx(found[0]["layers"]))


def test_gains_on_as_many_workers_as_both_ran_on():
    unfused = [row("ipc", "serial-unfused", 1, some(8))]
    unfused += [row("ipc", "layer-parallel-unfused", P, some(8 / P)) for P in (1, 2, 4)]
    fused = [row("ipc", "layer-parallel", P, some(4 / P)) for P in (1, 2, 8)]
    (gain,) = gains(made(*unfused, *fused))
    assert (gain["workers"], gain["layers"], gain["both"]) == (2, pytest.approx(2), pytest.approx(4))
    (gain,) = gains(made(*unfused))
    assert (gain["workers"], gain["layers"], gain["both"]) == (4, pytest.approx(4), None)
    (gain,) = gains(made(unfused[0], *fused))
    assert (gain["workers"], gain["layers"], gain["both"]) == (8, None, pytest.approx(16))
    (gain,) = gains(made(unfused[0], row("ipc", seconds=some(4))))
    assert (gain["workers"], gain["fusion"], gain["fusion_low"] is None) == (None, 2, False)
    assert gains_table(made(unfused[0], row("ipc", seconds=some(4)))).splitlines()[-1].split()[3] == "-"


def test_a_step_of_pc_and_z_il_against_one_of_ipc():
    found = steps(synthetic.everything((8,), (64,)))
    wanted = {"pc": (9, 1.02), "zil": (8, 0.98)}
    assert {step["execution"] for step in found} == {"serial", "layer-parallel"}
    for step in found:
        if step["depth"] == 8:
            count, ratio = wanted[step["algorithm"]]
            assert (step["steps"], step["ratio"]) == (count, pytest.approx(ratio))
            assert step["seconds"] / step["ipc"] == pytest.approx(ratio)
            assert step["low"] == pytest.approx(step["high"]) == pytest.approx(ratio)
    # The same time is that of fewer steps with another T, and is never set against other workers.
    ipc, pc = row("ipc", seconds=some(1)), row("pc", seconds=some(9), steps=2)
    (step,) = steps(made(ipc, pc))
    assert (step["steps"], step["ratio"]) == (3, 3)
    with pytest.raises(InputError):
        steps(made(ipc, pc | {"execution": "layer-parallel", "workers": 2}))
    with pytest.raises(InputError):
        steps(made(row("ipc", "jax", 1), pc | {"execution": "jax"}))  # a peer's step is not ours


def test_an_algorithm_from_outside_alone_beside_bp_has_ratios_of_its_own():
    rows = [row("bp"), row("half", seconds=some(0.5))]
    assert subject(made(*rows)) == "half"
    (pair,) = pairs(made(*rows))
    assert (pair["algorithm"], pair["verdict"]) == ("half", "half faster")
    assert pair["ratio"] == pytest.approx(0.5, rel=0.02)
    assert definition("best-bp", made(*rows)).endswith("below 1, half is faster; half is the fastest of each cell, too")
    assert "half by" in verdicts(made(*rows))
    assert "half loses in none of them" in " ".join(summary(made(*rows)))
    # Beside iPC it has none, and of several there is no saying whose ratio is meant.
    (pair,) = pairs(made(*rows, row("ipc", seconds=some(0.25))))
    assert (pair["algorithm"], pair["ratio"]) == ("ipc", pytest.approx(0.25, rel=0.02))
    with pytest.raises(InputError, match="no cell has times of both iPC and BP"):
        pairs(made(*rows, row("third", seconds=some(0.25))))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("net", "64-8-64"), ("steps_per_batch", 8), ("start", "pipelined"), ("optimizer", "adam"), ("momentum", 0.99),
        ("weight_decay", 0.1), ("data", "fashion-mnist"),
    ],
)  # fmt: skip
def test_what_tells_cells_apart_is_never_put_together(field, value, tmp_path):
    plain = [synthetic.row("ipc", "serial", 1.0, 2, 64), synthetic.row("bp", "serial", 2.0, 2, 64)]
    other = [synthetic.row(name, "serial", 3.0, 2, 64, **{field: value}) for name in ("ipc", "bp")]
    usual = [one | USUAL for one in plain]
    known = Results(tmp_path / "r.jsonl", {}, latest([*plain, *other]))
    assert [round(pair["ratio"], 6) for pair in pairs(known)] == [0.5, 1.0]
    assert [getattr(cell, field) for cell in cells(known)] == [cell_of(plain[0])._asdict()[field], value]
    # A file that says what is usual is of the same cells as an older one that says nothing.
    assert [cell_of(one) for one in usual] == [cell_of(one) for one in plain]
    assert len(latest([*plain, *usual])) == 2
    with pytest.raises(InputError, match="no cell has times of both"):  # the twin: a side is missing in either cell
        pairs(Results(tmp_path / "r.jsonl", {}, [plain[0], other[1]]))
