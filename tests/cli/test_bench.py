"""bench as a user meets it: its table and file, what is measured again, and what an interrupt leaves."""

import signal
import subprocess
import sys
import time

import pytest

from pcsim.bench.sweep import QUICK
from pcsim.results.files import read

pytestmark = pytest.mark.slow


# One worker: with more, how many contenders are timed is the host's to say.
CELLS = ["--depths", "2", "3", "--widths", "8", "--batches", "1", "--baselines", "serial", "--workers", "1"]
BENCH = ["bench", *CELLS, "--seconds", "0.02", "--launches", "1"]


@pytest.fixture(scope="module")
def bench_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "results.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "pcsim", *BENCH, "--out", path], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return path, done


def test_bench_prints_the_table_and_writes_the_file(bench_file):
    path, done = bench_file
    assert "below 1, iPC is faster" in done.stdout
    assert "SMMs (counted)" in done.stdout
    assert f"results file: {path}" in done.stdout
    results = read(path)
    assert len(results.rows) == 4
    assert all(row["error"] is None and row["median"] > 0 for row in results.rows)
    assert results.context["ceilings"]
    assert results.context["command"][0] == "pcsim"
    assert all(line.startswith("pcsim bench: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize(
    "words",
    [["report"], ["report", "--show", "details"], ["report", "--show", "verdicts", "--format", "csv"], ["plot"]],
)
def test_what_bench_writes_can_be_shown(pcsim, bench_file, tmp_path, words):
    extra = ["--out", tmp_path / "figure.png"] if words[0] == "plot" else []
    code, out, err = pcsim(words[0], bench_file[0], *words[1:], *extra)
    assert (code, err) == (0, "")
    assert out
    if extra:
        assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_resume_measures_only_what_is_missing(pcsim, bench_file, tmp_path):
    lines = bench_file[0].read_text().splitlines(keepends=True)
    cut = tmp_path / "cut.jsonl"
    cut.write_text("".join(lines[:4]) + lines[4][:50])  # three rows, and a fourth that a crash has cut
    code, out, err = pcsim(*BENCH, "--out", cut, "--resume")
    assert code == 0
    assert "depth 2, width 8, batch 1 (already measured)" in err
    assert "cut in the middle" in err
    rows = read(cut).rows
    assert [row["depth"] for row in rows] == [2, 2, 3, 3, 3]  # the incomplete cell again, as a whole
    assert "SMMs" in out


def test_an_interrupted_bench_keeps_its_cells_and_goes_on(tmp_path):
    path = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "pcsim", *BENCH, "--out", str(path)]
    command[command.index("--depths") + 1 : command.index("--widths")] = [str(L) for L in range(2, 40)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (path.exists() and len(path.read_text().splitlines()) > 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "continue with --resume" in err
    kept = read(path).rows
    assert len(kept) >= 2
    assert not read(path).warnings


def test_a_disk_that_fills_up_keeps_what_was_measured(pcsim, full_after_one_row, tmp_path):
    code, out, err = pcsim(*BENCH, "--out", tmp_path / "r.jsonl")
    assert (code, out) == (1, "")
    assert "No space left on device; what was finished is kept in " in err
    assert len(read(tmp_path / "r.jsonl").rows) == 1


def test_one_cell_is_one_line(pcsim):
    code, out, _ = pcsim(*BENCH, "--depths", 2)
    assert code == 0
    first, second, *_ = out.splitlines()
    assert first.startswith("iPC ÷ best BP, measured seconds per weight update: ")
    assert second.startswith("Source: ")
    ratio = first.split(": ")[1].split(" ")[0]
    assert out.count(f": {ratio} (") == 1
    assert "Best ratio" not in out


def test_a_quick_look_marks_its_rows(pcsim, tmp_path):
    code, out, _ = pcsim(*BENCH, "--quick", "--out", tmp_path / "quick.jsonl")
    assert code == 0
    assert out.startswith(QUICK)
    rows = read(tmp_path / "quick.jsonl").rows
    assert {(row["depth"], row["width"]) for row in rows} == {(2, 8), (3, 8)}  # what is told goes before
    assert all(QUICK in row["warnings"] for row in rows)
    assert QUICK in pcsim("report", tmp_path / "quick.jsonl", "--show", "details")[1]


def test_a_quick_look_is_one_process(pcsim):
    code, out, err = pcsim("bench", "--quick", "--launches", 2)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_rows_say_muon(pcsim, tmp_path):
    path = tmp_path / "muon.jsonl"
    code, _, err = pcsim(*BENCH, "--quick", "--optimizer", "muon", "--algorithms", "ipc", "bp", "--out", path)
    assert code == 0, err
    rows = read(path).rows
    assert {(row["algorithm"], row["optimizer"], row["error"]) for row in rows} == {
        ("ipc", "muon", None), ("bp", "muon", None)
    }  # fmt: skip
    assert all(row["smm_full"] > 15 for row in rows)
