"""What the machine can do at most: memory traffic and arithmetic with nothing else in the way.

The loops touch memory just as the dense kernels do (whole vectors, one after another), so that what they reach is
a ceiling those can be held against.
"""

from ..layers.dense import BACKPROJECT, PREDICT, UPDATE, layer_pass
from .blas import add_a_b, add_a_bt, add_at_b
from .clock import nanoseconds
from .compiling import ZERO, njit
from .simd import lanes, load, multiply_add, pointer, prefetch, splat, store
from .sync import meet

AHEAD = 32  # vectors fetched ahead: 2 KB, as far as half a row of 1024 float32


@njit(nogil=True, cache=True)
def _read(p, count):
    """Read ``count`` elements, in four streams as the passes do by four rows, into sums that stay in registers: eight,
    as with four their latency would be measured."""
    step, quarter = lanes(p), count // 4
    one = splat(p[0])
    s0, s1, s2, s3, s4, s5, s6, s7 = one, one, one, one, one, one, one, one
    for j in range(0, quarter, 2 * step):
        s0 = multiply_add(load(p, j), one, s0)
        s1 = multiply_add(load(p, j + quarter), one, s1)
        s2 = multiply_add(load(p, j + 2 * quarter), one, s2)
        s3 = multiply_add(load(p, j + 3 * quarter), one, s3)
        s4 = multiply_add(load(p, j + step), one, s4)
        s5 = multiply_add(load(p, j + quarter + step), one, s5)
        s6 = multiply_add(load(p, j + 2 * quarter + step), one, s6)
        s7 = multiply_add(load(p, j + 3 * quarter + step), one, s7)
    low = multiply_add(s0, s1, multiply_add(s2, s3, one))
    return multiply_add(s4, s5, multiply_add(s6, s7, low))


@njit(nogil=True, cache=True)
def _read_write(p, count, factor):
    """Multiply ``count`` elements in place."""
    step = lanes(p)
    by, nothing = splat(factor), splat(factor - factor)
    for j in range(0, count, 4 * step):
        prefetch(p, j + AHEAD * step)
        prefetch(p, j + (AHEAD + 1) * step)
        prefetch(p, j + (AHEAD + 2) * step)
        prefetch(p, j + (AHEAD + 3) * step)
        store(p, j, multiply_add(load(p, j), by, nothing))
        store(p, j + step, multiply_add(load(p, j + step), by, nothing))
        store(p, j + 2 * step, multiply_add(load(p, j + 2 * step), by, nothing))
        store(p, j + 3 * step, multiply_add(load(p, j + 3 * step), by, nothing))


@njit(nogil=True, cache=True)
def sweep_memory(worker, workers, array, scratch, writes, repeats, ready, stop, times):
    """``repeats`` passes over ``array`` after a common start with the other workers; start and end into ``times``."""
    p, out = pointer(array), pointer(scratch)
    if not meet(worker, workers, pointer(ready), pointer(stop)):
        return
    times[worker, 0] = nanoseconds()
    for _ in range(repeats):
        if writes:
            _read_write(p, len(array), array.dtype.type(1))
        else:
            store(out, 0, _read(p, len(array)))
    times[worker, 1] = nanoseconds()


@njit(nogil=True, cache=True)
def multiply_matrices(worker, workers, gemm, batch, above, below, back, weights, a, e, h, repeats, ready, stop, times):
    """``repeats`` times the three products of a layer of ``above`` × ``below`` weights, or without ``back`` the two of
    the first one, after a common start with the other workers."""
    W, p, q, r = pointer(weights), pointer(a), pointer(e), pointer(h)
    one, tiny = weights.dtype.type(1), weights.dtype.type(1e-20)  # a factor of 0 would be noticed, and nothing done
    zero = one - one
    if not meet(worker, workers, pointer(ready), pointer(stop)):
        return
    times[worker, 0] = nanoseconds()
    for _ in range(repeats):
        add_a_bt(gemm, batch, above, below, one, p, ZERO, below, W, ZERO, below, zero, q, ZERO, above)
        if back:
            add_a_b(gemm, batch, below, above, one, q, ZERO, above, W, ZERO, below, zero, r, ZERO, below)
        add_at_b(gemm, above, below, batch, tiny, q, ZERO, above, p, ZERO, below, one, W, ZERO, below)
    times[worker, 1] = nanoseconds()


@njit(nogil=True, cache=True)
def repeat_pass(worker, workers, rows, columns, weights, a, g, x, e, repeats, ready, stop, times):
    """``repeats`` fused passes over the same weights after a common start with the other workers."""
    W, p, q, r, s = pointer(weights), pointer(a), pointer(g), pointer(x), pointer(e)
    one = weights.dtype.type(1)
    if not meet(worker, workers, pointer(ready), pointer(stop)):
        return
    times[worker, 0] = nanoseconds()
    for _ in range(repeats):
        layer_pass(PREDICT | BACKPROJECT | UPDATE, W, ZERO, rows, columns, p, ZERO, r, ZERO, s, ZERO, q, ZERO, one, one)
    times[worker, 1] = nanoseconds()
