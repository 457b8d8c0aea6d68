"""Cases for ``replay``: real engines, whose layout, calendar, flags and requests the replayed loops are given."""

import itertools
import random
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import clocks
import numpy as np
import replay

from pcsim import BP, DFA, IPC, AsyncBP, Calendar, DualProp, Local, Network, Stage
from pcsim.algorithms.asynchronous import PIPELINE_ASYNC as ASYNC
from pcsim.algorithms.asynchronous import WEIGHTS
from pcsim.engines import compiled, contents, feedback, messages, share_messages, streams
from pcsim.engines.loops.arguments import Notes, Signals
from pcsim.engines.ranks import RankTransport
from pcsim.engines.threads import ThreadTransport

LANES = 8  # of float64, in a cell

PIPELINES = ("pipeline", "zero-bubble")  # the exact one, in both orders
# Layers on workers, of what is neither BP nor predictive coding.
RIVALS = {"local": Local, "dfa": DFA, "dual": DualProp}


class Drawn(IPC):
    """Any calendar."""

    drawn: Calendar

    def calendar(self, depth, steps_per_batch=None):
        return self.drawn


@dataclass(frozen=True)
class Case:
    """Who does what: ``ranks`` of ``threads`` each; runs: updates of consecutive runs."""

    seed: int
    execution: str | None  # of BP, with ``pc-`` of predictive coding; None for its layers on workers
    depth: int
    ranks: int
    threads: int
    rules: bool = False
    calendar: Calendar | None = None
    wave: int = 1
    fused: bool = True
    given: bool = False
    batch: int = 1
    micro_batches: int = 1
    adam: bool = False
    momentum: bool = False
    runs: tuple[int, ...] = (2, 1)
    stop_after: int | None = None
    mpi: bool = False
    late: AsyncBP | None = None
    sweeper: DualProp | None = None
    steps_per_batch: int | None = None


def _late(rng, depth, optimizer):
    """Asynchronous BP with any options."""
    weights = rng.choice(WEIGHTS)
    least = 2 * (depth - 1) if weights == "two-versions" else 1
    accumulate = max(1, least) + rng.choice((0, 0, 1, 2))
    ahead = weights != "two-versions" and rng.random() < 0.3
    return AsyncBP(0.1, optimizer, weights=weights, accumulate=accumulate, weight_prediction=ahead)


def _sweeper(rng, optimizer):
    """Dual propagation of either form, and for how many updates the incremental one stays on a batch."""
    incremental = rng.random() < 0.5
    sweeps = rng.randint(1, 3)
    made = DualProp(0.1, optimizer, incremental=True) if incremental else DualProp(0.1, optimizer, sweeps=sweeps)
    return made, rng.choice((None, 1, 2, 3)) if incremental else None


def _calendar(rng, depth):
    """Random stages by the rules of calendars; at times a batch for each few rounds of them."""
    while True:
        waiting, stages = set(range(depth)), []
        for _ in range(rng.randint(1, 4)):
            updated = rng.choice((set(), set(waiting), set(rng.sample(range(depth), rng.randint(0, depth)))))
            waiting -= updated
            completes = not waiting
            stages.append(Stage(True, rng.random() < 0.6, tuple(sorted(updated)), completes))
            if completes:
                waiting = set(range(depth))
        try:
            calendar = Calendar(tuple(stages), rng.choice((None, None, 1, 2, 5)))
            calendar.check(depth)
        except Exception:
            continue
        return calendar


def _begun(calendar, seed):
    """In one case of three batches start while those before are under way."""
    if seed % 3 != 1:
        return calendar
    return replace(calendar, repeats=calendar.repeats or (1, 2, 5)[seed // 3 % 3], start="pipelined")


def draw(seed, kind, rules=False, stops=False):
    """A random case; kind: "layers" for predictive coding, or an execution of BP; with ``-ranks`` over ranks."""
    rng = random.Random(seed)
    execution, mpi = kind.removesuffix("-ranks"), kind.endswith("-ranks")
    layered = execution == "layers"
    relaxes = layered or execution.startswith("pc-")
    depth, most = rng.randint(1, 9), rng.randint(1, 5)
    if mpi:
        ranks, threads = rng.randint(2, 4), rng.choice((1, 1, 2)) if layered or execution in (ASYNC, *RIVALS) else 1
        depth = max(depth, ranks * threads) if execution in ("layers", *PIPELINES, ASYNC, *RIVALS) else min(depth, 4)
        if execution == "pc-hybrid":
            threads, depth = rng.randint(1, 3), max(depth, ranks)
    else:
        ranks, threads = 1, most if execution != "serial" else 1
        threads = min(threads, depth) if execution in ("layers", *PIPELINES, ASYNC, *RIVALS) else threads
        depth = depth if layered else min(depth, 5)
        threads = max(threads, 2) if relaxes and not layered else threads
    workers = ranks * threads
    batch = {
        "pipeline": rng.randint(2, 5),
        "zero-bubble": rng.randint(2, 5),
        "data-parallel": workers + rng.randint(0, 2),
    }.get(execution.removeprefix("pc-"), rng.choice((1, 1, 2)))
    adam = rng.random() < 0.3
    late = _late(random.Random(seed), depth, "adam" if adam else "sgd") if execution == ASYNC else None
    swept = _sweeper(random.Random(seed), "adam" if adam else "sgd") if execution == "dual" else (None, None)
    return Case(
        seed,
        None if layered else execution,
        depth,
        ranks,
        threads,
        rules,
        (_begun(_calendar(rng, depth), seed) if layered else _calendar(rng, depth)) if relaxes else None,
        rng.choice((1, 1, 2, 3, 5)),
        rng.random() < 0.8,
        relaxes and rng.random() < 0.2,
        batch,
        rng.randint(1, batch),
        adam,
        seed % 3 == 0,
        rng.choice(((2, 1), (4,), (3, 2), (1, 1, 1)) if execution not in RIVALS else ((9, 1), (11,), (3, 7))),
        rng.randint(1, 120) if stops else None,
        mpi,
        late,
        *swept,
    )


class _Mpi:
    """What ``Messages`` needs of ``mpi4py.MPI``."""

    __file__, IN_PLACE, SUM, REQUEST_NULL = "", 0, 0, 0
    _typedict = MappingProxyType({"d": 0})
    _addressof = staticmethod(id)
    _handleof = staticmethod(lambda handle: 0)


@dataclass
class _Comm:
    """A communicator whose requests a machine starts."""

    machine: clocks.Machine
    rank: int
    size: int
    made: list = field(default_factory=list)

    def _init(self, buffer, channel, sends):
        first = buffer.ctypes.data
        cells = range(first // clocks.CELL, (first + buffer.nbytes - 1) // clocks.CELL + 1)
        request = clocks.Request(self.machine.tid(), cells, channel, sends)
        self.machine.requests[id(request)] = request
        return request

    def Send_init(self, buffer, rank, tag):
        return self._init(buffer, (self.rank, rank, tag), True)

    def Recv_init(self, buffer, rank, tag):
        return self._init(buffer, (rank, self.rank, tag), False)


class _Threads(ThreadTransport):
    def start(self, work, stop):
        for worker in range(self.workers):
            work(worker)


class _Ranks(RankTransport):
    def __init__(self, comm, workers):
        self.comm, self.rank, self.ranks = comm, comm.rank, comm.size
        self.workers, self.all_workers, self.place, self.pin = workers, comm.size * workers, comm.rank * workers, False
        self.below, self.above, self.first_core = self.rank > 0, self.rank < self.ranks - 1, 0
        self.messages, self.of_execution = messages.Messages(comm), None

    start = _Threads.start

    def together(self, seconds, energy):
        return 0.0, 0.0

    def everyone(self, mine):
        return [mine]

    def steps_in_a_wave(self, layout, wave, chosen):
        return wave


def prepare(monkeypatch):
    """Let engines take their loops from a replay, and no threads, BLAS or MPI."""
    monkeypatch.setattr(contents, "in_threads", lambda workers, work, **_: [work(worker) for worker in range(workers)])
    monkeypatch.setattr(compiled, "blas_libraries", lambda: None)
    monkeypatch.setattr(compiled, "blas_threads", lambda *_, **__: nullcontext())
    monkeypatch.setattr(compiled, "limit_worker", lambda *_: None)
    monkeypatch.setattr(messages, "world", lambda: _Mpi)
    monkeypatch.setattr(messages, "functions", lambda file: (0, 0, 0))
    # Some layers of such small nets go together, and some alone.
    monkeypatch.setattr(messages, "SUMMED", 2000)
    monkeypatch.setattr(share_messages, "JOINED", 200)
    monkeypatch.setattr(streams, "LONGEST_WAVE", 2)
    monkeypatch.setattr(feedback, "LONGEST_WAVE", 2)


def _cells(array):
    first = array.ctypes.data
    return range(first // clocks.CELL, (first + array.nbytes - 1) // clocks.CELL + 1)


class Replay:
    """A case on a machine, with the loops of a ``replay.load``."""

    def __init__(self, case, loops):
        self.case, self.loops = case, loops
        self.machine = clocks.Machine(case.seed, case.rules)
        machine = self.machine
        machine.ranks = [[machine.tid() for _ in range(case.threads)] for _ in range(case.ranks)]
        workers = case.ranks * case.threads
        shared = case.execution.removeprefix("pc-") if case.execution and case.calendar else None
        width = LANES * (workers if case.execution in ("intra-layer", "data-parallel") else 1)
        if shared:  # at times one of them has no rows
            width = LANES * max(1, workers - case.seed % 3)
        skip = [bool(shared) and l % 2 == 1 for l in range(case.depth)]
        net = Network.mlp([width] * (case.depth + 1), seed=0, dtype=np.float64, bias=True, skip=skip)
        rows = case.batch * (1 if case.seed % 2 else 2)
        x, y = np.zeros((2, rows, width))
        algorithm = case.late or case.sweeper or RIVALS.get(case.execution, BP)(0.1, "adam" if case.adam else "sgd")
        if case.calendar is not None:
            algorithm = type("Drawn", (Drawn,), {"drawn": case.calendar})(
                0.1, (0.1, 0.2), "adam" if case.adam else "sgd", value_momentum=0.5 if case.momentum else 0.0
            )  # fmt: skip
        values = [np.zeros((case.batch, width))] * (case.depth + 1) if case.given else None
        self.engines = []
        for rank in range(case.ranks):
            order = itertools.cycle([np.arange(case.batch), np.arange(rows - case.batch, rows)])
            comm = _Comm(machine, rank, case.ranks)
            transport = _Ranks(comm, case.threads) if case.mpi else _Threads(case.threads, False)
            choose = transport.backprop
            transport.backprop = lambda name, choose=choose: self.replayed(*choose(name))
            share = transport.shared
            transport.shared = lambda name, ranks, share=share: self.replayed(*share(name, ranks))
            batches = lambda order=order: next(order)  # noqa: E731
            self.engines.append(
                compiled.CompiledEngine(
                    net,
                    algorithm,
                    x,
                    y,
                    batches,
                    transport,
                    first_batch=batches(),
                    steps_per_batch=case.steps_per_batch,
                    values=values,
                    wave=case.wave,
                    fused=case.fused,
                    execution=None if case.execution in RIVALS else self._named(shared or case.execution),
                    micro_batches=case.micro_batches,
                    order="zero-bubble" if case.execution == "zero-bubble" else "split",
                )
            )
        machine.spare = [machine.tid() for _ in range(case.ranks * case.depth if case.mpi else 0)]
        machine.counted = {}
        machine.clocks = {tid: [0] * machine.tids for tids in machine.ranks for tid in tids}
        for request in machine.requests.values():
            request.clock = [0] * machine.tids
        for engine in self.engines:
            self._label(engine)

    @staticmethod
    def _named(execution):
        return "pipeline" if execution in PIPELINES else execution

    def _label(self, engine):
        """Of what there is at the beginning, one label wherever it lies."""
        labels, layout = self.machine.labels, engine.layout
        for worker, arrays in enumerate(engine.arrays):
            lo, hi = layout.blocks[worker]
            for l in range(lo, hi):
                first, _ = layout.owned(worker, l)
                for kind, part in enumerate(layout.rows_of(arrays.parameters, worker, l, padding=True)):
                    labels.update((cell, hash(("W", l, kind, first + k))) for k, cell in enumerate(_cells(part)))
            for flat, l in (
                [*((arrays.values, l) for l in range(max(lo, 1), hi)), (arrays.top, hi)] if self.case.given else ()
            ):
                labels.update(
                    (cell, hash(("x", l, k))) for k, cell in enumerate(_cells(flat[layout.place_of(l, worker)]))
                )

    def replayed(self, loop, more=()):
        function = loop.py_func
        return self._loop(self.loops[function.__module__.rpartition(".")[2]][function.__name__]), more

    def _loop(self, generator):
        def registered(*arguments):
            self.started.append(generator(*arguments))
            self.kept.append(arguments)
            return 0

        return registered

    def run(self):
        """All runs of the case; labels of weights and values, and energies."""
        energies, self.kept = [], []
        replay.use(self.machine)
        relaxation = compiled.predictive_coding
        compiled.predictive_coding = self.replayed(relaxation)[0]
        try:
            for number, updates in enumerate(self.case.runs):
                started, kept = [], len(self.kept)
                for engine in self.engines:
                    self.started = []
                    engine.run(updates)
                    started.append(self.started)
                last = number == len(self.case.runs) - 1
                signals, notes = (
                    {id(each): each for arguments in self.kept[kept:] for each in arguments if isinstance(each, kind)}
                    for kind in (Signals, Notes)
                )
                self.machine.stops = {each.stop.ctypes.data: 0 for each in signals.values()}
                self.machine.run(started, self.case.stop_after if last else None)
                energies.append(
                    sum(float(e.sum()) for e in {id(each.energy): each.energy for each in notes.values()}.values())
                )
        finally:
            compiled.predictive_coding = relaxation
        return None if self.machine.stopping else (self._left(), energies)

    def _left(self):
        labels, found = self.machine.labels, {}
        for engine in self.engines:
            layout = engine.layout
            for worker, arrays in enumerate(engine.arrays):
                lo, hi = layout.blocks[worker]
                for l in range(lo, hi):
                    whole, biases = layout.rows_of(arrays.parameters, worker, l, padding=True)
                    found["W", l, layout.owned(worker, l)[0]] = [
                        labels.get(c, 0) for part in (whole, biases) for c in _cells(part)
                    ]
                for l in range(lo, hi + 1):
                    if layout.value_part(layout.place + worker, l) is None:
                        continue  # somebody else makes it
                    found["x", l] = [labels.get(c, 0) for c in _cells(arrays.values[layout.place_of(l, worker)])]
        return found
