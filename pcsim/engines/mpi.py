"""Layers on MPI ranks: each rank owns a block of layers for ever, and speaks to its neighbours alone.

Every rank makes the engine with the same arguments and calls the same methods. The workers of a rank are those of
``threads.py``; this file says which part of the net is here, makes the messages, and puts together what is asked for.
What a rank exchanges in a step is in ``loops/edges.py``; BP's loops are in ``loops/backprop_ranks.py``.
"""

import itertools
import zlib
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from ..algorithms import BP, Algorithm
from ..errors import InputError
from ..host.context import usable_cores, version
from ..host.links import one_way
from ..host.mpi import agree, all_to_all, from_root, hosts, vendor, watched, world
from ..host.threads import in_threads
from ..kernels.machine.messages import COUNT, FAILED, functions, make_scratch
from ..net.network import Network
from ..schedule.timeline import Event, Timeline
from ..version import __version__
from .loops import backprop_ranks
from .loops.edges import ABOVE, BELOW, RECEIVES, REQUESTS, SENDS, SIDE, START, START_DONE, START_POSTED
from .messages import DOWN, FIRST, LARGE, OFTEN, UP
from .threads import MICRO_BATCHES, ThreadsEngine, check_execution

Array = np.ndarray

MEMORY_RATE = 5e10  # bytes per second that a core reads and writes, roughly


class MpiEngine(ThreadsEngine):
    """A part of a net in training, with ``workers`` threads on each rank of ``comm`` (default: all ranks).

    ``network``, ``algorithm`` and the options (see ``ThreadsEngine``) are the same on every rank, and the net may be
    one whose layers are made or read when asked for: a rank asks for its own. ``x`` and ``y`` are those of rank 0,
    which hands them to the ranks that need them; those of the others are not looked at.

    ``execution`` says how BP shares its work: "serial" (one rank), "intra-layer", "pipeline" or "data-parallel", each
    with one thread on a rank. Layers need a worker each at most: InputError for more. InputError also where ranks were
    given different arguments, or run different versions.
    """

    def __init__(
        self,
        network: Network,
        algorithm: Algorithm,
        x: Array | None,
        y: Array | None,
        batches: Callable[[], Array],
        *,
        comm: Any = None,
        workers: int = 1,
        steps_per_batch: int | None = None,
        values: list[Array] | None = None,
        pin: bool = False,
        wave: int | None = None,
        fused: bool = True,
        execution: str | None = None,
        micro_batches: int = MICRO_BATCHES,
    ) -> None:
        self.MPI = world()
        self.comm = self.MPI.COMM_WORLD if comm is None else comm
        self.rank, self.ranks = self.comm.rank, self.comm.size
        # What was drawn to be compared must not be lost.
        first = batches()
        drawn = [first]
        agree(
            self.comm,
            {
                "version": {"pcsim": __version__, **{name: version(name) for name in ("numba", "numpy", "llvmlite")}},
                "MPI library": vendor(),
                "sizes": list(network.sizes),
                "dtype": network.dtype.name,
                "activation": network.activation,
                "scale and skip": [list(network.scale), list(network.skip)],
                "bias": network.biases is not None,
                "weights": _sample(network),
                "algorithm": {"name": algorithm.name, **asdict(algorithm)},
                "execution": [execution, micro_batches, fused, wave],
                "threads of a rank": workers,
                "steps_per_batch": steps_per_batch,
                "values": values is not None,
                "batches": [len(first), zlib.crc32(np.ascontiguousarray(first).tobytes())],
            },
        )
        self._check(network, algorithm, workers, execution or "serial", len(first))
        x, y = self._hand_out(x, y, network, algorithm, execution or "serial")
        self.requests: list[Any] = []
        self.bytes_of: dict[int, int] = {}  # of each request that sends, by the address of its handle
        super().__init__(
            network,
            algorithm,
            x,
            y,
            lambda: drawn.pop() if drawn else batches(),
            workers=workers,
            steps_per_batch=steps_per_batch,
            values=values,
            pin=pin,
            wave=wave,
            fused=fused,
            execution=execution,
            micro_batches=micro_batches,
        )
        self.wave = min(all_to_all(self.comm, self.wave))
        if wave is None and not self.is_backprop and self.wave > 1 and self._messages_are_slow():
            self.wave = 1
        self.functions, self.memory = functions(self.MPI.__file__), make_scratch()
        self.sent_before = 0
        self.updates_sent = 0
        self.spent = np.zeros(0, np.int64)
        self._make_messages()

    def _check(self, network: Network, algorithm: Algorithm, workers: int, execution: str, batch: int) -> None:
        total, here = self.ranks * workers, f"{self.ranks} ranks" + (f" of {workers} threads" if workers > 1 else "")
        if isinstance(algorithm, BP):
            if workers > 1:
                raise InputError("BP over ranks runs one thread on each: start a rank for every core instead")
            if execution == "blas" or (execution == "serial" and self.ranks > 1):
                raise InputError(
                    f"BP's execution {execution!r} is one process: on ranks choose intra-layer, pipeline or "
                    "data-parallel"
                )
            check_execution(execution, self.ranks, network.depth, batch)
        elif total > network.depth:
            raise InputError(f"{here} are more than the {network.depth} layers of the net: use at most {network.depth}")

    def _hand_out(
        self, x: Array | None, y: Array | None, network: Network, algorithm: Algorithm, execution: str
    ) -> tuple[Array, Array]:
        """Rank 0's data on the ranks that need them; elsewhere arrays with as many rows and no columns."""
        count = from_root(self.comm, None if x is None else len(x))
        everywhere = isinstance(algorithm, BP) and execution in ("intra-layer", "data-parallel")
        found = []
        for data, width, owner in ((x, network.sizes[0], 0), (y, network.sizes[-1], self.ranks - 1)):
            mine = np.ascontiguousarray(data, network.dtype) if self.rank == 0 else None
            needs = everywhere or self.rank == owner
            if mine is None:
                mine = np.empty((count, width if needs else 0), network.dtype)
            if everywhere:
                self.comm.Bcast(mine)
            elif owner > 0:
                if self.rank == 0:
                    self.comm.Send(mine, owner)
                elif self.rank == owner:
                    self.comm.Recv(mine, 0)
            found.append(mine if needs else np.empty((count, 0), network.dtype))
        return found[0], found[1]

    def _places(self) -> tuple[int, int]:
        here = hosts(self.comm)
        local = [rank for rank in range(self.ranks) if here[rank] == here[self.rank]]
        cores = all_to_all(self.comm, usable_cores())
        # Ranks that a launcher has bound each have cores of their own; else those of a host share them out.
        if all(cores[rank] == cores[self.rank] for rank in local):
            self.first_core = local.index(self.rank) * self.workers
        return self.ranks * self.workers, self.rank * self.workers

    def _owned(self, worker: int, l: int) -> tuple[int, int]:
        # Every rank has a copy of the whole net: no memory is shared.
        return (0, self.wide[l + 1]) if self.execution == "data-parallel" else super()._owned(worker, l)

    def _messages_are_slow(self) -> bool:
        """Whether the slowest message between neighbours takes a tenth of a step, and so more than waves would gain: in
        a wave the steps meet their neighbour's one right after the other, which no interior layer hides."""
        size, slowest = self.batch * int(self.wide.max()) * self.original.dtype.itemsize, 0.0
        for parity in (0, 1):  # all pairs, at two times
            first = self.rank - (self.rank + parity) % 2
            if first >= 0 and first + 1 < self.ranks:
                slowest = max(slowest, one_way(self.comm, first, first + 1, size, budget=0.005) or 0.0)
        step = 2 * self.parameters.nbytes / self.workers / MEMORY_RATE
        return max(all_to_all(self.comm, slowest)) > 0.1 * min(all_to_all(self.comm, step))

    # Messages

    def _make_messages(self) -> None:
        lo, hi = self.blocks[0][0], self.blocks[-1][1]
        self.addresses = np.zeros(2 * REQUESTS, np.int64)
        if self.execution == "intra-layer":
            self.gathers, self.sums = self._row_messages()
        elif self.execution == "data-parallel":
            self._gradient_memory()
        elif self.execution == "pipeline":
            self.parts = self._part_messages(lo, hi)
        elif not self.is_backprop:
            if self.rank > 0:
                at = self._place_of(lo)
                for slot in range(2):
                    here = slice(slot * self.value_count + at.start, slot * self.value_count + at.stop)
                    self.addresses[SENDS + slot] = self._to(self.h[here], self.rank - 1, DOWN + slot)
                    self.addresses[RECEIVES + slot] = self._from(self.e[here], self.rank - 1, UP + slot)
                self.addresses[START] = self._from(self.top[at], self.rank - 1, FIRST)
            if self.rank < self.ranks - 1:
                at = self._place_of(hi)
                for slot in range(2):
                    here = slice(slot * self.value_count + at.start, slot * self.value_count + at.stop)
                    self.addresses[REQUESTS + SENDS + slot] = self._to(self.e[here], self.rank + 1, UP + slot)
                    self.addresses[REQUESTS + RECEIVES + slot] = self._from(self.h[here], self.rank + 1, DOWN + slot)
                self.addresses[REQUESTS + START] = self._to(self.top[at], self.rank + 1, FIRST)

    def _place_of(self, l: int) -> slice:
        begin = int(self.value_at[self.place, l])
        return slice(begin, begin + self.batch * int(self.wide[l]))

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

    def _row_messages(self) -> tuple[Array, Array]:
        """For each layer: to receive from and to send to each rank, rows of its values and shares of its errors. Of a
        single sample they go from where they are to where they belong, of a batch through packed copies."""
        L, R, mine, B = self.original.depth, self.ranks, self.rank, self.batch
        gathers, sums = np.zeros((2, L + 1, 2, R), np.int64)
        self.part = B * int(self.counts.max())
        self.out, self.inbox = (np.zeros(R * self.part if B > 1 else 0, self.original.dtype) for _ in range(2))
        for l in range(1, L):
            for other in range(R):
                if other == mine:
                    continue
                ours, theirs = int(self.counts[mine, l]), int(self.counts[other, l])
                at, to = (int(self.value_at[mine, l] + self.firsts[rank, l]) for rank in (mine, other))
                values, packed = self.values_flat, slice(other * self.part, other * self.part + B * theirs)
                share, its_share = (self.h[rank * self.value_count :] for rank in (mine, other))
                if theirs:  # its rows of the values come, and our share of its errors goes
                    arriving = values[to : to + theirs] if B == 1 else self.inbox[packed]
                    leaving = share[to : to + theirs] if B == 1 else self.out[packed]
                    gathers[l, 0, other] = self._from(arriving, other, l & 1)
                    sums[l, 1, other] = self._to(leaving, other, 2 + (l & 1))
                if ours:
                    arriving = its_share[at : at + ours] if B == 1 else self.inbox[packed.start :][: B * ours]
                    leaving = values[at : at + ours] if B == 1 else self.out[: B * ours]
                    gathers[l, 1, other] = self._to(leaving, other, l & 1)
                    sums[l, 0, other] = self._from(arriving, other, 2 + (l & 1))
        return gathers, sums

    def _part_messages(self, lo: int, hi: int) -> Array:
        """For each micro-batch: values from below, values to above, errors from above, errors to below."""
        begins, _, counts = self.samples
        found = np.zeros((len(counts), 4), np.int64)
        for m, count in enumerate(counts):
            below = slice(int(begins[m, lo]), int(begins[m, lo] + count * self.wide[lo]))
            above = slice(int(begins[m, hi]), int(begins[m, hi] + count * self.wide[hi]))
            if self.rank > 0:
                found[m, 0] = self._from(self.values_flat[below], self.rank - 1, UP)
                found[m, 3] = self._to(self.e[below], self.rank - 1, DOWN)
            if self.rank < self.ranks - 1:
                found[m, 1] = self._to(self.values_flat[above], self.rank + 1, UP)
                found[m, 2] = self._from(self.e[above], self.rank + 1, DOWN)
        return found

    def _gradient_memory(self) -> None:
        """All gradients at once, as their sums are under way together: as much memory as the weights."""
        lengths = self.wide[1:] * (self.wide[:-1] + 1)
        self.gradient_at = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        gradients = np.zeros(int(lengths.sum()) + 16, self.original.dtype)
        aligned = (-gradients.ctypes.data % 64) // gradients.itemsize
        self.scratch = [gradients[aligned:]]
        self.pending = np.full(self.original.depth, self.MPI._handleof(self.MPI.REQUEST_NULL), np.int64)
        MPI = self.MPI
        handles = (MPI._typedict[self.original.dtype.char], MPI.SUM, self.comm)
        self.sum_arguments = (
            int(MPI.IN_PLACE),
            *(int(MPI._handleof(handle)) for handle in handles),
            int(self.scratch[0].ctypes.data),
            gradients.itemsize,
        )

    def _edges(self, cycles: int) -> tuple:
        if self.ranks == 1:
            return super()._edges(cycles)
        first = int(self.given and self.t == 0)
        state = np.zeros(2 * SIDE, np.int64)
        for side in (BELOW, ABOVE):
            state[side * SIDE + START_DONE] = state[side * SIDE + START_POSTED] = first
        # For other threads' messages, and for large ones, which MPI moves in several turns.
        large = self.batch * int(self.wide.max()) * self.original.dtype.itemsize >= LARGE
        often = (self.workers > 1 or large) and int((self.wide[1:] * self.wide[:-1]).max()) * self.batch >= OFTEN
        below, above = self.rank > 0, self.rank < self.ranks - 1
        arrays = (self.memory, self.addresses, state, self.spent)
        return below, above, often, len(self.spent) > 0, cycles, first, self.functions, *arrays

    # A run

    def _start(self, work: Callable[[int], None], stop: Array) -> None:
        def prepared(worker: int) -> None:
            if worker == 0:
                self.comm.Barrier()
            work(worker)

        with watched(stop):
            in_threads(self.workers, prepared, stop, self.pin, here=True, first_core=self.first_core)
        if self.memory[FAILED]:
            raise RuntimeError(f"MPI failed: {self.MPI.Get_error_string(int(self.memory[FAILED]))}")
        if stop[0]:  # a signal whose handler returned; the other ranks wait for this one
            raise KeyboardInterrupt

    def _together(self, seconds: float, energy: Array) -> tuple[float, float]:
        """The longest time; each part of the energy comes from one rank, so that the sum has one order."""
        longest, whole = np.array([seconds]), np.zeros_like(energy)
        self.comm.Allreduce(self.MPI.IN_PLACE, longest, self.MPI.MAX)
        self.comm.Allreduce(energy, whole)
        return float(longest[0]), float(whole.sum())

    def run(self, updates: int, trace: bool = False, clock: bool = False) -> tuple[float, float]:
        """As ``ThreadsEngine.run``, on all ranks at once: the seconds are those of the slowest rank from a barrier on,
        the energy is the whole net's, and so is the timeline (of several hosts: on their several clocks). ``clock``:
        also take the time for ``exchange_seconds``."""
        self.spent = np.zeros(updates * self.steps_per_update if clock else 0, np.int64)
        self.sent_before, self.updates_sent = int(self.memory[COUNT]), updates
        return super().run(updates, trace)

    @property
    def messages(self) -> dict[str, float]:
        """Of the last run, per weight update: ``messages`` from rank to rank and the ``message_bytes`` in them, over
        all ranks, and ``collectives`` that all ranks took part in (sums of gradients)."""
        count, size = int(self.memory[COUNT]) - self.sent_before, float(sum(self.bytes_of.values()))
        if not self.is_backprop:
            size = self._exchanged_bytes()
        told = all_to_all(self.comm, [count / self.updates_sent, size])
        sent, size = (sum(numbers) for numbers in zip(*told, strict=True))
        if self.execution == "data-parallel":
            return {"messages": 0.0, "message_bytes": 0.0, "collectives": sent / self.ranks}
        return {"messages": sent, "message_bytes": size, "collectives": 0.0}

    @property
    def exchange_seconds(self) -> float:
        """Seconds of a step that messages, and waiting for them, took in the last run with ``clock``: of two
        neighbouring ranks that which lost less (the other waited for its neighbour's layers), the median over steps and
        pairs. For PC, Z-IL and iPC on several ranks."""
        pairs = itertools.pairwise(np.array(all_to_all(self.comm, self.spent.tolist())))
        return float(np.median([np.minimum(*pair) for pair in pairs])) * 1e-9

    def _exchanged_bytes(self) -> float:
        """Bytes that this rank sends in a weight update: errors and drives where values move, and forward starts."""
        moves = self.steps_per_update if self.value_steps < 0 else self.value_steps
        starts = self.steps_per_update / self.cycle_steps if self.cycle_steps else 0
        sends = [self.bytes_of.get(int(self.addresses[side * REQUESTS + SENDS]), 0) for side in (BELOW, ABOVE)]
        return sum(sends) * moves + self.bytes_of.get(int(self.addresses[REQUESTS + START]), 0) * starts

    def _backprop(
        self, updates: int, steps: int, rows: Array, stop: Array, energy: Array, notes: list[Array], times: Array
    ) -> Callable[[int], int | None]:
        if self.execution == "serial":
            return super()._backprop(updates, steps, rows, stop, energy, notes, times)
        alpha, mine = self.original.dtype.type(self.algorithm.alpha), (self.rank, self.ranks)
        arrays, data = self._arrays(0), (self.x, self.y, rows, self.e)
        library, end = (self.functions, self.memory), (updates, self.number, alpha, stop, energy, times)

        def loop(worker: int) -> None:
            if self.execution == "intra-layer":
                shares = (self.h, self.value_count, self.out, self.inbox, self.part)
                messages = (*library, self.gathers, self.sums)
                backprop_ranks.intra_layer(*mine, self.firsts, self.counts, *arrays, *data, *shares, *messages, *end)  # type: ignore[call-arg]
            elif self.execution == "data-parallel":
                sums = (self.sum_arguments, self.pending)
                backprop_ranks.data_parallel(
                    self.rank, *arrays, *self.samples, *data, self.gradient_at, *library, *sums, *end
                )  # type: ignore[call-arg]
            else:
                backprop_ranks.pipeline(*self.blocks[0], *arrays, *self.samples, *data, *library, self.parts, *end)  # type: ignore[call-arg]

        return loop

    def _timeline(self, notes: list[Array], counts: list[int]) -> Timeline:
        mine = super()._timeline(notes, counts)
        fields = [[self.place + e.worker, e.work, e.layer, e.step, e.start, e.end] for e in mine.events]
        return Timeline(Event(*event) for events in all_to_all(self.comm, fields) for event in events)

    # What is asked for

    def owner(self, l: int) -> int:
        """The rank that has layer l (``W[l]`` and ``x[l]``), where ranks have layers."""
        return next(place for place, (lo, hi) in enumerate(self.all_blocks) if lo <= l < hi) // self.workers

    def _assemble(
        self, shape: tuple[int, ...], index: Callable[[int], tuple | None], mine: Array | None, everywhere: bool
    ) -> Array | None:
        """An array of which rank r has the part ``index(r)``, None for nothing: on rank 0, or ``everywhere``."""
        whole = np.empty(shape, self.original.dtype) if self.rank == 0 or everywhere else None
        for rank in range(self.ranks):
            part = index(rank)
            if part is None:
                continue
            if rank == 0 and whole is not None and self.rank == 0:
                whole[part] = mine
            elif self.rank == 0 and whole is not None:
                theirs = np.empty_like(whole[part])
                self.comm.Recv(theirs, rank)
                whole[part] = theirs
            elif self.rank == rank and mine is not None:
                self.comm.Send(np.ascontiguousarray(mine), 0)
        if everywhere:
            self.comm.Bcast(whole)
        return whole

    def _rows_on(self, rank: int, l: int) -> slice:
        """The units of layer l that a rank has, where rows are split."""
        first, size = int(self.firsts[rank, l]), self.sizes[l]
        return slice(min(first, size), min(first + int(self.counts[rank, l]), size))

    def _weight_part(self, rank: int, l: int) -> tuple | None:
        """Which rows of ``W[l]`` come from a rank."""
        if self.execution == "intra-layer":
            return (self._rows_on(rank, l + 1),)
        return (slice(None),) if rank == (self.owner(l) if not self.by_rows else 0) else None

    def _value_part(self, rank: int, l: int) -> tuple | None:
        """Which samples and units of ``x[l]`` come from a rank."""
        if self.execution == "intra-layer":
            return slice(None), self._rows_on(rank, l)
        if self.execution == "data-parallel":
            _, begins, counts = self.samples
            return (slice(int(begins[rank]), int(begins[rank] + counts[rank])),)
        return (slice(None),) if rank == self.owner(min(l, self.original.depth - 1)) else None

    def gather(self, everywhere: bool = True) -> Network | None:
        """The net as it stands, a copy: on rank 0, or on every rank."""
        weights, biases = [], []
        for l in range(self.original.depth):
            has, part = self._weight_part(self.rank, l) is not None, partial(self._weight_part, l=l)
            rows, bias = self._rows_of_weights(0, l) if has else (None, None)
            shape = (self.sizes[l + 1], self.sizes[l])
            weights.append(self._assemble(shape, part, rows, everywhere))
            if self.original.biases is not None:
                biases.append(self._assemble(shape[:1], part, bias, everywhere))
        if self.rank > 0 and not everywhere:
            return None
        whole = [w for w in weights if w is not None]
        return self.original.replace(whole, [b for b in biases if b is not None] or None)

    def gather_values(self, everywhere: bool = True) -> list[Array] | None:
        """Values of all layers, a copy; of BP the last forward pass: on rank 0, or on every rank."""
        L, found = self.original.depth, []
        for l in range(L + 1):
            part, mine = self._value_part(self.rank, l), None
            if part is not None:
                mine = self._part(self.values_flat, l)
                if self.is_backprop and l == L:  # it holds the target, as the error is taken against it
                    mine = mine - self._part(self.e, l)
                mine = mine[part]
            shape = (self.batch, self.sizes[l])
            found.append(self._assemble(shape, partial(self._value_part, l=l), mine, everywhere))
        return None if self.rank > 0 and not everywhere else [values for values in found if values is not None]

    @property
    def network(self) -> Network:
        """The net as it stands, a copy on every rank. Of a lazy net only this rank's layers are here, and they are as
        they stand when asked for: a copy of all of them would be as large again."""
        if self.original.lazy and not self.by_rows:
            return self._held()
        whole = self.gather()
        assert whole is not None
        return whole

    @property
    def values(self) -> list[Array]:
        """Values of all layers, a copy on every rank; only this rank's (else empty) for a net made layer by layer."""
        if self.original.lazy and not self.by_rows:
            lo, hi = self.blocks[0][0], self.blocks[-1][1]
            last = hi + 1 if hi == self.original.depth else hi
            return [
                self._part(self.values_flat, l).copy() if lo <= l < last else np.empty((0, n), self.original.dtype)
                for l, n in enumerate(self.sizes)
            ]
        whole = self.gather_values()
        assert whole is not None
        return whole

    def _held(self) -> Network:
        """A net of this rank's layers alone, each copied when asked for."""
        lo, hi = self.blocks[0][0], self.blocks[-1][1]
        parts = {l: self._rows_of_weights(0, l) for l in range(lo, hi)}
        net = self.original
        return Network.of_layers(
            net.sizes,
            net.dtype,
            lambda l: parts[l][0].copy(),
            None if net.biases is None else lambda l: parts[l][1].copy(),
            activation=net.activation,
            scale=net.scale,
            skip=net.skip,
            owned=range(lo, hi),
        )

    def loss(self) -> float:
        """``1/2 * sum((mu[L] - y)**2)`` of a forward pass over all data, on every rank; the values pass from rank to
        rank, and the weights stay where they are."""
        if self.by_rows:
            net = self.gather(everywhere=False)
            return float(from_root(self.comm, None if net is None else _loss(net.forward(self.x)[-1], self.y)))
        lo, hi = self.blocks[0][0], self.blocks[-1][1]
        # Copies, one layer at a time, as BLAS forms sums in another order where rows are padded.
        net, values = self._held(), self.x
        if self.rank > 0:
            values = np.empty((len(self.x), self.sizes[lo]), net.dtype)
            self.comm.Recv(values, self.rank - 1)
        for l in range(lo, hi):
            values = net.predict(l, values)
        if self.rank < self.ranks - 1:
            self.comm.Send(np.ascontiguousarray(values), self.rank + 1)
        return float(all_to_all(self.comm, _loss(values, self.y) if hi == net.depth else None)[-1])

    def finite(self) -> bool:
        """Whether all weights on all ranks are finite numbers."""
        lo, hi = self.blocks[0][0], self.blocks[-1][1]
        mine = all(np.isfinite(part).all() for l in range(lo, hi) for part in self._rows_of_weights(0, l))
        return all(all_to_all(self.comm, bool(mine)))

    def close(self) -> None:
        """Give the requests back to MPI, which has only so many."""
        for request in self.requests:
            request.Free()
        self.requests = []


def _loss(output: Array, target: Array) -> float:
    with np.errstate(all="ignore"):
        difference = (output - target).astype(np.float64)
        return 0.5 * float(np.sum(difference * difference))


def _sample(network: Network) -> int:
    """A checksum of biases and first rows: of every matrix, or where these are made when asked for, of the smallest."""
    sizes = network.sizes
    layers = range(network.depth)
    if network.lazy:
        layers = range(smallest := min(layers, key=lambda l: sizes[l] * sizes[l + 1]), smallest + 1)
    check = 0
    for l in layers:
        check = zlib.crc32(np.ascontiguousarray(network.weights[l][0]).tobytes(), check)
        if network.biases is not None:
            check = zlib.crc32(np.ascontiguousarray(network.biases[l]).tobytes(), check)
    return check
