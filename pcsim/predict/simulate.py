"""Who predicts: a task graph on a machine under an execution, timed job by job until it repeats itself.

Each worker takes its jobs in the order of the engines' loops, and waits for what a job needs: hand-overs within a
process, messages between ranks (which leave one after the other through the sender's port), meetings of all. So times
depend on the figures of a machine alone, and without a figure getting better anything gets worse: a later start never
makes an end earlier. What workers share they share steadily: where all do the same at the same time (rows, samples),
each has its part of the bandwidth; where they do not (blocks of layers), an update takes at least its bytes ÷ the
bandwidth of all. Nothing here measures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ..algorithms import PIPELINE_ASYNC, Algorithm, AsyncBP, DualProp, PredictiveCoding, asynchronous
from ..algorithms.predictive_coding import SHARED
from ..errors import InputError
from ..schedule.timeline import UPDATE, Event, Timeline
from ..schedule.waves import Caches, wave_length
from .asynchronous import asynchronous_plan
from .loads import with_loads
from .machine import Machine
from .paths import critical_cycle, waits_by_layer
from .plans import EXECUTIONS, GRADIENT, LOAD, Net, Plan, by_rows, data_parallel, layered, pipeline, tasks_of
from .prices import MOST
from .shared import shared_plan
from .shared_ranks import plan_on_ranks
from .streams import streamed_plan, wave_of_stream
from .sweeps import swept_plan
from .timing import SYNCHRONOUS, Timed

MICRO_BATCHES = 8

# Executions that may take several steps together, of what relaxes and of BP.
_IN_WAVES = {False: ("serial", "layer-parallel"), True: (PIPELINE_ASYNC,)}

OF_IMAGES = ("serial", "layer-parallel", "pipeline", "data-parallel")  # that have convolutions

MOST_JOBS = 40_000_000  # timed in search of a steady state

LEAST_PERIODS = 8


@dataclass(frozen=True)
class Prediction:
    """Seconds per complete weight update in the steady state, and where they go.

    ``shares``: parts of the critical cycle, the chain of jobs that sets the pace, by what they are spent on; they add
    up to 1. ``waits``: (share of all workers' time, layer) spent waiting, by the layer waited for. ``calibrated``: the
    machine was measured; ``inside``: and over a range that holds this case. ``steady``: a state came back; if not, the
    seconds are a slope over many periods.
    """

    algorithm: str
    execution: str
    workers: int
    ranks: int | None
    net: Net
    machine: str
    seconds: float
    steady: bool
    calibrated: bool
    inside: bool
    utilisation: float
    flops: float
    bytes: float
    messages: float
    message_bytes: float
    energy: float | None
    shares: dict[str, float] = field(default_factory=dict)
    waits: tuple[tuple[float, int], ...] = ()
    slowest_layer: int | None = None
    micro_batches: int | None = None
    products: float = 0.0  # seconds of all products of an update, one after the other

    @property
    def mark(self) -> str:
        """What must stand beside the number: empty where it is calibrated and inside the calibrated range."""
        if not self.calibrated:
            return "not calibrated"
        return "" if self.inside else "outside the calibrated range"

    @property
    def words(self) -> str:
        """The critical path in words."""
        parts = sorted(self.shares.items(), key=lambda item: -item[1])
        said = [f"{share:.0%} {name}" for name, share in parts if share >= 0.005]
        if self.slowest_layer is not None and self.net.depth > 1 and self.execution != "batched":
            said.append(f"longest on layer {self.slowest_layer}")
        if self.waits and self.waits[0][0] >= 0.005:
            said.append(f"workers wait {sum(w for w, _ in self.waits):.0%}, most for layer {self.waits[0][1]}")
        return ", ".join(said)


def caches_of(machine: Machine) -> Caches:
    """The caches by which an engine on such a machine chooses its waves."""
    finite = [level for level in machine.levels if level.size is not None]
    if not finite:
        return Caches(own=1 << 62)
    own = [level for level in finite if (level.sharers or 1) == 1]
    last = finite[-1]
    return Caches(int(own[-1].size or 0) if own else 0, int(last.size or 0), last.sharers or 1)


@lru_cache(maxsize=256)
def make_plan(
    algorithm: Algorithm, net: Net, execution: str, workers: int, ranks: int, micro_batches: int, order: str, wave: int
) -> Plan:
    """The plan of an execution, on so many ``ranks`` (1: threads); InputError where the work cannot be shared so."""
    plan = _laid_out(algorithm, net, execution, workers, ranks, micro_batches, order, wave)
    return with_loads(plan, net, algorithm.chained, ranks > 1) if net.steps_per_batch else plan


def _laid_out(
    algorithm: Algorithm, net: Net, execution: str, workers: int, ranks: int, micro_batches: int, order: str, wave: int
) -> Plan:
    L, known = net.depth, (*EXECUTIONS, "hybrid", PIPELINE_ASYNC)
    if execution not in known:
        raise InputError(f"execution {execution!r} is unknown: choose from {', '.join(known)}")
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    if algorithm.orthogonal and (execution in (*SHARED, "batched") or order != "split"):
        raise InputError(
            f"optimizer {algorithm.optimizer} is predicted where a layer's whole gradient is made at once: serial, "
            "layer-parallel, pipeline in order split"
        )
    if net.forms:
        check_images(algorithm, execution, order, ranks)
    if isinstance(algorithm, AsyncBP):
        return asynchronous_plan(algorithm, net, workers, wave)
    chained = algorithm.checked_calendar(L).chained
    if chained and algorithm.layered:
        if execution not in ("serial", "layer-parallel"):
            raise InputError(f"{algorithm.title} has no execution {execution!r}")
        return streamed_plan(algorithm, net, workers, wave)
    if isinstance(algorithm, DualProp):
        if execution not in ("serial", "layer-parallel"):
            raise InputError(f"{algorithm.title} has no execution {execution!r}")
        return swept_plan(algorithm, net, workers, wave if algorithm.incremental else 1)
    if not chained and execution in SHARED:
        if net.start == "pipelined":
            raise InputError(f"a pipelined start is for layers on workers: {execution!r} begins with a forward pass")
        if ranks > 1:
            return plan_on_ranks(algorithm, net, execution, workers, ranks)
        return shared_plan(algorithm, net, execution, workers)
    if chained == (execution == "layer-parallel") and execution not in (
        "serial",
        "batched",
    ):
        raise InputError(f"{algorithm.title} has no execution {execution!r}")
    if execution == "serial" and workers > 1:
        raise InputError("execution 'serial' has one worker")
    limits = {"layer-parallel": (L, "layers"), "pipeline": (L, "layers"), "data-parallel": (net.batch, "samples")}
    limit, what = limits.get(execution, (workers, ""))
    if workers > limit:
        raise InputError(f"{workers} workers are more than the {limit} {what}: use at most {limit}")
    if execution in ("serial", "layer-parallel", "batched"):
        return layered(algorithm, net, workers, wave, batched=execution == "batched")
    graph = tasks_of(algorithm, L, 3)
    if execution == "intra-layer":
        return by_rows(net, workers, graph, ranks > 1)
    if execution == "data-parallel":
        return data_parallel(net, workers, graph, ranks > 1)
    return pipeline(net, workers, graph, min(micro_batches, net.batch), order)


def check_images(algorithm: Algorithm, execution: str, order: str, ranks: int) -> None:
    """InputError for what no engine runs with convolutions."""
    if isinstance(algorithm, AsyncBP) or (algorithm.layered and not isinstance(algorithm, PredictiveCoding)):
        raise InputError(f"{algorithm.title} with convolutions is not predicted: choose bp, pc, zil or ipc")
    if algorithm.orthogonal:
        raise InputError(f"optimizer {algorithm.optimizer} with convolutions is not predicted")
    if execution not in OF_IMAGES or order == "zero-bubble" or (ranks > 1 and execution == "data-parallel"):
        told, where = execution if order == "split" else f"{execution} ({order})", " on ranks" if ranks > 1 else ""
        raise InputError(f"execution {told!r} has no convolutions{where}: choose from {', '.join(OF_IMAGES)}")


def simulate(
    algorithm: Algorithm,
    net: Net,
    machine: Machine,
    execution: str = "serial",
    workers: int = 1,
    *,
    ranks: int | None = None,
    micro_batches: int = MICRO_BATCHES,
    order: str = "split",
    wave: int | None = None,
) -> Prediction:
    """Predict seconds per weight update of ``algorithm`` on ``net`` under an execution.

    ``workers``: cores in use; ``ranks``: over how many processes they are spread (None: one on each node). Raises
    InputError where the machine has fewer workers, or the work cannot be shared so.
    """
    algorithm = asynchronous(algorithm, execution)[0]
    timed = _timed(algorithm, net, machine, execution, workers, ranks, micro_batches, order, wave)
    limit = max(LEAST_PERIODS, min(4096, MOST_JOBS // max(1, len(timed.plan))))
    start, finish, rate = timed.run(limit)
    plan, work = timed.plan, timed.work
    period = float(rate[0] / rate[1])
    # Who does the same at the same time has been given its part of the bandwidth; where points are measured, of theirs.
    least = work["least"] if execution not in SYNCHRONOUS or machine.model == "measured" else 0.0
    bound = least > period
    product = plan.worker >= 0
    busy = float((timed.seconds * timed.plan.alike[plan.worker])[product].sum())
    shares, slowest = critical_cycle(timed, start, finish, period)
    if bound:  # nobody's chain sets the pace, but what all have in common
        shares, slowest = {"shared bandwidth": 1.0}, None
    updates = plan.updates
    seconds = float(max(period, least)) / updates
    return Prediction(
        algorithm.name, execution, workers, timed.ranks if timed.ranks and timed.ranks > 1 else ranks, net,
        machine.name, seconds, bool(rate[2]), machine.calibrated is not None, timed.inside,
        min(1.0, busy / (timed.all * seconds * updates)) if seconds else 0.0,
        work["flops"] / updates, work["bytes"] / updates,
        (len(timed.occupied) + timed.collectives) / updates, (timed.message_bytes + timed.collective_bytes) / updates,
        None if math.isnan(work["energy"]) else work["energy"] / updates, shares,
        waits_by_layer(timed, start, finish, period), slowest,
        min(micro_batches, net.batch) if execution == "pipeline" else None, timed.products / updates,
    )  # fmt: skip


def _timed(
    algorithm: Algorithm, net: Net, machine: Machine, execution: str, workers: int, ranks: int | None,
    micro_batches: int, order: str, wave: int | None,
) -> Timed:  # fmt: skip
    if max(net.sizes) > MOST or min(net.sizes) < 1 or net.batch > MOST:
        raise InputError(f"layers of {max(net.sizes)} units, batch {net.batch}: numbers from 1 to {MOST} are simulated")
    if machine.batched and net.forms:
        raise InputError(f"{machine.name} has one launch for products of equal layers: convolutions are not predicted")
    if machine.batched and algorithm.layered and not isinstance(algorithm, PredictiveCoding):
        raise InputError(f"{algorithm.title}: no launch is known on a machine whose products are batched: leave it out")
    if machine.batched and execution in ("serial", "layer-parallel"):
        execution, workers, ranks = "batched", 1, None
    if machine.workers is not None and workers > machine.workers:
        raise InputError(f"{workers} workers are more than the {machine.workers} of machine {machine.name}")
    if ranks is not None and not 1 <= ranks <= workers:
        raise InputError(f"{ranks} ranks for {workers} workers: each rank has at least one")
    if wave is None:
        wave = 1
        calendar = algorithm.checked_calendar(net.depth, net.steps_per_batch, net.start)
        if calendar.chained and algorithm.layered:
            wave = wave_of_stream(net, workers, caches_of(machine))
        elif (len(calendar.stages) == 1 or calendar.swept) and execution in _IN_WAVES[calendar.chained]:
            sizes = [
                (n + 1) * m * net.item + (net.batch > 1) * 8 * net.batch * above * net.item
                for n, m, above in zip(net.columns, net.rows, net.sizes[1:], strict=True)
            ]
            wave = wave_length(sum(sizes), max(sizes), workers, caches_of(machine))
            if not calendar.chained and calendar.cycle:
                wave = min(wave, calendar.cycle)
    on_ranks = bool(ranks and ranks > 1)
    here = machine.sockets * machine.cores if machine.cores else max(workers, 1)
    nodes = -(-workers // here)
    if nodes > 1 and not on_ranks and execution == "hybrid" and workers % here:
        raise InputError(f"hybrid on {nodes} nodes is a team of {here} workers on each: {workers} workers are not")
    processes = int(ranks or 1) if on_ranks else nodes
    plan = make_plan(algorithm, net, execution, workers, processes, micro_batches, order, wave)
    return Timed(plan, machine, net, algorithm, ranks if on_ranks else None)


def timeline(
    algorithm: Algorithm,
    net: Net,
    machine: Machine,
    execution: str = "serial",
    workers: int = 1,
    *,
    updates: int = 4,
    ranks: int | None = None,
    micro_batches: int = MICRO_BATCHES,
    order: str = "split",
) -> Timeline:
    """The same as events. Of PC, Z-IL, iPC and BP by layers the first ``updates`` from the forward start, which
    ``Timeline.violations`` can hold against the task graph; else so many in the steady state. The head or the feedback
    of layer l of L stands there as layer L + l."""
    timed = _timed(algorithm, net, machine, execution, workers, ranks, micro_batches, order, 1)
    own_plan = isinstance(algorithm, DualProp) or (algorithm.chained and algorithm.layered)
    if execution in ("serial", "layer-parallel") and not (machine.batched or own_plan):
        plan = layered(algorithm, net, workers, whole=updates)
        timed = Timed(plan, machine, net, algorithm, timed.ranks)
        start, finish, _ = timed.run(1)
        return _events(plan, start, finish, 0, 0.0)
    start, finish, rate = timed.run(64)
    period = rate[0] / rate[1]
    repeats = max(1, updates // timed.plan.updates)
    return Timeline(
        [e for turn in range(repeats) for e in _events(timed.plan, start, finish, turn, turn * period).events]
    )


def _events(plan: Plan, start: np.ndarray, finish: np.ndarray, turn: int, shift: float) -> Timeline:
    steps = int(plan.step.max()) + 1
    return Timeline(
        [
            Event(
                int(w),
                int(work) if work < GRADIENT else UPDATE,
                int(l),
                int(step) + turn * steps,
                float(a) + shift,
                float(b) + shift,
            )
            for w, work, l, step, a, b in zip(plan.worker, plan.work, plan.layer, plan.step, start, finish, strict=True)
            if w >= 0 and work and work != LOAD
        ]
    )
