"""Layers on MPI ranks: each rank owns a block of layers for ever, and exchanges messages with its neighbours alone.

Every rank makes the engine with the same arguments and calls the same methods. What a rank exchanges in a step is in
``loops/edges.py`` (dual propagation: ``loops/dual_edges.py``); BP's loops are in ``loops/backprop_ranks.py``, those of
ranks that share layers of PC, Z-IL and iPC in ``loops/rows_ranks.py``, ``samples_ranks.py`` and ``teams_ranks.py``.
"""

import zlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from ..algorithms import Algorithm, Local
from ..algorithms.predictive_coding import SHARED
from ..algorithms.rates import Schedule
from ..host.context import version
from ..host.mpi import agree, all_to_all, from_root, vendor, world
from ..net.augment import Augment
from ..net.network import Network
from ..version import __version__
from .compiled import MICRO_BATCHES, CompiledEngine
from .limits import check_ranks
from .ranks import RankTransport

Array = np.ndarray


class MpiEngine(CompiledEngine):
    """A part of a net in training, with ``workers`` threads on each rank of ``comm`` (default: all ranks).

    ``network``, ``algorithm`` and the options (see ``ThreadsEngine``) are the same on every rank, and the net may be
    one whose layers are made or read when asked for: a rank asks for its own. ``x`` and ``y`` are those of rank 0,
    which hands them to the ranks that need them; those of the others are not looked at.

    ``execution`` says how BP shares its work: "serial" (one rank), "intra-layer", "pipeline" or "data-parallel", each
    with one thread on a rank; or how PC, Z-IL and iPC do: layers on workers (the default), "intra-layer" or
    "data-parallel" with one thread on a rank, or "hybrid", a team of threads on each. Layers need a worker (or a team)
    each at most: InputError for more. InputError also where ranks were given different arguments, or run different
    versions.
    """

    transport: RankTransport

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
        schedule: Schedule | None = None,
        start: str = "forward",
        order: str = "split",
        augment: Augment | None = None,
    ) -> None:
        comm = world().COMM_WORLD if comm is None else comm
        first = batches()
        agree(
            comm,
            {
                "version": {"pcsim": __version__, **{name: version(name) for name in ("numba", "numpy", "llvmlite")}},
                "MPI library": vendor(),
                "sizes": list(network.sizes),
                "dtype": network.dtype.name,
                "loss": network.loss.name,
                "activation": network.activation,
                "scale and skip": [list(network.scale), list(network.skip)],
                "bias": network.biases is not None,
                "weights": _sample(network),
                "algorithm": {"name": algorithm.name, **asdict(algorithm)},
                "execution": [execution, micro_batches, order, fused, wave],
                "threads of a rank": workers,
                "steps_per_batch": [steps_per_batch, start],
                "schedule": asdict(schedule or Schedule()),
                "values": values is not None,
                "augment": augment and augment.names,
                "batches": [len(first), zlib.crc32(np.ascontiguousarray(first).tobytes())],
            },
        )
        check_ranks(algorithm, execution, comm.size, workers, network.depth, len(first))
        transport = RankTransport(comm, workers, pin)
        # All have layers, or heads, or (a net's loss is taken on rank 0) may need the data.
        shared = execution in SHARED or isinstance(algorithm, Local)
        given = [np.empty((0, 0)) if data is None else data for data in (x, y)]
        x, y = transport.hand_out(given, (network.sizes[0], network.sizes[-1]), network.dtype, shared)
        super().__init__(
            network,
            algorithm,
            x,
            y,
            batches,
            transport,
            first_batch=first,
            steps_per_batch=steps_per_batch,
            values=values,
            wave=wave,
            fused=fused,
            execution=execution,
            micro_batches=micro_batches,
            schedule=schedule,
            start=start,
            order=order,
            augment=augment,
        )
        self.comm, self.rank = comm, comm.rank
        self.sent_before, self.updates_sent = 0, 0

    def run(self, updates: int, trace: bool = False, clock: bool = False) -> tuple[float, float]:
        """As ``CompiledEngine.run``, on all ranks at once: the seconds are those of the slowest rank from a barrier on,
        the energy is the whole net's, and so is the timeline (of several hosts: on their several clocks). ``clock``:
        also take the time for ``exchange_seconds``."""
        self.sent_before, self.updates_sent = self.transport.sent(), updates
        return super().run(updates, trace, clock)

    @property
    def messages(self) -> dict[str, float]:
        """Of the last run, per weight update: ``messages`` from rank to rank and the ``message_bytes`` in them, over
        all ranks, and ``collectives`` that all ranks took part in (sums of gradients)."""
        count, size = self.transport.sent() - self.sent_before, self._bytes_sent()
        each = all_to_all(self.comm, [count / self.updates_sent, size])
        sent, size = (sum(numbers) for numbers in zip(*each, strict=True))
        if self.execution == "data-parallel":
            return {"messages": 0.0, "message_bytes": 0.0, "collectives": sent / self.comm.size}
        return {"messages": sent, "message_bytes": size, "collectives": 0.0}

    def _bytes_sent(self) -> float:
        """Bytes that this rank sends in a weight update: of layers, errors and drives where values move, and forward
        starts."""
        calendar = self.calendar
        if self.streams:
            return float(self.transport.messages.batch_bytes)
        if self.sweeps:
            layout, transport = self.layout, self.transport
            sends = [(layout.lo, 1)] * transport.below + [(layout.hi, 0)] * transport.above
            rows = sum(self.sweeps.messages(l)[way] * int(layout.wide[l]) for l, way in sends)
            return float(rows * layout.batch * layout.dtype.itemsize)
        if self.flights:
            return float(self.flights.per_update * self.transport.messages.batch_bytes)
        if calendar is None:
            return float(sum(self.transport.messages.bytes_of.values()))
        moved, started = self.transport.messages.bytes_of_step()
        updates = int(calendar.completed[-1])
        # Of layers the values of a forward start take the place of its first errors, which are zero and are not sent.
        apart = calendar.pipelined or self.transport.messages.shares is not None
        starts = started / (updates * calendar.repeats) if apart and calendar.repeats is not None else 0.0
        return moved * int(calendar.moves.sum()) / updates + starts

    @property
    def exchange_seconds(self) -> float:
        """Seconds of a step that messages, and waiting for them, took in the last run with ``clock``. For PC, Z-IL and
        iPC on several ranks."""
        return self.transport.lost(self.spent)

    def owner(self, l: int) -> int:
        """The rank that has layer l (``W[l]`` and ``x[l]``), where ranks have layers."""
        blocks = self.layout.all_blocks
        return next(place for place, (lo, hi) in enumerate(blocks) if lo <= l < hi) // self.transport.workers

    @property
    def network(self) -> Network:
        """The net as it stands, a copy on every rank. Of a lazy net only this rank's layers are here, and they are as
        they stand when asked for: a copy of all of them would be as large again."""
        return self._held() if self.original.lazy and not self.layout.by_rows else super().network

    @property
    def values(self) -> list[Array]:
        """Values of all layers, a copy on every rank; only this rank's (else empty) for a net made layer by layer."""
        if not self.original.lazy or self.layout.by_rows:
            return super().values
        found = [np.empty((0, n), self.original.dtype) for n in self.original.sizes]
        for worker in range(self.transport.workers):
            for l in range(len(found)):
                if self.layout.value_part(self.layout.place + worker, l) is not None:
                    found[l] = self._values_of(worker, l).copy()
        return found

    def _held(self) -> Network:
        """A net of this rank's layers alone, each copied when asked for."""
        net, mine = self.original, range(self.layout.lo, self.layout.hi)
        parts = {l: self.layout.rows_of(self.arrays[0].parameters, 0, l) for l in mine}
        return Network.of_layers(
            net.sizes,
            net.dtype,
            lambda l: parts[l][0].copy(),
            None if net.biases is None else lambda l: parts[l][1].copy(),
            activation=net.activation,
            scale=net.scale,
            skip=net.skip,
            owned=mine,
            loss=net.loss,
            forms=net.forms,
        )

    def loss(self) -> float:
        """The loss of a forward pass over all data, on every rank; the values pass from rank to
        rank, and the weights stay where they are."""
        if self.layout.by_rows:
            whole = self.gather(everywhere=False)
            loss = None if whole is None else whole.loss.loss(whole.forward(self.x)[-1], self.y)
            return float(from_root(self.comm, loss))
        # Copies, one layer at a time, as BLAS forms sums in another order where rows are padded.
        net, values, mine = self._held(), self.x, range(self.layout.lo, self.layout.hi)
        if self.transport.below:
            values = np.empty((len(self.x), self.original.sizes[mine.start]), net.dtype)
            self.comm.Recv(values, self.rank - 1)
        for l in mine:
            values = net.predict(l, values)
        if self.transport.above:
            self.comm.Send(np.ascontiguousarray(values), self.rank + 1)
        return float(all_to_all(self.comm, None if self.transport.above else net.loss.loss(values, self.y))[-1])

    def finite(self) -> bool:
        """Whether all weights on all ranks are finite numbers."""
        mine, workers = (
            range(self.layout.lo, self.layout.hi),
            range(self.transport.workers if self.layout.by_rows else 1),
        )
        parts = (part for l in mine for w in workers for part in self.layout.rows_of(self.arrays[0].parameters, w, l))
        return all(all_to_all(self.comm, bool(all(np.isfinite(part).all() for part in parts))))

    def close(self) -> None:
        """Give the requests back to MPI, which has only so many."""
        self.transport.messages.close()


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
