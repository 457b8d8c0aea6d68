"""Weight updates of one layer: gradients, and what an optimiser makes of them.

The letters are those of PyTorch's documented algorithms, but for the sign: ``g`` is the ascent direction, alpha's
factor in CONTRACT's weight update, so ``W += alpha * …``. ``decay`` is the weight decay. All act on biases as well, as
PyTorch's do.
"""

import numpy as np

from ..machine.blas import add_at_b
from ..machine.compiling import inner
from ..machine.simd import add, divide, lanes, load, multiply, multiply_add, splat, square_root, store
from .dense import UPDATE, layer_pass
from .vectors import add_rows, fill

# What becomes of a gradient. PLAIN is gradient descent without weight decay, which the products themselves can do. From
# MOMENTUM on there is a ``mean`` of gradients, from ADAM on also one of their ``square``.
PLAIN, DECAYED, MOMENTUM, NESTEROV, ADAM, ADAMW = map(np.int64, range(6))

BETA_2, EPSILON = 0.999, 1e-8  # Kingma and Ba, arXiv:1412.6980, Algorithm 1


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
    """``count`` parameters from ``w`` on, by their gradients from ``at`` of the scratch on; both whole vectors."""
    if s.rule >= ADAM:
        _adam_part(s, w, at, count, alpha, number)
    elif s.rule >= MOMENTUM:
        _momentum_part(s, w, at, count, alpha)
    else:
        kind = type(s.one)
        rate, shrink = splat(alpha), splat(kind(-s.decay))
        for j in range(0, count, lanes(s.W)):
            old = load(s.W, w + j)
            g = multiply_add(shrink, old, load(s.scratch, at + j))
            store(s.W, w + j, multiply_add(rate, g, old))


@inner
def _momentum_part(s, w, at, count, alpha):
    """Sutskever et al. 2013, as ``torch.optim.SGD`` has it: ``g -= decay * W; mean = momentum * mean + g``, then
    ``W += alpha * mean``; Nesterov's has ``g + momentum * mean`` in place of ``mean``."""
    kind = type(s.one)
    momentum, shrink = splat(kind(s.momentum)), splat(kind(-s.decay))
    ahead = s.rule == NESTEROV
    of_gradient = splat(alpha if ahead else s.zero)
    of_mean = splat(alpha * kind(s.momentum) if ahead else alpha)
    for j in range(0, count, lanes(s.W)):
        old = load(s.W, w + j)
        g = multiply_add(shrink, old, load(s.scratch, at + j))
        mean = multiply_add(momentum, load(s.mean, w + j), g)
        store(s.mean, w + j, mean)
        store(s.W, w + j, add(old, multiply_add(of_gradient, g, multiply(of_mean, mean))))


@inner
def _adam_part(s, w, at, count, alpha, number):
    """Kingma and Ba, arXiv:1412.6980, Algorithm 1, with ``g -= decay * W`` first; AdamW instead takes
    ``alpha * decay * W`` from the weights (Loshchilov and Hutter, arXiv:1711.05101, Algorithm 2, its eta being 1)."""
    kind = type(s.one)
    of_mean, of_square = splat(kind(s.momentum)), splat(kind(BETA_2))
    to_mean, to_square = splat(kind(1.0 - s.momentum)), splat(kind(1.0 - BETA_2))
    rate = splat(kind(alpha / (1.0 - s.momentum**number)))
    spread, epsilon = splat(kind(1.0 / (1.0 - BETA_2**number))), splat(kind(EPSILON))
    apart = s.rule == ADAMW
    shrink, kept = splat(s.zero if apart else kind(-s.decay)), splat(kind(1.0 - alpha * s.decay) if apart else s.one)
    for j in range(0, count, lanes(s.W)):
        old = load(s.W, w + j)
        g = multiply_add(shrink, old, load(s.scratch, at + j))
        mean = multiply_add(of_mean, load(s.mean, w + j), multiply(to_mean, g))
        square = multiply_add(of_square, load(s.square, w + j), multiply(multiply(to_square, g), g))
        store(s.mean, w + j, mean)
        store(s.square, w + j, square)
        step = divide(multiply(rate, mean), add(square_root(multiply(square, spread)), epsilon))
        store(s.W, w + j, multiply_add(kept, old, step))
