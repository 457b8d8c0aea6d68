"""train as a user meets it: curves in words, files and figures."""

import numpy as np
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


def test_small_data_are_used_as_a_whole(pcsim, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "small.npz", x=rng.normal(size=(20, 4)), y=np.arange(20) % 3)
    words = ["train", "--data", tmp_path / "small.npz", "--updates", 2, "--backend", "numpy", "--algorithms", "bp"]
    code, _, err = pcsim(*words, "--out", tmp_path / "c.jsonl")
    assert code == 0, err
    assert read(tmp_path / "c.jsonl", CURVES).rows[0]["samples"] == 20
    code, _, err = pcsim(*words, "--samples", 250)  # who asks for more than there are is told
    assert (code, "250 samples asked for, but there are 20" in err) == (2, True)
    assert pcsim("train", "--updates", 1, "--hidden", 4, "--backend", "numpy", "--out", tmp_path / "d.jsonl")[0] == 0
    assert {row["samples"] for row in read(tmp_path / "d.jsonl", CURVES).rows} == {250}


def test_another_file_of_the_same_name_is_trained_on(pcsim, tmp_path):
    rng, words = np.random.default_rng(0), ["train", "--updates", 2, "--backend", "numpy", "--algorithms", "bp"]
    losses = []
    for folder in ("a", "b", "a"):
        (tmp_path / folder).mkdir(exist_ok=True)
        if not (tmp_path / folder / "data.npz").exists():
            np.savez(tmp_path / folder / "data.npz", x=rng.normal(size=(20, 4)), y=np.arange(20) % 3)
        resume = ["--resume"] * bool(losses)
        code, out, err = pcsim(*words, "--data", tmp_path / folder / "data.npz", "--out", tmp_path / "c.jsonl", *resume)
        assert code == 0, err
        losses.append([row["loss"] for row in read(tmp_path / "c.jsonl", CURVES).rows])
    assert [len(rows) for rows in losses] == [1, 2, 2]
    assert losses[1][0] != losses[1][1]
    assert "already trained" in err
    assert len({line.split("  ")[0] for line in out.splitlines()[1:3]}) == 2  # both stand in the table, told apart


def test_what_the_last_update_reaches_is_reached(pcsim):
    words = [*TRAIN, "--backend", "numpy", "--optimizer", "adam", "--alpha", 0.01, "--algorithms", "bp"]
    lines = pcsim(*words, "--updates", 20)[1].splitlines()
    lowest = float(lines[1].split("  all updates made")[0].split()[-1])  # the last one, as the loss falls
    out = pcsim(*words, "--updates", 20, "--until-loss", lowest * 1.0001)[1]
    assert "not reached" not in out
    assert " reached" in out
    assert " not reached" in pcsim(*words, "--updates", 20, "--until-loss", lowest * 0.999)[1]  # twin


def test_a_training_with_everything_goes_on_from_its_checkpoints(pcsim, tmp_path):
    words = ["train", "--samples", 40, "--hidden", 6, "--algorithms", "bp", "ipc", "--workers", 1, "--batch-size", 9]
    words += ["--steps-per-batch", 2, "--loss", "cross-entropy", "--optimizer", "adam", "--gamma", 0.5, 0.2]
    words += ["--value-momentum", 0.3, "--schedule", "cosine", "--warmup", 2, "--validation", 0.1, "--test"]
    words += ["--patience", 9, "--seeds", 0, 1, "--record-every", 4, "--epochs", 3]
    code, out, _ = pcsim(*words, "--out", tmp_path / "c.jsonl", "--accuracy", tmp_path / "a.svg")
    assert code == 0
    assert out.count("all updates made") == 4
    assert "cross-entropy per sample" in out
    rows = read(tmp_path / "c.jsonl", CURVES).rows
    assert [(row["algorithm"], row["seed"], row["batch_seed"]) for row in rows] == [
        ("bp", 0, 0), ("bp", 1, 1), ("ipc", 0, 0), ("ipc", 1, 1),
    ]  # fmt: skip
    assert rows[2]["gamma"] == [0.5, 0.2]
    assert rows[2]["evaluations"]["epochs"] == [1, 2, 3]
    kept = ("--checkpoint", tmp_path / "k.npz")
    code, _, err = pcsim(*words, *kept, "--out", tmp_path / "d.jsonl")
    assert (code, "Traceback" in err) == (0, False)
    assert len(list(tmp_path.glob("k-?-?.npz"))) == 4
    code, _, err = pcsim(*words, *kept)
    assert (code, err.splitlines()[-1].count("is there already: resume the training in it, or remove it")) == (2, 1)
    code, out, _ = pcsim(*words, *kept, "--resume")
    assert code == 0
    losses = [row["whole"]["loss"] for row in read(tmp_path / "d.jsonl", CURVES).rows]
    assert losses == [row["whole"]["loss"] for row in rows]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--patience", 3], "--patience requires --validation"),
        (["--evaluate-every", 3], "--evaluate-every requires --validation or --test"),
        (["--accuracy", "a.png"], "--accuracy requires --validation or --test"),
        (["--checkpoint-every", 3], "--checkpoint-every requires --checkpoint"),
        (["--epochs", 3], "give either --updates or --epochs, not both"),
        (["--resume"], "--resume requires --out or --checkpoint"),
        (["--schedule", "cosine", "--warmup", 9], "a cosine schedule needs more updates than the 9 of its warm-up"),
        (["--validation", 2], "--validation is a share of the samples between 0 and 1, not 2"),
        (["--value-momentum", 1], "value_momentum must be"),
        (["--floor", 3], "floor must be a share of alpha"),
        (["--warmup", -1], "warmup must be a whole number"),
        (["--seeds", -1], "seed must be"),
    ],
)
def test_flags_that_do_not_fit_are_told_in_a_line(pcsim, words, message):
    code, out, err = pcsim(*TRAIN, *words)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]


def test_a_pipelined_start_is_told_and_refused_where_there_is_none(pcsim, tmp_path):
    pipelined = ["--batch-size", 5, "--steps-per-batch", 2, "--start", "pipelined"]
    one, other, ordinary = (tmp_path / f"{name}.jsonl" for name in "abc")
    assert pcsim(*TRAIN, *pipelined, "--algorithms", "ipc", "--out", one)[0] == 0
    assert pcsim(*TRAIN, *pipelined[:4], "--algorithms", "ipc", "--out", ordinary)[0] == 0
    row, usual = (read(file, CURVES).rows[0] for file in (one, ordinary))
    assert row["start"] == "pipelined"
    assert "start" not in usual
    assert row["loss"] != usual["loss"]
    code, out, err = pcsim(*TRAIN, *pipelined, "--out", other)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "start='pipelined' is not for" in err
    assert not other.exists()


def test_bp_in_an_asynchronous_pipeline_has_its_own_name(pcsim, tmp_path):
    words = ["train", "--samples", 20, "--updates", 5, "--hidden", 6, "--batch-size", 5, "--workers", 2]
    code, out, _ = pcsim(*words, "--algorithms", "bp", "--execution", "pipeline-async", "--out", tmp_path / "a.jsonl")
    assert (code, "async BP" in out) == (0, True)
    code, _, _ = pcsim(*words, "--algorithms", "bp-async", "--out", tmp_path / "b.jsonl")
    assert code == 0
    rows = [read(tmp_path / name, CURVES).rows[0] for name in ("a.jsonl", "b.jsonl")]
    for name in ("algorithm", "label", "smm", "loss", "workers"):
        assert rows[0][name] == rows[1][name]
    assert (rows[0]["algorithm"], rows[0]["workers"]) == ("bp-async", 2)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--execution", "layer-parallel"], "BP's execution 'layer-parallel' is unknown"),
        (["--execution", "sideways"], "iPC's execution 'sideways' is unknown"),
        (["--execution", "data-parallel", "--order", "zero-bubble"], "is of a pipeline"),
        (["--execution", "data-parallel", "--workers", 30], "30 workers are more than the 20 samples"),
        (["--execution", "intra-layer", "--loss", "cross-entropy", "--workers", 2], "has no cross-entropy yet"),
        (["--backend", "numpy", "--execution", "blas"], "backend numpy has neither"),
        (["--algorithms", "ipc", "local", "--local-loss", "predsim"], "predsim runs on backend numpy alone"),
        (["--workers", 4], "4 workers are more than the 3 layers of the net: use at most 3"),
        (["--depths", 2, 4, "--workers", 5], "5 workers are more than the 4 layers of the net: use at most 4"),
        (["--algorithms", "bp", "--workers", 2], "BP's layers wait for one another: execution 'serial' runs"),
        (["--algorithms", "local", "--local-loss", "predsim", "--batch-size", 1], "give a batch of at least 2"),
        (["--checkpoint", "missing/k.npz"], "no such folder"),
        (["--validation", 1.5], "--validation is a share of the samples between 0 and 1, not 1.5"),
    ],
)
def test_what_a_later_run_is_refused_for_is_told_before_the_first(pcsim, tmp_path, monkeypatch, more, words):
    monkeypatch.chdir(tmp_path)
    given = ["train", "--samples", 20, "--updates", 5, "--hidden", 6, "--algorithms", "ipc", "bp", "--out", "c.jsonl"]
    code, out, err = pcsim(*given, *more)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert words in err
    assert not list(tmp_path.iterdir())


def test_of_several_nets_each_has_as_many_workers_as_it_can_use(pcsim, tmp_path):
    words = ["train", "--samples", 20, "--updates", 2, "--hidden", 6, "--depths", 2, 3, "--workers", 3]
    code, _, err = pcsim(*words, "--algorithms", "ipc", "bp", "--out", tmp_path / "c.jsonl")
    assert code == 0, err
    rows = read(tmp_path / "c.jsonl", CURVES).rows
    assert [(row["algorithm"], row["depth"], row["workers"]) for row in rows] == [
        ("ipc", 2, 2), ("bp", 2, 1), ("ipc", 3, 3), ("bp", 3, 1),
    ]  # fmt: skip


def test_a_checkpoint_that_is_there_is_told_before_the_first_run(pcsim, tmp_path):
    words = [*TRAIN, "--backend", "numpy", "--checkpoint", tmp_path / "k.npz"]
    assert pcsim(*words)[0] == 0
    there = sorted(path.name for path in tmp_path.iterdir())
    assert there == ["k-1.npz", "k-2.npz"]
    (tmp_path / "k-1.npz").unlink()
    code, out, err = pcsim(*words, "--out", tmp_path / "c.jsonl")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "k-2.npz is there already" in err
    assert [path.name for path in tmp_path.iterdir()] == ["k-2.npz"]
    assert pcsim(*words, "--resume")[0] == 0


def test_an_interrupt_names_the_checkpoints(pcsim, tmp_path, monkeypatch):
    from pcsim.cli.display import Display

    def interrupted(self, run):
        if run.updates >= 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Display, "record", interrupted)
    words = ["train", "--samples", 20, "--updates", 20, "--hidden", 6, "--algorithms", "bp", "--backend", "numpy"]
    code, _, err = pcsim(*words, "--checkpoint", tmp_path / "k.npz", "--checkpoint-every", 2)
    assert code == 130
    assert f"trainings as they last stood are kept in {tmp_path / 'k.npz'}; continue with --resume" in err
    code, _, err = pcsim(*words)
    assert (code, "nothing was finished yet" in err or "nothing is kept" in err) == (130, True)


def test_what_a_checkpoint_differs_in_is_named(pcsim, tmp_path):
    words = [*TRAIN, "--backend", "numpy", "--algorithms", "ipc", "--checkpoint", tmp_path / "k.npz"]
    assert pcsim(*words)[0] == 0
    err = pcsim(*words, "--resume", "--alpha", 0.5)[2]
    assert "training: alpha is 0.0001 there, 0.5 here" in err


IMAGES = ["train", "--nets", "cnn-8-16-8@8x9x3", "--data", "synthetic-images", "--samples", 12, "--batch-size", 4]
IMAGES += ["--updates", 5, "--backend", "numpy", "--algorithms", "bp"]


def test_images_are_made_for_the_net_marked_and_changed(pcsim, tmp_path):
    code, out, err = pcsim(*IMAGES, "--augment", "crop", "flip", "--test", "--out", tmp_path / "c.jsonl")
    assert code == 0, err
    assert out.splitlines()[-3].startswith("synthetic images: random numbers")
    (row,) = read(tmp_path / "c.jsonl", CURVES).rows
    assert (row["data"], row["augment"], row["test"]) == (
        "synthetic-images-8x9x3", ["flip", "crop"], "synthetic-images-8x9x3",
    )  # fmt: skip
    again = pcsim(*IMAGES, "--augment", "flip", "crop", "--test", "--out", tmp_path / "c.jsonl", "--resume")
    assert "already trained" in again[2]
    code, out, err = pcsim(*IMAGES, "--test", "--out", tmp_path / "c.jsonl", "--resume")  # twin
    assert code == 0, err
    assert "already trained" not in err
    assert "images by flip and crop" in out
    assert "images as they are" in out
    rows = read(tmp_path / "c.jsonl", CURVES).rows
    assert "augment" not in rows[1]
    assert rows[0]["loss"][0] == rows[1]["loss"][0]
    assert rows[0]["loss"][-1] != rows[1]["loss"][-1]


def test_what_is_wrong_with_images_is_one_line(pcsim, monkeypatch, tmp_path):
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "data_batch_1.bin").write_bytes(bytes(3072))
    monkeypatch.setenv("PCSIM_DATA", str(folder.parent))
    for words, said in (
        (
            ["train", "--data", "cifar-10", "--nets", "vgg5@32x32x3"],
            "data_batch_1.bin: holds 3,072 bytes; expected 30,7",
        ),
        (["train", "--data", "svhn"], "expected $PCSIM_DATA/svhn.npz"),
        (["train", "--augment", "flip"], "augment needs images: a net whose first layer is a convolution"),
        (["train", "--nets", "residual-mlp-4-8", "--augment", "flip"], "augment needs images"),
        (["train", "--nets", "vgg7@4x4x3", "--data", "synthetic-images"], "is larger than"),
        ([*IMAGES, "--nets", "cnn-8-16-8@8x8x3", "cnn-8-16-8@9x9x3"], "do not fit synthetic-images-8x8x3: 192 inputs"),
        (
            [*IMAGES, "--algorithms", "ipc", "--batch-size", 12, "--augment", "crop"],
            "augment needs batches that change",
        ),
    ):
        code, out, err = pcsim(*words, "--out", tmp_path / "c.jsonl")
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert said in err
        assert not (tmp_path / "c.jsonl").exists()
