"""calibrate, simulate and validate as a user meets them: what is written, refused, kept, and said beside it."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
import ranks

from pcsim.calibration import calibrate, validate
from pcsim.host.context import usable_cores
from pcsim.predict.machine_files import load
from pcsim.results.files import read

CALIBRATE = ["calibrate", "--widths", "16", "64", "--batches", "1", "8", "--workers", "1", "--no-pin"]
VALIDATE = ["--depths", "2", "--widths", "32", "--batches", "1", "--workers", "1", "--seconds", "0.05", "--no-pin"]
ONE = ["--depths", "4", "--widths", "64", "--workers", "2"]


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A machine file of this host, from the command line."""
    path = tmp_path_factory.mktemp("machine") / "host.json"
    done = subprocess.run(
        [sys.executable, "-m", "pcsim", *CALIBRATE, "--name", "this host", "--out", path],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return path, done


# calibrate


def test_calibrate_writes_a_machine_and_says_so(calibrated):
    path, done = calibrated
    assert f"machine file: {path}" in done.stdout
    assert "machine this host: " in done.stdout
    assert all(line.startswith("pcsim calibrate: ") for line in done.stderr.splitlines())
    machine = load(path)
    assert machine.name == "this host"
    assert machine.calibrated["workers"] == [1]
    assert machine.calibrated["batches"] == [1, 8]


def test_calibrate_refuses_what_exists_before_it_measures(pcsim, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate, "calibrate", lambda **_: pytest.fail("it measured"))
    path = tmp_path / "host.json"
    path.write_text("mine")
    code, out, err = pcsim(*CALIBRATE, "--out", path)
    assert (code, out) == (2, "")
    assert "exists already" in err
    assert path.read_text() == "mine"


def test_an_interrupted_calibration_writes_nothing_and_says_so(tmp_path):
    path = tmp_path / "host.json"
    words = [sys.executable, "-m", "pcsim", "calibrate", "--out", str(path), "--no-pin"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "calibrating: " in line and not line.split("calibrating: ")[1].startswith("0 "):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, err.splitlines()[-1]) == ("", "pcsim calibrate: interrupted; nothing was written")
    assert list(tmp_path.iterdir()) == []


def test_ranks_add_what_messages_cost(tmp_path):
    path = tmp_path / "ranks.json"
    words = ["-m", "pcsim", *CALIBRATE, "--out", path]
    with ranks.Job(2, *words) as job:
        done = job.finish()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("machine file") == 1
    machine = load(path)
    assert machine.within is not None
    assert machine.within.one_way(1 << 20) > machine.within.one_way(8) >= 0
    assert machine.within.overhead + machine.within.one_way(8) > 0
    with ranks.Job(2, *words) as job:
        again = job.finish()
    assert again.returncode == 2
    assert again.stderr.count("exists already") == 1


# simulate


def test_simulate_predicts_a_sweep_on_a_preset(pcsim):
    code, out, err = pcsim("simulate", "server-64", "--depths", 2, 8, "--widths", 64, 256, "--workers", 1, 8)
    assert (code, err) == (0, "") or "predicting" in err
    assert out.startswith("machine server-64 (not calibrated), predicted\nratio = seconds")
    assert len([line for line in out.splitlines() if "serial on 1" in line or " on 8" in line]) == 8


def test_a_single_case_has_its_critical_path_in_words(pcsim):
    code, out, _ = pcsim("simulate", "server-64", *ONE)
    assert code == 0
    assert "critical path of ipc: " in out
    assert "% arithmetic" in out


def test_bp_lists_every_bp(pcsim):
    _, out, _ = pcsim("simulate", "server-64", *ONE, "--batches", 8, "--algorithms", "ipc", "bp")
    ladder = out.split("every BP, 4 × 64, batch 8, 2 workers")[1]
    assert [name for name in ("serial", "intra-layer", "pipeline", "data-parallel") if name not in ladder] == []


def test_every_file_says_the_machine_and_its_mark(pcsim, tmp_path):
    words = ["--gantt", tmp_path / "g.png", "--trace", tmp_path / "t.json", "--figure", tmp_path / "f.svg"]
    code, out, _ = pcsim("simulate", "server-64", *ONE, *words, "--out", tmp_path / "o.jsonl", "--sensitivity")
    assert code == 0
    assert "each figure doubled" in out
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
    trace = json.loads((tmp_path / "t.json").read_text())
    assert trace["otherData"]["source"] == "machine server-64 (not calibrated), predicted"
    assert "not calibrated" in trace["traceEvents"][0]["args"]["name"]
    results = read(tmp_path / "o.jsonl")
    assert {(row["kind"], tuple(row["warnings"])) for row in results.rows} == {("predicted", ("not calibrated",))}
    assert results.context["command"][0] == "pcsim"


@pytest.mark.parametrize("words", [["report"], ["report", "--show", "details"], ["plot"], ["plot", "--times"]])
def test_what_simulate_writes_can_be_shown(pcsim, tmp_path, words):
    path = tmp_path / "o.jsonl"
    assert pcsim("simulate", "server-64", "--depths", 2, 4, "--widths", 32, 64, "--workers", 2, "--out", path)[0] == 0
    extra = ["--out", tmp_path / "f.png"] if words[0] == "plot" else []
    code, out, err = pcsim(words[0], path, *words[1:], *extra)
    assert (code, err) == (0, "")
    assert "predicted" in out or extra


@pytest.mark.parametrize(("over", "many"), [("depth-width", 2), ("workers-latency", 4)])
def test_a_map_is_a_table_and_a_figure(pcsim, tmp_path, over, many):
    words = ["--depths", 2, 8, "--widths", 64, 256, "--workers", 2, 8, "--map", over, "--figure", tmp_path / "m.png"]
    code, out, _ = pcsim("simulate", "server-64", *words)
    assert code == 0
    assert out.startswith("machine server-64 (not calibrated), predicted")
    assert out.count("batch 1") == many
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


def test_csv_is_a_table_with_comments_alone(pcsim):
    _, out, _ = pcsim("simulate", "server-64", *ONE, "--format", "csv")
    lines = [line for line in out.splitlines() if not line.startswith("#")]
    assert lines[0].startswith("batch,depth,width,workers,iPC by,seconds")
    assert len(lines) == 2
    assert 0 < float(lines[1].split(",")[5]) < 1


def test_what_is_beyond_the_calibration_is_marked(pcsim, calibrated):
    path, _ = calibrated
    _, out, _ = pcsim("simulate", path, "--depths", 4, "--widths", 32, 4096, "--workers", 1)
    assert out.startswith("machine this host (calibrated), predicted")
    inside, outside = (line for line in out.splitlines() if "serial on 1" in line)
    assert "outside the calibrated range" not in inside
    assert outside.endswith("outside the calibrated range")


def test_a_machine_can_have_more_cores_and_other_figures(pcsim):
    words = ["--cores", 128, "--bandwidth", "scaled", "--set", "barrier=2", "memory bandwidth=0.5"]
    code, out, _ = pcsim("simulate", "server-64", "--depths", 128, "--widths", 64, "--workers", 128, *words)
    assert code == 0
    first = out.splitlines()[0]
    assert first.startswith("machine server-64")
    assert "128 cores" in first
    assert ", barrier × 2, memory bandwidth × 0.5 (not calibrated)" in first


# validate


@pytest.fixture(scope="module")
def checked(calibrated, tmp_path_factory):
    """A report card of the machine, from the command line."""
    path = tmp_path_factory.mktemp("card") / "card.json"
    words = [sys.executable, "-m", "pcsim", "validate", str(calibrated[0]), *VALIDATE, "--out", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return path, done


def test_validate_prints_the_card_and_keeps_it(checked, calibrated):
    path, done = checked
    assert "predicted against measured" in done.stdout
    assert f"report card: {path}" in done.stdout
    rows = validate.read(path, load(calibrated[0]))
    assert [(row.algorithm, row.depth, row.width) for row in rows] == [("ipc", 2, 32), ("bp", 2, 32)]


def test_a_card_goes_on_where_it_stopped(pcsim, checked, calibrated, tmp_path):
    path = tmp_path / "card.json"
    shutil.copy(checked[0], path)
    more = [*VALIDATE, "--out", path, "--resume"]
    more[more.index("--depths") + 1 : more.index("--widths")] = [2, 3]
    code, _, err = pcsim("validate", calibrated[0], *more)
    assert code == 0
    assert "depth 2, width 32, batch 1 (already measured)" in err
    assert [row.depth for row in validate.read(path)] == [2, 2, 3, 3]
    assert validate.read(path)[:2] == validate.read(checked[0])


def test_a_card_stands_beside_predictions(pcsim, checked, calibrated):
    _, out, _ = pcsim(
        "simulate", calibrated[0], "--depths", 4, "--widths", 32, "--workers", 1, "--validation", checked[0]
    )
    assert "; report card: times off by " in out.splitlines()[0]


def test_a_changed_machine_is_no_longer_the_one_that_was_checked(pcsim, checked, calibrated):
    words = ["--depths", 4, "--widths", 32, "--workers", 1, "--set", "flop rate=2", "--validation", checked[0]]
    _, out, _ = pcsim("simulate", calibrated[0], *words)
    first = out.splitlines()[0]
    assert "machine this host, flop rate × 2 (calibrated, then changed), predicted" in first
    assert first.endswith(", of the machine as it was measured")


def test_an_interrupted_validation_keeps_its_cells(calibrated, tmp_path):
    path = tmp_path / "card.json"
    words = [*VALIDATE, "--out", str(path)]
    words[words.index("--depths") + 1 : words.index("--widths")] = [str(L) for L in range(2, 40)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pcsim", "validate", str(calibrated[0]), *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not path.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"what was checked is kept in {path}; go on with --resume" in err
    assert validate.read(path)


def test_a_row_that_failed_is_exit_code_1(pcsim, calibrated, tmp_path, monkeypatch):
    class Broken:
        def __init__(self, case, runners, **_):
            self.runners = runners

        def measure(self, **_):
            good = {"median": 1e-6, "ci95": [1e-6, 1e-6], "error": None}
            return [good, *({**good, "error": "no"} for _ in self.runners[1:])]

    monkeypatch.setattr(validate, "Measurement", Broken)
    code, _, err = pcsim("validate", calibrated[0], *VALIDATE, "--out", tmp_path / "card.json")
    assert code == 1
    assert "failed: depth 2, width 32, batch 1: bp serial: no" in err


# What is refused

MANY = str(len(usable_cores()) + 1)
BAD = {
    "unknown machine": ["simulate", "nope"],
    "machine is no file": ["simulate", "nope.json"],
    "too many workers": ["simulate", "server-64", "--workers", "65"],
    "too many ranks": ["simulate", "server-64", "--workers", "2", "--ranks", "3"],
    "no messages": ["simulate", "server-64", "--workers", "4", "--ranks", "2", "--depths", "4"],
    "unknown figure": ["simulate", "server-64", "--set", "speed=2"],
    "figure without factor": ["simulate", "server-64", "--set", "barrier"],
    "unknown execution": ["simulate", "server-64", "--executions", "cuda"],
    "bandwidth without cores": ["simulate", "server-64", "--bandwidth", "scaled"],
    "gantt of many": ["simulate", "server-64", "--gantt", "g.png"],
    "figure of no type": ["simulate", "server-64", "--figure", "f.gif"],
    "out exists": ["simulate", "server-64", *ONE, "--out", "there.json"],
    "rows of several machines": ["simulate", "server-64", *ONE, "--out", "o.jsonl", "--latency-factors", "1", "2"],
    "no card": ["simulate", "server-64", "--validation", "missing.json"],
    "validate nothing": ["validate", "--out", "card.json"],
    "validate a preset": ["validate", "server-64", "--out", "card.json"],
    "validate exists": ["validate", "server-64", "--out", "there.json"],
    "validate too many": ["validate", "server-64", "--out", "card.json", "--workers", MANY],
    "calibrate too many": ["calibrate", "--out", "m.json", "--workers", MANY],
    "calibrate into nowhere": ["calibrate", "--out", "missing/m.json"],
    "calibrate without out": ["calibrate"],
}


@pytest.mark.parametrize("words", BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_exit_code_2(pcsim, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("mine\n")
    code, out, err = pcsim(*words)
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if "predicting" not in line and "compiling" not in line]
    assert len(lines) == 1, err
    assert lines[0].startswith("pcsim")
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]
    assert (tmp_path / "there.json").read_text() == "mine\n"


def test_an_unknown_machine_lists_the_presets(pcsim):
    _, _, err = pcsim("simulate", "nope")
    assert "presets are " in err
    assert "server-64" in err
