"""Images of a batch, turned over and shifted at random each time that they come.

How an image is changed is a number beside its row's number in the rows of a batch, so that whoever copies the row knows
it: no worker draws anything. The number of a row in an epoch follows from seed, epoch and row alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import shown
from ..errors import InputError
from .convolution import Convolution, Image

Array = np.ndarray

CHANGES = ("flip", "crop")

PADDING = 4  # pixels of zeros around an image that is cropped, as is usual for CIFAR-10 (He et al. 2016, Sec. 4.2)

_SIDE = 2 * PADDING + 1  # how many places there are, down and to the right
_UNCHANGED = 2 * (PADDING * _SIDE + PADDING)
ROW_BITS = 40
_ROWS = (1 << ROW_BITS) - 1


@dataclass(frozen=True)
class Augment:
    """``flip``: half of the images from right to left; ``crop``: a part of the image with zeros around it, as large as
    the image, at a random place. ``image`` is the shape of a row."""

    image: Image
    seed: int
    flip: bool
    crop: bool

    def coded(self, rows: Array, epoch: int, count: int) -> Array:
        """The row numbers, out of ``count``, each with its change in that epoch (see :func:`parts`)."""
        # Powers of two, which take one random number each whatever they are.
        drawn = (
            np.random.default_rng([self.seed, 2, epoch]).integers(0, 1 << 32, count, np.uint32)[rows].astype(np.int64)
        )
        turned = (drawn & 1) if self.flip else np.zeros_like(drawn)
        place = _UNCHANGED // 2
        if self.crop:
            place = ((drawn >> 1 & 0x7FFF) * _SIDE >> 15) * _SIDE + ((drawn >> 16) * _SIDE >> 16)
        return rows | (2 * place + turned) << ROW_BITS

    def taken(self, x: Array, coded: Array) -> Array:
        """The images of coded rows, (B, units), changed."""
        rows, changes = parts(coded)
        height, width, _ = self.image
        whole = np.pad(x[rows].reshape(-1, *self.image), ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
        found = []
        for image, change in zip(whole, changes.tolist(), strict=True):
            (down, right), turned = divmod(change // 2, _SIDE), change % 2
            part = image[down : down + height, right : right + width]
            found.append(part[:, ::-1] if turned else part)
        return np.stack(found).reshape(len(rows), -1)

    def views(self, x: Array, y: Array) -> tuple[Any, Any]:
        """What stands for the data where batches are taken by their coded rows."""
        return _Changed(x, self), _Plain(y)

    @property
    def names(self) -> list[str]:
        """What is changed, for files."""
        return [name for name in CHANGES if getattr(self, name)]


class _Changed:
    def __init__(self, x: Array, augment: Augment) -> None:
        self.x, self.augment = x, augment

    def __getitem__(self, coded: Array) -> Array:
        return self.augment.taken(self.x, coded)


class _Plain:
    def __init__(self, y: Array) -> None:
        self.y = y

    def __getitem__(self, coded: Array) -> Array:
        return self.y[parts(coded)[0]]


def parts(coded: Array) -> tuple[Array, Array]:
    """Row numbers, and for each 2 × (rows down × 9 + columns to the right) + (1 if it is turned over)."""
    return coded & _ROWS, coded >> ROW_BITS


def augment_of(given: Any, forms: Sequence[Convolution | None], seed: int = 0) -> Augment | None:
    """What ``train`` is given as ``augment``, for a net with these forms; None for nothing. InputError for names that
    are none, and for a net whose input is no image."""
    if given is None:
        return None
    names = [given] if isinstance(given, str) else given
    known = isinstance(names, list | tuple) and all(isinstance(name, str) and name in CHANGES for name in names)
    if not known or not names:
        raise InputError(f"augment must be one or several of {', '.join(CHANGES)}, not {shown(given)}")
    form = forms[0] if forms else None
    if form is None:
        raise InputError("augment needs images: a net whose first layer is a convolution")
    return Augment(form.image, seed, "flip" in names, "crop" in names)
