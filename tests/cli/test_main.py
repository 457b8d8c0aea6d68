"""The command line as a whole: one line for bad input, closed pipes, and what is imported for help."""

import os
import subprocess
import sys
import warnings
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
    "difference where nothing is judged": ["report", str(FIXTURE), "--show", "ladder", "--difference", "0.1"],
    "ledger of times": ["plot", str(FIXTURE), "--times", "--ledger", str(FIXTURE), "--out", "x.png"],
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


REFUSALS = {
    ("NUMBA_DISABLE_JIT", "1"): "pcsim's kernels exist only as compiled code: unset NUMBA_DISABLE_JIT",
    ("NUMBA_NUM_THREADS", "0"): "Numba refuses to start without threads, which pcsim does not use: "
    "unset NUMBA_NUM_THREADS",
    ("NUMBA_NUM_THREADS", "-2"): "Numba refuses to start without threads, which pcsim does not use: "
    "unset NUMBA_NUM_THREADS",
}
VERBS = {
    "bench": ["--depths", "2", "--widths", "8"],
    "train": ["--updates", "1"],
    "count": [],
    "simulate": ["ideal"],
    "calibrate": ["--out", "m.json"],
    "validate": ["m.json", "--out", "v.json"],
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("variable", REFUSALS)
def test_kernels_that_may_not_be_compiled_are_told_in_one_line(tmp_path, variable, verb):
    done = subprocess.run(
        [sys.executable, "-m", "pcsim", verb, *VERBS[verb]], cwd=tmp_path,
        env={**os.environ, **dict([variable])}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if verb == "validate":  # asks for the machine file first
        assert done.returncode == 2
    else:
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"pcsim {verb}: {REFUSALS[variable]}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("variable", REFUSALS)
def test_the_doctor_says_it_once(tmp_path, variable):
    done = subprocess.run(
        [sys.executable, "-m", "pcsim", "doctor"],
        env={**os.environ, **dict([variable])}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("fail")] == ["installation"]
    assert done.stdout.count(variable[0]) == 1
    assert "could not be examined" not in done.stdout


@pytest.mark.parametrize("text", ["first\nsecond", "first"])
def test_a_warning_is_one_line(pcsim, monkeypatch, text):
    def warns(arguments):
        warnings.warn(text, RuntimeWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("pcsim.cli.main.run_count", warns)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert pcsim("count") == (0, "", "pcsim count: first\n")


def test_an_interrupt_while_words_are_read_is_one_line(pcsim, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pcsim.cli.main.Parser.parse_args", interrupted)
    assert pcsim("count") == (130, "", "pcsim: interrupted\n")
