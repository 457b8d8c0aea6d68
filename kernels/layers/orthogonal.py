"""Muon's update of one layer: the momentum, made nearly orthogonal, moves the weights.

K. Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon).
Five Newton-Schulz iterations bring all singular values near 1: three products each, of whole matrices, by BLAS. So this
can be no part of a pass over the weights; a layer's gradient is made first, in memory of its owner.
"""

import math

from numba import float64

from ..machine.blas import add_a_b, add_a_bt, add_at_b
from ..machine.compiling import ONE, inner, njit
from .vectors import copy_part

ITERATIONS, LINEAR, CUBIC, QUINTIC = 5, 3.4445, -4.7750, 2.0315  # the authors'


def working_size(rows: int, columns: int) -> int:
    """Elements of ``panel`` that a layer of so many rows and columns, padding included, needs."""
    return rows * columns + 2 * min(rows, columns) ** 2


@inner
def descend_orthogonally(s, l, first, rows, at, alpha):
    """Move a layer's weights and biases along what ``gradient`` has left at ``at`` of ``scratch``; ``rows`` are all
    that there are. ``numbers`` holds momentum and weight decay.

    ``mean = momentum * mean + g; d = g + momentum * mean``, then ``W = (1 - alpha * decay) * W + alpha *
    sqrt(max(1, m / n)) * X`` with the (m, n) matrix X that the iterations make of ``d / norm(d)``. Biases are a matrix
    of one column, whose only singular value is 1 from the beginning: ``alpha * sqrt(m) * d / norm(d)``.
    """
    columns, m, n = s.padded[l], min(rows, s.sizes[l + 1] - first), s.sizes[l]
    count, w, kind = rows * columns, s.weight_at[l] + first * columns, type(s.one)
    momentum, kept = kind(s.numbers[0]), kind(1.0 - alpha * s.numbers[1])
    _direct(s.scratch, at, count, s.mean, w, momentum)
    _divide_by_norm(s.scratch, at, m, n, columns)
    _iterate(s, at, m, n, columns)
    rate = kind(alpha * math.sqrt(max(1.0, m / n)))
    for row in range(m):
        _add(s.W, w + row * columns, n, kept, rate, s.panel, row * columns)
    if s.has_bias:
        b = s.bias_at[l] + first
        _direct(s.scratch, at + count, m, s.mean, b, momentum)
        _divide_by_norm(s.scratch, at + count, ONE, m, m)
        _add(s.W, b, m, kept, kind(alpha * math.sqrt(float64(m))), s.scratch, at + count)


@njit(nogil=True, cache=True)
def _direct(scratch, at, count, mean, w, momentum):
    """Gradients become the direction of Nesterov's momentum."""
    for j in range(count):
        g = scratch[at + j]
        mean[w + j] = momentum * mean[w + j] + g
        scratch[at + j] = g + momentum * mean[w + j]


@njit(nogil=True, cache=True)
def _divide_by_norm(p, at, rows, columns, apart):
    """``p /= norm(p)`` (Frobenius), in float64, as squares of float32 overflow; what is all zero stays so."""
    total = 0.0
    for row in range(rows):
        for j in range(at + row * apart, at + row * apart + columns):
            total += float64(p[j]) * float64(p[j])
    inverse = 1.0 / math.sqrt(total) if total != 0.0 else 0.0
    for row in range(rows):
        for j in range(at + row * apart, at + row * apart + columns):
            p[j] = float64(p[j]) * inverse


@inner
def _iterate(s, at, m, n, columns):
    """The iterations on the (m, n) matrix at ``at`` of ``scratch``; the last one leaves it at 0 of ``panel``.

    ``X = (LINEAR + CUBIC * A + QUINTIC * A @ A) @ X`` with ``A = X @ X.T``; of a matrix with more rows than columns,
    its transpose's, ``A = X.T @ X`` and the polynomial on the other side.
    """
    size, kind = min(m, n), type(s.one)
    gram, cubic, quintic = m * columns, kind(CUBIC), kind(QUINTIC)
    polynomial = gram + size * size
    x, i, y, k = s.scratch, at, s.panel, at - at
    for _ in range(ITERATIONS):
        if m > n:
            add_at_b(s.gemm, n, n, m, s.one, x, i, columns, x, i, columns, s.zero, s.panel, gram, n)
        else:
            add_a_bt(s.gemm, m, m, n, s.one, x, i, columns, x, i, columns, s.zero, s.panel, gram, m)
        copy_part(s.panel, gram, size * size, s.panel, polynomial)
        add_a_b(
            s.gemm, size, size, size, quintic, s.panel, gram, size, s.panel, gram, size, cubic, s.panel, polynomial,
            size,
        )  # fmt: skip
        for j in range(size):
            s.panel[polynomial + j * (size + 1)] += kind(LINEAR)
        if m > n:
            add_a_b(s.gemm, m, n, n, s.one, x, i, columns, s.panel, polynomial, n, s.zero, y, k, columns)
        else:
            add_a_b(s.gemm, m, n, m, s.one, s.panel, polynomial, m, x, i, columns, s.zero, y, k, columns)
        x, i, y, k = y, k, x, i


@njit(nogil=True, cache=True)
def _add(W, w, count, kept, rate, x, at):
    """``W = kept * W + rate * x``."""
    for j in range(count):
        W[w + j] = kept * W[w + j] + rate * x[at + j]
