"""Direct feedback alignment on workers: every layer works on a batch of its own, and hears of the output's error alone.

A layer's steps are numbered by the batch t from which it learns, as in asynchronous BP: in its step t layer l also
predicts for batch ``t + L-1-l``, with the weights before they learn, for which it needs step t - 1 of layer l - 1. Its
error is the output's, which step t of the last layer makes, through a fixed matrix. So a worker takes its layers from
the last to the first; where weights do not fit into the cache, some steps follow one another down the block at a
distance of one layer (a wave).

With a batch of one and plain gradient descent both products of a step are one pass over the layer's weights.
"""

from collections import namedtuple

from ...kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ...kernels.layers.losses import softmax_errors
from ...kernels.layers.step import activate_layer, layer_step, start_prediction
from ...kernels.layers.streaming import late_step
from ...kernels.layers.vectors import squares
from ...kernels.layers.view import part_of_batch
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, inner, njit
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import load_acquire, meet, publish, wait
from .steps import layers, load_rows, note_divergence, rate_at

# What a run is given in place of ``Shares``. first, last: t of its first step and behind its last; heads,
# head_options: offsets and options of a net whose layer 2l is layer l's feedback, transposed; places: of each layer's
# ring, ahead: for how many batches a layer has room that the one above has not begun; at: memory for the places of the
# three views of each worker, a row for each; kept: errors of the output that are kept, ``size`` elements each; own,
# apart: where the workers' errors of a layer begin in that array, and how far apart; wave: steps to take together.
Alignment = namedtuple(
    "Alignment", "first last heads head_options places ahead at kept size own apart wave fused"
)  # fmt: skip

# A worker's view of a run, all arrays as pointers. new, old: its layers with the values of the batch that each predicts
# for, and of that from which it learns; feedback: the matrices, on the latter; ring_at: where the rings begin; mine:
# where this worker's errors begin in e.
_Own = namedtuple("_Own", "new old feedback ring_at places e kept size mine depth base number alphas alpha_count fused")


@inner
def _own_of(who, s, fs, a, arrays, rates, depth):
    """A worker's view of a run."""
    worker, views, row = who.worker, pointer(a.at), a.at.shape[1]
    new = part_of_batch(s, s.batch, offset(views, 3 * worker * row))
    old = part_of_batch(s, s.batch, offset(views, (3 * worker + 1) * row))
    feedback = part_of_batch(fs, s.batch, offset(views, (3 * worker + 2) * row))
    return _Own(
        new, old, feedback, s.value_at, pointer(a.places), pointer(arrays.errors), a.kept, a.size,
        a.own + worker * a.apart, depth, max(a.first, 0), rates.number, pointer(rates.alpha), len(rates.alpha), a.fused,
    )  # fmt: skip


@inner
def _place(r, l, t):
    """Let both views look at the batches of layer l's step t, in the ring of its own values and in that above."""
    s, batch = r.new, t + r.depth - 1 - l
    for m in range(l, l + 2):
        height = s.batch * s.padded[m]
        s.value_at[m] = r.ring_at[m] + batch % r.places[m] * height
        r.old.value_at[m] = r.ring_at[m] + max(t, 0) % r.places[m] * height


@inner
def _last(r, data, t, energy, diverged, worker):
    """Step t of the last layer: the error of the output, which learns from it at once."""
    s, l = r.old, r.depth - 1
    e = offset(r.e, t % r.kept * r.size - s.value_at[r.depth])
    rows, alpha = s.padded[r.depth], rate_at(r.alphas, r.alpha_count, t - r.number)
    load_rows(data.y, data.rows, t - r.base, ZERO, s.batch, rows, s.x, s.value_at[r.depth])
    work = PREDICT | UPDATE if r.fused and not s.softmax else PREDICT
    layer_step(work, s, l, ZERO, rows, s.x, e, e, ZERO, s.one, alpha, t + 1)
    entropy = softmax_errors(s, r.depth, s.x, e, ZERO) if s.softmax else 0.0
    note_divergence(diverged, worker, s, r.depth, ZERO, rows, e, ZERO, t)
    if t == r.base:
        energy[worker] = entropy if s.softmax else 0.5 * squares(s, r.depth, ZERO, rows, e, ZERO)
    if not work & UPDATE:
        layer_step(UPDATE, s, l, ZERO, rows, s.x, e, e, ZERO, s.one, alpha, t + 1)


@inner
def _errors(r, l, t):
    """Of batch t the errors above ``W[l]``: those of the output, through layer l's feedback."""
    f = r.feedback
    f.value_at[2 * l], f.value_at[2 * l + 1] = r.old.value_at[l + 1], t % r.kept * r.size
    h = offset(r.e, r.mine - r.old.value_at[l + 1])
    layer_step(BACKPROJECT, f, 2 * l, ZERO, f.padded[2 * l + 1], f.x, r.e, h, ZERO, f.one, f.one, ZERO)


@inner
def _slot(r, data, l, t, energy, diverged, worker):
    """Step t of layer l."""
    new, old, depth = r.new, r.old, r.depth
    batch = t + depth - 1 - l
    if batch < 0:
        return
    _place(r, l, t)
    if l == 0:
        load_rows(data.x, data.rows, batch - r.base, ZERO, new.batch, new.padded[0], new.x, new.value_at[0])
        activate_layer(new, ZERO)
    if l + 1 == depth:
        _last(r, data, t, energy, diverged, worker)
        return
    if t >= 0:
        _errors(r, l, t)
    alpha, rows = rate_at(r.alphas, r.alpha_count, t - r.number), old.padded[l + 1]
    if t >= 0 and r.fused:
        late_step(new, old, l, r.e, r.mine, alpha)
    else:
        start_prediction(new, l, ZERO, rows, new.x, new.value_at[l + 1])
    activate_layer(new, l + 1)
    if t >= 0 and not r.fused:
        e = offset(r.e, r.mine - old.value_at[l + 1])
        layer_step(UPDATE, old, l, ZERO, rows, old.x, e, e, ZERO, old.one, alpha, t + 1)


@njit(nogil=True, cache=True)
def feedback(who, arrays, offsets, options, data, rates, updates, given, signals, notes):
    """The steps of ``given`` by one worker, which has the layers ``lo … hi-1``."""
    s, fs, worker = layers(arrays, offsets, options), layers(arrays, given.heads, given.head_options), who.worker
    r = _own_of(who, s, fs, given, arrays, rates, len(given.places) - 1)
    energy, diverged = pointer(notes.energy), pointer(notes.diverged)
    progress, stop, lo, hi, first = pointer(signals.progress), pointer(signals.stop), who.lo, who.hi, given.first
    top = who.workers - 1
    if not meet(worker, who.workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0] = nanoseconds()
    for begin in range(first, given.last, given.wave):
        if load_acquire(stop, 0) != 0:
            break
        together = min(given.wave, given.last - begin)
        for front in range(hi - lo + together - 1):
            for k in range(max(0, front - (hi - lo) + 1), min(together, front + 1)):
                l, t = hi - 1 - (front - k), begin + k
                done = t - first + 1
                if l == hi - 1 and who.above >= 0:
                    if not wait(progress, 2 * who.above, done - given.ahead, stop):  # room in its ring
                        return 0
                    if not wait(progress, 2 * top + 1, done, stop):  # the error of the output
                        return 0
                if l == lo and who.below >= 0 and not wait(progress, 2 * who.below + 1, done - 1, stop):
                    return 0
                _slot(r, data, l, t, energy, diverged, worker)
                if l == hi - 1:
                    publish(progress, 2 * worker + 1, done)
                if l == lo:
                    publish(progress, 2 * worker, done)
    notes.times[worker, 1] = nanoseconds()
    return 0
