"""A against A: contenders that meet themselves under a second name, through the whole machinery of a bench.

Whatever verdict says "different" here is wrong. How often it does, at which level times vary, and from which difference
on this host can tell two contenders apart, is what a reader of a ratio has to know.
"""

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np

from ..algorithms import BP, IPC
from ..bench.case import Case
from ..bench.ceilings import Ceilings
from ..bench.contenders import Contender
from ..bench.grid import LAUNCHES
from ..bench.launch import Launch
from ..bench.measure import ALPHA, GAMMA, Known, warm_up
from ..errors import InputError
from ..host.topology import usable_cores, within_quota
from ..results.statistics import change_interval, logs_of, rerun_interval, resolution
from ..results.verdicts import percent, verdict_of

CASES = (Case(4, 64), Case(8, 256), Case(16, 512))

BUDGET = 0.1  # seconds of timing for a cell in a process

RUNS = 2  # at least: the second is held against the first


@dataclass(frozen=True)
class AgainstItself:
    """``runs`` of ``processes`` each. ``beside``, of two names in one process, and ``apart``, of one run and the next:
    how many of so many ``verdicts`` were ``different``. ``spread``: standard deviation of a logarithm that each level
    adds: samples within a process, processes within a run, and runs. ``smallest_…``: median and largest of the
    differences that are resolved."""

    runs: int
    processes: int
    seconds: float
    beside: dict[str, int] = field(default_factory=dict)
    apart: dict[str, int] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    smallest_beside: tuple[float, float] = (0.0, 0.0)
    smallest_apart: tuple[float, float] = (0.0, 0.0)

    def to_json(self) -> dict:
        return asdict(self)

    def words(self) -> str:
        """What was found, in lines."""
        rows = [
            f"A against A: {self.runs} runs of {self.processes} processes, {self.seconds:.0f} s; "
            "every verdict of a difference is wrong",
        ]
        for found, smallest, how in (
            (self.beside, self.smallest_beside, "side by side, as in a ratio"),
            (self.apart, self.smallest_apart, "one run against the next, as in compare"),
        ):
            rows.append(
                f"{how}: {found['different']} of {found['verdicts']} were called different; differences are resolved "
                f"from {percent(smallest[0])} on (median), from {percent(smallest[1])} in the worst case"
            )
        parts = ", ".join(f"{name} {percent(part)}" for name, part in self.spread.items())
        return "\n".join([*rows, f"standard deviation that each level adds: {parts}"])


def against_itself(
    seconds: float, on_progress: Callable[[str, int, int], None] = lambda text, done, total: None
) -> AgainstItself:
    """Runs until ``seconds`` are over, two at least; each is of as many processes as a bench has."""
    begin, runs = time.monotonic(), 0
    cores = within_quota(len(usable_cores()))
    contenders = [Contender(IPC(ALPHA, GAMMA), "serial", 1), Contender(BP(ALPHA), "serial", 1)]
    if cores > 1:
        contenders.append(Contender(IPC(ALPHA, GAMMA), "layer-parallel", min(cores, CASES[0].depth)))
        contenders.append(Contender(BP(ALPHA), "intra-layer", cores))
    warm_up(CASES[0].dtype)
    times: list[np.ndarray] = []  # of each run: (process, cell and contender, name) medians, and spreads of samples
    spreads: list[float] = []
    known: dict[Case, Known] = {}
    while runs < RUNS or (time.monotonic() - begin) * (runs + 1) / runs <= seconds:
        medians = np.empty((LAUNCHES, len(CASES) * len(contenders), 2))
        for number in range(LAUNCHES):
            on_progress(f"run {runs + 1}, process", number, LAUNCHES)
            launch = runs * LAUNCHES + number
            process = Launch(launch, CASES[0].dtype)
            try:
                for place in random.Random(launch).sample(range(len(CASES)), len(CASES)):
                    case = CASES[place]
                    twice = [{who: [who]} for who in contenders for _ in range(2)]
                    rows = process.measure(case, twice, BUDGET, True, Ceilings([]), known.get(case))
                    if failed := [row["error"] for row in rows if row["error"] is not None]:
                        raise InputError(f"a contender failed: {failed[0]}")
                    known.setdefault(case, Known.of({**row, "launch": 0} for row in rows))
                    spreads += [float(np.log(row["seconds"]).std(ddof=1)) for row in rows]
                    at = place * len(contenders)
                    medians[number, at : at + len(contenders)] = np.reshape([r["median"] for r in rows], (-1, 2))
            finally:
                process.close()
        times.append(np.log(medians))
        runs += 1
    return _held_together(times, spreads, time.monotonic() - begin)


def _held_together(times: list[np.ndarray], spreads: list[float], seconds: float) -> AgainstItself:
    """``times``: of each run the logarithms of medians by process, contender and name."""
    runs, processes, several, _ = np.shape(times)
    beside = [
        rerun_interval(logs_of(run[:, who, 0] - run[:, who, 1])) for run in times for who in range(several)
    ]  # fmt: skip
    apart = [
        change_interval(logs_of(new[:, who, name]), logs_of(old[:, who, name]))[1:]
        for old, new in itertools.pairwise(times)
        for who in range(several)
        for name in range(2)
    ]
    first = np.array(times)[..., 0]
    within = float(np.mean(np.square(spreads)))
    process = float(first.var(axis=1, ddof=1).mean())
    run = float(first.mean(axis=1).var(axis=0, ddof=1).mean()) - process / processes
    return AgainstItself(
        runs,
        processes,
        seconds,
        _wrong(beside),
        _wrong(apart),
        {name: max(0.0, part) ** 0.5 for name, part in (("samples", within), ("processes", process), ("runs", run))},
        _smallest(beside),
        _smallest(apart),
    )


def _wrong(intervals: list[tuple[float, float]]) -> dict[str, int]:
    names = "faster", "slower"
    different = sum(verdict_of(low, high, names) in names for low, high in intervals)
    return {"different": different, "verdicts": len(intervals)}


def _smallest(intervals: list[tuple[float, float]]) -> tuple[float, float]:
    least = [found for ends in intervals if (found := resolution(*ends)) is not None]
    return float(np.median(least)), max(least)
