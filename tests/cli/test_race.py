"""race as a user meets it."""

import csv
import io
import json
import re

import pytest

from pcsim.results.fields import RACE
from pcsim.results.files import read
from pcsim.results.races import load_race

pytestmark = pytest.mark.slow

FEW = [
    "race",
    "digits",
    "--trials",
    "2",
    "--seeds",
    "3",
    "--passes",
    "3",
    "--goals",
    "0.6",
    "0.7",
    "--backend",
    "numpy",
]


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    from pcsim.cli.main import main

    folder = tmp_path_factory.mktemp("race")
    words = [*FEW, "--machines", "server-64", "--out", str(folder / "r.jsonl"), "--figure", str(folder / "r.svg")]
    assert main(words) == 0
    return folder


def test_a_race_is_told_kept_and_drawn(raced, pcsim):
    known = read(raced / "r.jsonl", RACE)
    phases = [row["phase"] for row in known.rows]
    assert [phases.count(phase) for phase in ("race", "trial", "goals")] == [1, 6, 1]
    assert phases.count("final") % 3 == 0 and phases.count("predicted") == phases.count("final") / 3
    assert "<svg" in (raced / "r.svg").read_text()
    code, out, err = pcsim(*FEW, "--machines", "server-64", "--out", raced / "r.jsonl", "--resume")
    assert code == 0 and "tuning" not in err
    assert read(raced / "r.jsonl", RACE).rows == known.rows
    assert "to 60 % of the rows held out" in out
    assert re.search(r"span: ipc ÷ bp(-dwelling)? [\d.]+ \([\d.]+ to [\d.]+\), (fewer|more|not resolved)", out)
    assert "server-64, predicted" in out


def test_predicted_seconds_are_updates_times_those_of_an_update(raced):
    race, _ = load_race(raced / "r.jsonl")
    for row in race.predicted:
        assert 1e-7 < row["seconds"] < 1e-2
        assert row["joules"] > 0


def test_report_prints_a_race_again_and_leaves_its_file(raced, pcsim):
    before = (raced / "r.jsonl").read_bytes()
    code, out, _ = pcsim("report", raced / "r.jsonl")
    assert code == 0 and "to 60 % of the rows held out" in out
    code, out, _ = pcsim("report", raced / "r.jsonl", "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and {line["axis"] for line in lines} >= {"updates", "samples", "smm", "span", "span@1"}
    assert all(float(line["median"]) > 0 for line in lines if line["median"])
    assert (raced / "r.jsonl").read_bytes() == before
    code, out, err = pcsim("report", raced / "r.jsonl", "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_a_race_file_is_no_results_file(raced, pcsim):
    code, out, err = pcsim("compare", raced / "r.jsonl", raced / "r.jsonl")
    assert (code, out) == (2, "")
    assert "pcsim-race/1" in err


def test_another_race_is_not_carried_on(raced, pcsim):
    before = (raced / "r.jsonl").read_bytes()
    code, out, err = pcsim(*FEW, "--trials", 3, "--out", raced / "r.jsonl", "--resume")
    assert (code, out) == (2, "")
    assert "holds another race: its trials are 2, not 3" in err
    rows = [json.loads(line) for line in (raced / "r.jsonl").read_bytes().splitlines()]
    assert [row for row in rows if "resumed" not in row] == [
        json.loads(line) for line in before.splitlines() if b'"resumed"' not in line
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--contenders", "ipc"], "nobody in this race follows BP's gradient"),
        (["--contenders", "bp", "sgd"], "contender 'sgd' does not run in digits"),
        (["--goals", "90"], "a share of the rows held out"),
        (["--depth", "1"], "a depth of at least 2"),
        (["--resume"], "--resume requires --out"),
        (["--figure", "x.gif"], "x.gif"),
    ],
)
def test_races_that_cannot_be(pcsim, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = pcsim("race", "digits", "--backend", "numpy", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


def test_goals_that_no_bp_reaches_leave_the_trials(pcsim, tmp_path):
    code, _, err = pcsim(*FEW, "--goals", "0.9999", "--out", tmp_path / "r.jsonl")
    assert code == 1
    assert "no BP reached any of the goals 0.9999" in err and "--resume" not in err
    assert [row["phase"] for row in read(tmp_path / "r.jsonl", RACE).rows] == ["race", *["trial"] * 4]


def test_full_data_that_is_not_there_is_one_line(pcsim, tmp_path, monkeypatch):
    monkeypatch.delenv("PCSIM_DATA", raising=False)
    monkeypatch.setattr("pcsim.training.data.SYSTEM_FASHION_MNIST", tmp_path)
    code, out, err = pcsim("race", "fashion-mlp", "--out", tmp_path / "r.jsonl")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "dataset-fashion-mnist" in err
    assert not (tmp_path / "r.jsonl").exists()
