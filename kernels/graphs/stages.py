"""Compiled loop over the stages of a pipeline: what each of them does when."""

import numpy as np

from ..machine.compiling import njit

# What a stage does in a turn: products forwards, products backwards, the weight products of one micro-batch, and those
# of all micro-batches that are left, with which its weights update.
FORWARD, BACKWARD, ALONE, REST = map(np.int64, range(4))

NEVER = np.int64(1) << 60


@njit(cache=True, nogil=True)
def _soonest(stage, m, forwards, backwards, forward_end, backward_end, free):
    """No error of micro-batch m comes to a stage before that: if all above it did nothing else from now on."""
    end, top = forward_end[stage, m], forwards.size
    for s in range(stage + 1, top):
        end = forward_end[s, m] if forward_end[s, m] < NEVER else max(end, free[s]) + forwards[s]
    for s in range(top - 1, stage, -1):
        end = backward_end[s, m] if backward_end[s, m] < NEVER else max(end, free[s]) + backwards[s]
    return end


@njit(cache=True, nogil=True)
def fill_waits(forwards, backwards, weights, parts, batches, what, part, count):
    """Of ``batches`` batches of ``parts`` micro-batches, one after the other, who does what in which order; of the last
    one ``what[stage]`` and ``part[stage]`` (the micro-batch, of REST the first) receive ``count[stage]`` turns.

    ``forwards``, ``backwards``, ``weights``: what a turn costs each stage. A stage takes an error as soon as there is
    one, else values, else, where the wait for either is at least half of what they cost, weight products of the
    micro-batch whose turn it is.
    """
    stages = forwards.size
    forward_end = np.full((stages, batches, parts), NEVER)
    backward_end = np.full((stages, batches, parts), NEVER)
    free, batch = np.zeros(stages, np.int64), np.zeros(stages, np.int64)
    done = np.zeros((3, stages), np.int64)
    remaining = stages * batches
    while remaining > 0:
        earliest, stage, kind = NEVER, np.int64(-1), FORWARD
        for s in range(stages):
            n = batch[s]
            if n == batches:
                continue
            values, errors = NEVER, NEVER
            f, b, w = done[0, s], done[1, s], done[2, s]
            if b == parts:
                begin, turn = free[s], REST
            else:
                if f < parts:
                    values = max(free[s], forward_end[s - 1, n, f] if s > 0 else 0)
                if b < f:
                    errors = max(free[s], backward_end[s + 1, n, b] if s + 1 < stages else forward_end[s, n, b])
                begin, turn = (errors, BACKWARD) if errors <= values else (values, FORWARD)
                if w < b:
                    until = begin
                    if begin == NEVER and b < f:
                        until = _soonest(s, b, forwards, backwards, forward_end[:, n], backward_end[:, n], free)
                    if 2 * (until - free[s]) >= weights[s]:
                        begin, turn = free[s], ALONE
            # Weight products last, so that what others do at the same time, and when it ends, is known.
            if begin < earliest or (begin == earliest and kind == ALONE and turn != ALONE):
                earliest, stage, kind = begin, s, turn
        m = done[min(kind, 2), stage]
        if batch[stage] == batches - 1:
            what[stage, count[stage]], part[stage, count[stage]] = kind, m
            count[stage] += 1
        if kind == FORWARD:
            free[stage] = earliest + forwards[stage]
            forward_end[stage, batch[stage], m] = free[stage]
        elif kind == BACKWARD:
            free[stage] = earliest + backwards[stage]
            backward_end[stage, batch[stage], m] = free[stage]
        elif kind == ALONE:
            free[stage] = earliest + weights[stage]
        else:
            free[stage] = earliest + (parts - m) * weights[stage]
            batch[stage] += 1
            done[:, stage] = 0
            remaining -= 1
            continue
        done[kind, stage] += 1
