"""train as a user meets it: curves in words, files and figures."""

import pytest

from pcsim.results.fields import CURVES
from pcsim.results.files import read

pytestmark = pytest.mark.slow

TRAIN = ["train", "--samples", "20", "--updates", "5", "--hidden", "6", "--algorithms", "bp", "ipc", "--workers", "1"]


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


def test_nets_beyond_the_memory_are_refused_and_long_runs_announced(pcsim, monkeypatch, tmp_path):
    code, out, err = pcsim("train", "--depths", 100_000, "--hidden", 1000, "--out", tmp_path / "c.jsonl")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "GiB are available" in err
    assert not list(tmp_path.iterdir())
    assert "this may take" not in pcsim(*TRAIN)[2]
    monkeypatch.setattr("pcsim.cli.words.PATIENCE", 1e-9)
    monkeypatch.setattr("pcsim.cli.train.SLOW", 1.0)
    assert "pcsim train: this may take about " in pcsim(*TRAIN)[2]


def test_a_broken_calendar_leaves_no_file(pcsim, monkeypatch, tmp_path):
    monkeypatch.setattr("pcsim.IPC.calendar", lambda self, depth, steps_per_batch=None: 1 / 0)
    code, out, err = pcsim(*TRAIN, "--out", tmp_path / "c.jsonl")
    assert (code, out) == (2, "")
    assert err == "pcsim train: calendar of iPC at depth 3: ZeroDivisionError: division by zero\n"
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_keeps_what_was_trained(pcsim, full_after_one_row, tmp_path):
    code, out, err = pcsim(*TRAIN, "--out", tmp_path / "c.jsonl")
    assert (code, out) == (1, "")
    assert "No space left on device; what was finished is kept in " in err
    assert len(read(tmp_path / "c.jsonl", CURVES).rows) == 1
