"""Samples of a batch, copied from the data: rows as they are, or images that are shifted and turned over."""

from numba import types
from numba.extending import overload

from ..machine.compiling import inner
from ..machine.simd import lanes, pointer, prefetch


@inner
def _foresee(source, at, units, out):
    """Have a row be fetched from memory."""
    for j in range(0, units, lanes(out)):
        prefetch(source, at + j)


@inner
def _shifted(x, at, change, height, width, channels, padding, out, to):
    """One image of ``x`` from ``down`` rows below and ``right`` columns beside the corner of the image with its padding
    of zeros, from right to left where it is turned."""
    places = 2 * padding + 1
    turned, down, right = change & 1, (change >> 1) // places - padding, (change >> 1) % places - padding
    for row in range(height):
        y = row + down
        for column in range(width):
            z = (width - 1 - column if turned else column) + right
            if y < 0 or y >= height or z < 0 or z >= width:
                for j in range(channels):
                    out[to + j] = 0
            else:
                source = at + (y * width + z) * channels
                for j in range(channels):
                    out[to + j] = x[source + j]
            to += channels


def copy_samples(data, rows, batch, first, count, padded, out, at):
    """Copy ``count`` samples of a batch, from its ``first`` on, into padded rows of ``out``, where the whole batch
    begins at ``at``. ``data``: an array, or ``Images`` (``engines.loops.arguments``), of which nothing is compiled for
    arrays."""
    raise NotImplementedError


@overload(copy_samples)
def _copy_samples(data, rows, batch, first, count, padded, out, at):
    if isinstance(data, types.Array):

        def plain(data, rows, batch, first, count, padded, out, at):
            # While a row is copied the next is on its way from memory: of rows that lie scattered over more than the
            # caches hold, the processor foresees none.
            units, source = data.shape[1], pointer(data)
            for i in range(first, first + count):
                if i + 1 < first + count:
                    _foresee(source, rows[batch, i + 1] * units, units, out)
                begin, to = rows[batch, i] * units, at + i * padded
                for j in range(units):
                    out[to + j] = source[begin + j]

        return plain

    def changed(data, rows, batch, first, count, padded, out, at):
        units, source = data.x.shape[1], pointer(data.x)
        for i in range(first, first + count):
            if i + 1 < first + count:
                _foresee(source, rows[batch, i + 1] * units, units, out)
            _shifted(
                source, rows[batch, i] * units, data.changes[batch, i], data.height, data.width, data.channels,
                data.padding, out, at + i * padded,
            )  # fmt: skip

    return changed
