"""Convolutions for the compiled loops: what of a net they are told, and the room that a worker needs."""

import numpy as np

from ..kernels.layers import convolution as kernel
from ..kernels.layers.dense import padded
from ..net.convolution import Convolution
from ..net.network import Network
from ..schedule.patches import samples_at_once

Array = np.ndarray

POOLS = {None: 0, "max": kernel.MAX, "average": kernel.AVERAGE}


def padded_shapes(network: Network, dtype: np.dtype) -> tuple[Array, Array]:
    """Rows and columns of each ``W[l]`` with their padding."""
    shapes = np.array([layer.weight_shape for layer in network.layers])
    rows, columns = (np.array([padded(n, dtype) for n in side]) for side in shapes.T)
    return rows, columns


def positions(network: Network) -> Array:
    """How many products of its matrix each layer makes for a sample."""
    return np.array([layer.products["predict"].times for layer in network.layers])


def samples_together(form: Convolution, batch: int, dtype: np.dtype) -> int:
    """Of how many samples the patches are multiplied at a time."""
    pooled = form.pool is not None
    return samples_at_once(form.positions, form.shape[1], form.out.units, pooled, dtype.itemsize, batch)


def forms_of(network: Network, batch: int, dtype: np.dtype) -> tuple[Array, int]:
    """``forms`` of the kernels, (L, FIELDS), and how many elements of a worker's panel they need."""
    table, room = np.zeros((network.depth, int(kernel.FIELDS)), np.int64), 0
    rows, columns = padded_shapes(network, dtype)
    for l, form in enumerate(network.forms):
        if form is None:
            continue
        size, at_once = form.positions * int(columns[l]), samples_together(form, batch, dtype)
        patches = int(rows[l] * (columns[l] + 1))
        filtered = patches + at_once * size
        image, out = form.image, form.filtered
        table[l] = [
            image.height, image.width, image.channels, form.kernel, form.stride, form.padding, out.height, out.width,
            form.channels, POOLS[form.pool], form.window, columns[l], at_once, patches, filtered,
        ]  # fmt: skip
        room = max(room, filtered + at_once * form.positions * form.channels)
    return table, room
