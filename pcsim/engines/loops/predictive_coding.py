"""The compiled loop of one worker in predictive coding, for all three calendars.

A worker owns a contiguous block of weight matrices ``W[lo] … W[hi-1]`` and the values below them, ``x[lo] … x[hi-1]``;
of the values above, ``x[hi]``, it keeps a copy (``top``). In one step it needs two things from its neighbours: the
error ``e[lo]`` from below and the drive ``h[hi]`` from above. With those both owners compute the same new boundary
values, so one exchange a step is enough. Errors and drives have two places, for odd and even steps; a step, also one in
which no values move, ends when the neighbours have made its products, for then they have used those of the step before,
whose place is written next. Every layer's sums are formed by one worker in one order: the bits do not
depend on the number of workers, nor on the order in which a worker takes its layers, of which there are two.

*Edges first*: the two layers at the edges of the block, then the interior, in which time the neighbours' results
arrive. *In waves*, where the weights do not fit into the cache: layers in time form a stencil (layer l at step t + 1
needs l - 1, l and l + 1 at step t), so several steps can follow one another up (or down) the block at a distance of
one layer each, and weights are fetched from memory once for all of them. Neighbours go in opposite directions and
meet at their common edge; the next wave comes back and finds the last layers still in the cache.
"""

from collections import namedtuple

import numpy as np

from ...kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ...kernels.layers.losses import softmax_errors
from ...kernels.layers.step import activate_layer, start_prediction
from ...kernels.layers.values import move_values, push_values
from ...kernels.layers.vectors import copy_part, fill, squares, subtract_from
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ONE, ZERO, folded, inner, njit
from ...kernels.machine.simd import pointer
from ...kernels.machine.sync import load_acquire, meet, publish, wait
from ...schedule.timeline import START, VALUE
from .edges import edges_of, poll_once, poll_until, settle_edges
from .starts import begin_batch, load_inputs, open_starts, start_layer, starts_of
from .steps import layers, load_rows, note, note_divergence, output_energy, rate_at, step_layer

# One worker's view of a run: the groups of ``arguments`` with pointers in place of arrays. progress: two flags of
# ``sync`` per worker, the steps in which its lowest layer's drive and its highest layer's error are done; started: one,
# its forward starts; stop: raised to end the run. talks: whether this worker exchanges messages with other ranks, by
# way of the ``edges``. alphas, gammas, precisions: how many there are; before: weight updates made before this run;
# first, cycle: the step of the cycle with which it begins, and its steps; starts: pipelined ones, see ``starts``.
Block = namedtuple(
    "Block",
    "worker workers below above lo hi depth e h top velocity value_count products moves completed stages "
    "gamma gammas alpha alphas precision precisions momentum before first cycle "
    "progress started stop energy energy_step trace room diverged entropy talks edges starts",
)


@folded
def _due(b, l, stage, forward):
    """Which products of ``W[l]`` a step takes: those of its stage, but after a forward start no predictions."""
    work = b.products[stage * b.depth + l]
    return work & ~PREDICT if forward else work


@folded
def _later(b, stage, k):
    """The stage k steps after a stage."""
    return (stage + k) % b.stages if b.stages > 1 else 0


@folded
def _updates_until(b, stage, k):
    """How many weight updates are complete k steps after the beginning of a stage."""
    if b.stages == 1:
        return k
    rounds, rest = divmod(stage + k, b.stages)
    return rounds * b.completed[b.stages] + b.completed[rest] - b.completed[stage]


@folded
def _of_step(b, rates, count, step):
    """The rate at a step of this run, out of ``count`` for the steps of a batch."""
    if count == 1:
        return rate_at(rates, count, ZERO)
    t = b.first + step
    if b.cycle > 0:
        t %= b.cycle
    return rate_at(rates, count, t)


@folded
def _work(b, s, l, work, step, number, count):
    """Products of ``W[l]`` in a step."""
    if work != 0:
        target = s.x if l + 1 < b.hi or b.hi == b.depth else b.top
        weight = _of_step(b, b.precision, b.precisions, step) if l + 1 == b.depth else s.one
        alpha = rate_at(b.alpha, b.alphas, number - 1 - b.before)
        slot = (step & 1) * b.value_count
        apart = s.softmax and l + 1 == b.depth and work & PREDICT  # needs the whole prediction before the rest
        for turn in range(2 if apart else 1):
            part = work
            if apart:
                part = PREDICT if turn == 0 else work & ~PREDICT
            count = step_layer(s, l, part, target, b.e, b.h, slot, weight, alpha, number, step, b.trace, b.room, count)
            if apart and turn == 0:
                b.entropy[b.worker] = softmax_errors(s, b.depth, s.x, b.e, slot)
    return count


@folded
def _await(b, flags, flag, value, step):
    """Wait for a flag in a step; False if flag 0 of ``stop`` was raised meanwhile."""
    if b.talks:
        return poll_until(b.edges, b.progress, b.started, b.workers, flags, flag, value, step, b.stop)
    return wait(flags, flag, value, b.stop)


@folded
def _note_energy(b, s, l, step, number):
    """Layer l's part of F, at the step that is asked for; and whether the output's error is finite."""
    slot = (step & 1) * b.value_count
    if l + 1 == b.depth:
        note_divergence(b.diverged, b.worker, s, b.depth, ZERO, s.padded[b.depth], b.e, slot, number - 1)
    if step == b.energy_step:
        if l + 1 == b.depth:
            weight = _of_step(b, b.precision, b.precisions, step)
            entropy = b.entropy[b.worker] if s.softmax else 0.0
            b.energy[l] = weight * output_energy(s, b.depth, ZERO, s.padded[b.depth], b.e, slot, entropy)
        else:
            b.energy[l] = 0.5 * squares(s, l + 1, ZERO, s.padded[l + 1], b.e, slot)


@folded
def _products(b, s, l, step, stage, forward, number, count):
    """All products of ``W[l]`` in a step, handed over where a neighbour waits for them; what it predicts for a batch to
    come is first, while the weights are as the step found them."""
    if b.starts.on:
        count = start_layer(b.starts, s, l, step, b.trace, b.room, count)
    count = _work(b, s, l, _due(b, l, stage, forward), step, number, count)
    if l == b.lo:
        publish(b.progress, 2 * b.worker, step + 1)
    if l == b.hi - 1:
        publish(b.progress, 2 * b.worker + 1, step + 1)
    if b.talks and (b.edges.often or l == b.lo or l == b.hi - 1):
        poll_once(b.edges, b.progress, b.started, b.workers, step)
    _note_energy(b, s, l, step, number)
    return count


@folded
def _move(b, s, l, step, count):
    """New values of a layer inside the block, from both sides of which errors and drives are there."""
    begin = nanoseconds() if b.room > 0 else 0
    gamma, slot = _of_step(b, b.gamma, b.gammas, step), (step & 1) * b.value_count
    if b.momentum > 0:
        push_values(s, l, s.x, b.e, b.h, slot, gamma, b.momentum, b.velocity, ZERO, True)
    else:
        move_values(s, l, s.x, b.e, b.h, slot, gamma, True)
    return note(b.trace, b.room, count, VALUE, l, step, begin)


@folded
def _end_bottom(b, s, step, moving, count):
    """The end of a step at the lower edge: when the error has come from below, new values, if they move."""
    if b.below < 0 or not _await(b, b.progress, 2 * b.below + 1, step + 1, step) or not moving:
        return count
    return _move(b, s, b.lo, step, count)


@folded
def _end_top(b, s, step, moving, count):
    """The end of a step at the upper edge: when the drive has come from above, new values in the copy, if they move."""
    if b.above < 0 or not _await(b, b.progress, 2 * b.above, step + 1, step) or not moving:
        return count
    begin = nanoseconds() if b.room > 0 else 0
    gamma, slot = _of_step(b, b.gamma, b.gammas, step), (step & 1) * b.value_count
    if b.momentum > 0:
        push_values(s, b.hi, b.top, b.e, b.h, slot, gamma, b.momentum, b.velocity, b.value_count, False)
    else:
        move_values(s, b.hi, b.top, b.e, b.h, slot, gamma, False)
    return note(b.trace, b.room, count, VALUE, b.hi, step, begin)


@folded
def _edges_first(b, s, step, stage, forward, number, count):
    """One step."""
    for turn in range(b.hi - b.lo):
        l = b.lo if turn == 0 else (b.hi - 1 if turn == 1 else b.lo + turn - 1)
        count = _products(b, s, l, step, stage, forward, number, count)
    return _end(b, s, step, stage, count)


@folded
def _end(b, s, step, stage, count):
    """The end of a step: new values of the whole block, if they move."""
    moving = b.moves[stage] != 0
    if moving:
        for l in range(b.lo + 1, b.hi):
            count = _move(b, s, l, step, count)
    count = _end_bottom(b, s, step, moving, count)
    return _end_top(b, s, step, moving, count)


@inner
def _unfused(b, s, step, stage, forward, number, count):
    """One step as it is written in textbooks: all predictions, then all back-projections, then all weight updates. Each
    reads the weights anew; that is what fusion and waves are measured against."""
    for part in (PREDICT, BACKPROJECT, UPDATE):
        for l in range(b.lo, b.hi):
            if part == PREDICT and b.starts.on:
                count = start_layer(b.starts, s, l, step, b.trace, b.room, count)
            count = _work(b, s, l, _due(b, l, stage, forward) & part, step, number, count)
        if part == PREDICT:
            publish(b.progress, 2 * b.worker + 1, step + 1)
        elif part == BACKPROJECT:
            publish(b.progress, 2 * b.worker, step + 1)
        if b.talks:
            poll_once(b.edges, b.progress, b.started, b.workers, step)
    for l in range(b.lo, b.hi):
        _note_energy(b, s, l, step, number)
    return _end(b, s, step, stage, count)


@inner
def _wave(b, s, steps, upwards, step, stage, forward, number, count):
    """``steps`` steps in one wave. A step ends at the edges when the next begins there: that is when one must wait."""
    n = b.hi - b.lo
    bottom, top = np.int64(-1), np.int64(-1)  # of the wave, the step that is still to end at each edge
    for front in range(n + steps - 1):
        for k in range(max(0, front - n + 1), min(steps, front + 1)):
            j = front - k
            l = b.lo + j if upwards else b.hi - 1 - j
            now = _later(b, stage, k)
            moving = b.moves[now] != 0
            if l == b.lo and bottom >= 0:
                count = _end_bottom(b, s, step + bottom, b.moves[_later(b, stage, bottom)] != 0, count)
            if l == b.hi - 1 and top >= 0:
                count = _end_top(b, s, step + top, b.moves[_later(b, stage, top)] != 0, count)
            turn = number + _updates_until(b, stage, k)
            count = _products(b, s, l, step + k, now, forward and k == 0, turn, count)
            if moving:
                inner = l if upwards else l + 1  # the layer that this pass completes both sides of
                if b.lo < inner < b.hi:
                    count = _move(b, s, inner, step + k, count)
            if l == b.lo:
                bottom = np.int64(k)
            if l == b.hi - 1:
                top = np.int64(k)
    last = b.moves[_later(b, stage, steps - 1)] != 0
    count = _end_bottom(b, s, step + steps - 1, last, count)
    return _end_top(b, s, step + steps - 1, last, count)


@inner
def _forward_start(b, s, data, batch, step, forward, count):
    """Load a batch and, if ``forward``, let the values be their predictions: layer by layer, worker by worker."""
    if b.lo == 0:
        load_rows(data.x, data.rows, batch, ZERO, s.batch, s.padded[0], s.x, s.value_at[0])
    if b.hi == b.depth:
        load_rows(data.y, data.rows, batch, ZERO, s.batch, s.padded[b.depth], s.x, s.value_at[b.depth])
    if b.below >= 0 and forward:
        if not _await(b, b.started, b.below, batch + 1, step):
            return count
        copy_part(b.top, s.value_at[b.lo], s.batch * s.padded[b.lo], s.x, s.value_at[b.lo])
    if b.momentum > 0:
        for l in range(max(b.lo, 1), b.hi):
            fill(b.velocity, s.value_at[l], s.batch * s.padded[l], s.zero)
        fill(b.velocity, b.value_count + s.value_at[b.hi], s.batch * s.padded[b.hi], s.zero)
    slot = (step & 1) * b.value_count
    if b.below == b.workers and forward:  # the layer below is on another rank, which sends no zeros
        fill(b.e, slot + s.value_at[b.lo], s.batch * s.padded[b.lo], s.zero)
    for l in range(b.lo, b.hi):
        begin = nanoseconds() if b.room > 0 else 0
        activate_layer(s, l)
        if forward:
            at = s.value_at[l + 1]
            units = s.padded[l + 1]
            if l + 1 == b.depth:
                start_prediction(s, l, ZERO, units, b.e, slot + at)
                subtract_from(s, l + 1, s.batch, ZERO, units, s.x, at, b.e, slot + at)
                if s.softmax:
                    b.entropy[b.worker] = softmax_errors(s, b.depth, s.x, b.e, slot)
            else:
                start_prediction(s, l, ZERO, units, s.x if l + 1 < b.hi else b.top, at)
                fill(b.e, slot + at, s.batch * units, s.zero)
            count = note(b.trace, b.room, count, START, l, step, begin)
    publish(b.started, b.worker, batch + 1)
    return count


@inner
def _first_starts(b, s, data, given, count):
    """Before the very first step of pipelined starts: what lies before it, batch by batch and worker by worker."""
    for k in range(ONE if given else ZERO, -(-b.starts.lead // b.starts.cycle)):
        comes = b.lo + k * b.starts.cycle <= b.starts.lead  # whether any of it reaches this worker's layers
        if b.below >= 0 and comes and not _await(b, b.started, b.below, k + 1, ZERO):
            return count
        count = open_starts(b.starts, b, s, data, k, count)
        publish(b.started, b.worker, k + 1)
    return count


@njit(nogil=True, cache=True)
def predictive_coding(who, arrays, offsets, options, data, rates, calendar, signals, notes, ranks, starts):
    """The steps of ``calendar`` by one worker (groups of arguments: see ``arguments``); the number of events noted.
    energy[l] receives layer l's part of F at the first step that updates weights."""
    s = layers(arrays, offsets, options)
    worker, workers, below, above = who.worker, who.workers, who.below, who.above
    progress, started, stop = pointer(signals.progress), pointer(signals.started), pointer(signals.stop)
    talks = worker == 0 and (ranks.below or ranks.above)
    b = Block(
        worker, workers, below, above, who.lo, who.hi, len(offsets.sizes) - 1, pointer(arrays.errors),
        pointer(arrays.drives), pointer(arrays.top), pointer(arrays.velocity), offsets.value_count,
        pointer(calendar.products), pointer(calendar.moves), pointer(calendar.completed), calendar.stages,
        pointer(rates.gamma), len(rates.gamma), pointer(rates.alpha), len(rates.alpha), pointer(rates.precision),
        len(rates.precision), rates.value_momentum, rates.number, calendar.first, calendar.cycle, progress, started,
        stop, pointer(notes.energy), calendar.energy_step, pointer(notes.trace), len(notes.trace),
        pointer(notes.diverged), pointer(notes.entropy), talks, edges_of(ranks, calendar),
        starts_of(s, starts, calendar),
    )  # fmt: skip
    if not meet(worker, workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0] = nanoseconds()
    t, stage, number = calendar.first, calendar.first % calendar.stages, rates.number
    batch, count, step, waves = ZERO, ZERO, ZERO, ZERO
    if b.starts.opening:
        count = _first_starts(b, s, data, calendar.given, count)
    while step < calendar.steps and load_acquire(stop, 0) == 0:
        forward = False
        if t == 0 and b.starts.on:
            begin_batch(b.starts, b, s, data, (b.first + step) // b.cycle, calendar.given and step == 0)
        elif t == 0:
            forward = not calendar.given or step > 0
            count = _forward_start(b, s, data, batch, step, forward, count)
            batch += 1
        together = min(calendar.wave, calendar.steps - step)
        if calendar.cycle > 0:
            together = min(together, calendar.cycle - t)
        if not calendar.fused:
            together = 1
        if b.starts.on and b.lo == 0:
            load_inputs(b.starts, s, data, step, together)
        if not calendar.fused:
            count = _unfused(b, s, step, stage, forward, number + 1, count)
        elif together == 1:
            count = _edges_first(b, s, step, stage, forward, number + 1, count)
        else:
            count = _wave(b, s, together, (who.place + waves) & 1 == 0, step, stage, forward, number + 1, count)
            waves += 1
        number += _updates_until(b, stage, together)
        stage = _later(b, stage, together)
        step += together
        t += together
        if t == calendar.cycle:
            t = 0
    notes.times[worker, 1] = nanoseconds()
    if talks:
        settle_edges(b.edges, progress, started, workers, stop)
    return count
