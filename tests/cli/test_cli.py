"""The command line as a user meets it: exit codes, one line for bad input, files kept after an interrupt."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pcsim.results.fields import CURVES
from pcsim.results.files import read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"
BENCH = ["bench", "--depths", "2", "3", "--widths", "8", "--batches", "1", "--seconds", "0.02", "--baselines", "serial"]
BENCH += ["--workers", "1", "--no-pin"]
TRAIN = ["train", "--samples", "20", "--updates", "5", "--hidden", "6", "--algorithms", "bp", "ipc", "--workers", "1"]


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
    assert "go on with --resume" in err
    kept = read(path).rows
    assert len(kept) >= 2
    assert not read(path).warnings


def test_count_prints_table_4(pcsim):
    code, out, _ = pcsim("count", "--depths", 4, "--steps", 8, "--workers", 1, 2)
    assert code == 0
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("BP", "PC", "Z-IL", "iPC"))]
    assert [row[:1] + row[-6:-2][:2] for row in rows] == [
        ["BP", "7", "7"],
        ["PC", "56", "16"],
        ["Z-IL", "21", "6"],
        ["iPC", "7", "2"],
    ]
    code, out, _ = pcsim("count", "--depths", 4, "--algorithms", "ipc", "--json", "-")
    assert json.loads(out)[0]["smm"] == 2


def test_train_tells_and_draws(pcsim, tmp_path):
    code, out, _ = pcsim(*TRAIN, "--out", tmp_path / "c.jsonl", "--figure", tmp_path / "c.svg")
    assert code == 0
    assert "all updates made" in out
    rows = read(tmp_path / "c.jsonl", CURVES).rows
    assert [row["algorithm"] for row in rows] == ["bp", "ipc"]
    assert len(rows[0]["loss"]) == 5
    code, _, err = pcsim(*TRAIN, "--out", tmp_path / "c.jsonl", "--resume")
    assert (code, err.count("already trained")) == (0, 2)
    assert pcsim("plot", tmp_path / "c.jsonl", "--out", tmp_path / "again.png")[0] == 0


def test_train_survives_and_names_divergence(pcsim, tmp_path):
    code, out, _ = pcsim(*TRAIN, "--alpha", 50, "--updates", 60, "--out", tmp_path / "c.jsonl", "--activation", "relu")
    assert code == 0
    assert "diverged at update" in out
    assert read(tmp_path / "c.jsonl", CURVES).rows[1]["diverged"] is not None


def test_a_data_folder_that_is_not_there_is_told(pcsim, monkeypatch, tmp_path):
    monkeypatch.setenv("PCSIM_DATA", str(tmp_path / "nowhere"))
    code, out, err = pcsim(*TRAIN)
    assert (code, out) == (2, "")
    assert "PCSIM_DATA" in err


def test_until_loss_is_per_sample(pcsim):
    code, out, _ = pcsim(*TRAIN, "--updates", 400, "--optimizer", "adam", "--alpha", 0.01, "--until-loss", 0.3)
    assert code == 0
    assert out.count("loss 0.3 reached") == 2


def test_doctor_gives_findings(pcsim, tmp_path):
    code, out, _ = pcsim("doctor")
    assert code in (0, 1)
    assert "hand-over" in out
    assert pcsim("doctor", "--json", tmp_path / "d.json")[0] in (0, 1)
    assert json.loads((tmp_path / "d.json").read_text())["checks"]


BAD = {
    "no verb": [],
    "unknown verb": ["bench-mark"],
    "depth 0": ["bench", "--depths", "0"],
    "width -1": ["bench", "--widths", "-1"],
    "no number": ["bench", "--widths", "wide"],
    "unknown algorithm": ["bench", "--algorithms", "bpp"],
    "too many workers": ["bench", "--workers", "10000"],
    "no workers": ["bench", "--workers", "0"],
    "too much memory": ["bench", "--depths", "64", "--widths", "300000"],
    "no such folder": ["bench", "--out", "missing/results.jsonl"],
    "a folder": ["bench", "--out", "."],
    "existing results": ["bench", "--out", str(FIXTURE)],
    "resume without a file": ["bench", "--resume"],
    "resume another file": ["bench", "--resume", "--out", __file__],
    "unknown backend": ["bench", "--backend", "grid"],
    "negative rate": ["train", "--alpha", "-1"],
    "rate NaN": ["train", "--gamma", "nan"],
    "no such data": ["train", "--data", "nowhere"],
    "NaN in the data": ["train", "--data", "nan.npz"],
    "too many samples": ["train", "--samples", "1000000"],
    "batch too large": ["train", "--batch-size", "251"],
    "batch without steps": ["train", "--batch-size", "10", "--algorithms", "ipc"],
    "net too large": ["train", "--hidden", "99999999"],
    "sizes and depths": ["train", "--sizes", "4", "--depths", "2"],
    "figure of no type": ["train", "--figure", "curves.gif"],
    "no results": ["report", "missing.jsonl"],
    "not a results file": ["report", __file__],
    "cut header": ["report", "cut.jsonl"],
    "unknown denominator": ["report", str(FIXTURE), "--denominator", "cuda"],
    "plot of no type": ["plot", str(FIXTURE), "--out", "x.gif"],
    "plot into nowhere": ["plot", str(FIXTURE), "--out", "missing/x.png"],
    "depth beyond memory": ["count", "--depths", "1000000000"],
    "workers 0": ["count", "--workers", "0"],
    "json into nowhere": ["count", "--json", "missing/x.json"],
}


@pytest.mark.parametrize("words", BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_exit_code_2(pcsim, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    x = np.zeros((300, 4), np.float32)
    x[7, 2] = np.nan
    np.savez(tmp_path / "nan.npz", x=x, y=np.arange(300) % 3)
    (tmp_path / "cut.jsonl").write_bytes(FIXTURE.read_bytes()[:40])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}
    stored = FIXTURE.read_bytes()
    code, out, err = pcsim(*words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("pcsim")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before
    assert FIXTURE.read_bytes() == stored


def test_a_closed_pipe_is_no_crash():
    command = f"{sys.executable} -m pcsim count --depths {' '.join(map(str, range(2, 60)))} | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_help_imports_nothing_slow():
    slow = ("numba", "scipy", "pandas", "matplotlib", "rich")
    code = f"import sys, pcsim.cli.main as c; c._parser().format_help(); print([m for m in {slow} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]", done.stderr
