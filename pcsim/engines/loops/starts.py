"""Pipelined starts in compiled code: batches to come are predicted layer by layer during the steps of those before.

Batch k takes the steps from k × cycle on. ``W[l]`` predicts x[l+1] of its start ``lead - l`` steps before, where
``lead`` is L - 1: from the start's x[l] and with the weights with which that step begins, so before its update. What
would lie before step 0 is an ordinary forward pass. Several starts may be under way, so each layer has as many *places*
for their values as are in use at once; batch k has the place k modulo that number.

A place is written by the worker of the layer below, ahead of what it publishes of that step, and read by its own worker
in the next step and when the batch begins; it is written again when that worker has published a later step. So the
flags of errors and drives are all that is needed, and no worker waits for a start.
"""

from collections import namedtuple

from ...kernels.layers.step import activate_layer, start_prediction
from ...kernels.layers.vectors import copy_part, fill
from ...kernels.layers.view import with_values
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, inner, njit
from ...kernels.machine.simd import pointer
from ...schedule.timeline import START
from .steps import load_rows, note

# ``arguments.Starts`` with pointers in place of arrays, steps of a batch, and the layers with a start's values in place
# of their own (``starting``, in which each begins at 0).
Started = namedtuple("Started", "on opening lead cycle first batch values at places starting")


@njit(nogil=True, cache=True)
def starts_of(s, starts, calendar):
    """The pipelined starts of a run."""
    x, a, d = pointer(starts.x), pointer(starts.a), pointer(starts.d)
    starting = with_values(s, pointer(starts.nowhere), x, a, d)
    return Started(
        starts.on, starts.opening, starts.lead, calendar.cycle, calendar.first, starts.batch, pointer(starts.values),
        pointer(starts.at), pointer(starts.places), starting,
    )  # fmt: skip


@inner
def place_of(p, s, l, k):
    """Where the values of layer l are in the start of the k-th batch from this run's first on."""
    return p.at[l] + (p.batch + k) % p.places[l] * s.batch * s.padded[l]


@inner
def due(p, l, step):
    """The batch, counted from this run's first on, for which ``W[l]`` predicts in a step; 0 for none."""
    ahead = p.first + step + p.lead - l
    return ahead // p.cycle if l < p.lead and ahead % p.cycle == 0 else 0


@inner
def _predict(p, s, l, k, step, trace, room, count):
    """x[l+1] of a start."""
    begin = nanoseconds() if room > 0 else 0
    copy_part(p.values, place_of(p, s, l, k), s.batch * s.padded[l], p.starting.x, ZERO)
    activate_layer(p.starting, l)
    start_prediction(p.starting, l, ZERO, s.padded[l + 1], p.values, place_of(p, s, l + 1, k))
    return note(trace, room, count, START, l, step, begin)


@inner
def start_layer(p, s, l, step, trace, room, count):
    """What ``W[l]`` predicts for a batch to come in a step, before it is updated in that step."""
    k = due(p, l, step)
    return _predict(p, s, l, k, step, trace, room, count) if k > 0 else count


@inner
def load_inputs(p, s, data, step, together):
    """The inputs of starts that begin within so many steps."""
    for each in range(step, step + together):
        k = due(p, ZERO, each)
        if k > 0:
            load_rows(data.x, data.rows, k, ZERO, s.batch, s.padded[0], p.values, place_of(p, s, ZERO, k))


@inner
def open_starts(p, b, s, data, k, count):
    """What lies before step 0 of the start of batch k: an ordinary forward pass through some of a worker's layers."""
    if b.lo == 0:
        load_rows(data.x, data.rows, k, ZERO, s.batch, s.padded[0], p.values, place_of(p, s, ZERO, k))
    first = k * p.cycle - p.lead  # the step at which the start begins
    for l in range(b.lo, min(b.hi, -first)):
        count = _predict(p, s, l, k, first + l, b.trace, b.room, count)
    return count


@inner
def begin_batch(p, b, s, data, k, given):
    """A batch begins: its target is loaded, and its values are what its start has left, unless they are ``given``."""
    if b.lo == 0 and (given or p.lead == 0):
        load_rows(data.x, data.rows, k, ZERO, s.batch, s.padded[0], s.x, s.value_at[0])
    if b.hi == b.depth:
        load_rows(data.y, data.rows, k, ZERO, s.batch, s.padded[b.depth], s.x, s.value_at[b.depth])
    for l in range(b.lo, b.hi):
        if p.lead > 0 and not given:
            copy_part(p.values, place_of(p, s, l, k), s.batch * s.padded[l], s.x, s.value_at[l])
        activate_layer(s, l)
        if b.momentum > 0:
            fill(b.velocity, s.value_at[l], s.batch * s.padded[l], s.zero)
    if b.hi < b.depth:
        if not given:
            copy_part(p.values, place_of(p, s, b.hi, k), s.batch * s.padded[b.hi], b.top, s.value_at[b.hi])
        if b.momentum > 0:
            fill(b.velocity, b.value_count + s.value_at[b.hi], s.batch * s.padded[b.hi], s.zero)
