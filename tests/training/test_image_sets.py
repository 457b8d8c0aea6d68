"""CIFAR-10 and SVHN from files, and synthetic images: the same rows from every order, or one line."""

import numpy as np
import pytest
from data_files import check_dataset, refusal, write_npz
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim import BP
from pcsim.training.curves import Study, curves, table
from pcsim.training.data import Dataset, load
from pcsim.training.image_sets import CIFAR_FILES, synthetic_images

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 32, 32, 3), np.uint8)  # channels last, as rows are
LABELS = np.array([3, 8, 0, 6, 1, 6, 9, 3, 5, 2, 7, 4], np.uint8)
DATA = Dataset("twelve", np.ones((4, 12), "f4"), np.eye(10, dtype="f4")[:4], np.arange(4), 10)
SPLITS = {"train": slice(0, 10), "test": slice(10, 12)}


def records(images, labels):
    """CIFAR-10's: a label, the red plane, the green and the blue."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([labels[:, None], planes], axis=1).astype(np.uint8).tobytes()


@pytest.fixture
def below(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("PCSIM_DATA", str(folder))
    return folder


def write_cifar(folder):
    """Two records in each training file."""
    folder.mkdir()
    for number, name in enumerate(CIFAR_FILES["train"]):
        part = slice(2 * number, 2 * number + 2)
        (folder / name).write_bytes(records(IMAGES[part], LABELS[part]))
    (folder / "test_batch.bin").write_bytes(records(IMAGES[10:], LABELS[10:]))
    return folder


def arrays(images=IMAGES, labels=LABELS):
    return {
        "x_train": images[:10],
        "y_train": labels[:10],
        "x_test": images[10:],
        "y_test": labels[10:],
    }


def check_rows(name, split):
    dataset, rows = load(name, split=split), SPLITS[split]
    check_dataset(dataset)
    assert dataset.classes == 10
    assert dataset.labels.tolist() == LABELS[rows].tolist()
    np.testing.assert_array_equal(dataset.x, IMAGES[rows].reshape(-1, 3072).astype(np.float32) / 255)


@pytest.mark.parametrize("split", SPLITS)
def test_cifar_10_of_binary_files(below, split):
    folder = write_cifar(below / "cifar-10-batches-bin")
    check_rows("cifar-10", split)
    check_rows(folder, split)  # by its path
    check_rows("cifar-10-batches-bin", split)
    write_npz(below / "cifar-10.npz", **arrays(images=255 - IMAGES))  # the files come first
    check_rows("cifar-10", split)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("order", ["channels last", "channels first", "rows of planes"])
@pytest.mark.parametrize("name", ["cifar-10", "svhn"])
def test_archives_in_each_order(below, name, order, split):
    planes = IMAGES.transpose(0, 3, 1, 2)
    images = {"channels last": IMAGES, "channels first": planes, "rows of planes": planes.reshape(12, 3072)}[order]
    write_npz(below / f"{name}.npz", **arrays(images, LABELS.astype(np.int64)[:, None]))
    check_rows(name, split)


def test_an_order_taken_for_another_would_be_seen(below):
    """The twin: planes whose numbers are as many, but not where they belong."""
    wrong = IMAGES.transpose(0, 3, 1, 2).reshape(12, 32, 32, 3)
    write_npz(below / "cifar-10.npz", **arrays(wrong))
    with pytest.raises(AssertionError):
        check_rows("cifar-10", "train")


def test_svhn_says_10_for_the_digit_0(below):
    write_npz(below / "svhn.npz", **arrays(labels=np.where(LABELS == 0, 10, LABELS)))
    check_rows("svhn", "train")
    check_rows("svhn", "test")


def test_as_many_samples_as_asked_for(below):
    write_cifar(below / "cifar-10-batches-bin")
    assert load("cifar-10", samples=3).labels.tolist() == [3, 8, 0]
    assert len(load("cifar-10", at_most=250).x) == 10
    assert "11 samples asked for, but there are 10" in refusal("cifar-10", samples=11)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data_batch_2.bin", b"", "holds 0 bytes; expected 30,730,000, as in the set, or another whole number of reco"),
        (
            "data_batch_5.bin",
            records(IMAGES[:2], LABELS[:2])[:-1],
            "holds 6,145 bytes; expected 30,730,000, as in the ",
        ),
        ("data_batch_1.bin", records(IMAGES[:2], LABELS[:2]) + b"x", "holds 6,147 bytes; expected"),
        ("data_batch_3.bin", records(IMAGES[:2], LABELS[:2] + 7), "has the label 10 in record 0; expected 0 to 9"),
    ],
)
def test_a_broken_cifar_file_is_one_line(below, name, content, said):
    folder = write_cifar(below / "cifar-10-batches-bin")
    (folder / name).write_bytes(content)
    assert (message := refusal("cifar-10", samples=1)).startswith(f"{folder / name}: ")
    assert said in message
    check_rows("cifar-10", "test")  # whose file is whole


@given(st.integers(0, 7000) | st.sampled_from([3072, 3073, 3074, 6146]), st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_files_of_any_length_and_label(tmp_path_factory, length, label):
    folder = tmp_path_factory.mktemp("cifar")
    (folder / "test_batch.bin").write_bytes(bytes([label]) * length)
    if length and length % 3073 == 0 and label < 10:
        assert load(folder, split="test").labels.tolist() == [label] * (length // 3073)
    else:
        assert refusal(folder, split="test").startswith(f"{folder / 'test_batch.bin'}: h")


def test_a_missing_file_is_one_line(below):
    folder = write_cifar(below / "cifar-10-batches-bin")
    (folder / "data_batch_4.bin").unlink()
    assert f"{folder / 'data_batch_4.bin'}: cannot be read (No such file" in refusal("cifar-10")


@pytest.mark.parametrize("named", [True, False])
def test_sets_that_are_not_there(below, monkeypatch, named):
    if not named:
        monkeypatch.delenv("PCSIM_DATA")
    message = refusal("cifar-10")
    assert message.endswith("expected $PCSIM_DATA/cifar-10-batches-bin or $PCSIM_DATA/cifar-10.npz")
    assert refusal("svhn").endswith("expected $PCSIM_DATA/svhn.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x_train": IMAGES[:10, :28]}, "(x_train): holds uint8 data of shape (10, 28, 32, 3); expected uint8 of (N"),
        ({"x_train": IMAGES[:10] / 255}, "(x_train): holds float64 data of shape (10, 32, 32, 3); expected uint8"),
        ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, "(x_train): holds no images"),
        ({"y_train": LABELS[:9]}, "(y_train): holds uint8 data of shape (9,); expected whole numbers of shape (10,)"),
        ({"y_train": np.eye(10)[LABELS[:10]]}, "(y_train): holds float64 data of shape (10, 10); expected whole num"),
        ({"y_train": LABELS[:10] + 20}, "(y_train): has labels from 20 to 29; expected 0 to 9"),
        ({"y_train": LABELS[:10].astype(int) - 1}, "(y_train): has labels from -1 to 8; expected 0 and above"),
        ({"y_train": LABELS[:10].astype(object)}, "Object arrays cannot be loaded when allow_pickle=False"),
        ({"x_train": IMAGES[:10].astype(object)}, "Object arrays cannot be loaded when allow_pickle=False"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["cifar-10", "svhn"])
def test_a_broken_archive_is_one_line(below, name, change, said):
    write_npz(below / f"{name}.npz", **(arrays() | change))
    message = refusal(name)
    assert message.startswith(str(below / f"{name}.npz"))
    assert said in message
    check_rows(name, "test")


def test_svhn_with_both_0_and_10_is_refused(below):
    write_npz(below / "svhn.npz", **arrays(labels=np.where(LABELS == 5, 10, LABELS)))
    assert "has labels from 0 to 10; expected 0 to 9" in refusal("svhn")


# --- synthetic images ---


def test_synthetic_images_say_what_they_are():
    dataset = load("synthetic-images", samples=60)
    check_dataset(dataset)
    assert (dataset.name, dataset.x.shape, dataset.classes) == ("synthetic-images-32x32x3", (60, 3072), 10)
    assert load("synthetic-images", image=(28, 20, 1), samples=4).name == "synthetic-images-28x20x1"
    assert [len(load("synthetic-images", split=split).x) for split in SPLITS] == [3000, 1000]
    assert len(load("synthetic-images", at_most=250).x) == 250


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_the_first_of_more_are_the_same(few, more, height, width, channels):
    few, more = sorted((few, few + more))
    for one, other in zip(
        synthetic_images("train", few, (height, width, channels)),
        synthetic_images("train", more, (height, width, channels)),
        strict=True,
    ):
        np.testing.assert_array_equal(one.array, other.array[:few])


def test_seeds_and_splits_differ_and_classes_can_be_told_apart():
    first, again, other = (synthetic_images("train", 300, (8, 8, 3), seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[0].array, again[0].array)
    assert not np.array_equal(first[0].array, other[0].array)
    test = synthetic_images("test", 300, (8, 8, 3))
    assert not np.array_equal(first[0].array, test[0].array)
    means = np.stack([first[0].array[first[1].array == label].mean(0) for label in range(10)]).reshape(10, -1)
    distances = ((test[0].array.reshape(300, 1, -1) - means) ** 2).sum(-1)
    assert (distances.argmin(1) == test[1].array).mean() > 0.95


@pytest.mark.parametrize("image", [(32, 32), (0, 4, 1), (4, 4, True), (4.5, 4, 1), 3072, "32x32x3"])
def test_an_image_that_is_none(image):
    assert "an image is its height, width and channels" in refusal("synthetic-images", image=image)


def test_more_synthetic_images_than_memory_is_one_line():
    assert "1,000,000,000 images of 32 x 32 x 3 are too many" in refusal("synthetic-images", samples=10**9)


def test_a_table_of_curves_marks_synthetic_images():
    net = Study(BP(1e-3), (12, 4, 10))
    for data, marked in ((load("synthetic-images", samples=8, image=(2, 2, 3)), True), (DATA, False)):
        text = table(list(curves([net], data, updates=1, backend="numpy")))
        assert ("synthetic images: random numbers" in text) == marked
