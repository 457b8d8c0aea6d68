"""The command line as a whole: one line for bad input, closed pipes, and what is imported for help."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"
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
    "gains of curves": ["plot", "curves.jsonl", "--gains", "--out", "x.png"],
    "denominator of curves": ["plot", "curves.jsonl", "--denominator", "numpy", "--out", "x.png"],
    "no curves": ["plot", "curves.jsonl", "--out", "x.png"],
    "unknown style": ["plot", str(FIXTURE), "--out", "x.png", "--style", "poster"],
    "too narrow": ["plot", str(FIXTURE), "--out", "x.png", "--width", "1"],
    "too wide": ["plot", str(FIXTURE), "--out", "x.png", "--width", "1e9"],
    "no width": ["train", "--figure", "x.png", "--width", "0"],
    "style of nothing": ["train", "--style", "talk"],
    "title of nothing": ["simulate", "ideal", "--title", ""],
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
    (tmp_path / "curves.jsonl").write_text('{"schema": "pcsim-curves/1", "context": {}}\n')
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


@pytest.mark.slow
def test_kernels_that_may_not_be_compiled_are_told_in_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "pcsim", "bench", "--depths", "2", "--widths", "8"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "pcsim bench: pcsim's kernels exist only as compiled code: unset NUMBA_DISABLE_JIT\n"


def test_an_interrupt_while_words_are_read_is_one_line(pcsim, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pcsim.cli.main.Parser.parse_args", interrupted)
    assert pcsim("count") == (130, "", "pcsim: interrupted\n")
