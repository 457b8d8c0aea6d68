"""The compiled loop of one worker in predictive coding, for all three calendars.

A worker owns a contiguous block of weight matrices ``W[lo] … W[hi-1]`` and the values below them, ``x[lo] … x[hi-1]``;
of the values above, ``x[hi]``, it keeps a copy (``top``). In one step it needs two things from its neighbours: the
error ``e[lo]`` from below and the drive ``h[hi]`` from above. With those both owners compute the same new boundary
values, so one exchange a step is enough. Every layer's sums are formed by one worker in one order: the bits do not
depend on the number of workers, nor on the order in which a worker takes its layers, of which there are two.

*Edges first*: the two layers at the edges of the block, then the interior, in which time the neighbours' results
arrive. *In waves*, where the weights do not fit into the cache: layers in time form a stencil (layer l at step t + 1
needs l - 1, l and l + 1 at step t), so several steps can follow one another up (or down) the block at a distance of
one layer each, and weights are fetched from memory once for all of them. Neighbours go in opposite directions and
meet at their common edge; the next wave comes back and finds the last layers still in the cache.
"""

from collections import namedtuple

from numba import njit

from ...kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ...kernels.layers.step import activate_layer, start_prediction
from ...kernels.layers.values import move_values
from ...kernels.layers.vectors import copy_part, fill, squares, subtract_from
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.messages import Library
from ...kernels.machine.simd import pointer
from ...kernels.machine.sync import load_acquire, meet, publish, wait
from ...schedule.timeline import START, VALUE
from .edges import Edges, poll_once, poll_until, settle_edges
from .steps import layers, load_rows, note, step_layer

EVERY_STEP = -1  # in update_at: the layer's weights change at every step

# One worker's view of a run. below, above: numbers of its neighbours, -1 where it has none (``workers`` and one more
# are neighbours on other ranks). progress: two flags of ``sync`` per worker, the steps in which its lowest layer's
# drive and its highest layer's error are done; started: one, its forward starts; stop: raised by whoever wants the run
# to end. talks: whether this worker is the one that keeps up the ``edges`` to other ranks.
Block = namedtuple(
    "Block",
    "worker workers below above lo hi depth e h top value_count update_at gamma alpha precision "
    "progress started stop energy energy_step trace room talks edges",
)


@njit(nogil=True, cache=True)
def _due(b, l, t, forward, moving):
    """Which products of ``W[l]`` a step takes."""
    work = 0 if forward else PREDICT
    if moving and l > 0:
        work |= BACKPROJECT
    if b.update_at[l] == EVERY_STEP or b.update_at[l] == t:
        work |= UPDATE
    return work


@njit(nogil=True, cache=True)
def _work(b, s, l, work, step, number, count):
    """Products of ``W[l]`` in a step."""
    if work != 0:
        target = s.x if l + 1 < b.hi or b.hi == b.depth else b.top
        weight = b.precision if l + 1 == b.depth else s.one
        slot = (step & 1) * b.value_count
        count = step_layer(s, l, work, target, b.e, b.h, slot, weight, b.alpha, number, step, b.trace, b.room, count)
    return count


@njit(nogil=True, cache=True)
def _await(b, flags, flag, value, step):
    """Wait for a flag in a step; False if flag 0 of ``stop`` was raised meanwhile."""
    if b.talks:
        return poll_until(b.edges, b.progress, b.started, b.workers, flags, flag, value, step, b.stop)
    return wait(flags, flag, value, b.stop)


@njit(nogil=True, cache=True)
def _note_energy(b, s, l, step):
    """Layer l's part of F, at the step that is asked for."""
    if step == b.energy_step:
        slot = (step & 1) * b.value_count
        weight = b.precision if l + 1 == b.depth else s.one
        b.energy[l] = 0.5 * weight * squares(s, l + 1, 0, s.padded[l + 1], b.e, slot)


@njit(nogil=True, cache=True)
def _products(b, s, l, step, t, forward, moving, number, count):
    """All products of ``W[l]`` in a step, handed over where a neighbour waits for them."""
    count = _work(b, s, l, _due(b, l, t, forward, moving), step, number, count)
    if l == b.lo:
        publish(b.progress, 2 * b.worker, step + 1)
    if l == b.hi - 1:
        publish(b.progress, 2 * b.worker + 1, step + 1)
    if b.talks and (b.edges.often or l == b.lo or l == b.hi - 1):
        poll_once(b.edges, b.progress, b.started, b.workers, step)
    _note_energy(b, s, l, step)
    return count


@njit(nogil=True, cache=True)
def _move(b, s, l, step, count):
    """New values of a layer inside the block, from both sides of which errors and drives are there."""
    begin = nanoseconds() if b.room > 0 else 0
    move_values(s, l, s.x, b.e, b.h, (step & 1) * b.value_count, b.gamma, True)
    return note(b.trace, b.room, count, VALUE, l, step, begin)


@njit(nogil=True, cache=True)
def _move_bottom(b, s, step, count):
    """New values at the lower edge, when the error has come from below."""
    if b.below < 0 or not _await(b, b.progress, 2 * b.below + 1, step + 1, step):
        return count
    return _move(b, s, b.lo, step, count)


@njit(nogil=True, cache=True)
def _move_top(b, s, step, count):
    """New values in the copy at the upper edge, when the drive has come from above."""
    if b.above < 0 or not _await(b, b.progress, 2 * b.above, step + 1, step):
        return count
    begin = nanoseconds() if b.room > 0 else 0
    move_values(s, b.hi, b.top, b.e, b.h, (step & 1) * b.value_count, b.gamma, False)
    return note(b.trace, b.room, count, VALUE, b.hi, step, begin)


@njit(nogil=True, cache=True)
def _edges_first(b, s, step, t, forward, moving, number, count):
    """One step."""
    for turn in range(b.hi - b.lo):
        l = b.lo if turn == 0 else (b.hi - 1 if turn == 1 else b.lo + turn - 1)
        count = _products(b, s, l, step, t, forward, moving, number, count)
    return _move_all(b, s, step, count) if moving else count


@njit(nogil=True, cache=True)
def _move_all(b, s, step, count):
    """New values of the whole block."""
    for l in range(b.lo + 1, b.hi):
        count = _move(b, s, l, step, count)
    count = _move_bottom(b, s, step, count)
    return _move_top(b, s, step, count)


@njit(nogil=True, cache=True)
def _unfused(b, s, step, t, forward, moving, number, count):
    """One step as it is written in textbooks: all predictions, then all back-projections, then all weight updates. Each
    reads the weights anew; that is what fusion and waves are measured against."""
    for part in (PREDICT, BACKPROJECT, UPDATE):
        for l in range(b.lo, b.hi):
            count = _work(b, s, l, _due(b, l, t, forward, moving) & part, step, number, count)
        if part == PREDICT:
            publish(b.progress, 2 * b.worker + 1, step + 1)
        elif part == BACKPROJECT:
            publish(b.progress, 2 * b.worker, step + 1)
        if b.talks:
            poll_once(b.edges, b.progress, b.started, b.workers, step)
    for l in range(b.lo, b.hi):
        _note_energy(b, s, l, step)
    return _move_all(b, s, step, count) if moving else count


@njit(nogil=True, cache=True)
def _wave(b, s, steps, upwards, step, t, forward, value_steps, number, count):
    """``steps`` steps in one wave. The edges' values are left until they are needed: that is when one must wait."""
    n = b.hi - b.lo
    every = b.update_at[b.lo] == EVERY_STEP
    bottom, top = -1, -1  # the step whose values are still to be moved at each edge
    for front in range(n + steps - 1):
        for k in range(max(0, front - n + 1), min(steps, front + 1)):
            j = front - k
            l = b.lo + j if upwards else b.hi - 1 - j
            moving = value_steps < 0 or t + k < value_steps
            if l == b.lo and bottom >= 0:
                count = _move_bottom(b, s, bottom, count)
                bottom = -1
            if l == b.hi - 1 and top >= 0:
                count = _move_top(b, s, top, count)
                top = -1
            turn = number + k if every else number
            count = _products(b, s, l, step + k, t + k, forward and k == 0, moving, turn, count)
            if moving:
                inner = l if upwards else l + 1  # the layer that this pass completes both sides of
                if b.lo < inner < b.hi:
                    count = _move(b, s, inner, step + k, count)
                if l == b.lo:
                    bottom = step + k
                if l == b.hi - 1:
                    top = step + k
    if bottom >= 0:
        count = _move_bottom(b, s, bottom, count)
    if top >= 0:
        count = _move_top(b, s, top, count)
    return count


@njit(nogil=True, cache=True)
def _forward_start(b, s, rows, data_x, data_y, cycle, step, forward, count):
    """Load a batch and, if ``forward``, let the values be their predictions: layer by layer, worker by worker."""
    if b.lo == 0:
        load_rows(data_x, rows, cycle, 0, s.batch, s.padded[0], s.x, s.value_at[0])
    if b.hi == b.depth:
        load_rows(data_y, rows, cycle, 0, s.batch, s.padded[b.depth], s.x, s.value_at[b.depth])
    if b.below >= 0 and forward:
        if not _await(b, b.started, b.below, cycle + 1, step):
            return count
        copy_part(b.top, s.value_at[b.lo], s.batch * s.padded[b.lo], s.x)
    slot = (step & 1) * b.value_count
    if b.below == b.workers and forward:  # whoever has the layer below is on another rank, and sends no zeros
        fill(b.e, slot + s.value_at[b.lo], s.batch * s.padded[b.lo], s.zero)
    for l in range(b.lo, b.hi):
        begin = nanoseconds() if b.room > 0 else 0
        activate_layer(s, l)
        if forward:
            at = s.value_at[l + 1]
            units = s.padded[l + 1]
            if l + 1 == b.depth:
                start_prediction(s, l, 0, units, b.e, slot + at)
                subtract_from(s, l + 1, s.batch, 0, units, s.x, at, b.e, slot + at)
            else:
                start_prediction(s, l, 0, units, s.x if l + 1 < b.hi else b.top, at)
                fill(b.e, slot + at, s.batch * units, s.zero)
            count = note(b.trace, b.room, count, START, l, step, begin)
    publish(b.started, b.worker, cycle + 1)
    return count


@njit(nogil=True, cache=True)
def predictive_coding(
    worker, workers, below, above, place, lo, hi, arrays, layout, options, data_x, data_y, rows, e, h, top, value_count,
    update_at, cycle_steps, value_steps, first_t, given, steps, wave, fused, number, gamma, alpha, precision,
    progress, started, ready, stop, energy, trace, times, edges,
):  # fmt: skip
    """``steps`` steps of the block ``lo … hi-1``, ``wave`` of them at a time; returns the number of events noted.

    ready: flags, presence at the start. energy[l] receives layer l's part of F at the first step that updates weights.
    place: this worker's place among those of all ranks, from the lowest layers on. edges: numbers and arrays of
    ``Edges`` (``no_edges`` without ranks).
    """
    s = layers(arrays, layout, options)
    progress, started, ready, stop = pointer(progress), pointer(started), pointer(ready), pointer(stop)
    energy_step = max(0, update_at.min()) - first_t if update_at.min() >= 0 else 0
    to_below, to_above, often, clocked, cycles, first_start, library, scratch, requests, state, spent = edges
    talks = worker == 0 and (to_below or to_above)
    b = Block(
        worker, workers, below, above, lo, hi, len(update_at), pointer(e), pointer(h), pointer(top), value_count,
        pointer(update_at), gamma, alpha, precision, progress, started, stop, pointer(energy), energy_step,
        pointer(trace), len(trace), talks,
        Edges(
            to_below, to_above, often, clocked, Library(*library, pointer(scratch)), pointer(requests), pointer(state),
            pointer(spent), first_t, cycle_steps, value_steps, steps, cycles, first_start,
        ),
    )  # fmt: skip
    if not meet(worker, workers, ready, stop):
        return 0
    times[worker, 0] = nanoseconds()
    t, cycle, count, step, waves = first_t, 0, 0, 0, 0
    while step < steps and load_acquire(stop, 0) == 0:
        forward = False
        if t == 0:
            # A neighbour may still be reading this half of e and h, where the last step did not wait for it.
            if below >= 0 and not _await(b, progress, 2 * below + 1, step, step):
                break
            if above >= 0 and not _await(b, progress, 2 * above, step, step):
                break
            forward = not given or step > 0
            count = _forward_start(b, s, rows, data_x, data_y, cycle, step, forward, count)
            cycle += 1
        together = min(wave, steps - step)
        if cycle_steps > 0:
            together = min(together, cycle_steps - t)
        moving = value_steps < 0 or t < value_steps
        if not fused:
            together = 1
            count = _unfused(b, s, step, t, forward, moving, number + 1, count)
        elif together == 1:
            count = _edges_first(b, s, step, t, forward, moving, number + 1, count)
        else:
            count = _wave(b, s, together, (place + waves) & 1 == 0, step, t, forward, value_steps, number + 1, count)
            waves += 1
        step += together
        t += together
        if t == cycle_steps:
            t = 0
        if update_at[lo] == EVERY_STEP:
            number += together
        elif t == 0:
            number += 1
    times[worker, 1] = nanoseconds()
    if talks:
        settle_edges(b.edges, progress, started, workers, stop)
    return count
