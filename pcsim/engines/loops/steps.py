"""What the compiled loops of all algorithms share: arrays as pointers, batches loaded, events noted."""

from ...kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ...kernels.layers.step import activate_layer, layer_step
from ...kernels.layers.view import LayersView
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, inner, njit
from ...kernels.machine.simd import pointer

# Columns of a trace: what was done (bits of ``timeline``), layer, step, start and end in nanoseconds.
TRACE_COLUMNS = 5


@inner
def rate_at(rates, count, turn):
    """The rate of a turn, out of ``count``: the last serves all further turns."""
    return rates[min(turn, count - 1)]


@inner
def note(trace, room, count, work, l, step, begin):
    """Write down one event, if there is room for it (none: no trace); the number of events so far."""
    if count < room:
        at = count * TRACE_COLUMNS
        trace[at] = work
        trace[at + 1] = l
        trace[at + 2] = step
        trace[at + 3] = begin
        trace[at + 4] = nanoseconds()
        count += 1
    return count


@inner
def step_layer(s, l, work, target, e, h, slot, precision, alpha, number, step, trace, room, count):
    """One layer's products, noted as one event where they are one pass, else one event each."""
    if s.batch == 1 or room == 0:
        begin = nanoseconds() if room > 0 else 0
        layer_step(work, s, l, ZERO, s.padded[l + 1], target, e, h, slot, precision, alpha, number)
        return note(trace, room, count, work, l, step, begin)
    for part in (PREDICT, BACKPROJECT, UPDATE):
        if work & part:
            begin = nanoseconds()
            layer_step(part, s, l, ZERO, s.padded[l + 1], target, e, h, slot, precision, alpha, number)
            count = note(trace, room, count, part, l, step, begin)
    return count


@njit(nogil=True, cache=True)
def load_rows(data, rows, batch, first, count, padded, out, at):
    """Copy ``count`` samples of a batch, from its ``first`` on, into padded rows of ``out``, where the whole batch
    begins at ``at``; the last batch serves all further ones."""
    batch = min(batch, rows.shape[0] - 1)
    for i in range(first, first + count):
        row = rows[batch, i]
        for j in range(data.shape[1]):
            out[at + i * padded + j] = data[row, j]


@njit(nogil=True, cache=True)
def layers(arrays, offsets, options):
    """Arrays and offsets as the pointers that the kernels work with."""
    one = options.one
    return LayersView(
        options.batch, pointer(offsets.sizes), pointer(offsets.padded), pointer(offsets.weight_at),
        pointer(offsets.bias_at), pointer(offsets.value_at), pointer(offsets.scale), pointer(offsets.skip),
        pointer(offsets.activations), options.has_bias, options.rule, options.momentum, options.decay, options.own,
        options.gemm, options.gemv, options.ger, one, one - one, pointer(arrays.parameters), pointer(arrays.values),
        pointer(arrays.activated), pointer(arrays.slopes), pointer(arrays.scratch), pointer(arrays.mean),
        pointer(arrays.square), pointer(arrays.panel),
    )  # fmt: skip


@njit(nogil=True, cache=True)
def activate_block(who, arrays, offsets, options):
    """``a`` and ``d`` of a worker's layers from their values, which someone else has written."""
    s = layers(arrays, offsets, options)
    for l in range(who.lo, who.hi):
        activate_layer(s, l)
