"""Rank 0 measures; the other ranks sleep until it asks them for their part of an engine, a run, or a message.

So a sweep over ranks is the sweep over threads: its decisions are made once, on rank 0, where they are also shown and
written. While ranks have nothing to do they must not take a core from those that have, so they look for an order now
and then, and wait for none inside MPI.
"""

import json
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..algorithms import Algorithm
from ..algorithms.registry import algorithm_from_json, algorithm_to_json
from ..engines.mpi import MpiEngine
from ..errors import InputError
from ..host.context import usable_cores
from ..host.links import one_way
from ..host.mpi import agree, all_to_all, hosts, vendor, world
from ..host.topology import placement, unbound_cores
from ..net.network import Network
from ..schedule.timeline import Timeline
from ..version import __version__
from .case import Case
from .wire import case_from_json, case_to_json

NAP = 5e-4  # seconds between two looks for an order

_ORDER = 7  # tag

_crew: "Crew | None" = None


def crew() -> "Crew":
    """The crew that was started."""
    assert _crew is not None, "no crew was started"
    return _crew


def sign_on(arguments: Sequence[str]) -> "Crew":
    """All ranks come together; InputError where they were started with different arguments or versions."""
    global _crew
    comm = world().COMM_WORLD.Dup()
    agree(comm, {"version": __version__, "MPI library": vendor(), "arguments": list(arguments)})
    _crew = Crew(comm)
    return _crew


def _added_delay() -> float | None:
    """Seconds that whoever made this network has added to the way of a message (``PCSIM_DELAY``); None for nobody."""
    delay = os.environ.get("PCSIM_DELAY")
    try:
        return float(delay) if delay else None
    except ValueError:
        raise InputError(f"PCSIM_DELAY is {delay!r}, but must be seconds") from None


class Crew:
    """All ranks of a launch: rank 0 gives orders with ``engine`` and ``latency``, the others ``serve``."""

    def __init__(self, comm: Any) -> None:
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self.hosts = hosts(comm)
        self.usable = all_to_all(comm, usable_cores())
        self.cores, self.unbound = self._per_host(self.usable), self._per_host(all_to_all(comm, unbound_cores()))
        self.engines: dict[int, MpiEngine] = {}
        self.groups: dict[int, Any] = {}
        self.number = 0
        self.delay = _added_delay()

    def _per_host(self, cores_of_ranks: Sequence[Sequence[int]]) -> dict[int, int]:
        """How many cores the ranks of each host have together."""
        cores: dict[int, set[int]] = {}
        for host, found in zip(self.hosts, cores_of_ranks, strict=True):
            cores.setdefault(host, set()).update(found)
        return {host: len(found) for host, found in cores.items()}

    def describe(self) -> dict[str, Any]:
        """For the context of a results file."""
        MPI = world()
        per_host = [self.hosts.count(host) for host in sorted(set(self.hosts))]
        names = {MPI.THREAD_SINGLE: "single", MPI.THREAD_FUNNELED: "funneled"}
        level = names.get(MPI.Query_thread(), "serialized or multiple")
        return {"library": vendor(), "ranks": self.size, "ranks_per_host": per_host, "thread_level": level} | {
            "cores_of_ranks": self.usable
        }

    def crowded(self, ranks: int, threads: int) -> str | None:
        """A warning where so many ranks of so many threads have to share cores."""
        for host, cores in self.cores.items():
            workers = self.hosts[:ranks].count(host) * threads
            if workers > cores:
                return f"oversubscribed: {workers} workers on {cores} core{'s' if cores > 1 else ''}"
        return None

    def room(self, ranks: int, threads: int) -> str:
        """What to do about it, in words: a launcher may have bound the ranks to less than there is."""
        for host, cores in self.cores.items():
            if self.hosts[:ranks].count(host) * threads > cores and self.unbound[host] > cores:
                here = f"the launcher bound the ranks of host {host} to {cores} of its {self.unbound[host]} cores"
                return (
                    f"{here}; unbind them (mpiexec --bind-to none, srun --cpu-bind=none), start fewer ranks, or add "
                    "--oversubscribe if that is meant"
                )
        return "start fewer ranks, or add --oversubscribe if that is meant"

    def spread(self, ranks: int) -> int:
        """On how many hosts the first ``ranks`` ranks are."""
        return len(set(self.hosts[:ranks]))

    def order(self, ranks: int, order: dict[str, Any]) -> None:
        """Tell the ranks below ``ranks`` what to do; rank 0 then does the same."""
        data = np.frombuffer(json.dumps(order).encode(), np.uint8)
        for rank in range(1, ranks):
            self.comm.Send(data, rank, _ORDER)

    def serve(self) -> int:
        """On the other ranks: do what rank 0 orders, until the end; the exit code that it gives."""
        MPI = world()
        status = MPI.Status()
        while True:
            while not self.comm.Iprobe(0, _ORDER, status):
                time.sleep(NAP)
            data = np.empty(status.Get_count(MPI.BYTE), np.uint8)
            self.comm.Recv(data, 0, _ORDER)
            order = json.loads(data.tobytes())
            if order["do"] == "end":
                return int(order["code"])
            self._obey(order.pop("do"), order)

    def _obey(self, what: str, details: dict[str, Any]) -> None:
        """What cannot be built is refused on every rank alike: rank 0 says so and goes on, and so does this one."""
        try:
            getattr(self, "_" + what)(**details)
        except InputError:
            if what != "build":
                raise

    def end(self, code: int) -> None:
        """The last order, on rank 0: all leave with this exit code."""
        self.order(self.size, {"do": "end", "code": code})

    def engine(self, case: Case, algorithm: Algorithm, ranks: int, threads: int, **options: Any) -> "CrewEngine":
        """An engine on the first ``ranks`` ranks; options as in ``MpiEngine``, of which ``values`` are sent along."""
        return CrewEngine(self, case, algorithm, ranks, threads, **options)

    def latency(self, size: int) -> float | None:
        """Seconds of a message of ``size`` bytes from rank 0 to rank 1, the median; None for one rank alone."""
        if self.size < 2:
            return None
        self.order(2, {"do": "one_way", "size": size})
        return self._one_way(size)

    # What each rank does

    def group(self, ranks: int) -> Any:
        """The communicator of the first ``ranks`` ranks (each of them must ask for it)."""
        if ranks not in self.groups:
            group = self.comm.Get_group().Incl(list(range(ranks)))
            self.groups[ranks] = self.comm.Create_group(group)
        return self.groups[ranks]

    def _one_way(self, size: int) -> float | None:
        cores = placement()
        if hasattr(os, "sched_setaffinity"):  # as engines do: else both may come to lie on one core
            own = self.rank if self.hosts[0] == self.hosts[1] else 0
            os.sched_setaffinity(0, {cores[own % len(cores)]})
        try:
            return one_way(self.group(2), 0, 1, size)
        finally:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, cores)

    def _build(
        self, number: int, case: dict, algorithm: dict, ranks: int, values: Any = None, **options: Any
    ) -> MpiEngine:
        made, comm = case_from_json(case), self.group(ranks)
        net, x, y = made.problem(lazy=True)  # of which ranks above 0 are given theirs
        given = None
        if values:
            shapes = [(made.batch, n) for n in net.sizes]
            given = values if self.rank == 0 else [np.empty(shape, net.dtype) for shape in shapes]
            for array in given:
                comm.Bcast(array)
        self.engines[number] = MpiEngine(
            net, algorithm_from_json(algorithm), x, y, made.batches(), comm=comm, values=given, **options
        )
        return self.engines[number]

    def _run(self, number: int, updates: int, trace: bool, clock: bool) -> tuple[float, float]:
        return self.engines[number].run(updates, trace, clock)

    def _gather(self, number: int) -> Network | None:
        return self.engines[number].gather(everywhere=False)

    def _gather_values(self, number: int) -> list[np.ndarray] | None:
        return self.engines[number].gather_values(everywhere=False)

    def _messages(self, number: int) -> dict[str, float]:
        return self.engines[number].messages

    def _exchange_seconds(self, number: int) -> float:
        return self.engines[number].exchange_seconds

    def _close(self, number: int) -> None:
        self.engines.pop(number).close()


class CrewEngine:
    """Rank 0's handle of an engine on several ranks: what is asked of it is asked of all of them."""

    def __init__(
        self, crew: Crew, case: Case, algorithm: Algorithm, ranks: int, threads: int, values: Any, **options: Any
    ) -> None:
        if ranks > crew.size:
            raise InputError(f"{ranks} ranks were asked for, but {crew.size} were started")
        self.crew, self.ranks = crew, ranks
        self.number = crew.number = crew.number + 1
        order = {
            "number": self.number,
            "case": case_to_json(case),
            "algorithm": algorithm_to_json(algorithm),
            "ranks": ranks,
            "workers": threads,
            **options,
        }
        crew.order(ranks, {"do": "build", "values": values is not None, **order})
        self.mine = crew._build(values=values, **order)

    def _all(self, what: str, **details: Any) -> Any:
        self.crew.order(self.ranks, {"do": what, "number": self.number, **details})
        return getattr(self.crew, "_" + what)(self.number, **details)

    def run(self, updates: int, trace: bool = False, clock: bool = False) -> tuple[float, float]:
        """As ``MpiEngine.run``."""
        return self._all("run", updates=updates, trace=trace, clock=clock)

    @property
    def network(self) -> Network:
        """The net as it stands, a copy."""
        return self._all("gather")

    @property
    def values(self) -> list[np.ndarray]:
        """Values of all layers, a copy."""
        return self._all("gather_values")

    @property
    def messages(self) -> dict[str, float]:
        """As ``MpiEngine.messages``."""
        return self._all("messages")

    @property
    def exchange_seconds(self) -> float:
        """As ``MpiEngine.exchange_seconds``."""
        return self._all("exchange_seconds")

    @property
    def steps_per_update(self) -> int:
        """As of the engine."""
        return self.mine.steps_per_update

    @property
    def timeline(self) -> Timeline | None:
        """Of the last traced run, all ranks."""
        return self.mine.timeline

    def close(self) -> None:
        """End it on all ranks."""
        if self.number in self.crew.engines:
            self._all("close")
