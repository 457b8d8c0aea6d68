"""IDX files and npz archives: what is read, and one line for each that is broken, at random too."""

import errno
import gzip
import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_files import IMAGES, LABELS, check_dataset, idx, npy, refusal, write_idx_folder, write_members, write_npz
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from pcsim.errors import InputError
from pcsim.training import stored
from pcsim.training.data import load

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
    assert "is not a test split by its name" in refusal(images, split="test")


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
    assert stored.READABLE in message


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

    monkeypatch.setattr(stored, "open", denied, raising=False)
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
        ({"x": X, "y": Y - 1}, "(y): has labels from -1 to 1; expected 0 and above"),
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
    monkeypatch.setattr(stored, "LARGEST_BYTES", 10**5)
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


@pytest.mark.parametrize("kind", ["folder", "images", "npz", "labels in npz"])
def test_at_most_so_many_samples(tmp_path, kind):
    folder = write_idx_folder(tmp_path / "idx")
    path = {
        "folder": lambda: folder,
        "images": lambda: folder / "train-images-idx3-ubyte",
        "npz": lambda: write_npz(tmp_path / "a.npz", x=IMAGES, y=np.eye(3, dtype="f4")[LABELS]),
        "labels in npz": lambda: write_npz(tmp_path / "b.npz", x=IMAGES.astype("f4"), y=LABELS),
    }[kind]()
    whole = load(path)
    for at_most, expected in ((1, 1), (4, 4), (5, 5), (250, 5), (None, 5), (np.int64(3), 3), (np.array(2), 2)):
        data = load(path, at_most=at_most)
        assert len(data.x) == len(data.y) == len(data.labels) == expected
        assert np.array_equal(data.x, whole.x[:expected])
        assert data.classes == whole.classes
    assert len(load(path, samples=2, at_most=4).x) == 2
    assert "250 samples asked for, but there are 5" in refusal(path, samples=250, at_most=250)
    for wrong in (0, 2.5, "2", True):
        assert refusal(path, at_most=wrong).startswith("at_most: must be a whole number of at least 1, not ")


def test_at_most_so_many_of_those_that_come_with_pcsim():
    assert len(load(at_most=250).x) == 250
    assert len(load(at_most=10**6).x) == 3000
    assert len(load(split="test", at_most=10**6).x) == 1000
