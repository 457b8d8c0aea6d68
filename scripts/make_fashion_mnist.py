"""Makes the small Fashion-MNIST that pcsim ships from Debian's package ``dataset-fashion-mnist``.

It writes ``fashion-mnist-small.npz`` (the first training and test images of the full set, unchanged) and
``fashion-mnist-LICENSE.txt``: the same bytes each time with the same zlib. Without installing the package:

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb unpacked
    python scripts/make_fashion_mnist.py --source unpacked/usr/share/datasets/fashion-mnist
"""

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from pcsim.errors import InputError
from pcsim.training.data import EMBEDDED_SAMPLES, FASHION_MNIST_MD5, IDX_IMAGES, SYSTEM_FASHION_MNIST
from pcsim.training.stored import read_idx

CLASSES = 10
ORIGIN = """\
Fashion-MNIST (https://github.com/zalandoresearch/fashion-mnist), by Han Xiao, Kashif Rasul and Roland
Vollgraf, Zalando SE. fashion-mnist-small.npz beside this file holds its first {train:,} training images
and its first {test:,} test images, with their labels, unchanged.

They were taken from Debian's package dataset-fashion-mnist, whose copyright file follows. "Expat" is
Debian's name for the MIT licence.

"""


def read_first(source: Path, split: str, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images (samples, 28, 28) and labels (samples,), uint8, of the MD5-checked full set."""
    images_name = IDX_IMAGES[split]
    labels_name = images_name.replace("images-idx3", "labels-idx1")
    images = read_idx(source / f"{images_name}.gz", 3, FASHION_MNIST_MD5[images_name])
    labels = read_idx(source / f"{labels_name}.gz", 1, FASHION_MNIST_MD5[labels_name])
    return images[:samples], labels[:samples]


def check_balance(split: str, labels: np.ndarray) -> None:
    """Prints the samples of each class; InputError unless each is within a quarter of an equal share."""
    counts = np.bincount(labels, minlength=CLASSES)
    print(f"{split}: {len(labels):,} samples, of each class {' '.join(map(str, counts))}")
    share = len(labels) / CLASSES
    if len(counts) != CLASSES or np.abs(counts - share).max() > share / 4:
        raise InputError(f"{split}: classes are out of balance; expected {share:g} of each, give or take a quarter")


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes what ``numpy.savez_compressed`` would, but the same bytes at any time and on any system."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            # The default is the system that runs this script.
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", type=Path, default=SYSTEM_FASHION_MNIST, help="folder of the four IDX .gz files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "pcsim" / "datasets")
    arguments = parser.parse_args()
    try:
        arrays = {}
        for split, samples in EMBEDDED_SAMPLES.items():
            images, labels = read_first(arguments.source, split, samples)
            check_balance(split, labels)
            arrays[f"x_{split}"], arrays[f"y_{split}"] = images, labels
        terms = arguments.source / ".." / ".." / "doc" / "dataset-fashion-mnist" / "copyright"
        licence = "\n".join(line.rstrip() for line in terms.read_text(encoding="utf-8").splitlines()) + "\n"
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_npz(arguments.out / "fashion-mnist-small.npz", arrays)
    (arguments.out / "fashion-mnist-LICENSE.txt").write_text(
        ORIGIN.format(**EMBEDDED_SAMPLES) + licence, encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
