"""Local losses and feedback alignment on MPI ranks: the loops of one worker, and the edges of its rank.

Values go up over an edge, from their place in the ring to the same place above; errors of the output, where others
learn from them, come down from rank to rank. As in ``edges``, neighbours look like two more workers, in whose name
worker 0 publishes what has come whenever it *polls*. A place may be received into when all that was in it has been
used, and a place that was sent is written again only when its own request is seen to be done.
"""

from collections import namedtuple

from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ONE, ZERO, inner, njit
from ...kernels.machine.messages import Library, done, go_on, send, start
from ...kernels.machine.simd import pointer
from ...kernels.machine.sync import load_acquire, meet, publish, reached, wait
from .feedback import order_of_turn, slot_of_feedback, view_of_feedback
from .local import finish_local, slot_of_local, view_of_local
from .steps import layers

# What a rank exchanges: ``arguments.Crossings`` with pointers in place of arrays. base: the batch from which flags
# count; begin_below, begin_above, end_below, end_above: batches whose values go over an edge in this run; lag: batches
# that the lowest layer is behind with learning; kept: errors of the output that are kept (0: they are used by the last
# layer alone); last: behind the last of them.
Passage = namedtuple(
    "Passage", "below above often library requests state workers base begin_below begin_above end_below end_above "
    "places_below places_above lag kept last"
)  # fmt: skip

# Words of the state, of each side: of values and of errors the next to be posted or sent, and to have come or left.
VALUES, VALUES_OVER, ERRORS, ERRORS_OVER, SIDE = 0, 1, 2, 3, 8

BELOW, ABOVE = ZERO, ONE


@inner
def _begin(c, worker, progress):
    """The state at the beginning of a run, and what of the neighbours is there already."""
    if worker != 0:
        return
    for side in range(2):
        state = side * SIDE
        c.state[state + VALUES] = c.state[state + VALUES_OVER] = c.begin_above if side else c.begin_below
        c.state[state + ERRORS] = c.state[state + ERRORS_OVER] = c.base
    publish(progress, 2 * c.workers + 1, c.begin_below - c.base)
    publish(progress, 2 * (c.workers + 1), c.begin_above - c.base)


@inner
def _of_values(c, side, k):
    """The request of the values of batch k."""
    if side == BELOW:
        return c.requests[k % c.places_below]
    return c.requests[c.places_below + c.kept + k % c.places_above]


@inner
def _of_errors(c, side, t):
    """The request of the error of batch t."""
    if side == BELOW:
        return c.requests[c.places_below + t % c.kept]
    return c.requests[c.places_below + c.kept + c.places_above + t % c.kept]


@inner
def _poll_above(c, progress):
    """Values go up, errors come down."""
    made, state = reached(progress, 2 * c.workers - 1) + c.base, SIDE  # by the highest layer
    k = c.state[state + VALUES]
    if k < min(made, c.end_above):
        send(c.library, _of_values(c, ABOVE, k))
        c.state[state + VALUES] = k + 1
    k = c.state[state + VALUES_OVER]
    if k < c.state[state + VALUES] and done(c.library, _of_values(c, ABOVE, k)):
        c.state[state + VALUES_OVER] = k + 1
        publish(progress, 2 * (c.workers + 1), k + 1 - c.base)
    if c.kept == 0:
        return
    t = c.state[state + ERRORS]
    free = t - c.kept + c.lag < made and (not c.below or t - c.kept < c.state[ERRORS_OVER])
    if t < c.last and free:
        start(c.library, _of_errors(c, ABOVE, t))
        c.state[state + ERRORS] = t + 1
    t = c.state[state + ERRORS_OVER]
    if t < c.state[state + ERRORS] and done(c.library, _of_errors(c, ABOVE, t)):
        c.state[state + ERRORS_OVER] = t + 1
        publish(progress, 2 * (c.workers + 1) + 1, t + 1 - c.base)


@inner
def _poll_below(c, progress):
    """Values come up, errors go down."""
    learnt = reached(progress, ZERO) + c.base - c.lag  # by the lowest layer
    k = c.state[VALUES]
    if k < c.end_below and k - c.places_below < learnt:
        start(c.library, _of_values(c, BELOW, k))
        c.state[VALUES] = k + 1
    k = c.state[VALUES_OVER]
    if k < c.state[VALUES] and done(c.library, _of_values(c, BELOW, k)):
        c.state[VALUES_OVER] = k + 1
        publish(progress, 2 * c.workers + 1, k + 1 - c.base)
    if c.kept == 0:
        return
    state = SIDE
    known = c.state[state + ERRORS_OVER] if c.above else min(reached(progress, 2 * c.workers - 1) + c.base, c.last)
    t = c.state[ERRORS]
    if t < known and t - c.kept < c.state[ERRORS_OVER]:
        send(c.library, _of_errors(c, BELOW, t))
        c.state[ERRORS] = t + 1
    t = c.state[ERRORS_OVER]
    if t < c.state[ERRORS] and done(c.library, _of_errors(c, BELOW, t)):
        c.state[ERRORS_OVER] = t + 1
        publish(progress, 2 * c.workers, t + 1 - c.base)


@inner
def _poll(c, progress):
    """Send what is there to be sent, and publish what has come."""
    if c.above:
        _poll_above(c, progress)
    if c.below:
        _poll_below(c, progress)


@inner
def _until(c, talks, progress, flag, value, stop):
    """Wait for a flag, and poll meanwhile if this worker ``talks``; False if flag 0 of ``stop`` was raised."""
    if not talks:
        return wait(progress, flag, value, stop)
    tests = 0
    while True:
        _poll(c, progress)
        if reached(progress, flag) >= value:
            return True
        tests += 1
        if not go_on(c.library, tests, stop):
            return False


@inner
def _error_left(c, talks, progress, now, stop):
    """Wait until the error has left whose place the one of batch ``now - 1`` takes."""
    return _until(c, talks, progress, 2 * c.workers, now - c.kept, stop)


@inner
def _through(c, progress, stop):
    """At the end of a run: poll until all has been sent and received, for the other workers of this rank as well."""
    tests, state = 0, SIDE
    while True:
        _poll(c, progress)
        left = False
        if c.above:
            left = c.state[state + VALUES_OVER] < c.end_above or (
                c.kept > 0 and c.state[state + ERRORS_OVER] < c.last
            )  # fmt: skip
        if c.below:
            left = left or c.state[VALUES_OVER] < c.end_below or (c.kept > 0 and c.state[ERRORS_OVER] < c.last)
        if not left:
            return True
        tests += 1
        if not go_on(c.library, tests, stop):
            return False


@njit(nogil=True, cache=True)
def local_on_rank(who, arrays, offsets, options, data, rates, updates, given, signals, notes, crossings):
    """``updates`` weight updates by one worker, which has the layers ``lo … hi-1``, as in ``local``."""
    s, hs, worker = layers(arrays, offsets, options), layers(arrays, given.heads, given.head_options), who.worker
    r = view_of_local(who, s, hs, given, pointer(arrays.errors), len(offsets.sizes) - 1)
    energy, diverged = pointer(notes.energy), pointer(notes.diverged)
    progress, stop, lo, hi = pointer(signals.progress), pointer(signals.stop), who.lo, who.hi
    alphas, alpha_count, begun = pointer(rates.alpha), len(rates.alpha), rates.number
    c = Passage(
        crossings.below, crossings.above, crossings.often, Library(*crossings.functions, pointer(crossings.scratch)),
        pointer(crossings.requests), pointer(crossings.state), who.workers, ZERO, ZERO, ZERO, updates, updates,
        given.places, given.places, ZERO, ZERO, updates,
    )  # fmt: skip
    talks = worker == 0 and (c.below or c.above)
    _begin(c, worker, progress)
    if not meet(worker, who.workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0] = nanoseconds()
    made = 0
    for begin in range(0, updates, given.wave):
        if load_acquire(stop, 0) != 0:
            break
        made = min(updates, begin + given.wave)
        for l in range(lo, hi):
            for t in range(begin, made):
                below, above = l == lo and who.below >= 0, l == hi - 1 and who.above >= 0
                if below and not _until(c, talks, progress, 2 * who.below + 1, t + 1, stop):
                    return 0
                if above and not _until(c, talks, progress, 2 * who.above, t + 1 - r.places, stop):
                    return 0
                arrives = l == lo and worker == 0 and c.below
                slot_of_local(r, data, l, t, arrives, alphas, alpha_count, begun, energy, diverged, worker)
                if l == hi - 1:
                    publish(progress, 2 * worker + 1, t + 1)
                if l == lo:
                    publish(progress, 2 * worker, t if r.fused else t + 1)
                if talks and (c.often or l == lo or l == hi - 1):
                    _poll(c, progress)
    finish_local(r, lo, hi, made, alphas, alpha_count, begun)
    notes.times[worker, 1] = nanoseconds()
    if talks:
        _through(c, progress, stop)
    return 0


@njit(nogil=True, cache=True)
def feedback_on_rank(who, arrays, offsets, options, data, rates, updates, given, signals, notes, crossings):
    """The updates ``first … last-1`` by one worker, which has the layers ``lo … hi-1``, as in ``feedback``."""
    s, fs, worker = layers(arrays, offsets, options), layers(arrays, given.heads, given.head_options), who.worker
    r = view_of_feedback(who, s, fs, given, arrays, rates, len(given.places) - 1)
    energy, diverged = pointer(notes.energy), pointer(notes.diverged)
    progress, stop, lo, hi, L = pointer(signals.progress), pointer(signals.stop), who.lo, who.hi, r.depth
    first, last, down, up = given.first, given.last, L - crossings.lo, L - crossings.hi  # lags of those who make values
    c = Passage(
        crossings.below, crossings.above, crossings.often, Library(*crossings.functions, pointer(crossings.scratch)),
        pointer(crossings.requests), pointer(crossings.state), who.workers, r.base, max(ZERO, first + down),
        max(ZERO, first + up), last + down, last + up, r.places[crossings.lo], r.places[min(crossings.hi, L - 1)],
        down - 1, r.kept, last,
    )  # fmt: skip
    talks, told = worker == 0 and (c.below or c.above), 2 * (who.workers + 1 if c.above else who.workers - 1) + 1
    _begin(c, worker, progress)
    if not meet(worker, who.workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0] = nanoseconds()
    for begin in range(r.base, last + L - 1, given.wave):
        if load_acquire(stop, 0) != 0:
            break
        end = min(begin + given.wave, last + L - 1)
        for turn in range((hi - lo) * (end - begin)):
            l, k = order_of_turn(turn, begin, end, lo, hi, L - given.wave)
            lag, now = L - 1 - l, k - r.base + 1
            t = k - lag
            if first <= t < last:
                if l == lo and who.below >= 0 and not _until(c, talks, progress, 2 * who.below + 1, now, stop):
                    return 0
                room = now - given.ahead - 1
                if l == hi - 1 and who.above >= 0 and not _until(c, talks, progress, 2 * who.above, room, stop):
                    return 0
                if who.above >= 0 and t >= 0 and not _until(c, talks, progress, told, now - lag, stop):
                    return 0
                if l == L - 1 and c.below and not _error_left(c, talks, progress, now, stop):
                    return 0
                arrives = l == lo and worker == 0 and c.below
                slot_of_feedback(r, data, l, k, t, arrives, energy, diverged, worker)
            if l == hi - 1:
                publish(progress, 2 * worker + 1, now)
            if l == lo:
                publish(progress, 2 * worker, now)
            if talks and (c.often or l == lo or l == hi - 1):
                _poll(c, progress)
    notes.times[worker, 1] = nanoseconds()
    if talks:
        _through(c, progress, stop)
    return 0
