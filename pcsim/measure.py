"""Timing done right: one cell, all contenders interleaved, each checked against the oracle before it is timed.

The rule (TRUST, point 11): a sample is the time of several complete weight updates after a common start of the
workers, to the end of the slowest one, divided by their number; compilation, thread start and a warm-up lie outside.
Contenders take turns (A B C A B C …), so that whatever disturbs the machine disturbs all of them.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .algorithms import BP, IPC, PC, ZIL, Algorithm
from .case import Case
from .ceilings import Ceilings
from .context import usable_cores
from .engines import make_engine
from .engines.cache import LONGEST_WAVE
from .engines.numpy import NumpyEngine
from .errors import InputError
from .memory import require
from .results import bootstrap_interval
from .tasks import TaskGraph
from .timeline import Timeline

# So small that tens of thousands of updates leave the net as it is: neither divergence nor a fit so good that errors
# become denormal numbers may change the speed.
ALPHA, GAMMA = 1e-7, 0.5
SAMPLE_SECONDS = 6e-3  # a sample lasts at least so long; shorter ones show the start of a second core too much
SAMPLE_STEPS = 12  # and as many inference steps on threads, where several share one fetch of the weights
MIN_ROUNDS, MAX_ROUNDS = 9, 31
UNSTEADY = 0.15  # half the interval ÷ median: above this a row is marked
TOLERANCE = {"float32": 2e-3, "float64": 1e-9}  # largest difference of two updates from the oracle's, relative


@dataclass(frozen=True)
class Contender:
    """Who runs: an algorithm, its execution, and how many threads it has (for ``numpy``: BLAS threads)."""

    algorithm: Algorithm
    execution: str
    workers: int
    auto: bool = False

    @property
    def backend(self) -> str:
        """The engine that runs it."""
        return "numpy" if self.execution == "numpy" else "threads"


@dataclass
class Entry:
    """A contender in its cell, while it is measured."""

    contender: Contender
    engine: Any = None
    updates: int = 1
    seconds: list[float] = field(default_factory=list)
    error: str | None = None
    handover: float | None = None


def execution_of(algorithm: Algorithm, workers: int) -> str:
    """The name of CONTRACT for an algorithm on the threads backend with that many workers."""
    return "serial" if workers == 1 else "layer-parallel"


def work_per_update(algorithm: Algorithm, case: Case) -> dict[str, float]:
    """Flop and bytes of one complete weight update, as the kernels do it; counted, not measured.

    A product of a layer is ``2 * batch * width**2`` flop. A batch of one reads (and writes) the weights once per
    pass: fused passes for PC, Z-IL and iPC; one for the predictions and one for the rest in BP. Larger batches are one
    matrix product each, of which the weight update reads and writes. Vectors are left out.
    """
    graph = algorithm.tasks(case.depth, 3)
    matrix = case.width**2
    flops = 2.0 * case.batch * matrix * graph.mm_full
    size = matrix * np.dtype(case.dtype).itemsize
    L = case.depth
    if isinstance(algorithm, PC | ZIL):
        T = algorithm.T if isinstance(algorithm, PC) else L - 1
        # the forward start, and a pass for each step; each matrix is written in one of them
        # At t = 0 the input layer's matrix has nothing to do: the errors are known, and x[0] is clamped.
        reads, writes = (L + T * L - 1, L) if case.batch == 1 else (L + T * (2 * L - 1), L)
    elif isinstance(algorithm, BP):
        reads, writes = (L, L) if case.batch == 1 else (2 * L - 1, L)
    else:
        reads, writes = (0, L) if case.batch == 1 else (2 * L - 1, L)
    return {"flops": flops, "read": float(reads * size), "read-write": float(2 * writes * size)}


def memory_needed(case: Case, contenders: int) -> int:
    """Bytes for the weights and values of ``contenders`` engines and the oracle."""
    item = np.dtype(case.dtype).itemsize
    weights = case.depth * case.width**2 * item
    values = (case.depth + 1) * case.width * case.batch * item
    return (contenders + 3) * weights + (contenders * 8 + 6) * values


def warm_up(dtype: str) -> dict[str, float]:
    """Compile everything that will be timed (or load it from Numba's cache); seconds per algorithm name."""
    seconds = {}
    for name, algorithm in (("bp", BP(ALPHA)), ("ipc", IPC(ALPHA, GAMMA))):
        begin = time.perf_counter()
        _engine(Case(2, 8, 1, dtype), Contender(algorithm, "serial", 1)).run(1)
        seconds[name] = time.perf_counter() - begin
    return {**seconds, "pc": seconds["ipc"], "zil": seconds["ipc"]}  # one loop serves all three


def _engine(
    case: Case, contender: Contender, pin: bool = False, values: list | None = None, wave: int | None = None
) -> Any:
    net, x, y = case.problem()
    rows = np.arange(case.batch)
    options: dict[str, Any] = {"pin": pin, "wave": wave} if contender.backend == "threads" else {}
    return make_engine(
        contender.backend,
        net,
        contender.algorithm,
        x,
        y,
        lambda: rows,
        workers=contender.workers if contender.backend == "threads" else 1,
        values=values,
        **options,
    )


def settle(slice_seconds: float = 0.005, longest: float = 1.0) -> None:
    """Wait until no thread of this process is busy.

    OpenBLAS's threads spin for 2**28 clock cycles (105 ms measured) after a product before they sleep, and until then
    take a core from whoever is timed next: two workers on two cores ran up to four times slower. (Making them sleep at
    once, which a setting allows, would slow NumPy itself.)
    """
    end = time.monotonic() + longest
    while time.monotonic() < end:
        before = time.process_time()
        time.sleep(slice_seconds)
        if time.process_time() - before < slice_seconds / 4:
            return


class Cell:
    """All contenders of one cell. ``rows`` gives the finished rows of the results file."""

    def __init__(
        self,
        case: Case,
        contenders: Sequence[Contender],
        *,
        budget: float = 2.0,
        pin: bool = True,
        ceilings: Ceilings | None = None,
        compile_seconds: dict[str, float] | None = None,
    ) -> None:
        self.case, self.budget, self.pin = case, budget, pin
        self.entries = [Entry(contender) for contender in contenders]
        self.ceilings, self.compile_seconds = ceilings, compile_seconds or {}
        require(memory_needed(case, len(contenders)), f"a cell of {case.depth} x {case.width}, batch {case.batch}")

    def measure(self, oracle: bool = True) -> list[dict]:
        """Check, then time. A contender that fails is a row with its error; the others go on."""
        self._prepare(oracle)
        alive = [entry for entry in self.entries if entry.error is None]
        for entry in alive:
            self._calibrate(entry)
        settle()
        begin = time.perf_counter()
        for done in range(MAX_ROUNDS):
            if done >= MIN_ROUNDS and time.perf_counter() - begin > self.budget:
                break
            for entry in alive:
                entry.engine.run(1 + entry.updates // 4)  # its own data back into the caches
                entry.seconds.append(entry.engine.run(entry.updates)[0] / entry.updates)
                if entry.contender.backend == "numpy":
                    settle()
        for entry in alive:
            if entry.contender.workers > 1 and entry.contender.backend == "threads":
                entry.handover = self._handover(entry)
        return [self._row(entry) for entry in self.entries]

    def _prepare(self, oracle: bool) -> None:
        checked: dict[str, tuple[list, list]] = {}
        for entry in self.entries:
            try:
                if oracle:
                    self._check(entry.contender, checked)
                entry.engine = _engine(self.case, entry.contender, self.pin)
            except Exception as failure:  # the row says what it was, and the sweep goes on
                entry.error = f"{type(failure).__name__}: {failure}".splitlines()[0]

    def _check(self, contender: Contender, checked: dict[str, tuple[list, list]]) -> None:
        """Two updates from random values, so that every layer has an error, against the oracle's two; then as many
        steps as fill two waves and more, which must leave the very bits of one worker that takes them one by one."""
        algorithm = replace(contender.algorithm, alpha=1e-3 / self.case.batch)
        name = algorithm.name
        net, x, y = self.case.problem()
        values = None
        if not isinstance(algorithm, BP):
            rng = np.random.default_rng(self.case.seed + 2)
            values = [rng.normal(size=(self.case.batch, n)).astype(self.case.dtype) for n in net.sizes]
        if name not in checked:
            rows = np.arange(self.case.batch)
            reference = NumpyEngine(net, algorithm, x, y, lambda: rows, values=values)
            reference.run(2)
            checked[name] = (list(reference.network.weights), reference.values)
        if contender.backend == "numpy":
            return
        weights, last = checked[name]
        engine = _engine(self.case, Contender(algorithm, contender.execution, contender.workers), values=values)
        engine.run(2)
        for l, (mine, its, before) in enumerate(zip(engine.network.weights, weights, net.weights, strict=True)):
            change = float(np.max(np.abs(its - before)))
            # A change is a difference of rounded weights: its own rounding error is theirs.
            allowed = TOLERANCE[self.case.dtype] * change + 4 * np.finfo(mine.dtype).eps * float(np.max(np.abs(its)))
            if not float(np.max(np.abs(mine - its))) <= allowed:
                raise ArithmeticError(f"weights of layer {l} differ from the oracle's after two updates")
        for l, (mine, its) in enumerate(zip(engine.values, last, strict=True)):
            if not np.allclose(mine, its, rtol=1e-3, atol=1e-3 if self.case.dtype == "float32" else 1e-9):
                raise ArithmeticError(f"values of layer {l} differ from the oracle's after two updates")
        if values is None:
            return
        further = -(-(2 * LONGEST_WAVE + 1) // engine.steps_per_update)
        plain = f"{name}, one by one"
        if plain not in checked:
            alone = _engine(self.case, Contender(algorithm, "serial", 1), values=values, wave=1)
            alone.run(2)
            alone.run(further)
            checked[plain] = (list(alone.network.weights), alone.values)
        engine.run(further)
        weights, last = checked[plain]
        for mine, its in zip([*engine.network.weights, *engine.values], [*weights, *last], strict=True):
            if not np.array_equal(mine, its, equal_nan=True):
                raise ArithmeticError("several steps in a wave, or several workers, differ from one by one")

    def _calibrate(self, entry: Entry) -> None:
        """How many updates make a sample."""
        entry.engine.run(1)
        while True:
            seconds, _ = entry.engine.run(entry.updates)
            if seconds >= SAMPLE_SECONDS / 2:
                break
            entry.updates *= max(2, min(100, math.ceil(SAMPLE_SECONDS / 2 / max(seconds, 1e-7))))
        entry.updates = max(1, math.ceil(entry.updates * SAMPLE_SECONDS / seconds))
        if entry.contender.backend == "threads":
            entry.updates = max(entry.updates, -(-SAMPLE_STEPS // entry.engine.steps_per_update))

    def _handover(self, entry: Entry) -> float:
        """Seconds per step that the later of two neighbours loses between its tasks: a median over traced steps.

        The earlier one waits for the work of the later one, which is imbalance, not hand-over; so of each pair of
        neighbours the shorter pause counts.
        """
        steps = 200 if self.case.depth * self.case.width**2 * self.case.batch < 1 << 22 else 20
        entry.engine.run(max(1, steps // max(1, entry.engine.steps_per_update)), trace=True)
        pauses = entry.engine.timeline.pauses
        return float(np.median(np.minimum(pauses[:-1], pauses[1:])))

    def _row(self, entry: Entry) -> dict:
        contender, case = entry.contender, self.case
        algorithm = contender.algorithm
        graph = algorithm.tasks(case.depth, 3)
        row: dict[str, Any] = {
            "algorithm": algorithm.name,
            "execution": contender.execution,
            "backend": contender.backend,
            "workers": contender.workers,
            "depth": case.depth,
            "width": case.width,
            "batch": case.batch,
            "steps": algorithm.T if isinstance(algorithm, PC) else 1,
            "dtype": case.dtype,
            "activation": case.activation,
            "kind": "measured",
            "seconds": entry.seconds,
            "median": None,
            "ci95": None,
            "mm": graph.mm,
            "smm": graph.smm,
            "mm_full": graph.mm_full,
            "smm_full": graph.smm_full,
            "smm_workers": graph.makespan(contender.workers if contender.execution == "layer-parallel" else 1),
            "flops": None,
            "bytes": None,
            "flop_rate": None,
            "bandwidth": None,
            "roofline": None,
            "compile_seconds": self.compile_seconds.get(algorithm.name, 0.0) if contender.backend == "threads" else 0.0,
            "warnings": [],
            "error": entry.error,
            "auto": contender.auto,
            "rounds": len(entry.seconds),
            "updates_per_sample": entry.updates,
            "checked": entry.error is None,
            "handover_seconds": entry.handover,
        }
        if entry.error is None:
            self._add_times(row, entry)
        return row

    def _add_times(self, row: dict, entry: Entry) -> None:
        median = float(np.median(entry.seconds))
        low, high = bootstrap_interval(entry.seconds)
        work = work_per_update(entry.contender.algorithm, self.case)
        moved = work["read"] + work["read-write"]
        row.update(median=median, ci95=[low, high], flops=work["flops"], bytes=moved)
        row.update(
            flop_rate=work["flops"] / median, bandwidth=moved / median, roofline=self._roofline(work, median, row)
        )
        if (high - low) / 2 > UNSTEADY * median:
            row["warnings"].append("unsteady: repeat on a quieter machine, or with more --seconds")
        if row["workers"] > len(usable_cores()):
            row["warnings"].append(f"oversubscribed: {row['workers']} workers on {len(usable_cores())} cores")

    def _roofline(self, work: dict[str, float], median: float, row: dict) -> float | None:
        """The least time that the measured ceilings allow for this work ÷ the time taken."""
        if self.ceilings is None:
            return None
        workers = row["workers"]
        held = self.case.depth * self.case.width**2 * np.dtype(self.case.dtype).itemsize
        read, read_write, gemm = (self.ceilings.rate(kind, workers, held) for kind in ("read", "read-write", "gemm"))
        if read is None or read_write is None or gemm is None:
            return None
        return max(work["read"] / read + work["read-write"] / read_write, work["flops"] / gemm) / median


def trace(case: Case, contender: Contender, updates: int, pin: bool = True) -> tuple[Timeline, TaskGraph]:
    """The timeline of a contender's first updates (after a warm-up by another engine), and the graph to check it by."""
    _engine(case, contender, pin).run(2)
    engine = _engine(case, contender, pin)
    engine.run(updates, trace=True)
    return engine.timeline, contender.algorithm.tasks(case.depth, updates)


def pick_workers(case: Case, algorithm: Algorithm, candidates: Sequence[int], pin: bool = True) -> int:
    """The number of workers, among ``candidates``, with the shortest of nine samples (disturbance only lengthens)."""
    entries = [Entry(Contender(algorithm, execution_of(algorithm, workers), workers)) for workers in candidates]
    cell = Cell(case, [], pin=pin)
    for entry in entries:
        entry.engine = _engine(case, entry.contender, pin)
        cell._calibrate(entry)
    for _ in range(9):
        for entry in entries:
            entry.engine.run(1 + entry.updates // 4)
            entry.seconds.append(entry.engine.run(entry.updates)[0] / entry.updates)
    return min(entries, key=lambda entry: min(entry.seconds)).contender.workers


def contenders(
    case: Case,
    algorithms: Sequence[Algorithm],
    workers: Sequence[int | str],
    baselines: Sequence[str],
    pin: bool = True,
    choose: Callable[..., int] = pick_workers,
) -> list[Contender]:
    """Who runs in a cell: BP as each of ``baselines`` (``serial``, ``numpy``), the others with each of ``workers``.

    Numbers above the depth stand for the depth (a worker needs a layer); "auto" for the fastest of 1, 2, 4 … cores.
    """
    found: list[Contender] = []
    for algorithm in algorithms:
        if isinstance(algorithm, BP):
            threads = {"serial": 1, "numpy": len(usable_cores())}
            found += [Contender(algorithm, baseline, threads[baseline]) for baseline in baselines]
            continue
        counts = {min(w, case.depth) for w in workers if isinstance(w, int)}
        best = None
        if "auto" in workers:
            cores = len(usable_cores())
            candidates = sorted({min(case.depth, c) for c in (*(2**k for k in range(10) if 2**k <= cores), cores)})
            best = candidates[0] if len(candidates) == 1 else choose(case, algorithm, candidates, pin)
            counts.add(best)
        found += [Contender(algorithm, execution_of(algorithm, w), w, w == best) for w in sorted(counts)]
    if not found:
        raise InputError("nothing to measure: name at least one algorithm")
    return found
