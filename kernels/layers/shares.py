"""Some units of a layer: values moved by drives of which several workers have made shares, copies, constants."""

from ..machine.compiling import ZERO, inner, njit
from ..machine.simd import lanes, load, multiply_add, prefetch, prefetch_to_write, splat, store
from .activations import activate as activate_part

AHEAD = 6  # samples whose lines are asked for ahead: other workers' caches hold them, in pieces too short to be guessed


@inner
def fetch_units(s, l, first, rows, row, p, size, begin, end, worker):
    """Ask for one sample's units of layer l in the parts of p that the workers ``begin … end - 1`` have written, but
    for this worker's own."""
    at = s.value_at[l] + row * s.padded[l] + first
    for other in range(begin, end):
        if other != worker:
            for j in range(at, at + rows, lanes(p)):
                prefetch(p, other * size + j)


@njit(nogil=True, forceinline=True)
def _total(s, shares, size, begin, end, rows_of, stride, j):
    """One vector of the sum of the shares of the workers ``begin … end - 1``, in this order."""
    total, there = splat(s.zero), False
    for other in range(begin, end):
        if rows_of[other * stride] > 0:
            share = load(shares, other * size + j)
            total = multiply_add(splat(s.one), share, total) if there else share
            there = True
    return total


@njit(nogil=True, forceinline=True)
def _move(x, j, error, drive, gamma, momentum, v, shift, minus_one):
    """One vector of values, as ``move_values`` and ``push_values`` have it."""
    if momentum > 0:
        force = multiply_add(minus_one, error, drive)
        moved = multiply_add(splat(momentum), load(v, shift + j), force)
        store(v, shift + j, moved)
        store(x, j, multiply_add(splat(gamma), moved, load(x, j)))
    else:
        moved = multiply_add(splat(-gamma), error, load(x, j))
        store(x, j, multiply_add(splat(gamma), drive, moved))


@inner
def move_units(
    s, l, first, rows, shares, size, begin, end, rows_of, stride, worker, e, h, slot, weight, gamma, momentum, v, keep
):
    """Eq. 6 for the units ``first … first + rows - 1`` of a hidden layer, with ``a[l]`` and ``d[l]`` of them.

    The drive is ``d[l]`` times the sum of the shares of the workers ``begin … end - 1``, taken in this order, plus what
    comes through a skip; a share is ``size`` elements behind the one before, and whoever has no rows of ``W[l]`` has
    none: ``rows_of`` are those of layer l + 1, every ``stride``-th of them of the next worker. ``weight`` is that of
    the errors above. If ``keep``, h receives the drive. ``momentum`` of values, if above 0, has velocities in v (see
    ``push_values``).
    """
    through, nothing = splat(weight), splat(s.zero)
    above = s.value_at[l + 1] - s.value_at[l]  # a skip leads to a layer of as many units
    for row in range(s.batch):
        if row + AHEAD < s.batch:
            fetch_units(s, l, first, rows, row + AHEAD, shares, size, begin, end, worker)
            ahead = s.value_at[l] + (row + AHEAD) * s.padded[l] + first
            for j in range(ahead, ahead + rows, lanes(e)):
                prefetch_to_write(s.a, j)
        at = s.value_at[l] + row * s.padded[l] + first
        for j in range(at, at + rows, lanes(e)):
            total = _total(s, shares, size, begin, end, rows_of, stride, j)
            drive = multiply_add(total, load(s.d, j), nothing)
            if s.skip[l]:
                drive = multiply_add(through, load(e, slot + above + j), drive)
            if keep:
                store(h, slot + j, drive)
            _move(s.x, j, load(e, slot + j), drive, gamma, momentum, v, ZERO, splat(-s.one))
        count = min(rows, s.sizes[l] - first)
        if count > 0:
            activate_part(s.activations[l], s.x, at, count, s.scale[l], s.a, s.d)


@inner
def sum_units(s, l, first, rows, shares, size, begin, end, rows_of, stride, worker, e, h, slot, weight):
    """``h[l]`` of so many units, as ``move_units`` makes it, while the values stay where they are."""
    through, nothing = splat(weight), splat(s.zero)
    above = s.value_at[l + 1] - s.value_at[l]
    for row in range(s.batch):
        if row + AHEAD < s.batch:
            fetch_units(s, l, first, rows, row + AHEAD, shares, size, begin, end, worker)
        at = s.value_at[l] + row * s.padded[l] + first
        for j in range(at, at + rows, lanes(e)):
            total = _total(s, shares, size, begin, end, rows_of, stride, j)
            drive = multiply_add(total, load(s.d, j), nothing)
            if s.skip[l]:
                drive = multiply_add(through, load(e, slot + above + j), drive)
            store(h, slot + j, drive)


@inner
def move_copies(s, l, first, rows, x, e, h, slot, gamma, momentum, v, shift):
    """``x[l] += gamma * (h[l] - e[l])`` in so many units of a copy of a layer, whose velocities begin at ``shift``."""
    for row in range(s.batch):
        at = s.value_at[l] + row * s.padded[l] + first
        for j in range(at, at + rows, lanes(x)):
            _move(x, j, load(e, slot + j), load(h, slot + j), gamma, momentum, v, shift, splat(-s.one))


@inner
def copy_units(s, l, first, rows, source, out):
    """Some units of a layer's values from one array to the same places of another."""
    for row in range(s.batch):
        at = s.value_at[l] + row * s.padded[l] + first
        for j in range(at, at + rows):
            out[j] = source[j]


@inner
def fill_units(s, l, first, rows, p, slot, value):
    """The same value in some units of a layer."""
    for row in range(s.batch):
        at = slot + s.value_at[l] + row * s.padded[l] + first
        for j in range(at, at + rows):
            p[j] = value
