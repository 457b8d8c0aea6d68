"""The data of cells: random numbers, or the images that come with pcsim, as many rows as a cell asks for.

Of either there are as many different rows as there are: a million random numbers, 3,000 images. More rows are these
again, each at a place of its own, so that they are as far from the caches as others would be.
"""

from functools import lru_cache
from importlib import resources

import numpy as np

from ..errors import InputError

DATA = ("random", "fashion-mnist")

_BLOCK = 1 << 20  # random numbers that differ


def check_data(name: str, sizes: tuple[int, ...]) -> None:
    """InputError for data that are unknown, or do not fit such a net."""
    if name not in DATA:
        raise InputError(f"data {name!r} are unknown here: choose from {', '.join(DATA)}")
    if name == "fashion-mnist" and (sizes[0], sizes[-1]) != (784, 10):
        net = "-".join(map(str, sizes))
        raise InputError(f"fashion-mnist has 784 inputs and 10 classes, not as {net}: name nets such as 784-64-10")


@lru_cache(maxsize=1)  # cells of one width share it
def rows_of(
    name: str, below: int, above: int, rows: int, batch: int, dtype: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """x and y, (rows, below) and (rows, above); nobody may write to them."""
    if name == "fashion-mnist":
        x, y = _images(dtype)
        return np.resize(x, (rows, below)), np.resize(y, (rows, above))
    rng = np.random.default_rng(seed)
    if rows == batch:
        x, y = (rng.normal(size=(rows, n)).astype(dtype) for n in (below, above))
        return x, y
    block = rng.normal(size=_BLOCK).astype(dtype)
    x, y = (np.resize(block, (rows, n)) for n in (below, above))
    return x, y


def _images(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """The training images of the small Fashion-MNIST, scaled to 0 … 1, and their classes one-hot: as
    ``pcsim.training.data`` has them."""
    file = resources.files("pcsim") / "datasets" / "fashion-mnist-small.npz"
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as held:
        images, labels = held["x_train"], held["y_train"].astype(np.int64).ravel()
    x = images.reshape(len(images), -1).astype(np.float32) / 255
    return x.astype(dtype), np.eye(10, dtype=dtype)[labels]
