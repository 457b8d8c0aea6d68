"""The compiled loop of one worker of a team in predictive coding, for all three calendars (``intra-layer``, one team;
``hybrid``, several).

A team has a contiguous block of layers ``W[lo] … W[hi-1]``, and each of its members some rows of every one of them,
with the units of the layer above that these rows predict. Within a step the layers do not wait for one another, so that
the members meet twice in a *step*, where backprop meets after every product of every layer:

- *made*: a member has made its products of ``W[l]``: errors of its rows, its share of the drive below, new weights.
  When all have, each sums the shares up for its own units, in the order of the members, and moves these units' values;
- *moved*: it has moved its units of ``x[l]``. When all have, the products of the next step may read them.

Both are told layer by layer, so that a member waits only for what comes next; in a team that has the input, ``W[0]``
comes last and its update later still, as no drive of it is waited for. The values between two teams are moved by both,
each in its copy (``top``), from the errors of the lower and the drives of the upper one, as between layers on workers.

The sums over shares depend on the number of members: results differ in rounding from those of another number.
"""

from collections import namedtuple

from ...kernels.layers.dense import BACKPROJECT, PREDICT, SHARE, UPDATE
from ...kernels.layers.shares import copy_units, fill_units, move_copies, move_units
from ...kernels.layers.step import activate_rows, layer_step, start_prediction
from ...kernels.layers.vectors import squares, subtract_from
from ...kernels.layers.view import part_of_batch
from ...kernels.layers.weights import PLAIN
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, inner, njit
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import load_acquire, meet, publish, reached, wait
from .steps import layers, load_rows, note_divergence, rate_at, step_of_cycle

# One member of a team, as ``arguments`` have it with pointers in place of arrays: first, end: the workers of its team,
# below … first - 1 and end … above - 1 those of the teams below and above; firsts, rows: for each layer its units, and
# those of all workers, ``stride`` apart; begin, samples, part: of the batch, for loading.
Member = namedtuple(
    "Member",
    "worker lo hi depth first end below above firsts rows all_rows stride begin samples part e h top velocity shares "
    "share size momentum progress started stop",
)

# Flags of a worker among those of progress: what it has made, and what it has moved.
MADE, MOVED = 0, 1

FOREVER = 1 << 60


@inner
def all_told(flags, kind, begin, end, value, known, stop):
    """The least that the workers ``begin … end - 1`` have told of a kind, when all have come to ``value``; -1 if flag 0
    of ``stop`` was raised meanwhile. ``known``: what was found the last time, which is often enough."""
    if known >= value:
        return known
    least = FOREVER
    for other in range(begin, end):
        if not wait(flags, 2 * other + kind, value, stop):
            return -1
        least = min(least, reached(flags, 2 * other + kind))
    return least


@inner
def _all_started(flags, begin, end, value, stop):
    """Wait until the workers ``begin … end - 1`` have come to this point of a forward start; False for a stop."""
    for other in range(begin, end):  # noqa: SIM110 - compiled code has no generators
        if not wait(flags, other, value, stop):
            return False
    return True


@inner
def load_samples(b, s, l, data, rows, batch):
    """A member's samples of the input or the target."""
    load_rows(data, rows, batch, b.begin, b.samples, s.padded[l], s.x, s.value_at[l])
    if l == 0:
        activate_rows(b.part, ZERO, ZERO, s.padded[0])


@inner
def _met(b, point):
    """A point of a start is reached, here and by the whole team; False for a stop."""
    publish(b.started, b.worker, point)
    return _all_started(b.started, b.first, b.end, point, b.stop)


@inner
def _start(b, s, data, batch, slot, forward):
    """Load a batch, each member some samples, and if ``forward`` let the values be their predictions, layer by layer;
    False for a stop. Points of a start, after ``L + 3`` for each earlier one: 1, nothing of the batch before is needed
    any more; 2, the samples are there; 2 + l, so are this member's units of ``x[l]``."""
    origin = batch * (b.depth + 3)
    if not _met(b, origin + 1):
        return False
    if b.lo == 0:
        load_samples(b, s, ZERO, data.x, data.rows, batch)
    if b.hi == b.depth:
        load_samples(b, s, b.depth, data.y, data.rows, batch)
    if not _met(b, origin + 2):
        return False
    if b.momentum > 0:
        for l in range(max(b.lo, 1), b.hi):
            fill_units(s, l, b.firsts[l], b.rows[l], b.velocity, ZERO, s.zero)
        fill_units(s, b.hi, b.firsts[b.hi], b.rows[b.hi], b.velocity, b.size, s.zero)
    for l in range(b.lo, b.hi):
        if l > 0:
            if l == b.lo and forward:
                if not _all_started(b.started, b.below, b.first, origin + 2 + l, b.stop):
                    return False
                copy_units(s, l, b.firsts[l], b.rows[l], b.top, s.x)
            activate_rows(s, l, b.firsts[l], b.rows[l])
            if not _met(b, origin + 2 + l):
                return False
        if forward:
            first, rows, at = b.firsts[l + 1], b.rows[l + 1], s.value_at[l + 1]
            if l + 1 == b.depth:
                start_prediction(s, l, first, rows, b.e, slot + at)
                subtract_from(s, b.depth, s.batch, first, rows, s.x, at, b.e, slot + at)
            else:
                start_prediction(s, l, first, rows, s.x if l + 1 < b.hi else b.top, at)
                fill_units(s, l + 1, first, rows, b.e, slot, s.zero)
    publish(b.started, b.worker, origin + 2 + b.hi)
    return True


@inner
def multiply(b, s, l, work, slot, precision, alpha, number):
    """Products of a member's rows of ``W[l]``."""
    rows, target = b.rows[l + 1], s.x if l + 1 < b.hi or b.hi == b.depth else b.top
    if rows > 0 and work & (PREDICT | BACKPROJECT | UPDATE):
        share = offset(b.share, -slot)  # there is one place for the shares of all steps
        layer_step(work | SHARE, s, l, b.firsts[l + 1], rows, target, b.e, share, slot, precision, alpha, number)


@inner
def move_own(b, s, l, slot, precision, gamma):
    """New values of a member's units of ``x[l]``."""
    move_units(
        s, l, b.firsts[l], b.rows[l], b.shares, b.size, b.first, b.end, offset(b.all_rows, l + 1), b.stride, b.worker,
        b.e, b.h, slot, precision, gamma, b.momentum, b.velocity, l == b.lo,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def teams(who, arrays, offsets, options, data, rates, calendar, shares, team, signals, notes):
    """The steps of ``calendar`` by one worker of a ``team`` (groups of arguments: see ``arguments``). energy[worker]
    receives its part of F at the first step that updates weights."""
    s = layers(arrays, offsets, options)
    worker, lo, hi, depth, size = who.worker, who.lo, who.hi, len(offsets.sizes) - 1, offsets.value_count
    h, all_rows, mine = pointer(arrays.drives), pointer(shares.rows), worker * (depth + 1)
    progress, stop = pointer(signals.progress), pointer(signals.stop)
    all_shares = offset(h, 2 * size)  # behind the drives of two steps
    b = Member(
        worker, lo, hi, depth, team.first, team.end, team.below, team.above,
        offset(pointer(shares.first_row), mine), offset(all_rows, mine), all_rows, depth + 1, team.begin, team.samples,
        part_of_batch(s, team.samples, pointer(team.at)), pointer(arrays.errors), h, pointer(arrays.top),
        pointer(arrays.velocity), all_shares, offset(all_shares, worker * size), size, rates.value_momentum, progress,
        pointer(signals.started), stop,
    )  # fmt: skip
    order, position, products = pointer(team.order), pointer(team.position), pointer(calendar.products)
    moves, completed = pointer(calendar.moves), pointer(calendar.completed)
    alphas, gammas, precisions = pointer(rates.alpha), pointer(rates.gamma), pointer(rates.precision)
    if not meet(worker, who.workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0], diverged = nanoseconds(), pointer(notes.diverged)
    number, batch, span = rates.number, ZERO, depth + 2
    made, moved, made_below, moved_above = ZERO, ZERO, ZERO, ZERO
    alone = s.batch > 1 or s.rule != PLAIN  # whether the update of W[0] is a product of its own
    for step in range(calendar.steps):
        if load_acquire(stop, 0) != 0:
            break
        t = step_of_cycle(calendar, step)
        stage = t % calendar.stages
        slot, now, forward, moving = (step & 1) * size, step * span, False, moves[stage] != 0
        if t == 0:
            forward = not calendar.given or step > 0
            if not _start(b, s, data, batch, slot, forward):
                return 0
            batch += 1
        alpha = rate_at(alphas, len(rates.alpha), number - rates.number)
        gamma = rate_at(gammas, len(rates.gamma), t)
        precision = rate_at(precisions, len(rates.precision), t)
        for turn in range(lo, hi):
            l = order[turn]
            if l > 0:
                moved = all_told(progress, MOVED, b.first, b.end, now - span + l + 1, moved, stop)
                if moved < 0:
                    return 0
            work, weight = products[stage * depth + l], precision if l + 1 == depth else s.one
            if forward:
                work &= ~PREDICT
            if l == 0 and alone:
                work &= ~UPDATE
            multiply(b, s, l, work, slot, weight, alpha, number + 1)
            publish(progress, 2 * worker + MADE, now + position[l])
            if l + 1 == depth:
                note_divergence(diverged, worker, s, depth, b.firsts[depth], b.rows[depth], b.e, slot, number)
            if step == calendar.energy_step:
                notes.energy[worker] += 0.5 * weight * squares(s, l + 1, b.firsts[l + 1], b.rows[l + 1], b.e, slot)
        for l in range(max(lo, 1), hi):
            made = all_told(progress, MADE, b.first, b.end, now + position[l], made, stop)
            if made < 0:
                return 0
            if l == lo:
                made_below = all_told(progress, MADE, b.below, b.first, now + position[l - 1], made_below, stop)
                if made_below < 0:
                    return 0
            if moving:
                move_own(b, s, l, slot, precision if l + 1 == depth else s.one, gamma)
            publish(progress, 2 * worker + MOVED, now + l + 1)
        if hi < depth:
            moved_above = all_told(progress, MOVED, b.end, b.above, now + hi + 1, moved_above, stop)
            if moved_above < 0:
                return 0
            if moving:
                move_copies(s, hi, b.firsts[hi], b.rows[hi], b.top, b.e, h, slot, gamma, b.momentum, b.velocity, size)
        if lo == 0 and alone:
            work, weight = products[stage * depth] & UPDATE, precision if depth == 1 else s.one
            multiply(b, s, ZERO, work, slot, weight, alpha, number + 1)
        number += completed[stage + 1] - completed[stage]
    notes.times[worker, 1] = nanoseconds()
    return 0
