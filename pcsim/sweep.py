"""A comparison over many cells: which cells, in which order, which are done already, and how it is getting on."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .algorithms import Algorithm
from .case import Case
from .ceilings import Ceilings, measure_ceilings
from .context import usable_cores
from .errors import InputError
from .measure import Cell, contenders, memory_needed, trace, warm_up
from .memory import require
from .plot import gantt, save

# The paper's Fig. 6 with 32 to 1024 units and 2 to 32 layers, one data point; and its Fig. 2 nets, full batch.
DEPTHS = (2, 4, 8, 16, 32)
WIDTHS = (32, 64, 128, 256, 512, 1024)
FULL_BATCH, FULL_BATCH_WIDTH = 250, 64
BASELINES = ("serial", "numpy")
TRACED_UPDATES = 4


def grid(
    depths: Sequence[int] | None, widths: Sequence[int] | None, batches: Sequence[int] | None, **common: object
) -> list[Case]:
    """Cells of a sweep, small nets first. Without ``batches``: batch 1, and one row of full-batch cells of width 64."""
    for name, numbers in (("depths", depths), ("widths", widths), ("batches", batches)):
        for number in numbers or ():
            if number < 1:
                raise InputError(f"--{name}: {number} is less than 1")
    depths, widths = sorted(set(depths or DEPTHS)), sorted(set(widths or WIDTHS))
    cells = list(itertools.product(sorted(set(batches or (1,))), depths, widths))
    if batches is None and FULL_BATCH_WIDTH in widths:
        cells += [(FULL_BATCH, depth, FULL_BATCH_WIDTH) for depth in depths]
    return [Case(depth, width, batch, **common) for batch, depth, width in cells]  # type: ignore[arg-type]


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
    baselines: Sequence[str] = BASELINES
    budget: float = 2.0  # seconds of timing per cell, after checks and warm-up
    pin: bool = True

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
        for case in self.cases:
            count = len(self.algorithms) * len(self.workers) + len(self.baselines)
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
        compile_seconds = warm_up(self.cases[0].dtype)
        for number, case in enumerate(self.cases, 1):
            skipped = self._complete(case, finished.get(case, []))
            on_progress(Progress(number, len(self.cases), case, skipped))
            if skipped:
                continue
            runners = contenders(case, self.algorithms, self.workers, self.baselines, self.pin)
            cell = Cell(
                case, runners, budget=self.budget, pin=self.pin, ceilings=ceilings, compile_seconds=compile_seconds
            )
            yield from cell.measure()

    def trace(self, folder: Path, on_progress: Callable[[Progress], None] = lambda progress: None) -> Iterator[str]:
        """Trace a few updates of every threaded contender of every cell, check their order against the task graph,
        and write for each a Chrome trace (``.json``) and a Gantt picture (``.png``); yields what was wrong."""
        for number, case in enumerate(self.cases, 1):
            on_progress(Progress(number, len(self.cases), case, False))
            for contender in contenders(case, self.algorithms, self.workers, self.baselines, self.pin):
                if contender.backend != "threads":
                    continue
                timeline, graph = trace(case, contender, TRACED_UPDATES, self.pin)
                a = contender.algorithm
                name = f"{a.name}-{contender.workers}w-{case.depth}x{case.width}-b{case.batch}"
                for fault in timeline.violations(graph):
                    yield f"{name}: {fault}"
                timeline.save_chrome_trace(folder / f"{name}.json")
                title = f"{a.title}, {case.depth} layers of {case.width}, batch {case.batch}: {TRACED_UPDATES} updates"
                save(gantt(timeline.events, title), folder / f"{name}.png")

    def _complete(self, case: Case, rows: list[dict]) -> bool:
        """Does the cell hold every contender that this sweep would measure?"""
        have = {(row["algorithm"], row["execution"], row["workers"]) for row in rows}
        # Which number "auto" stands for is not measured again: any row so marked will do.
        chosen = {row["algorithm"]: row["workers"] for row in rows if row.get("auto")}
        wanted = contenders(
            case,
            self.algorithms,
            self.workers,
            self.baselines,
            choose=lambda case, algorithm, candidates, pin: chosen.get(algorithm.name, -1),
        )
        return all((w.algorithm.name, w.execution, w.workers) in have for w in wanted)


def trace_folder(name: str) -> Path:
    """The folder for traces, made if need be; InputError if it cannot be written."""
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".written").touch()
        (folder / ".written").unlink()
    except OSError as error:
        raise InputError(f"--trace: cannot write to {name}: {error.strerror}") from None
    return folder


def _case(row: dict) -> Case:
    return Case(row["depth"], row["width"], row["batch"], row["dtype"], row["activation"])
