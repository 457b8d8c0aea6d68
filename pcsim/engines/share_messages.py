"""Messages of ranks that share layers in predictive coding: which layers go together, and where each lies in one."""

from collections.abc import Callable

import numpy as np

from ..kernels.machine.memory import side_by_side
from ..schedule.blocks import JOINED, joined
from .layout import Layout
from .loops.arguments import ShareMessages
from .loops.rows_ranks import SHARES, STARTS, VALUES

__all__ = ["EXCHANGES", "STARTS", "joined_layers", "messages_of_exchange", "share_messages", "units_sent"]

Array = np.ndarray

EXCHANGES = (SHARES, VALUES)  # in every step in which values move

# Makes a request for a buffer, another rank, and a tag.
Request = Callable[[Array, int, int], int]


def joined_layers(layout: Layout) -> list[int]:
    """Where each group of neighbouring hidden layers begins whose values go together, and where the last ends."""
    sizes = layout.batch * layout.wide[1 : layout.depth] * layout.dtype.itemsize
    return [1 + l for l in joined(sizes.tolist(), JOINED)]


def units_sent(layout: Layout, kind: int, sender: int, receiver: int, l: int) -> int:
    """How many units of layer l go from one rank to another: shares of the drives of the receiver's units, from whoever
    has rows of ``W[l]``; or values of the sender's units, to whoever has."""
    counts = layout.counts
    if kind == SHARES:
        return int(counts[receiver, l]) if counts[sender, l + 1] else 0
    return int(counts[sender, l]) if counts[receiver, l + 1] else 0


def messages_of_exchange(layout: Layout, kind: int) -> list[tuple[int, int]]:
    """The messages of one exchange of all ranks: (group of layers, units times samples), for STARTS (layer, …)."""
    R, found = range(layout.all_workers), []
    for turn, layers in _runs(layout, kind):
        for sender in R:
            for receiver in R:
                units = sum(units_sent(layout, kind, sender, receiver, l) for l in layers) if sender != receiver else 0
                if units:
                    found.append((turn, layout.batch * units))
    return found


def share_messages(
    layout: Layout, rank: int, to: Request, come: Request, functions: tuple[int, int, int], memory: Array
) -> ShareMessages:
    """The requests of a rank and their buffers, see ``loops/rows_ranks.py``."""
    L, R, B = layout.depth, layout.all_workers, layout.batch
    begins, group = joined_layers(layout), np.zeros(L + 1, np.int64)
    for g in range(len(begins) - 1):
        group[begins[g] : begins[g + 1]] = g
    at = np.full((6, L + 1, R), -1, np.int64)
    requests = {kind: np.zeros((L + 1, 2, R), np.int64) for kind in (SHARES, VALUES, STARTS)}
    lengths, parts = [0, 0], []
    for kind in (SHARES, VALUES, STARTS):
        for turn, layers in _runs(layout, kind):
            for other in (other for other in range(R) if other != rank):
                for comes, pair in enumerate([(rank, other), (other, rank)]):
                    begin = lengths[comes]
                    for l in layers:
                        if units := units_sent(layout, kind, *pair, l):
                            at[kind + comes, l, other] = lengths[comes]
                            lengths[comes] += B * units
                    if lengths[comes] > begin:
                        parts.append((kind, turn, comes, other, slice(begin, lengths[comes])))
    out, inbox = side_by_side(lengths, layout.dtype)
    for kind, turn, comes, other, part in parts:
        make, buffer = (come, inbox) if comes else (to, out)
        requests[kind][turn, 1 - comes, other] = make(buffer[part], other, 3 * turn + kind // 2)
    return ShareMessages(
        requests[SHARES], requests[VALUES], requests[STARTS], group, np.array(begins), at, out, inbox, functions, memory
    )


def _runs(layout: Layout, kind: int) -> list[tuple[int, range]]:
    """The layers that go together, numbered; of a forward start each alone, by its own number."""
    if kind == STARTS:
        return [(l, range(l, l + 1)) for l in range(1, layout.depth)]
    begins = joined_layers(layout)
    return [(g, range(begins[g], begins[g + 1])) for g in range(len(begins) - 1)]
