"""Sets of coloured images: CIFAR-10 and SVHN from files below ``$PCSIM_DATA``, and random images where these are not.

Whatever a file's order is, out come rows of height × width × channels, channels last, as nets with convolutions take
them. Broken files are one line of InputError.

- ``cifar-10-batches-bin``: records of a label (a byte) and 3 × 1,024 pixels: the rows of the red plane, of the green,
  of the blue (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images";
  www.cs.toronto.edu/~kriz/cifar.html, "Binary version"). 10,000 in each file of the set; any whole number is read.
- ``cifar-10.npz``, ``svhn.npz``: ``x_train``, ``y_train``, ``x_test``, ``y_test``; pixels uint8 of shape
  (N, 32, 32, 3), (N, 3, 32, 32) or (N, 3072), which are planes as in CIFAR's files; labels 0 … 9. SVHN's own files
  (Netzer et al. 2011, ufldl.stanford.edu/housenumbers) say 10 for the digit 0, which is read as 0.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..checks import is_whole, shown
from .stored import LARGEST_BYTES, Stored, problem, read_npz, reading

CIFAR_10, SVHN, SYNTHETIC = "cifar-10", "svhn", "synthetic-images"

CLASSES = 10
SIDE, CHANNELS = 32, 3

CIFAR_FOLDER = "cifar-10-batches-bin"
CIFAR_FILES = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}

_PIXELS = SIDE * SIDE * CHANNELS
_RECORD = 1 + _PIXELS
_OF_THE_SET = 10_000 * _RECORD  # bytes of each file

_SPLITS = ("train", "test")

_SHAPES = ((SIDE, SIDE, CHANNELS), (CHANNELS, SIDE, SIDE), (_PIXELS,))  # of an image in an archive


def is_cifar_10(path: Path) -> bool:
    """Whether it is a folder with CIFAR-10's binary files."""
    return any((path / name).exists() for names in CIFAR_FILES.values() for name in names)


def read_cifar_10(split: str, folder: Path | None = None) -> tuple[Stored, Stored]:
    """Images and labels of a split of CIFAR-10, from a ``folder`` of its binary files or from below ``PCSIM_DATA``."""
    below = os.environ.get("PCSIM_DATA")
    if folder is None and below and os.path.exists(os.path.join(below, CIFAR_FOLDER)):
        folder = Path(below, CIFAR_FOLDER)
    if folder is None:
        return _read_archive(CIFAR_10, split, f"$PCSIM_DATA/{CIFAR_FOLDER} or ")
    parts, where = [_records(folder / name) for name in CIFAR_FILES[split]], str(folder)
    images = np.concatenate([records[:, 1:] for records in parts])
    return Stored(where, _channels_last(images)), Stored(where, np.concatenate([records[:, 0] for records in parts]))


def read_svhn(split: str) -> tuple[Stored, Stored]:
    """Images and labels of a split of SVHN, "cropped digits"."""
    x, y = _read_archive(SVHN, split)
    if y.array.min() > 0 and y.array.max() == CLASSES:
        y = y._replace(array=y.array % CLASSES)
    return x, y


def synthetic_images(split: str, samples: int, image: Sequence[int], seed: int = 0) -> tuple[Stored, Stored]:
    """``samples`` random images and their labels, the same for the same ``seed``, and the first of more: coarse
    squares that tell the class, under as much noise."""
    if not isinstance(image, tuple | list) or len(image) != 3 or not all(is_whole(side) for side in image):
        raise problem(SYNTHETIC, f"an image is its height, width and channels, whole numbers, not {shown(image)}")
    height, width, channels = map(int, image)
    if 4 * samples * height * width * channels > LARGEST_BYTES:
        raise problem(SYNTHETIC, f"{samples:,} images of {height} x {width} x {channels} are too many; ask for fewer")
    coarse = np.random.default_rng([seed, 0]).integers(0, 128, (CLASSES, 4, 4, channels), np.uint8)
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    of_class = coarse[:, rows[:, None], columns]
    drawn = [np.random.default_rng([seed, 1 + _SPLITS.index(split), part]) for part in range(2)]
    labels = drawn[0].integers(0, CLASSES, samples, np.uint8)
    noise = drawn[1].integers(0, 128, (samples, height, width, channels), np.uint8)
    return Stored(SYNTHETIC, noise + of_class[labels]), Stored(SYNTHETIC, labels)


def _records(path: Path) -> np.ndarray:
    """(records, bytes of a record)."""
    with reading(path, f"{_OF_THE_SET:,} bytes, records of {_RECORD:,}") as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST_BYTES:
            raise problem(path, f"holds {size:,} bytes; expected at most {LARGEST_BYTES:,}")
        content = file.read(size + 1)
    found = len(content)
    if found == 0 or found % _RECORD:
        expected = f"{_OF_THE_SET:,}, as in the set, or another whole number of records of {_RECORD:,} bytes"
        raise problem(path, f"holds {found:,} bytes; expected {expected}")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    wrong = records[:, 0] >= CLASSES
    if wrong.any():
        record = int(wrong.argmax())
        raise problem(path, f"has the label {records[record, 0]} in record {record}; expected 0 to {CLASSES - 1}")
    return records


def _read_archive(name: str, split: str, or_else: str = "") -> tuple[Stored, Stored]:
    """The arrays of a split in ``$PCSIM_DATA/NAME.npz``, images channels last."""
    below, reason = os.environ.get("PCSIM_DATA"), "is not on this machine, or PCSIM_DATA does not name the folder above"
    if not below or not os.path.exists(path := Path(below, f"{name}.npz")):
        raise problem(name, f"{reason}; expected {or_else}$PCSIM_DATA/{name}.npz")
    x, y = read_npz(path, split)
    if x.array.dtype != np.uint8 or x.array.shape[1:] not in _SHAPES:
        expected = " or ".join(f"(N, {', '.join(map(str, shape))})" for shape in _SHAPES)
        raise problem(x.where, f"holds {x.array.dtype} data of shape {x.array.shape}; expected uint8 of {expected}")
    if y.array.dtype.kind not in "ui" or y.array.shape not in ((len(x.array),), (len(x.array), 1)):
        expected = f"whole numbers of shape ({len(x.array)},), a label for each image"
        raise problem(y.where, f"holds {y.array.dtype} data of shape {y.array.shape}; expected {expected}")
    if not len(x.array):
        raise problem(x.where, "holds no images; expected at least one")
    return (x if x.array.shape[-1] == CHANNELS else x._replace(array=_channels_last(x.array))), y


def _channels_last(planes: np.ndarray) -> np.ndarray:
    """Images whose channels are planes, as (N, height, width, channels)."""
    return planes.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
