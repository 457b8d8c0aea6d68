"""The transport of MPI ranks: each has threads of its own, and exchanges messages with its neighbours."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..algorithms import PIPELINE_ASYNC
from ..host.context import usable_cores
from ..host.links import one_way
from ..host.mpi import Failure, all_to_all, hosts, watched, world
from ..host.threads import in_threads
from ..kernels.machine.messages import COUNT, FAILED
from .feedback import FeedbackLayout
from .layout import ROWS, Layout
from .loops import asynchronous_ranks, backprop, backprop_ranks, dual, streams_ranks, zero_bubble
from .loops.arguments import Arrays, Ranks
from .loops.rows_ranks import rows_of_rank
from .loops.samples_ranks import samples_of_rank
from .loops.teams_ranks import team_of_rank
from .messages import Messages
from .rings import RingLayout
from .starts import PipelinedStarts
from .streams import StreamLayout
from .sweeps import SweptLayout

Array = np.ndarray

MEMORY_RATE = 5e10  # bytes per second that a core reads and writes, roughly


class RankTransport:
    """All ranks of ``comm``, with ``workers`` threads on each: this one's part of them (see ``compiled.Transport``)."""

    copies = True  # no memory is shared

    def __init__(self, comm: Any, workers: int, pin: bool) -> None:
        self.comm, self.rank, self.ranks = comm, comm.rank, comm.size
        self.workers, self.all_workers, self.place, self.pin = workers, comm.size * workers, comm.rank * workers, pin
        self.below, self.above = self.rank > 0, self.rank < self.ranks - 1
        self.first_core = 0
        self.messages = Messages(comm)
        self.of_execution: Any = None
        here = hosts(comm)
        local = [rank for rank in range(self.ranks) if here[rank] == here[self.rank]]
        cores = all_to_all(comm, usable_cores())
        # Ranks that a launcher has bound each have cores of their own; else those of a host share them out.
        if all(cores[rank] == cores[self.rank] for rank in local):
            self.first_core = local.index(self.rank) * workers

    def connect(self, layout: Layout, arrays: list[Arrays], execution: str | None, starts: PipelinedStarts) -> None:
        """Make the messages."""
        if isinstance(layout, StreamLayout | FeedbackLayout):
            self.of_execution = self.messages.of_streams(layout, arrays[0])
        elif isinstance(layout, SweptLayout):
            self.messages.of_sweeps(layout, arrays[0])
        elif execution in (None, "hybrid"):
            self.messages.of_edges(layout, arrays[0], starts)
        elif execution == "intra-layer":
            rows = layout.split == ROWS  # of backprop
            self.of_execution = self.messages.of_rows(layout, arrays[0]) if rows else self.messages.of_shares(layout)
        elif execution == "data-parallel":
            self.of_execution, arrays[:] = self.messages.of_gradients(layout, arrays)
        elif execution == "pipeline":
            self.of_execution = self.messages.of_parts(layout, arrays[0])
        elif isinstance(layout, RingLayout):
            self.of_execution = self.messages.of_flights(layout, arrays[0])

    def start(self, work: Callable[[int], None], stop: Array) -> None:
        """Run ``work(worker)`` for every worker of this rank, from a barrier of all ranks on."""

        def prepared(worker: int) -> None:
            if worker == 0:
                self.comm.Barrier()
            work(worker)

        with watched(stop):
            in_threads(self.workers, prepared, stop, self.pin, here=True, first_core=self.first_core)
        failed = int(self.messages.memory[FAILED])
        if failed:
            raise Failure(f"MPI failed: {world().Get_error_string(failed)}")
        if stop[0]:  # a signal whose handler returned; the other ranks wait for this one
            raise KeyboardInterrupt

    def neighbours(self, layout: Layout, batches: int, first_start: int, spent: Array, *run: Any) -> Ranks:
        """The neighbouring ranks, for the compiled loops; ``run``: see ``Messages.edges``."""
        return self.messages.edges(layout, batches, first_start, spent, *run)

    def backprop(self, execution: str) -> tuple[Any, tuple]:
        """The compiled loop of an execution of BP, and the messages it is given beside the neighbouring ranks."""
        if execution == "dual":
            return dual.dual, ()
        loops = {
            "intra-layer": backprop_ranks.intra_layer,
            "data-parallel": backprop_ranks.data_parallel,
            "pipeline": backprop_ranks.pipeline,
            "zero-bubble": zero_bubble.zero_bubble_ranks,
            PIPELINE_ASYNC: asynchronous_ranks.pipeline_async,
            "local": streams_ranks.local_on_rank,
            "dfa": streams_ranks.feedback_on_rank,
        }
        return (loops[execution], (self.of_execution,)) if execution in loops else (backprop.serial, ())

    def shared(self, execution: str, ranks: Ranks) -> tuple[Any, tuple]:
        """The compiled loop of an execution of PC, Z-IL and iPC, and the messages it is given."""
        if execution == "hybrid":
            return team_of_rank, (ranks,)
        return (samples_of_rank if execution == "data-parallel" else rows_of_rank), (ranks, self.of_execution)

    def together(self, seconds: float, energy: Array) -> tuple[float, float]:
        """The longest time; each part of the energy comes from one rank, so that the sum has one order."""
        longest, whole = np.array([seconds]), np.zeros_like(energy)
        self.comm.Allreduce(world().IN_PLACE, longest, world().MAX)
        self.comm.Allreduce(energy, whole)
        return float(longest[0]), float(whole.sum())

    def everyone(self, mine: Any) -> list[Any]:
        """What each rank gives (JSON), on all of them."""
        return all_to_all(self.comm, mine)

    def steps_in_a_wave(self, layout: Layout, wave: int, chosen: bool) -> int:
        """How many steps all ranks take together: what suits the smallest cache, and if the number was not ``chosen``,
        one where messages are slow."""
        wave = min(self.everyone(wave))
        return 1 if not chosen and wave > 1 and self._slow(layout) else wave

    def _slow(self, layout: Layout) -> bool:
        """Whether the slowest message between neighbours takes a tenth of a step, and so more than waves would gain: in
        a wave the steps meet their neighbour's one right after the other, which no interior layer hides."""
        size, slowest = layout.batch * int(layout.wide.max()) * layout.dtype.itemsize, 0.0
        for parity in (0, 1):  # all pairs, at two times
            first = self.rank - (self.rank + parity) % 2
            if first >= 0 and first + 1 < self.ranks:
                slowest = max(slowest, one_way(self.comm, first, first + 1, size, budget=0.005) or 0.0)
        step = 2 * layout.parameter_count * layout.dtype.itemsize / self.workers / MEMORY_RATE
        return max(self.everyone(slowest)) > 0.1 * min(self.everyone(step))

    def assemble(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype,
        index: Callable[[int], tuple | None],
        mine: Callable[[int], Array],
        everywhere: bool = True,
    ) -> Array | None:
        """An array of which the worker at each place has the part ``index(place)``, here ``mine(worker)``; None for
        nothing. On rank 0, or ``everywhere``."""
        whole = np.empty(shape, dtype) if self.rank == 0 or everywhere else None
        for place in range(self.all_workers):
            part, rank = index(place), place // self.workers
            if part is None:
                continue
            if self.rank == rank == 0 and whole is not None:
                whole[part] = mine(place)
            elif self.rank == 0 and whole is not None:
                theirs = np.empty_like(whole[part])
                self.comm.Recv(theirs, rank)
                whole[part] = theirs
            elif self.rank == rank:
                self.comm.Send(np.ascontiguousarray(mine(place % self.workers)), 0)
        if everywhere:
            self.comm.Bcast(whole)
        return whole

    def sent(self) -> int:
        """Messages (or sums) that this rank has started so far."""
        return int(self.messages.memory[COUNT])

    def lost(self, spent: Array) -> float:
        """Seconds of a step that messages took, given the nanoseconds of each step on this rank: of two neighbouring
        ranks that which lost less, the median over steps and pairs."""
        pairs = itertools.pairwise(np.array(self.everyone(spent.tolist())))
        return float(np.median([np.minimum(*pair) for pair in pairs])) * 1e-9

    def hand_out(self, data: Sequence[Array], widths: Sequence[int], dtype: np.dtype, everywhere: bool) -> list[Array]:
        """Rank 0's x on the lowest rank and its y on the highest, or both ``everywhere``; elsewhere arrays with as many
        rows and no columns. ``data``: x and y, looked at on rank 0 alone."""
        count, found = all_to_all(self.comm, len(data[0]) if self.rank == 0 else 0)[0], []
        for array, width, owner in zip(data, widths, (0, self.ranks - 1), strict=True):
            mine = np.ascontiguousarray(array, dtype) if self.rank == 0 else None
            needs = everywhere or self.rank == owner
            if mine is None:
                mine = np.empty((count, width if needs else 0), dtype)
            if everywhere:
                self.comm.Bcast(mine)
            elif owner > 0 and self.rank == 0:
                self.comm.Send(mine, owner)
            elif owner > 0 and self.rank == owner:
                self.comm.Recv(mine, 0)
            found.append(mine if needs else np.empty((count, 0), dtype))
        return found
