"""The compiled loop of one worker in asynchronous BP, in which every layer works on a batch of its own.

A layer's slots are numbered by the batch t that it updates from, as in the oracle (``numpy_async``): in its step t
layer l also predicts for batch ``t + 2(L-1-l)``, for which it needs step t - 2 of layer l - 1; and for its errors it
needs step t of layer l + 1. So a worker takes its layers from the last to the first, for one t after another, and its
neighbours are half a turn apart: the one above has made its errors by then, and the one below its values long ago.

Values lie in rings (``engines/rings.py``): those of a batch stay where they are until its gradient has come, and nobody
copies them. Errors have two places, for odd and even steps, since a layer above is never two steps ahead.

Two steps of a layer can follow one another at once, as what the second one needs from below is of the step before both.
So where weights do not fit into the cache, layers take two steps together (weights are fetched from memory once for
both), and pairs follow one another down the block at a distance of one layer, in waves of 2, 4 … steps. The bits are
the same.
"""

from collections import namedtuple

import numpy as np

from ...kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ...kernels.layers.step import activate_layer, layer_step, start_prediction
from ...kernels.layers.streaming import stream_step
from ...kernels.layers.vectors import copy_part, fill, squares, step_ahead
from ...kernels.layers.view import part_of_batch, with_weights
from ...kernels.layers.weights import PLAIN, descend
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, folded, inner, njit
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import load_acquire, meet, publish, wait
from .steps import layers, load_rows, note, note_divergence, rate_at

CURRENT, STASHED, TWO_VERSIONS = np.int64(0), np.int64(1), np.int64(2)  # the weights that pull errors back

# What a run is given in place of ``Shares``. first, last: t of its first step and behind its last; places: of each
# layer's ring; error_at, error_count: where errors begin, and elements of one half of them; at: memory for the places
# of the two views of each worker, a row for each view; kind: whose weights; accumulate: batches of an update; stash,
# stash_at, copies: weights that are kept; before: weights before the last update, ahead: whether they serve to predict
# with later ones, delay: of each layer, in updates; sums: of gradients; factors: of alpha, for each update of this run
# (the last serves all further ones) and layer; wave: steps to take together.
Flight = namedtuple(
    "Flight",
    "first last places error_at error_count at kind accumulate stash stash_at copies before ahead delay sums factors "
    "wave fused",
)

# A worker's view of a run, all arrays as pointers. new, old: its layers with the values of the batch that each predicts
# for, and of that which it updates from (``_place`` says where); ring_at: where the rings begin; e: errors; number:
# updates made before this run; alphas, turns: how many alphas and rows of factors there are.
Stream = namedtuple(
    "Stream",
    "new old ring_at places e error_at error_count first last kind accumulate stash stash_at copies before ahead delay "
    "sums factors turns alpha alphas number depth fused",
)


@inner
def _place(r, l, t):
    """Let both views look at the batches of layer l's step t, in the ring of its own values and in that above."""
    s, batch = r.new, t + 2 * (r.depth - 1 - l)
    for m in range(l, l + 2):
        height = s.batch * s.padded[m]
        s.value_at[m] = r.ring_at[m] + batch % r.places[m] * height
        r.old.value_at[m] = r.ring_at[m] + max(t, 0) % r.places[m] * height


@inner
def _kept(r, l, t):
    """The shift of the pointer to kept weights, by which those of layer l and batch t lie where the weights do."""
    s = r.new
    length = s.padded[l + 1] * (s.padded[l] + 1)
    return r.stash_at[l] + t % r.copies[l] * length - s.weight_at[l]


@inner
def _predicting(r, l, t, count):
    """The weights with which layer l predicts in its step t; they are kept where they are needed again."""
    s, lag = r.new, 2 * (r.depth - 1 - l)
    w = s.weight_at[l]
    if r.kind == TWO_VERSIONS:
        if max(t, 0) // r.accumulate >= (t + lag) // r.accumulate:
            return offset(r.stash, _kept(r, l, ZERO))
        return s.W
    if lag == 0 or not (r.ahead or r.kind == STASHED):
        return s.W
    kept = offset(r.stash, _kept(r, l, t + lag))
    if r.ahead:
        step_ahead(s.W, r.before, w, count, rate_at(r.delay, r.depth, l), kept)
        return kept
    copy_part(s.W, w, count, kept, w)
    return s.W


@inner
def _pulling(r, l, t):
    """The weights that pull the errors of batch t back."""
    if r.kind == TWO_VERSIONS:
        return offset(r.stash, _kept(r, l, ZERO))
    if r.kind == STASHED and l + 1 < r.depth:
        return offset(r.stash, _kept(r, l, t))
    return r.new.W


@inner
def _alpha(r, l, update):
    """Layer l's rate of an update."""
    turn = update - r.number
    factor = rate_at(r.factors, r.turns * r.depth, min(turn, r.turns - 1) * r.depth + l)
    return rate_at(r.alpha, r.alphas, turn) * factor


@inner
def _update(r, l, t, slot, count):
    """``W[l]`` from batch t, or that batch's part of a sum of gradients."""
    s, rows = r.old, r.old.padded[l + 1]
    update, w = t // r.accumulate, s.weight_at[l]
    alpha = _alpha(r, l, update)
    due = (t + 1) % r.accumulate == 0
    if r.accumulate > 1:
        part = with_weights(s, r.sums, PLAIN, s.scratch)
        layer_step(UPDATE, part, l, ZERO, rows, s.x, r.e, r.e, slot, s.one, s.one, ZERO)
    if due and r.ahead:
        copy_part(s.W, w, count, r.before, w)
    if due and r.kind == TWO_VERSIONS:
        copy_part(s.W, w, count, offset(r.stash, _kept(r, l, ZERO)), w)
    if r.accumulate == 1:
        layer_step(UPDATE, s, l, ZERO, rows, s.x, r.e, r.e, slot, s.one, alpha, update + 1)
    elif due:
        descend(with_weights(s, s.W, s.rule, r.sums), l, ZERO, rows, w, alpha, update + 1)
        fill(r.sums, w, count, s.zero)


@inner
def _work(r, l, t):
    """Step t of layer l."""
    new, old, depth = r.new, r.old, r.depth
    activate_layer(new, l)
    errors, below = r.error_at[l + 1], r.error_at[l]
    if l + 1 < depth:
        errors += (t & 1) * r.error_count
    below += (t & 1) * r.error_count
    slot, rows = errors - old.value_at[l + 1], old.padded[l + 1]
    if r.fused and t >= 0 and l + 1 < depth:
        stream_step(new, old, l, r.e, errors, below, _alpha(r, l, t))
        return
    count = rows * (old.padded[l] + 1)
    predicts = with_weights(new, _predicting(r, l, t, count), new.rule, new.scratch)
    h = offset(r.e, below - slot - old.value_at[l])
    if l + 1 == depth:
        if r.fused:
            work = PREDICT | UPDATE | (BACKPROJECT if l > 0 else ZERO)
            layer_step(work, old, l, ZERO, rows, old.x, r.e, h, slot, old.one, _alpha(r, l, t), ZERO)
        else:
            layer_step(PREDICT, predicts, l, ZERO, rows, old.x, r.e, h, slot, old.one, old.one, ZERO)
        if r.fused:
            return
    else:
        start_prediction(predicts, l, ZERO, rows, new.x, new.value_at[l + 1])
    if t < 0:
        return
    if l > 0:
        pulls = with_weights(old, _pulling(r, l, t), old.rule, old.scratch)
        layer_step(BACKPROJECT, pulls, l, ZERO, rows, old.x, r.e, h, slot, old.one, old.one, ZERO)
    _update(r, l, t, slot, count)


@inner
def stream_of(who, s, arrays, rates, flight):
    """A worker's view of a run, with its layers ``s``."""
    depth, worker = len(flight.delay), who.worker
    views, row = pointer(flight.at), flight.at.shape[1]
    new = part_of_batch(s, s.batch, offset(views, 2 * worker * row))
    old = part_of_batch(s, s.batch, offset(views, (2 * worker + 1) * row))
    return Stream(
        new, old, s.value_at, pointer(flight.places), pointer(arrays.errors), pointer(flight.error_at),
        flight.error_count, flight.first, flight.last, flight.kind, flight.accumulate, pointer(flight.stash),
        pointer(flight.stash_at), pointer(flight.copies), pointer(flight.before), flight.ahead, pointer(flight.delay),
        pointer(flight.sums), pointer(flight.factors), len(flight.factors), pointer(rates.alpha), len(rates.alpha),
        rates.number, depth, flight.fused,
    )  # fmt: skip


@folded
def slot_of_layer(r, s, data, l, t, energy, diverged, worker):
    """Step t of layer l, with the input or the target that it needs; noted are the loss of the first batch, and an
    output that is not finite."""
    depth, base = r.depth, max(r.first, 0)
    batch = t + 2 * (depth - 1 - l)
    if batch < 0:
        return
    _place(r, l, t)
    if l == 0:
        load_rows(data.x, data.rows, batch - base, ZERO, s.batch, s.padded[0], s.x, r.new.value_at[0])
    if l + 1 == depth:
        load_rows(data.y, data.rows, t - base, ZERO, s.batch, s.padded[depth], s.x, s.value_at[depth])
    _work(r, l, t)
    at = r.error_at[depth] - s.value_at[depth]
    if l + 1 == depth:
        note_divergence(diverged, worker, s, depth, ZERO, s.padded[depth], r.e, at, t // r.accumulate)
    if l + 1 == depth and t == base:
        energy[worker] = 0.5 * squares(s, depth, ZERO, s.padded[depth], r.e, at)


@inner
def note_slot(trace, room, count, l, t, slot, begin):
    """Write down step t of layer l as one event in a slot of the task graph; the number of events so far."""
    if slot < l:  # there was no batch
        return count
    work = PREDICT if t < 0 else PREDICT | UPDATE | (BACKPROJECT if l > 0 else ZERO)
    return note(trace, room, count, work, l, slot, begin)


@njit(nogil=True, cache=True)
def pipeline_async(who, arrays, offsets, options, data, rates, updates, flight, signals, notes):
    """The steps of ``flight`` by one worker, which has the layers ``lo … hi-1``; the number of events noted."""
    s, worker = layers(arrays, offsets, options), who.worker
    r, energy, diverged = stream_of(who, s, arrays, rates, flight), pointer(notes.energy), pointer(notes.diverged)
    progress, stop, lo, hi, first = pointer(signals.progress), pointer(signals.stop), who.lo, who.hi, flight.first
    trace, room, count = pointer(notes.trace), len(notes.trace), ZERO
    # Step t of layer l is the slot ``latest - l + t``, from where the lowest predicts for the first batch of this run.
    latest = 2 * (len(flight.delay) - 1) - max(first, 0)
    if not meet(worker, who.workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0] = nanoseconds()
    for begin in range(first, flight.last, flight.wave):
        if load_acquire(stop, 0) != 0:
            break
        together = min(flight.wave, flight.last - begin)
        pairs = (together + 1) // 2
        for front in range(hi - lo + pairs - 1):
            for pair in range(max(0, front - (hi - lo) + 1), min(pairs, front + 1)):
                l = hi - 1 - (front - pair)
                for t in range(begin + 2 * pair, min(begin + 2 * pair + 2, begin + together)):
                    done = t - first + 1
                    if l == hi - 1 and who.above >= 0 and t >= 0 and not wait(progress, 2 * who.above, done, stop):
                        return 0
                    if l == lo and who.below >= 0 and not wait(progress, 2 * who.below + 1, done - 2, stop):
                        return 0
                    begun = nanoseconds() if room > 0 else 0
                    slot_of_layer(r, s, data, l, t, energy, diverged, worker)
                    if room > 0:
                        count = note_slot(trace, room, count, l, t, latest - l + t, begun)
                    if l == hi - 1:
                        publish(progress, 2 * worker + 1, done)
                    if l == lo:
                        publish(progress, 2 * worker, done)
    notes.times[worker, 1] = nanoseconds()
    return count
