"""train on ranks: the curves of threads, one voice, and nothing left of what cannot begin."""

import json
import signal

import numpy as np
import pytest
from ranks import Job, pcsim, program, require_ranks

from pcsim.results.fields import CURVES
from pcsim.results.files import read

pytestmark = pytest.mark.slow

BATCHES = ["train", "--samples", 20, "--hidden", 6, "--batch-size", 5, "--record-every", 2]
TRAIN = [*BATCHES, "--steps-per-batch", 2]
ON_RANKS = [*TRAIN, "--backend", "mpi"]
LEARNERS = ["--updates", 8, "--algorithms", "ipc", "pc", "dual", "--optimizer", "adam", "--seeds", 0, 1]
ENDS = 60  # seconds, on a machine that does other things as well


@pytest.fixture(scope="module", autouse=True)
def ranks_can_be_started():
    require_ranks()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training of six curves on two ranks: what it told, and the folder."""
    folder = tmp_path_factory.mktemp("trained")
    words = [*LEARNERS, "--validation", 0.2, "--checkpoint", folder / "k.npz", "--figure", folder / "c.svg"]
    answer = pcsim(2, *ON_RANKS, *words, "--out", folder / "c.jsonl")
    assert answer.returncode == 0, answer.stderr
    return answer, folder, words


def curve(row):
    return [row[name] for name in ("algorithm", "seed", "updates", "loss", "energy", "whole")]


def without_time(row):
    found = json.loads(json.dumps(curve(row)))
    found[-1].pop("seconds")
    return found


def test_the_curves_are_those_of_threads(trained, tmp_path):
    """Bit by bit: JSON keeps every bit of a float."""
    _, folder, _ = trained
    words = [*TRAIN, *LEARNERS, "--validation", 0.2, "--workers", 2]
    alone = pcsim(1, *words, "--out", tmp_path / "c.jsonl")
    assert alone.returncode == 0, alone.stderr
    rows, expected = read(folder / "c.jsonl", CURVES).rows, read(tmp_path / "c.jsonl", CURVES).rows
    assert len(rows) == 6
    assert [without_time(row) for row in rows] == [without_time(row) for row in expected]
    assert {(row["backend"], row["ranks"], row["workers"]) for row in rows} == {("mpi", 2, 1)}
    assert [row["evaluations"]["validation_loss"] for row in rows] == [
        row["evaluations"]["validation_loss"] for row in expected
    ]


def test_one_rank_alone_speaks_and_writes(trained):
    answer, folder, _ = trained
    assert answer.stdout.count("all updates made") == 6
    assert answer.stdout.count("curves file: ") == 1
    assert answer.stderr.splitlines().count("pcsim train: run 1 of 3: iPC, depth 3") == 1
    assert len(list(folder.glob("k-*.npz"))) == 6
    assert (folder / "c.svg").exists()


def test_what_is_trained_is_not_trained_again_and_another_number_of_ranks_is_another_curve(trained):
    _, folder, words = trained
    again = pcsim(2, *ON_RANKS, *words, "--out", folder / "c.jsonl", "--resume")
    assert (again.returncode, again.stderr.count("already trained")) == (0, 3), again.stderr
    assert len(read(folder / "c.jsonl", CURVES).rows) == 6
    words = [*words[: words.index("--checkpoint")], "--seeds", 0, "--algorithms", "ipc"]
    other = pcsim(3, *ON_RANKS, *words, "--out", folder / "c.jsonl", "--resume")
    assert (other.returncode, "already trained" in other.stderr) == (0, False), other.stderr
    rows = read(folder / "c.jsonl", CURVES).rows
    assert [row["ranks"] for row in rows] == [2] * 6 + [3]
    assert without_time(rows[6])[2:] == without_time(rows[0])[2:]  # layers on ranks: the same bits
    assert "ranks 3" in other.stdout


def test_bp_shares_its_work_in_the_execution_that_is_named(tmp_path):
    words = ["--updates", 4, "--algorithms", "bp", "--execution", "data-parallel"]
    on_two = pcsim(2, *BATCHES, "--backend", "mpi", *words, "--out", tmp_path / "c.jsonl")
    assert on_two.returncode == 0, on_two.stderr
    on_threads = pcsim(1, *BATCHES, *words, "--workers", 2, "--out", tmp_path / "d.jsonl")
    assert on_threads.returncode == 0, on_threads.stderr
    rows = [read(tmp_path / name, CURVES).rows[0] for name in ("c.jsonl", "d.jsonl")]
    assert [row["execution"] for row in rows] == ["data-parallel"] * 2
    assert np.allclose(rows[0]["loss"], rows[1]["loss"], rtol=1e-5)
    assert [rows[0]["ranks"], rows[1]["workers"]] == [2, 2]


BAD = {
    "BP without execution": ["--algorithms", "bp"],
    "no such data": ["--data", "nowhere.npz"],
    "no such folder": ["--out", "missing/c.jsonl"],
    "a figure of no kind": ["--figure", "c.doc"],
    "an execution of nobody": ["--algorithms", "ipc", "--execution", "sideways"],
    "a batch beyond the samples": ["--batch-size", 1000],
    "updates and epochs": ["--epochs", 2],
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    words, folder = tmp_path_factory.mktemp("words") / "words.json", tmp_path_factory.mktemp("refused")
    base = [*ON_RANKS, "--updates", 2, "--algorithms", "ipc", "--out", "c.jsonl"]
    words.write_text(json.dumps({what: [*map(str, base), *map(str, bad)] for what, bad in BAD.items()}))
    answer = program(2, "refuses.py", words, cwd=folder)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout), list(folder.iterdir())


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_begin_is_one_line_and_leaves_nothing(refusals, what):
    (first, second), left = refusals[0][what], refusals[1]
    assert (first[:2], second) == ([2, ""], [2, "", ""])
    assert [line[:12] for line in first[2].splitlines() if "run 1 of" not in line] == ["pcsim train:"], first[2]
    assert left == []


def long(out):
    """A training that has written one curve when the next begins, which takes for ever."""
    words = ["-m", "pcsim", *ON_RANKS, "--algorithms", "zil", "ipc", "--hidden", 300, "--alpha", 1e-7, "--activation"]
    return [*words, "tanh", "--depths", 3, 4, "--updates", 3000, "--record-every", 3000, "--out", out]


def test_ctrl_c_says_what_is_kept(tmp_path):
    out = tmp_path / "c.jsonl"
    with Job(2, *long(out)) as job:
        job.wait_for(lambda: out.exists() and out.read_text().count("\n") > 1)
        job.process.send_signal(signal.SIGINT)
        answer = job.finish(ENDS)
        assert job.gone(ENDS)
    assert answer.returncode != 0
    assert answer.stderr.count(f"what was finished is kept in {out}; continue with --resume") == 1
    assert read(out, CURVES).rows


def test_a_full_disk_ends_all_ranks_and_keeps_what_was_trained(tmp_path):
    code = (
        "import sys\n"
        "from pcsim.cli.main import main\n"
        "from pcsim.errors import InputError\n"
        "from pcsim.results.files import Writer\n"
        "write = Writer.write\n"
        "def full(self, row):\n"
        "    if self.written:\n"
        "        raise InputError('c.jsonl: No space left on device')\n"
        "    return write(self, row)\n"
        "Writer.write = full\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "full.py").write_text(code)
    words = [*ON_RANKS, *LEARNERS, "--out", tmp_path / "c.jsonl"]
    with Job(2, tmp_path / "full.py", *words) as job:
        answer = job.finish()
        assert job.gone(ENDS)
    assert answer.returncode == 1, answer.stderr
    assert answer.stderr.count("No space left on device; what was finished is kept in ") == 1
    assert len(read(tmp_path / "c.jsonl", CURVES).rows) == 1
