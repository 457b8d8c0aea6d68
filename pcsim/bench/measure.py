"""Timing done right: one cell, all contenders interleaved, each checked against the oracle before it is timed.

The rule (TRUST, point 11): a sample is the time of several complete weight updates after a common start of the
workers, to the end of the slowest one, divided by their number; compilation, thread start and a warm-up lie outside.
Contenders take turns (A B C A B C …), so that whatever disturbs the machine disturbs all of them.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..algorithms import BP, IPC, PC, ZIL, Algorithm
from ..engines.numpy import NumpyEngine
from ..host.context import usable_cores
from ..host.memory import require
from ..host.probes import core_distance, fixed_loop
from ..host.threads import settle
from ..results.statistics import bootstrap_interval
from ..schedule.tasks import TaskGraph
from ..schedule.waves import LONGEST_WAVE
from .build import build
from .case import TOLERANCE, Case
from .ceilings import Ceilings, gemm_rate, tile_rate
from .contenders import Contender
from .peers import PEERS
from .rows import DRIFT, MOVED, SAMPLE_SECONDS, UNSTEADY, Entry
from .work import memory_needed, messages_counted, work_per_update

# So small that tens of thousands of updates leave the net as it is: neither divergence nor a fit so good that errors
# become denormal numbers may change the speed.
ALPHA, GAMMA = 1e-7, 0.5

# On threads a sample has so many inference steps (several share one fetch of the weights), if not too long for it.
SAMPLE_STEPS, LONG_SAMPLE_SECONDS = 12, 0.1

MIN_ROUNDS, MAX_ROUNDS = 9, 31


def warm_up(dtype: str, on_ranks: Sequence[Algorithm] | None = None) -> dict[str, float]:
    """Compile the serial loops (or load them from Numba's cache); seconds per algorithm name. If these algorithms run
    ``on_ranks``, also the loops of ranks, while the other ranks sleep: they will find them in the cache."""
    seconds = {}
    for name, algorithm in (("bp", BP(ALPHA)), ("ipc", IPC(ALPHA, GAMMA))):
        begin = time.perf_counter()
        build(Case(2, 8, 1, dtype), Contender(algorithm, "serial", 1)).run(1)
        if on_ranks is not None:
            executions = ("intra-layer", "pipeline", "data-parallel") if name == "bp" else ("layer-parallel",)
            for execution in executions if name in {a.name for a in on_ranks} or name == "ipc" else ():
                build(Case(2, 8, 2, dtype), Contender(algorithm, execution, 1, ranks=1)).run(1)
        seconds[name] = time.perf_counter() - begin
    return {**seconds, "pc": seconds["ipc"], "zil": seconds["ipc"]}  # one loop serves all three


class Measurement:
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
        self.rates: dict[int, dict[str, float]] = {}
        self.drift: float | None = None
        self.distances: tuple[float | None, float | None] = (None, None)
        require(memory_needed(case, len(contenders)), f"a cell of {case.depth} x {case.width}, batch {case.batch}")

    def measure(self, oracle: bool = True) -> list[dict]:
        """Check, then time. A contender that fails is a row with its error; the others go on."""
        try:
            self._prepare(oracle)
            alive = [entry for entry in self.entries if entry.error is None]
            for entry in alive:
                self._calibrate(entry)
            settle()
            before, apart = fixed_loop(), core_distance(self.pin)
            begin = time.perf_counter()
            for done in range(MAX_ROUNDS):
                if done >= MIN_ROUNDS and time.perf_counter() - begin > self.budget:
                    break
                for entry in alive:
                    self._sample(entry)
            self.drift = fixed_loop() / before
            self.distances = (apart, core_distance(self.pin))
            for entry in alive:
                if entry.contender.blocks > 1:
                    entry.handover = self._handover(entry)
            return [self._row(entry) for entry in self.entries]
        finally:
            for entry in self.entries:
                if entry.engine is not None and entry.contender.backend not in ("numpy", "threads"):
                    entry.engine.close()

    def _sample(self, entry: Entry) -> None:
        entry.engine.run(1 + entry.updates // 4)  # its own data back into the caches
        entry.seconds.append(entry.engine.run(entry.updates)[0] / entry.updates)
        if entry.contender.leaves_threads:
            settle()

    def _prepare(self, oracle: bool) -> None:
        checked: dict[str, tuple[list, list]] = {}
        for entry in self.entries:
            try:
                if entry.contender.backend in PEERS:
                    entry.engine = build(self.case, entry.contender, self.pin)
                    entry.engine.prepare()
                    if oracle:
                        entry.engine.check()
                    continue
                if oracle:
                    self._check(entry.contender, checked)
                entry.engine = build(self.case, entry.contender, self.pin)
            except Exception as failure:  # the row says what it was, and the sweep goes on
                entry.error = f"{type(failure).__name__}: {failure}".splitlines()[0]

    def _check(self, contender: Contender, checked: dict[str, tuple[list, list]]) -> None:
        """Two updates from random values, so that every layer has an error, against the oracle's two; then as many
        steps as fill two waves and more, which must leave the very bits of one worker that takes them one by one."""
        algorithm = replace(contender.algorithm, alpha=1e-3 / self.case.batch)
        name = algorithm.name
        net, x, y = self.case.problem()
        values = None
        # Not Z-IL, whose gamma of 1 makes rounding grow from layer to layer: its start is the forward pass.
        if isinstance(algorithm, PC | IPC):
            rng = np.random.default_rng(self.case.seed + 2)
            values = [rng.normal(size=(self.case.batch, n)).astype(self.case.dtype) for n in net.sizes]
        if name not in checked:
            rows = np.arange(self.case.batch)
            reference = NumpyEngine(net, algorithm, x, y, lambda: rows, values=values)
            reference.run(2)
            checked[name] = (list(reference.network.weights), reference.values)
        if contender.backend == "numpy":
            return
        engine = build(self.case, replace(contender, algorithm=algorithm), values=values)
        try:
            self._hold_against(engine, algorithm, net, checked, values)
        finally:
            if contender.ranks:
                engine.close()

    def _hold_against(
        self, engine: Any, algorithm: Any, net: Any, checked: dict[str, tuple[list, list]], values: list | None
    ) -> None:
        name = algorithm.name
        weights, last = checked[name]
        engine.run(2)
        for l, (mine, its, before) in enumerate(zip(engine.network.weights, weights, net.weights, strict=True)):
            change = float(np.max(np.abs(its - before)))
            # A change is a difference of rounded weights: its own rounding error is theirs.
            allowed = TOLERANCE[self.case.dtype] * change + 4 * np.finfo(mine.dtype).eps * float(np.max(np.abs(its)))
            if not float(np.max(np.abs(mine - its))) <= allowed:
                raise ArithmeticError(f"weights of layer {l} differ from the oracle's after two updates")
        # The values that Z-IL leaves, with a gamma of 1, grow rounding from layer to layer; nothing is made of them.
        left = [] if isinstance(algorithm, ZIL) else zip(engine.values, last, strict=True)
        for l, (mine, its) in enumerate(left):
            if not np.allclose(mine, its, rtol=1e-3, atol=1e-3 if self.case.dtype == "float32" else 1e-9):
                raise ArithmeticError(f"values of layer {l} differ from the oracle's after two updates")
        if isinstance(algorithm, BP):
            return
        further = -(-(2 * LONGEST_WAVE + 1) // engine.steps_per_update)
        plain = f"{name}, one by one"
        if plain not in checked:
            alone = build(self.case, Contender(algorithm, "serial", 1), values=values, wave=1)
            alone.run(2)
            alone.run(further)
            checked[plain] = (list(alone.network.weights), alone.values)
        engine.run(further)
        weights, last = checked[plain]
        for mine, its in zip([*engine.network.weights, *engine.values], [*weights, *last], strict=True):
            if not np.array_equal(mine, its, equal_nan=True):
                raise ArithmeticError("several steps in a wave, or several workers, differ from one by one")

    def _calibrate(self, entry: Entry) -> None:
        """How many updates make a sample. By the shortest of three runs: one that something held up would make all
        samples too short, and starts would be measured."""
        entry.engine.run(1)
        while True:
            seconds = min(entry.engine.run(entry.updates)[0] for _ in range(3))
            if seconds >= SAMPLE_SECONDS / 2:
                break
            entry.updates *= max(2, min(100, math.ceil(SAMPLE_SECONDS / 2 / max(seconds, 1e-7))))
        each = seconds / entry.updates
        entry.updates = max(1, math.ceil(SAMPLE_SECONDS / each))
        if entry.contender.backend in ("threads", "mpi"):
            several = -(-SAMPLE_STEPS // entry.engine.steps_per_update)
            entry.updates = max(entry.updates, min(several, math.ceil(LONG_SAMPLE_SECONDS / each)))

    def _handover(self, entry: Entry) -> float:
        """Seconds per step that the later of two neighbours loses between its tasks: a median over traced steps.

        The earlier one waits for the work of the later one, which is imbalance, not hand-over; so of each pair of
        neighbours the shorter pause counts. (Ranks keep account of it themselves.)
        """
        if (entry.contender.ranks or 1) > 1:
            entry.engine.run(entry.updates, clock=True)
            return float(entry.engine.exchange_seconds)
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
            "smm_workers": graph.makespan(contender.blocks),
            "flops": None,
            "bytes": None,
            "flop_rate": None,
            "bandwidth": None,
            "roofline": None,
            "compile_seconds": self._compile_seconds(entry),
            "warnings": list(getattr(entry.engine, "notes", [])),
            "error": entry.error,
            "auto": contender.auto,
            "rounds": len(entry.seconds),
            "updates_per_sample": entry.updates,
            "checked": entry.error is None,
            "handover_seconds": entry.handover,
            "variant": self._variant(entry),
            "drift": self.drift,
            "core_distance": self.distances[0],
            "gemm_rate": None,
            "tile_rate": None,
        }
        if contender.ranks:
            row |= self._of_ranks(entry, graph)
        if entry.error is None:
            self._add_times(row, entry)
        return row

    def _of_ranks(self, entry: Entry, graph: TaskGraph) -> dict[str, Any]:
        """What rows of ranks have beside the others: messages, sent and counted, and what one of them takes."""
        from .crew import crew

        contender, case = entry.contender, self.case
        ranks = contender.ranks or 1
        fields: dict[str, Any] = {"ranks": ranks, "hosts": crew().spread(ranks), "counted_messages": None}
        fields["delay"] = crew().delay
        size = case.batch * case.width * np.dtype(case.dtype).itemsize
        fields["latency"] = crew().latency(size) if ranks > 1 and entry.error is None else None
        if entry.error is None:
            entry.engine.run(2)  # of all runs the count is the same, whatever their length
            fields |= entry.engine.messages
        fields["counted_messages"] = messages_counted(contender, case, graph)
        return fields

    def _add_times(self, row: dict, entry: Entry) -> None:
        median = float(np.median(entry.seconds))
        low, high = bootstrap_interval(entry.seconds)
        work = work_per_update(entry.contender, self.case)
        moved = work["read"] + work["read-write"]
        row.update(median=median, ci95=[low, high], flops=work["flops"], bytes=moved)
        row.update(flop_rate=work["flops"] / median, bandwidth=moved / median)
        if self.ceilings is not None and entry.contender.backend == "threads":
            row.update(self._rates(row["workers"]))
        row["roofline"] = self._roofline(work, median, row)
        if (high - low) / 2 > UNSTEADY * median:
            row["warnings"].append("unsteady: repeat on a quieter machine, or with more --seconds")
        if self.drift is not None and abs(self.drift - 1) > DRIFT:
            row["warnings"].append(
                f"drift: a fixed loop took {self.drift:.2f} times as long after this cell as before it; "
                "close other programs, fix the clock frequency, or measure again with --resume later"
            )
        near, far = sorted(self.distances, key=lambda seconds: seconds or 0)
        if near and far and row["workers"] > 1 and far > MOVED * near:
            row["warnings"].append(
                f"the cores moved: from one to the other it took {self.distances[0] * 1e9:.0f} ns before this cell, "  # type: ignore[operator]
                f"{self.distances[1] * 1e9:.0f} ns after it; measure it again"  # type: ignore[operator]
            )
        if median * entry.updates < SAMPLE_SECONDS / 4:
            row["warnings"].append(
                "short samples: updates are faster than when they were counted out; measure it again"
            )
        if entry.contender.ranks:
            from .crew import crew

            crowded = crew().crowded(entry.contender.ranks, row["workers"] // entry.contender.ranks)
            row["warnings"] += [crowded] if crowded else []
        elif row["workers"] > len(usable_cores()):
            row["warnings"].append(f"oversubscribed: {row['workers']} workers on {len(usable_cores())} cores")

    def _rates(self, workers: int) -> dict[str, float]:
        """What so many workers do at most of this cell's arithmetic: products of its shapes, or, for a batch of one,
        the fused pass on a tile of W that stays in the first-level cache. Flop per second."""
        if workers not in self.rates:
            width, batch, dtype = self.case.width, self.case.batch, np.dtype(self.case.dtype)
            if batch == 1:
                self.rates[workers] = {"tile_rate": tile_rate(workers, width, dtype, self.pin)}
            else:
                self.rates[workers] = {"gemm_rate": gemm_rate(workers, (batch, width), dtype, self.pin)}
        return self.rates[workers]

    def _variant(self, entry: Entry) -> str | None:
        if entry.contender.micro_batches:
            return f"{entry.contender.micro_batches} micro-batches"
        if entry.contender.backend not in PEERS or entry.engine is None:
            return None
        versions = ", ".join(f"{name} {version}" for name, version in entry.engine.versions.items())
        return f"{entry.engine.variant} ({versions})"

    def _compile_seconds(self, entry: Entry) -> float:
        if entry.contender.backend in PEERS and entry.engine is not None:
            return float(entry.engine.compile_seconds)
        own = self.compile_seconds.get(entry.contender.algorithm.name, 0.0)
        return own if entry.contender.backend in ("threads", "mpi") else 0.0

    def _roofline(self, work: dict[str, float], median: float, row: dict) -> float | None:
        """The least time that the measured ceilings allow for this work ÷ the time taken."""
        if self.ceilings is None:
            return None
        workers = row["workers"]
        held = self.case.depth * self.case.width**2 * np.dtype(self.case.dtype).itemsize
        read, read_write, gemm = (self.ceilings.rate(kind, workers, held) for kind in ("read", "read-write", "gemm"))
        if read is None or read_write is None or gemm is None:
            return None
        traffic = work["read"] / read + work["read-write"] / read_write
        return max(traffic, work["flops"] / (row["gemm_rate"] or gemm)) / median


def fastest(case: Case, candidates: Sequence[Contender], pin: bool = True) -> Contender:
    """The one of ``candidates`` with the shortest of nine samples (disturbance only lengthens)."""
    cell = Measurement(case, candidates, pin=pin)
    try:
        for entry in cell.entries:
            entry.engine = build(case, entry.contender, pin)
            cell._calibrate(entry)
        for _ in range(9):
            for entry in cell.entries:
                cell._sample(entry)
    finally:
        for entry in cell.entries:
            if entry.contender.ranks and entry.engine is not None:
                entry.engine.close()
    return min(cell.entries, key=lambda entry: min(entry.seconds)).contender
