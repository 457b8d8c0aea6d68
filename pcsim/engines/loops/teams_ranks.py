"""The compiled loop of one worker in hybrid predictive coding over ranks: each rank's threads are a team, which has a
block of layers and splits the rows inside; neighbouring teams exchange messages.

Inside a team all is as in ``loops/teams.py``. What two teams say to each other is what two ranks with layers do (see
``loops/edges.py``): errors of the highest layer's rows go up, the summed drives of the lowest go down, once in a step.
For the edges a team is one worker: worker 0 looks how far all members have come, *tells* the edges that, and polls
whenever it waits or has made a layer's products.
"""

from collections import namedtuple

from ...kernels.layers.dense import PREDICT, UPDATE
from ...kernels.layers.shares import copy_units, fill_units, move_copies, sum_units
from ...kernels.layers.step import activate_rows, start_prediction
from ...kernels.layers.vectors import squares, subtract_from
from ...kernels.layers.view import part_of_batch
from ...kernels.layers.weights import PLAIN
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ONE, ZERO, inner, njit
from ...kernels.machine.messages import go_on
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import FLAG_STRIDE, load_acquire, meet, publish, reached, wait
from .edges import edges_of, poll, settle_edges
from .steps import layers, note_divergence, rate_at, step_of_cycle
from .teams import FOREVER, MADE, MOVED, Member, load_samples, move_own, multiply

# What a team has with its neighbours. told, begun: the flags of ``edges``, as of one worker: the team's steps, and what
# has come; top: the turn of the layer below the upper edge; span: of flags in a step; talks: is this worker 0.
Neighbours = namedtuple("Neighbours", "edges told begun top span talks")

# Flags of ``told``: drives that go down, errors that go up, and what has come from below and from above; of ``begun``:
# starts that the team has made, and that have come from below.
DRIVES, ERRORS, FROM_BELOW, FROM_ABOVE = 0, 1, 3, 4
BEGUN, START_HERE = 0, 1


@inner
def _least(b, flags, stride, kind):
    """The least that a member of the team has told of a kind."""
    least = FOREVER
    for other in range(b.first, b.end):
        least = min(least, reached(flags, stride * other + kind))
    return least


@inner
def _tell(b, n):
    """Tell the edges how far the team has come."""
    if n.edges.above:
        step = reached(n.told, ERRORS)
        if step < n.edges.steps and _least(b, b.progress, 2, MADE) >= step * n.span + n.top:
            publish(n.told, ERRORS, step + 1)
    if n.edges.below:
        step = reached(n.told, DRIVES)
        if step < n.edges.steps and _least(b, b.progress, 2, MOVED) >= step * n.span + b.lo:
            publish(n.told, DRIVES, step + 1)
    batch = reached(n.begun, BEGUN)
    if batch < n.edges.batches and _least(b, b.started, 1, ZERO) >= batch * (b.depth + 3) + 2 + b.hi:
        publish(n.begun, BEGUN, batch + 1)


@inner
def _move_on(b, n, look, step):
    """Send what is there to be sent, and if one is to ``look`` for it, publish what has come."""
    begin = nanoseconds() if n.edges.clocked else 0
    _tell(b, n)
    poll(n.edges, n.told, n.begun, ONE, look)
    if n.edges.clocked:
        n.edges.spent[step] += nanoseconds() - begin


@inner
def _await(b, n, flags, flag, value, step):
    """Wait for a flag in a step; False if flag 0 of ``stop`` was raised meanwhile."""
    if not n.talks:
        return wait(flags, flag, value, b.stop)
    tests = 0
    while reached(flags, flag) < value:
        _move_on(b, n, True, step)
        tests += 1
        if not go_on(n.edges.library, tests, b.stop):
            return False
    return True


@inner
def _all_told(b, n, kind, value, known, step):
    """As ``teams.all_told`` has it, of the whole team."""
    if known >= value:
        return known
    least = FOREVER
    for other in range(b.first, b.end):
        if not _await(b, n, b.progress, 2 * other + kind, value, step):
            return -1
        least = min(least, reached(b.progress, 2 * other + kind))
    return least


@inner
def _all_met(b, n, point, step):
    """A point of a start is reached, here and by the whole team; False for a stop."""
    publish(b.started, b.worker, point)
    for other in range(b.first, b.end):  # noqa: SIM110 - compiled code has no generators
        if not _await(b, n, b.started, other, point, step):
            return False
    return True


@inner
def _start(b, n, s, data, batch, slot, forward, step):
    """As ``teams`` begins a batch; the values of the layer below come from another rank, which sends no zeros."""
    origin = batch * (b.depth + 3)
    if not _all_met(b, n, origin + 1, step):
        return False
    if b.lo == 0:
        load_samples(b, s, ZERO, data.x, data.rows, batch)
    if b.hi == b.depth:
        load_samples(b, s, b.depth, data.y, data.rows, batch)
    if not _all_met(b, n, origin + 2, step):
        return False
    if b.momentum > 0:
        for l in range(max(b.lo, 1), b.hi):
            fill_units(s, l, b.firsts[l], b.rows[l], b.velocity, ZERO, s.zero)
        fill_units(s, b.hi, b.firsts[b.hi], b.rows[b.hi], b.velocity, b.size, s.zero)
    for l in range(b.lo, b.hi):
        if l > 0:
            if l == b.lo and forward:
                if not _await(b, n, n.begun, START_HERE, batch + 1, step):
                    return False
                copy_units(s, l, b.firsts[l], b.rows[l], b.top, s.x)
                fill_units(s, l, b.firsts[l], b.rows[l], b.e, slot, s.zero)
            activate_rows(s, l, b.firsts[l], b.rows[l])
            if not _all_met(b, n, origin + 2 + l, step):
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
def _move_lowest(b, n, s, step, now, slot, moving, weight, gamma):
    """The end of a step at the lower edge: drives go down, and when the errors have come from below, new values."""
    l = b.lo
    first, rows = b.firsts[l], b.rows[l]
    if moving:
        sum_units(
            s, l, first, rows, b.shares, b.size, b.first, b.end, offset(b.all_rows, l + 1), b.stride, b.worker, b.e,
            b.h, slot, weight,
        )  # fmt: skip
    publish(b.progress, 2 * b.worker + MOVED, now + l)
    if not _await(b, n, n.told, FROM_BELOW, step + 1, step):
        return False
    if moving:
        move_copies(s, l, first, rows, s.x, b.e, b.h, slot, gamma, b.momentum, b.velocity, ZERO)
        activate_rows(s, l, first, rows)
    return True


@inner
def _settle(b, n):
    """At the end of a run: until all members are done, and all has been sent and received."""
    tests = 0
    while (
        (n.edges.below and reached(n.told, DRIVES) < n.edges.steps)
        or (n.edges.above and reached(n.told, ERRORS) < n.edges.steps)
        or reached(n.begun, BEGUN) < n.edges.batches
    ):
        _tell(b, n)
        poll(n.edges, n.told, n.begun, ONE, True)
        tests += 1
        if not go_on(n.edges.library, tests, b.stop):
            return
    settle_edges(n.edges, n.told, n.begun, ONE, b.stop)


@njit(nogil=True, cache=True)
def team_of_rank(who, arrays, offsets, options, data, rates, calendar, shares, team, signals, notes, ranks):
    """The steps of ``calendar`` by one worker of a rank (groups of arguments: see ``arguments``). energy[place]
    receives its part of F at the first step that updates weights."""
    s = layers(arrays, offsets, options)
    worker, lo, hi, depth, size = who.worker, who.lo, who.hi, len(offsets.sizes) - 1, offsets.value_count
    h, progress, started, stop = (
        pointer(arrays.drives), pointer(signals.progress), pointer(signals.started), pointer(signals.stop)
    )  # fmt: skip
    all_rows = offset(pointer(shares.rows), (who.place - worker) * (depth + 1))  # of this rank's
    all_shares = offset(h, 2 * size)  # behind the drives of two steps
    order, position, products = pointer(team.order), pointer(team.position), pointer(calendar.products)
    b = Member(
        worker, lo, hi, depth, ZERO, who.workers, ZERO, ZERO,
        offset(pointer(shares.first_row), who.place * (depth + 1)), offset(all_rows, worker * (depth + 1)), all_rows,
        depth + 1, team.begin, team.samples, part_of_batch(s, team.samples, pointer(team.at)), pointer(arrays.errors),
        h, pointer(arrays.top), pointer(arrays.velocity), all_shares, offset(all_shares, worker * size), size,
        rates.value_momentum, progress, started, stop,
    )  # fmt: skip
    span = depth + 2
    n = Neighbours(
        edges_of(ranks, calendar), offset(progress, 2 * who.workers * FLAG_STRIDE),
        offset(started, who.workers * FLAG_STRIDE), position[hi - 1], span, worker == 0,
    )  # fmt: skip
    moves, completed = pointer(calendar.moves), pointer(calendar.completed)
    alphas, gammas, precisions = pointer(rates.alpha), pointer(rates.gamma), pointer(rates.precision)
    if not meet(worker, who.workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0], diverged = nanoseconds(), pointer(notes.diverged)
    number, batch, made, moved = rates.number, ZERO, ZERO, ZERO
    alone = s.batch > 1 or s.rule != PLAIN  # whether the update of W[0] is a product of its own
    for step in range(calendar.steps):
        if load_acquire(stop, 0) != 0:
            break
        t = step_of_cycle(calendar, step)
        stage = t % calendar.stages
        slot, now, forward, moving = (step & 1) * size, step * span, False, moves[stage] != 0
        if t == 0:
            forward = not calendar.given or step > 0
            if not _start(b, n, s, data, batch, slot, forward, step):
                return 0
            batch += 1
        alpha = rate_at(alphas, len(rates.alpha), number - rates.number)
        gamma = rate_at(gammas, len(rates.gamma), t)
        precision = rate_at(precisions, len(rates.precision), t)
        for turn in range(lo, hi):
            l = order[turn]
            if l > 0:
                moved = _all_told(b, n, MOVED, now - span + l + 1, moved, step)
                if moved < 0:
                    return 0
            work, weight = products[stage * depth + l], precision if l + 1 == depth else s.one
            if forward:
                work &= ~PREDICT
            if l == 0 and alone:
                work &= ~UPDATE
            multiply(b, s, l, work, slot, weight, alpha, number + 1)
            publish(progress, 2 * worker + MADE, now + position[l])
            if n.talks and (n.edges.often or l == lo or l == hi - 1):
                _move_on(b, n, n.edges.often, step)
            if l + 1 == depth:
                note_divergence(diverged, worker, s, depth, b.firsts[depth], b.rows[depth], b.e, slot, number)
            if step == calendar.energy_step:
                notes.energy[who.place] += 0.5 * weight * squares(s, l + 1, b.firsts[l + 1], b.rows[l + 1], b.e, slot)
        for l in range(max(lo, 1), hi):
            made = _all_told(b, n, MADE, now + position[l], made, step)
            if made < 0:
                return 0
            weight = precision if l + 1 == depth else s.one
            if l == lo:
                if not _move_lowest(b, n, s, step, now, slot, moving, weight, gamma):
                    return 0
            elif moving:
                move_own(b, s, l, slot, weight, gamma)
            publish(progress, 2 * worker + MOVED, now + l + 1)
        if hi < depth:
            if not _await(b, n, n.told, FROM_ABOVE, step + 1, step):
                return 0
            if moving:
                move_copies(s, hi, b.firsts[hi], b.rows[hi], b.top, b.e, h, slot, gamma, b.momentum, b.velocity, size)
        if lo == 0 and alone:
            work, weight = products[stage * depth] & UPDATE, precision if depth == 1 else s.one
            multiply(b, s, ZERO, work, slot, weight, alpha, number + 1)
        number += completed[stage + 1] - completed[stage]
    notes.times[worker, 1] = nanoseconds()
    if n.talks:
        _settle(b, n)
    return 0
