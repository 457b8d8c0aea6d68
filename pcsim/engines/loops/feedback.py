"""Direct feedback alignment on workers: every layer works on a batch of its own, and hears of the output's error alone.

When layer l predicts for batch k, it then learns from batch ``t = k - (L-1-l)``, of which the output's error is known
by then. A worker has a block of layers and takes the batches in their order, some of them together (a wave): layer
after layer it takes all batches of the wave, so that weights beyond the cache are fetched once for all of them. It
waits for the values of the layer below its block, for errors of the output, and for room in the ring of the values that
it makes. Where a layer needs the error of a batch of the same wave, it and those above take one batch after another.

A run of updates ends for each layer with the last t, and so with another k.

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
from ...kernels.machine.compiling import ZERO, folded, inner, njit
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import load_acquire, meet, publish, wait
from .steps import layers, load_rows, note_divergence, rate_at

# What a run is given in place of ``Shares``. first, last: the first t and that behind the last one; heads,
# head_options: offsets and options of a net whose layer 2l is layer l's feedback, transposed; places: of each layer's
# ring, ahead: for how many batches a layer has room that the one above has not begun; at: memory for the places of the
# three views of each worker, a row for each; kept: errors of the output that are kept, ``size`` elements each; own,
# apart: where the workers' errors of a layer begin in that array, and how far apart; wave: batches to take together.
Alignment = namedtuple(
    "Alignment", "first last heads head_options places ahead at kept size own apart wave fused"
)  # fmt: skip

# A worker's view of a run, all arrays as pointers. new, old: its layers with the values of the batch that each predicts
# for, and of that from which it learns; feedback: the matrices, on the latter; ring_at: where the rings begin; mine:
# where this worker's errors begin in e.
_Own = namedtuple("_Own", "new old feedback ring_at places e kept size mine depth base number alphas alpha_count fused")


@inner
def view_of_feedback(who, s, fs, a, arrays, rates, depth):
    """A worker's view of a run."""
    worker, views, row = who.worker, pointer(a.at), a.at.shape[1]
    new = part_of_batch(s, s.batch, offset(views, 3 * worker * row))
    old = part_of_batch(s, s.batch, offset(views, (3 * worker + 1) * row))
    feedback = part_of_batch(fs, s.batch, offset(views, (3 * worker + 2) * row))
    return _Own(
        new, old, feedback, s.value_at, pointer(a.places), pointer(arrays.errors), a.kept, a.size,
        a.own + worker * a.apart, depth, max(a.first, 0), rates.number, pointer(rates.alpha), len(rates.alpha), a.fused,
    )  # fmt: skip


@folded
def _place(r, l, k, t):
    """Let both views look at batch k and at batch t, in the ring of layer l's values and in that above."""
    s = r.new
    for m in range(l, l + 2):
        height = s.batch * s.padded[m]
        s.value_at[m] = r.ring_at[m] + k % r.places[m] * height
        r.old.value_at[m] = r.ring_at[m] + max(t, 0) % r.places[m] * height


@inner
def _last(r, data, t, energy, diverged, worker):
    """The last layer on batch t: the error of the output, from which it learns at once."""
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


@folded
def _errors(r, l, t):
    """Of batch t the errors above ``W[l]``: those of the output, through layer l's feedback."""
    f = r.feedback
    f.value_at[2 * l], f.value_at[2 * l + 1] = r.old.value_at[l + 1], t % r.kept * r.size
    h = offset(r.e, r.mine - r.old.value_at[l + 1])
    layer_step(BACKPROJECT, f, 2 * l, ZERO, f.padded[2 * l + 1], f.x, r.e, h, ZERO, f.one, f.one, ZERO)


@folded  # as a function of its own a slot took a third longer (6 × 48, AVX2)
def slot_of_feedback(r, data, l, k, t, arrives, energy, diverged, worker):
    """Layer l predicts for batch k, and learns from batch t (below 0: from none yet); ``arrives``: its values come from
    another rank."""
    new, old, depth = r.new, r.old, r.depth
    _place(r, l, k, t)
    if l == 0:
        load_rows(data.x, data.rows, k - r.base, ZERO, new.batch, new.padded[0], new.x, new.value_at[0])
    if l == 0 or arrives:
        activate_layer(new, l)
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


@inner
def order_of_turn(turn, begin, end, lo, hi, apart):
    """Layer and batch of a turn in the wave of the batches ``begin … end - 1``: from layer ``apart`` on one batch after
    another, as errors of the same wave are needed."""
    split, batches = min(hi, max(lo, apart)), end - begin
    lower = (split - lo) * batches
    if turn < lower:
        return lo + turn // batches, begin + turn % batches
    return split + (turn - lower) % (hi - split), begin + (turn - lower) // (hi - split)


@folded
def _taken(r, who, given, data, l, k, progress, stop, energy, diverged):
    """Layer l's turn on batch k, if it has one in this run, when all is there that it needs; False after a stop."""
    lag, done, top = r.depth - 1 - l, k - r.base + 1, who.workers - 1
    t = k - lag
    if given.first <= t < given.last:
        if l == who.lo and who.below >= 0 and not wait(progress, 2 * who.below + 1, done, stop):
            return False
        if l == who.hi - 1 and who.above >= 0 and not wait(progress, 2 * who.above, done - given.ahead - 1, stop):
            return False
        if who.worker != top and t >= 0 and not wait(progress, 2 * top + 1, done - lag, stop):
            return False
        slot_of_feedback(r, data, l, k, t, False, energy, diverged, who.worker)
    if l == who.hi - 1:
        publish(progress, 2 * who.worker + 1, done)
    if l == who.lo:
        publish(progress, 2 * who.worker, done)
    return True


@njit(nogil=True, cache=True)
def feedback(who, arrays, offsets, options, data, rates, updates, given, signals, notes):
    """The updates ``first … last-1`` by one worker, which has the layers ``lo … hi-1``."""
    s, fs, worker = layers(arrays, offsets, options), layers(arrays, given.heads, given.head_options), who.worker
    r = view_of_feedback(who, s, fs, given, arrays, rates, len(given.places) - 1)
    energy, diverged = pointer(notes.energy), pointer(notes.diverged)
    progress, stop, lo, hi = pointer(signals.progress), pointer(signals.stop), who.lo, who.hi
    if not meet(worker, who.workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0] = nanoseconds()
    for begin in range(r.base, given.last + r.depth - 1, given.wave):
        if load_acquire(stop, 0) != 0:
            break
        end = min(begin + given.wave, given.last + r.depth - 1)
        for turn in range((hi - lo) * (end - begin)):  # one call in the code, of what is long to compile
            l, k = order_of_turn(turn, begin, end, lo, hi, r.depth - given.wave)
            if not _taken(r, who, given, data, l, k, progress, stop, energy, diverged):
                return 0
    notes.times[worker, 1] = nanoseconds()
    return 0
