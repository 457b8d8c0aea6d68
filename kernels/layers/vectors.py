"""Elementwise work on one layer's vectors: copies, differences, sums."""

from numba import float64

from ..machine.compiling import njit
from ..machine.simd import lanes, load, multiply_add, pointer, splat, store


@njit(nogil=True, cache=True)
def fill(p, at, count, value):
    """The same value everywhere."""
    for j in range(at, at + count):
        p[j] = value


@njit(nogil=True, cache=True)
def copy_part(p, at, count, out, to):
    """``out[to : to + count] = p[at : at + count]``."""
    for j in range(count):
        out[to + j] = p[at + j]


@njit(nogil=True, cache=True)
def step_ahead(p, before, at, count, delay, out):
    """``out = p + delay * (p - before)`` from ``at`` on: where p goes on as it has."""
    for j in range(at, at + count):
        out[j] = p[j] + delay * (p[j] - before[j])


@njit(nogil=True, cache=True)
def squares(s, l, first, rows, e, slot):
    """The sum of ``e[l]**2`` over the batch and units ``first … first + rows - 1``, in one fixed order and in float64,
    as squares of float32 overflow from 2e19 on."""
    total = 0.0
    for row in range(s.batch):
        at = slot + s.value_at[l] + row * s.padded[l] + first
        for j in range(at, at + rows):
            wide = float64(e[j])
            total += wide * wide
    return total


@njit(nogil=True, cache=True)
def all_finite(s, l, first, rows, e, slot):
    """Whether ``e[l]`` is finite over the batch and those units. (Whole numbers are counted, as the compiler takes
    sums of those apart.)"""
    found = 0
    for row in range(s.batch):
        at = slot + s.value_at[l] + row * s.padded[l] + first
        for j in range(at, at + rows):
            found += 1 if e[j] - e[j] == s.zero else 0
    return found == s.batch * rows


@njit(nogil=True, cache=True)
def subtract_from(s, l, samples, first, rows, x, at, e, k):
    """``e = x - e`` in rows of layer l, whose ``samples`` begin at ``at`` of x and at ``k`` of e: predictions become
    errors."""
    minus = splat(-s.one)
    parts, length = (1, samples * rows) if rows == s.padded[l] else (samples, rows)
    for part in range(parts):
        begin = part * s.padded[l] + first
        for j in range(begin, begin + length, lanes(e)):
            store(e, k + j, multiply_add(minus, load(e, k + j), load(x, at + j)))


@njit(nogil=True, cache=True)
def sum_shares(s, l, first, rows, shares, size, count, e):
    """``e[l]`` in so many rows: the sum of ``count`` shares, each ``size`` long, always in the same order."""
    p, one = pointer(shares), splat(s.one)
    for row in range(s.batch):
        begin = s.value_at[l] + row * s.padded[l] + first
        for j in range(begin, begin + rows, lanes(e)):
            total = load(p, j)
            for share in range(1, count):
                total = multiply_add(one, load(p, j + share * size), total)
            store(e, j, total)


@njit(nogil=True, cache=True)
def add_rows(batch, wide, rows, rate, e, k, out, at):
    """``out += rate * e.sum(0)``."""
    for row in range(batch):
        for j in range(rows):
            out[at + j] += rate * e[k + row * wide + j]
