"""A comparison over many cells: which cells, in which order, which are done already, and how it is getting on."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from ..algorithms import Algorithm
from ..algorithms.predictive_coding import SHARED
from ..checks import whole_number
from ..engines.limits import flop_needed
from ..errors import InputError
from ..host.memory import require
from ..host.topology import effective_cores, usable_cores, within_quota
from ..results.fields import OPTIMIZER, USUAL, Row, value_of
from .case import Case
from .ceilings import Ceilings, measure_ceilings
from .contenders import OWN_BASELINES, Contender, Group, candidates, candidates_on_ranks
from .crew import crew
from .launch import Launch, settled
from .measure import Known, measure_cell, warm_up
from .work import memory_needed

AROUND = 0.5  # seconds that each process takes for a cell beside the timing: a guess, too

SLOW = 5e9  # flop/s of one core where weights come from memory: a guess, for a warning


FIRST = 5  # how often a later process does in the same time what the first does, roughly: for the time left

QUICK = "a first look: intervals are wide, and a re-run may lie outside them"


@dataclass
class Progress:
    """Where a sweep stands: cell ``number`` (from 1) of ``total`` is about to be measured, or was skipped; in process
    ``launch`` (from 0) of several ``launches``, each of which measures all cells."""

    number: int
    total: int
    case: Case
    skipped: bool
    launch: int = 0
    launches: int = 1
    started: float = field(default_factory=time.monotonic)

    @property
    def share(self) -> float:
        """The part of the work that is behind it: the first of several processes also checks and chooses."""
        cells, before = self.total // self.launches, self.number - 1
        first = FIRST if self.launches > 1 else 1
        return (min(before, cells) * first + max(0, before - cells)) / (self.total + cells * (first - 1))

    @property
    def name(self) -> str:
        """The cell in words."""
        process = f"process {self.launch + 1} of {self.launches}, " if self.launches > 1 else ""
        return process + self.case.name


@dataclass(frozen=True)
class Sweep:
    """Everything that a sweep compares; ``run`` measures it cell by cell."""

    cases: Sequence[Case]
    algorithms: Sequence[Algorithm]
    workers: Sequence[int | str]
    baselines: Sequence[str] = OWN_BASELINES
    budget: float = 2.0  # seconds of timing per cell, after checks and warm-up, over all launches
    pin: bool = True
    launches: int = 1  # fresh processes, one after the other, each of which measures all cells in an order of its own
    ranks: Sequence[int] = ()  # on MPI: numbers of ranks to measure, in place of ``workers``
    threads: int = 1  # of each rank
    grown: Mapping[Case, Sequence[int]] | None = None  # weak scaling: the numbers of ranks of each case
    seed: int = 0  # of the orders in which processes measure cells, and cells their contenders
    quick: bool = False  # a first look: ceilings from short samples, and every row says so

    def check(self, oversubscribe: bool = False) -> None:
        """Raise InputError now for what would fail later: too many workers, too little memory."""
        cores = within_quota(len(usable_cores()))
        quota = (
            f" (a quota allows {effective_cores():g} of {len(usable_cores())})" if cores < len(usable_cores()) else ""
        )
        for count in (w for w in self.workers if isinstance(w, int)):
            whole_number("--workers", count)
            if count > cores and not oversubscribe:
                raise InputError(
                    f"--workers: {count} are more than the {cores} core{'s' if cores > 1 else ''} this process may use"
                    f"{quota}; add --oversubscribe if that is meant"
                )
        for ranks in self.ranks:
            crowded = crew().crowded(ranks, self.threads)
            if crowded and not oversubscribe:
                raise InputError(f"{crowded}: {crew().room(ranks, self.threads)}")
        for case in self.cases:
            count = len(self.algorithms) * len(self.ranks or self.workers) + len(self.baselines)
            moments = 2 * any(algorithm.optimizer != "sgd" for algorithm in self.algorithms)
            require(memory_needed(case, count, moments), f"the cell {case.name}")
        changes = dict.fromkeys((case.depth, case.steps_per_batch, case.start) for case in self.cases)
        for algorithm, how in product(self.algorithms, changes):
            algorithm.checked_calendar(*how)

    def seconds(self) -> float:
        """How long it may take, roughly: each cell its budget, or five updates of each contender on a slow core."""
        found = 0.0
        for case in self.cases:
            flop = sum(
                flop_needed(one.algorithm, case.sizes, case.batch, case.multiplications)
                for group in self.candidates(case)
                for brought in list(group.values())[:1]
                for one in brought
            )
            found += max(self.budget + self.launches * AROUND, 5 * self.launches * flop / SLOW)
        return found

    def ceilings(self) -> Ceilings:
        """The ceilings of this machine for every number of workers in the sweep.

        Less than 0.1 s per cell asks for a glimpse, for which shorter samples do.
        """
        counts = {len(usable_cores()) if w == "auto" else int(w) for w in self.workers} | {1, len(usable_cores())}
        seconds = min(0.001 if self.quick else 0.004, self.budget / 25)
        return measure_ceilings(sorted(counts), np.dtype(self.cases[0].dtype), self.pin, seconds)

    @property
    def offered(self) -> list[int]:
        """The numbers of workers that contenders may have; of ranks their threads in all."""
        if self.ranks:
            return sorted({count * self.threads for count in self.ranks})
        cores = within_quota(len(usable_cores()))
        return sorted({cores if word == "auto" else int(word) for word in self.workers})

    def run(
        self,
        ceilings: Ceilings,
        done: Iterable[Row] = (),
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Iterator[Row]:
        """Measure every cell that ``done`` does not hold whole; yields the rows of a cell when it is finished."""
        finished: dict[Case, list[Row]] = {}
        optimizers = {_optimizer(algorithm) for algorithm in self.algorithms}
        for row in done:
            if row.get("error") is None and tuple(value_of(row, name) for name in OPTIMIZER) in optimizers:
                finished.setdefault(_case(row), []).append(row)
        sharing = self._sharing_ranks()
        on_ranks = self.algorithms if self.ranks else None
        compile_seconds = warm_up(self.cases[0].dtype, on_ranks, sharing, self.algorithms)
        if self.launches > 1:
            # Who failed in the first process was chosen all the same, and the others need not choose again.
            tried = {case: list(rows) for case, rows in finished.items()}
            for launch in range(self.launches):
                yield from self._launch(launch, ceilings, finished, tried, on_progress)
            return
        for number, case in enumerate(self.cases, 1):
            delay = crew().delay if self.ranks else None
            skipped = complete(self.candidates(case), finished.get(case, []), delay=delay)
            on_progress(Progress(number, len(self.cases), case, skipped))
            if skipped:
                continue
            runners = settled(case, self.candidates(case), self.pin)
            options: dict[str, Any] = {"ceilings": ceilings, "compile_seconds": compile_seconds}
            for row in measure_cell(case, runners, budget=self.budget, pin=self.pin, **options):
                yield row | {"warnings": [*row["warnings"], QUICK]} if self.quick else row

    def _launch(
        self,
        launch: int,
        ceilings: Ceilings,
        finished: Mapping[Case, list[Row]],
        tried: dict[Case, list[Row]],
        on_progress: Callable[[Progress], None],
    ) -> Iterator[Row]:
        """One process measures all cells, in an order of its own: whatever drifts does not lie along the grid."""
        order, seed = list(self.cases), f"{self.seed} {launch}"
        random.Random(seed).shuffle(order)
        process: Launch | None = None
        try:
            for number, case in enumerate(order, 1 + launch * len(order)):
                rows = tried.setdefault(case, [])
                groups = self.candidates(case)
                skipped = complete(groups, finished.get(case, []), launch)
                on_progress(Progress(number, self.launches * len(order), case, skipped, launch, self.launches))
                if skipped:
                    continue
                process = process or Launch(launch, case.dtype, seed)
                first = chosen(groups, rows) if launch else None
                known = None if first is None else Known.of(rows)
                found = process.measure(case, first or groups, self.budget / self.launches, self.pin, ceilings, known)
                rows += found
                yield from found
        finally:
            if process:
                process.close()

    def _sharing_ranks(self) -> list[str]:
        """The executions of PC, Z-IL and iPC in which ranks share layers."""
        on_ranks = (one for case in self.cases if self.ranks for group in self.candidates(case) for one in group)
        return sorted({one.execution for one in on_ranks if one.algorithm.layered} & {*SHARED})

    def candidates(self, case: Case) -> list[Group]:
        """Who may run in a cell; nothing is timed."""
        if self.ranks:
            counts = self.grown[case] if self.grown else self.ranks
            return candidates_on_ranks(case, self.algorithms, counts, self.threads, self.baselines)
        return candidates(case, self.algorithms, self.workers, self.baselines)

    def contenders(self, case: Case) -> list[Contender]:
        """Who runs in a cell: of each group that offers a choice the fastest, which is found by timing."""
        return settled(case, self.candidates(case), self.pin)


def complete(groups: Iterable[Group], rows: Iterable[Row], launch: int = 0, delay: float | None = None) -> bool:
    """Whether the ``rows`` of a cell hold, for every group and this launch, whoever one of its alternatives brings
    with it (on ranks: measured with this added ``delay``). Which alternative is the fastest is not looked at again:
    where there is a choice of numbers of workers, any row that is marked as the fastest will do."""
    return chosen(groups, rows, launch, delay) is not None


def chosen(
    groups: Iterable[Group], rows: Iterable[Row], launch: int = 0, delay: float | None = None
) -> list[Group] | None:
    """Of each group the alternative that was chosen in a launch, as its ``rows`` say, alone; None where one is not
    there whole."""
    names = ("algorithm", "steps", "execution", "workers", *OPTIMIZER, "ranks", "delay")
    rows = [row for row in rows if (row.get("launch") or 0) == launch]
    have = {tuple(value_of(row, name) for name in names): row for row in rows}
    marked = {tuple(value_of(row, name) for name in names[:-2]) for row in rows if row.get("auto")}

    def holds(one: Contender, choice: bool) -> bool:
        who = one.algorithm.name, one.algorithm.steps, one.execution, one.workers
        key = (*who, *_optimizer(one.algorithm))
        row = have.get((*key, one.ranks, delay if one.ranks else None))
        if row is None or (choice and one.auto and key not in marked):
            return False
        return not one.micro_batches or row.get("variant") in (None, one.variant)

    found: list[Group] = []
    for group in groups:
        those = [choice for choice, brought in group.items() if all(holds(one, len(group) > 1) for one in brought)]
        if not those:
            return None
        found.append({those[0]: group[those[0]]})
    return found


def _optimizer(algorithm: Algorithm) -> tuple[Any, ...]:
    """What rows of an algorithm say of its optimiser."""
    return tuple(getattr(algorithm, name, USUAL[name]) for name in OPTIMIZER)


def _case(row: Row) -> Case:
    changing = {name: value_of(row, name) for name in ("net", "steps_per_batch", "start", "data")}
    return Case(row["depth"], row["width"], row["batch"], row["dtype"], row["activation"], **changing)
