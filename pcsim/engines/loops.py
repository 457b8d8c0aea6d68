"""The compiled loops of one worker: predictive coding in three calendars, and backprop.

A worker owns a contiguous block of weight matrices ``W[lo] … W[hi-1]`` and the values below them, ``x[lo] … x[hi-1]``;
of the values above, ``x[hi]``, it keeps a copy (``top``). In one step it needs two things from its neighbours: the
error ``e[lo]`` from below and the drive ``h[hi]`` from above. With those both owners compute the same new boundary
values, so one exchange a step is enough. Every layer's sums are formed by one worker in one order: the bits do not
depend on the number of workers, nor on the order in which a worker takes its layers, of which there are two.

*Edges first*: the two layers at the edges of the block, then the interior, in which time the neighbours' results
arrive. *In waves*, where the weights do not fit into the cache: layers in time form a stencil (layer l at step t + 1
needs l - 1, l and l + 1 at step t), so several steps can follow one another up (or down) the block at a distance of
one layer each, and weights are fetched from memory once for all of them. Neighbours go in opposite directions and
meet at their common edge; the next wave comes back and finds the last layers still in the cache.
"""

from collections import namedtuple

from numba import njit

from ..kernels.clock import nanoseconds
from ..kernels.dense import BACKPROJECT, PREDICT, UPDATE
from ..kernels.layers import (
    Layers,
    activate_layer,
    copy_part,
    fill,
    layer_step,
    move_values,
    squares,
    start_prediction,
    subtract_from,
)
from ..kernels.simd import pointer
from ..kernels.sync import load_acquire, meet, publish, wait
from ..timeline import START, VALUE

EVERY_STEP = -1  # in update_at: the layer's weights change at every step

# Columns of a trace: what was done (bits of ``timeline``), layer, step, start and end in nanoseconds.
TRACE_COLUMNS = 5


@njit(nogil=True, cache=True)
def _note(trace, room, count, work, l, step, begin):
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


@njit(nogil=True, cache=True)
def _step_layer(s, l, work, target, e, h, slot, precision, alpha, number, step, trace, room, count):
    """One layer's products, noted as one event where they are one pass, else one event each."""
    if s.batch == 1 or room == 0:
        begin = nanoseconds() if room > 0 else 0
        layer_step(work, s, l, target, e, h, slot, precision, alpha, number)
        return _note(trace, room, count, work, l, step, begin)
    for part in (PREDICT, BACKPROJECT, UPDATE):
        if work & part:
            begin = nanoseconds()
            layer_step(part, s, l, target, e, h, slot, precision, alpha, number)
            count = _note(trace, room, count, part, l, step, begin)
    return count


@njit(nogil=True, cache=True)
def _load_rows(data, rows, cycle, padded, out, at):
    """Copy the rows of a batch into padded rows of ``out``; the last batch serves all further cycles."""
    cycle = min(cycle, rows.shape[0] - 1)
    for i in range(rows.shape[1]):
        row = rows[cycle, i]
        for j in range(data.shape[1]):
            out[at + i * padded + j] = data[row, j]


@njit(nogil=True, cache=True)
def _layers(arrays, layout, options):
    """Arrays and offsets as the pointers that the kernels work with."""
    parameters, x, a, d, scratch, mean, square = arrays
    sizes, padded, weight_at, value_at, scale, skip = layout
    batch, activation, has_bias, adam, gemm, one = options
    return Layers(
        batch, pointer(sizes), pointer(padded), pointer(weight_at), pointer(value_at), pointer(scale), pointer(skip),
        activation, has_bias, adam, gemm, one, one - one,
        pointer(parameters), pointer(x), pointer(a), pointer(d), pointer(scratch), pointer(mean), pointer(square),
    )  # fmt: skip


# One worker's view of a run. progress: two flags of ``sync`` per worker, the steps in which its lowest layer's drive
# and its highest layer's error are done; stop: raised by whoever wants the run to end.
Block = namedtuple(
    "Block",
    "worker workers lo hi depth e h top value_count update_at gamma alpha precision "
    "progress stop energy energy_step trace room",
)


@njit(nogil=True, cache=True)
def _products(b, s, l, step, t, forward, moving, number, count):
    """The products of ``W[l]`` in a step, handed over where a neighbour waits for them."""
    work = 0 if forward else PREDICT
    if moving and l > 0:
        work |= BACKPROJECT
    if b.update_at[l] == EVERY_STEP or b.update_at[l] == t:
        work |= UPDATE
    slot = (step & 1) * b.value_count
    if work != 0:
        target = s.x if l + 1 < b.hi or b.hi == b.depth else b.top
        weight = b.precision if l + 1 == b.depth else s.one
        count = _step_layer(s, l, work, target, b.e, b.h, slot, weight, b.alpha, number, step, b.trace, b.room, count)
    if l == b.lo:
        publish(b.progress, 2 * b.worker, step + 1)
    if l == b.hi - 1:
        publish(b.progress, 2 * b.worker + 1, step + 1)
    if step == b.energy_step:
        b.energy[l] = 0.5 * (b.precision if l + 1 == b.depth else s.one) * squares(s, l + 1, b.e, slot)
    return count


@njit(nogil=True, cache=True)
def _move(b, s, l, step, count):
    """New values of a layer inside the block, from both sides of which errors and drives are there."""
    begin = nanoseconds() if b.room > 0 else 0
    move_values(s, l, s.x, b.e, b.h, (step & 1) * b.value_count, b.gamma)
    activate_layer(s, l)
    return _note(b.trace, b.room, count, VALUE, l, step, begin)


@njit(nogil=True, cache=True)
def _move_bottom(b, s, step, count):
    """New values at the lower edge, when the error has come from below."""
    if b.lo == 0 or not wait(b.progress, 2 * (b.worker - 1) + 1, step + 1, b.stop):
        return count
    return _move(b, s, b.lo, step, count)


@njit(nogil=True, cache=True)
def _move_top(b, s, step, count):
    """New values in the copy at the upper edge, when the drive has come from above."""
    if b.hi == b.depth or not wait(b.progress, 2 * (b.worker + 1), step + 1, b.stop):
        return count
    begin = nanoseconds() if b.room > 0 else 0
    move_values(s, b.hi, b.top, b.e, b.h, (step & 1) * b.value_count, b.gamma)
    return _note(b.trace, b.room, count, VALUE, b.hi, step, begin)


@njit(nogil=True, cache=True)
def _edges_first(b, s, step, t, forward, moving, number, count):
    """One step."""
    for turn in range(b.hi - b.lo):
        l = b.lo if turn == 0 else (b.hi - 1 if turn == 1 else b.lo + turn - 1)
        count = _products(b, s, l, step, t, forward, moving, number, count)
    if moving:
        for l in range(b.lo + 1, b.hi):
            count = _move(b, s, l, step, count)
        count = _move_bottom(b, s, step, count)
        count = _move_top(b, s, step, count)
    return count


@njit(nogil=True, cache=True)
def _wave(b, s, steps, upwards, step, t, forward, value_steps, number, count):
    """``steps`` steps in one wave. The edges' values are left until they are needed: that is when one must wait."""
    n = b.hi - b.lo
    every = b.update_at[b.lo] == EVERY_STEP
    bottom, top = -1, -1  # the step whose values are still to be moved at each edge
    for front in range(n + steps - 1):
        for k in range(max(0, front - n + 1), min(steps, front + 1)):
            j = front - k
            l = b.lo + j if upwards else b.hi - 1 - j
            moving = value_steps < 0 or t + k < value_steps
            if l == b.lo and bottom >= 0:
                count = _move_bottom(b, s, bottom, count)
                bottom = -1
            if l == b.hi - 1 and top >= 0:
                count = _move_top(b, s, top, count)
                top = -1
            turn = number + k if every else number
            count = _products(b, s, l, step + k, t + k, forward and k == 0, moving, turn, count)
            if moving:
                inner = l if upwards else l + 1  # the layer that this pass completes both sides of
                if b.lo < inner < b.hi:
                    count = _move(b, s, inner, step + k, count)
                if l == b.lo:
                    bottom = step + k
                if l == b.hi - 1:
                    top = step + k
    if bottom >= 0:
        count = _move_bottom(b, s, bottom, count)
    if top >= 0:
        count = _move_top(b, s, top, count)
    return count


@njit(nogil=True, cache=True)
def _forward_start(b, s, rows, data_x, data_y, cycle, step, forward, started, count):
    """Load a batch and, if ``forward``, let the values be their predictions: layer by layer, worker by worker."""
    if b.lo == 0:
        _load_rows(data_x, rows, cycle, s.padded[0], s.x, s.value_at[0])
    if b.hi == b.depth:
        _load_rows(data_y, rows, cycle, s.padded[b.depth], s.x, s.value_at[b.depth])
    if b.worker > 0 and forward:
        if not wait(started, b.worker - 1, cycle + 1, b.stop):
            return count
        copy_part(b.top, s.value_at[b.lo], s.batch * s.padded[b.lo], s.x)
    slot = (step & 1) * b.value_count
    for l in range(b.lo, b.hi):
        begin = nanoseconds() if b.room > 0 else 0
        activate_layer(s, l)
        if forward:
            at = s.value_at[l + 1]
            size = s.batch * s.padded[l + 1]
            if l + 1 == b.depth:
                start_prediction(s, l, b.e, slot + at)
                subtract_from(s.x, at, size, b.e, slot + at)
            else:
                start_prediction(s, l, s.x if l + 1 < b.hi else b.top, at)
                fill(b.e, slot + at, size, s.zero)
            count = _note(b.trace, b.room, count, START, l, step, begin)
    publish(started, b.worker, cycle + 1)
    return count


@njit(nogil=True, cache=True)
def predictive_coding(
    worker, workers, lo, hi, arrays, layout, options, data_x, data_y, rows, e, h, top, value_count,
    update_at, cycle_steps, value_steps, first_t, given, steps, wave, number, gamma, alpha, precision,
    progress, started, ready, stop, energy, trace, times,
):  # fmt: skip
    """``steps`` steps of the block ``lo … hi-1``, ``wave`` of them at a time; returns the number of events noted.

    started: flags, the cycles whose forward pass is done; ready: flags, presence at the start. energy[l] receives
    layer l's part of F at the first step that updates weights.
    """
    s = _layers(arrays, layout, options)
    progress, started, ready, stop = pointer(progress), pointer(started), pointer(ready), pointer(stop)
    energy_step = max(0, update_at.min()) - first_t if update_at.min() >= 0 else 0
    b = Block(
        worker, workers, lo, hi, len(update_at), pointer(e), pointer(h), pointer(top), value_count, pointer(update_at),
        gamma, alpha, precision, progress, stop, pointer(energy), energy_step, pointer(trace), len(trace),
    )  # fmt: skip
    if not meet(worker, workers, ready, stop):
        return 0
    times[worker, 0] = nanoseconds()
    t, cycle, count, step, waves = first_t, 0, 0, 0, 0
    while step < steps and load_acquire(stop, 0) == 0:
        forward = False
        if t == 0:
            # A neighbour may still be reading this half of e and h, where the last step did not wait for it.
            if worker > 0 and not wait(progress, 2 * (worker - 1) + 1, step, stop):
                break
            if worker < workers - 1 and not wait(progress, 2 * (worker + 1), step, stop):
                break
            forward = not given or step > 0
            count = _forward_start(b, s, rows, data_x, data_y, cycle, step, forward, started, count)
            cycle += 1
        together = min(wave, steps - step)
        if cycle_steps > 0:
            together = min(together, cycle_steps - t)
        if together == 1:
            moving = value_steps < 0 or t < value_steps
            count = _edges_first(b, s, step, t, forward, moving, number + 1, count)
        else:
            count = _wave(b, s, together, (worker + waves) & 1 == 0, step, t, forward, value_steps, number + 1, count)
            waves += 1
        step += together
        t += together
        if t == cycle_steps:
            t = 0
        if update_at[lo] == EVERY_STEP:
            number += together
        elif t == 0:
            number += 1
    times[worker, 1] = nanoseconds()
    return count


@njit(nogil=True, cache=True)
def backprop(
    arrays,
    layout,
    options,
    data_x,
    data_y,
    rows,
    e,
    value_count,
    updates,
    number,
    alpha,
    stop,
    energy,
    trace,
    times,
):
    """``updates`` weight updates by one worker: a pass for the predictions, then one for errors and weights together.

    The last error is minus the gradient of the loss, so the same passes serve as in predictive coding. energy[L-1]
    receives the loss before the first update; returns the number of events noted in ``trace``.
    """
    s = _layers(arrays, layout, options)
    padded, value_at, depth = s.padded, s.value_at, len(energy)
    errors, stop, room, trace = pointer(e), pointer(stop), len(trace), pointer(trace)
    times[0, 0] = nanoseconds()
    count = 0
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        _load_rows(data_x, rows, update, padded[0], s.x, value_at[0])
        _load_rows(data_y, rows, update, padded[depth], s.x, value_at[depth])
        for l in range(depth):
            begin = nanoseconds() if room > 0 else 0
            activate_layer(s, l)
            at = value_at[l + 1]
            if l + 1 < depth:
                start_prediction(s, l, s.x, at)
            else:
                start_prediction(s, l, errors, at)
                subtract_from(s.x, at, s.batch * padded[depth], errors, at)
            count = _note(trace, room, count, PREDICT, l, update, begin)
        if update == 0:
            energy[depth - 1] = 0.5 * squares(s, depth, errors, 0)
        for l in range(depth - 1, -1, -1):
            work = UPDATE | (BACKPROJECT if l > 0 else 0)
            count = _step_layer(
                s, l, work, s.x, errors, errors, 0, s.one, alpha, number + update + 1, update, trace, room, count
            )
    times[0, 1] = nanoseconds()
    return count
