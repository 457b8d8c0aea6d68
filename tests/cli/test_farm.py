"""Tasks of a SLURM farm and children of MPI programs have a launcher's variables, and are no ranks."""

import os
import subprocess
import sys

import pytest

from pcsim.host import mpi

VARIABLES = {
    "farm": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    "child of MPICH": ("PMI_SIZE", "PMI_RANK"),
    "child of Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
}

SIMULATE = ["simulate", "server-64", "--depths", "2", "--widths", "8", "--workers", "2", "--out", "made.jsonl"]

TRAIN = ["train", "--samples", "5", "--updates", "2", "--hidden", "4", "--algorithms", "bp", "--backend", "numpy"]

PLOT = ["plot", "made.jsonl", "--out", "made.png"]


@pytest.fixture(params=VARIABLES)
def second(request, monkeypatch):
    """This process as the second of four."""
    for name, value in zip(VARIABLES[request.param], "41", strict=True):
        monkeypatch.setenv(name, value)
    assert mpi.launched() == (1, 4, VARIABLES[request.param][0])
    return request.param


def test_every_task_does_its_work(second, pcsim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["count", "--depths", "4"], SIMULATE, PLOT, [*TRAIN, "--out", "curves.jsonl"]):
        code, out, said = pcsim(*words)
        assert code == 0, said
        assert out
    assert {path.name for path in tmp_path.iterdir()} == {"made.jsonl", "made.png", "curves.jsonl"}


def test_every_task_says_what_is_wrong(second, pcsim):
    for words in (["count", "--depths", "0"], ["report", "nowhere.jsonl"], ["frobnicate"]):
        code, out, said = pcsim(*words)
        assert (code, out) == (2, "")
        assert len(said.splitlines()) == 1


def test_who_times_beside_processes_of_mpiexec_is_told(second, pcsim, tmp_path):
    words = ["bench", "--depths", "2", "--out", tmp_path / "x.jsonl", "--workers", 10**6]  # what a farm is told of
    code, out, said = pcsim(*words)
    assert (code, out, len(said.splitlines())) == (2, "", 1)
    assert ("add --backend mpi" in said) == (second != "farm")
    assert list(tmp_path.iterdir()) == []


def test_ranks_speak_once(monkeypatch, pcsim):
    for name, value in zip(VARIABLES["child of MPICH"], "41", strict=True):
        monkeypatch.setenv(name, value)
    for words in (["bench", "--backend", "mpi", "--depths", "0"], ["validate", "--backend=mpi", "--depths", "0"]):
        assert pcsim(*words) == (2, "", "")


def test_a_task_is_no_rank_where_mpi_sees_it_alone():
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    code = "from pcsim.host import mpi; print(mpi.alone())"
    farm = dict(zip(VARIABLES["farm"], "41", strict=True))
    command = [sys.executable, "-c", code]
    answer = subprocess.run(
        command, env={**os.environ, **farm}, capture_output=True, text=True, timeout=300, check=False
    )
    assert (answer.returncode, answer.stdout.strip()) == (0, "True"), answer.stderr
