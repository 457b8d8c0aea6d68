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

from ..machine.compiling import ZERO, njit
from ..machine.simd import (
    VECTOR_BYTES,
    add,
    four_sums,
    lanes,
    load,
    load_four,
    multiply_add,
    prefetch,
    splat,
    spread,
    store,
    store_four,
    subtract_four,
)

# What a pass does; they add up. Not bare numbers, for the reason in ``compiling``.
PREDICT, BACKPROJECT, UPDATE = np.int64(1), np.int64(2), np.int64(4)

FORWARD, OFFSET = (
    np.int64(32),
    np.int64(64),
)  # variants of PREDICT: leave the prediction itself; begin from what stands in e

SHARE = np.int64(128)  # of BACKPROJECT: some rows' share of the sum, before the slope and what comes through a skip

# By eight rows more sums are in flight, and g is touched half as often as by four. Eight rows of more than 2 KB and the
# next eight would not fit into the first-level cache together; and where nothing but products is to be done, four rows
# suit the processor's own prefetching better.
FEW_VECTORS, SHORT_ROW_VECTORS, MIDDLE_ROW_VECTORS = 4, 12, 32


def padded(count: int, dtype) -> int:
    """``count`` elements rounded up to whole vectors."""
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    return -(-count // lanes) * lanes


@njit(nogil=True, forceinline=True)
def _finish(work, s0, s1, s2, s3, x, b, e, k):
    """Four elements of ``e = x - mu``, or of ``e = mu``, from the products of four rows, lane by lane."""
    mu = four_sums(s0, s1, s2, s3)
    if work & OFFSET:
        mu = add(load_four(e, k), mu)
    if work & FORWARD:
        store_four(e, k, mu)
    else:
        store_four(e, k, subtract_four(load_four(x, b), mu))


@njit(nogil=True, forceinline=True)
def predict_4(work, W, r, columns, a, i, x, b, e, k, zero):
    """``_finish`` for four rows of W, the first at index r."""
    r1, r2, r3 = r + columns, r + 2 * columns, r + 3 * columns
    s0, s1, s2, s3 = zero, zero, zero, zero
    for j in range(0, columns, lanes(W)):
        v = load(a, i + j)
        s0 = multiply_add(load(W, r + j), v, s0)
        s1 = multiply_add(load(W, r1 + j), v, s1)
        s2 = multiply_add(load(W, r2 + j), v, s2)
        s3 = multiply_add(load(W, r3 + j), v, s3)
    _finish(work, s0, s1, s2, s3, x, b, e, k)


@njit(nogil=True, forceinline=True)
def _predict_8(work, W, r, columns, a, i, x, b, e, k, zero):
    """``_finish`` for eight rows."""
    r1, r2, r3 = r + columns, r + 2 * columns, r + 3 * columns
    r4, r5, r6, r7 = r + 4 * columns, r + 5 * columns, r + 6 * columns, r + 7 * columns
    s0, s1, s2, s3 = zero, zero, zero, zero
    s4, s5, s6, s7 = zero, zero, zero, zero
    for j in range(0, columns, lanes(W)):
        v = load(a, i + j)
        s0 = multiply_add(load(W, r + j), v, s0)
        s1 = multiply_add(load(W, r1 + j), v, s1)
        s2 = multiply_add(load(W, r2 + j), v, s2)
        s3 = multiply_add(load(W, r3 + j), v, s3)
        s4 = multiply_add(load(W, r4 + j), v, s4)
        s5 = multiply_add(load(W, r5 + j), v, s5)
        s6 = multiply_add(load(W, r6 + j), v, s6)
        s7 = multiply_add(load(W, r7 + j), v, s7)
    _finish(work, s0, s1, s2, s3, x, b, e, k)
    _finish(work, s4, s5, s6, s7, x, b + 4, e, k + 4)


@njit(nogil=True, forceinline=True)
def sweep_4(work, W, r, columns, a, i, e, k, g, h, precision, rate, ahead):
    """What needs the errors of four rows: back-projection into g and the weight update, while what lies ``ahead``
    is fetched."""
    r1, r2, r3 = r + columns, r + 2 * columns, r + 3 * columns
    step, low = lanes(W), load_four(e, k)
    p0, p1 = spread(low, 0, precision), spread(low, 1, precision)
    p2, p3 = spread(low, 2, precision), spread(low, 3, precision)
    u0, u1 = spread(low, 0, rate), spread(low, 1, rate)
    u2, u3 = spread(low, 2, rate), spread(low, 3, rate)
    if work & BACKPROJECT and work & UPDATE:
        for j in range(0, columns, step):
            prefetch(W, r + ahead + 4 * j)
            prefetch(W, r + ahead + 4 * j + step)
            prefetch(W, r + ahead + 4 * j + 2 * step)
            prefetch(W, r + ahead + 4 * j + 3 * step)
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
            prefetch(W, r + ahead + 4 * j)
            prefetch(W, r + ahead + 4 * j + step)
            prefetch(W, r + ahead + 4 * j + 2 * step)
            prefetch(W, r + ahead + 4 * j + 3 * step)
            v = load(a, i + j)
            store(W, r + j, multiply_add(u0, v, load(W, r + j)))
            store(W, r1 + j, multiply_add(u1, v, load(W, r1 + j)))
            store(W, r2 + j, multiply_add(u2, v, load(W, r2 + j)))
            store(W, r3 + j, multiply_add(u3, v, load(W, r3 + j)))
    elif work & BACKPROJECT:
        for j in range(0, columns, step):
            prefetch(W, r + ahead + 4 * j)
            prefetch(W, r + ahead + 4 * j + step)
            prefetch(W, r + ahead + 4 * j + 2 * step)
            prefetch(W, r + ahead + 4 * j + 3 * step)
            s = multiply_add(p1, load(W, r1 + j), multiply_add(p0, load(W, r + j), load(g, h + j)))
            store(g, h + j, multiply_add(p3, load(W, r3 + j), multiply_add(p2, load(W, r2 + j), s)))


@njit(nogil=True, forceinline=True)
def _sweep_8(work, W, r, columns, a, i, e, k, g, h, precision, rate, ahead):
    """What needs the errors of eight rows: back-projection into g and the weight update, while what lies ``ahead``
    is fetched."""
    r1, r2, r3 = r + columns, r + 2 * columns, r + 3 * columns
    r4, r5, r6, r7 = r + 4 * columns, r + 5 * columns, r + 6 * columns, r + 7 * columns
    step, low = lanes(W), load_four(e, k)
    p0, p1 = spread(low, 0, precision), spread(low, 1, precision)
    p2, p3 = spread(low, 2, precision), spread(low, 3, precision)
    high = load_four(e, k + 4)
    p4, p5 = spread(high, 0, precision), spread(high, 1, precision)
    p6, p7 = spread(high, 2, precision), spread(high, 3, precision)
    u0, u1 = spread(low, 0, rate), spread(low, 1, rate)
    u2, u3 = spread(low, 2, rate), spread(low, 3, rate)
    u4, u5 = spread(high, 0, rate), spread(high, 1, rate)
    u6, u7 = spread(high, 2, rate), spread(high, 3, rate)
    if work & BACKPROJECT and work & UPDATE:
        for j in range(0, columns, step):
            prefetch(W, r + ahead + 8 * j)
            prefetch(W, r + ahead + 8 * j + step)
            prefetch(W, r + ahead + 8 * j + 2 * step)
            prefetch(W, r + ahead + 8 * j + 3 * step)
            prefetch(W, r + ahead + 8 * j + 4 * step)
            prefetch(W, r + ahead + 8 * j + 5 * step)
            prefetch(W, r + ahead + 8 * j + 6 * step)
            prefetch(W, r + ahead + 8 * j + 7 * step)
            v = load(a, i + j)
            w0, w1, w2, w3 = load(W, r + j), load(W, r1 + j), load(W, r2 + j), load(W, r3 + j)
            w4, w5, w6, w7 = load(W, r4 + j), load(W, r5 + j), load(W, r6 + j), load(W, r7 + j)
            s = multiply_add(p1, w1, multiply_add(p0, w0, load(g, h + j)))
            s = multiply_add(p3, w3, multiply_add(p2, w2, s))
            s = multiply_add(p5, w5, multiply_add(p4, w4, s))
            store(g, h + j, multiply_add(p7, w7, multiply_add(p6, w6, s)))
            store(W, r + j, multiply_add(u0, v, w0))
            store(W, r1 + j, multiply_add(u1, v, w1))
            store(W, r2 + j, multiply_add(u2, v, w2))
            store(W, r3 + j, multiply_add(u3, v, w3))
            store(W, r4 + j, multiply_add(u4, v, w4))
            store(W, r5 + j, multiply_add(u5, v, w5))
            store(W, r6 + j, multiply_add(u6, v, w6))
            store(W, r7 + j, multiply_add(u7, v, w7))
    elif work & UPDATE:
        for j in range(0, columns, step):
            prefetch(W, r + ahead + 8 * j)
            prefetch(W, r + ahead + 8 * j + step)
            prefetch(W, r + ahead + 8 * j + 2 * step)
            prefetch(W, r + ahead + 8 * j + 3 * step)
            prefetch(W, r + ahead + 8 * j + 4 * step)
            prefetch(W, r + ahead + 8 * j + 5 * step)
            prefetch(W, r + ahead + 8 * j + 6 * step)
            prefetch(W, r + ahead + 8 * j + 7 * step)
            v = load(a, i + j)
            store(W, r + j, multiply_add(u0, v, load(W, r + j)))
            store(W, r1 + j, multiply_add(u1, v, load(W, r1 + j)))
            store(W, r2 + j, multiply_add(u2, v, load(W, r2 + j)))
            store(W, r3 + j, multiply_add(u3, v, load(W, r3 + j)))
            store(W, r4 + j, multiply_add(u4, v, load(W, r4 + j)))
            store(W, r5 + j, multiply_add(u5, v, load(W, r5 + j)))
            store(W, r6 + j, multiply_add(u6, v, load(W, r6 + j)))
            store(W, r7 + j, multiply_add(u7, v, load(W, r7 + j)))
    elif work & BACKPROJECT:
        for j in range(0, columns, step):
            prefetch(W, r + ahead + 8 * j)
            prefetch(W, r + ahead + 8 * j + step)
            prefetch(W, r + ahead + 8 * j + 2 * step)
            prefetch(W, r + ahead + 8 * j + 3 * step)
            prefetch(W, r + ahead + 8 * j + 4 * step)
            prefetch(W, r + ahead + 8 * j + 5 * step)
            prefetch(W, r + ahead + 8 * j + 6 * step)
            prefetch(W, r + ahead + 8 * j + 7 * step)
            s = multiply_add(p1, load(W, r1 + j), multiply_add(p0, load(W, r + j), load(g, h + j)))
            s = multiply_add(p3, load(W, r3 + j), multiply_add(p2, load(W, r2 + j), s))
            s = multiply_add(p5, load(W, r5 + j), multiply_add(p4, load(W, r4 + j), s))
            store(g, h + j, multiply_add(p7, load(W, r7 + j), multiply_add(p6, load(W, r6 + j), s)))


# One function for each way through the rows, as branches inside one large function kept the compiler from using its
# registers well. What is fetched ahead never lies beyond the layer's last row: another worker may own that.
@njit(nogil=True, cache=True)
def _fused_short(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate):
    """All three products, short rows by eight: the next eight predictions come before the sweep, which does not wait
    for their sums."""
    zero = splat(precision - precision)
    block, last = 8 * columns, rows - 8
    _predict_8(PREDICT, W, w, columns, a, i, x, b, e, k, zero)
    for row in range(0, last, 8):
        r, q = w + row * columns, k + row
        _predict_8(PREDICT, W, r + block, columns, a, i, x, b + row + 8, e, q + 8, zero)
        ahead = 2 * block if row < last - 8 else block
        _sweep_8(BACKPROJECT | UPDATE, W, r, columns, a, i, e, q, g, h, precision, rate, ahead)
    _sweep_8(BACKPROJECT | UPDATE, W, w + last * columns, columns, a, i, e, k + last, g, h, precision, rate, ZERO)


@njit(nogil=True, cache=True)
def _fused_middle(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate):
    """All three products, rows by eight."""
    zero = splat(precision - precision)
    for row in range(0, rows, 8):
        r, q = w + row * columns, k + row
        _predict_8(PREDICT, W, r, columns, a, i, x, b + row, e, q, zero)
        ahead = 8 * columns if row + 8 < rows else 0
        _sweep_8(BACKPROJECT | UPDATE, W, r, columns, a, i, e, q, g, h, precision, rate, ahead)


@njit(nogil=True, cache=True)
def _fused_long(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate):
    """All three products, long rows by four."""
    zero = splat(precision - precision)
    for row in range(0, rows, 4):
        r, q = w + row * columns, k + row
        predict_4(PREDICT, W, r, columns, a, i, x, b + row, e, q, zero)
        ahead = 4 * columns if row + 4 < rows else 0
        sweep_4(BACKPROJECT | UPDATE, W, r, columns, a, i, e, q, g, h, precision, rate, ahead)


@njit(nogil=True, cache=True)
def _predictions(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate):
    """Predictions alone, of short rows by eight."""
    zero = splat(precision - precision)
    if columns <= FEW_VECTORS * lanes(W):
        for row in range(0, rows, 8):
            _predict_8(work, W, w + row * columns, columns, a, i, x, b + row, e, k + row, zero)
    else:
        for row in range(0, rows, 4):
            predict_4(work, W, w + row * columns, columns, a, i, x, b + row, e, k + row, zero)


@njit(nogil=True, cache=True)
def _others_by_eight(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate):
    """Any products that begin or end with the errors."""
    zero = splat(precision - precision)
    for row in range(0, rows, 8):
        r, q = w + row * columns, k + row
        if work & PREDICT:
            _predict_8(work, W, r, columns, a, i, x, b + row, e, q, zero)
        ahead = 8 * columns if row + 8 < rows else 0
        _sweep_8(work, W, r, columns, a, i, e, q, g, h, precision, rate, ahead)


@njit(nogil=True, cache=True)
def _others_by_four(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate):
    """Any products that begin or end with the errors."""
    zero = splat(precision - precision)
    for row in range(0, rows, 4):
        r, q = w + row * columns, k + row
        if work & PREDICT:
            predict_4(work, W, r, columns, a, i, x, b + row, e, q, zero)
        ahead = 4 * columns if row + 4 < rows else 0
        sweep_4(work, W, r, columns, a, i, e, q, g, h, precision, rate, ahead)


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
    fused, vectors = work == PREDICT | BACKPROJECT | UPDATE, columns // lanes(W)
    if rows == 0:
        return
    if fused and vectors <= SHORT_ROW_VECTORS:
        _fused_short(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate)
    elif fused and vectors <= MIDDLE_ROW_VECTORS:
        _fused_middle(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate)
    elif fused:
        _fused_long(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate)
    elif work & (BACKPROJECT | UPDATE) and vectors <= MIDDLE_ROW_VECTORS:
        _others_by_eight(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate)
    elif work & (BACKPROJECT | UPDATE):
        _others_by_four(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate)
    elif work & PREDICT:
        _predictions(work, W, w, rows, columns, a, i, x, b, e, k, g, h, precision, rate)
