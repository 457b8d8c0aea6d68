"""What changed from one results file to another, in tables and in CSV."""

import csv

import pytest
from rows import failure, made, row, some

from pcsim.errors import InputError
from pcsim.report.changes import CAUTION, DEFINITION, HOURS, report, summary, too_slow
from pcsim.results.changes import changes, slower_than
from pcsim.results.statistics import Ledger, Spread


@pytest.fixture(scope="module")
def files():
    old = made(
        row("ipc", "layer-parallel", 2, seconds=some(1, 31, 0.001, 1)),
        row("ipc", seconds=some(2, 31, 0.001, 2)),
        row("bp", seconds=some(4, 31, 0.001, 3)),
        row("pc", steps=8),
        row("pc", steps=8, width=128),
        cpu_model="A",
        time="then",
    )
    new = made(
        row("ipc", "layer-parallel", 2, seconds=some(1.5, 31, 0.001, 4)),
        row("ipc", seconds=some(1.2, 31, 0.001, 5)),
        row("bp", seconds=some(4, 31, 0.001, 6)),
        failure("bp", "blas", 2),
        cpu_model="A",
        time="now",
    )
    return old, new


@pytest.mark.parametrize("format", ["text", "markdown"])
def test_everything_is_said_in_tables(files, format):
    text = report(*files, changes(*files), 0.03, format)
    assert DEFINITION in text
    assert CAUTION in text
    assert "OLD: made.jsonl, then, A" in text
    assert "iPC ÷ that of BP (execution best-bp" in text
    assert "- only in OLD: pc (T = 8) serial on 1: 8 × 64, batch 1; 8 × 128, batch 1" in text
    *_, counted, last = text.splitlines()
    assert counted == (
        "Of 3 contenders in both files: 1 faster, 1 slower, 1 show no difference larger than 3 %, 0 not resolved; "
        "2 compared with nothing."
    )
    assert last.startswith("This run can tell differences from 0.05 % on in the median cell and from 0.06 % on in the")
    verdicts = [line.strip("| ").split("|" if format == "markdown" else "  ")[-1].strip() for line in text.split("\n")]
    assert [v for v in verdicts if v in ("faster", "slower", "no difference larger than 3 %", "higher")] == [
        "no difference larger than 3 %",
        "slower",
        "faster",
        "higher",
    ]


def test_csv_is_one_table(files):
    lines = list(csv.DictReader(report(*files, changes(*files), 0.03, "csv").splitlines()))
    assert [line["compared"] for line in lines] == ["contender"] * 3 + ["ratio"] + ["missing"] * 2
    assert {line["verdict"] for line in lines[-2:]} == {"only in OLD"}
    assert float(lines[1]["new"]) / float(lines[1]["old"]) == pytest.approx(float(lines[1]["change"]))
    assert lines[3]["denominator"] == "best-bp"


def test_other_machines_and_versions_are_said(files):
    old, new = made(*files[0].rows, versions={"numpy": "1"}), made(*files[1].rows, versions={"numpy": "2"})
    text = report(old, new, changes(old, new), 0.03, apart=["CPU model (A → B)"])
    assert "machines differ in CPU model (A → B)" in text
    assert "also differs: numpy (1 → 2)" in text


def test_processes_need_no_caution():
    rows = [row("ipc", seconds=some(1 + launch / 99, seed=launch), launch=launch) for launch in range(4)]
    text = report(made(*rows), made(*rows), changes(made(*rows), made(*rows)), 0.03)
    assert CAUTION not in text
    assert "4 and 4 processes, within this hour" in text
    assert HOURS in text
    known = Ledger(5, Spread(), Spread())
    text = report(made(*rows), made(*rows), changes(made(*rows), made(*rows), ledger=known), 0.03)
    assert "4 and 4 processes" in text
    assert "hour" not in text
    assert "no cell has a ratio of iPC to BP in both files" in text


def test_what_is_too_slow_is_named(files):
    found = changes(*files)
    assert too_slow(slower_than(found, 1.05), 1.05) == (
        "slower than 1.05 or failed: ipc layer-parallel on 2, 8 × 64, batch 1 (1.50)"
    )
    gone = changes(made(row("ipc"), row("bp")), made(row("ipc"), failure("bp")))
    assert "bp serial on 1, 8 × 64, batch 1 (failed in NEW)" in too_slow(slower_than(gone, 1.05), 1.05)
    assert summary(gone, 0.03).startswith("Of 1 contender in both files:")


def test_an_unknown_format_is_refused(files):
    with pytest.raises(InputError, match="no format"):
        report(*files, changes(*files), 0.03, "html")
