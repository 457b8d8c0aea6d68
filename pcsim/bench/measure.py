"""Timing done right: one cell, all contenders interleaved, each checked against the oracle before it is timed.

The rule (TRUST, point 11): a sample is the time of several complete weight updates after a common start of the
workers, to the end of the slowest one, divided by their number; compilation, thread start and a warm-up lie outside.
Contenders take turns, in an order drawn anew and then backwards (A C B, B C A), so that whatever disturbs the machine
disturbs all of them, and nobody always comes after the same neighbour.
"""

import math
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..algorithms import BP, IPC, Algorithm, PredictiveCoding
from ..algorithms.predictive_coding import SHARED
from ..engines.streams import LONGEST_WAVE
from ..host.memory import require
from ..host.probes import core_distance, fixed_loop
from ..host.threads import settle
from ..results.fields import Row
from .build import build
from .case import Case
from .ceilings import Ceilings
from .check import References, check
from .contenders import Contender, name_of
from .peers import PEERS
from .rows import SAMPLE_SECONDS, Conditions, Entry, arithmetic_rates, row_of
from .work import memory_needed

# So small that tens of thousands of updates leave the net as it is: neither divergence nor a fit so good that errors
# become denormal numbers may change the speed.
ALPHA, GAMMA = 1e-7, 0.5

# On threads a sample has so many inference steps (several share one fetch of the weights), if not too long for it.
SAMPLE_STEPS, LONG_SAMPLE_SECONDS = 12, 0.1

# Fewest and most turns of a process that alone measures a cell, and of each of several. Even numbers: a turn and its
# reverse. What differs from one process to the next is several times what differs within, so two turns are enough.
ROUNDS, FEW_ROUNDS = (10, 32), (2, 16)


@dataclass(frozen=True)
class Known:
    """What the first of several processes found out about a cell and the others need not: how many ``updates`` make a
    sample of each contender, and the arithmetic ``rates`` of each number of workers. Its engines were held against
    the oracle, and hand-overs were traced."""

    updates: Mapping[str, int]  # by ``Contender.name``
    rates: Mapping[str, Mapping[str, float]]  # by number of workers, in decimal

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Known":
        """From a cell's rows, of which the good ones of the first launch count."""
        updates: dict[str, int] = {}
        rates: dict[str, dict[str, float]] = {}
        for row in rows:
            if not row.get("launch") and row.get("error") is None:
                who = name_of(row["algorithm"], row["steps"], row["execution"], row["workers"])
                updates[who] = row["updates_per_sample"]
                there = {name: row[name] for name in ("gemm_rate", "tile_rate") if row.get(name) is not None}
                rates.setdefault(str(row["workers"]), {}).update(there)
        return cls(updates, rates)


def warm_up(
    dtype: str,
    on_ranks: Sequence[Algorithm] | None = None,
    sharing: Sequence[str] = (),
    rivals: Sequence[Algorithm] = (),
) -> dict[str, float]:
    """Compile the serial loops (or load them from Numba's cache); seconds of BP's, as "ipc" of those of all calendars
    of predictive coding, and of those of ``rivals``. If these algorithms run ``on_ranks``, also the loops of ranks,
    while the other ranks sleep: they will find them in the cache; ``sharing``: executions of iPC (PC, Z-IL) that are
    measured there beside its layers."""
    seconds = {}
    shared = {"bp": ("intra-layer", "pipeline", "data-parallel"), "ipc": ("layer-parallel", *sharing)}
    more = [(one.name, one) for one in rivals if one.layered and not isinstance(one, PredictiveCoding)]
    for name, algorithm in (("bp", BP(ALPHA)), ("ipc", IPC(ALPHA, GAMMA)), *more):
        begin = time.perf_counter()
        build(Case(2, 8, 1, dtype), Contender(algorithm, "serial", 1)).run(1)
        if on_ranks is not None and "mpi" in algorithm.backends:
            executions = shared.get(name, ("layer-parallel",))
            for execution in executions if name != "bp" or not all(a.layered for a in on_ranks) else ():
                build(Case(2, 8, 2, dtype), Contender(algorithm, execution, 1, ranks=1)).run(1)
        seconds[name] = time.perf_counter() - begin
    return seconds


def measure_cell(
    case: Case,
    contenders: Sequence[Contender],
    *,
    budget: float = 2.0,
    pin: bool = True,
    ceilings: Ceilings | None = None,
    compile_seconds: Mapping[str, float] | None = None,
    oracle: bool = True,
    known: Known | None = None,
    rounds: tuple[int, int] = ROUNDS,
    seed: str = "",
) -> list[Row]:
    """The rows of a cell: every contender is checked against the oracle, then all are timed in turns for ``budget``
    seconds, within these numbers of ``rounds``. A contender that fails is a row with its error; the others go on.
    InputError where memory is short.

    ``known`` is what an earlier process has found; then nothing is checked again. ``seed`` draws the order of turns.
    """
    require(memory_needed(case, len(contenders)), f"the cell {case.name}")
    entries = [Entry(contender) for contender in contenders]
    try:
        _prepare(case, entries, pin, oracle and known is None)
        alive = [entry for entry in entries if entry.error is None]
        for entry in alive:
            updates = known and known.updates.get(entry.contender.name)
            if updates:
                entry.updates = updates
                entry.engine.run(1)
            else:
                _calibrate(case, entry)
        settle()
        before, apart = fixed_loop(), core_distance(pin)
        _take_turns(alive, budget, rounds, random.Random(f"{case} {seed}"))
        drift = fixed_loop() / before
        distances = apart, core_distance(pin)
        for entry in alive:
            shared = bool(entry.contender.ranks) and entry.contender.execution in SHARED
            waits = entry.contender.blocks > 1 or (shared and entry.contender.algorithm.layered)
            if waits and known is None and entry.contender.traced:
                entry.handover = _handover(case, entry)
        threads = {entry.contender.workers for entry in alive if entry.contender.backend == "threads"}
        rates: Mapping[int, Mapping[str, float]] = {}
        if known is not None:
            rates = {int(count): found for count, found in known.rates.items()}
        elif ceilings is not None:
            rates = arithmetic_rates(case, sorted(threads), pin)
        conditions = Conditions(ceilings, rates, compile_seconds or {}, drift, distances)
        return [row_of(entry, case, conditions) for entry in entries]
    finally:
        for entry in entries:
            if entry.engine is not None and entry.contender.backend not in ("numpy", "threads"):
                entry.engine.close()


def fastest(case: Case, candidates: Sequence[Contender], pin: bool = True) -> Contender:
    """The one of ``candidates`` with the shortest of five samples (disturbance only lengthens)."""
    require(memory_needed(case, len(candidates)), f"the cell {case.name}")
    entries = [Entry(candidate) for candidate in candidates]
    try:
        for entry in entries:
            entry.engine = build(case, entry.contender, pin)
            _calibrate(case, entry)
        for _ in range(5):
            for entry in entries:
                _sample(entry)
    finally:
        for entry in entries:
            if entry.contender.ranks and entry.engine is not None:
                entry.engine.close()
    return min(entries, key=lambda entry: min(entry.seconds)).contender


def _prepare(case: Case, entries: Sequence[Entry], pin: bool, oracle: bool) -> None:
    """Build every engine, after a check of it if ``oracle``."""
    known: References = {}
    for entry in entries:
        try:
            if oracle and entry.contender.backend not in PEERS:
                check(case, entry.contender, known)
            entry.engine = build(case, entry.contender, pin)
            if entry.contender.backend in PEERS:
                entry.engine.prepare()
                if oracle:
                    entry.engine.check()
        except Exception as failure:  # the row says what it was, and the sweep goes on
            entry.error = f"{type(failure).__name__}: {failure}".splitlines()[0]


def _calibrate(case: Case, entry: Entry) -> None:
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
        several, longest = math.ceil(SAMPLE_STEPS / entry.steps_per_update(case)), LONG_SAMPLE_SECONDS
        if entry.contender.streams:  # a run begins and ends with P - 1 turns, or waves, of fewer workers
            wave = LONGEST_WAVE if case.batch == 1 else 1
            several, longest = max(several, 16 * wave * (entry.contender.workers - 1)), 4 * LONG_SAMPLE_SECONDS
        entry.updates = max(entry.updates, min(several, math.ceil(longest / each)))
    if case.steps_per_batch:  # as many batches begin in one sample as in another
        entry.updates = -(-entry.updates // case.steps_per_batch) * case.steps_per_batch


def _take_turns(entries: Sequence[Entry], budget: float, rounds: tuple[int, int], order: random.Random) -> None:
    """Samples of all, for ``budget`` seconds and within these numbers of ``rounds``."""
    turns, begin = list(entries), time.perf_counter()
    for done in range(rounds[1]):
        if done >= rounds[0] and time.perf_counter() - begin > budget and done % 2 == 0:
            break
        if done % 2:
            turns.reverse()
        else:
            order.shuffle(turns)
        for entry in turns:
            _sample(entry)


def _sample(entry: Entry) -> None:
    entry.engine.run(1 + entry.updates // 4)  # its own data back into the caches
    entry.seconds.append(entry.engine.run(entry.updates)[0] / entry.updates)
    if entry.contender.leaves_threads:
        settle()


def _handover(case: Case, entry: Entry) -> float:
    """Seconds per step that the later of two neighbours loses between its tasks: a median over traced steps.

    The earlier one waits for the work of the later one, which is imbalance, not hand-over; so of each pair of
    neighbours the shorter pause counts. (Ranks keep account of it themselves.)
    """
    if (entry.contender.ranks or 1) > 1:
        entry.engine.run(entry.updates, clock=True)
        return float(entry.engine.exchange_seconds)
    steps = 200 if sum(case.multiplications) * case.batch < 1 << 22 else 20
    entry.engine.run(max(1, int(steps / entry.steps_per_update(case))), trace=True)
    pauses = entry.engine.timeline.pauses
    return float(np.median(np.minimum(pauses[:-1], pauses[1:])))
