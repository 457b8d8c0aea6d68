"""Plans of dual propagation: layers on workers, of which those of one parity move in a half sweep."""

from __future__ import annotations

import numpy as np

from ..algorithms import DualProp
from ..errors import InputError
from ..schedule.blocks import balanced_blocks
from ..schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE
from .nets import Net
from .plans import Draft, Plan

PERIODS = 3  # of which the last is the steady state


def swept_plan(algorithm: DualProp, net: Net, workers: int, wave: int = 1) -> Plan:
    """Jobs in the order of ``engines.loops.dual``: half sweeps one after another, or, of kept values, so many in a
    ``wave`` up or down a worker's block. At a batch of one a layer's products are one pass over its weights, between
    two halves of which it takes its two values, which are priced as twice as many new ones. In the first half sweep on
    a batch the output alone moves, as nothing has come down yet.
    """
    L, sizes = net.depth, net.sizes
    if workers > L:
        raise InputError(f"{workers} workers are more than the {L} layers: use at most {L}")
    calendar = algorithm.checked_calendar(L, net.steps_per_batch)
    S, updated, cycle = len(calendar.stages), calendar.updates(L), calendar.cycle
    period = cycle or S * 2 * wave  # neighbouring waves go up and down
    updates = int(calendar.completed[-1]) * period // S
    alone = net.batch == 1
    fused = UPDATE * (algorithm.optimizer == "sgd" and not algorithm.weight_decay)
    blocks, draft = balanced_blocks(net.weights(), workers), Draft()
    owner = np.concatenate([np.full(hi - lo, worker) for worker, (lo, hi) in enumerate(blocks)])
    starts, first = np.full((2, PERIODS * period, L), -1)  # jobs that begin a layer's turn in a step
    last = first.copy()  # and that end it

    def jobs(l: int, step: int, works: list[int]) -> tuple[int, int]:
        made = [
            draft.add(
                owner[l], layer=l, step=step, work=work, batch=net.batch, update=step // period * updates,
                rows=1 if work == VALUE else sizes[l + 1], columns=2 * sizes[l + 1] if work == VALUE else sizes[l],
            )[0]
            for work in works
            if work
        ]  # fmt: skip
        return int(made[0]), int(made[-1])

    waves = [
        (base + at, min(wave, period - at))
        for base in range(0, PERIODS * period, period)
        for at in range(0, period, wave)
    ]
    for number, (at, steps) in enumerate(waves):
        begins = cycle > 0 and at % cycle == 0
        for worker, (lo, hi) in enumerate(blocks):
            for l in range(lo, min(hi, L - 1)) if begins else ():
                starts[at, l] = jobs(l, at, [START])[0]
            for l, step in _turns(at, steps, lo, hi, (worker + number) % 2 == 0):
                stage = step % S
                if (l + 1) % 2 != calendar.stages[stage].parity or (begins and step == at and l + 1 < L):
                    continue
                down, learns = BACKPROJECT * (l > 0), UPDATE * bool(updated[stage][l])
                whole = [PREDICT | down | learns & fused, VALUE, learns & ~fused]
                first[step, l], last[step, l] = jobs(l, step, whole if alone else [PREDICT, VALUE, down, learns])
            for l in range(lo, hi):
                stage = (at + steps - 1) % S
                if updated[stage][l] and (l + 1) % 2 != calendar.stages[stage].parity:
                    jobs(l, at + steps - 1, [UPDATE])
    made = np.full(L, -1)  # what each layer has made last
    for step in range(PERIODS * period):
        for l in np.flatnonzero(starts[step] >= 0).tolist():
            below = starts[step, l - 1] if l else -1
            _tie(draft, net, owner, below, starts[step, l], l)
            draft.tie(made[[l, min(l + 1, L - 1)]], np.full(2, starts[step, l]))
        made = np.where(starts[step] >= 0, starts[step], made)
        moved = np.flatnonzero(first[step] >= 0).tolist()
        for l in moved:
            _tie(draft, net, owner, made[l - 1] if l else -1, first[step, l], l)
            _tie(draft, net, owner, made[l + 1] if l + 1 < L else -1, first[step, l], l + 1)
            draft.tie(made[l], first[step, l])
        made = np.where(first[step] >= 0, last[step], made)
    execution = "layer-parallel" if workers > 1 else "serial"
    return draft.plan(execution, workers, (PERIODS - 1) * updates, updates)


def _tie(draft: Draft, net: Net, owner: np.ndarray, before: int, after: int, l: int) -> None:
    """What is handed over between ``W[l-1]`` and ``W[l]`` has the size of x[l]."""
    crossing = 0 < l < net.depth and owner[l] != owner[l - 1]
    draft.tie(before, after, net.sizes[l] * net.batch * net.item * crossing)


def _turns(at: int, wave: int, lo: int, hi: int, upwards: bool) -> list[tuple[int, int]]:
    """(layer, step) in the order of a worker's loop: in a wave of one step the edges of its block come first."""
    n = hi - lo
    if wave == 1:
        return [(l, at) for l in dict.fromkeys([lo, hi - 1, *range(lo + 1, hi - 1)])]
    return [
        (lo + front - k if upwards else hi - 1 - front + k, at + k)
        for front in range(n + wave - 1)
        for k in range(max(0, front - n + 1), min(wave, front + 1))
    ]
