"""calibrate and validate as a user meets them: what is written, refused, kept, and said beside it."""

import shutil
import signal
import subprocess
import sys
import time

import pytest
import ranks

from pcsim.calibration import calibrate, validate
from pcsim.predict.machine_files import load

pytestmark = pytest.mark.slow


SMALL_CACHES = ranks.PROGRAMS / "small_caches.py"
CALIBRATE = ["calibrate", "--widths", "16", "64", "--batches", "1", "8", "--workers", "1", "--no-pin"]
VALIDATE = ["--depths", "2", "--widths", "32", "--batches", "1", "--workers", "1", "--seconds", "0.05", "--no-pin"]


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A machine file of this host, its caches small, from the command line."""
    path = tmp_path_factory.mktemp("machine") / "host.json"
    done = subprocess.run(
        [sys.executable, SMALL_CACHES, *CALIBRATE, "--name", "this host", "--out", path],
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
    words = [SMALL_CACHES, *CALIBRATE, "--out", path]
    with ranks.Job(2, *words) as job:
        done = job.finish()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("machine file") == 1
    machine = load(path)
    assert machine.within is not None
    # Of a busy machine what a message costs may be all overhead.
    assert machine.within.one_way(1 << 20) >= machine.within.one_way(8) >= 0
    assert machine.within.overhead + machine.within.one_way(1 << 20) > 0
    with ranks.Job(2, *words) as job:
        again = job.finish()
    assert again.returncode == 2
    assert again.stderr.count("exists already") == 1


def test_what_is_beyond_the_calibration_is_marked(pcsim, calibrated):
    path, _ = calibrated
    _, out, _ = pcsim("simulate", path, "--depths", 4, "--widths", 32, 4096, "--workers", 1)
    assert out.startswith("machine this host (calibrated), predicted")
    inside, outside = (line for line in out.splitlines() if "serial on 1" in line)
    assert "outside the calibrated range" not in inside
    assert outside.endswith("outside the calibrated range")


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
    assert f"what was checked is kept in {path}; continue with --resume" in err
    assert validate.read(path)


def test_a_row_that_failed_is_exit_code_1(pcsim, calibrated, tmp_path, monkeypatch):
    def broken(case, runners, **_):
        good = {"median": 1e-6, "ci95": [1e-6, 1e-6], "error": None}
        return [good, *({**good, "error": "no"} for _ in runners[1:])]

    monkeypatch.setattr(validate, "measure_cell", broken)
    code, _, err = pcsim("validate", calibrated[0], *VALIDATE, "--out", tmp_path / "card.json")
    assert code == 1
    assert "failed: depth 2, width 32, batch 1: bp serial: no" in err
