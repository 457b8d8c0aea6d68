"""The persistent MPI requests of a rank: what it sends to other ranks and receives from them in every step."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..host.mpi import world
from ..kernels.machine.memory import side_by_side
from ..kernels.machine.messages import functions, make_scratch
from ..schedule.blocks import SUMMED
from .feedback import FeedbackLayout
from .layout import Layout
from .loops.arguments import Arrays, Crossings, GradientSums, PartMessages, Ranks, RowMessages, ShareMessages
from .loops.asynchronous_ranks import SIDE as CROSSING
from .loops.edges import (
    ABOVE,
    BELOW,
    CYCLE,
    PLACES,
    RECEIVES,
    REQUESTS,
    SENDS,
    SHIFT,
    SIDE,
    START,
    START_DONE,
    START_LEFT,
    START_POSTED,
    TABLE,
)
from .rings import RingLayout
from .share_messages import share_messages
from .starts import PipelinedStarts
from .streams import StreamLayout
from .sweeps import SweptLayout

Array = np.ndarray

# Of the messages: errors go up, drives (of BP: errors) down; two places each, for odd and even steps.
UP, DOWN, FIRST = 0, 2, 4

LARGE = 1 << 13  # bytes of a message above which libraries begin to ask the receiver first

OFTEN = 1 << 15  # weights × batch of a layer above which a poll after it costs nothing to speak of (some 0.2 µs)


class Messages:
    """The requests of this rank of ``comm``, made once for the arrays of an engine and used in every step."""

    def __init__(self, comm: Any) -> None:
        self.MPI, self.comm, self.rank, self.ranks = world(), comm, comm.rank, comm.size
        self.functions, self.memory = functions(self.MPI.__file__), make_scratch()
        self.requests: list[Any] = []
        self.bytes_of: dict[int, int] = {}  # of each request that sends, by the address of its handle
        self.batch_bytes = 0  # of asynchronous BP, that this rank sends for a batch
        self.shares: ShareMessages | None = None
        self.addresses = np.zeros(2 * REQUESTS, np.int64)  # of the edges' requests, 0 for none
        self.started: dict[int, list[int]] = {}  # by side, those of a pipelined start's places

    def _kept(self, request: Any) -> int:
        """The address of the handle; the object is kept, as it owns the handle."""
        self.requests.append(request)
        return int(self.MPI._addressof(request))

    def _to(self, buffer: Array, rank: int, tag: int) -> int:
        address = self._kept(self.comm.Send_init(buffer, rank, tag))
        self.bytes_of[address] = buffer.nbytes
        return address

    def _from(self, buffer: Array, rank: int, tag: int) -> int:
        return self._kept(self.comm.Recv_init(buffer, rank, tag))

    def of_edges(self, layout: Layout, arrays: Arrays, starts: PipelinedStarts) -> None:
        """At each edge of this rank's layers errors and drives, and the values of starts."""
        for side, l, other in ((BELOW, layout.lo, self.rank - 1), (ABOVE, layout.hi, self.rank + 1)):
            if not 0 <= other < self.ranks:
                continue
            at, first = layout.place_of(l), side * REQUESTS
            for slot in range(2):
                here = slice(slot * layout.value_count + at.start, slot * layout.value_count + at.stop)
                errors, drives = arrays.errors[here], arrays.drives[here]
                if side == BELOW:
                    self.addresses[first + SENDS + slot] = self._to(drives, other, DOWN + slot)
                    self.addresses[first + RECEIVES + slot] = self._from(errors, other, UP + slot)
                else:
                    self.addresses[first + SENDS + slot] = self._to(errors, other, UP + slot)
                    self.addresses[first + RECEIVES + slot] = self._from(drives, other, DOWN + slot)
            start = self._from if side == BELOW else self._to
            places = starts.places_of(l) if starts.on else [arrays.top[at]]
            self.started[side] = [start(place, other, FIRST) for place in places]
            self.addresses[first + START] = self.started[side][0]

    def of_sweeps(self, layout: SweptLayout, arrays: Arrays) -> None:
        """At each edge of this rank's layers, in dual propagation, means that go up and what is sent back."""
        for side, l, other in ((BELOW, layout.lo, self.rank - 1), (ABOVE, layout.hi, self.rank + 1)):
            if not 0 <= other < self.ranks:
                continue
            mean, back = arrays.activated[layout.place_of(l)], arrays.drives[layout.place_of(l)]
            out, coming = ((back, DOWN), (mean, UP)) if side == BELOW else ((mean, UP), (back, DOWN))
            self.addresses[side * REQUESTS + SENDS] = self._to(out[0], other, out[1])
            self.addresses[side * REQUESTS + RECEIVES] = self._from(coming[0], other, coming[1])

    def edges(
        self, layout: Layout, batches: int, first_start: int, spent: Array, starts: PipelinedStarts, t: int, number: int
    ) -> Ranks:
        """The neighbouring ranks, for a run in which so many batches begin, from step ``t`` of one on and after
        ``number`` weight updates."""
        state, requests = np.zeros(2 * SIDE, np.int64), self.addresses
        if starts.on:
            given, batches, first_start = first_start > 0, -1, 1
            for side, mine in self.started.items():
                l, words = (layout.lo, layout.hi)[side], state[side * SIDE :]
                words[CYCLE], words[SHIFT], words[START_DONE] = starts.passing(l, t, number == 0 and t == 0, given)
                words[START_POSTED] = words[START_LEFT] = words[START_DONE]
                words[PLACES], words[TABLE] = len(mine), len(requests)
                requests = np.concatenate([requests, np.roll(mine, -(starts.batch % len(mine)))])
        for side in (BELOW, ABOVE) if not starts.on else ():
            for word in (START_DONE, START_POSTED, START_LEFT):
                state[side * SIDE + word] = first_start
        return Ranks(
            self.rank > 0, self.rank < self.ranks - 1, self._often(layout), len(spent) > 0, batches, first_start,
            self.functions, self.memory, requests, state, spent,
        )  # fmt: skip

    def of_rows(self, layout: Layout, arrays: Arrays) -> RowMessages:
        """For each layer: to receive from and to send to each rank, rows of its values and shares of its errors. Of a
        single sample they go from where they are to where they belong, of a batch through packed copies."""
        L, R, mine, B = layout.depth, self.ranks, self.rank, layout.batch
        gathers, sums = np.zeros((2, L + 1, 2, R), np.int64)
        size = B * int(layout.counts.max())
        out, inbox = side_by_side([R * size if B > 1 else 0] * 2, layout.dtype)
        for l in range(1, L):
            for other in range(R):
                if other == mine:
                    continue
                ours, theirs = int(layout.counts[mine, l]), int(layout.counts[other, l])
                at, to = (int(layout.value_at[mine, l] + layout.firsts[rank, l]) for rank in (mine, other))
                values, packed = arrays.values, slice(other * size, other * size + B * theirs)
                share, its_share = (arrays.drives[rank * layout.value_count :] for rank in (mine, other))
                if theirs:  # its rows of the values come, and our share of its errors goes
                    arriving = values[to : to + theirs] if B == 1 else inbox[packed]
                    leaving = share[to : to + theirs] if B == 1 else out[packed]
                    gathers[l, 0, other] = self._from(arriving, other, l & 1)
                    sums[l, 1, other] = self._to(leaving, other, 2 + (l & 1))
                if ours:
                    arriving = its_share[at : at + ours] if B == 1 else inbox[packed.start :][: B * ours]
                    leaving = values[at : at + ours] if B == 1 else out[: B * ours]
                    gathers[l, 1, other] = self._to(leaving, other, l & 1)
                    sums[l, 0, other] = self._from(arriving, other, 2 + (l & 1))
        return RowMessages(gathers, sums, out, inbox, size, self.functions, self.memory)

    def of_shares(self, layout: Layout) -> ShareMessages:
        """The messages of row-split predictive coding."""
        self.shares = share_messages(layout, self.rank, self._to, self._from, self.functions, self.memory)
        return self.shares

    def of_parts(self, layout: Layout, arrays: Arrays) -> PartMessages:
        """For each micro-batch: values from below, values to above, errors from above, errors to below."""
        begins, counts, lo, hi = layout.shares.at, layout.shares.samples, layout.lo, layout.hi
        found = np.zeros((len(counts), 4), np.int64)
        for m, count in enumerate(counts):
            below = slice(int(begins[m, lo]), int(begins[m, lo] + count * layout.wide[lo]))
            above = slice(int(begins[m, hi]), int(begins[m, hi] + count * layout.wide[hi]))
            if self.rank > 0:
                found[m, 0] = self._from(arrays.values[below], self.rank - 1, UP)
                found[m, 3] = self._to(arrays.errors[below], self.rank - 1, DOWN)
            if self.rank < self.ranks - 1:
                found[m, 1] = self._to(arrays.values[above], self.rank + 1, UP)
                found[m, 2] = self._from(arrays.errors[above], self.rank + 1, DOWN)
        return PartMessages(found, self.functions, self.memory)

    def of_flights(self, layout: RingLayout, arrays: Arrays) -> Crossings:
        """At each edge of this rank's layers, of asynchronous BP, values that go up from their rings, and errors that
        come down."""
        requests: list[int] = []
        for side, l, other in ((BELOW, layout.lo, self.rank - 1), (ABOVE, layout.hi, self.rank + 1)):
            places, size = int(layout.places[min(l, layout.depth - 1)]), layout.batch * int(layout.wide[l])
            if not 0 <= other < self.ranks:
                requests += [0] * (places + 2)
                continue
            up, down = (self._from, self._to) if side == BELOW else (self._to, self._from)
            for place in range(places):
                at = int(layout.value_at[layout.place, l]) + place * size
                requests.append(up(arrays.values[at : at + size], other, UP))
            for slot in range(2):
                at = slot * layout.error_count + int(layout.error_at[l])
                requests.append(down(arrays.errors[at : at + size], other, DOWN + slot))
            self.batch_bytes += size * layout.dtype.itemsize
        return Crossings(
            self.rank > 0, self.rank < self.ranks - 1, self._often(layout), layout.lo, layout.hi, self.functions,
            self.memory, np.array(requests, np.int64), np.zeros(2 * CROSSING, np.int64),
        )  # fmt: skip

    def of_streams(self, layout: StreamLayout | FeedbackLayout, arrays: Arrays) -> Crossings:
        """At each edge values that go up from their rings, and errors of the output that come down where others learn
        from them."""
        requests: list[int] = []
        kept, size = (layout.errors_kept, layout.of_output) if isinstance(layout, FeedbackLayout) else (0, 0)
        for side, l, other in ((BELOW, layout.lo, self.rank - 1), (ABOVE, layout.hi, self.rank + 1)):
            places, height = layout.places_of(l), layout.batch * int(layout.wide[l])
            if not 0 <= other < self.ranks:
                requests += [0] * (places + kept)
                continue
            up, down = (self._from, self._to) if side == BELOW else (self._to, self._from)
            for place in range(places):
                at = int(layout.value_at[layout.place, l]) + place * height
                requests.append(up(arrays.values[at : at + height], other, UP))
            requests += [down(arrays.errors[i * size : (i + 1) * size], other, DOWN) for i in range(kept)]
            self.batch_bytes += (height if side == ABOVE else size) * layout.dtype.itemsize
        return Crossings(
            self.rank > 0, self.rank < self.ranks - 1, self._often(layout), layout.lo, layout.hi, self.functions,
            self.memory, np.array(requests, np.int64), np.zeros(2 * CROSSING, np.int64),
        )  # fmt: skip

    def _often(self, layout: Layout) -> bool:
        """Whether to poll after every layer: for other threads' messages, and for large ones, which MPI moves in
        several turns."""
        wide = layout.wide
        large = layout.batch * int(wide.max()) * layout.dtype.itemsize >= LARGE
        return (layout.workers > 1 or large) and int((wide[1:] * wide[:-1]).max()) * layout.batch >= OFTEN

    def of_gradients(self, layout: Layout, arrays: Sequence[Arrays]) -> tuple[GradientSums, list[Arrays]]:
        """To sum up the gradients of all ranks, and the arrays with room for all of them at once, as their sums are
        under way together: as much memory as the weights."""
        lengths = layout.wide[1:] * (layout.wide[:-1] + 1)
        begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        gradients = np.zeros(int(lengths.sum()) + 16, layout.dtype)
        scratch = gradients[(-gradients.ctypes.data % 64) // gradients.itemsize :]
        pending = np.full(layout.depth, self.MPI._handleof(self.MPI.REQUEST_NULL), np.int64)
        handles = (self.MPI._typedict[layout.dtype.char], self.MPI.SUM, self.comm)
        kind, operation, communicator = (int(self.MPI._handleof(handle)) for handle in handles)
        opened, least = np.arange(layout.depth), SUMMED // scratch.itemsize
        sums = GradientSums(
            int(self.MPI.IN_PLACE), kind, operation, communicator, int(scratch.ctypes.data), scratch.itemsize,
            pending, begins, opened, least, self.functions, self.memory,
        )  # fmt: skip
        return sums, [each._replace(scratch=scratch) for each in arrays]

    def bytes_of_step(self) -> tuple[int, int]:
        """Bytes that this rank sends in a step in which values move, and in a forward start."""
        if self.shares:
            moving, starting = np.array([self.shares.shares, self.shares.values]), self.shares.starts
            sent = [sum(self.bytes_of.get(a, 0) for a in found.ravel().tolist()) for found in (moving, starting)]
            return sent[0], sent[1]
        places = [side * REQUESTS + SENDS for side in (BELOW, ABOVE)]
        moved = sum(self.bytes_of.get(int(self.addresses[place]), 0) for place in places)
        return moved, self.bytes_of.get(int(self.addresses[REQUESTS + START]), 0)

    def close(self) -> None:
        """Give the requests back to MPI, which has only so many."""
        for request in self.requests:
            request.Free()
        self.requests = []
