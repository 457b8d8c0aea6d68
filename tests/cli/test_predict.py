"""simulate as a user meets it: what is said, drawn and written, and what is refused."""

import json

import pytest

from pcsim.host.context import usable_cores
from pcsim.results.files import read

ONE = ["--depths", "4", "--widths", "64", "--workers", "2"]


def test_simulate_predicts_a_sweep_on_a_preset(pcsim):
    code, out, err = pcsim("simulate", "server-64", "--depths", 2, 8, "--widths", 64, 256, "--workers", 1, 8)
    assert code == 0
    progress = ("pcsim simulate: predicting: ", "pcsim simulate: compiling")
    assert [line for line in err.splitlines() if not line.startswith(progress)] == []
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
    if extra:
        assert extra[1].read_bytes().startswith(b"\x89PNG")
    else:
        assert "predicted" in out


@pytest.mark.parametrize(("over", "many"), [("depth-width", 2), ("workers-latency", 4)])
def test_a_map_is_a_table_and_a_figure(pcsim, tmp_path, over, many):
    words = ["--depths", 2, 8, "--widths", 64, 256, "--workers", 2, 8, "--map", over, "--figure", tmp_path / "m.png"]
    code, out, _ = pcsim("simulate", "server-64", *words)
    assert code == 0
    assert out.startswith("machine server-64 (not calibrated), predicted")
    assert out.count("batch 1") == many
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


def test_nets_and_changing_batches_are_predicted_and_kept(pcsim, tmp_path):
    path, figure = tmp_path / "o.jsonl", tmp_path / "f.png"
    words = ["--nets", "784-64-64-10", "--batches", 64, "--steps-per-batch", 2, 8, "--start", "forward", "pipelined"]
    words += ["--optimizer", "adam", "--workers", 2]
    code, out, _ = pcsim("simulate", "server-64", *words, "--out", path, "--figure", figure)
    assert code == 0
    rows = read(path).rows
    assert {row["net"] for row in rows} == {"784-64-64-10"}
    assert {(row["steps_per_batch"], row["start"]) for row in rows} == {
        (T, s) for T in (2, 8) for s in ("forward", "pipelined")
    }
    assert {(row["optimizer"], row["width"]) for row in rows} == {("adam", 784)}
    assert {row["execution"] for row in rows if row["algorithm"] == "ipc"} == {"intra-layer", "layer-parallel"}
    assert len([line for line in out.splitlines() if "784-64-64-10  2  " in line or "784-64-64-10  8  " in line]) == 4
    _, again, _ = pcsim("report", path)
    assert "784-64-64-10" in again


def test_csv_is_a_table_with_comments_alone(pcsim):
    _, out, _ = pcsim("simulate", "server-64", *ONE, "--format", "csv")
    lines = [line for line in out.splitlines() if not line.startswith("#")]
    assert lines[0].startswith("batch,depth,width,workers,iPC by,seconds")
    assert len(lines) == 2
    assert 0 < float(lines[1].split(",")[5]) < 1


def test_a_machine_can_have_more_cores_and_other_figures(pcsim):
    words = ["--cores", 128, "--bandwidth", "scaled", "--set", "barrier=2", "memory bandwidth=0.5"]
    code, out, _ = pcsim("simulate", "server-64", "--depths", 128, "--widths", 64, "--workers", 128, *words)
    assert code == 0
    first = out.splitlines()[0]
    assert first.startswith("machine server-64")
    assert "128 cores" in first
    assert ", barrier × 2, memory bandwidth × 0.5 (not calibrated)" in first


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
    "start of one batch": ["simulate", "server-64", "--start", "pipelined"],
    "no net": ["simulate", "server-64", "--nets", "784-x"],
    "map of nets": ["simulate", "server-64", "--nets", "9-8-7", "--map", "depth-width"],
    "validate no net": ["validate", "server-64", "--out", "card.json", "--nets", "784"],
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
