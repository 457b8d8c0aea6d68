"""Random small cases of every way to train, the same in every process, and what an engine leaves of one."""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pcsim import BP, DFA, IPC, PC, ZIL, AsyncBP, Calendar, DualProp, Local, Network, Stage
from pcsim.algorithms import Algorithm
from pcsim.net.activations import ACTIVATIONS

# The same bits for any number of threads and ranks; sums in an order that goes with the number of ranks.
LAYERED = ("ipc", "pc", "zil", "planned", "pipeline", "pipeline-async", "local", "dfa", "dual")
SUMMED = ("intra-layer", "data-parallel", "zero-bubble")
SHARING = ("pc-intra-layer", "pc-data-parallel", "pc-hybrid")  # the same of PC, Z-IL and iPC


@dataclass(frozen=True)
class Planned(IPC):
    """A letter for each step of a round: in ``m`` values move, in ``u`` all weights update, in ``b`` both, in ``r``
    neither."""

    name, title = "planned", "Planned"
    plan: str = "b"

    def calendar(self, depth, steps_per_batch=None):
        every = tuple(range(depth))
        stages = [Stage(move=l in "mb", update=every if l in "ub" else (), completes=l in "ub") for l in self.plan]
        return Calendar(tuple(stages), steps_per_batch)


# Neighbours wait for one another in every step, also where none, one or two in a row move no values.
PLANS = ("bu", "um", "ubm", "mru", "uub", "rrb", "buu", "mbru")


@dataclass(frozen=True)
class Case:
    """A net, data, an algorithm and the options of an engine; ``runs``: updates of consecutive calls of ``run``."""

    name: str
    way: str
    sizes: tuple[int, ...]
    algorithm: Algorithm
    seed: int
    rows: int
    batch: int
    activation: str = "tanh"
    bias: bool = False
    dtype: str = "float64"
    scaled: bool = False
    steps_per_batch: int | None = None
    given: bool = False
    runs: tuple[int, ...] = (3, 1)
    wave: int | None = None
    fused: bool = True
    threads: int = 1
    micro_batches: int = 8
    trace: bool = False
    start: str = "forward"
    resumed: bool = False  # on ranks: between runs another engine goes on from the state

    @property
    def depth(self):
        return len(self.sizes) - 1

    @property
    def is_backprop(self):
        return isinstance(self.algorithm, BP)

    def fits(self, ranks):
        """Whether so many ranks can share it."""
        if self.way.endswith("data-parallel"):
            return ranks <= self.batch
        if self.way == "pc-hybrid":
            return ranks <= self.depth
        return self.way == "pc-intra-layer" or self.way == "intra-layer" or ranks * self.threads <= self.depth

    @cached_property
    def problem(self):
        """The net and its data."""
        rng = np.random.default_rng(self.seed)
        pairs = list(itertools.pairwise(self.sizes))
        net = Network.mlp(
            self.sizes,
            self.activation,
            bias=self.bias,
            seed=self.seed,
            dtype=self.dtype,
            scale=list(rng.uniform(0.5, 1.5, self.depth)) if self.scaled else (),
            skip=[a == b and bool(rng.integers(2)) for a, b in pairs] if self.scaled else (),
        )
        x, y = (rng.normal(size=(self.rows, n)).astype(self.dtype) for n in (self.sizes[0], self.sizes[-1]))
        return net, x, y

    def batches(self):
        """A function that gives the rows of one batch after another."""
        rng = np.random.default_rng(self.seed + 1)
        if self.batch == self.rows:
            return lambda: np.arange(self.rows)
        return lambda: rng.permutation(self.rows)[: self.batch]

    def options(self):
        """Of every engine."""
        options = {"steps_per_batch": self.steps_per_batch, "start": self.start}
        if self.given:
            rng = np.random.default_rng(self.seed + 2)
            options["values"] = [rng.normal(size=(self.batch, n)).astype(self.dtype) for n in self.sizes]
        return options

    def execution(self):
        """Of engines that share BP's work."""
        if self.way in SHARING:
            return {"execution": self.way.removeprefix("pc-")}
        if self.way == "zero-bubble":
            return {"execution": "pipeline", "order": self.way, "micro_batches": self.micro_batches}
        return {"execution": self.way, "micro_batches": self.micro_batches} if self.is_backprop else {}

    def build(self, engine_class, **options):
        """An engine."""
        net, x, y = self.problem
        return engine_class(net, self.algorithm, x, y, self.batches(), **self.options(), **options)


def outcome(engine, case):
    """Make the runs; a dict of what they leave: arrays."""
    with np.errstate(all="ignore"):
        energy = [engine.run(updates, trace=case.trace)[1] for updates in case.runs]
    return left(engine, energy)


def left(engine, energy):
    """What an engine holds, as arrays by name."""
    net = engine.network
    arrays = {f"weights[{l}]": w for l, w in enumerate(net.weights)}
    arrays |= {f"biases[{l}]": b for l, b in enumerate(net.biases or [])}
    arrays |= {f"values[{l}]": v for l, v in enumerate(engine.values)}
    return {**arrays, "energy": np.array(energy)}


def _algorithm(way, rng, rate, optimizer):
    precision = float(rng.choice([1.0, 2.5]))
    match way:
        case "ipc":
            return IPC(rate, float(rng.choice([0.05, 0.3])), optimizer, precision)
        case "pc":
            return PC(rate, 0.2, int(rng.integers(1, 7)), optimizer, precision)
        case "zil":
            return ZIL(rate, optimizer)
        case "planned":
            return Planned(rate, 0.2, optimizer, precision, str(rng.choice(PLANS)))
    return BP(rate, optimizer)


def _draw(name, way, rng, dtype):
    depth = int(rng.integers(1, 10))
    sizes = rng.integers(1, 38, depth + 1)
    if rng.integers(3) == 0:
        sizes[rng.integers(depth + 1)] = 1
    if rng.integers(2) and depth > 2:
        sizes[1 : depth // 2 + 2] = sizes[1]  # somewhere for skips to be
    if way == "intra-layer" and rng.integers(2):
        sizes = sizes + 40  # rows for every rank
    batch = int(rng.integers(2 if way in ("pipeline", "zero-bubble") else 1, 18))
    parts = rng.integers(3) == 0  # batches that are a part of the data
    adam = rng.integers(3) == 0
    exact = dtype == "float64" and rng.integers(2)
    runs = ((3, 1), (1, 2), (1, 1, 2))[rng.integers(3)] if exact else ((1, 5, 2), (12, 5), (2, 7, 3))[rng.integers(3)]
    return Case(
        name,
        way,
        tuple(map(int, sizes)),
        _algorithm(way, rng, 0.004, "adam" if adam else "sgd"),
        int(rng.integers(1 << 16)),
        rows=batch + (int(rng.integers(1, 9)) if parts else 0),
        batch=batch,
        activation=str(rng.choice(list(ACTIVATIONS))),
        bias=bool(rng.integers(2)),
        dtype=dtype,
        # Adam magnifies the rounding of what is nearly zero, which scales and skips make likely.
        scaled=bool(rng.integers(2)) and not (adam and way in SUMMED),
        steps_per_batch=int(rng.integers(1, 5)) if way == "ipc" and parts else None,
        given=way in LAYERED[:4] and rng.integers(3) == 0,
        runs=(1,) if adam and way in SUMMED else (2, 1) if way in SUMMED else runs,
        wave=(None, 1, 2, 3, 4)[rng.integers(5)],
        fused=bool(rng.integers(4)),
        threads=1 + int(way in LAYERED[:4] and rng.integers(3) == 0),
        micro_batches=int(rng.integers(1, 10)),
    )


# How many of each: in float64, in float32 (of sums there is no reference in float32).
DRAWN = {
    "ipc": (12, 5),
    "pc": (9, 4),
    "zil": (8, 3),
    "pipeline": (8, 3),
    "intra-layer": (10, 0),
    "data-parallel": (10, 0),
    "planned": (9, 3),
    "zero-bubble": (6, 0),
}


def shared():
    """Random cases of PC, Z-IL and iPC whose ranks share layers."""
    rng, found = np.random.default_rng(8), []
    for number, way in enumerate(SHARING * 7):
        one = _draw(f"{way}-{number}", LAYERED[number % 4], rng, "float64")
        adam = one.algorithm.optimizer == "adam"
        one = replace(one, way=way, scaled=one.scaled and not adam, runs=(1,) if adam else (2, 1))
        found.append(replace(one, threads=one.threads if way == "pc-hybrid" else 1))
    return found


def drawn():
    """The random cases."""
    rng = np.random.default_rng(7)
    return [
        _draw(f"{way}-{dtype}-{number}", way, rng, dtype)
        for way, counts in DRAWN.items()
        for dtype, count in zip(("float64", "float32"), counts, strict=True)
        for number in range(count)
    ]


def chosen():
    """Cases with a purpose: messages at several depths, and traces (of first runs)."""
    common = {"rows": 4, "batch": 4, "seed": 3}
    wide = {L: (40,) * (L + 1) for L in (4, 8, 16)}
    made = []
    for L, sizes in wide.items():
        made.append(Case(f"messages-ipc-{L}", "ipc", sizes, IPC(1e-3, 0.1), runs=(6, 5), **common))
        made.append(Case(f"messages-intra-{L}", "intra-layer", sizes, BP(1e-3), **common))
        made.append(Case(f"messages-rows-{L}", "pc-intra-layer", sizes, IPC(1e-3, 0.1), runs=(6, 5), **common))
        made.append(Case(f"messages-samples-{L}", "pc-data-parallel", sizes, IPC(1e-3, 0.1), runs=(2, 1), **common))
        made.append(Case(f"messages-teams-{L}", "pc-hybrid", sizes, IPC(1e-3, 0.1), runs=(6, 5), threads=2, **common))
    made.append(
        Case("messages-rows-long", "pc-intra-layer", wide[8], PC(1e-3, 0.1, T=3), 3, rows=64, batch=64, runs=(1, 2))
    )
    made += [
        Case("messages-pc-4", "pc", wide[8], PC(1e-3, 0.1, T=4), runs=(2, 3), **common),
        Case("messages-pc-3", "pc", wide[8], PC(1e-3, 0.1, T=3), runs=(2, 3), **common),
        Case("messages-zil", "zil", wide[8], ZIL(1e-3), runs=(2, 3), **common),
        Case("messages-hybrid", "ipc", wide[8], IPC(1e-3, 0.1), threads=2, **common),
    ]
    for parts in (1, 2, 4):
        made.append(Case(f"messages-pipeline-{parts}", "pipeline", wide[8], BP(1e-3), micro_batches=parts, **common))
    for batch, width in ((1, 64), (64, 128)):  # many steps, in which one who does not wait is soon ahead
        long = Case(
            f"planned-{batch}", "planned", (width,) * 9, Planned(1e-4, 0.1, plan="mu"), 3, batch, batch, runs=(99,)
        )
        made += [long, replace(long, name=long.name + "-threads", threads=2)]
    for T, threads, wave, given in ((1, 1, None, False), (2, 2, 1, True), (3, 1, 3, False), (9, 1, 2, True)):
        options = {"steps_per_batch": T, "threads": threads, "wave": wave, "given": given, "runs": (2, 2, 2 * T)}
        options["resumed"] = T > 1
        many = Case(f"pipelined-{T}", "ipc", (5, 9, 12, 17, 6, 4, 8), IPC(4e-3, 0.2), 3, 9, 2, start="pipelined")
        made.append(replace(many, **options, bias=T == 2, algorithm=IPC(4e-3, 0.2, value_momentum=0.5 * (T == 3))))
    late = (
        (AsyncBP(0.01), 1, 1, None, (2, 2)),
        (AsyncBP(0.01, weights="stashed", accumulate=2, delay_rates=4), 2, 2, 3, (1, 5)),
        (AsyncBP(0.01, weights="two-versions", accumulate=11), 2, 1, 1, (1, 2)),
        (AsyncBP(0.01, "adam", weights="stashed", weight_prediction=True), 1, 2, 4, (1, 1, 4)),
        (AsyncBP(0.01, "momentum", weight_prediction=True, spike_compensation=True), 3, 1, 2, (2, 2)),
    )
    for number, (algorithm, batch, threads, wave, runs) in enumerate(late):
        case = Case(f"late-{number}", "pipeline-async", (5, 9, 12, 17, 6, 4, 8), algorithm, 3, 9, batch)
        made.append(replace(case, threads=threads, wave=wave, runs=runs, bias=number % 2 == 1, resumed=number > 0))
    for number, threads in ((1, 1), (4, 2)):  # more updates than layers, see ``Timeline.until``
        options = common | {"batch": number, "threads": threads, "runs": (12,), "trace": True}
        made.append(Case(f"trace-late-{number}", "pipeline-async", wide[8], AsyncBP(1e-3), **options))
    streams = (
        (Local(0.01), 1, 1, 8, (20, 3)),
        (Local(0.01), 2, 2, None, (1, 3)),
        (Local(0.01, "adam", head="cross-entropy"), 1, 2, 3, (7, 9)),
        (DFA(0.01), 1, 1, 8, (20, 3)),
        (DFA(0.01), 2, 2, None, (1, 3)),
        (DFA(0.01, "adam"), 1, 2, 3, (7, 9)),
    )
    for number, (algorithm, batch, threads, wave, runs) in enumerate(streams):
        case = Case(f"streams-{number}", algorithm.name, (5, 9, 12, 17, 6, 4, 8), algorithm, 3, 9, batch)
        made.append(replace(case, threads=threads, wave=wave, runs=runs, bias=number % 2 == 1, resumed=number % 3 > 0))
    muons = {"ipc": IPC(4e-3, 0.2, "muon"), "pipeline": BP(4e-3, "muon"), "pipeline-async": AsyncBP(4e-3, "muon")}
    muons |= {"zero-bubble": BP(4e-3, "muon"), "local": Local(4e-3, "muon"), "dfa": DFA(4e-3, "muon")}
    for way, algorithm in muons.items():
        case = Case(f"muon-{way}", way, (5, 9, 12, 17, 6, 4, 8), algorithm, 3, 9, 3, bias=True, runs=(2, 2))
        made.append(replace(case, resumed=way == "ipc", micro_batches=3))
    sweeps = (
        (DualProp(0.01, incremental=True), 1, 1, 8, None, (20, 3)),
        (DualProp(0.01, beta=0.5, a=0.3, incremental=True), 2, 2, None, 2, (1, 3)),
        (DualProp(0.01, "momentum", sweeps=3), 1, 2, None, None, (7, 9)),
        (DualProp(0.01, sweeps=2), 2, 1, None, None, (2, 2)),
        (DualProp(0.01, "adam", incremental=True), 1, 1, 3, 5, (7, 9)),
        (DualProp(0.01, "adam", sweeps=1), 3, 2, None, None, (1, 2)),
        (DualProp(0.01, incremental=True), 1, 2, 4, 1, (2, 2)),
    )
    for number, (algorithm, batch, threads, wave, steps, runs) in enumerate(sweeps):
        case = Case(f"sweeps-{number}", "dual", (5, 9, 12, 17, 6, 4, 8), algorithm, 3, 9, batch, steps_per_batch=steps)
        case = replace(case, threads=threads, wave=wave, runs=runs, bias=number % 2 == 1, resumed=number % 3 > 0)
        case = replace(case, scaled=not case.resumed)
        made += [case, replace(case, name=case.name + "-32", dtype="float32")]
    for number, algorithm in enumerate((DualProp(1e-3), DualProp(1e-3, sweeps=1), DualProp(1e-3, incremental=True))):
        made.append(Case(f"messages-dual-{number}", "dual", wide[8], algorithm, runs=(12, 12), **common))
    for steps in (1, 3):
        case = Case(f"messages-dual-new-{steps}", "dual", wide[8], DualProp(1e-3, incremental=True), 3, 4, 2)
        made.append(replace(case, runs=(12, 12), steps_per_batch=steps))
    for algorithm in (Local(1e-3), DFA(1e-3)):
        made.append(Case(f"messages-{algorithm.name}", algorithm.name, wide[8], algorithm, runs=(12, 12), **common))
    kinds = {"ipc": IPC(1e-3, 0.1), "pc": PC(1e-3, 0.1, T=3), "zil": ZIL(1e-3)}
    for way, algorithm in kinds.items():
        made.append(Case(f"trace-{way}", way, wide[8], algorithm, runs=(5,), trace=True, **common))
        made.append(Case(f"trace-{way}-2", way, wide[8], algorithm, runs=(5,), trace=True, threads=2, **common))
    return made


ALL = {case.name: case for case in (*drawn(), *shared(), *chosen())}
