"""Weight updates of one layer: gradients, gradient descent, Adam."""

import math

from ..machine.blas import add_at_b
from ..machine.compiling import inner
from .dense import UPDATE, layer_pass
from .vectors import add_rows, fill

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # Kingma and Ba, arXiv:1412.6980, Algorithm 1


@inner
def gradient(s, l, first, rows, e, k, precision, at):
    """The step of steepest descent for rows of a layer's weights, then for their biases, into ``scratch`` from ``at``
    on; the errors begin at ``k`` of e."""
    below, columns, n = s.value_at[l], s.padded[l], s.sizes[l]
    count, m = rows * columns, min(rows, s.sizes[l + 1] - first)
    fill(s.scratch, at, count + rows, s.zero)
    if s.batch == 1:
        layer_pass(UPDATE, s.scratch, at, rows, columns, s.a, below, e, k, e, k, e, k, precision, precision)
    elif m > 0:
        wide = s.padded[l + 1]
        add_at_b(s.gemm, m, n, s.batch, precision, e, k, wide, s.a, below, columns, s.zero, s.scratch, at, columns)
    if s.has_bias:
        add_rows(s.batch, s.padded[l + 1], rows, precision, e, k, s.scratch, at + count)


@inner
def descend(s, l, first, rows, at, alpha, number):
    """Move rows of a layer's weights, and their biases, along what ``gradient`` has left at ``at`` of ``scratch``."""
    count = rows * s.padded[l]
    w = s.weight_at[l] + first * s.padded[l]
    _descend(s, w, at, count, alpha, number)
    if s.has_bias:
        _descend(s, s.bias_at[l] + first, at + count, rows, alpha, number)


@inner
def _descend(s, w, at, count, alpha, number):
    """``count`` parameters from ``w`` on, by their gradients from ``at`` of the scratch on."""
    if s.adam:
        _adam_part(s, w, at, count, alpha, number)
        return
    for j in range(count):
        s.W[w + j] += alpha * s.scratch[at + j]


@inner
def _adam_part(s, w, at, count, alpha, number):
    """``count`` parameters from ``w`` on, by their gradients from ``at`` of the scratch on."""
    kind = type(s.one)
    beta_1, beta_2, epsilon = kind(BETA_1), kind(BETA_2), kind(EPSILON)
    rate = kind(alpha / (1.0 - BETA_1**number))
    spread = kind(1.0 / (1.0 - BETA_2**number))
    for j in range(count):
        g = s.scratch[at + j]
        mean = beta_1 * s.mean[w + j] + (s.one - beta_1) * g
        square = beta_2 * s.square[w + j] + (s.one - beta_2) * g * g
        s.mean[w + j] = mean
        s.square[w + j] = square
        s.W[w + j] += rate * mean / (math.sqrt(square * spread) + epsilon)
