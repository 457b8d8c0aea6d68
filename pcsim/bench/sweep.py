"""A comparison over many cells: which cells, in which order, which are done already, and how it is getting on."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..algorithms import Algorithm
from ..errors import InputError
from ..figures.schedules import gantt
from ..figures.style import save
from ..host.context import usable_cores
from ..host.memory import require
from .case import Case
from .ceilings import Ceilings, measure_ceilings
from .contenders import OWN_BASELINES, Choose, Contender, contenders, on_ranks
from .crew import crew
from .launch import measure_afresh
from .measure import Measurement, fastest, warm_up
from .traces import TRACED_UPDATES, trace
from .work import memory_needed


@dataclass
class Progress:
    """Where a sweep stands: cell ``number`` (from 1) of ``total`` is about to be measured, or was skipped."""

    number: int
    total: int
    case: Case
    skipped: bool
    started: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """The cell in words."""
        return f"depth {self.case.depth}, width {self.case.width}, batch {self.case.batch}"


@dataclass(frozen=True)
class Sweep:
    """Everything that a sweep compares; ``run`` measures it cell by cell."""

    cases: Sequence[Case]
    algorithms: Sequence[Algorithm]
    workers: Sequence[int | str]
    baselines: Sequence[str] = OWN_BASELINES
    budget: float = 2.0  # seconds of timing per cell, after checks and warm-up
    pin: bool = True
    launches: int = 1  # fresh processes that measure each cell, one after the other
    ranks: Sequence[int] = ()  # on MPI: numbers of ranks to measure, in place of ``workers``
    threads: int = 1  # of each rank
    grown: Mapping[Case, Sequence[int]] | None = None  # weak scaling: the numbers of ranks of each case

    def check(self, oversubscribe: bool = False) -> None:
        """Raise InputError now for what would fail later: too many workers, too little memory."""
        cores = len(usable_cores())
        for count in (w for w in self.workers if isinstance(w, int)):
            if count < 1:
                raise InputError(f"--workers: {count} is less than 1")
            if count > cores and not oversubscribe:
                raise InputError(
                    f"--workers: {count} are more than the {cores} cores this process may use; "
                    "add --oversubscribe if that is meant"
                )
        for ranks in self.ranks:
            crowded = crew().crowded(ranks, self.threads)
            if crowded and not oversubscribe:
                raise InputError(f"{crowded}: start fewer ranks, or add --oversubscribe if that is meant")
        for case in self.cases:
            count = len(self.algorithms) * len(self.ranks or self.workers) + len(self.baselines)
            require(memory_needed(case, count), f"the cell depth {case.depth}, width {case.width}, batch {case.batch}")

    def ceilings(self) -> Ceilings:
        """The ceilings of this machine for every number of workers in the sweep."""
        counts = {len(usable_cores()) if w == "auto" else int(w) for w in self.workers} | {1, len(usable_cores())}
        return measure_ceilings(sorted(counts), np.dtype(self.cases[0].dtype), self.pin)

    def run(
        self,
        ceilings: Ceilings,
        done: Iterable[dict] = (),
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Iterator[dict]:
        """Measure every cell that ``done`` does not hold whole; yields the rows of a cell when it is finished."""
        finished: dict[Case, list[dict]] = {}
        for row in done:
            if row.get("error") is None:
                finished.setdefault(_case(row), []).append(row)
        compile_seconds = warm_up(self.cases[0].dtype, self.algorithms if self.ranks else None)
        for number, case in enumerate(self.cases, 1):
            skipped = self._complete(case, finished.get(case, []))
            on_progress(Progress(number, len(self.cases), case, skipped))
            if skipped:
                continue
            runners = self._contenders(case, fastest)
            if self.launches == 1:
                options: dict[str, Any] = {"ceilings": ceilings, "compile_seconds": compile_seconds}
                yield from Measurement(case, runners, budget=self.budget, pin=self.pin, **options).measure()
                continue
            for launch in range(self.launches):
                yield from measure_afresh(case, runners, self.budget, self.pin, ceilings, launch)

    def _contenders(self, case: Case, choose: Choose) -> list[Contender]:
        if self.ranks:
            counts = self.grown[case] if self.grown else self.ranks
            return on_ranks(case, self.algorithms, counts, self.threads, self.baselines, self.pin, choose)
        return contenders(case, self.algorithms, self.workers, self.baselines, self.pin, choose)

    def trace(self, folder: Path, on_progress: Callable[[Progress], None] = lambda progress: None) -> Iterator[str]:
        """Trace a few updates of every threaded contender of every cell, check their order against the task graph,
        and write for each a Chrome trace (``.json``) and a Gantt picture (``.png``); yields what was wrong."""
        for number, case in enumerate(self.cases, 1):
            on_progress(Progress(number, len(self.cases), case, False))
            for contender in self._contenders(case, fastest):
                if contender.backend not in ("threads", "mpi") or contender.workers != contender.blocks:
                    continue  # nobody notes its tasks, or they are shared among workers
                if contender.ranks and crew().spread(contender.ranks) > 1:
                    continue  # several hosts have several clocks
                timeline, graph = trace(case, contender, TRACED_UPDATES, self.pin)
                a = contender.algorithm
                unfused = "" if contender.fused else "-unfused"
                kind = "r" if contender.ranks else "w"
                name = f"{a.name}{unfused}-{contender.workers}{kind}-{case.depth}x{case.width}-b{case.batch}"
                for fault in timeline.violations(graph):
                    yield f"{name}: {fault}"
                timeline.save_chrome_trace(folder / f"{name}.json")
                title = f"{a.title}, {case.depth} layers of {case.width}, batch {case.batch}: {TRACED_UPDATES} updates"
                save(gantt(timeline.events, title), folder / f"{name}.png")

    def _complete(self, case: Case, rows: list[dict]) -> bool:
        """Does the cell hold every contender that this sweep would measure?"""
        names = ("algorithm", "execution", "workers", "ranks", "delay")
        have = {(*(row.get(name) for name in names), row.get("launch") or 0) for row in rows}
        # Which number "auto" stands for is not measured again: any row so marked will do; so with the ladder of BP.
        chosen = {(row["algorithm"], row["execution"], row["workers"]) for row in rows}
        marked = {(row["algorithm"], row["execution"], row["workers"]) for row in rows if row.get("auto")}

        def known(case: Case, candidates: Sequence[Contender], pin: bool) -> Contender:
            layered = candidates[0].algorithm.name != "bp"
            for c in candidates:
                if (c.algorithm.name, c.execution, c.workers) in (marked if layered else chosen):
                    return c
            return replace(candidates[0], workers=case.depth + 1 if layered else 0)  # nobody in the file

        wanted = self._contenders(case, known)
        return all(
            (w.algorithm.name, w.execution, w.workers, w.ranks, crew().delay if w.ranks else None, launch) in have
            for w in wanted
            for launch in range(self.launches)
        )


def _case(row: dict) -> Case:
    return Case(row["depth"], row["width"], row["batch"], row["dtype"], row["activation"])
