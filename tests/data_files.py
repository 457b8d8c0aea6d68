"""Small data sets as files, and what is told of those that cannot be read."""

import gzip
import struct
import zipfile

import numpy as np
import pytest

from pcsim.errors import InputError
from pcsim.training.data import Dataset, load

IMAGES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2) * 8
LABELS = np.array([2, 0, 1, 2, 2], dtype=np.uint8)


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
