"""The edges of a rank in dual propagation: what goes up and what comes down, in turns, in compiled code.

As in ``edges``, neighbours look like two more workers, in whose name worker 0 publishes what has come whenever it
*polls*. Over the edge at layer k goes its mean activation, upwards, when a batch has begun and when x[k] has moved, and
``h[k]``, downwards, when x[k+1] has, unless the batch ends with that. Each has one place on either side, and one
request.

*Moments* number what may go: 2 s is the beginning of a batch before step s, and 2 s + 1 the end of step s. What is
published of a step in a neighbour's name says that all its messages up to there have come, and that all of ours have
left, so that their place may be written again. A place is received into when all that was in it has been used.
"""

from collections import namedtuple

from ...kernels.layers.dense import PREDICT
from ...kernels.machine.compiling import ZERO, folded, inner, njit
from ...kernels.machine.messages import Library, done, go_on, send, start
from ...kernels.machine.simd import pointer
from ...kernels.machine.sync import publish, reached, wait
from .edges import ABOVE, BELOW, RECEIVES, REQUESTS, SENDS, SIDE

# ``arguments.Ranks`` with pointers in place of arrays, flags, and what of the calendar says when messages go. talks:
# whether this worker exchanges them; lo, hi: the layers at the edges; end: the moment at which the run has ended.
SweptEdges = namedtuple(
    "SweptEdges",
    "talks below above often library requests state workers lo hi depth products stages first cycle end progress "
    "started stop",
)

# Words of a side's state: the moment of our next message, and whether it is on its way; that of the next which comes,
# and whether its receive is started; the steps that are published in the neighbour's name.
OUT, SENT, COMING, POSTED, TOLD = 0, 1, 2, 3, 4


@njit(nogil=True, cache=True)
def swept_edges(who, ranks, calendar, depth, signals, lo, hi):
    """The edges of a run, of the rank whose layers are ``lo … hi-1``."""
    return SweptEdges(
        who.worker == 0 and (ranks.below or ranks.above), ranks.below, ranks.above, ranks.often,
        Library(*ranks.functions, pointer(ranks.scratch)), pointer(ranks.requests), pointer(ranks.state), who.workers,
        lo, hi, depth, pointer(calendar.products), calendar.stages, calendar.first, calendar.cycle, 2 * calendar.steps,
        pointer(signals.progress), pointer(signals.started), pointer(signals.stop),
    )  # fmt: skip


@inner
def _begins(c, step):
    """Whether a batch begins with a step."""
    t = c.first + step
    return (t % c.cycle if c.cycle > 0 else t) == 0


@inner
def _batch(c, step):
    """The batch of a step, counted from the first that begins in this run."""
    return (c.first + step) // c.cycle - (c.first > 0) if c.cycle > 0 else ZERO


@inner
def _goes(c, side, upwards, moment):
    """Whether a message goes over an edge at a moment."""
    step, k = moment >> 1, c.hi if side == ABOVE else c.lo
    if moment & 1 == 0:
        return upwards and _begins(c, step)
    l = k - 1 if upwards else k  # ``W[l]`` is below x[l+1]
    moved = c.products[(c.first + step) % c.stages * c.depth + l] & PREDICT != 0
    return moved and (upwards or c.cycle == 0 or not _begins(c, step + 1))


@inner
def _next(c, side, upwards, moment):
    """The first moment from this one on at which a message goes; the end for none."""
    while moment < c.end and not _goes(c, side, upwards, moment):
        moment += 1
    return moment


@inner
def _done(c, side):
    """How many steps the layer at an edge has done."""
    return reached(c.progress, 2 * c.workers - 1 if side == ABOVE else ZERO)


@inner
def _made(c, side, moment):
    """Whether what is sent at a moment is there."""
    if moment & 1 == 0:
        return reached(c.started, c.workers - 1) > _batch(c, moment >> 1)
    return _done(c, side) > moment >> 1


@inner
def _used(c, side, moment):
    """Whether what has come before a moment has been used."""
    step = moment >> 1
    if side == BELOW and moment & 1 != 0 and _begins(c, step) and reached(c.started, ZERO) <= _batch(c, step):
        return False
    return _done(c, side) >= step


@inner
def _poll_side(c, side):
    """Receive, then send: whoever is sent something answers, and finds the receive started."""
    state, request, upwards = side * SIDE, side * REQUESTS, side == ABOVE
    if c.state[state + POSTED] != 0 and done(c.library, c.requests[request + RECEIVES]):
        moment = c.state[state + COMING]
        if moment & 1 == 0:
            publish(c.started, c.workers, _batch(c, moment >> 1) + 1)
        c.state[state + POSTED] = 0
        c.state[state + COMING] = _next(c, side, not upwards, moment + 1)
    moment = c.state[state + COMING]
    if c.state[state + POSTED] == 0 and moment < c.end and _used(c, side, moment):
        start(c.library, c.requests[request + RECEIVES])
        c.state[state + POSTED] = 1
    if c.state[state + SENT] != 0 and done(c.library, c.requests[request + SENDS]):
        c.state[state + SENT] = 0
        c.state[state + OUT] = _next(c, side, upwards, c.state[state + OUT] + 1)
    moment = c.state[state + OUT]
    if c.state[state + SENT] == 0 and moment < c.end and _made(c, side, moment):
        send(c.library, c.requests[request + SENDS])
        c.state[state + SENT] = 1
    steps = min(c.state[state + OUT], c.state[state + COMING]) >> 1
    if steps > c.state[state + TOLD]:
        c.state[state + TOLD] = steps
        publish(c.progress, 2 * (c.workers + 1) if upwards else 2 * c.workers + 1, steps)


@inner
def begin_swept(c):
    """The first messages of a run."""
    for side in (BELOW, ABOVE):
        state, upwards = side * SIDE, side == ABOVE
        if c.above if upwards else c.below:
            c.state[state + SENT] = c.state[state + POSTED] = c.state[state + TOLD] = 0
            c.state[state + OUT] = _next(c, side, upwards, ZERO)
            c.state[state + COMING] = _next(c, side, not upwards, ZERO)
    poll_swept(c)


@inner
def poll_swept(c):
    """Send what is there to be sent, and publish what has come."""
    if c.below:
        _poll_side(c, BELOW)
    if c.above:
        _poll_side(c, ABOVE)


@folded
def until_swept(c, flags, flag, value):
    """Wait for a flag, and poll meanwhile if this worker talks; False if flag 0 of ``stop`` was raised meanwhile."""
    return _poll_until(c, flags, flag, value) if c.talks else wait(flags, flag, value, c.stop)


@inner
def _poll_until(c, flags, flag, value):
    """Poll until a flag has reached ``value``."""
    tests = 0
    while True:
        poll_swept(c)
        if reached(flags, flag) >= value:
            return True
        tests += 1
        if not go_on(c.library, tests, c.stop):
            return False


@inner
def settle_swept(c):
    """At the end of a run: poll until all has been sent and received, for the other workers of this rank as well."""
    tests = 0
    while True:
        poll_swept(c)
        left = False
        for side in (BELOW, ABOVE):
            if c.above if side == ABOVE else c.below:
                left = left or min(c.state[side * SIDE + OUT], c.state[side * SIDE + COMING]) < c.end
        if not left:
            return True
        tests += 1
        if not go_on(c.library, tests, c.stop):
            return False
