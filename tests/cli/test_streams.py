"""Packed files, standard input and standard output, as a user meets them."""

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pcsim.results.files import read
from pcsim.streams import packed

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "results-small.jsonl"
CARD = ROOT / "benchmarks" / "results" / "validation-2-cores.json"
MACHINE = ROOT / "benchmarks" / "results" / "machine-2-cores.json"
CURVES = ROOT / "benchmarks" / "results" / "learning-adam.jsonl"
PNG = b"\x89PNG"


def through(*words, given=b""):
    """A pipe through pcsim: bytes out, text of standard error."""
    command = [sys.executable, "-m", "pcsim", *map(str, words)]
    done = subprocess.run(command, input=given, capture_output=True, cwd=ROOT, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout, done.stderr.decode()


@pytest.fixture
def feed(monkeypatch):
    def given(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return given


@pytest.mark.parametrize("pack", [bytes, packed, gzip.compress])
def test_reports_from_standard_input_and_from_packed_files(pcsim, feed, tmp_path, pack):
    wanted = pcsim("report", FIXTURE)
    feed(pack(FIXTURE.read_bytes()))
    assert pcsim("report", "-") == wanted
    (tmp_path / "results.jsonl.gz").write_bytes(pack(FIXTURE.read_bytes()))
    assert pcsim("report", tmp_path / "results.jsonl.gz") == wanted


def test_two_files_compared_one_of_them_piped(pcsim, feed):
    feed(FIXTURE.read_bytes())
    code, out, _ = pcsim("compare", "-", FIXTURE)
    assert code == 0
    assert "OLD: standard input" in out


@pytest.mark.parametrize("file", [FIXTURE, CURVES], ids=["results", "curves"])
def test_a_figure_through_a_pipe(file):
    out, err = through("plot", "-", "--out", "-", given=packed(file.read_bytes()))
    assert out.startswith(PNG)
    assert "figure: standard output" in err


def test_an_empty_pipe_is_one_line(pcsim, feed):
    for words in (["report", "-"], ["plot", "-", "--out", "-"], ["simulate", "-"]):
        feed(b"")
        code, out, err = pcsim(*words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "standard input: is empty" in err


def test_predictions_piped_into_a_report(tmp_path):
    sizes = ["--depths", 2, 4, "--widths", 64, "--workers", 2]
    out, err = through("simulate", "-", *sizes, "--out", "-", "--validation", CARD, given=packed(MACHINE.read_bytes()))
    assert "results file: standard output" in err
    assert "critical path" in err or "ratio" in err
    (tmp_path / "plain.jsonl").write_bytes(out)
    assert {row["kind"] for row in read(tmp_path / "plain.jsonl").rows} == {"predicted"}
    report, _ = through("report", "-", given=out)
    assert b"predicted, batch 1" in report


def test_machine_files_and_cards_are_read_packed(pcsim, tmp_path):
    (tmp_path / "m.json.gz").write_bytes(packed(MACHINE.read_bytes()))
    (tmp_path / "c.json.gz").write_bytes(packed(CARD.read_bytes()))
    words = ["--depths", 4, "--widths", 64, "--workers", 2, "--validation"]
    code, out, _ = pcsim("simulate", tmp_path / "m.json.gz", *words, tmp_path / "c.json.gz")
    assert code == 0
    assert "report card: times off by" in out
    assert out == pcsim("simulate", MACHINE, *words, CARD)[1]


def test_traces_and_counts_are_packed_by_name(pcsim, tmp_path):
    case = ["--depths", 4, "--widths", 64, "--workers", 2]
    assert pcsim("simulate", "ideal", *case, "--trace", tmp_path / "t.json.gz")[0] == 0
    assert json.loads(gzip.decompress((tmp_path / "t.json.gz").read_bytes()))["traceEvents"]
    assert pcsim("count", "--depths", 4, "--json", tmp_path / "n.json.gz")[0] == 0
    assert json.loads(gzip.decompress((tmp_path / "n.json.gz").read_bytes()))[0]["depth"] == 4


def test_learning_curves_on_standard_output(pcsim, tmp_path):
    words = ["train", "--depths", 2, "--hidden", 8, "--samples", 20, "--updates", 3, "--backend", "numpy"]
    code, out, err = pcsim(*words, "--out", "-")
    assert code == 0
    header, *rows = map(json.loads, out.splitlines())
    assert header["schema"] == "pcsim-curves/1"
    assert [row["algorithm"] for row in rows] == ["bp", "pc", "ipc"]
    assert "curves file: standard output" in err
    assert pcsim(*words, "--out", tmp_path / "c.jsonl.gz")[0] == 0
    assert len(gzip.decompress((tmp_path / "c.jsonl.gz").read_bytes()).splitlines()) == 4
    code, _, err = pcsim(*words, "--out", tmp_path / "c.jsonl.gz", "--resume")
    assert code == 0
    assert "already trained" in err


def test_a_reader_that_has_enough_is_no_error():
    words = "train --depths 2 --hidden 8 --samples 20 --updates 3 --backend numpy --record-every 1 --out -"
    steps = " ".join(map(str, range(1, 30)))
    command = f"set -o pipefail; {sys.executable} -m pcsim {words} --algorithms pc --steps {steps} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == "pcsim-curves/1"
    assert "Error" not in done.stderr
    assert "Broken" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "--out", "-", "--resume"],
        ["train", "--out", "-", "--resume"],
        ["validate", str(MACHINE), "--out", "-", "--resume"],
        ["validate", "-", "--calibrate", "--out", "-"],
        ["bench", "--out", "-", "--trace"],
        ["train", "--out", "-", "--figure", "-"],
        ["simulate", "-", "--validation", "-"],
        ["simulate", "ideal", "--out", "-", "--figure", "-"],
        ["compare", "-", "-"],
    ],
    ids=" ".join,
)
def test_where_a_stream_cannot_serve_one_line_says_so(pcsim, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = pcsim(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_bench_into_a_report(tmp_path):
    words = ["bench", "--depths", 2, "--widths", 16, "--batches", 1, "--workers", 1, "--baselines", "serial"]
    words += ["--launches", 1]
    out, err = through(*words, "--seconds", "0.05", "--out", "-")
    assert {json.loads(line)["algorithm"] for line in out.splitlines()[1:]} == {"ipc", "bp"}
    assert "results file: standard output" in err
    assert b"depth" in through("report", "-", given=out)[0]
    file = tmp_path / "r.jsonl.gz"
    through(*words, "--seconds", "0.05", "--out", file)
    file.write_bytes(file.read_bytes()[:-7])  # a crash
    assert "already measured" not in through(*words, "--seconds", "0.05", "--out", file, "--resume")[1]
    assert "already measured" in through(*words, "--seconds", "0.05", "--out", file, "--resume")[1]


def test_help_says_so(pcsim):
    assert "what ends in .gz is packed" in " ".join(pcsim("--help")[1].split())
