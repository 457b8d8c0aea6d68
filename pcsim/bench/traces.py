"""Traces of single cells: what each worker did when, checked against the task graph."""

from pathlib import Path

from ..errors import InputError
from ..schedule.tasks import TaskGraph
from ..schedule.timeline import Timeline
from .build import build
from .case import Case
from .contenders import Contender

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


def trace(case: Case, contender: Contender, updates: int, pin: bool = True) -> tuple[Timeline, TaskGraph]:
    """The timeline of a contender's first updates (after a warm-up by another engine), and the graph to check it by."""
    build(case, contender, pin).run(2)
    engine = build(case, contender, pin)
    engine.run(updates, trace=True)
    return engine.timeline, contender.algorithm.tasks(case.depth, updates)
