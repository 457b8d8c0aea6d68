"""The compiled loops of one worker in backprop, one for each way to share the work.

The last error is minus the gradient of the loss, so the kernels of predictive coding serve here too: a pass for the
predictions, then one for the errors and the weights together.

*Serial*: one worker. *Row-split* (``intra-layer``): each worker has some rows of every matrix, and all meet after each
layer. *Data-parallel*: each worker has some samples of every batch; as the memory is shared, the sum of the gradients
is taken inside the products, of which each worker makes some rows. *Pipeline*: each worker has some layers, batches
come in micro-batches, and the weights wait for the last of them, which leaves all sums over the batch to one product.
"""

from ...kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ...kernels.layers.losses import softmax_errors
from ...kernels.layers.step import activate_layer, activate_rows, layer_step, start_prediction
from ...kernels.layers.vectors import squares, subtract_from, sum_shares
from ...kernels.layers.view import part_of_batch
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, inner, njit
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import load_acquire, meet, publish, wait
from .steps import layers, load_rows, note, note_divergence, output_energy, rate_at, step_layer


@inner
def predict(s, l, depth, first, rows, errors):
    """Rows of ``x[l+1]``, of the error in place of the output; the cross-entropy where that is the loss, and rows are
    all there are."""
    at = s.value_at[l + 1]
    if l + 1 < depth:
        start_prediction(s, l, first, rows, s.x, at)
    else:
        start_prediction(s, l, first, rows, errors, at)
        subtract_from(s, depth, s.batch, first, rows, s.x, at, errors, at)
        if s.softmax:
            return softmax_errors(s, depth, s.x, errors, ZERO)
    return 0.0


@inner
def forward(s, part, depth, data, update, begin, samples, errors):
    """``samples`` of the batch from ``begin`` on, which are ``part`` of it, up to the errors of the output; gives their
    cross-entropy."""
    load_rows(data.x, data.rows, update, begin, samples, s.padded[0], s.x, s.value_at[0])
    load_rows(data.y, data.rows, update, begin, samples, s.padded[depth], s.x, s.value_at[depth])
    entropy = 0.0
    for l in range(depth):
        activate_layer(part, l)
        entropy = predict(part, l, depth, ZERO, s.padded[l + 1], errors)
    return entropy


@njit(nogil=True, cache=True)
def serial(who, arrays, offsets, options, data, rates, updates, shares, signals, notes):
    """``updates`` weight updates by one worker; energy[0] receives the loss before the first of them. Returns the
    number of events noted in ``trace``."""
    s = layers(arrays, offsets, options)
    padded, value_at, depth, alphas = s.padded, s.value_at, len(offsets.sizes) - 1, pointer(rates.alpha)
    number = rates.number
    errors, stop, room, trace = pointer(arrays.errors), pointer(signals.stop), len(notes.trace), pointer(notes.trace)
    notes.times[0, 0] = nanoseconds()
    count = ZERO
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        alpha = rate_at(alphas, len(rates.alpha), update)
        load_rows(data.x, data.rows, update, ZERO, s.batch, padded[0], s.x, value_at[0])
        load_rows(data.y, data.rows, update, ZERO, s.batch, padded[depth], s.x, value_at[depth])
        entropy = 0.0
        for l in range(depth):
            begin = nanoseconds() if room > 0 else 0
            activate_layer(s, l)
            entropy = predict(s, l, depth, ZERO, padded[l + 1], errors)
            count = note(trace, room, count, PREDICT, l, update, begin)
        if update == 0:
            notes.energy[0] = output_energy(s, depth, ZERO, padded[depth], errors, ZERO, entropy)
        note_divergence(pointer(notes.diverged), ZERO, s, depth, ZERO, padded[depth], errors, ZERO, number + update)
        for l in range(depth - 1, -1, -1):
            work = UPDATE | (BACKPROJECT if l > 0 else ZERO)
            count = step_layer(
                s, l, work, s.x, errors, errors, ZERO, s.one, alpha, number + update + 1, update, trace, room, count
            )
    notes.times[0, 1] = nanoseconds()
    return count


@inner
def _all_here(worker, workers, turn, turns, stop):
    """Wait until every worker has come to this ``turn``; False if flag 0 of ``stop`` was raised meanwhile."""
    publish(turns, worker, turn)
    for other in range(workers):  # noqa: SIM110 - compiled code has no generators
        if not wait(turns, other, turn, stop):
            return False
    return True


@njit(nogil=True, cache=True)
def intra_layer(who, arrays, offsets, options, data, rates, updates, shares, signals, notes):
    """Each worker has some elements of every ``x[l]``, the rows of ``W[l-1]`` that make them, and a copy of input and
    target. Its share of the back-projected errors goes to its part of the drives; the sum over the workers is taken by
    each for its own rows."""
    s = layers(arrays, offsets, options)
    worker, workers, firsts, counts = who.worker, who.workers, shares.first_row[who.worker], shares.rows[who.worker]
    padded, value_at, depth, alphas = s.padded, s.value_at, len(offsets.sizes) - 1, pointer(rates.alpha)
    number = rates.number
    errors, turns, stop = pointer(arrays.errors), pointer(signals.progress), pointer(signals.stop)
    share_size = offsets.value_count
    share = offset(pointer(arrays.drives), worker * share_size)
    if not meet(worker, workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0], diverged = nanoseconds(), pointer(notes.diverged)
    turn = 0
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        alpha = rate_at(alphas, len(rates.alpha), update)
        load_rows(data.x, data.rows, update, ZERO, s.batch, padded[0], s.x, value_at[0])
        load_rows(data.y, data.rows, update, ZERO, s.batch, padded[depth], s.x, value_at[depth])
        activate_layer(s, ZERO)
        for l in range(depth):
            first, count = firsts[l + 1], counts[l + 1]
            predict(s, l, depth, first, count, errors)
            if l + 1 < depth:
                activate_rows(s, l + 1, first, count)
                turn += 1
                if not _all_here(worker, workers, turn, turns, stop):
                    return 0
        if update == 0:
            notes.energy[worker] = 0.5 * squares(s, depth, firsts[depth], counts[depth], errors, ZERO)
        note_divergence(diverged, worker, s, depth, firsts[depth], counts[depth], errors, ZERO, number + update)
        for l in range(depth - 1, -1, -1):
            work = UPDATE | (BACKPROJECT if l > 0 else ZERO)
            layer_step(
                work, s, l, firsts[l + 1], counts[l + 1], s.x, errors, share, ZERO, s.one, alpha, number + update + 1
            )
            if l > 0:
                turn += 1
                if not _all_here(worker, workers, turn, turns, stop):
                    return 0
                sum_shares(s, l, firsts[l], counts[l], arrays.drives, share_size, workers, errors)
    notes.times[worker, 1] = nanoseconds()
    return 0


@njit(nogil=True, cache=True)
def data_parallel(who, arrays, offsets, options, data, rates, updates, shares, signals, notes):
    """Each worker has some samples of the batch, and makes some rows of each gradient."""
    s = layers(arrays, offsets, options)
    worker, workers, firsts, counts = who.worker, who.workers, shares.first_row[who.worker], shares.rows[who.worker]
    padded, depth, alphas, number = s.padded, len(offsets.sizes) - 1, pointer(rates.alpha), rates.number
    errors, turns, stop = pointer(arrays.errors), pointer(signals.progress), pointer(signals.stop)
    begin, samples = shares.first[worker], shares.samples[worker]
    mine = part_of_batch(s, samples, offset(pointer(shares.at), worker * (depth + 1)))
    if not meet(worker, workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0], diverged = nanoseconds(), pointer(notes.diverged)
    turn = 0
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        alpha = rate_at(alphas, len(rates.alpha), update)
        entropy = forward(s, mine, depth, data, update, begin, samples, errors)
        if update == 0:
            notes.energy[worker] = output_energy(mine, depth, ZERO, padded[depth], errors, ZERO, entropy)
        note_divergence(diverged, worker, mine, depth, ZERO, padded[depth], errors, ZERO, number + update)
        for l in range(depth - 1, -1, -1):
            if l > 0:
                layer_step(BACKPROJECT, mine, l, ZERO, padded[l + 1], s.x, errors, errors, ZERO, s.one, alpha, ZERO)
            if l > 0 or depth == 1:  # errors of all samples are there, and nobody reads these weights any more
                turn += 1
                if not _all_here(worker, workers, turn, turns, stop):
                    return 0
            layer_step(
                UPDATE, s, l, firsts[l + 1], counts[l + 1], s.x, errors, errors, ZERO, s.one, alpha, number + update + 1
            )
        turn += 1
        if not _all_here(worker, workers, turn, turns, stop):
            return 0
    notes.times[worker, 1] = nanoseconds()
    return 0


@inner
def _backward(part, lo, hi, errors, progress, flag, done):
    """Errors of one micro-batch below each layer of a block."""
    for l in range(hi - 1, lo - 1, -1):
        if l > 0:
            layer_step(
                BACKPROJECT, part, l, ZERO, part.padded[l + 1], part.x, errors, errors, ZERO, part.one, part.zero, ZERO
            )
    publish(progress, flag, done)


@njit(nogil=True, cache=True)
def pipeline(who, arrays, offsets, options, data, rates, updates, shares, signals, notes):
    """Each worker has the layers ``lo … hi-1``; the parts of the batch are its micro-batches. The last worker turns
    each round at once; the weights update from the whole batch when its last error has come (so nothing is summed up in
    between, and a worker that has none to wait for goes on with the next batch)."""
    s = layers(arrays, offsets, options)
    worker, workers, lo, hi, parts = who.worker, who.workers, who.lo, who.hi, len(shares.first)
    padded, value_at, depth, alphas = s.padded, s.value_at, len(offsets.sizes) - 1, pointer(rates.alpha)
    number = rates.number
    errors, progress, stop = pointer(arrays.errors), pointer(signals.progress), pointer(signals.stop)
    begins = pointer(shares.at)
    if not meet(worker, workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0], diverged = nanoseconds(), pointer(notes.diverged)
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        alpha = rate_at(alphas, len(rates.alpha), update)
        if lo == 0:
            load_rows(data.x, data.rows, update, ZERO, s.batch, padded[0], s.x, value_at[0])
        if hi == depth:
            load_rows(data.y, data.rows, update, ZERO, s.batch, padded[depth], s.x, value_at[depth])
        done, entropy = update * parts, 0.0
        for m in range(parts):
            if worker > 0 and not wait(progress, 2 * (worker - 1) + 1, done + m + 1, stop):
                return 0
            part = part_of_batch(s, shares.samples[m], offset(begins, m * (depth + 1)))
            for l in range(lo, hi):
                activate_layer(part, l)
                entropy += predict(part, l, depth, ZERO, padded[l + 1], errors)
            publish(progress, 2 * worker + 1, done + m + 1)
            if hi == depth:
                _backward(part, lo, hi, errors, progress, 2 * worker, done + m + 1)
        if hi == depth:
            if update == 0:
                notes.energy[worker] = output_energy(s, depth, ZERO, padded[depth], errors, ZERO, entropy)
            note_divergence(diverged, worker, s, depth, ZERO, padded[depth], errors, ZERO, number + update)
        else:
            for m in range(parts):
                if not wait(progress, 2 * (worker + 1), done + m + 1, stop):
                    return 0
                part = part_of_batch(s, shares.samples[m], offset(begins, m * (depth + 1)))
                _backward(part, lo, hi, errors, progress, 2 * worker, done + m + 1)
        for l in range(hi - 1, lo - 1, -1):
            layer_step(UPDATE, s, l, ZERO, padded[l + 1], s.x, errors, errors, ZERO, s.one, alpha, number + update + 1)
    notes.times[worker, 1] = nanoseconds()
    return 0
