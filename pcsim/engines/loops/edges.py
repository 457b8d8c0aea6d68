"""The edges of a rank: what its lowest and highest layer exchange with the ranks below and above, in compiled code.

To the workers of a rank its neighbours look like two more workers, with flags of their own. Worker 0 runs on the thread
that may call MPI: whenever it has nothing else to do, and between layers, it *polls*. It sends what an edge has
published, and publishes in the neighbour's name what has arrived. So the loop is the same with and without ranks.

Every message has two places, one for each half of the steps (``slot``), as values are double-buffered; a receive is
started before the step that it belongs to, which is when the data of two steps ago have been used. A place that was
sent is free again when its own request is seen to be done: that the neighbour has answered is not enough for MPI. So
what is published of a step in the neighbour's name says three things: its message has come, ours of the step before
(whose place is written next) has left, and so have the values of a forward start.

Values of *pipelined* starts (``loops/starts.py``) go up after the step in which they were made, from their place to the
same place above, a request for each place. Start k passes an edge in step ``k * CYCLE - SHIFT`` of this run (below 0:
before the very first step, as a forward start's do). What is published of a step from below also says that they have
come, and from above that those of earlier steps have left: their place is written no sooner than two steps later.
"""

from collections import namedtuple

from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ONE, ZERO, inner, njit
from ...kernels.machine.messages import Library, done, go_on, send, start
from ...kernels.machine.simd import pointer
from ...kernels.machine.sync import publish, reached

# ``arguments.Ranks`` with pointers in place of arrays, and what of the calendar says when messages go: moves of each
# stage, stages, first step in the cycle, steps of the cycle and of this run.
Edges = namedtuple(
    "Edges", "below above often clocked library requests state spent moves stages first cycle steps batches first_start"
)

# Words of a side's state: the next step to be sent, received, and posted; of forward starts the next message to be sent
# or received, to be posted, and to have left. Of pipelined starts (then there are ``batches`` below 0) also when they
# pass, and where the requests of their places begin, that of start 0 first.
SENT, RECEIVED, POSTED, START_DONE, START_POSTED, START_LEFT = range(6)
PLACES, CYCLE, SHIFT, TABLE, SIDE = 6, 7, 8, 9, 16

# Requests of a side: sends and receives for either slot, and the forward start's (comes from below, goes above).
SENDS, RECEIVES, START, REQUESTS = 0, 2, 4, 5

BELOW, ABOVE = ZERO, ONE


@njit(nogil=True, cache=True)
def edges_of(ranks, calendar):
    """The edges of a run. No step of pipelined starts begins with a forward pass."""
    cycle = calendar.cycle if ranks.batches >= 0 else 0
    return Edges(
        ranks.below, ranks.above, ranks.often, ranks.clocked, Library(*ranks.functions, pointer(ranks.scratch)),
        pointer(ranks.requests), pointer(ranks.state), pointer(ranks.spent), pointer(calendar.moves), calendar.stages,
        calendar.first, cycle, calendar.steps, ranks.batches, ranks.first_start,
    )  # fmt: skip


@inner
def exchanges(edges, step):
    """Whether values move in a step, so that errors and drives are exchanged."""
    stage = (edges.first + step) % edges.stages if edges.stages > 1 else 0
    return edges.moves[stage] != 0


@inner
def _errors_known(edges, step):
    """Whether a step begins with a forward pass, which leaves no error in a hidden layer: none is sent up."""
    t = edges.first + step
    if edges.cycle > 0:
        t %= edges.cycle
    return t == 0 and (step > 0 or edges.first_start == 0)


@inner
def _sends(edges, side, step):
    """Whether a message leaves at this side in a step: drives go down, errors up."""
    return exchanges(edges, step) and (side == BELOW or not _errors_known(edges, step))


@inner
def _receives(edges, side, step):
    """Whether a message comes at this side in a step."""
    return exchanges(edges, step) and (side == ABOVE or not _errors_known(edges, step))


@inner
def _post(edges, side, step):
    """Start the receive of a step, unless that is done."""
    state, request = side * SIDE, side * REQUESTS
    if edges.state[state + POSTED] <= step:
        start(edges.library, edges.requests[request + RECEIVES + (step & 1)])
        edges.state[state + POSTED] = step + 1


@inner
def _send(edges, side, step):
    """The message of a step whose products at this edge are there, after the receives that may now be started: of this
    step, and of the next that exchanges, if it has the other slot and no forward start fills that before."""
    state, request = side * SIDE, side * REQUESTS
    if _receives(edges, side, step):
        _post(edges, side, step)
    after, free = step + 1, True
    while after < edges.steps and not _receives(edges, side, after):
        free = free and not (side == BELOW and _errors_known(edges, after))
        after += 1
    if after < edges.steps and (after - step) & 1 and free:
        _post(edges, side, after)
    if _sends(edges, side, step):
        send(edges.library, edges.requests[request + SENDS + (step & 1)])
    edges.state[state + SENT] = step + 1


@inner
def _left(edges, side, slot):
    """Whether nothing is on its way from one place of a side's messages, nor the values of a forward start."""
    if not done(edges.library, edges.requests[side * REQUESTS + SENDS + slot]):
        return False
    starts = SIDE + START_LEFT
    if side == ABOVE and edges.batches > 0 and edges.state[starts] < edges.state[SIDE + START_DONE]:
        if not done(edges.library, edges.requests[REQUESTS + START]):
            return False
        edges.state[starts] = edges.state[SIDE + START_DONE]
    return True


@inner
def _poll_side(edges, side, progress, mine, theirs, look):
    """A step's message goes when the one before has been received: a worker that was stopped goes on without."""
    state = side * SIDE
    step = edges.state[state + SENT]
    if step < reached(progress, mine) and step <= edges.state[state + RECEIVED]:
        _send(edges, side, step)
    step = edges.state[state + RECEIVED]
    if look and step < edges.steps:
        if _receives(edges, side, step):
            arrived = edges.state[state + POSTED] > step and done(
                edges.library, edges.requests[side * REQUESTS + RECEIVES + (step & 1)]
            )
        else:  # nothing comes; the flag says that the places of earlier steps may be written again
            arrived = edges.state[state + SENT] > step
        if arrived and _left(edges, side, (step + 1) & 1) and _passed(edges, side, step):
            edges.state[state + RECEIVED] = step + 1
            publish(progress, theirs, step + 1)


@inner
def _poll_starts(edges, started, workers):
    """Values of the forward start: they come from below, and go above when the highest worker has made them."""
    if edges.above:
        state = SIDE + START_DONE
        batch = edges.state[state]
        if batch < edges.batches and reached(started, workers - 1) > batch:
            send(edges.library, edges.requests[REQUESTS + START])  # the last one has left: see ``_left``
            edges.state[state] = batch + 1
    if edges.below:
        request = edges.requests[START]
        batch = edges.state[START_DONE]
        if batch < edges.batches:
            if edges.state[START_POSTED] <= batch:
                if batch > edges.first_start and reached(started, 0) < batch:
                    return  # the one before has not been used
                start(edges.library, request)
                edges.state[START_POSTED] = batch + 1
            if done(edges.library, request):
                edges.state[START_DONE] = batch + 1
                publish(started, workers, batch + 1)


@inner
def _passes(edges, side, k):
    """The step after whose products at this edge the values of start k pass it."""
    return k * edges.state[side * SIDE + CYCLE] - edges.state[side * SIDE + SHIFT]


@inner
def _request_of(edges, side, k):
    """The request of start k."""
    state = side * SIDE
    return edges.requests[edges.state[state + TABLE] + k % edges.state[state + PLACES]]


@inner
def _poll_pipelined(edges, progress, started, workers):
    """Values of pipelined starts: they go above when they are made, and come from below into a place that is free, as
    the batch that was there has begun."""
    if edges.above:
        k = edges.state[SIDE + START_DONE]
        step = _passes(edges, ABOVE, k)
        # A worker that was stopped goes on without waiting, and its place may still be on its way.
        if step < edges.steps and k < edges.state[SIDE + START_LEFT] + edges.state[SIDE + PLACES]:
            made = reached(progress, 2 * workers - 1) > step if step >= 0 else reached(started, workers - 1) > k
            if made:
                send(edges.library, _request_of(edges, ABOVE, k))
                edges.state[SIDE + START_DONE] = k + 1
    if edges.below:
        k = edges.state[START_DONE]
        if _passes(edges, BELOW, k) < edges.steps:
            request, cycle = _request_of(edges, BELOW, k), edges.state[CYCLE]
            if edges.state[START_POSTED] <= k and (k - edges.state[PLACES]) * cycle - edges.first < edges.state[SENT]:
                start(edges.library, request)
                edges.state[START_POSTED] = k + 1
            if edges.state[START_POSTED] > k and done(edges.library, request):
                edges.state[START_DONE] = k + 1
                publish(started, workers, k + 1)


@inner
def _passed(edges, side, step):
    """Whether all values of pipelined starts that come with a step are there, or those of earlier steps have left."""
    if edges.batches >= 0:
        return True
    if side == BELOW:
        return _passes(edges, BELOW, edges.state[START_DONE]) > step
    k = edges.state[SIDE + START_LEFT]
    while _passes(edges, ABOVE, k) < step:
        if k >= edges.state[SIDE + START_DONE] or not done(edges.library, _request_of(edges, ABOVE, k)):
            return False
        k += 1
        edges.state[SIDE + START_LEFT] = k
    return True


@inner
def poll(edges, progress, started, workers, look):
    """Send what is there to be sent, and publish what has come, if one is to ``look`` for it (a test in vain takes 0.1
    µs); ``workers`` of this rank have flags before the two neighbours."""
    if edges.batches > 0:
        _poll_starts(edges, started, workers)
    elif edges.batches < 0:
        _poll_pipelined(edges, progress, started, workers)
    if edges.below:
        _poll_side(edges, BELOW, progress, ZERO, 2 * workers + 1, look)
    if edges.above:
        _poll_side(edges, ABOVE, progress, 2 * workers - 1, 2 * (workers + 1), look)


@inner
def poll_once(edges, progress, started, workers, step):
    """``poll`` between layers of a step, its time on the account. Narrow layers are done before an answer can come."""
    if edges.clocked:
        begin = nanoseconds()
        poll(edges, progress, started, workers, edges.often)
        edges.spent[step] += nanoseconds() - begin
    else:
        poll(edges, progress, started, workers, edges.often)


@inner
def poll_until(edges, progress, started, workers, flags, flag, value, step, stop):
    """Poll until a flag has reached ``value``, in a step; False if flag 0 of ``stop`` was raised meanwhile."""
    tests, begin = 0, nanoseconds() if edges.clocked else 0
    while True:
        poll(edges, progress, started, workers, True)
        if reached(flags, flag) >= value:
            if edges.clocked:
                edges.spent[step] += nanoseconds() - begin
            return True
        tests += 1
        if not go_on(edges.library, tests, stop):
            return False


@inner
def settle_edges(edges, progress, started, workers, stop):
    """At the end of a run: poll until all has been sent and received, for the other workers of this rank as well."""
    tests = 0
    while True:
        poll(edges, progress, started, workers, True)
        left = False
        for side in range(2):
            if edges.above if side == ABOVE else edges.below:
                state = side * SIDE
                left = left or edges.state[state + SENT] < edges.steps or edges.state[state + RECEIVED] < edges.steps
                left = left or edges.state[state + START_DONE] < edges.batches
                left = left or not (_left(edges, side, ZERO) and _left(edges, side, ONE))
                left = left or not _passed(edges, side, edges.steps - (side == BELOW))
        if not left:
            return True
        tests += 1
        if not go_on(edges.library, tests, stop):
            return False
