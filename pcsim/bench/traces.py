"""Traces of single cells: what each worker did when, checked against the task graph."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..schedule.tasks import TaskGraph
from ..schedule.timeline import Timeline
from .build import build
from .case import Case
from .contenders import Contender
from .crew import crew
from .sweep import Progress, Sweep

TRACED_UPDATES = 4


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


@dataclass(frozen=True)
class Trace:
    """The first updates of a contender in a cell: a ``name`` for files, a ``title`` for people, and what is wrong with
    their order by the task graph, a sentence each."""

    name: str
    title: str
    timeline: Timeline
    faults: list[str]


def trace(case: Case, contender: Contender, updates: int, pin: bool = True) -> tuple[Timeline, TaskGraph]:
    """The timeline of a contender's first updates (after a warm-up by another engine), and the graph to check it by.
    That of an overlapped calendar ends with a slot, up to which the layers have made different numbers of updates, so
    that more are run, and later slots left out."""
    algorithm = contender.algorithm
    graph = algorithm.tasks(case.depth, updates, case.steps_per_batch, case.start)
    build(case, contender, pin).run(2)
    engine = build(case, contender, pin)
    if not algorithm.calendar(case.depth, case.steps_per_batch).overlapped:
        engine.run(updates, trace=True)
        return engine.timeline, graph
    engine.run(updates + case.depth - 1, trace=True)
    return engine.timeline.until(int(graph.steps[-1])), graph


def traces(sweep: Sweep, on_progress: Callable[[Progress], None] = lambda progress: None) -> Iterator[Trace]:
    """A few updates of every contender of every cell whose tasks are noted: of threads, and of ranks of one host."""
    for number, case in enumerate(sweep.cases, 1):
        on_progress(Progress(number, len(sweep.cases), case, False))
        for contender in sweep.contenders(case):
            if (
                contender.backend not in ("threads", "mpi")
                or contender.workers != contender.blocks
                or not contender.traced
            ):
                continue  # nobody notes its tasks, or they are shared among workers
            if contender.ranks and crew().spread(contender.ranks) > 1:
                continue  # several hosts have several clocks
            timeline, graph = trace(case, contender, TRACED_UPDATES, sweep.pin)
            a = contender.algorithm
            unfused = "" if contender.fused else "-unfused"
            kind = "r" if contender.ranks else "w"
            changing = f"-t{case.steps_per_batch}-{case.start}" if case.steps_per_batch else ""
            net = case.net or f"{case.depth}x{case.width}"
            words = case.net or f"{case.depth} layers of {case.width}"
            name = f"{a.name}{unfused}-{contender.workers}{kind}-{net}-b{case.batch}{changing}"
            title = f"{a.title}, {words}, batch {case.batch}: {TRACED_UPDATES} updates"
            yield Trace(name, title, timeline, timeline.violations(graph))
