"""The package of ``examples/third_party_algorithm``, installed as anybody would, under every verb."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ranks

from pcsim.results.files import read

EXAMPLE = Path(__file__).parents[2] / "examples" / "third_party_algorithm"

SMALL = ["--depths", "3", "--widths", "8", "--seconds", "0.05"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder into which pip has put the package; its path is not this process's."""
    source, target = tmp_path_factory.mktemp("source") / "package", tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLE, source)  # building leaves files behind
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", target, source]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, words)]
    answer = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=300)
    assert answer.returncode == 0, answer.stderr
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def run(installed, folder):
    def start(*words, code=0):
        command = [sys.executable, *(words if words[0] == "-c" else ["-m", "pcsim", *map(str, words)])]
        environment = os.environ | {"PYTHONPATH": str(installed)}
        answer = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert answer.returncode == code, answer.stderr
        return answer.stdout if code == 0 else answer.stderr

    return start


@pytest.fixture(scope="module")
def measured(run, folder):
    """A results file in which it stands beside iPC and BP; two launches, so that fresh processes know it too."""
    run("bench", *SMALL, "--algorithms", "half", "ipc", "bp", "--workers", "1", "2", "--oversubscribe", "--baselines",
        "serial", "--launches", "2", "--out", "measured.jsonl", "--no-pin")  # fmt: skip
    return folder / "measured.jsonl"


def test_the_package_is_small():
    lines = [line for path in EXAMPLE.iterdir() if path.is_file() for line in path.read_text().splitlines()]
    assert len(lines) <= 60
    assert sorted(path.name for path in EXAMPLE.iterdir() if path.is_file()) == ["pcsim_half.py", "pyproject.toml"]


def test_it_is_known_only_where_it_is_installed(run, pcsim):
    code, out, err = pcsim("count", "--algorithms", "half")
    assert (code, out) == (2, "")
    assert "algorithm 'half' is unknown: choose from bp, pc, zil, ipc, bp-async" in err
    assert len(err.splitlines()) == 1
    assert "choose from bp, pc, zil, ipc, bp-async, local, dfa, dual, half" in run(
        "count", "--algorithms", "none", code=2
    )


def test_count(run):
    rows = json.loads(run("count", "--algorithms", "half", "ipc", "--depths", "4", "--json", "-"))
    assert [(row["algorithm"], row["mm"], row["smm"]) for row in rows] == [("ipc", 7, 2), ("half", 14, 4)]
    assert "half iPC" in run("count", "--algorithms", "half", "--depths", "4")


def test_bench_and_report_and_plot(run, measured, folder):
    rows = read(measured).rows
    assert {row["error"] for row in rows} == {None}
    mine = [row for row in rows if row["algorithm"] == "half"]
    assert {(row["execution"], row["workers"], row["launch"]) for row in mine} == {
        (execution, workers, launch)
        for execution, workers in (("serial", 1), ("layer-parallel", 2))
        for launch in (0, 1)
    }
    assert {(row["inference_steps"], row["steps"], row["smm"]) for row in mine} == {(2, 1, 4)}
    assert all(row["checked"] and row["median"] > 0 for row in mine)
    table = run("report", measured)
    assert not [line for line in table.splitlines() if "half" in line and "÷" in line]  # a ratio is iPC's
    assert "half" in run("report", measured, "--show", "details")
    steps = run("report", measured, "--show", "steps").splitlines()
    assert [line.split()[3] for line in steps if " half " in line] == ["half", "half"]
    for words in ([], ["--times"]):
        name = f"figure{len(words)}.png"
        run("plot", measured, *words, "--out", name)
        assert (folder / name).stat().st_size > 1000


def test_bench_without_ipc_shows_details(run):
    shown = run("bench", *SMALL, "--algorithms", "half", "bp", "--workers", "1", "--baselines", "serial", "--no-pin")
    assert "half" in shown


def test_simulate(run, folder):
    shown = run("simulate", "server-64", "--depths", "8", "--widths", "64", "--workers", "4", "--algorithms", "half",
                "ipc", "--out", "predicted.jsonl")  # fmt: skip
    assert "half iPC" in shown
    rows = {row["algorithm"]: row for row in read(folder / "predicted.jsonl").rows if row["algorithm"] != "bp"}
    assert rows["half"]["inference_steps"] == 2
    # A step more, in which no weight is written.
    assert 1.2 < rows["half"]["median"] / rows["ipc"]["median"] <= 2
    trace = run("simulate", "server-64", "--depths", "4", "--widths", "64", "--workers", "2", "--algorithms", "half",
                "--trace", "trace.json")  # fmt: skip
    assert "trace.json" in trace


def test_train_and_plot(run, folder):
    words = ["--samples", "12", "--hidden", "5", "--updates", "4", "--workers", "2"]
    run("train", "--algorithms", "half", "bp", *words, "--out", "curves.jsonl")
    run("train", "--algorithms", "half", *words, "--batch-size", "4", "--steps-per-batch", "2")
    assert "half iPC with a batch_size needs steps_per_batch" in run(
        "train", "--algorithms", "half", *words, "--batch-size", "4", code=2
    )
    run("plot", "curves.jsonl", "--out", "curves.png")
    assert (folder / "curves.png").stat().st_size > 1000


CHECKED = """
import pcsim.testing, pcsim_half
pcsim.testing.check_algorithm(pcsim_half.HalfIPC())
print("right")
"""


def test_it_holds_against_the_oracle(run):
    assert run("-c", CHECKED) == "right\n"


TRAINED = """
import sys
import numpy as np, pcsim, pcsim_half
rng = np.random.default_rng(0)
net = pcsim.Network.mlp([5, 7, 3, 9], seed=0)
x, y = (rng.normal(size=(6, n)).astype(np.float32) for n in (5, 9))
for batch in (None, 3):
    backend, path = sys.argv[1:]
    run = pcsim.train(net, pcsim_half.HalfIPC(0.01), x, y, updates=7, backend=backend, batch_size=batch,
                      steps_per_batch=batch and 2)
    arrays = [*run.network.weights, *run.values]
    from pcsim.host.mpi import launched
    if not launched() or launched()[0] == 0:
        np.savez(f"{path}-{batch}.npz", *arrays)
"""


def test_two_ranks_leave_the_bits_of_one_thread(run, installed, folder):
    answer = ranks.launch(2, "-c", TRAINED, "mpi", folder / "ranks", PYTHONPATH=str(installed))
    assert answer.returncode == 0, answer.stderr
    run("-c", TRAINED, "threads", folder / "thread")
    for batch in (None, 3):
        one, two = (np.load(folder / f"{name}-{batch}.npz") for name in ("thread", "ranks"))
        assert len(one.files) == 7
        assert all(np.array_equal(one[name], two[name]) for name in one.files)


def test_bench_on_two_ranks(installed, folder):
    answer = ranks.pcsim(2, "bench", *SMALL, "--backend", "mpi", "--algorithms", "half", "--oversubscribe", "--out",
                         folder / "ranks.jsonl", PYTHONPATH=str(installed))  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    rows = read(folder / "ranks.jsonl").rows
    rows = [row for row in rows if row["backend"] == "mpi"]  # beside them stand threads
    assert {(row["algorithm"], row["error"]) for row in rows} == {("half", None)}
    found = {(row["execution"], row["ranks"]): row for row in rows}
    assert set(found) == {("serial", 1), ("layer-parallel", 2), ("intra-layer", 2)}
    layered = found["layer-parallel", 2]
    assert layered["messages"] == layered["counted_messages"] == 4
