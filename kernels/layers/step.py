"""What one worker does with one layer, for any batch: the products, the elementwise rest, and the weight update.

A batch of one takes the fused pass of ``dense.py``, larger ones the matrix products of ``products.py``, or of
``blas.py`` where that is what is to be measured. The letters are
CONTRACT's: ``x`` values, ``e`` errors, ``a = scale * f(x)``, ``d = scale * f'(x)``, ``W`` weights. In addition
``h[l] = d[l] * (pi[l+1] e[l+1] @ W[l])``, plus ``pi[l+1] e[l+1]`` through a skip: all that drives ``x[l]`` from above.
"""

from ..machine.blas import add_a_b, add_a_bt, add_at_b, add_outer, matrix_vector
from ..machine.compiling import FALSE, TRUE, ZERO, folded, inner, njit
from ..machine.simd import lanes, load, multiply, multiply_add, splat, store
from .activations import IDENTITY
from .activations import activate as activate_part
from .convolution import convolved, started
from .dense import BACKPROJECT, FORWARD, OFFSET, PREDICT, SHARE, UPDATE, layer_pass
from .products import ADD, STORE, TIMES, times, times_transposed
from .vectors import add_rows, fill, subtract_from
from .weights import MUON, PLAIN, descend, gradient, update

# OpenBLAS multiplies without packing what takes at most so many multiplications (interface/gemm.c, SMALL_MATRIX_OPT):
# at width 64, 265 against 140 to 207 GFLOP/s. So larger batches of narrow layers go in parts, if these are not too few.
SMALL_PRODUCT, FEWEST_SAMPLES = 1_000_000, 64


@inner
def activate_rows(s, l, first, rows):
    """Of ``a[l]`` and ``d[l]`` the elements ``first … first + rows - 1`` of each sample, from ``x[l]``; the function
    of the input layer is the identity, and nothing is projected back to it, so it has no ``d``. Padding is left as it
    is."""
    code = s.activations[l]
    if l == 0 and code == IDENTITY:
        by = splat(s.scale[l])
        for row in range(s.batch):
            at = s.value_at[l] + row * s.padded[l] + first
            for j in range(at, at + rows, lanes(s.a)):
                store(s.a, j, multiply(by, load(s.x, j)))
        return
    count = min(rows, s.sizes[l] - first)
    for row in range(s.batch):
        at = s.value_at[l] + row * s.padded[l] + first
        activate_part(code, s.x, at, count, s.scale[l], s.a, s.d)


@inner
def activate_layer(s, l):
    """``a[l]`` and ``d[l]`` from ``x[l]``."""
    activate_rows(s, l, ZERO, s.padded[l])


@inner
def start_offsets(s, l, first, rows, out, at):
    """``out = bias + skip``: the part of ``mu[l+1]`` that is not a product; False where there is none."""
    if not s.has_bias and not s.skip[l]:
        return False
    below, above, columns, bias = s.value_at[l], s.padded[l + 1], s.padded[l], s.bias_at[l]
    for row in range(s.batch):
        for j in range(first, first + rows):
            offset = s.W[bias + j] if s.has_bias else s.zero
            out[at + row * above + j] = offset + s.x[below + row * columns + j] if s.skip[l] else offset
    return True


@folded
def start_prediction(s, l, first, rows, out, at):
    """``out = mu[l+1]`` in so many rows, one layer of a forward pass; ``a[l]`` must be ready."""
    if started(s, l, out, at):
        return
    below, columns, w, k = s.value_at[l], s.padded[l], s.weight_at[l] + first * s.padded[l], at + first
    offset = start_offsets(s, l, first, rows, out, at)
    if s.batch == 1 and s.gemv == 0:
        work = PREDICT | FORWARD | (OFFSET if offset else ZERO)
        layer_pass(work, s.W, w, rows, columns, s.a, below, out, k, out, k, out, k, s.one, s.one)
    else:
        _product(s, l, first, rows, offset, out, at, FALSE, out)


@inner
def _product(s, l, first, rows, offset, out, at, subtract, target):
    """``out = a[l] @ W[l].T``, or added to ``out``; then, if ``subtract``, ``out = target[l+1] - out``."""
    below, above, columns, n = s.value_at[l], s.padded[l + 1], s.padded[l], s.sizes[l]
    w, m = s.weight_at[l] + first * columns, min(rows, s.sizes[l + 1] - first)
    if s.own and s.batch > 1:
        k, to = at + first, s.value_at[l + 1] + first
        if subtract and not offset:
            times_transposed(
                s.batch, rows, columns, s.a, below, s.W, w, s.panel, -s.one, out, k, above, ADD, target, to
            )  # fmt: skip
            return
        mode = ADD if offset else STORE
        times_transposed(s.batch, rows, columns, s.a, below, s.W, w, s.panel, s.one, out, k, above, mode, out, k)
        if subtract:
            subtract_from(s, l + 1, s.batch, first, rows, target, s.value_at[l + 1], out, at)
        return
    beta = s.one if offset else s.zero
    part = _samples_at_once(s.batch, m, n)
    for i in range(0, s.batch, part):
        count, a, c = min(part, s.batch - i), below + i * columns, at + i * above
        if s.batch == 1 and s.gemv != 0:
            matrix_vector(s.gemv, False, m, n, s.one, s.W, w, columns, s.a, a, beta, out, c + first)
        elif m > 0:
            add_a_bt(s.gemm, count, m, n, s.one, s.a, a, columns, s.W, w, columns, beta, out, c + first, above)
        if subtract:
            subtract_from(s, l + 1, count, first, rows, target, s.value_at[l + 1] + i * above, out, c)


@njit(nogil=True, cache=True)
def _samples_at_once(batch, m, n):
    """How many samples to give to one product of a matrix (m, n)."""
    most = SMALL_PRODUCT // max(1, m * n)
    if most >= batch or most < FEWEST_SAMPLES:
        return max(1, batch)
    parts = -(-batch // most)
    return -(-batch // parts)


@inner
def layer_step(work, s, l, first, rows, target, e, h, slot, precision, alpha, number):
    """The products of ``W[l]`` in one step, as ``work`` says (PREDICT, BACKPROJECT, UPDATE of ``dense.py``).

    PREDICT:      ``e[l+1] = target[l+1] - mu[l+1]`` (else ``e[l+1]`` is read as it stands);
    BACKPROJECT:  ``h[l]`` as defined above; with SHARE the product alone;
    UPDATE:       ``W[l]`` and its biases, by the optimiser's ``number``-th update at rate ``alpha``.

    Of W[l] only ``rows`` rows from ``first`` on take part, so many elements of ``e[l+1]``, and h is their share of the
    sum. ``slot`` is the offset of the step's half of e and h. The update comes last: the others must not see it.
    """
    if convolved(work, s, l, first, rows, target, e, h, slot, precision, alpha, number):
        return
    above, below = s.value_at[l + 1], s.value_at[l]
    wide, columns, n = s.padded[l + 1], s.padded[l], s.sizes[l]
    m = min(rows, s.sizes[l + 1] - first)
    w, k, g = s.weight_at[l] + first * columns, slot + above + first, slot + below
    rate = alpha * precision
    plain = work & UPDATE and s.rule == PLAIN
    driven = work & BACKPROJECT and not work & SHARE
    work &= ~SHARE
    offset = start_offsets(s, l, first, rows, e, slot + above) if work & PREDICT else False
    fused = s.batch == 1 and s.gemv == 0
    if fused:
        products = (work if plain else work & ~UPDATE) | (OFFSET if offset else ZERO)
        layer_pass(
            products, s.W, w, rows, columns, s.a, below, target, above + first, e, k, h, g, precision, rate
        )  # fmt: skip
        if driven:
            times_slope(s, s.batch, below, columns, h, g)
    elif work & PREDICT:
        _product(s, l, first, rows, offset, e, slot + above, TRUE, target)
    if not fused and s.own and s.batch > 1:
        if work & BACKPROJECT and m > 0:
            mode = TIMES if driven else STORE
            times(s.batch, m, columns, e, k, wide, s.W, w, s.panel, precision, h, g, mode, s.d, below)
        elif work & BACKPROJECT:
            fill(h, g, s.batch * columns, s.zero)
    elif not fused:
        part = _samples_at_once(s.batch, m, n)
        for i in range(0, s.batch if work & BACKPROJECT else 0, part):
            count, b, c = min(part, s.batch - i), k + i * wide, g + i * columns
            if s.batch == 1:
                matrix_vector(s.gemv, True, m, n, precision, s.W, w, columns, e, b, s.zero, h, c)
            else:
                add_a_b(s.gemm, count, n, max(m, 0), precision, e, b, wide, s.W, w, columns, s.zero, h, c, columns)
            if driven:
                times_slope(s, count, below + i * columns, columns, h, c)
        for i in range(0, s.batch if plain and m > 0 else 0, part):
            count, b, c = min(part, s.batch - i), k + i * wide, below + i * columns
            if s.batch == 1:
                add_outer(s.ger, m, n, rate, e, b, s.a, c, s.W, w, columns)
            else:
                add_at_b(s.gemm, m, n, count, rate, e, b, wide, s.a, c, columns, s.one, s.W, w, columns)
    if driven and s.skip[l]:
        for row in range(s.batch):
            for j in range(row * columns + first, row * columns + first + rows):
                h[g + j] += precision * e[slot + above + j]
    passes = (s.own and s.batch > 1) or (s.gemv == 0 and s.batch == 1 and not plain)
    if work & UPDATE and passes and s.rule != MUON:
        update(s, l, first, rows, e, k, precision, alpha, number)
    elif plain and s.has_bias:
        add_rows(s.batch, wide, rows, rate, e, k, s.W, s.bias_at[l] + first)
    elif work & UPDATE and not plain:
        gradient(s, l, first, rows, e, k, precision, ZERO)
        descend(s, l, first, rows, ZERO, alpha, number)


@inner
def times_slope(s, samples, at, columns, h, g):
    """``h *= d`` for so many samples, whose slopes begin at ``at`` and drives at ``g``."""
    nothing = splat(s.zero)
    for j in range(0, samples * columns, lanes(h)):
        store(h, g + j, multiply_add(load(h, g + j), load(s.d, at + j), nothing))
