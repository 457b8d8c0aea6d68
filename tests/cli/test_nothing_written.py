"""Whatever ends with exit code 2 has written nothing, in every verb that writes."""

import json
import os
from pathlib import Path

import pytest

from pcsim.cli.main import _parser
from pcsim.errors import InputError
from pcsim.results.fields import CURVES
from pcsim.results.files import Writer, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"
MACHINE = Path(__file__).parents[2] / "benchmarks" / "results" / "machine-2-cores.json"
TRAIN = ["train", "--samples", "20", "--updates", "3", "--hidden", "4", "--algorithms", "bp", "--backend", "numpy"]
BENCH = ["bench", "--depths", "2", "--widths", "8", "--batches", "1", "--baselines", "serial", "--workers", "1"]
SIMULATE = ["simulate", MACHINE, "--depths", "2", "--widths", "32", "--batches", "1", "--workers", "2"]

# Verbs that write, each with what makes it write and the flags that name files; the first file is of results or curves.
WRITERS = {
    "bench": (BENCH, {"--out": "new.jsonl"}),
    "count": (["count", "--depths", "2", "4", "--batches", "1", "2"], {"--json": "new.json", "--figure": "new.png"}),
    "train": (TRAIN, {"--out": "new.jsonl", "--figure": "new.png"}),
    "calibrate": (["calibrate"], {"--out": "new.json"}),
    "simulate": (
        SIMULATE,
        {"--out": "new.jsonl", "--trace": "new.json", "--gantt": "g.png", "--figure": "f.svg"},
    ),
    "validate": (["validate", MACHINE], {"--out": "new.json"}),
    "report": (["report", FIXTURE], {"--html": "new.html"}),
    "plot": (["plot", FIXTURE], {"--out": "new.png"}),
    "race": (["race", "digits", "--backend", "numpy"], {"--out": "new.jsonl", "--figure": "new.png"}),
    "doctor": (["doctor"], {"--json": "new.json"}),
}
FILES = [(verb, flag) for verb, (_, flags) in WRITERS.items() for flag in flags]

# Arguments that cannot be meant, beyond what the parser knows.
WRONG = [
    ("train", ["--seed", "-1"]),
    ("train", ["--batch-size", "1000"]),
    ("train", ["--algorithms", "ipc", "--batch-size", "5"]),
    ("train", ["--samples", "100000"]),
    ("train", ["--data", "nowhere.npz"]),
    ("train", ["--sizes", "4", "--depths", "2"]),
    ("train", ["--depths", "100000", "--hidden", "10000"]),
    ("train", ["--resume"]),  # of a file that is no curves file
    ("bench", ["--depths", "1000000", "--widths", "100000"]),
    ("bench", ["--workers", "100000"]),
    ("bench", ["--baselines", "nobody"]),
    ("bench", ["--threads", "2"]),
    ("bench", ["--trace", "{tmp}/nowhere/x/../../new.jsonl/traces", "--workers", "100000"]),
    ("bench", ["--trace", "{tmp}/traces", "--workers", "100000"]),
    ("simulate", ["--latency-factors", "2"]),
    ("simulate", ["--depths", "2", "4"]),  # a trace is of one case
    ("simulate", ["--workers", "100000000"]),
    ("validate", ["--workers", "100000"]),
    ("count", ["--machines", "nowhere.json"]),
    ("count", ["--machines", "gpu-batched"]),
    ("count", ["--results", "nowhere.jsonl"]),
    ("count", ["--batches", "10000000"]),
    ("count", ["--batches", "1"]),  # is no map
    ("count", ["--nets", "784-64-10"]),  # beside depths
    ("race", ["--contenders", "ipc"]),
    ("race", ["--contenders", "bp", "nobody"]),
    ("race", ["--goals", "80"]),
    ("race", ["--machines", "nowhere.json"]),
    ("race", ["--trials", "100000"]),
    ("race", ["--depth", "1"]),
    ("plot", ["--denominator", "nobody"]),
    ("plot", ["--profile"]),  # of a file that holds no race
    ("plot", ["--sensitivity"]),
    ("report", ["--denominator", "nobody"]),
    ("report", ["--show", "details"]),
]


def command(tmp_path, verb, **others):
    words, flags = WRITERS[verb]
    named = {flag: str(tmp_path / name) for flag, name in flags.items()} | others
    return [str(word) for word in words] + [word for pair in named.items() for word in pair]


def held(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def refused(pcsim, tmp_path, words):
    """Exit code 2, one line, and the folder as it was."""
    before = held(tmp_path)
    code, out, err = pcsim(*words)
    assert (code, out) == (2, ""), (code, out, err)
    assert err.splitlines()[-1].startswith(f"pcsim {words[0]}: ")
    assert "Traceback" not in err
    assert held(tmp_path) == before
    return err


@pytest.fixture(autouse=True)
def no_work_begins(monkeypatch, request):
    """What would take long is not begun, as everything that can be checked is checked before."""
    if "work" in request.fixturenames:
        return
    for place in ("pcsim.bench.sweep.Sweep.ceilings", "pcsim.calibration.calibrate.calibrate"):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("work began"))
    monkeypatch.setattr("pcsim.calibration.validate.check_cells", lambda *_, **__: pytest.fail("work began"))
    for place in ("pcsim.training.seeds.train", "pcsim.race.trials.train"):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("work began"))


def test_every_flag_that_names_a_file_to_write_is_here():
    verbs = next(action for action in _parser()._actions if action.dest == "verb").choices
    flags = {
        (verb, flag)
        for verb, parser in verbs.items()
        for action in parser._actions
        for flag in action.option_strings
        if flag in ("--out", "--figure", "--json", "--trace", "--gantt", "--html") and action.nargs != 0
    }
    assert flags - set(FILES) == {("bench", "--trace")}  # a folder, in the cases below


@pytest.mark.parametrize(("verb", "flag"), FILES)
@pytest.mark.parametrize("place", ["nowhere/new", "folder", "file/new"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is(pcsim, tmp_path, verb, flag, place):
    suffix = Path(WRITERS[verb][1][flag]).suffix
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / "file").write_text("not a folder")
    refused(pcsim, tmp_path, command(tmp_path, verb, **{flag: str(tmp_path / f"{place}{suffix}")}))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc")
@pytest.mark.parametrize(("verb", "flag"), FILES)
def test_so_is_a_folder_that_takes_no_files_whatever_its_permissions(pcsim, tmp_path, verb, flag):
    place = f"/proc/{WRITERS[verb][1][flag]}"
    err = refused(pcsim, tmp_path, command(tmp_path, verb, **{flag: place}))
    assert f"{place}: cannot be written" in err


@pytest.mark.parametrize(("verb", "flag"), [(v, f) for v, f in FILES if f in ("--figure", "--gantt") or v == "plot"])
@pytest.mark.parametrize("name", ["new.bmp", "new", "new.jpg.exe"])
def test_so_is_a_figure_of_an_unknown_type(pcsim, tmp_path, verb, flag, name):
    refused(pcsim, tmp_path, command(tmp_path, verb, **{flag: str(tmp_path / name)}))


@pytest.mark.parametrize("verb", ["bench", "train", "simulate", "calibrate", "validate", "race"])
def test_so_is_a_file_that_is_there_already(pcsim, tmp_path, verb):
    (tmp_path / WRITERS[verb][1]["--out"]).write_text("mine\n")
    assert "exists already" in refused(pcsim, tmp_path, command(tmp_path, verb))


@pytest.mark.parametrize(("verb", "words"), WRONG, ids=lambda a: a if isinstance(a, str) else " ".join(a))
def test_so_are_arguments_that_cannot_be_meant(pcsim, tmp_path, verb, words):
    if words == ["--resume"]:
        (tmp_path / "new.jsonl").write_bytes(FIXTURE.read_bytes())
    refused(pcsim, tmp_path, command(tmp_path, verb) + [word.format(tmp=tmp_path) for word in words])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize(("verb", "flag"), FILES)
def test_so_is_a_folder_without_permission(pcsim, tmp_path, verb, flag):
    (tmp_path / "closed").mkdir(mode=0o500)
    name = WRITERS[verb][1][flag]
    refused(pcsim, tmp_path, command(tmp_path, verb, **{flag: str(tmp_path / "closed" / name)}))


# What goes wrong later, before a row was written


@pytest.fixture
def work():
    """Work may begin."""


def curves_file(path):
    row = {"algorithm": "bp", "kind": "measured", "label": "BP", "optimizer": "sgd", "alpha": 0.1, "depth": 2}
    row |= {"samples": 4, "sizes": [4, 4, 2], "interrupted": False, "diverged": None}
    with Writer(path, {}, False, CURVES) as writer:
        writer.write(row | {name: [0.0] for name in ("updates", "smm", "mm", "seconds", "loss", "energy")})
    return path


@pytest.mark.parametrize("error", [InputError("late"), OSError(28, "No space left on device")], ids=repr)
@pytest.mark.parametrize("there", [False, True])
def test_training_that_cannot_begin_leaves_the_file_as_it_was(work, pcsim, monkeypatch, tmp_path, error, there):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("pcsim.training.seeds.train", fail)
    if there:
        curves_file(tmp_path / "new.jsonl")
    refused(pcsim, tmp_path, command(tmp_path, "train") + ["--resume"] * there)


def test_what_failed_can_be_corrected_without_resume(work, pcsim, tmp_path):
    wrong = [*command(tmp_path, "train"), "--batch-size", "1000"]
    refused(pcsim, tmp_path, wrong)
    code, _, err = pcsim(*wrong[:-2])
    assert code == 0, err
    assert len(read(tmp_path / "new.jsonl", CURVES).rows) == 1
    assert (tmp_path / "new.png").exists()


def test_a_figure_that_fails_after_training_is_no_exit_2(work, pcsim, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pcsim.figures.style.save", fail)
    code, out, err = pcsim(*command(tmp_path, "train"))
    assert code == 1
    assert "all updates made" in out
    assert "kept in" in err
    assert len(read(tmp_path / "new.jsonl", CURVES).rows) == 1


def test_a_sweep_that_cannot_begin_leaves_nothing(work, pcsim, monkeypatch, tmp_path):
    class Ceilings:
        def to_json(self):
            return {}

    def fail(*_, **__):
        raise InputError("late")

    monkeypatch.setattr("pcsim.bench.sweep.Sweep.ceilings", lambda *_: Ceilings())
    monkeypatch.setattr("pcsim.bench.sweep.Sweep.run", fail)
    refused(pcsim, tmp_path, [*command(tmp_path, "bench"), "--trace", str(tmp_path / "traces")])


@pytest.mark.parametrize("packed", [False, True])
def test_a_writer_undoes_what_it_began(tmp_path, packed):
    path = tmp_path / ("c.jsonl.gz" if packed else "c.jsonl")
    Writer(path, {}, False, CURVES).undo()
    assert not path.exists()
    before = curves_file(path).read_bytes()
    again = Writer(path, {}, True, CURVES)
    assert path.read_bytes() != before  # twin: it has begun
    again.undo()
    assert path.read_bytes() == before
    kept = Writer(path, {}, True, CURVES)
    kept.write(kept.rows[0])
    kept.undo()  # a row is worth more than that
    kept.close()
    assert len(read(path, CURVES).rows) == 2
    assert json.dumps(read(path, CURVES).rows[1]) == json.dumps(read(path, CURVES).rows[0])
