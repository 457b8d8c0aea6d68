"""Files of data that nobody vouches for: IDX files and arrays of .npz archives, each whole, or one line of InputError
that names the file, what is wrong with it and what was expected. No file can run code.
"""

import gzip
import hashlib
import math
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InputError

LARGEST_BYTES = 2**31  # of one array: 40 times Fashion-MNIST, so that a faked size cannot fill the memory
DENSEST = 500  # bytes from one, of large arrays: images give 10 or fewer, and gzip cannot give more than 1032

READABLE = "a folder of IDX files, an IDX images file or an .npz archive"


class Stored(NamedTuple):
    """An array of a file."""

    where: str  # every complaint about the array names its file
    array: np.ndarray


def read_idx_pair(images: Path, split: str, md5: dict[str, str]) -> tuple[Stored, Stored]:
    """Reads an images file and the labels file beside it, each plain or with ``.gz``."""
    if "images" not in images.name:
        raise problem(images, f"has neither 'images' nor .npz in its name; expected {READABLE}")
    if split == "test" and not images.name.startswith(("t10k", "test")):
        raise problem(images, "is not a test split by its name; expected t10k-..., test-... or the folder")
    labels_name = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    stored = []
    for path, dimensions in ((images, 3), (images.with_name(labels_name), 1)):
        zipped = path.with_name(f"{path.name}.gz")
        found = zipped if os.path.exists(zipped) and not os.path.exists(path) else path
        stored.append(Stored(str(found), read_idx(found, dimensions, md5.get(path.name))))
    return stored[0], stored[1]


def read_npz(path: Path, split: str) -> tuple[Stored, Stored]:
    """The arrays of a split in an archive."""
    wanted = [("x_train", "y_train"), ("x", "y")] if split == "train" else [("x_test", "y_test")]
    with reading(path, "a whole .npz archive of numeric arrays") as file, zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        pair = next((pair for pair in wanted if members.keys() >= set(pair)), None)
        if pair is None:
            found = ", ".join(map(repr, sorted(members)[:8])) or "nothing"
            expected = " or ".join(" and ".join(pair) for pair in wanted)
            raise problem(path, f"holds {found}; expected {expected} for the {split} split")
        stored = []
        for name in pair:
            if members[name].file_size > LARGEST_BYTES:
                raise problem(path, f"claims a larger {name}; expected at most {LARGEST_BYTES:,} bytes")
            _check_density(f"{path} ({name})", members[name].file_size, members[name].compress_size)
            with archive.open(members[name]) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
                # Reading to the end shows surplus data, and makes zipfile check its checksum.
                if member.read(1):
                    raise problem(path, f"holds data after {name}; expected the shape {array.shape}")
            stored.append(Stored(f"{path} ({name})", array))
    return stored[0], stored[1]


def read_idx(path: Path, dimensions: int, md5: str | None = None) -> npt.NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes, plain or gzip; images have 3 ``dimensions``, labels 1.

    The format (yann.lecun.com/exdb/mnist): two zero bytes, 8 for unsigned bytes, the number of dimensions,
    each size as four bytes, big-endian, then the data. ``md5`` is what the uncompressed file must have.
    Raises InputError if the file is not exactly that, to the last byte.
    """
    start = bytes([0, 0, 8, dimensions])
    with reading(path, "a whole IDX file, plain or .gz") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with gzip.GzipFile(fileobj=file) if is_gzip else file as stream:
            header = stream.read(4 + 4 * dimensions)
            if header[:4] != start:
                found = header[:4].hex(" ") or "nothing (it is empty)"
                expected = "images" if dimensions == 3 else "labels"
                raise problem(path, f"begins with {found}; expected {start.hex(' ')} for IDX {expected}")
            if len(header) < 4 + 4 * dimensions:
                raise problem(path, f"ends inside its header; expected {4 + 4 * dimensions} bytes of it")
            shape = tuple(np.frombuffer(header[4:], dtype=">u4").tolist())
            size = math.prod(shape)
            if size > LARGEST_BYTES:
                raise problem(path, f"claims the shape {shape}; expected at most {LARGEST_BYTES:,} bytes")
            if is_gzip:
                _check_density(path, size, os.fstat(file.fileno()).st_size)
            # One byte beyond the end shows surplus data, and makes gzip check its checksum.
            content = stream.read(size + 1)
    if len(content) != size:
        found = "more" if len(content) > size else f"only {len(content):,}"
        raise problem(path, f"holds {found} bytes of data; expected {size:,} for the shape {shape}")
    if md5 and md5 != hashlib.md5(header + content, usedforsecurity=False).hexdigest():
        raise problem(path, f"is not the original file; expected the MD5 {md5} of its uncompressed data")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _check_density(where: object, size: int, packed: int) -> None:
    """InputError for a few bytes that would unpack to gigabytes of the same."""
    if size > 2**26 and size > DENSEST * packed:
        raise problem(
            where, f"claims {size:,} bytes in {packed:,} compressed ones; expected data that are not all alike"
        )


def problem(where: object, what: str) -> InputError:
    """The one line that says what is wrong where."""
    # File names and other libraries' messages may hold line breaks; ours is one line.
    return InputError(" ".join(f"{where}: {what}".splitlines()))


@contextmanager
def reading(path: Path, expected: str) -> Iterator[BinaryIO]:
    """Opens a file nobody vouches for: whatever goes wrong inside becomes one InputError line."""
    try:
        if path.exists() and not path.is_file():
            raise problem(path, f"is not a regular file; expected {expected}")
        with open(path, "rb") as file, warnings.catch_warnings():
            # Damaged headers make Python's and NumPy's parsers warn; the one error line says it all.
            warnings.simplefilter("ignore")
            yield file
    except InputError:
        raise
    except Exception as error:
        # Damaged bytes make gzip, zipfile, zlib and NumPy raise a dozen types, not all of them documented.
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise problem(path, f"cannot be read ({reason}); expected {expected}") from error
