"""The compiled loops of one stage in the zero-bubble order of BP's pipeline, on threads and on ranks.

A stage does what its turns say (``schedule/pipelines.py``), and in each waits for what it needs. Weight products of
single micro-batches, made while it would wait, are summed up beside the weights, which errors of later micro-batches
still need; the last turn makes those that are left at once, adds them, and moves the weights. So each stage's sums have
one order, whoever is late; but which are made apart depends on the number of stages, and rounding with it.
"""

from collections import namedtuple

from ...kernels.graphs.stages import ALONE, BACKWARD, FORWARD
from ...kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ...kernels.layers.step import activate_layer, layer_step
from ...kernels.layers.view import part_of_batch, with_weights
from ...kernels.layers.weights import PLAIN, descend, gradient
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, inner, njit
from ...kernels.machine.messages import Library, done, finish, send, start
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import load_acquire, meet, publish, wait
from .backprop import predict
from .steps import layers, load_rows, note, note_divergence, output_energy, rate_at

# What a run is given in place of ``Shares``. first, samples: of each micro-batch; at: where its values begin, a row for
# each; what, part: the turns of the worker's stage; sums: of gradients, laid out as the parameters are.
Turning = namedtuple("Turning", "first samples at what part sums")


@inner
def _forwards(part, lo, hi, depth, errors, step, trace, room, count):
    """Values of one micro-batch above each layer of a block; the sum of their cross-entropy, and the events so far."""
    entropy = 0.0
    for l in range(lo, hi):
        begin = nanoseconds() if room > 0 else 0
        activate_layer(part, l)
        entropy += predict(part, l, depth, ZERO, part.padded[l + 1], errors)
        count = note(trace, room, count, PREDICT, l, step, begin)
    return entropy, count


@inner
def _backwards(part, l, errors, step, trace, room, count):
    """Errors of one micro-batch below a layer."""
    begin = nanoseconds() if room > 0 else 0
    layer_step(BACKPROJECT, part, l, ZERO, part.padded[l + 1], part.x, errors, errors, ZERO, part.one, part.zero, ZERO)
    return note(trace, room, count, BACKPROJECT, l, step, begin)


@inner
def _add_up(part, lo, hi, begins, errors, sums, step, trace, room, count):
    """The gradient of one micro-batch, of the batch's first one in place of what is there; the others are added."""
    for l in range(hi - 1, lo - 1, -1):
        begin, rows = nanoseconds() if room > 0 else 0, part.padded[l + 1]
        if begins:
            whole = with_weights(part, part.W, part.rule, sums)
            gradient(whole, l, ZERO, rows, errors, part.value_at[l + 1], part.one, part.weight_at[l])
        else:
            whole = with_weights(part, sums, PLAIN, part.scratch)
            layer_step(UPDATE, whole, l, ZERO, rows, part.x, errors, errors, ZERO, part.one, part.one, ZERO)
        count = note(trace, room, count, UPDATE, l, step, begin)
    return count


@inner
def _update(s, rest, lo, hi, errors, sums, alpha, number, step, trace, room, count):
    """The weights, from the micro-batches of ``rest`` and what has been summed up; where that is nothing, ``rest`` is
    the whole batch."""
    for l in range(hi - 1, lo - 1, -1):
        begin, rows = nanoseconds() if room > 0 else 0, s.padded[l + 1]
        if rest.batch == s.batch:
            layer_step(UPDATE, s, l, ZERO, rows, s.x, errors, errors, ZERO, s.one, alpha, number)
        else:
            whole = with_weights(rest, sums, PLAIN, s.scratch)
            layer_step(UPDATE, whole, l, ZERO, rows, s.x, errors, errors, ZERO, s.one, s.one, ZERO)
            descend(with_weights(s, s.W, s.rule, sums), l, ZERO, rows, s.weight_at[l], alpha, number)
        count = note(trace, room, count, UPDATE, l, step, begin)
    return count


@njit(nogil=True, cache=True)
def zero_bubble(who, arrays, offsets, options, data, rates, updates, turning, signals, notes):
    """``updates`` weight updates by one worker of several, which has the layers ``lo … hi-1``."""
    s = layers(arrays, offsets, options)
    worker, workers, lo, hi, parts = who.worker, who.workers, who.lo, who.hi, len(turning.first)
    padded, value_at, depth, alphas = s.padded, s.value_at, len(offsets.sizes) - 1, pointer(rates.alpha)
    errors, progress, stop = pointer(arrays.errors), pointer(signals.progress), pointer(signals.stop)
    begins, sums, room, trace = pointer(turning.at), pointer(turning.sums), len(notes.trace), pointer(notes.trace)
    if not meet(worker, workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0], diverged, count = nanoseconds(), pointer(notes.diverged), ZERO
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        alpha, number = rate_at(alphas, len(rates.alpha), update), rates.number + update
        if lo == 0:
            load_rows(data.x, data.rows, update, ZERO, s.batch, padded[0], s.x, value_at[0])
        if hi == depth:
            load_rows(data.y, data.rows, update, ZERO, s.batch, padded[depth], s.x, value_at[depth])
        before, entropy = update * parts, 0.0
        for turn in range(len(turning.what)):
            what, m = turning.what[turn], turning.part[turn]
            part, step = part_of_batch(s, turning.samples[m], offset(begins, m * (depth + 1))), before + m
            if what == FORWARD:
                if worker > 0 and not wait(progress, 2 * (worker - 1) + 1, step + 1, stop):
                    return 0
                its, count = _forwards(part, lo, hi, depth, errors, step, trace, room, count)
                entropy += its
                publish(progress, 2 * worker + 1, step + 1)
            elif what == BACKWARD:
                if hi < depth and not wait(progress, 2 * (worker + 1), step + 1, stop):
                    return 0
                for l in range(hi - 1, max(lo, 1) - 1, -1):
                    count = _backwards(part, l, errors, step, trace, room, count)
                publish(progress, 2 * worker, step + 1)
            elif what == ALONE:
                count = _add_up(part, lo, hi, m == 0, errors, sums, step, trace, room, count)
            else:
                if hi == depth:
                    if update == 0:
                        notes.energy[worker] = output_energy(s, depth, ZERO, padded[depth], errors, ZERO, entropy)
                    note_divergence(diverged, worker, s, depth, ZERO, padded[depth], errors, ZERO, number)
                rest = part_of_batch(s, s.batch - turning.first[m], offset(begins, m * (depth + 1)))
                step = before + parts - 1
                count = _update(s, rest, lo, hi, errors, sums, alpha, number + 1, step, trace, room, count)
    notes.times[worker, 1] = nanoseconds()
    return count


@njit(nogil=True, cache=True)
def zero_bubble_ranks(who, arrays, offsets, options, data, rates, updates, turning, signals, notes, messages):
    """The same of a rank, whose requests are those of ``backprop_ranks.pipeline``."""
    s = layers(arrays, offsets, options)
    lo, hi, parts = who.lo, who.hi, len(turning.first)
    padded, value_at, depth, alphas = s.padded, s.value_at, len(offsets.sizes) - 1, pointer(rates.alpha)
    errors, stop, begins, sums = (
        pointer(arrays.errors),
        pointer(signals.stop),
        pointer(turning.at),
        pointer(turning.sums),
    )
    library, requests = Library(*messages.functions, pointer(messages.scratch)), pointer(messages.requests)
    room, trace = len(notes.trace), pointer(notes.trace)
    notes.times[0, 0], diverged, count = nanoseconds(), pointer(notes.diverged), ZERO
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        alpha, number = rate_at(alphas, len(rates.alpha), update), rates.number + update
        # Values from below and errors from above have been used when the weights were updated.
        for m in range(parts):
            for i in (4 * m, 4 * m + 2):
                if requests[i] != 0:
                    start(library, requests[i])
        if lo == 0:
            load_rows(data.x, data.rows, update, ZERO, s.batch, padded[0], s.x, value_at[0])
        if hi == depth:
            load_rows(data.y, data.rows, update, ZERO, s.batch, padded[depth], s.x, value_at[depth])
        before, entropy = update * parts, 0.0
        for turn in range(len(turning.what)):
            what, m = turning.what[turn], turning.part[turn]
            part, step = part_of_batch(s, turning.samples[m], offset(begins, m * (depth + 1))), before + m
            if what == FORWARD:
                if requests[4 * m] != 0 and not finish(library, requests[4 * m], stop):
                    return 0
                # The last update's message must have gone before its place is written.
                if requests[4 * m + 1] != 0 and not finish(library, requests[4 * m + 1], stop):
                    return 0
                its, count = _forwards(part, lo, hi, depth, errors, step, trace, room, count)
                entropy += its
                if requests[4 * m + 1] != 0:
                    send(library, requests[4 * m + 1])
            elif what == BACKWARD:
                if requests[4 * m + 2] != 0 and not finish(library, requests[4 * m + 2], stop):
                    return 0
                if requests[4 * m + 3] != 0 and not finish(library, requests[4 * m + 3], stop):
                    return 0
                for l in range(hi - 1, max(lo, 1) - 1, -1):
                    count = _backwards(part, l, errors, step, trace, room, count)
                if requests[4 * m + 3] != 0:
                    send(library, requests[4 * m + 3])
            elif what == ALONE:
                count = _add_up(part, lo, hi, m == 0, errors, sums, step, trace, room, count)
            else:
                if hi == depth:
                    if update == 0:
                        notes.energy[0] = output_energy(s, depth, ZERO, padded[depth], errors, ZERO, entropy)
                    note_divergence(diverged, ZERO, s, depth, ZERO, padded[depth], errors, ZERO, number)
                rest = part_of_batch(s, s.batch - turning.first[m], offset(begins, m * (depth + 1)))
                step = before + parts - 1
                count = _update(s, rest, lo, hi, errors, sums, alpha, number + 1, step, trace, room, count)
            following = min(turn + 1, len(turning.what) - 1)
            for i in (4 * turning.part[following], 4 * turning.part[following] + 2):
                if requests[i] != 0:  # let the library move on what comes next
                    done(library, requests[i])
    notes.times[0, 1] = nanoseconds()
    for i in range(4 * parts):
        if requests[i] != 0 and not finish(library, requests[i], stop):
            return 0
    return count
