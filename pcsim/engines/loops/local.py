"""Local losses on workers: every layer passes its values on at once, and learns from a head of its own.

A worker has a block of layers and takes the batches in their order, some of them together (a wave): layer after layer
it makes all batches of the wave, so that weights beyond the cache are fetched once for all of them. Nothing comes down,
so a worker waits for the values of the layer below its block, and for room in the ring of those that it makes itself.

With a batch of one and plain gradient descent a layer learns from a batch when it predicts for the next one, in one
pass over its weights; before the run ends it learns from the last. The weights with which it predicts are the same.
"""

from collections import namedtuple

from ...kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ...kernels.layers.losses import softmax_errors
from ...kernels.layers.step import activate_layer, layer_step, start_prediction
from ...kernels.layers.streaming import learn_step
from ...kernels.layers.vectors import all_finite, squares
from ...kernels.layers.view import part_of_batch
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, folded, inner, njit
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import load_acquire, meet, publish, wait
from .steps import layers, load_rows, rate_at

# What a run is given in place of ``Shares``. heads, head_options: offsets and options of a net whose layer 2l is the
# head of layer l, from x[l+1] to the classes; places: of the rings of values; wave: batches to take together; at:
# memory for the places of the three views of each worker, a row for each; targets, said: of each worker, ``apart`` of
# each other, what the heads should say, and their errors; wide: elements of one layer's errors at most.
Heads = namedtuple("Heads", "heads head_options places wave at targets said apart wide fused")

# A worker's view of a run, all arrays as pointers. new, old: its layers with the values of two batches; heads: the
# heads on those of the new one; ring_at: where the rings begin; lo: its first layer.
_Own = namedtuple("_Own", "new old heads ring_at places targets said errors wide lo depth fused")


@inner
def view_of_local(who, s, hs, h, errors, depth):
    """A worker's view of a run."""
    worker, views, row = who.worker, pointer(h.at), h.at.shape[1]
    new = part_of_batch(s, s.batch, offset(views, 3 * worker * row))
    old = part_of_batch(s, s.batch, offset(views, (3 * worker + 1) * row))
    heads = part_of_batch(hs, s.batch, offset(views, (3 * worker + 2) * row))
    far = worker * h.apart
    return _Own(
        new, old, heads, s.value_at, h.places, offset(pointer(h.targets), far), offset(pointer(h.said), far),
        errors, h.wide, who.lo, depth, h.fused,
    )  # fmt: skip


@folded
def _place(s, ring_at, places, l, t):
    """Let a view look at the values of batch t below and above ``W[l]``."""
    for m in range(l, l + 2):
        s.value_at[m] = ring_at[m] + t % places * (s.batch * s.padded[m])


@inner
def _errors_at(r, l):
    """Where the errors lie from which layer l learns: if it learns later, in a place of its own."""
    return (l - r.lo) * r.wide if r.fused else ZERO


@folded
def _head(r, l, alpha, number):
    """The head of layer l on the batch of the new view: it learns, and leaves the errors above ``W[l]``; its
    cross-entropy where that is its loss."""
    hs, entropy, at = r.heads, 0.0, _errors_at(r, l)
    hs.value_at[2 * l], hs.value_at[2 * l + 1] = r.new.value_at[l + 1], 0
    h, rows = offset(r.errors, at - r.new.value_at[l + 1]), hs.padded[2 * l + 1]
    work = PREDICT if hs.softmax else PREDICT | BACKPROJECT | UPDATE
    layer_step(work, hs, 2 * l, ZERO, rows, r.targets, r.said, h, ZERO, hs.one, alpha, number)
    if hs.softmax:
        entropy = softmax_errors(hs, 2 * l + 1, r.targets, r.said, ZERO)
        layer_step(BACKPROJECT | UPDATE, hs, 2 * l, ZERO, rows, r.targets, r.said, h, ZERO, hs.one, alpha, number)
    return entropy


@folded
def _learn(r, s, l, alpha, number):
    """``W[l]`` learns from the batch on which the view ``s`` looks."""
    e = offset(r.errors, _errors_at(r, l) - s.value_at[l + 1])
    layer_step(UPDATE, s, l, ZERO, s.padded[l + 1], s.x, e, e, ZERO, s.one, alpha, number)


@folded
def slot_of_local(r, data, l, t, arrives, alphas, alpha_count, begun, energy, diverged, worker):
    """Batch t of this run in layer l; ``arrives``: its values come from another rank."""
    new, depth = r.new, r.depth
    _place(new, r.ring_at, r.places, l, t)
    if l == 0:
        load_rows(data.x, data.rows, t, ZERO, new.batch, new.padded[0], new.x, new.value_at[0])
    if l == 0 or arrives:
        activate_layer(new, l)
    last = l + 1 == depth
    if last:
        load_rows(data.y, data.rows, t, ZERO, new.batch, new.padded[depth], new.x, new.value_at[depth])
    alpha, number = rate_at(alphas, alpha_count, t), begun + t + 1
    at = _errors_at(r, l)
    e = offset(r.errors, at - new.value_at[l + 1])
    if r.fused and t > 0 and not last:
        _place(r.old, r.ring_at, r.places, l, t - 1)
        learn_step(new, r.old, l, r.errors, _errors_at(r, l), rate_at(alphas, alpha_count, t - 1))
    elif not last:
        start_prediction(new, l, ZERO, new.padded[l + 1], new.x, new.value_at[l + 1])
    if last:
        layer_step(PREDICT, new, l, ZERO, new.padded[depth], new.x, e, e, ZERO, new.one, alpha, number)
        entropy = softmax_errors(new, depth, new.x, e, ZERO) if new.softmax else 0.0
        if diverged[worker] < 0 and not all_finite(new, depth, ZERO, new.padded[depth], e, ZERO):
            diverged[worker] = begun + t
        if t == 0:
            energy[l] = entropy if new.softmax else 0.5 * squares(new, depth, ZERO, new.padded[depth], e, ZERO)
    else:
        activate_layer(new, l + 1)
        load_rows(data.y, data.rows, t, ZERO, new.batch, r.heads.padded[1], r.targets, ZERO)
        entropy = _head(r, l, alpha, number)
        if t == 0:
            hs = r.heads
            squared = 0.5 * squares(hs, 2 * l + 1, ZERO, hs.padded[2 * l + 1], r.said, ZERO)
            energy[l] = entropy if hs.softmax else squared
    if last or not r.fused:
        _learn(r, new, l, alpha, number)


@inner
def finish_local(r, lo, hi, made, alphas, alpha_count, begun):
    """With a fused pass the layers learn from the last batch after a run."""
    for l in range(lo, hi if r.fused and made > 0 else lo):
        if l + 1 < r.depth:
            _place(r.old, r.ring_at, r.places, l, made - 1)
            _learn(r, r.old, l, rate_at(alphas, alpha_count, made - 1), begun + made)


@njit(nogil=True, cache=True)
def local(who, arrays, offsets, options, data, rates, updates, given, signals, notes):
    """``updates`` weight updates by one worker, which has the layers ``lo … hi-1``."""
    s, hs, worker = layers(arrays, offsets, options), layers(arrays, given.heads, given.head_options), who.worker
    r = view_of_local(who, s, hs, given, pointer(arrays.errors), len(offsets.sizes) - 1)
    energy, diverged = pointer(notes.energy), pointer(notes.diverged)
    progress, stop, lo, hi = pointer(signals.progress), pointer(signals.stop), who.lo, who.hi
    alphas, alpha_count, begun = pointer(rates.alpha), len(rates.alpha), rates.number
    if not meet(worker, who.workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0] = nanoseconds()
    done = 0
    for begin in range(0, updates, given.wave):
        if load_acquire(stop, 0) != 0:
            break
        done = min(updates, begin + given.wave)
        for l in range(lo, hi):
            for t in range(begin, done):
                if l == lo and who.below >= 0 and not wait(progress, 2 * who.below + 1, t + 1, stop):
                    return 0
                if l == hi - 1 and who.above >= 0 and not wait(progress, 2 * who.above, t + 1 - r.places, stop):
                    return 0
                slot_of_local(r, data, l, t, False, alphas, alpha_count, begun, energy, diverged, worker)
                if l == hi - 1:
                    publish(progress, 2 * worker + 1, t + 1)
                if l == lo:  # with a fused pass the values of batch t are needed once more
                    publish(progress, 2 * worker, t if r.fused else t + 1)
    finish_local(r, lo, hi, done, alphas, alpha_count, begun)
    notes.times[worker, 1] = nanoseconds()
    return 0
