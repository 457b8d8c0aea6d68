"""What the report says, held against the stored fixture and against rows made for one point each."""

import copy
import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import synthetic

from pcsim import tables
from pcsim.cli import main
from pcsim.errors import InputError
from pcsim.report import words
from pcsim.report.ratios import details, gains_table, ladder_table, speedups, step_costs, summary, table, verdicts
from pcsim.report.words import definition
from pcsim.results.files import Results, read
from pcsim.results.pairs import (
    LADDER,
    UNDECIDED,
    VERDICTS,
    cell_of,
    cells,
    failed,
    gains,
    interval,
    ladder,
    merged,
    pairs,
    representative,
    scaling,
    sides,
    steps,
    unsteady,
)
from pcsim.results.statistics import bootstrap_interval, ratio_interval
from pcsim.tables import scaled

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"
DEFINITION = "ratio = seconds per complete weight update of iPC ÷ that of BP (execution "


@pytest.fixture(scope="module")
def fixture():
    return read(FIXTURE)


def row(algorithm, execution="serial", workers=1, seconds=(1.0, 1.01, 1.02), **fields):
    """A good row; its samples are spread so little that any difference of medians shows."""
    seconds = list(seconds)
    depth = fields.get("depth", 8)
    return {
        "algorithm": algorithm,
        "execution": execution,
        "backend": "threads",
        "workers": workers,
        "depth": depth,
        "width": 64,
        "batch": 1,
        "steps": 1,
        "dtype": "float32",
        "activation": "tanh",
        "kind": "measured",
        "seconds": seconds,
        "median": float(np.median(seconds)) if seconds else None,
        "ci95": [min(seconds), max(seconds)] if seconds else None,
        "smm": 2 if algorithm == "ipc" else 2 * depth - 1,
        "warnings": [],
        "error": None,
    } | fields


def failure(*args, **fields):
    return row(*args, **fields) | {"seconds": [], "median": None, "ci95": None, "error": "MemoryError: no room"}


def some(median, count=9, spread=0.01, seed=0):
    """Samples around a median."""
    return median * (1 + spread * np.random.default_rng(seed).uniform(-1, 1, count))


def made(*rows, **context):
    return Results(Path("made.jsonl"), context, list(rows))


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
        auto = by_hand(fixture, cell, lambda row: row["algorithm"] == "ipc" and row.get("auto"))
        above = min(auto or by_hand(fixture, cell, lambda row: row["algorithm"] == "ipc"))
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
        assert pair["verdict"] == (UNDECIDED if doubtful else "iPC faster" if pair["ratio"] < 1 else "BP faster")


def test_the_fixture_has_wins_losses_and_doubts(fixture):
    found = {
        verdict: [pair for pair in pairs(fixture, "best-bp") if pair["verdict"] == verdict] for verdict in VERDICTS
    }
    assert [len(pairs) for pairs in found.values()] == [11, 2, 1]


def test_pairs_are_sorted_by_cell():
    cells = [(64, 1, 8), (8, 250, 2), (64, 1, 2), (8, 1, 8)]
    rows = [row(name, width=width, batch=batch, depth=depth) for width, batch, depth in cells for name in ("bp", "ipc")]
    found = [(pair["batch"], pair["depth"], pair["width"]) for pair in pairs(made(*rows))]
    assert found == [(1, 2, 64), (1, 8, 8), (1, 8, 64), (250, 2, 8)]


def test_auto_stands_for_ipc_even_where_another_row_is_faster():
    rows = [row("bp"), row("ipc", workers=1, seconds=some(0.5)), row("ipc", "layer-parallel", 2, some(0.7), auto=True)]
    (pair,) = pairs(made(*rows))
    assert (pair["workers"], pair["execution"]) == (2, "layer-parallel")
    (pair,) = pairs(made(*rows[:2], rows[2] | {"auto": False}))
    assert (pair["workers"], pair["execution"]) == (1, "serial")


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


def test_a_difference_counts_only_if_interval_and_rank_test_agree():
    # Two samples a side: the interval excludes 1, but no rank test can tell four numbers apart.
    (pair,) = pairs(made(row("ipc", seconds=[1.0, 1.1]), row("bp", seconds=[2.0, 2.1])))
    assert pair["high"] < 1
    assert pair["verdict"] == UNDECIDED
    # The ranks differ, but half of the rounds lie so close together that the medians may be anywhere there.
    near = np.linspace(0.95, 1.05, 6)
    (pair,) = pairs(made(row("ipc", seconds=[*near, *[0.5] * 5]), row("bp", seconds=[*near[::-1] - 0.01, *[2.0] * 5])))
    assert pair["p"] < 0.05
    assert pair["ratio"] < 1 < pair["high"]
    assert pair["verdict"] == UNDECIDED
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
    assert whole["median"] == np.median(np.concatenate([row["seconds"] for row in ipc]))
    sides = [np.concatenate([row["seconds"] for row in rows]) for rows in (ipc, bp)]
    assert (whole["ratio"], whole["low"], whole["high"]) == ratio_interval(*sides, launches=3)
    assert (whole["low"], whole["high"]) != ratio_interval(*sides)[1:]
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
        assert line == f"ratio = seconds per complete weight update {words_of_it} is faster"
        assert line.split("; ")[-1] == f"below 1, {sides(denominator)[0]} is faster"


def test_what_launches_have_in_common_is_put_together():
    rows = [
        row("bp", "jax", 1, some(time), launch=n, flop_rate=rate, variant=name)
        for n, (time, rate, name) in enumerate(((1.0, 3.0, "b"), (1.5, 1.0, "a"), (2.0, 2.0, "b")))
    ]
    (whole,) = merged(rows, "bp")
    assert (whole["flop_rate"], whole["variant"], whole["launches"]) == (2.0, "a, b", 3)
    assert interval(whole) == bootstrap_interval(np.concatenate([row["seconds"] for row in rows]))
    assert unsteady(whole)
    assert not any(unsteady(row) for row in rows)
    (single,) = merged(rows[:1], "bp")
    assert (single["flop_rate"], single["variant"], interval(single)) == (3.0, "b", tuple(rows[0]["ci95"]))


def test_the_report_needs_something_to_report():
    for results, said in (
        (made(), "holds no rows"),
        (made(row("ipc")), "no cell has times of both"),
        (made(row("bp"), failure("ipc")), "no cell has times of both"),
    ):
        for call in (pairs, table, verdicts, summary):
            with pytest.raises(InputError) as caught:
                call(results)
            assert said in str(caught.value)
            assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="choose one of best-bp, paper-style, serial"):
        pairs(made(row("bp"), row("ipc")), "torch")
    with pytest.raises(InputError, match="holds no rows"):
        details(made())
    for call, said in (
        (scaling, "1 worker and with more"),
        (ladder, "holds no BP"),
        (gains, "no cell has iPC serial-unfused"),
        (steps, "no cell has PC or Z-IL beside iPC"),
    ):
        with pytest.raises(InputError, match=said):
            call(made(row("ipc")))


# --- tables ---


def test_the_table_of_the_fixture(fixture):
    text = table(fixture, "best-bp")
    assert text.startswith(DEFINITION + "best-bp")
    first, second = text.split("measured, batch ")[1:]
    assert [line.split() for line in first.splitlines()[2:8]] == [
        ["depth", "width", "64", "width", "256", "width", "1024", "SMMs", "(counted)"],
        ["2", "1.29", "0.828", "0.657", "0.667"],
        ["4", "0.414", "0.587", "0.652", "0.286"],
        ["8", "0.404", "0.593", "0.615", "0.133"],
        ["16", "0.396", "~0.744!", "0.657", "0.0645"],
        ["32", "-", "-", "error", "-"],
    ]
    assert second.startswith("250, float32, tanh")
    assert f"\n~ {UNDECIDED}: the 95 % interval holds 1, or p ≥ 0.05" in second
    assert second.rstrip().splitlines()[-1].startswith("! one of the two times is unsteady")
    assert "~" not in table(fixture, "paper-style")


def test_the_table_says_which_bp_was_the_best(fixture):
    # In one cell the serial BP is made the fastest.
    quick = [
        row | {"seconds": [s / 9 for s in row["seconds"]], "median": row["median"] / 9}
        if (row["execution"], row["algorithm"], row["depth"], row["width"]) == ("serial", "bp", 16, 256)
        else row
        for row in fixture.rows
    ]
    fixture = Results(fixture.path, fixture.context, quick)
    for text in (table(fixture), table(fixture, format="markdown")):
        tables = text.split("the fastest BP, and on how many workers\n\n")[1:]
        assert len(tables) == 2
        (line,) = [line for line in tables[0].splitlines() if line.strip("| ").startswith("16 ")]
        entries = line.strip("|").split("|") if "|" in line else line.split("  ")
        best = {pair["width"]: pair for pair in pairs(fixture) if (pair["batch"], pair["depth"]) == (1, 16)}
        wanted = [f"{best[width]['other_execution']} {best[width]['other_workers']}" for width in (64, 256, 1024)]
        assert [entry.strip() for entry in entries if entry.strip()] == ["16", *wanted]
        assert wanted[:2] == ["intra-layer 2", "serial 1"]
    assert "fastest BP" not in table(fixture, "paper-style")
    assert "on how many" not in table(fixture, format="csv")
    text = table(synthetic.everything((2,), (64,)), "peer-ipc")
    assert "the fastest peer's iPC, and on how many workers\n\ndepth  width 64\n    2     jax 2" in text


def test_a_table_without_any_ratio_is_left_out():
    results = synthetic.everything((2,), (64,))
    assert "batch 250" in table(results)
    assert "batch 250" not in table(results, "ipc:serial-unfused")  # which was run at batch 1 only


def test_columns_of_the_text_are_aligned(fixture):
    for text in (table(fixture), verdicts(fixture), details(fixture), speedups(fixture)):
        assert not any(line != line.rstrip() for line in text.splitlines())
    block = table(fixture).split("\n\n")[2].splitlines()
    assert len({len(line) for line in block}) == 1


def test_formats_say_the_same(fixture):
    text = table(fixture, "best-bp").split("\n\n")[2].splitlines()
    markdown = table(fixture, "best-bp", "markdown").split("\n\n")[2].splitlines()
    assert markdown[1] == "| --: | --: | --: | --: | --: |"
    del markdown[1]
    for plain, piped in zip(text[1:], markdown[1:], strict=True):
        assert plain.split() == [entry.strip() for entry in piped.strip("|").split("|")]
    first, *rest = table(fixture, "best-bp", "csv").splitlines()
    assert first == f"# {words.definition('best-bp')}"
    stored = list(csv.DictReader(rest))
    for plain, line in zip(text[1:], stored, strict=False):
        assert plain.split() == [
            line["depth"],
            *(line[f"width {width}"] for width in (64, 256, 1024)),
            line["SMMs (counted)"],
        ]
    wide = [list(line.values())[3:8] for line in stored if line["batch"] == "250"]
    assert wide == [["250", "2", "0.795", "-", "-"], ["250", "8", "1.48", "-", "-"]]
    with pytest.raises(InputError, match="text, markdown, csv"):
        table(fixture, format="html")


def test_verdicts_show_the_evidence_for_each_cell(fixture):
    stored = list(csv.DictReader(verdicts(fixture, "best-bp", "csv").splitlines()))
    found = pairs(fixture, "best-bp")
    assert [float(line["ratio"]) for line in stored] == [pair["ratio"] for pair in found]
    text = verdicts(fixture, "best-bp").splitlines()
    assert text[0].startswith(DEFINITION)
    assert text[2] == "measured, float32 tanh"
    for line, pair in zip(text[5:], found, strict=True):
        assert pair["verdict"] in line
        assert f"{pair['other_execution']} on {pair['other_workers']}" in line
        assert scaled(pair["median"]) in line


def test_kinds_side_by_side_are_marked():
    rows = [row(name, kind=kind) for name, kind in itertools.product(("bp", "ipc"), ("measured", "predicted"))]
    for text in (verdicts(made(*rows)), details(made(*rows))):
        assert text.count("measured") == text.count("predicted") > 0
        assert "kind" in text
    assert "predicted, batch 1" in table(made(*rows))


def test_details_have_a_line_for_every_row(fixture):
    stored = list(csv.DictReader(details(fixture, "csv").splitlines()))
    assert len(stored) == len(fixture.rows)
    medians = [row["median"] for rows in cells(fixture).values() for row in rows]
    assert [float(line["median"]) if line["median"] else None for line in stored] == medians
    text = details(fixture)
    assert len(text.splitlines()) == len(fixture.rows) + 3
    assert "2 (auto)" in text
    assert "error: MemoryError: made-up failure" in text
    assert "unsteady: repeat" in text
    (line,) = details(made(row("bp", bandwidth=3.21e10, roofline=0.654, mm=15, smm=15))).splitlines()[3:]
    assert " ".join(line.split()) == "1 8 64 bp serial 1 1.01 s 1.00 s to 1.02 s 15 15 - 32.1 65%"
    odd = details(made(row("bp", warnings=["two\nlines | and a pipe"])), "markdown")
    assert odd.splitlines()[-1].endswith("| two lines \\| and a pipe |")


def test_times_have_three_digits_and_a_unit():
    assert [scaled(seconds) for seconds in (None, 1.5e-9, 999.96e-6, 5.213e-3, 0.2, 12.345, 123.4, 12345.6)] == [
        "-",
        "1.50 ns",
        "1.00 ms",
        "5.21 ms",
        "200 ms",
        "12.3 s",
        "123 s",
        "12346 s",
    ]


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


def test_the_ladder_as_a_table():
    rows = [
        row("bp", "blas", seconds=some(2e-3)),
        row("bp", seconds=some(1e-3)),
        row("bp", "jax", 1, some(3e-3), variant="donated"),
        failure("bp", "intra-layer", 2),
        row("bp", "torch", 1, some(1e-3), width=128, variant="compiled"),
        row("ipc", "layer-parallel", 2),
    ]
    lines = [line.split() for line in ladder_table(made(*rows)).splitlines()]
    assert lines[4] == ["batch", "depth", "width", "serial", "intra-layer", "blas", "torch", "jax"]
    assert lines[5] == ["1", "8", "64", "1.00", "ms", "*", "error", "2.00", "ms", "-", "3.01", "ms"]
    assert lines[6] == ["1", "8", "128", "-", "-", "-", "1.00", "ms", "*", "-"]
    assert ladder_table(made(*rows)).splitlines()[-1] == "variants: torch: compiled; jax: donated"
    # Once the failure is mended it is a time, and what is faster has the mark.
    mended = ladder_table(made(*rows, row("bp", "intra-layer", 2, some(5e-4)))).splitlines()[5]
    assert mended.split() == ["1", "8", "64", "1.00", "ms", "501", "µs", "*", "2.00", "ms", "-", "3.01", "ms"]
    piped = ladder_table(made(*rows), "markdown").splitlines()
    assert piped[6] == "| 1 | 8 | 64 | 1.00 ms * | error | 2.00 ms | - | 3.01 ms |"
    stored = list(csv.DictReader(ladder_table(made(*rows), "csv").splitlines()))
    assert len(stored) == 2 * 5
    assert [line["execution"] for line in stored if line["best"] == "True"] == ["serial", "torch"]
    assert [line["error"] for line in stored if line["error"]] == ["MemoryError: no room"]


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


def test_each_show_holds_its_numbers_in_every_format(tmp_path, capsys):
    results = synthetic.everything((2, 8), (64, 128))
    path = tmp_path / "all.jsonl"
    synthetic.store(results, path)
    stored = read(path)
    shows = {"ladder": (ladder_table, ladder), "gains": (gains_table, gains), "steps": (step_costs, steps)}
    for show, (call, data) in shows.items():
        for format in tables.FORMATS:
            assert main.main(["report", str(path), "--show", show, "--format", format]) == 0
            assert capsys.readouterr().out == call(stored, format) + "\n"
        lines = list(csv.DictReader(call(stored, "csv").splitlines()))
        found = data(stored)
        assert [list(line) for line in lines] == [list(entry) for entry in found]
        numbers = [name for name, value in found[0].items() if isinstance(value, float)]
        assert numbers
        for line, entry in zip(lines, found, strict=True):
            assert {name: float(line[name]) for name in numbers if line[name]} == {
                name: entry[name] for name in numbers if entry[name] is not None
            }
    factors = " ".join(gains_table(stored).splitlines()[-1].split()[-12:])
    assert factors == "2.40 2.40 to 2.40 1.85 1.85 to 1.85 4.00 4.00 to 4.00"
    assert step_costs(stored).count(" 1.02 to 1.02") == step_costs(stored).count(" pc ")
    assert main.main(["report", str(path)]) == 0
    assert capsys.readouterr().out.startswith(definition("best-bp"))
    assert main.main(["report", str(path), "--denominator", "ipc:pcx", "--show", "verdicts"]) == 0
    assert "pcx on 2" in capsys.readouterr().out
    assert main.main(["report", str(path), "--denominator", "ipc:numpy"]) == 2
    error = capsys.readouterr().err
    assert "no row is 'ipc:numpy'; choose one of best-bp" in error
    assert error.count("\n") == 1


def test_variants_are_named_where_they_ran():
    results = synthetic.everything((2,), (64,))
    assert "torch (compiled)" in details(results)
    stored = list(csv.DictReader(details(results, "csv").splitlines()))
    assert {line["variant"] for line in stored if line["execution"] == "torch"} == {"compiled"}
    assert {line["variant"] for line in stored if line["execution"] == "serial"} == {""}
    assert "torch on 2 (compiled)" in verdicts(results, "torch")


# --- scaling and summary ---


def test_scaling_is_one_worker_against_more():
    one, two, four = (
        row("ipc", execution, workers, some(time), smm_workers=count)
        for execution, workers, time, count in (
            ("serial", 1, 4, 15),
            ("layer-parallel", 2, 2, 8),
            ("layer-parallel", 4, 1.5, 4),
        )
    )
    found = scaling(made(four, row("bp"), one, two))
    assert [gain["workers"] for gain in found] == [2, 4]
    assert [gain["speedup"] for gain in found] == [pytest.approx(2, rel=0.01), pytest.approx(4 / 1.5, rel=0.01)]
    assert [gain["counted"] for gain in found] == [15 / 8, 15 / 4]
    for gain in found:
        assert gain["low"] <= gain["speedup"] <= gain["high"]
        assert gain["efficiency"] == gain["speedup"] / gain["workers"]
    assert scaling(made(one, two | {"smm_workers": None}))[0]["counted"] is None


def test_speedups_of_the_fixture(fixture):
    lines = speedups(fixture).splitlines()
    assert lines[0] == "speedup = seconds of iPC with 1 worker ÷ with more"
    assert len(lines) == 5 + len(scaling(fixture))
    assert len(list(csv.DictReader(speedups(fixture, "csv").splitlines()))) == len(scaling(fixture))


def test_the_summary_tells_losses_doubts_and_failures(fixture):
    lines = summary(fixture, "best-bp")
    assert 5 <= len(lines) <= 10
    assert all("\n" not in line and line.endswith(".") for line in lines)
    text = "\n".join(lines)
    assert lines[0].startswith(DEFINITION)
    assert f"Of 14 measured cells iPC is faster in 11, BP in 2, and 1 show {UNDECIDED}." in lines
    best, worst = (line for line in lines if line.startswith(("Best", "Worst")))
    assert best.startswith("Best ratio: 0.396 (0.391 to 0.404) at depth 16 × width 64, batch 1: 16.0 µs against")
    assert worst.startswith("Worst ratio: 1.48")
    assert "iPC loses at depth 2 × width 64, batch 1 (1.29); depth 8 × width 64, batch 250 (1.48)." in lines
    assert "Source: Made-up CPU 2000, 2 usable cores, pcsim 0.1.0, made-up fixture" in text
    assert "Unsteady, to be measured again on a quieter machine or for longer: ipc layer-parallel at depth 16" in text
    assert "Failed: bp intra-layer at depth 8 × width 1024, batch 1 (ArithmeticError" in text


def test_the_summary_of_few_good_rows_has_nothing_to_excuse():
    lines = summary(made(row("ipc", seconds=some(0.5)), row("bp", seconds=some(1))))
    assert lines[-2:] == ["iPC loses in none of them.", "Source: unknown CPU."]


def test_the_summary_passes_on_warnings_and_shortens_long_lists():
    bad = [failure("ipc", depth=depth) for depth in (2, 4, 16, 32, 64)]
    assert pairs(made(row("ipc"), row("bp"), *bad, row("bp", depth=2), bad[0] | {"median": 1.0}))[0]["depth"] == 8
    results = Results(Path("made.jsonl"), {}, [row("ipc"), row("bp"), *bad], ["line 9: was cut in the middle"])
    lines = summary(results)
    assert lines[-1] == "Note: line 9: was cut in the middle."
    assert lines[-2].startswith("Failed: ipc serial at depth 2 ")
    assert lines[-2].endswith("; and 2 more.")
    assert lines[-2].count("depth") == 3


def test_reports_are_pure(fixture):
    before = copy.deepcopy(fixture)
    for call in (table, verdicts, summary, pairs):
        assert call(fixture, "best-bp") == call(fixture, "best-bp")
    assert ladder_table(fixture) == ladder_table(fixture)
    assert fixture == before
    results = synthetic.everything((2,), (64,))
    before = copy.deepcopy(results)
    for call in (gains, steps, gains_table, step_costs):
        assert call(results) == call(results)
    assert results == before
