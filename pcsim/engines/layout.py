"""Who owns which layers or rows, and where they lie in memory."""

from collections.abc import Sequence

import numpy as np

from ..kernels.layers.dense import aligned_empty

Array = np.ndarray


APART = 16 << 10  # bytes between what two workers write, at least


def offsets_of(lengths: Array, cuts: Sequence[int], page: int, gap: int) -> Array:
    """Where each layer's part begins in a flat array, and where the last ends; a part in ``cuts`` on a page of its
    own, ``gap`` elements or more behind the one before."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    for l, length in enumerate(lengths):
        if l in cuts:
            offsets[l] = -(-(offsets[l] + gap) // page) * page
        offsets[l + 1] = offsets[l] + length
    return offsets


def zeros(count: int, dtype: np.dtype) -> Array:
    array = aligned_empty(int(count), dtype)
    array[:] = 0
    return array
