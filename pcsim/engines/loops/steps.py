"""What the compiled loops of all algorithms share: arrays as pointers, batches loaded, events noted."""

from ...kernels.layers.convolution import pointer_or_none
from ...kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ...kernels.layers.inputs import copy_samples
from ...kernels.layers.step import activate_layer, layer_step
from ...kernels.layers.vectors import all_finite, squares
from ...kernels.layers.view import LayersView
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, folded, inner, njit
from ...kernels.machine.simd import pointer

# Columns of a trace: what was done (bits of ``timeline``), layer, step, start and end in nanoseconds.
TRACE_COLUMNS = 5


@inner
def rate_at(rates, count, turn):
    """The rate of a turn, out of ``count``: the last serves all further turns."""
    return rates[min(turn, count - 1)]


@inner
def step_of_cycle(calendar, step):
    """Which step of its cycle a step of this run is: 0 begins a batch."""
    t = calendar.first + step
    return t % calendar.cycle if calendar.cycle > 0 else t


@inner
def note_divergence(notes, worker, s, l, first, rows, e, slot, number):
    """Write down the number of weight updates made, where for the first time a part of ``e[l]`` is not finite."""
    if notes[worker] < 0 and not all_finite(s, l, first, rows, e, slot):
        notes[worker] = number


@inner
def output_energy(s, l, first, rows, e, slot, entropy):
    """What part of the output's energy is in so many rows, whose cross-entropy is ``entropy``."""
    return entropy if s.softmax else 0.5 * squares(s, l, first, rows, e, slot)


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


@folded
def step_layer(s, l, work, target, e, h, slot, precision, alpha, number, step, trace, room, count):
    """One layer's products, noted as one event where they are one pass, else one event each."""
    whole = s.batch == 1 or room == 0
    for turn in range(1 if whole else 3):  # one call in the code, of what is long to compile
        part = work if whole else work & (PREDICT, BACKPROJECT, UPDATE)[turn]
        if part != 0:
            begin = nanoseconds() if room > 0 else 0
            layer_step(part, s, l, ZERO, s.padded[l + 1], target, e, h, slot, precision, alpha, number)
            count = note(trace, room, count, part, l, step, begin)
    return count


@njit(nogil=True, cache=True)
def load_rows(data, rows, batch, first, count, padded, out, at):
    """``copy_samples`` of a batch; the last batch serves all further ones."""
    copy_samples(data, rows, min(batch, rows.shape[0] - 1), first, count, padded, out, at)


@njit(nogil=True, cache=True)
def layers(arrays, offsets, options):
    """Arrays and offsets as the pointers that the kernels work with."""
    one = options.one
    return LayersView(
        options.batch, pointer(offsets.sizes), pointer(offsets.padded), pointer(offsets.weight_at),
        pointer(offsets.bias_at), pointer(offsets.value_at), pointer(offsets.scale), pointer(offsets.skip),
        pointer(offsets.activations), options.has_bias, options.rule, pointer(options.numbers), options.own,
        options.gemm, options.gemv, options.ger, one, one - one, pointer(arrays.parameters), pointer(arrays.values),
        pointer(arrays.activated), pointer(arrays.slopes), pointer(arrays.scratch), pointer(arrays.mean),
        pointer(arrays.square), pointer(arrays.panel), options.softmax, pointer_or_none(offsets.forms),
        pointer_or_none(arrays.choices), True,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def activate_block(who, arrays, offsets, options):
    """``a`` and ``d`` of a worker's layers from their values, which someone else has written."""
    s = layers(arrays, offsets, options)
    for l in range(who.lo, who.hi):
        activate_layer(s, l)
