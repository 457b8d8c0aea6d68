"""Products of skinny matrices: batches of some dozens, layers from some units to some hundred.

BLAS libraries pack both operands of a product and divide it for matrices that are large in both directions; at these
sizes half of their time is something else than multiplying. Here one operand is read where it lies, the other is
copied (or transposed) panel by panel into ``panel``, memory of the worker's own, and what follows a product elementwise
is done while its sums are in registers. Every element is one sum, in the order of the inner index: its bits depend
neither on the shape of the tiles nor on who has which rows or samples.
"""

import numpy as np

from ..machine.compiling import ONE, ZERO, inner
from ..machine.simd import VECTOR_BYTES, lanes, load, store
from ..machine.tiles import MOST_ROWS, VECTORS, multiply_tile, transpose_four

STORE, ADD, TIMES = np.int64(0), np.int64(1), np.int64(2)  # of ``tiles``

KEPT_BYTES = 200 << 10  # of activations, in a second-level cache of 512 KB through which weights and moments go as well


def panel_size(widest: int, batch: int) -> int:
    """Elements of ``panel`` that the products of a net need (a vector has at most 16)."""
    return 16 * VECTORS * max(widest, batch)


@inner
def _narrow(rows, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart):
    if rows == 6:
        multiply_tile(6, 1, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)
    elif rows == 5:
        multiply_tile(5, 1, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)
    elif rows == 4:
        multiply_tile(4, 1, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)
    elif rows == 3:
        multiply_tile(3, 1, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)
    elif rows == 2:
        multiply_tile(2, 1, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)
    else:
        multiply_tile(1, 1, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)


@inner
def _wide(rows, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart):
    if rows == 6:
        multiply_tile(6, 2, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)
    elif rows == 5:
        multiply_tile(5, 2, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)
    elif rows == 4:
        multiply_tile(4, 2, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)
    elif rows == 3:
        multiply_tile(3, 2, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)
    elif rows == 2:
        multiply_tile(2, 2, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)
    else:
        multiply_tile(1, 2, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)


if VECTORS > 1:

    @inner
    def _tile(vectors, rows, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart):
        if vectors > 1:
            _wide(rows, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)
        else:
            _narrow(rows, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)

else:

    @inner
    def _tile(vectors, rows, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart):
        _narrow(rows, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart)


@inner
def tiles_of(rows):
    """Into how many tiles so many rows go."""
    return -(-rows // MOST_ROWS)


@inner
def _column(vectors, rows, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart):
    """So many vectors of columns of C, ``rows`` rows in tiles as even as they can be."""
    tiles, first = tiles_of(rows), 0
    for tile in range(tiles):
        height = (rows - first) // (tiles - tile)
        _tile(
            vectors, height, count, a, i + first * across, across, along, b, j, step, factor, c, k + first * beside,
            beside, mode, base, at + first * apart, apart,
        )  # fmt: skip
        first += height


@inner
def times_transposed(samples, rows, columns, a, i, W, w, panel, factor, c, k, beside, mode, base, at):
    """``C = factor * A @ W.T``: A (samples, columns), W (rows, columns), C and base (samples, …), whose samples are
    ``beside`` apart. ``columns`` is padded, ``rows`` a number of whole vectors."""
    for row in range(0, rows, VECTORS * lanes(W)):
        vectors = min(VECTORS, (rows - row) // lanes(W))
        step = vectors * lanes(W)
        for j in range(0, columns, 4):
            for r in range(0, step, 4):
                transpose_four(W, w + (row + r) * columns + j, columns, panel, j * step + r, step)
        k_row, at_row = k + row, at + row
        _column(
            vectors, samples, columns, a, i, columns, ONE, panel, ZERO, step, factor, c, k_row, beside, mode, base,
            at_row, beside,
        )  # fmt: skip


@inner
def times(samples, rows, columns, e, k, wide, W, w, panel, factor, h, g, mode, base, at):
    """``H = factor * E @ W``: E (samples, rows), whose samples are ``wide`` apart, W (rows, columns), H and base
    (samples, columns)."""
    for j in range(0, columns, VECTORS * lanes(W)):
        vectors = min(VECTORS, (columns - j) // lanes(W))
        step = vectors * lanes(W)
        for row in range(rows):
            for side in range(0, step, lanes(W)):
                store(panel, row * step + side, load(W, w + row * columns + j + side))
        _column(
            vectors, samples, rows, e, k, wide, ONE, panel, ZERO, step, factor, h, g + j, columns, mode, base, at + j,
            columns,
        )  # fmt: skip


@inner
def columns_at_once(samples, columns, W):
    """So many columns of the lower activations that those of all samples stay in the second-level cache while the rows
    of the gradient come one after the other."""
    parts = -(-samples * columns * (VECTOR_BYTES // lanes(W)) // KEPT_BYTES)
    return -(-columns // (parts * lanes(W))) * lanes(W)


@inner
def pack_columns(samples, e, k, wide, panel):
    """One vector of E's columns, sample after sample."""
    step = lanes(e)
    for sample in range(samples):
        store(panel, sample * step, load(e, k + sample * wide))


@inner
def gradient_rows(rows, samples, width, panel, row, a, i, columns, factor, c, at, beside, mode):
    """``C = factor * E.T @ A`` for ``rows`` rows, columns of E from ``row`` on in ``panel``, and ``width`` columns."""
    for j in range(0, width, VECTORS * lanes(a)):
        vectors, to = min(VECTORS, (width - j) // lanes(a)), at + j
        _tile(
            vectors, rows, samples, panel, row, ONE, lanes(a), a, i + j, columns, factor, c, to, beside, mode, c, to,
            beside,
        )  # fmt: skip


@inner
def transposed_times(rows, samples, columns, e, k, wide, a, i, panel, factor, c, at, mode):
    """``C = factor * E.T @ A``, stored or added: E (samples, rows), its samples ``wide`` apart, A (samples, columns), C
    (rows, columns)."""
    step, part = lanes(a), columns_at_once(samples, columns, a)
    for left in range(0, columns, part):
        width = min(part, columns - left)
        for block in range(0, rows, step):
            height = min(step, rows - block)
            pack_columns(samples, e, k + block, wide, panel)
            tiles, row = tiles_of(height), ZERO
            for tile in range(tiles):
                high = (height - row) // (tiles - tile)
                to = at + (block + row) * columns + left
                gradient_rows(high, samples, width, panel, row, a, i + left, columns, factor, c, to, columns, mode)
                row += high
