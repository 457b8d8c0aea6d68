"""The pass of a layer through which samples stream: predict for one, learn from an older one. Batches of one.

``stream_step`` is asynchronous BP's, which predicts with the weights before they learn, and ``late_step`` that of
feedback alignment, which sends no error on; ``learn_step`` is for local losses, and predicts with those that have
learnt. Where iPC's pass (``dense.py``) has to have a row's
prediction before its error, the error of the older sample is there beforehand; so all products are taken from one load
of each weight, and one store. The letters are those of ``dense.py``; ``i`` is where the new sample's ``a`` begins,
``o`` the older one's.
"""

from ..machine.compiling import ONE, ZERO, folded, njit
from ..machine.simd import (
    add,
    four_sums,
    lanes,
    load,
    load_four,
    multiply,
    multiply_add,
    prefetch,
    splat,
    spread,
    store,
    store_four,
)
from .dense import BACKPROJECT, OFFSET
from .step import start_offsets, times_slope
from .vectors import add_rows


@njit(nogil=True, forceinline=True)
def _stream_4(work, W, r, columns, a, i, o, out, k, e, q, g, h, one, rate, ahead):
    """Four rows of W, the first at index r; what lies ``ahead`` is fetched. (The sums of four rows and their errors fit
    into sixteen registers of 32 bytes, those of eight do not.)"""
    r1, r2, r3 = r + columns, r + 2 * columns, r + 3 * columns
    step, errors = lanes(W), load_four(e, q)
    p0, p1, p2, p3 = spread(errors, 0, one), spread(errors, 1, one), spread(errors, 2, one), spread(errors, 3, one)
    s0 = splat(one - one)
    s1, s2, s3, scaled = s0, s0, s0, splat(rate)
    for j in range(0, columns, step):
        prefetch(W, r + ahead + 4 * j)
        prefetch(W, r + ahead + 4 * j + step)
        prefetch(W, r + ahead + 4 * j + 2 * step)
        prefetch(W, r + ahead + 4 * j + 3 * step)
        v, u = load(a, i + j), multiply(scaled, load(a, o + j))
        w0, w1, w2, w3 = load(W, r + j), load(W, r1 + j), load(W, r2 + j), load(W, r3 + j)
        s0, s1 = multiply_add(w0, v, s0), multiply_add(w1, v, s1)
        s2, s3 = multiply_add(w2, v, s2), multiply_add(w3, v, s3)
        if work & BACKPROJECT:
            s = multiply_add(p1, w1, multiply_add(p0, w0, load(g, h + j)))
            store(g, h + j, multiply_add(p3, w3, multiply_add(p2, w2, s)))
        store(W, r + j, multiply_add(p0, u, w0))
        store(W, r1 + j, multiply_add(p1, u, w1))
        store(W, r2 + j, multiply_add(p2, u, w2))
        store(W, r3 + j, multiply_add(p3, u, w3))
    mu = four_sums(s0, s1, s2, s3)
    store_four(out, k, add(load_four(out, k), mu) if work & OFFSET else mu)


# Two functions, as in ``dense.py``: a branch inside one loop kept the compiler from using its registers well.
@njit(nogil=True, cache=True)
def _inner_layer(offset, W, w, rows, columns, a, i, o, out, k, e, q, h, one, rate):
    """All three products."""
    for j in range(h, h + columns):
        e[j] = 0
    for row in range(0, rows, 4):
        r, ahead = w + row * columns, 4 * columns if row + 4 < rows else 0
        _stream_4(BACKPROJECT | offset, W, r, columns, a, i, o, out, k + row, e, q + row, e, h, one, rate, ahead)


@njit(nogil=True, cache=True)
def _first_layer(offset, W, w, rows, columns, a, i, o, out, k, e, q, h, one, rate):
    """No back-projection."""
    for row in range(0, rows, 4):
        r, ahead = w + row * columns, 4 * columns if row + 4 < rows else 0
        _stream_4(offset, W, r, columns, a, i, o, out, k + row, e, q + row, e, h, one, rate, ahead)


@folded  # as a function of its own, with all that it is handed, it took 2.3 times as long (24 × 200, AVX2)
def stream_step(new, old, l, e, k, h, rate):
    """One slot of layer l, which is not the last, by gradient descent with a batch of one.

    ``x[l+1]`` of the sample of the view ``new`` becomes its prediction; the errors above of the older sample, which
    begin at k of e, are back-projected (l > 0): that sample's below then begin at h of e; and ``W[l]`` and its biases
    descend along the older sample's gradient. All of it with the weights as they were before.
    """
    rows, columns, at = new.padded[l + 1], new.padded[l], new.value_at[l + 1]
    i, o, w = new.value_at[l], old.value_at[l], new.weight_at[l]
    offset = OFFSET if start_offsets(new, l, ZERO, rows, new.x, at) else ZERO
    if l > 0:
        _inner_layer(offset, new.W, w, rows, columns, new.a, i, o, new.x, at, e, k, h, new.one, rate)
        times_slope(old, ONE, o, columns, e, h)
        for j in range(columns if new.skip[l] else ZERO):
            e[h + j] += e[k + j]
    else:
        _first_layer(offset, new.W, w, rows, columns, new.a, i, o, new.x, at, e, k, h, new.one, rate)
    if new.has_bias:
        add_rows(ONE, rows, rows, rate, e, k, new.W, new.bias_at[l])


@folded
def late_step(new, old, l, e, k, rate):
    """The same where nothing goes on to the layer below: ``x[l+1]`` of the sample of the view ``new`` becomes its
    prediction, and ``W[l]`` and its biases descend along the gradient of the older sample, of the view ``old``, whose
    errors above begin at k of e."""
    rows, columns, at = new.padded[l + 1], new.padded[l], new.value_at[l + 1]
    i, o, w = new.value_at[l], old.value_at[l], new.weight_at[l]
    offset = OFFSET if start_offsets(new, l, ZERO, rows, new.x, at) else ZERO
    _first_layer(offset, new.W, w, rows, columns, new.a, i, o, new.x, at, e, k, ZERO, new.one, rate)
    if new.has_bias:
        add_rows(ONE, rows, rows, rate, e, k, new.W, new.bias_at[l])


@njit(nogil=True, forceinline=True)
def _learn_4(work, W, r, columns, a, i, o, out, k, e, q, one, rate, ahead):
    """Four rows of W, the first at index r, learn from the older sample and predict for the new one."""
    r1, r2, r3 = r + columns, r + 2 * columns, r + 3 * columns
    step, errors = lanes(W), load_four(e, q)
    p0, p1, p2, p3 = spread(errors, 0, one), spread(errors, 1, one), spread(errors, 2, one), spread(errors, 3, one)
    s0 = splat(one - one)
    s1, s2, s3, scaled = s0, s0, s0, splat(rate)
    for j in range(0, columns, step):
        prefetch(W, r + ahead + 4 * j)
        prefetch(W, r + ahead + 4 * j + step)
        prefetch(W, r + ahead + 4 * j + 2 * step)
        prefetch(W, r + ahead + 4 * j + 3 * step)
        v, u = load(a, i + j), multiply(scaled, load(a, o + j))
        w0, w1 = multiply_add(p0, u, load(W, r + j)), multiply_add(p1, u, load(W, r1 + j))
        w2, w3 = multiply_add(p2, u, load(W, r2 + j)), multiply_add(p3, u, load(W, r3 + j))
        store(W, r + j, w0)
        store(W, r1 + j, w1)
        store(W, r2 + j, w2)
        store(W, r3 + j, w3)
        s0, s1 = multiply_add(w0, v, s0), multiply_add(w1, v, s1)
        s2, s3 = multiply_add(w2, v, s2), multiply_add(w3, v, s3)
    mu = four_sums(s0, s1, s2, s3)
    store_four(out, k, add(load_four(out, k), mu) if work & OFFSET else mu)


@njit(nogil=True, cache=True)
def _learning_layer(offset, W, w, rows, columns, a, i, o, out, k, e, q, one, rate):
    for row in range(0, rows, 4):
        r, ahead = w + row * columns, 4 * columns if row + 4 < rows else 0
        _learn_4(offset, W, r, columns, a, i, o, out, k + row, e, q + row, one, rate, ahead)


@folded
def learn_step(new, old, l, e, k, rate):
    """One slot of layer l, by gradient descent with a batch of one: ``W[l]`` and its biases descend along the gradient
    of the older sample, of the view ``old``, whose errors above begin at k of e; then ``x[l+1]`` of the sample of the
    view ``new`` becomes its prediction."""
    rows, columns, at = new.padded[l + 1], new.padded[l], new.value_at[l + 1]
    i, o, w = new.value_at[l], old.value_at[l], new.weight_at[l]
    if new.has_bias:
        add_rows(ONE, rows, rows, rate, e, k, new.W, new.bias_at[l])
    offset = OFFSET if start_offsets(new, l, ZERO, rows, new.x, at) else ZERO
    _learning_layer(offset, new.W, w, rows, columns, new.a, i, o, new.x, at, e, k, new.one, rate)
