"""The compiled loops of one worker: predictive coding in three calendars, and backprop.

A worker owns a contiguous block of weight matrices ``W[lo] … W[hi-1]`` and the values below them, ``x[lo] … x[hi-1]``;
of the values above, ``x[hi]``, it keeps a copy (``top``). In one step it needs two things from its neighbours: the
error ``e[lo]`` from below and the drive ``h[hi]`` from above. With those both owners compute the same new boundary
values, so one exchange a step is enough, and since the layers at the block's edges are done first, it has the whole
of the interior's work to arrive in. Every layer's sums are formed by one worker in one order: the bits do not depend
on the number of workers.
"""

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
from ..kernels.sync import load_acquire, publish, wait

EVERY_STEP = -1  # in update_at: the layer's weights change at every step
START, VALUE = 8, 16  # what a trace adds to PREDICT, BACKPROJECT and UPDATE

# Columns of a trace: what was done (sum of the above), layer, step, start and end in nanoseconds.
TRACE_COLUMNS = 5


@njit(nogil=True, cache=True)
def _note(trace, count, work, l, step, begin):
    """Write down one event, if tracing; the number of events so far."""
    if count < len(trace):
        trace[count, 0] = work
        trace[count, 1] = l
        trace[count, 2] = step
        trace[count, 3] = begin
        trace[count, 4] = nanoseconds()
        count += 1
    return count


@njit(nogil=True, cache=True)
def _step_layer(s, l, work, target, e, h, slot, precision, alpha, number, step, trace, count):
    """One layer's products, noted as one event where they are one pass, else one event each."""
    if s.batch == 1 or len(trace) == 0:
        begin = nanoseconds() if len(trace) > 0 else 0
        layer_step(work, s, l, target, e, h, slot, precision, alpha, number)
        return _note(trace, count, work, l, step, begin)
    for part in (PREDICT, BACKPROJECT, UPDATE):
        if work & part:
            begin = nanoseconds()
            layer_step(part, s, l, target, e, h, slot, precision, alpha, number)
            count = _note(trace, count, part, l, step, begin)
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
def _meet(worker, workers, ready, stop):
    """The common start: nobody goes on before all have come."""
    publish(ready, worker, 1)
    for other in range(workers):  # noqa: SIM110 - compiled code has no generators
        if not wait(ready, other, 1, stop):
            return False
    return True


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


@njit(nogil=True, cache=True)
def predictive_coding(
    worker, workers, lo, hi, arrays, layout, options, data_x, data_y, rows, e, h, top, value_count,
    update_at, cycle_steps, value_steps, first_t, given, steps, number, gamma, alpha, precision,
    progress, started, ready, stop, energy, trace, times,
):  # fmt: skip
    """``steps`` steps of the block ``lo … hi-1``; returns the number of events noted in ``trace``.

    progress, started, ready: flags of ``sync``, one per worker: steps whose products are done, cycles whose forward
    pass is done, and presence at the start; stop: raised by whoever wants the run to end. energy[l] receives layer
    l's part of F at the first step that updates weights.
    """
    s = _layers(arrays, layout, options)
    batch, one, zero, depth = s.batch, s.one, s.zero, len(update_at)
    padded, value_at = s.padded, s.value_at
    errors, drives, copy = pointer(e), pointer(h), pointer(top)
    if not _meet(worker, workers, ready, stop):
        return 0
    times[worker, 0] = nanoseconds()
    t, cycle, count, measured = first_t, 0, 0, False
    for step in range(steps):
        if load_acquire(stop, 0) != 0:
            break
        slot = (step & 1) * value_count
        forward = False
        if t == 0:
            # A neighbour may still be reading this half of e and h, where the last step did not wait for it.
            if worker > 0 and not wait(progress, worker - 1, step, stop):
                break
            if worker < workers - 1 and not wait(progress, worker + 1, step, stop):
                break
            if lo == 0:
                _load_rows(data_x, rows, cycle, padded[0], s.x, value_at[0])
            if hi == depth:
                _load_rows(data_y, rows, cycle, padded[depth], s.x, value_at[depth])
            forward = not given or step > 0
            if worker > 0 and forward:
                if not wait(started, worker - 1, cycle + 1, stop):
                    break
                copy_part(copy, value_at[lo], batch * padded[lo], s.x)
            for l in range(lo, hi):
                begin = nanoseconds()
                activate_layer(s, l)
                if forward:
                    at = value_at[l + 1]
                    size = batch * padded[l + 1]
                    if l + 1 == depth:
                        start_prediction(s, l, errors, slot + at)
                        subtract_from(s.x, at, size, errors, slot + at)
                    else:
                        start_prediction(s, l, s.x if l + 1 < hi else copy, at)
                        fill(errors, slot + at, size, zero)
                    count = _note(trace, count, START, l, step, begin)
            cycle += 1
            publish(started, worker, cycle)

        moving = value_steps < 0 or t < value_steps
        for turn in range(hi - lo):
            # The edges of the block first: their results are what the neighbours wait for.
            l = lo if turn == 0 else (hi - 1 if turn == 1 else lo + turn - 1)
            work = 0 if forward else PREDICT
            if moving and l > 0:
                work |= BACKPROJECT
            if update_at[l] == EVERY_STEP or update_at[l] == t:
                work |= UPDATE
            target = s.x if l + 1 < hi or hi == depth else copy
            weight = precision if l + 1 == depth else one
            count = _step_layer(s, l, work, target, errors, drives, slot, weight, alpha, number + 1, step, trace, count)
            if turn == 1 or hi - lo == 1:
                publish(progress, worker, step + 1)
        if not measured:
            for l in range(depth):
                measured = measured or update_at[l] == EVERY_STEP or update_at[l] == t
            if measured:
                for l in range(lo, hi):
                    energy[l] = 0.5 * (precision if l + 1 == depth else one) * squares(s, l + 1, errors, slot)

        if moving:
            for turn in range(hi - lo):
                # From the top down, so that the boundary below, whose error may still be on its way, comes last.
                l = hi - 1 - turn
                if l == 0:
                    continue
                if l == lo and not wait(progress, worker - 1, step + 1, stop):
                    break
                begin = nanoseconds() if len(trace) > 0 else 0
                move_values(s, l, s.x, errors, drives, slot, gamma)
                activate_layer(s, l)
                count = _note(trace, count, VALUE, l, step, begin)
            if hi < depth:
                if not wait(progress, worker + 1, step + 1, stop):
                    break
                begin = nanoseconds() if len(trace) > 0 else 0
                move_values(s, hi, copy, errors, drives, slot, gamma)
                count = _note(trace, count, VALUE, hi, step, begin)
        t += 1
        if t == cycle_steps:
            t = 0
        if t == 0 or update_at[0] == EVERY_STEP:
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
    errors = pointer(e)
    times[0, 0] = nanoseconds()
    count = 0
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        _load_rows(data_x, rows, update, padded[0], s.x, value_at[0])
        _load_rows(data_y, rows, update, padded[depth], s.x, value_at[depth])
        for l in range(depth):
            begin = nanoseconds() if len(trace) > 0 else 0
            activate_layer(s, l)
            at = value_at[l + 1]
            if l + 1 < depth:
                start_prediction(s, l, s.x, at)
            else:
                start_prediction(s, l, errors, at)
                subtract_from(s.x, at, s.batch * padded[depth], errors, at)
            count = _note(trace, count, PREDICT, l, update, begin)
        if update == 0:
            energy[depth - 1] = 0.5 * squares(s, depth, errors, 0)
        for l in range(depth - 1, -1, -1):
            work = UPDATE | (BACKPROJECT if l > 0 else 0)
            count = _step_layer(
                s, l, work, s.x, errors, errors, 0, s.one, alpha, number + update + 1, update, trace, count
            )
    times[0, 1] = nanoseconds()
    return count
