"""Plans of what streams through layers on workers: local losses, and direct feedback alignment."""

from __future__ import annotations

import numpy as np

from ..algorithms import DFA, Algorithm
from ..errors import InputError
from ..schedule.blocks import balanced_blocks
from ..schedule.timeline import BACKPROJECT, PREDICT, UPDATE, VALUE
from ..schedule.waves import Caches
from .nets import Net
from .plans import Draft, Plan

PERIODS = 3  # of which the last is the steady state

WAVE = 8  # batches of one sample for which a layer's weights are fetched once, as in the engines


def wave_of_stream(net: Net, workers: int, caches: Caches) -> int:
    """Batches that are taken together: several where a worker's weights do not fit into its core's own cache."""
    return WAVE if net.batch == 1 and sum(net.weights()) * net.item > workers * caches.own else 1


def streamed_plan(algorithm: Algorithm, net: Net, workers: int, wave: int = 1) -> Plan:
    """Jobs in the order of ``engines.loops.local`` and ``engines.loops.feedback``: a worker takes the batches of a wave
    through its layers, layer after layer, but batch after batch where feedback alignment needs errors of the same wave.
    At a batch of one and with plain gradient descent the products of a layer are one pass over its weights, and the
    activations that follow are priced as new values. A head, or the feedback, of layer l has the number L + l, as its
    matrix is another. A worker has room for the values of two waves that the one above has not begun.
    """
    L, sizes = net.depth, net.sizes
    if workers > L:
        raise InputError(f"{workers} workers are more than the {L} layers: use at most {L}")
    late = isinstance(algorithm, DFA)
    fused = net.batch == 1 and algorithm.optimizer == "sgd" and not algorithm.weight_decay
    blocks, draft = balanced_blocks(net.weights(), workers), Draft()
    room = 2 * (WAVE if net.batch == 1 else 1) + 1
    # Whole waves, and as many as somebody waits for: an error of the output is used up to L - 1 batches later.
    period = wave * -(-max(room, L - 1 if late else 1) // wave)
    first = np.full((L, PERIODS * period), -1)  # jobs that begin a layer's turn on a batch
    last = first.copy()  # and that end it
    classes = sizes[-1]
    for number in range(PERIODS):
        for worker, (lo, hi) in enumerate(blocks):
            for l, k in _turns(number * period, period, wave, lo, hi, L - wave if late else L):
                head = l + 1 < L
                own: list[tuple[int, int, int, int]] = []  # work, layer, rows, columns
                if late:
                    own += [(BACKPROJECT, L + l, classes, sizes[l + 1])] * head
                else:
                    parts = (PREDICT | BACKPROJECT | UPDATE,) if net.batch == 1 else (PREDICT, BACKPROJECT, UPDATE)
                    own += [(part, L + l, classes, sizes[l + 1]) for part in parts if head]
                layer = (l, sizes[l + 1], sizes[l])
                values = [(VALUE, l, 1, sizes[l + 1])] * (head and net.batch == 1)
                if fused and late:
                    jobs = [*own, (PREDICT | UPDATE, *layer), *values]
                elif fused:
                    jobs = [(PREDICT | UPDATE, *layer), *values, *own]
                else:
                    jobs = [(PREDICT, *layer), *values, *own, (UPDATE, *layer)]
                made = [
                    draft.add(
                        worker, work=work, layer=place, rows=rows, columns=columns, batch=net.batch, step=k,
                        update=number * period,
                    )[0]
                    for work, place, rows, columns in jobs
                ]  # fmt: skip
                first[l, k], last[l, k] = made[0], made[-1]
    owner = np.concatenate([np.full(hi - lo, worker) for worker, (lo, hi) in enumerate(blocks)])
    draft.tie(last[:, :-1], first[:, 1:])
    for l in range(1, L):
        size = sizes[l] * net.batch * net.item * bool(owner[l] != owner[l - 1])
        draft.tie(last[l - 1], first[l], size)  # values from below
        if size:
            draft.tie(last[l, :-room], first[l - 1, room:])
    for l in range(L - 1 if late else 0):  # errors of the output
        size = classes * net.batch * net.item * bool(owner[l] != owner[L - 1])
        draft.tie(last[L - 1, : l + 1 - L], first[l, L - 1 - l :], size)
    return draft.plan("layer-parallel" if workers > 1 else "serial", workers, (PERIODS - 1) * period, period)


def _turns(begin: int, period: int, wave: int, lo: int, hi: int, apart: int) -> list[tuple[int, int]]:
    """(layer, batch) in the order of a worker's loop: from layer ``apart`` on one batch after another."""
    split, found = min(hi, max(lo, apart)), []
    for at in range(begin, begin + period, wave):
        batches = range(at, at + wave)
        found += [(l, k) for l in range(lo, split) for k in batches]
        found += [(l, k) for k in batches for l in range(split, hi)]
    return found
