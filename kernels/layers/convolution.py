"""Convolutions of a batch: patches of images are gathered, the three products are those of BLAS, and what comes back is
scattered. A pool is a part of the layer that it follows.

An image is a row of numbers, pixel after pixel, all channels of a pixel side by side; so what the kernels make of the
patches of an image, a matrix (positions, filters), is the image above. Samples are taken some at a time, so that their
patches are still in the cache when they are multiplied. Patches, what is to be pooled, and a layer's gradient lie in
the worker's ``panel``.

``forms`` has FIELDS numbers for each layer; nets without convolutions have none (None), and compile nothing of this.
"""

import numpy as np
from numba import types
from numba.extending import overload

from ..machine.blas import add_a_b, add_a_bt, add_at_b
from ..machine.compiling import ZERO, inner
from ..machine.simd import offset, pointer
from .dense import BACKPROJECT, PREDICT, SHARE, UPDATE
from .vectors import fill, subtract_from
from .weights import descend_from

# What ``forms`` holds of a layer: the image below; the kernel, its step, the zeros around the image; the image that the
# kernels make, and how many they are (0: no convolution); the pool (0 for none) and its window; columns of the weights
# with padding; how many samples are taken at a time, and where in ``panel`` patches and what is to be pooled begin.
(
    HEIGHT, WIDTH, CHANNELS, KERNEL, STRIDE, PADDING, HIGH, WIDE, FILTERS, POOL, WINDOW, COLUMNS, SAMPLES, PATCHES_AT,
    FILTERED_AT, FIELDS,
) = map(np.int64, range(16))  # fmt: skip

MAX, AVERAGE = np.int64(1), np.int64(2)


@inner
def gather(f, a, at, out, to):
    """The patches of one image of ``a``, a row of COLUMNS for each position; padding of rows is left as it is."""
    height, width, channels, kernel, columns = f[HEIGHT], f[WIDTH], f[CHANNELS], f[KERNEL], f[COLUMNS]
    run = kernel * channels
    for row in range(f[HIGH]):
        top = row * f[STRIDE] - f[PADDING]
        for column in range(f[WIDE]):
            left = column * f[STRIDE] - f[PADDING]
            first, last = max(0, -left) * channels, min(kernel, width - left) * channels
            for i in range(kernel):
                y, k = top + i, to + i * run
                if y < 0 or y >= height or last <= first:
                    for j in range(k, k + run):
                        out[j] = 0
                    continue
                source = at + (y * width + left) * channels
                for j in range(first):
                    out[k + j] = 0
                for j in range(first, last):
                    out[k + j] = a[source + j]
                for j in range(last, run):
                    out[k + j] = 0
            to += columns


@inner
def scatter(f, p, at, h, to):
    """Each number of the patches of one image, added to the pixel of ``h`` from which it would have been gathered."""
    height, width, channels, kernel, columns = f[HEIGHT], f[WIDTH], f[CHANNELS], f[KERNEL], f[COLUMNS]
    run = kernel * channels
    for row in range(f[HIGH]):
        top = row * f[STRIDE] - f[PADDING]
        for column in range(f[WIDE]):
            left = column * f[STRIDE] - f[PADDING]
            first, last = max(0, -left) * channels, min(kernel, width - left) * channels
            for i in range(kernel):
                y, k = top + i, at + i * run
                if y >= 0 and y < height:
                    target = to + (y * width + left) * channels
                    for j in range(first, last):
                        h[target + j] += p[k + j]
            at += columns


@inner
def pool(f, z, at, out, to, choices, chosen, keeps):
    """The pooled image of ``z``; of a largest number, where in its window it was, in ``choices``, if these are kept.
    What may be chosen is read first, so that nothing branches: which one is largest cannot be foreseen (64 images of
    32 × 32 × 128: 4 ms, and 73 with branches)."""
    filters, window, wide = f[FILTERS], f[WINDOW], f[WIDE]
    share = type(z[0])(1.0 / (window * window))
    for row in range(f[HIGH] // window):
        for column in range(wide // window):
            for q in range(window * window):
                source = at + ((row * window + q // window) * wide + column * window + q % window) * filters
                which = type(share)(q)
                if q == 0:
                    for j in range(filters):
                        out[to + j] = z[source + j]
                    if keeps and f[POOL] == MAX:
                        fill(choices, chosen, filters, which)
                elif f[POOL] == AVERAGE:
                    for j in range(filters):
                        out[to + j] += z[source + j]
                elif keeps:
                    for j in range(filters):
                        here, best, before = z[source + j], out[to + j], choices[chosen + j]
                        larger = (here > best) | (here != here)  # NaN stays
                        choices[chosen + j] = which if larger else before
                        out[to + j] = here if larger else best
                else:
                    for j in range(filters):
                        here, best = z[source + j], out[to + j]
                        out[to + j] = here if (here > best) | (here != here) else best
            if f[POOL] == AVERAGE:
                for j in range(filters):
                    out[to + j] *= share
            to += filters
            chosen += filters


@inner
def unpool(f, e, at, choices, chosen, z, to):
    """Errors of the pooled image, at the positions that they are of."""
    filters, window, wide = f[FILTERS], f[WINDOW], f[WIDE]
    share = type(e[0])(1.0 / (window * window))
    if f[HIGH] % window or wide % window:
        fill(z, to, f[HIGH] * wide * filters, e[0] - e[0])
    for row in range(f[HIGH] // window):
        for column in range(wide // window):
            for q in range(window * window):
                k = to + ((row * window + q // window) * wide + column * window + q % window) * filters
                if f[POOL] == AVERAGE:
                    for j in range(filters):
                        z[k + j] = share * e[at + j]
                else:
                    which = type(share)(q)
                    for j in range(filters):
                        error, choice = e[at + j], choices[chosen + j]
                        nothing = error - error
                        z[k + j] = error if choice == which else nothing
            at += filters
            chosen += filters


@inner
def _form(s, l):
    return offset(s.forms, l * FIELDS)


@inner
def _gathered(s, l, f, sample, count):
    """The patches of so many samples, in the panel."""
    size = f[HIGH] * f[WIDE] * f[COLUMNS]
    for i in range(count):
        gather(f, s.a, s.value_at[l] + (sample + i) * s.padded[l], s.panel, f[PATCHES_AT] + i * size)


@inner
def _predicted(s, l, f, sample, count, out, at):
    """``mu[l+1]`` of so many samples from their patches, into ``out``, where they begin at ``at``."""
    filters, columns, positions, above = f[FILTERS], f[COLUMNS], f[HIGH] * f[WIDE], s.padded[l + 1]
    n = f[KERNEL] * f[KERNEL] * f[CHANNELS]
    if f[POOL] != 0:
        add_a_bt(
            s.gemm, count * positions, filters, n, s.one, s.panel, f[PATCHES_AT], columns, s.W, s.weight_at[l], columns,
            s.zero, s.panel, f[FILTERED_AT], filters,
        )  # fmt: skip
        for i in range(count):
            z, place = f[FILTERED_AT] + i * positions * filters, s.value_at[l + 1] + (sample + i) * above
            pool(f, s.panel, z, out, at + i * above, s.choices, place, s.keeps)
    else:
        add_a_bt(
            s.gemm, count * positions, filters, n, s.one, s.panel, f[PATCHES_AT], columns, s.W, s.weight_at[l], columns,
            s.zero, out, at, filters,
        )  # fmt: skip
    if s.has_bias:
        bias, pixels = s.bias_at[l], s.sizes[l + 1] // filters
        for i in range(count):
            for pixel in range(pixels):
                k = at + i * above + pixel * filters
                for j in range(filters):
                    out[k + j] += s.W[bias + j]
    if s.skip[l]:
        for i in range(count):
            k, x = at + i * above, s.value_at[l] + (sample + i) * s.padded[l]
            for j in range(s.sizes[l]):
                out[k + j] += s.x[x + j]


@inner
def start_images(s, l, out, at):
    """``out = mu[l+1]`` of a batch, whose first sample begins at ``at``; ``a[l]`` must be ready."""
    f = _form(s, l)
    for sample in range(0, s.batch, f[SAMPLES]):
        count = min(f[SAMPLES], s.batch - sample)
        _gathered(s, l, f, sample, count)
        _predicted(s, l, f, sample, count, out, at + sample * s.padded[l + 1])


@inner
def images_step(work, s, l, first, rows, target, e, h, slot, precision, alpha, number):
    """The products of ``W[l]`` in one step, as ``layer_step`` has them; of an update that is shared out, ``rows``
    kernels from ``first`` on. The gradient is summed over the batch in the panel, and ``W[l]`` moves at the end."""
    f, above, below = _form(s, l), s.padded[l + 1], s.padded[l]
    filters, columns, positions = f[FILTERS], f[COLUMNS], f[HIGH] * f[WIDE]
    n, w, wide = f[KERNEL] * f[KERNEL] * f[CHANNELS], s.weight_at[l], f[FILTERS]
    shared = work == UPDATE and rows < above
    begin = first if shared else ZERO
    kernels = min(rows, filters - begin) if shared else filters
    height = rows if shared else f[PATCHES_AT] // (columns + 1)  # with padding: the gradient and its biases end there
    if work & UPDATE:
        fill(s.panel, ZERO, height * (columns + 1), s.zero)
    for sample in range(0, s.batch, f[SAMPLES]):
        count = min(f[SAMPLES], s.batch - sample)
        many, k = count * positions, slot + s.value_at[l + 1] + sample * above
        if work & (PREDICT | UPDATE):
            _gathered(s, l, f, sample, count)
        if work & PREDICT:
            _predicted(s, l, f, sample, count, e, k)
            subtract_from(s, l + 1, count, ZERO, above, target, s.value_at[l + 1] + sample * above, e, k)
        errors, at = e, k
        if f[POOL] != 0 and work & (UPDATE | BACKPROJECT):
            errors, at = s.panel, f[FILTERED_AT]
            for i in range(count):
                chosen = s.value_at[l + 1] + (sample + i) * above
                unpool(f, e, k + i * above, s.choices, chosen, s.panel, at + i * positions * filters)
        if work & UPDATE and kernels > 0:
            add_at_b(
                s.gemm, kernels, n, many, precision, errors, at + begin, wide, s.panel, f[PATCHES_AT], columns, s.one,
                s.panel, ZERO, columns,
            )  # fmt: skip
            if s.has_bias:
                for row in range(many):
                    for j in range(kernels):
                        s.panel[height * columns + j] += precision * errors[at + row * wide + begin + j]
        if work & BACKPROJECT:
            add_a_b(
                s.gemm, many, n, filters, precision, errors, at, wide, s.W, w, columns, s.zero, s.panel, f[PATCHES_AT],
                columns,
            )  # fmt: skip
            for i in range(count):
                g, x = slot + s.value_at[l] + (sample + i) * below, s.value_at[l] + (sample + i) * below
                fill(h, g, below, s.zero)
                scatter(f, s.panel, f[PATCHES_AT] + i * positions * columns, h, g)
                for j in range(s.sizes[l]):
                    h[g + j] *= s.d[x + j]
                if s.skip[l]:
                    for j in range(s.sizes[l]):
                        h[g + j] += precision * e[k + i * above + j]
    if work & UPDATE and kernels > 0:
        descend_from(s, l, w + begin * columns, s.bias_at[l] + begin, height, columns, s.panel, ZERO, alpha, number)


def convolved(work, s, l, first, rows, target, e, h, slot, precision, alpha, number):
    """``images_step`` if layer l is a convolution; whether it is."""
    raise NotImplementedError


def started(s, l, out, at):
    """``start_images`` if layer l is a convolution; whether it is."""
    raise NotImplementedError


def pointer_or_none(array):
    """The pointer to an array, or None."""
    raise NotImplementedError


@overload(pointer_or_none)
def _pointer_or_none(array):
    if isinstance(array, types.NoneType):
        return lambda array: None
    return lambda array: pointer(array)


def _are_dense(s):
    """Whether the type of a view says that none of its layers is a convolution."""
    return isinstance(s.types[s.fields.index("forms")], types.NoneType)


@overload(convolved)
def _convolved(work, s, l, first, rows, target, e, h, slot, precision, alpha, number):
    if _are_dense(s):
        return lambda work, s, l, first, rows, target, e, h, slot, precision, alpha, number: False

    def step(work, s, l, first, rows, target, e, h, slot, precision, alpha, number):
        if s.forms[l * FIELDS + FILTERS] == 0:
            return False
        images_step(work & ~SHARE, s, l, first, rows, target, e, h, slot, precision, alpha, number)
        return True

    return step


@overload(started)
def _started(s, l, out, at):
    if _are_dense(s):
        return lambda s, l, out, at: False

    def start(s, l, out, at):
        if s.forms[l * FIELDS + FILTERS] == 0:
            return False
        start_images(s, l, out, at)
        return True

    return start
