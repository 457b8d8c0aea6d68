"""Data sets: exact values from good files, and one clear line, never anything else, from every bad one."""

import ast
import doctest
import errno
import gzip
import hashlib
import importlib.util
import io
import os
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

import pcsim
from pcsim.errors import InputError
from pcsim.training import data
from pcsim.training.data import Dataset, load

ROOT = Path(__file__).parents[2]
IMAGES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2) * 8
LABELS = np.array([2, 0, 1, 2, 2], dtype=np.uint8)


@pytest.fixture(autouse=True)
def nothing_but_tmp_path(tmp_path, monkeypatch):
    """No data sets of this machine, no environment of its user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PCSIM_DATA", raising=False)
    monkeypatch.setattr(data, "SYSTEM_FASHION_MNIST", tmp_path / "system")


def idx(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx_folder(folder, images=IMAGES, labels=LABELS, prefix="train", zipped=False):
    folder.mkdir(exist_ok=True)
    for name, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
        content = array if isinstance(array, bytes) else idx(array)
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / name).write_bytes(content)
    return folder


def write_npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def npy(header, content=b""):
    """A ``.npy`` file with this header, true or not."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def write_members(path, compression=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def refusal(path, **options):
    """The one line with which ``load`` refuses ``path``."""
    with pytest.raises(InputError) as caught:
        load(str(path), **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    return message


def check_dataset(dataset):
    assert isinstance(dataset, Dataset)
    samples = len(dataset.labels)
    assert samples > 0
    assert dataset.x.ndim == 2
    assert dataset.x.shape[0] == samples
    assert dataset.x.shape[1] > 0
    assert dataset.y.shape == (samples, dataset.classes)
    assert (dataset.x.dtype, dataset.y.dtype, dataset.labels.dtype) == (np.float32, np.float32, np.int64)
    for array in (dataset.x, dataset.y, dataset.labels):
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert np.isfinite(array).all()
    np.testing.assert_array_equal(dataset.y.argmax(axis=1), dataset.labels)


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
    assert data.names() == ["fashion-mnist", "digits"]
    assert load(samples=1).name == data.names()[0]


def test_docstring_examples():
    results = doctest.testmod(data)
    assert results.failed == 0
    assert results.attempted > 0


def test_module_imports_nothing_heavy():
    tree = ast.parse(Path(data.__file__).read_text(encoding="utf-8"))
    imported = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + node.module)
    others = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert others == {"numpy", "numpy.typing", "..errors"}


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


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "pip install scikit-learn" in refusal("digits")


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


# --- IDX files ---


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_folder(tmp_path, zipped):
    write_idx_folder(tmp_path / "set", zipped=zipped)
    write_idx_folder(tmp_path / "set", IMAGES[:2], LABELS[:2], "t10k", zipped)
    dataset = load(tmp_path / "set")
    check_dataset(dataset)
    assert (dataset.name, dataset.classes) == ("set", 3)
    np.testing.assert_array_equal(dataset.x, IMAGES.reshape(5, 6) / np.float32(255))
    np.testing.assert_array_equal(dataset.y, np.eye(3)[LABELS])
    assert load(tmp_path / "set", split="test", samples=1).x.shape == (1, 6)


@pytest.mark.parametrize("images_zipped", [False, True])
@pytest.mark.parametrize("labels_zipped", [False, True])
def test_idx_images_file_finds_its_labels(tmp_path, images_zipped, labels_zipped):
    for name, array, zipped in (
        ("my-images.idx3", IMAGES, images_zipped),
        ("my-labels.idx1", LABELS, labels_zipped),
    ):
        path = tmp_path / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    images = tmp_path / ("my-images.idx3.gz" if images_zipped else "my-images.idx3")
    np.testing.assert_array_equal(load(images).labels, LABELS)
    assert load(images).name == images.name
    assert "is no test split by its name" in refusal(images, split="test")


def test_idx_test_images_file(tmp_path):
    write_idx_folder(tmp_path, prefix="t10k")
    assert len(load("t10k-images-idx3-ubyte", split="test").x) == 5
    assert len(load("t10k-images-idx3-ubyte").x) == 5


def test_idx_gzip_is_known_by_its_content(tmp_path):
    write_idx_folder(tmp_path, gzip.compress(idx(IMAGES)), gzip.compress(idx(LABELS)))
    np.testing.assert_array_equal(load(tmp_path).labels, LABELS)


GOOD_IMAGES = idx(IMAGES)
GOOD_GZIP = gzip.compress(GOOD_IMAGES, mtime=0)
HUGE = struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3)


BROKEN_IMAGES = {
    "empty": (b"", "nothing (it is empty)"),
    "inside the magic number": (b"\0\0\x08", "begins with 00 00 08; expected 00 00 08 03"),
    "after the magic number": (GOOD_IMAGES[:4], "ends inside its header; expected 16 bytes"),
    "inside the header": (GOOD_IMAGES[:15], "ends inside its header; expected 16 bytes"),
    "after the header": (GOOD_IMAGES[:16], "only 0 bytes of data; expected 30"),
    "inside the data": (GOOD_IMAGES[:-1], "only 29 bytes of data; expected 30"),
    "surplus": (GOOD_IMAGES + b"\0", "more bytes of data; expected 30"),
    "labels as images": (idx(LABELS), "begins with 00 00 08 01; expected 00 00 08 03"),
    "float type": (b"\0\0\x0d\x03" + GOOD_IMAGES[4:], "expected 00 00 08 03"),
    "text": (b"x,y\n1,2\n", "begins with 78 2c 79 0a; expected 00 00 08 03"),
    "huge claim": (HUGE, "expected at most 2,147,483,648 bytes"),
    "just not huge claim": (
        struct.pack(">4B3I", 0, 0, 8, 3, 2**20, 2**10, 2) + b"\0",
        "only 1 bytes of data; expected 2,147,483,648",
    ),
    "huge claim in gzip": (gzip.compress(HUGE), "expected at most 2,147,483,648 bytes"),
    "empty in gzip": (gzip.compress(b""), "nothing (it is empty)"),
    "truncated, then gzip": (gzip.compress(GOOD_IMAGES[:-3]), "only 27 bytes"),
    "surplus in gzip": (gzip.compress(GOOD_IMAGES + b"abc"), "more bytes"),
    "gzip cut after magic": (GOOD_GZIP[:2], "cannot be read (EOFError"),
    "gzip cut after header": (GOOD_GZIP[:10], "cannot be read (EOFError"),
    "gzip cut in data": (GOOD_GZIP[:-9], "cannot be read (EOFError"),
    "gzip cut in checksum": (GOOD_GZIP[:-1], "cannot be read (EOFError"),
    "gzip checksum": (GOOD_GZIP[:-8] + b"\0" * 8, "cannot be read (BadGzipFile: CRC check failed"),
    "gzip deflate": (GOOD_GZIP[:10] + b"\xff" * 20, "cannot be read (error: Error -3"),
    "gzip and garbage": (GOOD_GZIP + b"garbage", "cannot be read (BadGzipFile"),
    "no images": (idx(np.zeros((0, 3, 2), np.uint8)), "has shape (0, 3, 2); expected at least one"),
    "no pixels": (idx(np.zeros((5, 0, 2), np.uint8)), "has shape (5, 0, 2); expected"),
    "fewer images than labels": (idx(IMAGES[:4]), "holds 4 samples; expected 5 as in"),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN_IMAGES.values(), ids=BROKEN_IMAGES)
def test_broken_idx_images(tmp_path, content, reason):
    folder = write_idx_folder(tmp_path / "set", content)
    for path in (folder, folder / "train-images-idx3-ubyte"):
        message = refusal(path, samples=1)
        assert str(folder / "train-images-idx3-ubyte") in message
        assert reason in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "nothing (it is empty)"),
        (idx(LABELS)[:7], "ends inside its header; expected 8 bytes"),
        (idx(LABELS)[:-1], "only 4 bytes of data; expected 5"),
        (idx(IMAGES), "begins with 00 00 08 03; expected 00 00 08 01 for IDX labels"),
        (idx(LABELS[:4]), "holds 5 samples; expected 4 as in"),
        (idx(LABELS[:0]), "has shape (0,); expected at least one sample"),
    ],
)
def test_broken_idx_labels(tmp_path, content, reason):
    folder = write_idx_folder(tmp_path / "set", labels=content)
    message = refusal(folder)
    assert str(folder / "train-labels-idx1-ubyte") in message
    assert reason in message


def test_missing_idx_files(tmp_path):
    images = tmp_path / "train-images-idx3-ubyte"
    message = refusal(tmp_path)
    assert str(images) in message
    assert "No such file" in message
    images.write_bytes(GOOD_IMAGES)
    for path in (tmp_path, images):
        message = refusal(path)
        assert str(tmp_path / "train-labels-idx1-ubyte") in message
        assert "No such file" in message
    message = refusal(tmp_path, split="test")
    assert "t10k-images-idx3-ubyte" in message


def test_a_file_of_another_kind_is_told_what_could_be_read(tmp_path):
    (tmp_path / "table.csv").write_text("1,2\n")
    message = refusal(tmp_path / "table.csv")
    assert str(tmp_path / "table.csv") in message
    assert data.READABLE in message


def test_what_is_no_file(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    assert "is not a regular file" in refusal(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").rmdir()
    # Opening a pipe would wait for ever.
    os.mkfifo(tmp_path / "train-images-idx3-ubyte")
    assert "is not a regular file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.npz")
    assert "is not a regular file" in refusal(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    assert str(tmp_path / "folder.npz") in refusal(tmp_path / "folder.npz")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert repr(str(tmp_path / "loop")) in refusal(tmp_path / "loop")
    (tmp_path / "dangling.npz").symlink_to(tmp_path / "nowhere")
    assert "No such file" in refusal(tmp_path / "dangling.npz")


def test_a_line_break_in_a_file_name_does_not_break_the_line(tmp_path):
    (tmp_path / "two\nlines.npz").write_bytes(b"")
    assert "two lines.npz" in refusal(tmp_path / "two\nlines.npz")


@pytest.mark.parametrize("name", ["set", "train-images-idx3-ubyte", "arrays.npz"])
def test_permission_denied_on_the_file(tmp_path, monkeypatch, name):
    write_idx_folder(tmp_path / "set")
    write_idx_folder(tmp_path)
    write_npz(tmp_path / "arrays.npz", x=np.eye(2), y=np.arange(2))

    def denied(path, mode):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(data, "open", denied, raising=False)
    message = refusal(tmp_path / name)
    assert str(tmp_path / name) in message
    assert "Permission denied" in message


@pytest.fixture
def closed_folder(tmp_path):
    """A folder nobody may enter; root may enter any, so that the test has to become somebody else."""
    folder = tmp_path / "closed"
    folder.mkdir()
    write_npz(folder / "arrays.npz", x=np.eye(2), y=np.arange(2))
    folder.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
    except OSError:
        pytest.skip("root here cannot become another user")
    yield folder
    os.seteuid(user)
    folder.chmod(0o700)


def test_permission_denied_on_the_folder(closed_folder):
    for path in (closed_folder, closed_folder / "arrays.npz"):
        message = refusal(path)
        assert str(path) in message
        assert "Permission denied" in message


# --- npz archives ---


def test_npz_with_both_splits(tmp_path):
    x = np.linspace(-3, 3, 24).reshape(4, 3, 2)
    path = write_npz(tmp_path / "a.npz", x_train=x, y_train=[0, 1, 2, 1], x_test=x[:2], y_test=[1, 0], x=x, y=x)
    dataset = load(path)
    check_dataset(dataset)
    assert (dataset.name, dataset.classes) == ("a.npz", 3)
    np.testing.assert_array_equal(dataset.x, x.reshape(4, 6).astype(np.float32))
    assert load(path, split="test").labels.tolist() == [1, 0]
    assert load(path, split="test").classes == 2
    assert load(path, split="test", classes=3).y.shape == (2, 3)


def test_npz_with_one_split(tmp_path):
    path = write_npz(tmp_path / "a.NPZ.npz", x=np.eye(3), y=np.arange(3), other=np.array(["text"]))
    assert load(path).classes == 3
    message = refusal(path, split="test")
    assert "holds 'other', 'x', 'y'; expected x_test and y_test for the test split" in message


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "u4", "<i8", ">u8", "?", "f2", ">f4", "f8", "longdouble"])
def test_npz_inputs_of_every_type(tmp_path, dtype):
    stored = np.array([[0, 1], [1, 0]], dtype=dtype)
    dataset = load(write_npz(tmp_path / "a.npz", x=np.asfortranarray(stored), y=[0, 1]))
    check_dataset(dataset)
    expected = stored.astype(np.float32) / np.float32(255 if dtype == "u1" else 1)
    np.testing.assert_array_equal(dataset.x, expected)


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "<i8", ">u8", "?"])
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_npz_labels_of_every_type(tmp_path, dtype, shape):
    labels = np.array([1, 0], dtype=dtype).reshape(shape)
    dataset = load(write_npz(tmp_path / "a.npz", x=np.eye(2), y=labels))
    check_dataset(dataset)
    assert dataset.labels.tolist() == [1, 0]
    assert dataset.y.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("dtype", ["u1", "?", "i8", "f4", "f8"])
def test_npz_wide_targets_are_taken_as_they_are(tmp_path, dtype):
    targets = np.array([[0, 1, 0], [0, 0, 1]], dtype=dtype)
    path = write_npz(tmp_path / "a.npz", x=np.eye(2), y=targets)
    dataset = load(path, classes=3)
    check_dataset(dataset)
    np.testing.assert_array_equal(dataset.y, targets.astype(np.float32))
    assert dataset.labels.tolist() == [1, 2]
    assert "has 3 columns; expected the 4 classes asked for" in refusal(path, classes=4)


def test_npz_real_valued_targets(tmp_path):
    targets = np.array([[0.5, -2.0], [-3.0, 7.25]])
    dataset = load(write_npz(tmp_path / "a.npz", x=np.eye(2), y=targets), samples=2)
    np.testing.assert_array_equal(dataset.y, targets)
    assert dataset.labels.tolist() == [0, 1]
    single = load(write_npz(tmp_path / "b.npz", x=np.eye(2), y=targets[:, :1]))
    assert (single.classes, single.y.tolist()) == (1, [[0.5], [-3.0]])


X, Y = np.eye(3), np.arange(3)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({}, "holds nothing; expected x_train and y_train or x and y"),
        ({"x": X}, "holds 'x'; expected x_train and y_train or x and y"),
        ({"x_train": X, "y": Y}, "holds 'x_train', 'y'; expected"),
        ({"x": X, "y": Y[:2]}, "holds 3 samples; expected 2 as in"),
        ({"x": X[:0], "y": Y[:0]}, "(x): has shape (0, 3); expected at least one sample"),
        ({"x": X[:, :0], "y": Y}, "(x): has shape (3, 0); expected"),
        ({"x": X[0], "y": Y}, "(x): has shape (3,); expected (samples, features)"),
        ({"x": np.float64(1), "y": Y}, "(x): has shape (); expected"),
        ({"x": X, "y": np.int64(1)}, "(y): has shape (); expected"),
        ({"x": X, "y": X[:, :, None]}, "(y): holds float32 of shape (3, 3, 1); expected integer labels"),
        ({"x": X, "y": Y / 1}, "(y): holds float32 of shape (3,); expected integer labels"),
        ({"x": X, "y": Y - 1}, "(y): has labels from -1 to 1; expected 0 to 1"),
        ({"x": X, "y": -Y - 1}, "(y): has labels from -3 to -1; expected"),
        ({"x": X, "y": Y.astype("u8") + np.uint64(2**63)}, "targets; expected fewer classes or samples"),
        ({"x": X, "y": Y + 10**12}, "targets; expected fewer classes or samples"),
        ({"x": X.astype(str), "y": Y}, "(x): holds <U32 data; expected integer or real numbers"),
        ({"x": X.astype("S4"), "y": Y}, "(x): holds |S4 data; expected integer or real numbers"),
        ({"x": X.astype(complex), "y": Y}, "(x): holds complex128 data; expected"),
        ({"x": X, "y": Y.astype("m8[s]")}, "(y): holds timedelta64[s] data; expected"),
        ({"x": X.view([("a", "f8")]), "y": Y}, "(x): holds [('a', '<f8')] data; expected"),
        ({"x": np.where(Y[:, None] == 2, np.nan, X), "y": Y}, "(x): is not finite (as float32) in sample 2"),
        ({"x": np.where(Y[:, None] == 1, -np.inf, X), "y": Y}, "(x): is not finite (as float32) in sample 1"),
        ({"x": X * 1e39, "y": Y}, "(x): is not finite (as float32) in sample 0"),
        ({"x": X, "y": X * np.nan}, "(y): is not finite (as float32) in sample 0"),
    ],
)
def test_npz_that_cannot_be_used(tmp_path, arrays, reason):
    path = write_npz(tmp_path / "a.npz", **arrays)
    # One sample is asked for: damage beyond it is damage too.
    message = refusal(path, samples=1)
    assert str(path) in message
    assert reason.replace("|S4", str(np.dtype("S4"))) in message


def good_npz():
    stream = io.BytesIO()
    np.savez_compressed(stream, x=X, y=Y)
    return stream.getvalue()


GOOD_NPZ = good_npz()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"text", id="text"),
        pytest.param(GOOD_IMAGES, id="IDX"),
        pytest.param(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", b"\0" * 8), id="npy"),
        *[pytest.param(GOOD_NPZ[: len(GOOD_NPZ) * n // 10], id=f"cut at {n} tenths") for n in range(1, 10)],
        pytest.param(GOOD_NPZ[:-1], id="cut by a byte"),
    ],
)
def test_npz_that_is_no_whole_zip(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    message = refusal(path)
    assert str(path) in message
    assert "expected a whole .npz archive of numeric arrays" in message


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 3), }"


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no array", id="no magic"),
        pytest.param(npy(HEADER, X.tobytes()[:-1]), id="data too short"),
        pytest.param(npy(HEADER, X.tobytes() + b"\0"), id="data too long"),
        pytest.param(npy(HEADER.replace("(3, 3)", "(3000000, 3000000)"), X.tobytes()), id="huge claim"),
        pytest.param(npy(HEADER.replace("(3, 3)", f"({2**62}, {2**62}, 8)"), X.tobytes()), id="overflow"),
        pytest.param(npy(HEADER.replace("(3, 3)", "(-3, -3)"), X.tobytes()), id="negative"),
        pytest.param(npy(HEADER.replace("(3, 3)", "'3'"), X.tobytes()), id="shape of text"),
        pytest.param(npy(HEADER.replace("<f8", "<q99"), X.tobytes()), id="unknown type"),
        pytest.param(npy(HEADER.replace("<f8", "|O"), X.tobytes()), id="objects"),
        pytest.param(npy("{" * 5000), id="nested"),
        pytest.param(npy("'\\d' + 1"), id="no dictionary, and a parser that warns"),
        pytest.param(npy("__import__('os').mkdir('made')"), id="code"),
        pytest.param(b"\x93NUMPY\x09\x00" + npy(HEADER, X.tobytes())[8:], id="unknown version"),
    ],
)
def test_npz_with_a_broken_array(tmp_path, member):
    path = write_members(tmp_path / "a.npz", x=member, y=npy(HEADER, X.tobytes()))
    assert str(path) in refusal(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


def test_npz_written_by_python_2(tmp_path):
    path = write_members(
        tmp_path / "a.npz",
        x=npy(HEADER.replace("(3, 3)", "(3L, 3L)"), X.tobytes()),
        y=npy(HEADER.replace("(3, 3)", "(3L,)").replace("<f8", "<i8"), Y.astype("<i8").tobytes()),
    )
    np.testing.assert_array_equal(load(path).x, X)


def test_npz_of_other_compressions(tmp_path):
    members = {"x": npy(HEADER, X.tobytes()), "y": npy(HEADER, X.tobytes())}
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = write_members(tmp_path / "a.npz", compression, **members)
        np.testing.assert_array_equal(load(path).x, X)


def test_npz_members_that_zip_cannot_open(tmp_path):
    path = tmp_path / "a.npz"
    central = GOOD_NPZ.index(b"PK\x01\x02")
    for offset, field, reason in (
        (8, b"\x01\x00", "encrypted"),
        (10, b"\x63\x00", "compression"),
        (24, b"\xf0\xff\xff\xff", "claims a larger x; expected at most 2,147,483,648 bytes"),
        (16, b"\0\0\0\0", "CRC"),
    ):
        content = bytearray(GOOD_NPZ)
        content[central + offset : central + offset + len(field)] = field
        path.write_bytes(content)
        message = refusal(path)
        assert str(path) in message
        assert reason in message


def test_a_decompression_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "LARGEST_BYTES", 10**5)
    bomb = write_npz(tmp_path / "a.npz", x=np.zeros((100, 1000), np.uint8), y=np.zeros(100, np.uint8))
    assert "claims a larger x" in refusal(bomb)
    write_idx_folder(tmp_path, gzip.compress(idx(np.zeros((100, 100, 11), np.uint8))))
    assert "claims the shape (100, 100, 11); expected at most 100,000 bytes" in refusal(tmp_path)


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("trapped", ["x", "y"])
def test_pickles_are_refused_unread(tmp_path, trapped):
    sprung = tmp_path / "sprung"
    arrays = {"x": X, "y": Y, trapped: np.array([Trap(sprung)] * 3, dtype=object)}
    path = write_npz(tmp_path / "a.npz", **arrays)
    with np.load(path, allow_pickle=True) as archive:
        assert archive[trapped].shape == (3,)
    assert sprung.exists()
    sprung.unlink()
    message = refusal(path)
    assert str(path) in message
    assert "Object arrays cannot be loaded" in message
    assert not sprung.exists()


def test_a_bare_pickle_is_refused_unread(tmp_path):
    path = tmp_path / "a.npz"
    np.array([Trap(tmp_path / "sprung")], dtype=object).dump(path)
    assert str(path) in refusal(path)
    write_members(path, x=path.read_bytes(), y=path.read_bytes())
    assert str(path) in refusal(path)
    assert not (tmp_path / "sprung").exists()


# --- random damage: arrays that make sense, or one line ---

FILES = {
    "train-images-idx3-ubyte": GOOD_IMAGES,
    "train-labels-idx1-ubyte": idx(LABELS),
    "train-images-idx3-ubyte.gz": GOOD_GZIP,
    "train-labels-idx1-ubyte.gz": gzip.compress(idx(LABELS), mtime=0),
    "arrays.npz": GOOD_NPZ,
}


@st.composite
def damaged(draw, content):
    """The content with a few bytes changed, and perhaps a piece cut out, doubled or put in."""
    content = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    start, end = sorted((draw(st.integers(0, len(content))), draw(st.integers(0, len(content)))))
    match draw(st.sampled_from(["keep", "keep", "cut", "double", "end", "insert"])):
        case "cut":
            del content[start:end]
        case "double":
            content[start:start] = content[start:end]
        case "end":
            del content[start:]
        case "insert":
            content[start:start] = draw(st.binary(max_size=20))
    return bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_random_damage(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("damaged")
    kind = "images" if "images" in name else "labels"
    for other, content in FILES.items():
        if other.endswith(".gz") == name.endswith(".gz") and kind not in other:
            (folder / other).write_bytes(content)
    path = folder / name
    asked = path if name.endswith(".npz") else folder

    @settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @given(content=damaged(FILES[name]))
    def run(content):
        path.write_bytes(content)
        message = None
        try:
            dataset = load(asked)
        except InputError as error:
            message = str(error)
        if message is None:
            check_dataset(dataset)
        else:
            assert len(message.splitlines()) == 1
            assert str(folder) in message

    # Hypothesis would keep its notes beside the sources.
    set_hypothesis_home_dir(folder / "hypothesis")
    try:
        run()
    finally:
        set_hypothesis_home_dir(None)


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
