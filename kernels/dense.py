"""Dense layers: every product of a weight matrix that learning needs, fused into one pass over it.

Notation is CONTRACT's: ``W`` (rows, columns) is one layer's matrix in a flat array, ``a`` the scaled activation of
the layer below, ``e`` the error of the layer above. Matrices and vectors begin at an index of a flat array and are
padded with zeros to whole vectors (``padded``), so no loop has a remainder and every access is aligned; padding
stays zero, since a zero activation or a zero error changes nothing.

A batch of one is bound by the traffic of W, so all products that a step needs are taken while a block of rows is
in registers and first-level cache: one read (and one write where weights update) of W per step. Larger batches are
matrix products and belong to BLAS (``blas.py``).
"""

import numpy as np
from numba import njit

from .simd import VECTOR_BYTES, horizontal_sum, lanes, load, multiply_add, prefetch, splat, store

PREDICT, BACKPROJECT, UPDATE = 1, 2, 4  # what a pass does; they add up
FORWARD, OFFSET = 32, 64  # variants of PREDICT: leave the prediction itself; begin from what stands in e

# Short rows go by twice four: the sums of one block hide behind the products of the other. Long rows go by four, and
# the next block is fetched meanwhile; eight rows and the next eight would not fit into the first-level cache together
# (rows of 4 KB all fall into the same of its sets).
SHORT_ROW_VECTORS = 6

PAGE_BYTES = 4096


def padded(count: int, dtype) -> int:
    """``count`` elements rounded up to whole vectors."""
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    return -(-count // lanes) * lanes


def aligned_empty(count: int, dtype) -> np.ndarray:
    """A flat array that begins on a page and that nobody has touched yet: its pages will lie near whoever writes
    first. ``np.empty`` asks the kernel for huge pages where the array is large; ``np.zeros`` does not, and
    without them two cores together reached only 63 of 92 GB/s (32 x 1024, float32)."""
    item = np.dtype(dtype).itemsize
    raw = np.empty(count * item + PAGE_BYTES, np.uint8)
    offset = -raw.ctypes.data % PAGE_BYTES
    return raw[offset : offset + count * item].view(dtype)


@njit(nogil=True, forceinline=True)
def _dots(W, r, columns, a, i, zero):
    """Products of four rows of W, the first at index r, with a."""
    r1, r2, r3 = r + columns, r + 2 * columns, r + 3 * columns
    step = lanes(W)
    s0, s1, s2, s3 = zero, zero, zero, zero
    for j in range(0, columns, step):
        v = load(a, i + j)
        s0 = multiply_add(load(W, r + j), v, s0)
        s1 = multiply_add(load(W, r1 + j), v, s1)
        s2 = multiply_add(load(W, r2 + j), v, s2)
        s3 = multiply_add(load(W, r3 + j), v, s3)
    return horizontal_sum(s0), horizontal_sum(s1), horizontal_sum(s2), horizontal_sum(s3)


@njit(nogil=True, forceinline=True)
def _predict(work, W, r, columns, a, i, x, b, e, k, zero):
    """Four elements of ``e = x - mu``, or of ``e = mu``."""
    s0, s1, s2, s3 = _dots(W, r, columns, a, i, zero)
    if work & OFFSET:
        s0, s1, s2, s3 = e[k] + s0, e[k + 1] + s1, e[k + 2] + s2, e[k + 3] + s3
    if work & FORWARD:
        e[k], e[k + 1], e[k + 2], e[k + 3] = s0, s1, s2, s3
    else:
        e[k], e[k + 1], e[k + 2], e[k + 3] = x[b] - s0, x[b + 1] - s1, x[b + 2] - s2, x[b + 3] - s3


@njit(nogil=True, forceinline=True)
def _sweep(work, W, r, columns, a, i, e, k, g, h, precision, rate, ahead):
    """What needs the errors of four rows: back-projection into g and the weight update, and the next rows fetched."""
    r1, r2, r3 = r + columns, r + 2 * columns, r + 3 * columns
    step = lanes(W)
    p0, p1, p2, p3 = (
        splat(precision * e[k]),
        splat(precision * e[k + 1]),
        splat(precision * e[k + 2]),
        splat(precision * e[k + 3]),
    )
    u0, u1, u2, u3 = (
        splat(rate * e[k]),
        splat(rate * e[k + 1]),
        splat(rate * e[k + 2]),
        splat(rate * e[k + 3]),
    )
    if work & BACKPROJECT and work & UPDATE:
        for j in range(0, columns, step):
            if ahead:
                prefetch(W, r3 + columns + j)
                prefetch(W, r3 + 2 * columns + j)
                prefetch(W, r3 + 3 * columns + j)
                prefetch(W, r3 + 4 * columns + j)
            v = load(a, i + j)
            w0, w1, w2, w3 = load(W, r + j), load(W, r1 + j), load(W, r2 + j), load(W, r3 + j)
            s = multiply_add(p1, w1, multiply_add(p0, w0, load(g, h + j)))
            store(g, h + j, multiply_add(p3, w3, multiply_add(p2, w2, s)))
            store(W, r + j, multiply_add(u0, v, w0))
            store(W, r1 + j, multiply_add(u1, v, w1))
            store(W, r2 + j, multiply_add(u2, v, w2))
            store(W, r3 + j, multiply_add(u3, v, w3))
    elif work & UPDATE:
        for j in range(0, columns, step):
            v = load(a, i + j)
            store(W, r + j, multiply_add(u0, v, load(W, r + j)))
            store(W, r1 + j, multiply_add(u1, v, load(W, r1 + j)))
            store(W, r2 + j, multiply_add(u2, v, load(W, r2 + j)))
            store(W, r3 + j, multiply_add(u3, v, load(W, r3 + j)))
    elif work & BACKPROJECT:
        for j in range(0, columns, step):
            s = multiply_add(p1, load(W, r1 + j), multiply_add(p0, load(W, r + j), load(g, h + j)))
            store(g, h + j, multiply_add(p3, load(W, r3 + j), multiply_add(p2, load(W, r2 + j), s)))


@njit(nogil=True, cache=True)
def layer_pass(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate):
    """One pass over a layer's weights for a batch of one; ``rows`` and ``columns`` are padded sizes.

    With PREDICT in ``work``:  ``e = x - W @ a``; with FORWARD too, ``e = W @ a``; with OFFSET, what stands in e
                               (bias, skip) is added to ``W @ a`` first;
    with BACKPROJECT:          ``g = precision * e @ W``;
    with UPDATE:               ``W += rate * outer(e, a)``, after the other two have read W (joint schedule).

    Without PREDICT, e is read as it stands. The letters w, i, b, k, h are where W, a, x, e, g begin behind their
    pointers. Eqs. 5 to 7 of Salvatori et al. 2022 in one pass. A prediction is rounded alike with and without
    FORWARD, so the error of a layer that nothing has reached yet is exactly 0 (noise there would be blown up by Adam).
    """
    if work & BACKPROJECT:
        for j in range(h, h + columns):
            g[j] = 0
    block = 4 * columns
    zero = splat(precision - precision)
    if columns <= SHORT_ROW_VECTORS * lanes(W):
        for row in range(0, rows, 8):
            r, q, p = w + row * columns, k + row, b + row
            if work & PREDICT:
                _predict(work, W, r, columns, a, i, x, p, e, q, zero)
                _predict(work, W, r + block, columns, a, i, x, p + 4, e, q + 4, zero)
            if work & (BACKPROJECT | UPDATE):
                _sweep(work, W, r, columns, a, i, e, q, g, h, precision, rate, False)
                _sweep(work, W, r + block, columns, a, i, e, q + 4, g, h, precision, rate, False)
    else:
        for row in range(0, rows, 4):
            r, q = w + row * columns, k + row
            if work & PREDICT:
                _predict(work, W, r, columns, a, i, x, b + row, e, q, zero)
            if work & (BACKPROJECT | UPDATE):
                _sweep(work, W, r, columns, a, i, e, q, g, h, precision, rate, True)
