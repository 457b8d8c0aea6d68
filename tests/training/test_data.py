"""Data sets by name: the embedded and the full Fashion-MNIST, digits, and what cannot be asked for."""

import gzip
import hashlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from data_files import check_dataset, idx, refusal, write_idx_folder, write_npz

import pcsim
from pcsim.errors import InputError
from pcsim.training import data
from pcsim.training.data import load

ROOT = Path(__file__).parents[2]


# --- what comes with pcsim ---


def md5_of_pixels(x):
    return hashlib.md5(np.rint(x * 255).astype(np.uint8).tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("split", "samples", "images_md5", "labels_md5"),
    [
        ("train", 3000, "c5f65ab0423f21666b159ebde5ff858e", "d65af053e3f3c550b2580a5a80aa6682"),
        ("test", 1000, "e4935cb282bc5d816ad692c741fcb55b", "d348470f447410c02be7500b37724407"),
    ],
)
def test_embedded_fashion_mnist_is_the_first_of_the_full_set(split, samples, images_md5, labels_md5):
    dataset = load("fashion-mnist", split=split)
    check_dataset(dataset)
    assert (dataset.name, dataset.x.shape, dataset.classes) == ("fashion-mnist", (samples, 784), 10)
    assert dataset.x.min() == 0
    assert dataset.x.max() == 1
    assert md5_of_pixels(dataset.x) == images_md5
    assert hashlib.md5(dataset.labels.astype(np.uint8).tobytes()).hexdigest() == labels_md5
    np.testing.assert_array_equal(dataset.y.sum(axis=1), 1)
    counts = np.bincount(dataset.labels, minlength=10)
    assert counts.min() > 0.8 * samples / 10
    assert counts.max() < 1.2 * samples / 10


def test_first_images_of_the_embedded_set():
    dataset = load(samples=10)
    assert md5_of_pixels(dataset.x) == "d914b2f5674355bd0172207a3a6bbbd7"
    assert dataset.labels.tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]


def test_embedded_file_has_plain_arrays_and_its_licence():
    folder = Path(pcsim.__file__).parent / "datasets"
    with np.load(folder / "fashion-mnist-small.npz", allow_pickle=False) as archive:
        shapes = {name: (archive[name].shape, archive[name].dtype) for name in archive}
    assert shapes == {
        "x_train": ((3000, 28, 28), np.uint8),
        "y_train": ((3000,), np.uint8),
        "x_test": ((1000, 28, 28), np.uint8),
        "y_test": ((1000,), np.uint8),
    }
    licence = (folder / "fashion-mnist-LICENSE.txt").read_text(encoding="utf-8")
    assert "Zalando" in licence
    assert "Permission is hereby granted, free of charge" in licence
    assert "dataset-fashion-mnist" in licence


def test_samples_takes_the_first_and_each_call_gives_arrays_of_its_own():
    whole, part, again = load(), load(samples=np.int64(7)), load(samples=7)
    for name in ("x", "y", "labels"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:7])
        assert not np.shares_memory(getattr(part, name), getattr(again, name))
    part.x[:] = 9
    np.testing.assert_array_equal(again.x, whole.x[:7])
    assert part.classes == 10


def test_a_width_beyond_the_labels_gives_empty_columns():
    dataset = load(samples=20, classes=12)
    assert dataset.y.shape == (20, 12)
    assert not dataset.y[:, 10:].any()
    assert "labels from 0 to 9; expected 0 to 4" in refusal("fashion-mnist", classes=5)


def test_names_start_with_the_default():
    assert data.names() == ["fashion-mnist", "digits", "cifar-10", "svhn", "synthetic-images"]
    assert load(samples=1).name == data.names()[0]


# --- the full Fashion-MNIST ---


@pytest.fixture
def full_set(tmp_path, monkeypatch):
    """A stand-in for the full set: one sample more than is embedded, its MD5 in place of the real one."""
    digests = {}
    folder = tmp_path / "full"
    for prefix, samples in (("train", 3001), ("t10k", 1001)):
        images = (np.arange(samples * 4) % 251).astype(np.uint8).reshape(samples, 2, 2)
        labels = (np.arange(samples) % 10).astype(np.uint8)
        write_idx_folder(folder, images, labels, prefix, zipped=prefix == "train")
        digests[f"{prefix}-images-idx3-ubyte"] = hashlib.md5(idx(images)).hexdigest()
        digests[f"{prefix}-labels-idx1-ubyte"] = hashlib.md5(idx(labels)).hexdigest()
    monkeypatch.setattr(data, "FASHION_MNIST_MD5", digests)
    return folder


def test_full_set_is_read_only_if_more_is_asked_for(full_set, monkeypatch):
    monkeypatch.setenv("PCSIM_DATA", str(full_set))
    assert load("fashion-mnist").x.shape == (3000, 784)
    assert load("fashion-mnist", samples=3000).x.shape == (3000, 784)
    for split, samples in (("train", 3001), ("test", 1001)):
        dataset = load("fashion-mnist", samples=samples, split=split)
        check_dataset(dataset)
        assert (dataset.name, dataset.x.shape) == ("fashion-mnist", (samples, 4))
    assert "3,002 samples asked for, but there are 3,001" in refusal("fashion-mnist", samples=3002)


def test_full_set_below_the_folder_or_from_the_system(full_set, tmp_path, monkeypatch):
    full_set.rename(tmp_path / "fashion-mnist")
    monkeypatch.setenv("PCSIM_DATA", str(tmp_path))
    assert len(load("fashion-mnist", samples=3001).x) == 3001
    (tmp_path / "fashion-mnist").rename(tmp_path / "system")
    assert len(load("fashion-mnist", samples=3001).x) == 3001
    monkeypatch.delenv("PCSIM_DATA")
    assert len(load("fashion-mnist", samples=3001).x) == 3001


@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_full_set_must_be_the_original(full_set, monkeypatch, kind):
    monkeypatch.setenv("PCSIM_DATA", str(full_set))
    path = full_set / f"t10k-{kind}-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    message = refusal("fashion-mnist", samples=1001, split="test")
    assert str(path) in message
    assert data.FASHION_MNIST_MD5[path.name] in message


def test_without_the_full_set_the_line_says_where_more_comes_from():
    message = refusal("fashion-mnist", samples=3001)
    assert "3,001 train samples asked for, but only 3,000" in message
    assert "dataset-fashion-mnist" in message
    assert "PCSIM_DATA" in message
    assert "only 1,000" in refusal("fashion-mnist", samples=1001, split="test")


# --- digits ---


def test_digits():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    pixels, labels = sklearn_datasets.load_digits(return_X_y=True)
    for split, rows in (("train", slice(0, 1437)), ("test", slice(1437, 1797))):
        dataset = load("digits", split=split)
        check_dataset(dataset)
        assert (dataset.name, dataset.classes) == ("digits", 10)
        np.testing.assert_array_equal(dataset.x, (pixels[rows] / 16).astype(np.float32))
        np.testing.assert_array_equal(dataset.labels, labels[rows])
    assert len(load("digits", split="test").x) == 360
    assert "there are 360" in refusal("digits", split="test", samples=361)


def test_digits_need_nothing_that_is_not_installed_with_pcsim(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert len(load("digits").x) == 1437


# --- arguments and names ---


@pytest.mark.parametrize("option", ["samples", "classes"])
@pytest.mark.parametrize("number", [0, -1, 2.5, "3", float("nan")])
def test_counts_must_be_whole_and_positive(option, number):
    message = refusal("fashion-mnist", **{option: number})
    assert message.startswith(f"{option}: must be a whole number of at least 1")


def test_split_must_be_known():
    assert refusal("fashion-mnist", split="validation").startswith("split: must be 'train' or 'test'")


@pytest.mark.parametrize("name", ["fashion-minst", "", "no/such/place.npz", "null\0byte", "a\nb", "x" * 5000])
def test_unknown_names_list_the_known_ones(name, tmp_path, monkeypatch):
    for folder in ("", str(tmp_path)):
        monkeypatch.setenv("PCSIM_DATA", folder)
        message = refusal(name)
        assert repr(name) in message
        assert "fashion-mnist, digits" in message


def test_a_bare_name_is_looked_up_below_pcsim_data(tmp_path, monkeypatch):
    below = tmp_path / "below"
    write_idx_folder(below)
    write_idx_folder(below / "shapes")
    write_npz(below / "blobs.npz", x=np.eye(3), y=np.arange(3))
    monkeypatch.setenv("PCSIM_DATA", str(below))
    assert load("shapes").name == "shapes"
    assert load("blobs.npz").x.shape == (3, 3)
    assert load("train-images-idx3-ubyte").x.shape == (5, 6)
    assert "cannot be found" in refusal("./shapes")
    # What stands here goes before what stands there.
    write_npz(tmp_path / "blobs.npz", x=np.eye(2), y=np.arange(2))
    assert load("blobs.npz").x.shape == (2, 2)


def test_a_known_name_wins_over_a_folder_of_that_name(tmp_path):
    write_idx_folder(tmp_path / "fashion-mnist")
    assert load("fashion-mnist", samples=1).x.shape == (1, 784)
    assert load("./fashion-mnist", samples=1).x.shape == (1, 6)


# --- the script that made the embedded file ---


@pytest.fixture
def script(monkeypatch):
    location = ROOT / "scripts" / "make_fashion_mnist.py"
    spec = importlib.util.spec_from_file_location("make_fashion_mnist", location)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec.loader.exec_module(module)
    return module


def test_script_makes_the_same_bytes_each_time(script, full_set, tmp_path, monkeypatch, capsys):
    for path in full_set.iterdir():
        if path.suffix != ".gz":
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    source = tmp_path / "share" / "datasets" / "fashion-mnist"
    source.parent.mkdir(parents=True)
    full_set.rename(source)
    terms = tmp_path / "share" / "doc" / "dataset-fashion-mnist" / "copyright"
    terms.parent.mkdir(parents=True)
    terms.write_text("Do as you like. \n")
    monkeypatch.setattr(script, "FASHION_MNIST_MD5", data.FASHION_MNIST_MD5)
    made = []
    for out in (tmp_path / "one", tmp_path / "two"):
        monkeypatch.setattr(sys, "argv", ["make", "--source", str(source), "--out", str(out)])
        assert script.main() == 0
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
        # Zip archives keep times to two seconds: the second run is made to look like another year.
        monkeypatch.setattr("time.time", lambda: 4e9)
    assert made[0] == made[1]
    assert made[0]["fashion-mnist-LICENSE.txt"].endswith(b"\n\nDo as you like.\n")
    assert "train: 3,000 samples, of each class 300 300" in capsys.readouterr().out
    dataset = load(tmp_path / "one" / "fashion-mnist-small.npz", split="test")
    np.testing.assert_array_equal(dataset.labels, np.arange(1000) % 10)

    data.FASHION_MNIST_MD5["t10k-labels-idx1-ubyte"] = "0" * 32
    monkeypatch.setattr(sys, "argv", ["make", "--source", str(source), "--out", str(tmp_path / "three")])
    assert script.main() == 2
    assert "t10k-labels-idx1-ubyte.gz" in capsys.readouterr().err
    assert not (tmp_path / "three").exists()


def test_script_refuses_a_set_out_of_balance(script):
    with pytest.raises(InputError, match="out of balance"):
        script.check_balance("train", np.repeat(np.arange(10), [10] * 9 + [5]))
    with pytest.raises(InputError, match="out of balance"):
        script.check_balance("train", np.arange(110) % 11)
