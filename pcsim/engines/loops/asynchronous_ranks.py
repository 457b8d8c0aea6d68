"""Asynchronous BP on MPI ranks: the loop of one worker, and the edges of its rank.

Between two ranks the values that the lower one predicts go up, from their place in the ring to the same place above,
and the errors go down, from and to one of two places; each of them in every step in which there is a batch. As in
``edges``, neighbours look like two more workers, in whose name worker 0 publishes what has come whenever it *polls*.

A place may be received into when what was in it has been used: values of step t take the place of a batch from which
``W[lo]`` updates in step t - 1, and errors that of step t - 2. And a place that was sent is written again only when its
own request is seen to be done. So what is published in a neighbour's name says two things: of the one above, that the
error of a step is there, and that the values that the same step will overwrite have left; of the one below, that the
values of a step are there, and that the errors of the same step, which are overwritten two steps later, have left.
"""

from collections import namedtuple

from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ONE, ZERO, inner, njit
from ...kernels.machine.messages import Library, done, go_on, send, start
from ...kernels.machine.simd import pointer
from ...kernels.machine.sync import load_acquire, meet, publish, reached, wait
from .asynchronous import note_slot, slot_of_layer, stream_of
from .steps import layers

# What a rank exchanges: ``arguments.Crossings`` with pointers in place of arrays; ``first`` and ``last`` step; places
# of the rings at either edge, and how many batches values there are ahead of the step in which they are made.
Crossing = namedtuple(
    "Crossing", "below above often library requests state workers first last places_below places_above ahead_below "
    "ahead_above"
)  # fmt: skip

# Words of the state, of each side: values and errors, the next step to be posted or sent, and to have come or left.
VALUES, VALUES_OVER, ERRORS, ERRORS_OVER, SIDE = 0, 1, 2, 3, 8

BELOW, ABOVE = ZERO, ONE


@inner
def _crossing_of(r, who, given):
    """The edges of a run, from its beginning: of values that is the step that makes those of batch 0."""
    state, base, L, lo, hi = pointer(given.state), max(r.first, 0), r.depth, given.lo, given.hi
    below, above = 2 * (L - lo), 2 * (L - hi)
    for side in range(2 if who.worker == 0 else 0):
        state[side * SIDE + VALUES] = max(r.first, -(above if side else below))
        state[side * SIDE + VALUES_OVER] = state[side * SIDE + VALUES]
        state[side * SIDE + ERRORS] = state[side * SIDE + ERRORS_OVER] = base
    return Crossing(
        given.below, given.above, given.often, Library(*given.functions, pointer(given.scratch)),
        pointer(given.requests), state, who.workers, r.first, r.last, r.places[lo], r.places[min(hi, L - 1)], below,
        above,
    )  # fmt: skip


@inner
def _of_values(c, side, t):
    """The request of the values that the layer below an edge makes in its step t."""
    if side == BELOW:
        return c.requests[(t + c.ahead_below) % c.places_below]
    return c.requests[c.places_below + 2 + (t + c.ahead_above) % c.places_above]


@inner
def _of_errors(c, side, t):
    """The request of the errors of step t."""
    if side == BELOW:
        return c.requests[c.places_below + (t & 1)]
    return c.requests[c.places_below + 2 + c.places_above + (t & 1)]


@inner
def _values_left(c, t):
    """Whether all values that were made up to step t have left."""
    state = SIDE
    while c.state[state + VALUES_OVER] <= t:
        over = c.state[state + VALUES_OVER]
        if over >= c.state[state + VALUES] or not done(c.library, _of_values(c, ABOVE, over)):
            return False
        c.state[state + VALUES_OVER] = over + 1
    return True


@inner
def _errors_left(c, t):
    """Whether all errors up to step t have left."""
    while c.state[ERRORS_OVER] <= t:
        over = c.state[ERRORS_OVER]
        if over >= c.state[ERRORS] or not done(c.library, _of_errors(c, BELOW, over)):
            return False
        c.state[ERRORS_OVER] = over + 1
    return True


@inner
def _poll_above(c, progress):
    """Values go up, errors come down."""
    made = reached(progress, 2 * c.workers - 1) + c.first  # steps of the highest layer
    t = c.state[SIDE + VALUES]
    if t < made:
        send(c.library, _of_values(c, ABOVE, t))
        c.state[SIDE + VALUES] = t + 1
    t = c.state[SIDE + ERRORS]
    if t < c.last and t - 2 < max(made, 0):
        start(c.library, _of_errors(c, ABOVE, t))
        c.state[SIDE + ERRORS] = t + 1
    t = c.state[SIDE + ERRORS_OVER]
    if t < c.state[SIDE + ERRORS] and done(c.library, _of_errors(c, ABOVE, t)) and _values_left(c, t - c.places_above):
        c.state[SIDE + ERRORS_OVER] = t + 1
        publish(progress, 2 * (c.workers + 1), t + 1 - c.first)


@inner
def _poll_below(c, progress):
    """Errors go down, values come up."""
    made = reached(progress, ZERO) + c.first  # steps of the lowest layer
    t = c.state[ERRORS]
    if t < made:
        send(c.library, _of_errors(c, BELOW, t))
        c.state[ERRORS] = t + 1
    t = c.state[VALUES]
    if t < c.last and t - 1 < max(made, 0):  # before batch 0 no place has been used
        start(c.library, _of_values(c, BELOW, t))
        c.state[VALUES] = t + 1
    t = c.state[VALUES_OVER]
    if t < c.state[VALUES] and done(c.library, _of_values(c, BELOW, t)) and _errors_left(c, t):
        c.state[VALUES_OVER] = t + 1
        publish(progress, 2 * c.workers + 1, t + 1 - c.first)


@inner
def _poll(c, progress):
    """Send what is there to be sent, and publish what has come."""
    if c.above:
        _poll_above(c, progress)
    if c.below:
        _poll_below(c, progress)


@inner
def _await(c, talks, progress, flag, value, stop):
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
def _settle(c, progress, stop):
    """At the end of a run: poll until all has been sent and received, for the other workers of this rank as well."""
    tests = 0
    while True:
        _poll(c, progress)
        left = False
        if c.above:
            left = c.state[SIDE + ERRORS_OVER] < c.last or not _values_left(c, c.last - 1)
        if c.below:
            left = left or c.state[VALUES_OVER] < c.last or not _errors_left(c, c.last - 1)
        if not left:
            return True
        tests += 1
        if not go_on(c.library, tests, stop):
            return False


@njit(nogil=True, cache=True)
def pipeline_async(who, arrays, offsets, options, data, rates, updates, flight, signals, notes, crossings):
    """The steps of ``flight`` by one worker, which has the layers ``lo … hi-1``, as in ``asynchronous``."""
    s, worker = layers(arrays, offsets, options), who.worker
    r, energy, diverged = stream_of(who, s, arrays, rates, flight), pointer(notes.energy), pointer(notes.diverged)
    progress, stop, lo, hi, first = pointer(signals.progress), pointer(signals.stop), who.lo, who.hi, flight.first
    trace, room, count = pointer(notes.trace), len(notes.trace), ZERO
    latest = 2 * (len(flight.delay) - 1) - max(first, 0)
    c, talks = _crossing_of(r, who, crossings), worker == 0 and (crossings.below or crossings.above)
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
                    now = t - first + 1
                    above, below = l == hi - 1 and who.above >= 0 and t >= 0, l == lo and who.below >= 0
                    if above and not _await(c, talks, progress, 2 * who.above, now, stop):
                        return 0
                    if below and not _await(c, talks, progress, 2 * who.below + 1, now - 2, stop):
                        return 0
                    begun = nanoseconds() if room > 0 else 0
                    slot_of_layer(r, s, data, l, t, energy, diverged, worker)
                    if room > 0:
                        count = note_slot(trace, room, count, l, t, latest - l + t, begun)
                    if l == hi - 1:
                        publish(progress, 2 * worker + 1, now)
                    if l == lo:
                        publish(progress, 2 * worker, now)
                    if talks and (c.often or l == lo or l == hi - 1):
                        _poll(c, progress)
    notes.times[worker, 1] = nanoseconds()
    if talks:
        _settle(c, progress, stop)
    return count
