"""The report: tables in every format, verdicts with their evidence, and the summary."""

import copy
import csv
import itertools
from pathlib import Path

import pytest
import synthetic
from rows import failure, made, row, some

from pcsim import tables
from pcsim.cli import main
from pcsim.errors import InputError
from pcsim.report import words
from pcsim.report.promises import ONE_PROCESS, last_line
from pcsim.report.ratios import details, gains_table, ladder_table, speedups, step_costs, summary, table, verdicts
from pcsim.report.words import definition
from pcsim.results.files import Results, read
from pcsim.results.gains import gains, steps
from pcsim.results.pairs import (
    cells,
    ladder,
    pairs,
    scaling,
)
from pcsim.tables import scaled

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"
DEFINITION = "ratio = seconds per complete weight update of iPC ÷ that of BP (execution "


@pytest.fixture(scope="module")
def fixture():
    return read(FIXTURE)


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
        (steps, "no cell has PC, Z-IL or another algorithm beside iPC"),
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
    assert "\n~ no difference larger than 3 %, or not resolved" in second
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


def test_each_show_holds_its_numbers_in_every_format(tmp_path, capsys):
    results = synthetic.everything((2, 8), (64, 128))
    path = tmp_path / "all.jsonl"
    synthetic.store(results, path)
    stored = read(path)
    shows = {"ladder": (ladder_table, ladder), "gains": (gains_table, gains), "steps": (step_costs, steps)}
    for show, (call, data) in shows.items():
        for format in tables.FORMATS:
            assert main.main(["report", str(path), "--show", show, "--format", format]) == 0
            last = [] if format == "csv" else ["", *last_line(stored)]
            assert len(last) in (0, 2)
            assert capsys.readouterr().out == "\n".join([call(stored, format), *last, ""])
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
    assert lines[0] == "speedup = seconds of iPC with 1 worker ÷ with more; intervals: within one run"
    assert len(lines) == 5 + len(scaling(fixture))
    assert len(list(csv.DictReader(speedups(fixture, "csv").splitlines()))) == len(scaling(fixture))


def test_the_summary_tells_losses_doubts_and_failures(fixture):
    lines = summary(fixture, "best-bp")
    assert 5 <= len(lines) <= 10
    assert all("\n" not in line and line.endswith(".") for line in lines)
    text = "\n".join(lines)
    assert lines[0].startswith(DEFINITION)
    counted = "iPC is faster in 11, BP in 2; 0 show no difference larger than 3 %, 1 are not resolved"
    assert f"Of 14 measured cells {counted}." in lines
    best, worst = (line for line in lines if line.startswith(("Best", "Worst")))
    assert best.startswith(
        "Best ratio: 0.396 (0.391 to 0.404 within one run) at depth 16 × width 64, batch 1: 16.0 µs against"
    )
    assert worst.startswith("Worst ratio: 1.48")
    assert "iPC loses at depth 2 × width 64, batch 1 (1.29); depth 8 × width 64, batch 250 (1.48)." in lines
    assert "Source: Made-up CPU 2000, 2 usable cores, pcsim 0.1.0, made-up fixture" in text
    assert "Unsteady, to be measured again on a quieter machine or for longer: ipc layer-parallel at depth 16" in text
    assert "Failed: bp intra-layer at depth 8 × width 1024, batch 1 (ArithmeticError" in text


def test_the_summary_of_few_good_rows_has_nothing_to_excuse():
    lines = summary(made(row("ipc", seconds=some(0.5)), row("bp", seconds=some(1))))
    assert lines[4:7] == ["iPC loses in none of them.", f"{ONE_PROCESS}.", "Source: unknown CPU."]
    assert lines[-1].startswith("This run can tell differences from ")


def test_the_summary_passes_on_warnings_and_shortens_long_lists():
    bad = [failure("ipc", depth=depth) for depth in (2, 4, 16, 32, 64)]
    assert pairs(made(row("ipc"), row("bp"), *bad, row("bp", depth=2), bad[0] | {"median": 1.0}))[0]["depth"] == 8
    results = Results(Path("made.jsonl"), {}, [row("ipc"), row("bp"), *bad], ["line 9: was cut in the middle"])
    lines = summary(results)
    assert lines[-2] == "Note: line 9: was cut in the middle."
    assert lines[-3].startswith("Failed: ipc serial at depth 2 ")
    assert lines[-3].endswith("; and 2 more.")
    assert lines[-3].count("depth") == 3


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
