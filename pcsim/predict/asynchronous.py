"""The plan of asynchronous BP: layers on workers, each on a batch of its own, none of which waits within a slot."""

from __future__ import annotations

import numpy as np

from ..algorithms import AsyncBP
from ..errors import InputError
from ..schedule.blocks import balanced_blocks
from ..schedule.timeline import BACKPROJECT, PREDICT, UPDATE, VALUE
from .nets import Net
from .plans import Draft, Plan

PERIODS = 3  # of which the last is the steady state


def asynchronous_plan(algorithm: AsyncBP, net: Net, workers: int, wave: int = 1) -> Plan:
    """Jobs in the order of ``engines.loops.asynchronous``: a worker takes its layers from the last to the first, two
    steps of a layer at once and pairs one after the other in a ``wave``. At a batch of one and with plain gradient
    descent a layer's three products are one pass over its weights, after new activations, which otherwise are part of
    the predictions; they are priced as new values.

    InputError for the options that keep several versions of the weights, or sums of gradients.
    """
    late = algorithm.weights != "current" or algorithm.accumulate > 1 or algorithm.weight_prediction
    if late:
        raise InputError(
            f"{algorithm.title} is predicted with its current weights and an update for each batch: leave its other "
            "options out"
        )
    L, sizes = net.depth, net.sizes
    if workers > L:
        raise InputError(f"{workers} workers are more than the {L} layers: use at most {L}")
    fused = net.batch == 1 and algorithm.optimizer == "sgd" and not algorithm.weight_decay
    blocks, draft = balanced_blocks(net.weights(), workers), Draft()
    period = wave if wave > 1 else 2  # the values that a layer needs are of two steps before
    first = np.full((L, PERIODS * period), -1)  # jobs that begin a step of a layer
    last = first.copy()  # and that end it, when others hear of it
    for number in range(PERIODS):
        for worker, (lo, hi) in enumerate(blocks):
            for l, t in _steps(number * period, period, wave, lo, hi):
                parts = (PREDICT, BACKPROJECT if l else 0, UPDATE)
                works = [VALUE * (l > 0), sum(parts)] if fused else [*parts]
                shape = {"layer": l, "step": t, "columns": sizes[l], "batch": net.batch, "update": number * period}
                jobs = [
                    draft.add(worker, work=work, rows=1 if work == VALUE else sizes[l + 1], **shape)[0]
                    for work in works
                    if work
                ]
                first[l, t], last[l, t] = jobs[0], jobs[-1]
    owner = np.concatenate([np.full(hi - lo, worker) for worker, (lo, hi) in enumerate(blocks)])
    draft.tie(last[:, :-1], first[:, 1:])
    for l in range(1, L):
        size = sizes[l] * net.batch * net.item * bool(owner[l] != owner[l - 1])
        draft.tie(last[l - 1, :-2], first[l, 2:], size)  # values from below, of two steps before
        draft.tie(last[l], first[l - 1], size)  # errors from above, of this step
    return draft.plan("pipeline-async", workers, (PERIODS - 1) * period, period)


def _steps(begin: int, period: int, wave: int, lo: int, hi: int) -> list[tuple[int, int]]:
    """(layer, step) in the order of a worker's loop."""
    found = []
    for at in range(begin, begin + period, wave):
        pairs = (wave + 1) // 2
        for front in range(hi - lo + pairs - 1):
            for pair in range(max(0, front - (hi - lo) + 1), min(pairs, front + 1)):
                steps = range(at + 2 * pair, min(at + 2 * pair + 2, at + wave))
                found += [(hi - 1 - (front - pair), t) for t in steps]
    return found
