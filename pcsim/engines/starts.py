"""Pipelined starts of an engine: the places of their values, the rows of the batches under way, and their state."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..kernels.machine.memory import side_by_side
from ..schedule.calendar import Calendar
from .layout import Layout
from .loops.arguments import Starts

Array = np.ndarray


class PipelinedStarts:
    """The starts of an engine with a ``layout``; ``following`` gives the rows of the next batch. See
    ``loops/starts.py``. Of a calendar whose start is not pipelined nothing is kept."""

    def __init__(self, layout: Layout, calendar: Calendar | None, wave: int, following: Callable[[], Array]) -> None:
        self.layout, self.following = layout, following
        self.on = calendar is not None and calendar.pipelined
        self.cycle = calendar.cycle if calendar and self.on else 1
        self.updates = int(calendar.completed[-1]) * (calendar.repeats or 1) if calendar and self.on else 1
        L = layout.depth
        self.lead = L - 1
        self.batch = 0  # the one that is under way, or is about to begin
        self.rows: list[Array] = []  # of that batch and of those to come
        here = np.arange(L)
        # Written at one step and read until the batch begins; the input already when the wave begins that needs it.
        steps = np.where(here == 0, self.lead + wave, L + 1 - here)
        self.places = np.maximum(1, -(-steps // self.cycle))
        kept = self.on & (here >= layout.lo) & (here <= layout.hi)
        pages = -(-self.places * layout.batch * layout.wide[:-1] // layout.page) * layout.page
        # What one worker writes, the values above its layers among it, lies apart from what the next does.
        edges = [hi + 1 for _, hi in layout.blocks]
        ends = np.cumsum(kept * (pages + layout.gap * np.isin(here + 1, edges)))
        self.at = np.concatenate([[0], ends])[:-1].astype(np.int64)
        scratch = 3 * layout.workers * [layout.batch * int(layout.wide.max()) if self.on else 0]
        self.values, *parts = side_by_side([int(ends[-1]), *scratch], layout.dtype)
        self.scratch = [parts[3 * worker : 3 * worker + 3] for worker in range(layout.workers)]
        self.nowhere = np.zeros(L + 1, np.int64)

    def touch(self, worker: int) -> None:
        """Have the system give a worker its pages."""
        lo, hi = self.layout.blocks[worker]
        for l in range(lo + (worker > 0), min(hi + 1, self.layout.depth)) if self.on else ():
            self.values[self.at[l] : self.at[l] + self._size(l) : self.layout.page] = 0
        for part in self.scratch[worker]:
            part[:: self.layout.page] = 0

    def _size(self, l: int) -> int:
        return int(self.places[l]) * self.layout.batch * int(self.layout.wide[l])

    def arguments(self, worker: int, opening: bool) -> Starts:
        """For the compiled loop of a worker; ``opening``: whether the run begins with the very first step."""
        x, a, d = self.scratch[worker]
        return Starts(
            self.on, self.on and opening, self.lead, self.batch, self.values, self.at, self.places, x, a, d,
            self.nowhere,
        )  # fmt: skip

    def begun(self, t: int, steps: int) -> int:
        """How many batches, from the one at hand on, have begun to start when so many steps from step ``t`` of a batch
        are done."""
        return (t + steps - 1 + self.lead) // self.cycle + 1

    def draw(self, t: int, steps: int) -> tuple[Array, int]:
        """The rows of all batches that have begun to start by then, and how many of these are new."""
        new = self.begun(t, steps) - len(self.rows)
        self.rows += [self.following() for _ in range(new)]
        return np.array(self.rows, np.int64), new

    def made(self, t: int, steps: int) -> None:
        """So many steps from step ``t`` of a batch are done."""
        over = (t + steps) // self.cycle
        self.batch, self.rows = self.batch + over, self.rows[over:]

    def restored(self, updates: int, rows: Sequence[Array]) -> None:
        """So many updates are made, with the ``rows`` of all batches so far."""
        self.batch = updates // self.updates
        self.rows = list(rows)[self.batch :]

    def under_way(self, t: int) -> list[tuple[int, int]]:
        """Of batches to come whose start has begun at step ``t`` of the batch at hand: their number from that one on,
        and how many layers are known, x[0] among them."""
        first = 1 if t else 0
        return [(k, min(self.lead, t - k * self.cycle + self.lead) + 1) for k in range(first, len(self.rows))]

    def place(self, l: int, k: int) -> Array:
        """Layer l's values in the start of the k-th batch from the one at hand on: a view, (B, n[l])."""
        size = self.layout.batch * int(self.layout.wide[l])
        begin = int(self.at[l]) + (self.batch + k) % int(self.places[l]) * size
        return self.values[begin : begin + size].reshape(self.layout.batch, -1)[:, : self.layout.sizes[l]]

    def places_of(self, l: int) -> list[Array]:
        """All places of layer l's values, with their padding."""
        size = self.layout.batch * int(self.layout.wide[l])
        begins = range(int(self.at[l]), int(self.at[l]) + int(self.places[l]) * size, size)
        return [self.values[begin : begin + size] for begin in begins]

    def passing(self, l: int, t: int, opening: bool, given: bool) -> tuple[int, int, int]:
        """Of a run from step ``t`` of a batch on: steps of a batch; how long before it ``W[l-1]`` predicted for the
        batch at hand; and the first batch, from that one on, whose values pass to layer l in this run."""
        shift = t + self.lead - l + 1
        return self.cycle, shift, int(given) if opening else -(-shift // self.cycle)

    def state(self, t: int, assembled: Callable[..., Array | None]) -> list[list[Array]]:
        """Values of the starts under way, x[0], x[1] …, a list for each batch to come."""
        layout = self.layout
        found = []
        for k, known in self.under_way(t) if self.on else ():
            mine = [
                assembled(
                    (layout.batch, int(layout.sizes[l])),
                    partial(layout.value_part, l=l),
                    lambda worker, l=l, k=k: self.place(l, k),
                    True,
                )
                for l in range(known)
            ]
            found.append([values for values in mine if values is not None])
        return found

    def restore(self, worker: int, t: int, started: Sequence[Sequence[Array]]) -> None:
        """Put those values where a worker finds them."""
        lo, hi = self.layout.blocks[worker]
        for (k, known), values in zip(self.under_way(t), started, strict=True) if self.on else ():
            for l in range(lo, min(hi + 1, known)):
                self.place(l, k)[...] = values[l]
