"""The compiled loop of one worker in dual propagation: half sweeps, in which layers of one parity move.

A worker has the weights ``W[lo] … W[hi-1]`` and the values above each of them, ``x[lo+1] … x[hi]``. When x[l+1] moves,
``W[l]`` predicts for it, and what it sends back through ``W[l]`` is for x[l]. So over an edge go the mean activation of
x[lo], upwards, and ``h[lo]``, downwards, in turns: whoever writes one has been told that the other is there, and that
the one before has been used. Each edge has two flags, the steps that are done on either side. (Where another rank is on
the other side, see ``dual_edges``.)

A half sweep begins at the edges of the block. Where a layer updates that does not move (the last half sweep of a weight
update, if it has several), it does so when all have moved. Half sweeps in which no such layer updates can follow one
another up or down the block in *waves*, as in ``predictive_coding``: x[l] needs its neighbours as the half sweep before
has left them, so each follows at a distance of one layer, and weights are fetched from memory once for several.
"""

from collections import namedtuple

from ...kernels.layers.dense import BACKPROJECT, PREDICT, SHARE, UPDATE
from ...kernels.layers.dual import dual_step, multiply_part, split_layer
from ...kernels.layers.losses import softmax_errors
from ...kernels.layers.step import activate_layer, layer_step, start_prediction
from ...kernels.layers.vectors import fill
from ...kernels.layers.weights import PLAIN
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, folded, inner, njit
from ...kernels.machine.simd import pointer
from ...kernels.machine.sync import load_acquire, meet, publish
from .dual_edges import begin_swept, poll_swept, settle_swept, swept_edges, until_swept
from .steps import layers, load_rows, note_divergence, output_energy, rate_at

# What a run is given in place of ``Shares``. calendar: ``arguments.Steps``; beta, and the share a of raised values in
# the mean, in the net's dtype; lo, hi: the layers of the worker's process.
Pull = namedtuple("Pull", "calendar beta share lo hi")

# One worker's view of a run, with pointers in place of arrays. slot: where the second halves of e and h begin;
# products: bits of ``dense`` for each stage and layer; completed: see ``arguments``; precision: 1 / beta; alphas: how
# many there are; before: weight updates made before this run.
_Block = namedtuple(
    "_Block",
    "worker below above lo hi depth e h slot products completed stages fused beta precision share alpha alphas before "
    "energy diverged",
)


@inner
def _learn(b, s, l, alpha, number):
    """``W[l]`` and its biases ascend along difference times mean, divided by beta."""
    layer_step(UPDATE, s, l, ZERO, s.padded[l + 1], s.x, b.e, b.h, ZERO, b.precision, alpha, number)


@inner
def _pull(b, s, l, first, counts, alpha, number):
    """The output moves; its loss is noted in the ``first`` half sweep of a run, and whether its error is finite in the
    first of a weight update, which ``counts``."""
    above, rows, entropy = s.value_at[l + 1], s.padded[l + 1], 0.0
    layer_step(PREDICT, s, l, ZERO, rows, s.x, b.e, b.h, ZERO, s.one, alpha, number)
    if s.softmax:
        entropy = softmax_errors(s, l + 1, s.x, b.e, ZERO)
    if counts:
        note_divergence(b.diverged, b.worker, s, l + 1, ZERO, rows, b.e, ZERO, number - 1)
    if first:
        b.energy[l] = output_energy(s, l + 1, ZERO, rows, b.e, ZERO, entropy)
    multiply_part(b.e, above, s.batch * rows, b.beta)


@inner
def _move(b, s, l, work, step, stage, opening, alpha, number):
    """x[l+1] takes new values, from a prediction by ``W[l]``, which then back-projects and updates."""
    if opening and l + 1 < b.depth:  # nothing has come down, so the forward start holds
        fill(b.e, s.value_at[l + 1], s.batch * s.padded[l + 1], s.zero)
        if l > 0:
            fill(b.h, s.value_at[l], s.batch * s.padded[l], s.zero)
        if work & UPDATE and s.rule != PLAIN:
            _learn(b, s, l, alpha, number)
        return
    if l + 1 < b.depth and b.fused:
        now = work if s.rule == PLAIN else work & ~UPDATE
        dual_step(now, s, l, b.share, b.e, b.h, b.slot, alpha * b.precision)
        work &= ~BACKPROJECT & ~now
    elif l + 1 < b.depth:
        start_prediction(s, l, ZERO, s.padded[l + 1], s.x, s.value_at[l + 1])
        split_layer(s, l + 1, b.share, b.e, b.h, b.slot)
    else:
        _pull(b, s, l, step == 0, stage == 0, alpha, number)
    if work & BACKPROJECT:
        layer_step(
            BACKPROJECT | SHARE, s, l, ZERO, s.padded[l + 1], s.x, b.e, b.h, ZERO, s.one, alpha, number
        )  # fmt: skip
    if work & UPDATE:
        _learn(b, s, l, alpha, number)


@folded
def _visit(b, s, edges, l, step, stage, opening, made):
    """Layer l in a step, ``made`` updates after the run began, if x[l+1] moves; False if the run was stopped
    meanwhile."""
    work = b.products[stage * b.depth + l]
    if work & PREDICT:
        if l == b.lo and b.below >= 0 and not until_swept(edges, edges.progress, 2 * b.below + 1, step):
            return False
        if l == b.hi - 1 and b.above >= 0 and not until_swept(edges, edges.progress, 2 * b.above, step):
            return False
        _move(b, s, l, work, step, stage, opening, rate_at(b.alpha, b.alphas, made), b.before + made + 1)
    if l == b.lo and (work & PREDICT or not work & UPDATE):
        publish(edges.progress, 2 * b.worker, step + 1)
    if l == b.hi - 1:
        publish(edges.progress, 2 * b.worker + 1, step + 1)
    if edges.talks and (edges.often or l == b.lo or l == b.hi - 1):
        poll_swept(edges)
    return True


@inner
def _half_sweep(b, s, edges, step, stage, opening, made):
    """One step; False if the run was stopped meanwhile."""
    for turn in range(b.hi - b.lo):
        l = b.lo if turn == 0 else (b.hi - 1 if turn == 1 else b.lo + turn - 1)
        if not _visit(b, s, edges, l, step, stage, opening, made):
            return False
    for l in range(b.lo, b.hi):
        work = b.products[stage * b.depth + l]
        if work & UPDATE and not work & PREDICT:
            if l == b.lo and b.below >= 0 and not until_swept(edges, edges.progress, 2 * b.below + 1, step + 1):
                return False
            _learn(b, s, l, rate_at(b.alpha, b.alphas, made), b.before + made + 1)
            if l == b.lo:
                publish(edges.progress, 2 * b.worker, step + 1)
    return True


@inner
def _wave(b, s, edges, steps, upwards, step, stage, opening, made):
    """``steps`` steps in one wave; False if the run was stopped meanwhile."""
    n = b.hi - b.lo
    for front in range(n + steps - 1):
        for k in range(max(0, front - n + 1), min(steps, front + 1)):
            l = b.lo + front - k if upwards else b.hi - 1 - front + k
            turn = made + _updates_until(b, stage, k)
            if not _visit(b, s, edges, l, step + k, (stage + k) % b.stages, opening and k == 0, turn):
                return False
    return True


@inner
def _updates_until(b, stage, k):
    """How many weight updates are complete k steps after the beginning of a stage."""
    rounds, rest = divmod(stage + k, b.stages)
    return rounds * b.completed[b.stages] + b.completed[rest] - b.completed[stage]


@inner
def _start(b, s, edges, data, batch, step):
    """A batch begins with a forward pass, layer by layer and worker by worker, when the layer above has used what it
    was shown of the one before; False if the run was stopped meanwhile."""
    if b.above >= 0 and not until_swept(edges, edges.progress, 2 * b.above, step):
        return False
    if b.below >= 0 and not until_swept(edges, edges.started, b.below, batch + 1):
        return False
    if b.lo == 0:
        load_rows(data.x, data.rows, batch, ZERO, s.batch, s.padded[0], s.x, s.value_at[0])
        activate_layer(s, ZERO)
    if b.hi == b.depth:
        load_rows(data.y, data.rows, batch, ZERO, s.batch, s.padded[b.depth], s.x, s.value_at[b.depth])
    for l in range(b.lo, min(b.hi, b.depth - 1)):
        start_prediction(s, l, ZERO, s.padded[l + 1], s.x, s.value_at[l + 1])
        activate_layer(s, l + 1)
    publish(edges.started, b.worker, batch + 1)
    return True


@njit(nogil=True, cache=True)
def dual(who, arrays, offsets, options, data, rates, updates, pull, signals, notes, ranks):
    """``updates`` weight updates by one worker, which has the layers ``lo … hi-1``."""
    s, calendar, depth = layers(arrays, offsets, options), pull.calendar, len(offsets.sizes) - 1
    b = _Block(
        who.worker, who.below, who.above, who.lo, who.hi, depth, pointer(arrays.errors),
        pointer(arrays.drives), offsets.value_count, pointer(calendar.products), pointer(calendar.completed),
        calendar.stages, calendar.fused, pull.beta, s.one / pull.beta, pull.share, pointer(rates.alpha),
        len(rates.alpha), rates.number, pointer(notes.energy), pointer(notes.diverged),
    )  # fmt: skip
    edges = swept_edges(who, ranks, calendar, depth, signals, pull.lo, pull.hi)
    if edges.talks:
        begin_swept(edges)
    if not meet(who.worker, who.workers, pointer(signals.ready), edges.stop):
        return 0
    notes.times[who.worker, 0] = nanoseconds()
    t, stage, step = calendar.first, calendar.first % calendar.stages, ZERO
    batch, made, waves = ZERO, ZERO, who.place
    while made < updates and load_acquire(edges.stop, 0) == 0:
        if t == 0:
            if not _start(b, s, edges, data, batch, step):
                return 0
            batch += 1
        together = min(calendar.wave, calendar.steps - step)
        if calendar.cycle > 0:
            together = min(together, calendar.cycle - t)
        if together == 1:
            went_on = _half_sweep(b, s, edges, step, stage, t == 0, made)
        else:
            went_on = _wave(b, s, edges, together, waves & 1 == 0, step, stage, t == 0, made)
            waves += 1
        if not went_on:
            return 0
        made += _updates_until(b, stage, together)
        stage = (stage + together) % calendar.stages
        step += together
        t += together
        if t == calendar.cycle:
            t = 0
    notes.times[who.worker, 1] = nanoseconds()
    if edges.talks:
        settle_swept(edges)
    return 0
