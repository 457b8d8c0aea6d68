"""Data sets as arrays: a small Fashion-MNIST and digits shipped with pcsim, sets of coloured images, IDX and npz files.

It must never know nets, algorithms or clocks, never use the network, and never let a file run code. Whatever
a file holds, out come arrays, the same each time, or one line of InputError that names the file, what is
wrong with it and what was expected.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..checks import is_whole, shown
from .image_sets import CIFAR_10, CLASSES, SVHN, SYNTHETIC, is_cifar_10, read_cifar_10, read_svhn, synthetic_images
from .stored import LARGEST_BYTES, READABLE, Stored, problem, read_idx_pair, read_npz

EMBEDDED_SAMPLES = {"train": 3000, "test": 1000}

FASHION_MNIST_MD5 = {  # of the uncompressed files of the full set
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}

SYSTEM_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist

IDX_IMAGES = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set: a row of each array is one sample."""

    name: str
    x: npt.NDArray[np.float32]  # (samples, features), in 0..1 if stored as pixels
    y: npt.NDArray[np.float32]  # (samples, classes), one-hot unless stored as real-valued targets
    labels: npt.NDArray[np.int64]  # (samples,), the column of the row's largest y
    classes: int

    @cached_property
    def digest(self) -> str:
        """Of inputs and targets as they are used: 16 characters that other numbers, or shapes, do not share."""
        found = hashlib.sha256()
        for array in (self.x, self.y):
            found.update(f"{array.shape} {array.dtype.name}\0".encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:16]


def names() -> list[str]:
    """The data sets that :func:`load` knows by name; the first is its default."""
    return ["fashion-mnist", "digits", CIFAR_10, SVHN, SYNTHETIC]


def load(
    name_or_path: str | Path = "fashion-mnist",
    *,
    samples: int | None = None,
    at_most: int | None = None,
    split: str = "train",
    classes: int | None = None,
    image: Sequence[int] = (32, 32, 3),
) -> Dataset:
    """Reads the first ``samples`` samples (default: all, or ``at_most`` so many, where there are more) of a data set's
    ``"train"`` or ``"test"`` split.

    >>> data = load("fashion-mnist", samples=250)
    >>> data.x.shape, data.y.shape, data.classes
    ((250, 784), (250, 10), 10)

    ``name_or_path`` is a name, else a path, else a file or folder's bare name below ``$PCSIM_DATA``:

    - ``"fashion-mnist"`` (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747): 3,000 training and 1,000 test
      images shipped with pcsim; only if more are asked for, the full set, its MD5 checked, from
      ``$PCSIM_DATA/fashion-mnist``, ``$PCSIM_DATA`` or Debian's package ``dataset-fashion-mnist``.
    - ``"digits"`` (8 x 8 pixels, shipped with pcsim; Alpaydin and Kaynak 1998, the test part of the UCI repository's
      "Optical Recognition of Handwritten Digits"): the first 1,437 to train, the last 360 to test.
    - ``"cifar-10"`` (Krizhevsky 2009): from ``$PCSIM_DATA/cifar-10-batches-bin`` (``data_batch_1.bin`` …,
      ``test_batch.bin``) or ``$PCSIM_DATA/cifar-10.npz``; ``"svhn"`` (Netzer et al. 2011): from
      ``$PCSIM_DATA/svhn.npz``. See ``image_sets``; rows are images, channels last.
    - ``"synthetic-images"``: random images of 10 classes, of the height, width and channels in ``image``, for speed and
      smoke tests; ``samples`` of them, by default 3,000 to train and 1,000 to test.
    - a folder of ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-...``, plain or ``.gz``.
    - an IDX images file, its labels beside it under the same name with ``labels`` and ``idx1``; a test split
      only if the name begins with ``t10k`` or ``test``.
    - an ``.npz`` of ``x_train``, ``y_train``, ``x_test``, ``y_test``, or of ``x``, ``y`` (train only). ``x``:
      (samples, ...); ``y``: integer labels (samples,) or (samples, 1), or targets (samples, classes).

    Inputs stored as uint8 are divided by 255, others taken as they are. ``classes`` is the width of one-hot
    ``y``: by default the largest label of the whole split plus one; give it where a split may lack a class.
    Raises InputError, one line, for whatever cannot be used: nothing of that name, broken or mismatched
    files, numbers not finite, labels outside 0..classes-1, more samples asked for than there are.
    """
    name = str(name_or_path)
    if split not in IDX_IMAGES:
        raise problem("split", f"must be 'train' or 'test', not {split!r}")
    for option, number in (("samples", samples), ("at_most", at_most), ("classes", classes)):
        if number is not None and not is_whole(number):
            raise problem(option, f"must be a whole number of at least 1, not {shown(number)}")
    below = os.environ.get("PCSIM_DATA")
    if below and not os.path.isdir(below):
        raise problem("PCSIM_DATA", f"names {below!r}, which is not a folder: mend or unset it")
    if name == "fashion-mnist":
        x, y = _read_fashion_mnist(split, samples)
    elif name == "digits":
        x, y = _read_digits(split)
    elif name == CIFAR_10:
        (x, y), classes = read_cifar_10(split), classes or CLASSES
    elif name == SVHN:
        (x, y), classes = read_svhn(split), classes or CLASSES
    elif name == SYNTHETIC:
        rows = (EMBEDDED_SAMPLES[split] if at_most is None else at_most) if samples is None else samples
        (x, y), classes = synthetic_images(split, int(rows), image), classes or CLASSES
        name = f"{name}-{'x'.join(map(str, image))}"
    else:
        path = _find(name)
        name = path.resolve().name
        if is_cifar_10(path):
            (x, y), classes = read_cifar_10(split, path), classes or CLASSES
        elif path.is_dir():
            x, y = read_idx_pair(path / IDX_IMAGES[split], split, {})
        elif path.suffix.lower() == ".npz":
            x, y = read_npz(path, split)
        else:
            x, y = read_idx_pair(path, split, {})
    return _dataset(name, x, y, samples, at_most, classes)


def _find(name: str) -> Path:
    """The file or folder ``name``, or the one of that bare name below ``PCSIM_DATA``."""
    below = os.path.join(os.environ.get("PCSIM_DATA", ""), name)
    if name == os.path.basename(name) != "" and os.path.exists(below) and not os.path.exists(name):
        return Path(below)
    try:
        os.stat(name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        expected = f"one of {', '.join(names())}, or {READABLE}"
        raise problem(repr(name), f"cannot be found ({reason}); expected {expected}") from error
    return Path(name)


def _read_fashion_mnist(split: str, samples: int | None) -> tuple[Stored, Stored]:
    embedded = EMBEDDED_SAMPLES[split]
    if samples is None or samples <= embedded:
        with resources.as_file(resources.files("pcsim") / "datasets" / "fashion-mnist-small.npz") as path:
            return read_npz(path, split)
    below = os.environ.get("PCSIM_DATA")
    folders = [Path(below, "fashion-mnist"), Path(below)] if below else []
    for folder in [*folders, SYSTEM_FASHION_MNIST]:
        if any(folder.glob(f"{IDX_IMAGES[split]}*")):
            return read_idx_pair(folder / IDX_IMAGES[split], split, FASHION_MNIST_MD5)
    mend = "install Debian's dataset-fashion-mnist, or let PCSIM_DATA name a folder of its IDX files"
    reason = f"{samples:,} {split} samples asked for, but only {embedded:,} come with pcsim"
    raise problem("fashion-mnist", f"{reason}; for more, {mend}")


def _read_digits(split: str) -> tuple[Stored, Stored]:
    rows = slice(1437) if split == "train" else slice(1437, None)
    with resources.as_file(resources.files("pcsim") / "datasets" / "digits.npz") as path, np.load(path) as held:
        return Stored("digits", held["x"][rows] / 16), Stored("digits", held["y"][rows].astype(np.int64))


def _dataset(name: str, x: Stored, y: Stored, samples: int | None, at_most: int | None, classes: int | None) -> Dataset:
    """Checks the whole split, so that ``samples`` hides no damage, then converts the first of it."""
    inputs, targets = _numbers(x), _numbers(y)
    if inputs.ndim < 2:
        raise problem(x.where, f"has shape {inputs.shape}; expected (samples, features) or more dimensions")
    if len(inputs) != len(targets):
        raise problem(x.where, f"holds {len(inputs):,} samples; expected {len(targets):,} as in {y.where}")
    samples = min(len(inputs), len(inputs) if at_most is None else int(at_most)) if samples is None else int(samples)
    if samples > len(inputs):
        raise problem(x.where, f"{samples:,} samples asked for, but there are {len(inputs):,}")
    features = np.array(inputs.reshape(len(inputs), -1)[:samples], dtype=np.float32, order="C")
    if x.array.dtype == np.uint8:
        features /= 255
    wide, labels = _targets(Stored(y.where, targets), samples, classes)
    return Dataset(name, features, wide, labels, wide.shape[1])


def _numbers(stored: Stored) -> np.ndarray:
    """The array, if it holds a sample or more and only finite numbers; real ones as float32."""
    where, array = stored
    if array.dtype.kind not in "buif":
        raise problem(where, f"holds {array.dtype} data; expected integer or real numbers")
    if array.size == 0 or array.ndim == 0:
        raise problem(where, f"has shape {array.shape}; expected at least one sample, none of them empty")
    if array.dtype.kind == "f":
        with np.errstate(all="ignore"):
            array = array.astype(np.float32, copy=False)
        broken = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if broken.any():
            raise problem(where, f"is not finite (as float32) in sample {broken.argmax()}; expected numbers")
    return array


def _targets(y: Stored, samples: int, classes: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The first ``samples`` rows of ``y`` as targets (samples, classes) and as labels (samples,)."""
    where, array = y
    real = array.dtype.kind == "f"
    if array.ndim > 2 or (array.ndim == 1 and real):
        expected = "integer labels (samples,) or targets (samples, classes)"
        raise problem(where, f"holds {array.dtype} of shape {array.shape}; expected {expected}")
    if array.ndim == 2 and (real or array.shape[1] > 1):
        if classes not in (None, array.shape[1]):
            raise problem(where, f"has {array.shape[1]} columns; expected the {classes} classes asked for")
        wide = np.array(array[:samples], dtype=np.float32, order="C")
        return wide, wide.argmax(axis=1).astype(np.int64)
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0:
        raise problem(where, f"has labels from {lowest} to {highest}; expected 0 and above")
    classes = highest + 1 if classes is None else int(classes)
    if highest >= classes:
        raise problem(where, f"has labels from {lowest} to {highest}; expected 0 to {classes - 1}")
    if samples * classes * 4 > LARGEST_BYTES:
        raise problem(where, f"needs {samples:,} x {classes:,} targets; expected fewer classes or samples")
    labels = array.reshape(-1)[:samples].astype(np.int64)
    one_hot = np.zeros((samples, classes), dtype=np.float32)
    one_hot[np.arange(samples), labels] = 1
    return one_hot, labels
