"""What an update of a race's winners takes: measured on this machine in every execution, or predicted on another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..algorithms import BP, PIPELINE_ASYNC, Algorithm, AsyncBP
from ..bench.case import Case
from ..bench.contenders import OWN_BASELINES
from ..bench.measure import ALPHA
from ..bench.sweep import Sweep
from ..errors import InputError
from ..net.named import outline
from ..predict.machine import Machine
from ..predict.nets import Net, named_net
from ..predict.rivals import Rivals
from ..predict.sweep import default_workers
from ..results.fields import Row
from ..results.races import Race
from .contenders import Contender
from .problems import Problem

SECONDS = 3.0  # of timing for each cell


def priced(
    problem: Problem,
    contenders: Sequence[Contender],
    rows: Sequence[Row],
    machines: Sequence[Machine],
    timed: bool,
    on_progress: Callable[[str, int, int], None] = lambda text, done, total: None,
) -> Iterator[Row]:
    """A row for each of the winners and each machine, and for each that is ``timed``, which ``rows`` does not hold."""
    race, by_name = Race.of(rows), {one.name: one for one in contenders}
    drawn = {(row["contender"], row["trial"]): row["settings"] for row in race.trials}
    wanted = race.winners()
    for machine in machines:
        there = {(row["contender"], row["trial"]) for row in race.predicted if row["machine"] == machine.name}
        for number, (name, trial) in enumerate(wanted):
            on_progress(f"predicting on {machine.name}", number, len(wanted))
            if (name, trial) not in there:
                found = _predicted(problem, by_name[name], drawn[name, trial], machine)
                yield {"phase": "predicted", "contender": name, "trial": trial, "machine": machine.name, **found}
    there = {(row["contender"], row["trial"]) for row in race.timed}
    left = [each for each in wanted if timed and each not in there]
    # Of those who differ in nothing that takes time one is timed.
    cells: dict[tuple[Case, Algorithm], list[tuple[str, int]]] = {}
    for name, trial in left:
        cells.setdefault(_cell(problem, by_name[name], drawn[name, trial]), []).append((name, trial))
    failed: list[InputError] = []
    for number, ((case, algorithm), alike) in enumerate(cells.items()):
        on_progress("timing", number, len(cells))
        try:
            found = _timed(case, algorithm)
        except InputError as error:
            failed.append(error)
            continue
        for name, trial in alike:
            yield {"phase": "timed", "contender": name, "trial": trial, **found}
    if failed:  # when all others are kept
        raise failed[0]


def _batches(problem: Problem, settings: dict[str, Any]) -> tuple[int, int | None, str]:
    """The batch, updates of iPC on it (None: it never changes), and where a new one's values come from."""
    changing = settings.get("steps_per_batch", None if problem.batches == (None,) else 1)
    return settings.get("batch_size") or len(problem.rows.x), changing, settings.get("start", "forward")


def _cell(problem: Problem, one: Contender, settings: dict[str, Any]) -> tuple[Case, Algorithm]:
    """The cell of an update, and the algorithm with rates that leave the net as it is."""
    batch, changing, start = _batches(problem, settings)
    name, how = problem.net_name or "-".join(map(str, problem.sizes)), {"steps_per_batch": changing, "start": start}
    given = one.made(settings)
    usual = {"gamma": 0.5, "precision": 1.0} if hasattr(given, "precision") and given.name != "zil" else {}
    case = Case.of_net(name, batch, activation=problem.activation, **how)
    return case, replace(given, alpha=ALPHA, **usual)


def _timed(case: Case, algorithm: Algorithm) -> dict[str, Any]:
    """Seconds of an update in the fastest execution on the cores of this machine."""
    late = isinstance(algorithm, AsyncBP)
    baselines = (PIPELINE_ASYNC,) if late else OWN_BASELINES if isinstance(algorithm, BP) else ("shared",)
    sweep = Sweep([case], [algorithm], [1, "auto"], baselines, SECONDS)
    rows = [row for row in sweep.run(sweep.ceilings()) if row["error"] is None and row["median"]]
    mine = [row for row in rows if (row["execution"] == PIPELINE_ASYNC) == late]
    if not mine:
        raise InputError(f"{algorithm.title} could not be timed in {case.name}")
    best = min(mine, key=lambda row: row["median"])
    return {"seconds": best["median"], "execution": best["execution"], "workers": best["workers"]}


def _predicted(problem: Problem, one: Contender, settings: dict[str, Any], machine: Machine) -> dict[str, Any]:
    """The same on another machine, with as many of its workers as suit best."""
    algorithm = one.made(settings)
    if isinstance(algorithm, AsyncBP):  # of its options none is predicted
        algorithm = AsyncBP(algorithm.alpha, algorithm.optimizer)
    batch, changing, start = _batches(problem, settings)
    if problem.of_net:
        net = named_net(problem.net_name, outline(problem.net_name), batch, 4, changing, start)
    else:
        net = Net(problem.sizes, batch, 4, changing, start)
    rivals, most = Rivals(net, machine, optimizer=algorithm.optimizer), max(default_workers(machine))
    if isinstance(algorithm, BP) and not isinstance(algorithm, AsyncBP):
        best = min(rivals.backprops(most), key=lambda found: found.seconds)
    else:
        best = rivals.layers_on_workers(algorithm, most)
    # Of asynchronous BP a batch is predicted, of which some may make an update.
    each, joules = getattr(one.made(settings), "accumulate", 1), best.energy
    return {
        "seconds": each * best.seconds, "joules": None if joules is None else each * joules,
        "execution": best.execution, "workers": best.workers,
    }  # fmt: skip
