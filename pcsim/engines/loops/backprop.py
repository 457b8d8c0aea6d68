"""The compiled loops of one worker in backprop, one for each way to share the work.

The last error is minus the gradient of the loss, so the kernels of predictive coding serve here too: a pass for the
predictions, then one for the errors and the weights together.

*Serial*: one worker. *Row-split* (``intra-layer``): each worker has some rows of every matrix, and all meet after each
layer. *Data-parallel*: each worker has some samples of every batch; as the memory is shared, the sum of the gradients
is taken inside the products, of which each worker makes some rows. *Pipeline*: each worker has some layers, batches
come in micro-batches, and the weights wait for the last of them, which leaves all sums over the batch to one product.
"""

from numba import njit

from ...kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ...kernels.layers.step import activate_layer, activate_rows, layer_step, start_prediction
from ...kernels.layers.vectors import squares, subtract_from, sum_shares
from ...kernels.layers.view import part_of_batch
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import load_acquire, meet, publish, wait
from .steps import layers, load_rows, note, step_layer


@njit(nogil=True, cache=True)
def predict(s, l, depth, first, rows, errors):
    """Rows of ``x[l+1]``; of the error in place of the output."""
    at = s.value_at[l + 1]
    if l + 1 < depth:
        start_prediction(s, l, first, rows, s.x, at)
    else:
        start_prediction(s, l, first, rows, errors, at)
        subtract_from(s, depth, s.batch, first, rows, s.x, at, errors, at)


@njit(nogil=True, cache=True)
def forward(s, part, depth, data_x, data_y, rows, update, begin, samples, errors):
    """``samples`` of the batch from ``begin`` on, which are ``part`` of it, up to the errors of the output."""
    load_rows(data_x, rows, update, begin, samples, s.padded[0], s.x, s.value_at[0])
    load_rows(data_y, rows, update, begin, samples, s.padded[depth], s.x, s.value_at[depth])
    for l in range(depth):
        activate_layer(part, l)
        predict(part, l, depth, 0, s.padded[l + 1], errors)


@njit(nogil=True, cache=True)
def serial(
    arrays, layout, options, data_x, data_y, rows, e, updates, number, alpha, stop, energy, trace, times
):  # fmt: skip
    """``updates`` weight updates by one worker; energy[0] receives the loss before the first of them. Returns the
    number of events noted in ``trace``."""
    s = layers(arrays, layout, options)
    padded, value_at, depth = s.padded, s.value_at, len(layout[0]) - 1
    errors, stop, room, trace = pointer(e), pointer(stop), len(trace), pointer(trace)
    times[0, 0] = nanoseconds()
    count = 0
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        load_rows(data_x, rows, update, 0, s.batch, padded[0], s.x, value_at[0])
        load_rows(data_y, rows, update, 0, s.batch, padded[depth], s.x, value_at[depth])
        for l in range(depth):
            begin = nanoseconds() if room > 0 else 0
            activate_layer(s, l)
            predict(s, l, depth, 0, padded[l + 1], errors)
            count = note(trace, room, count, PREDICT, l, update, begin)
        if update == 0:
            energy[0] = 0.5 * squares(s, depth, 0, padded[depth], errors, 0)
        for l in range(depth - 1, -1, -1):
            work = UPDATE | (BACKPROJECT if l > 0 else 0)
            count = step_layer(
                s, l, work, s.x, errors, errors, 0, s.one, alpha, number + update + 1, update, trace, room, count
            )
    times[0, 1] = nanoseconds()
    return count


@njit(nogil=True, cache=True)
def _all_here(worker, workers, turn, turns, stop):
    """Wait until every worker has come to this ``turn``; False if flag 0 of ``stop`` was raised meanwhile."""
    publish(turns, worker, turn)
    for other in range(workers):  # noqa: SIM110 - compiled code has no generators
        if not wait(turns, other, turn, stop):
            return False
    return True


@njit(nogil=True, cache=True)
def intra_layer(
    worker, workers, firsts, counts, arrays, layout, options, data_x, data_y, rows, e, shares, share_size,
    updates, number, alpha, turns, ready, stop, energy, times,
):  # fmt: skip
    """Each worker has ``counts[l]`` elements of every ``x[l]`` from ``firsts[l]`` on, the rows of ``W[l-1]`` that make
    them, and a copy of input and target. Its share of the back-projected errors goes to its part of ``shares``,
    ``share_size`` long; the sum over the workers is taken by each for its own rows."""
    s = layers(arrays, layout, options)
    padded, value_at, depth = s.padded, s.value_at, len(layout[0]) - 1
    errors, turns, stop = pointer(e), pointer(turns), pointer(stop)
    share = offset(pointer(shares), worker * share_size)
    if not meet(worker, workers, pointer(ready), stop):
        return
    times[worker, 0] = nanoseconds()
    turn = 0
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        load_rows(data_x, rows, update, 0, s.batch, padded[0], s.x, value_at[0])
        load_rows(data_y, rows, update, 0, s.batch, padded[depth], s.x, value_at[depth])
        activate_layer(s, 0)
        for l in range(depth):
            first, count = firsts[l + 1], counts[l + 1]
            predict(s, l, depth, first, count, errors)
            if l + 1 < depth:
                activate_rows(s, l + 1, first, count)
                turn += 1
                if not _all_here(worker, workers, turn, turns, stop):
                    return
        if update == 0:
            energy[worker] = 0.5 * squares(s, depth, firsts[depth], counts[depth], errors, 0)
        for l in range(depth - 1, -1, -1):
            work = UPDATE | (BACKPROJECT if l > 0 else 0)
            layer_step(
                work, s, l, firsts[l + 1], counts[l + 1], s.x, errors, share, 0, s.one, alpha, number + update + 1
            )
            if l > 0:
                turn += 1
                if not _all_here(worker, workers, turn, turns, stop):
                    return
                sum_shares(s, l, firsts[l], counts[l], shares, share_size, workers, errors)
    times[worker, 1] = nanoseconds()


@njit(nogil=True, cache=True)
def data_parallel(
    worker, workers, firsts, counts, arrays, layout, options, part_at, part_first, part_count, data_x, data_y, rows, e,
    updates, number, alpha, turns, ready, stop, energy, times,
):  # fmt: skip
    """Each worker has ``part_count[worker]`` samples of the batch from ``part_first[worker]`` on, whose values begin at
    ``part_at[worker]``, and the rows of each gradient that ``firsts`` and ``counts`` say."""
    s = layers(arrays, layout, options)
    padded, depth = s.padded, len(layout[0]) - 1
    errors, turns, stop = pointer(e), pointer(turns), pointer(stop)
    begin, samples = part_first[worker], part_count[worker]
    mine = part_of_batch(s, samples, offset(pointer(part_at), worker * (depth + 1)))
    if not meet(worker, workers, pointer(ready), stop):
        return
    times[worker, 0] = nanoseconds()
    turn = 0
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        forward(s, mine, depth, data_x, data_y, rows, update, begin, samples, errors)
        if update == 0:
            energy[worker] = 0.5 * squares(mine, depth, 0, padded[depth], errors, 0)
        for l in range(depth - 1, -1, -1):
            if l > 0:
                layer_step(BACKPROJECT, mine, l, 0, padded[l + 1], s.x, errors, errors, 0, s.one, alpha, 0)
            if l > 0 or depth == 1:  # errors of all samples are there, and nobody reads these weights any more
                turn += 1
                if not _all_here(worker, workers, turn, turns, stop):
                    return
            layer_step(
                UPDATE, s, l, firsts[l + 1], counts[l + 1], s.x, errors, errors, 0, s.one, alpha, number + update + 1
            )
        turn += 1
        if not _all_here(worker, workers, turn, turns, stop):
            return
    times[worker, 1] = nanoseconds()


@njit(nogil=True, cache=True)
def _backward(part, lo, hi, errors, progress, flag, done):
    """Errors of one micro-batch below each layer of a block."""
    for l in range(hi - 1, lo - 1, -1):
        if l > 0:
            layer_step(BACKPROJECT, part, l, 0, part.padded[l + 1], part.x, errors, errors, 0, part.one, part.zero, 0)
    publish(progress, flag, done)


@njit(nogil=True, cache=True)
def pipeline(
    worker, workers, lo, hi, arrays, layout, options, part_at, part_first, part_count, data_x, data_y, rows, e,
    updates, number, alpha, progress, ready, stop, energy, times,
):  # fmt: skip
    """Each worker has the layers ``lo … hi-1``. Micro-batch m has ``part_count[m]`` samples from ``part_first[m]`` on,
    whose values begin at ``part_at[m]``. The last worker turns each round at once; the weights update from the whole
    batch when its last error has come (so nothing is summed up in between, and a worker that has none to wait for
    goes on with the next batch)."""
    s = layers(arrays, layout, options)
    padded, value_at, depth, parts = s.padded, s.value_at, len(layout[0]) - 1, len(part_first)
    errors, progress, stop, begins = pointer(e), pointer(progress), pointer(stop), pointer(part_at)
    if not meet(worker, workers, pointer(ready), stop):
        return
    times[worker, 0] = nanoseconds()
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        if lo == 0:
            load_rows(data_x, rows, update, 0, s.batch, padded[0], s.x, value_at[0])
        if hi == depth:
            load_rows(data_y, rows, update, 0, s.batch, padded[depth], s.x, value_at[depth])
        done = update * parts
        for m in range(parts):
            if worker > 0 and not wait(progress, 2 * (worker - 1) + 1, done + m + 1, stop):
                return
            part = part_of_batch(s, part_count[m], offset(begins, m * (depth + 1)))
            for l in range(lo, hi):
                activate_layer(part, l)
                predict(part, l, depth, 0, padded[l + 1], errors)
            publish(progress, 2 * worker + 1, done + m + 1)
            if hi == depth:
                _backward(part, lo, hi, errors, progress, 2 * worker, done + m + 1)
        if hi == depth:
            if update == 0:
                energy[worker] = 0.5 * squares(s, depth, 0, padded[depth], errors, 0)
        else:
            for m in range(parts):
                if not wait(progress, 2 * (worker + 1), done + m + 1, stop):
                    return
                part = part_of_batch(s, part_count[m], offset(begins, m * (depth + 1)))
                _backward(part, lo, hi, errors, progress, 2 * worker, done + m + 1)
        for l in range(hi - 1, lo - 1, -1):
            layer_step(UPDATE, s, l, 0, padded[l + 1], s.x, errors, errors, 0, s.one, alpha, number + update + 1)
    times[worker, 1] = nanoseconds()
