"""What one worker does with one layer, for any batch: the products, the elementwise rest, and the weight update.

A batch of one takes the fused pass of ``dense.py``, larger ones the matrix products of ``blas.py``. The letters are
CONTRACT's: ``x`` values, ``e`` errors, ``a = scale * f(x)``, ``d = scale * f'(x)``, ``W`` weights. In addition
``h[l] = d[l] * (pi[l+1] e[l+1] @ W[l])``, plus ``pi[l+1] e[l+1]`` through a skip: all that drives ``x[l]`` from above.
"""

import math
from collections import namedtuple

from numba import njit

from .activations import IDENTITY, activate
from .blas import add_a_b, add_a_bt, add_at_b
from .dense import BACKPROJECT, FORWARD, OFFSET, PREDICT, UPDATE, layer_pass
from .simd import lanes, load, multiply_add, splat, store

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # Kingma and Ba, arXiv:1412.6980, Algorithm 1

# Where a worker finds everything: pointers into flat arrays, and for each layer where its part begins. The biases of
# a layer stand behind its weights. ``scratch`` (of the worker), ``mean`` and ``square`` serve Adam alone.
Layers = namedtuple(
    "Layers",
    "batch sizes padded weight_at value_at scale skip activation has_bias adam gemm one zero "
    "W x a d scratch mean square",
)


@njit(nogil=True, cache=True)
def activate_layer(s, l):
    """``a[l]`` and ``d[l]`` from ``x[l]``; the function of the input layer is the identity."""
    code = s.activation if l > 0 else IDENTITY
    for row in range(s.batch):
        at = s.value_at[l] + row * s.padded[l]
        activate(code, s.x, at, s.sizes[l], s.scale[l], s.a, s.d)


@njit(nogil=True, cache=True)
def move_values(s, l, x, e, h, slot, gamma):
    """``x[l] += gamma * (h[l] - e[l])``: Eq. 6 for a hidden layer, whose precision is 1."""
    at = s.value_at[l]
    plus, minus = splat(gamma), splat(-gamma)
    for j in range(at, at + s.batch * s.padded[l], lanes(x)):
        moved = multiply_add(minus, load(e, slot + j), load(x, j))
        store(x, j, multiply_add(plus, load(h, slot + j), moved))


@njit(nogil=True, cache=True)
def fill(p, at, count, value):
    """The same value everywhere."""
    for j in range(at, at + count):
        p[j] = value


@njit(nogil=True, cache=True)
def copy_part(p, at, count, out):
    """``out[at : at + count] = p[at : at + count]``."""
    for j in range(at, at + count):
        out[j] = p[j]


@njit(nogil=True, cache=True)
def squares(s, l, e, slot):
    """The sum of ``e[l]**2`` over batch and units, in one fixed order."""
    at = slot + s.value_at[l]
    total = 0.0
    for j in range(at, at + s.batch * s.padded[l]):
        total += e[j] * e[j]
    return total


@njit(nogil=True, cache=True)
def subtract_from(x, at, count, e, k):
    """``e = x - e``: predictions become errors."""
    for j in range(count):
        e[k + j] = x[at + j] - e[k + j]


@njit(nogil=True, cache=True)
def _offsets(s, l, out, at):
    """``out = bias + skip``: the part of ``mu[l+1]`` that is no product; False where there is none."""
    if not s.has_bias and not s.skip[l]:
        return False
    below, rows, columns = s.value_at[l], s.padded[l + 1], s.padded[l]
    bias = s.weight_at[l] + rows * columns
    for row in range(s.batch):
        for j in range(rows):
            offset = s.W[bias + j] if s.has_bias else s.zero
            out[at + row * rows + j] = offset + s.x[below + row * columns + j] if s.skip[l] else offset
    return True


@njit(nogil=True, cache=True)
def start_prediction(s, l, out, at):
    """``out = mu[l+1]``, one layer of a forward pass; ``a[l]`` must be ready."""
    below, rows, columns, w = s.value_at[l], s.padded[l + 1], s.padded[l], s.weight_at[l]
    offset = _offsets(s, l, out, at)
    if s.batch == 1:
        work = PREDICT | FORWARD | (OFFSET if offset else 0)
        layer_pass(work, s.W, w, rows, columns, s.a, below, out, at, out, at, out, at, s.one, s.one)
    else:
        _product(s, l, offset, out, at)


@njit(nogil=True, cache=True)
def _product(s, l, offset, out, at):
    """``out = a[l] @ W[l].T``, or added to ``out``."""
    below, rows, columns, w = s.value_at[l], s.padded[l + 1], s.padded[l], s.weight_at[l]
    m, n = s.sizes[l + 1], s.sizes[l]
    beta = s.one if offset else s.zero
    add_a_bt(s.gemm, s.batch, m, n, s.one, s.a, below, columns, s.W, w, columns, beta, out, at, rows)


@njit(nogil=True, cache=True)
def layer_step(work, s, l, target, e, h, slot, precision, alpha, number):
    """The products of ``W[l]`` in one step, as ``work`` says (PREDICT, BACKPROJECT, UPDATE of ``dense.py``).

    PREDICT:      ``e[l+1] = target[l+1] - mu[l+1]`` (else ``e[l+1]`` is read as it stands);
    BACKPROJECT:  ``h[l]`` as defined above;
    UPDATE:       ``W[l]`` and its biases, by gradient descent at rate ``alpha`` or by Adam's ``number``-th update.

    ``slot`` is the offset of the step's half of e and h. The update comes last: it must not be seen by the others.
    """
    above, below = s.value_at[l + 1], s.value_at[l]
    rows, columns, m, n = s.padded[l + 1], s.padded[l], s.sizes[l + 1], s.sizes[l]
    w, k, g = s.weight_at[l], slot + above, slot + below
    rate = alpha * precision
    plain = work & UPDATE and not s.adam
    offset = _offsets(s, l, e, k) if work & PREDICT else False
    if s.batch == 1:
        products = (work if plain else work & ~UPDATE) | (OFFSET if offset else 0)
        layer_pass(products, s.W, w, rows, columns, s.a, below, target, above, e, k, h, g, precision, rate)
    else:
        if work & PREDICT:
            _product(s, l, offset, e, k)
            subtract_from(target, above, s.batch * rows, e, k)
        if work & BACKPROJECT:
            add_a_b(s.gemm, s.batch, n, m, precision, e, k, rows, s.W, w, columns, s.zero, h, g, columns)
        if plain:
            add_at_b(s.gemm, m, n, s.batch, rate, e, k, rows, s.a, below, columns, s.one, s.W, w, columns)
    if work & BACKPROJECT:
        for j in range(s.batch * columns):
            h[g + j] *= s.d[below + j]
        if s.skip[l]:
            for j in range(s.batch * columns):
                h[g + j] += precision * e[k + j]
    if plain and s.has_bias:
        _add_rows(s.batch, rows, rate, e, k, s.W, w + rows * columns)
    if work & UPDATE and s.adam:
        _adam(s, l, e, k, precision, alpha, number)


@njit(nogil=True, cache=True)
def _add_rows(batch, rows, rate, e, k, out, at):
    """``out += rate * e.sum(0)``."""
    for row in range(batch):
        for j in range(rows):
            out[at + j] += rate * e[k + row * rows + j]


@njit(nogil=True, cache=True)
def _adam(s, l, e, k, precision, alpha, number):
    """Adam's update of a layer's weights and biases; the gradient goes through the worker's scratch."""
    below, rows, columns, m, n = s.value_at[l], s.padded[l + 1], s.padded[l], s.sizes[l + 1], s.sizes[l]
    w, count = s.weight_at[l], rows * columns
    fill(s.scratch, 0, count + rows, s.zero)
    if s.batch == 1:
        layer_pass(UPDATE, s.scratch, 0, rows, columns, s.a, below, e, k, e, k, e, k, precision, precision)
    else:
        add_at_b(s.gemm, m, n, s.batch, precision, e, k, rows, s.a, below, columns, s.zero, s.scratch, 0, columns)
    if s.has_bias:
        _add_rows(s.batch, rows, precision, e, k, s.scratch, count)
        count += rows
    kind = type(s.one)
    beta_1, beta_2, epsilon = kind(BETA_1), kind(BETA_2), kind(EPSILON)
    rate = kind(alpha / (1.0 - BETA_1**number))
    spread = kind(1.0 / (1.0 - BETA_2**number))
    for j in range(count):
        g = s.scratch[j]
        mean = beta_1 * s.mean[w + j] + (s.one - beta_1) * g
        square = beta_2 * s.square[w + j] + (s.one - beta_2) * g * g
        s.mean[w + j] = mean
        s.square[w + j] = square
        s.W[w + j] += rate * mean / (math.sqrt(square * spread) + epsilon)
