"""Rows of a results file from what was measured in a cell."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..algorithms import BP, PredictiveCoding
from ..host.compiled import doubts, too_slow
from ..host.context import effective_cores, usable_cores
from ..results.comparison import UNSTEADY
from ..results.fields import Row
from ..results.rows import MeasuredRow, RankFields
from ..results.statistics import bootstrap_interval
from ..schedule.tasks import TaskGraph
from .case import Case
from .ceilings import Ceilings, gemm_rate, tile_rate, update_rate
from .contenders import Contender
from .crew import crew
from .peers import PEERS
from .work import messages_counted, products_of, work_per_update

SAMPLE_SECONDS = 6e-3  # a sample lasts at least so long; shorter ones show the start of a second core too much

DRIFT = 0.05  # a change of its time above which a cell's rows are marked

MOVED = 1.5  # the same for the distance of two cores

SAMPLES = 6  # fewer do not say whether a time is steady


@dataclass
class Entry:
    """A contender in its cell, while it is measured."""

    contender: Contender
    engine: Any = None
    updates: int = 1
    seconds: list[float] = field(default_factory=list)
    error: str | None = None
    handover: float | None = None

    def steps_per_update(self, case: Case) -> float:
        """Inference steps of a weight update in this cell."""
        return self.contender.algorithm.calendar(case.depth, case.steps_per_batch).steps_per_update


@dataclass(frozen=True)
class Conditions:
    """Under which a cell was measured: the ``ceilings`` of the machine and its arithmetic ``rates`` by number of
    workers, seconds of compilation by algorithm, the time of a fixed loop after ÷ before the cell (``drift``), and
    seconds from one core to another (``distances``) before and after it."""

    ceilings: Ceilings | None = None
    rates: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    compile_seconds: Mapping[str, float] = field(default_factory=dict)
    drift: float | None = None
    distances: tuple[float | None, float | None] = (None, None)


def arithmetic_rates(case: Case, workers: Collection[int], pin: bool) -> dict[int, dict[str, float]]:
    """Flop per second that each number of workers does at most of this cell's arithmetic: products of its shapes, or,
    for a batch of one, the fused pass on a tile of W that stays in the first-level cache. Measures."""
    width, dtype = case.width, np.dtype(case.dtype)
    if case.net and case.batch == 1:
        return {}
    if case.net:
        return {count: {"gemm_rate": update_rate(count, products_of(case), dtype, pin)} for count in workers}
    if case.batch == 1:
        return {count: {"tile_rate": tile_rate(count, width, dtype, pin)} for count in workers}
    return {count: {"gemm_rate": gemm_rate(count, (case.batch, width), dtype, pin)} for count in workers}


def row_of(entry: Entry, case: Case, conditions: Conditions) -> Row:
    """The row of a contender that was measured, or that failed."""
    contender = entry.contender
    algorithm = contender.algorithm
    graph = algorithm.steady_tasks(case.depth, case.steps_per_batch, case.start)
    row = MeasuredRow(
        algorithm=contender.row_name,
        execution=contender.execution,
        backend=contender.backend,
        workers=contender.workers,
        depth=case.depth,
        width=case.width,
        batch=case.batch,
        steps=algorithm.steps,
        inference_steps=entry.steps_per_update(case),
        dtype=case.dtype,
        activation=case.activation,
        net=case.net,
        steps_per_batch=case.steps_per_batch,
        start=case.start,
        optimizer=algorithm.optimizer,
        momentum=None if algorithm.optimizer == "sgd" else getattr(algorithm, "momentum", None),
        weight_decay=getattr(algorithm, "weight_decay", None),
        data=case.data,
        seconds=entry.seconds,
        median=None,
        ci95=None,
        mm=graph.mm,
        smm=graph.smm,
        mm_full=graph.mm_full,
        smm_full=graph.smm_full,
        smm_workers=graph.makespan(contender.blocks),
        mm_starts=graph.mm_starts,
        smm_starts=graph.smm_starts,
        flops=None,
        bytes=None,
        flop_rate=None,
        bandwidth=None,
        roofline=None,
        compile_seconds=_compile_seconds(entry, conditions.compile_seconds),
        warnings=list(getattr(entry.engine, "notes", [])),
        error=entry.error,
        auto=contender.auto,
        rounds=len(entry.seconds),
        updates_per_sample=entry.updates,
        checked=entry.error is None,
        handover_seconds=entry.handover,
        variant=_variant(entry),
        drift=conditions.drift,
        core_distance=conditions.distances[0],
        gemm_rate=None,
        tile_rate=None,
        on_ranks=_of_ranks(entry, case, graph) if contender.ranks else None,
    )
    if entry.error is None:
        _add_times(row, entry, case, conditions)
    return row.row()


def _of_ranks(entry: Entry, case: Case, graph: TaskGraph) -> RankFields:
    """Messages, sent and counted, and what one of them takes."""
    ranks = entry.contender.ranks or 1
    found: RankFields = {
        "ranks": ranks,
        "hosts": crew().spread(ranks),
        "counted_messages": messages_counted(entry.contender, case, graph),
        "delay": crew().delay,
        "latency": None,
    }
    if entry.error is None:
        if ranks > 1:
            found["latency"] = crew().latency(
                case.batch * max(case.sizes[1:-1] or case.sizes) * np.dtype(case.dtype).itemsize
            )
        entry.engine.run(2)  # of all runs the count is the same, whatever their length
        found |= entry.engine.messages
    return found


def _add_times(row: MeasuredRow, entry: Entry, case: Case, conditions: Conditions) -> None:
    median = float(np.median(entry.seconds))
    low, high = bootstrap_interval(entry.seconds)
    work = work_per_update(entry.contender, case)
    moved = work["read"] + work["read-write"]
    row.median, row.ci95, row.flops, row.bytes = median, [low, high], work["flops"], moved
    row.flop_rate, row.bandwidth = work["flops"] / median, moved / median
    rates = conditions.rates.get(row.workers, {}) if row.backend == "threads" else {}
    row.gemm_rate, row.tile_rate = rates.get("gemm_rate"), rates.get("tile_rate")
    if conditions.ceilings is not None:
        row.roofline = _roofline(work, case, row.workers, median, row.gemm_rate, conditions.ceilings)
    if row.backend in ("threads", "mpi"):
        row.warnings += doubts()
        products = conditions.ceilings.rate("gemm", row.workers) if conditions.ceilings else None
        row.warnings += filter(None, [too_slow(row.tile_rate, products, case.width)])
    if len(entry.seconds) >= SAMPLES and (high - low) / 2 > UNSTEADY * median:
        row.warnings.append("unsteady: repeat on a quieter machine, or with more --seconds")
    if conditions.drift is not None and abs(conditions.drift - 1) > DRIFT:
        row.warnings.append(
            f"drift: a fixed loop took {conditions.drift:.2f} times as long after this cell as before it; "
            "close other programs, fix the clock frequency, or measure again with --resume later"
        )
    before, after = conditions.distances
    if before and after and row.workers > 1 and max(before, after) > MOVED * min(before, after):
        row.warnings.append(
            f"the cores moved: from one to the other it took {before * 1e9:.0f} ns before this cell, "
            f"{after * 1e9:.0f} ns after it; measure it again"
        )
    if median * entry.updates < SAMPLE_SECONDS / 4:
        row.warnings.append("short samples: updates are faster than when they were counted out; measure it again")
    row.warnings += _crowding(entry.contender)


def _crowding(contender: Contender) -> list[str]:
    """That its workers have to share cores, or the time of a quota."""
    here, cores, worth = contender.workers, len(usable_cores()), effective_cores()
    found: list[str] = []
    if contender.ranks:
        threads = contender.workers // contender.ranks
        here = crew().hosts[: contender.ranks].count(crew().hosts[0]) * threads
        found += filter(None, [crew().crowded(contender.ranks, threads)])
    elif here > cores:
        found.append(f"oversubscribed: {here} workers on {cores} cores")
    if worth < cores and here > worth:
        workers = f"{here} worker{'s' if here > 1 else ''}"
        found.append(f"quota: {workers} with {worth:g} cores' worth of time: halted in every period")
    return found


def _variant(entry: Entry) -> str | None:
    """In which form it ran, in words; None where there is one form."""
    if entry.contender.backend not in PEERS or entry.engine is None:
        return entry.contender.variant
    versions = ", ".join(f"{name} {version}" for name, version in entry.engine.versions.items())
    return f"{entry.engine.variant} ({versions})"


def _compile_seconds(entry: Entry, own: Mapping[str, float]) -> float:
    if entry.contender.backend in PEERS and entry.engine is not None:
        return float(entry.engine.compile_seconds)
    algorithm = entry.contender.algorithm
    if entry.contender.backend not in ("threads", "mpi"):
        return 0.0
    kinds = ((BP, "bp"), (PredictiveCoding, "ipc"))  # one loop serves all calendars
    return own.get(next((name for kind, name in kinds if isinstance(algorithm, kind)), algorithm.name), 0.0)


def _roofline(
    work: Mapping[str, float], case: Case, workers: int, median: float, gemm_rate: float | None, ceilings: Ceilings
) -> float | None:
    """The least time that the measured ceilings allow for this work ÷ the time taken."""
    held = case.weights * np.dtype(case.dtype).itemsize
    read, read_write, gemm = (ceilings.rate(kind, workers, held) for kind in ("read", "read-write", "gemm"))
    if read is None or read_write is None or gemm is None:
        return None
    traffic = work["read"] / read + work["read-write"] / read_write
    return max(traffic, work["flops"] / (gemm_rate or gemm)) / median
