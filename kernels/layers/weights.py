"""Weight updates of one layer: gradients, and what an optimiser makes of them.

The letters are those of PyTorch's documented algorithms, but for the sign: ``g`` is the ascent direction, alpha's
factor in CONTRACT's weight update, so ``W += alpha * …``. ``decay`` is the weight decay. All act on biases as well, as
PyTorch's do.

An update goes through the weights once: some rows of the gradient are made, in cache, and the optimiser takes them from
there (a batch of one: from a and e themselves, as its gradient is their outer product).
"""

from collections import namedtuple

import numpy as np

from ..machine.blas import add_at_b
from ..machine.compiling import FALSE, ONE, TRUE, ZERO, inner
from ..machine.simd import add, divide, lanes, load, multiply, multiply_add, splat, square_root, store
from .dense import UPDATE, layer_pass
from .orthogonal import descend_orthogonally
from .products import ADD, STORE, columns_at_once, gradient_rows, pack_columns, tiles_of, transposed_times
from .vectors import add_rows, fill

# What becomes of a gradient. PLAIN is gradient descent without weight decay, which the products themselves can do. From
# MOMENTUM on there is a ``mean`` of gradients, from ADAM on also one of their ``square``. MUON needs a layer's whole
# gradient: it is for ``gradient`` and ``descend``, with all rows.
PLAIN, DECAYED, MOMENTUM, NESTEROV, COMPENSATED, MUON, ADAM, ADAMW, NADAMW = map(np.int64, range(9))

BETA_2, EPSILON = 0.999, 1e-8  # Kingma and Ba, arXiv:1412.6980, Algorithm 1

# The numbers of one update, in the net's dtype: see ``_numbers``.
_Step = namedtuple("_Step", "rule shrink kept rate ahead of_mean to_mean of_square to_square spread epsilon")


@inner
def gradient(s, l, first, rows, e, k, precision, at):
    """The step of steepest descent for rows of a layer's weights, then for their biases, into ``scratch`` from ``at``
    on; the errors begin at ``k`` of e."""
    below, columns, n, wide = s.value_at[l], s.padded[l], s.sizes[l], s.padded[l + 1]
    count, m = rows * columns, min(rows, s.sizes[l + 1] - first)
    fill(s.scratch, at, count + rows, s.zero)
    if s.batch == 1:
        layer_pass(UPDATE, s.scratch, at, rows, columns, s.a, below, e, k, e, k, e, k, precision, precision)
    elif m > 0 and s.own:
        transposed_times(
            m, s.batch, columns, e, k, wide, s.a, below, s.panel, precision, s.scratch, at, STORE
        )  # fmt: skip
    elif m > 0:
        add_at_b(s.gemm, m, n, s.batch, precision, e, k, wide, s.a, below, columns, s.zero, s.scratch, at, columns)
    if s.has_bias:
        add_rows(s.batch, wide, rows, precision, e, k, s.scratch, at + count)


@inner
def descend(s, l, first, rows, at, alpha, number):
    """Move rows of a layer's weights, and their biases, along what ``gradient`` has left at ``at`` of ``scratch``."""
    if s.rule == MUON:
        descend_orthogonally(s, l, first, rows, at, alpha)
        return
    w, bias = s.weight_at[l] + first * s.padded[l], s.bias_at[l] + first
    descend_from(s, l, w, bias, rows, s.padded[l], s.scratch, at, alpha, number)


@inner
def descend_from(s, l, w, bias, rows, columns, source, at, alpha, number):
    """Move rows of so many weights, which begin at ``w``, and their biases along a gradient in ``source``."""
    count = rows * columns
    step = _numbers(s.rule, s.numbers, l, alpha, number, s.one)
    _move(s, step, ONE, count, count, w, source, at, ZERO, FALSE, source, ZERO, s.one)
    if s.has_bias:
        _move(s, step, ONE, rows, rows, bias, source, at + count, ZERO, FALSE, source, ZERO, s.one)


@inner
def update(s, l, first, rows, e, k, precision, alpha, number):
    """``gradient`` and ``descend`` in one pass over the weights, by own kernels; of a batch of one any rule but PLAIN,
    which the fused pass does."""
    below, columns, wide = s.value_at[l], s.padded[l], s.padded[l + 1]
    w, m = s.weight_at[l] + first * columns, min(rows, s.sizes[l + 1] - first)
    step = _numbers(s.rule, s.numbers, l, alpha, number, s.one)
    if m > 0 and s.batch == 1:
        _move(s, step, m, columns, columns, w, s.a, below, ZERO, TRUE, e, k, precision)
    elif m > 0 and s.rule == PLAIN:
        transposed_times(m, s.batch, columns, e, k, wide, s.a, below, s.panel, alpha * precision, s.W, w, ADD)
    elif m > 0:
        _update_tiles(s, step, m, w, e, k, wide, below, columns, precision)
    if s.has_bias and s.rule == PLAIN:
        add_rows(s.batch, wide, rows, alpha * precision, e, k, s.W, s.bias_at[l] + first)
    elif s.has_bias:
        fill(s.panel, ZERO, rows, s.zero)
        add_rows(s.batch, wide, rows, precision, e, k, s.panel, ZERO)
        _move(s, step, ONE, rows, rows, s.bias_at[l] + first, s.panel, ZERO, ZERO, FALSE, e, k, s.one)


@inner
def _update_tiles(s, step, m, w, e, k, wide, below, columns, precision):
    """Some rows of the gradient after the other, and at once the optimiser for these."""
    part = columns_at_once(s.batch, columns, s.W)
    for left in range(0, columns, part):
        width = min(part, columns - left)
        for block in range(0, m, lanes(s.W)):
            height = min(lanes(s.W), m - block)
            pack_columns(s.batch, e, k + block, wide, s.panel)
            tiles, row = tiles_of(height), ZERO
            for tile in range(tiles):
                high = (height - row) // (tiles - tile)
                gradient_rows(
                    high, s.batch, width, s.panel, row, s.a, below + left, columns, precision, s.scratch, ZERO, width,
                    STORE,
                )  # fmt: skip
                to = w + (block + row) * columns + left
                if width == columns:
                    count = high * columns
                    _move(s, step, ONE, count, count, to, s.scratch, ZERO, ZERO, FALSE, e, k, s.one)
                else:
                    _move(s, step, high, width, columns, to, s.scratch, ZERO, width, FALSE, e, k, s.one)
                row += high


@inner
def _numbers(rule, numbers, l, alpha, number, one):
    """The numbers of update ``number``. What ``numbers`` holds: momentum, weight decay, and of each layer the delay D.

    MOMENTUM, NESTEROV (Sutskever et al. 2013, as ``torch.optim.SGD`` has it): ``g -= decay * W``,
    ``mean = momentum * mean + g``, then ``W += alpha * mean``, or ``W += alpha * (g + momentum * mean)``.
    COMPENSATED (spike compensation, Kosson et al., arXiv:2003.11666): the same mean, and
    ``W += alpha * (momentum**D * mean + (1 - momentum**D) / (1 - momentum) * g)``: what plain momentum would have made
    of a gradient in the D updates by which it comes late, at once.
    ADAM: Kingma and Ba, arXiv:1412.6980, Algorithm 1, with ``g -= decay * W`` first. ADAMW takes ``alpha * decay * W``
    from the weights instead (Loshchilov and Hutter, arXiv:1711.05101, Algorithm 2, its eta being 1). NADAMW: the same,
    and in place of the corrected mean ``momentum * mean / (1 - momentum**(number + 1)) + (1 - momentum) * g /
    (1 - momentum**number)`` (Dozat 2016, ICLR workshop, Algorithm 8, with a constant momentum, as Optax has it).
    """
    kind, momentum, decay = type(one), numbers[0], numbers[1]
    rate = ahead = of_mean = of_square = to_square = spread = one - one
    to_mean = one
    if rule >= ADAM:
        of_mean, of_square = kind(momentum), kind(BETA_2)
        to_mean, to_square = kind(1.0 - momentum), kind(1.0 - BETA_2)
        rate, spread = kind(alpha / (1.0 - momentum**number)), kind(1.0 / (1.0 - BETA_2**number))
        if rule == NADAMW:
            ahead = kind(alpha * (1.0 - momentum) / (1.0 - momentum**number))
            rate = kind(alpha * momentum / (1.0 - momentum ** (number + 1)))
    elif rule >= MOMENTUM:
        of_mean = kind(momentum)
        rate = alpha * of_mean if rule == NESTEROV else alpha
        ahead = alpha if rule == NESTEROV else one - one
        if rule == COMPENSATED:
            lasting = momentum ** numbers[2 + l]
            rate, ahead = alpha * kind(lasting), alpha * kind((1.0 - lasting) / (1.0 - momentum))
    else:
        ahead = alpha
    shrink = one - one if rule >= ADAMW else kind(-decay)
    kept = kind(1.0 - alpha * decay) if rule >= ADAMW else one
    return _Step(rule, shrink, kept, rate, ahead, of_mean, to_mean, of_square, to_square, spread, kind(EPSILON))


@inner
def _move(s, step, rows, count, apart, w, source, at, along, outer, e, k, scale):
    """Move ``rows`` rows of ``count`` parameters, which begin ``apart`` from one another, along their gradients: those
    in ``source``, ``along`` from one another; if ``outer``, times ``e[k]`` of its row. ``scale`` goes to all."""
    for row in range(rows):
        by = scale * e[k + row] if outer else scale
        q, p = w + row * apart, at + row * along
        if step.rule == NADAMW:
            _nadam(step, count, s.W, s.mean, s.square, q, source, p, by)
        elif step.rule >= ADAM:
            _adam(step, count, s.W, s.mean, s.square, q, source, p, by)
        elif step.rule >= MOMENTUM:
            _momentum(step, count, s.W, s.mean, q, source, p, by)
        else:
            _plain(step, count, s.W, q, source, p, by)


@inner
def _plain(step, count, W, w, source, at, by):
    by, shrink, rate = splat(by), splat(step.shrink), splat(step.ahead)
    for j in range(0, count, lanes(W)):
        old = load(W, w + j)
        store(W, w + j, multiply_add(rate, multiply_add(shrink, old, multiply(by, load(source, at + j))), old))


@inner
def _momentum(step, count, W, mean, w, source, at, by):
    by, shrink, rate, ahead, of_mean = (
        splat(by),
        splat(step.shrink),
        splat(step.rate),
        splat(step.ahead),
        splat(step.of_mean),
    )
    for j in range(0, count, lanes(W)):
        old = load(W, w + j)
        g = multiply_add(shrink, old, multiply(by, load(source, at + j)))
        moved = multiply_add(of_mean, load(mean, w + j), g)
        store(mean, w + j, moved)
        store(W, w + j, add(old, multiply_add(ahead, g, multiply(rate, moved))))


@inner
def _adam(step, count, W, mean, square, w, source, at, by):
    by, shrink, kept, rate = splat(by), splat(step.shrink), splat(step.kept), splat(step.rate)
    of_mean, to_mean, of_square = splat(step.of_mean), splat(step.to_mean), splat(step.of_square)
    to_square, spread, epsilon = splat(step.to_square), splat(step.spread), splat(step.epsilon)
    for j in range(0, count, lanes(W)):
        old = load(W, w + j)
        g = multiply_add(shrink, old, multiply(by, load(source, at + j)))
        first = multiply_add(of_mean, load(mean, w + j), multiply(to_mean, g))
        second = multiply_add(of_square, load(square, w + j), multiply(multiply(to_square, g), g))
        store(mean, w + j, first)
        store(square, w + j, second)
        change = divide(multiply(rate, first), add(square_root(multiply(second, spread)), epsilon))
        store(W, w + j, multiply_add(kept, old, change))


@inner
def _nadam(step, count, W, mean, square, w, source, at, by):
    """``_adam`` with a share of the gradient itself; in one function, Adam took 8 % longer at a batch of one."""
    by, kept, rate, ahead = splat(by), splat(step.kept), splat(step.rate), splat(step.ahead)
    of_mean, to_mean, of_square = splat(step.of_mean), splat(step.to_mean), splat(step.of_square)
    to_square, spread, epsilon = splat(step.to_square), splat(step.spread), splat(step.epsilon)
    for j in range(0, count, lanes(W)):
        g = multiply(by, load(source, at + j))
        first = multiply_add(of_mean, load(mean, w + j), multiply(to_mean, g))
        second = multiply_add(of_square, load(square, w + j), multiply(multiply(to_square, g), g))
        store(mean, w + j, first)
        store(square, w + j, second)
        along = multiply_add(ahead, g, multiply(rate, first))
        change = divide(along, add(square_root(multiply(second, spread)), epsilon))
        store(W, w + j, multiply_add(kept, load(W, w + j), change))
