"""What happened, or would happen, when: events of workers, measured or simulated, and what follows from them.

A timeline knows task graphs only to be checked against them, and no engine.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from .tasks import Kind, TaskGraph

# What an event did: a sum of these, as one pass over the weights may do several things.
PREDICT, BACKPROJECT, UPDATE, START, VALUE = 1, 2, 4, 8, 16

_KINDS = {
    PREDICT: Kind.PREDICT,
    BACKPROJECT: Kind.BACKPROJECT,
    UPDATE: Kind.UPDATE,
    START: Kind.START,
    VALUE: Kind.VALUE,
}

_NAMES = {PREDICT: "predict", BACKPROJECT: "backproject", UPDATE: "update", START: "start", VALUE: "values"}


def _microseconds(nanoseconds: int) -> float:
    """The float whose thousandfold, cut off, is the whole number again: viewers read it so."""
    found = nanoseconds / 1000
    return found if found * 1000 >= nanoseconds else math.nextafter(found, math.inf)


ROUNDED = 1e-8  # of a trace: what sums of floats, and repeated periods, may be off by


@dataclass(frozen=True)
class Event:
    """One worker's uninterrupted work on layer ``layer`` in step ``step``, from ``start`` to ``end`` (seconds)."""

    worker: int
    work: int
    layer: int
    step: int
    start: float
    end: float

    @property
    def name(self) -> str:
        """In words, as ``predict+backproject+update``."""
        return "+".join(name for bit, name in _NAMES.items() if self.work & bit)


@dataclass(frozen=True)
class Timeline:
    """Events of one run; times in seconds on one clock."""

    events: tuple[Event, ...]

    def __init__(self, events: Iterable[Event]) -> None:
        object.__setattr__(self, "events", tuple(events))

    @property
    def workers(self) -> int:
        """Number of workers."""
        return 1 + max((event.worker for event in self.events), default=-1)

    @property
    def span(self) -> float:
        """Seconds from the first start to the last end."""
        if not self.events:
            return 0.0
        return max(event.end for event in self.events) - min(event.start for event in self.events)

    @property
    def busy(self) -> list[float]:
        """Seconds of work of each worker."""
        seconds = [0.0] * self.workers
        for event in self.events:
            seconds[event.worker] += event.end - event.start
        return seconds

    @property
    def utilisation(self) -> float:
        """Work of all workers ÷ (workers × span)."""
        return sum(self.busy) / (self.workers * self.span) if self.span else 0.0

    @property
    def pauses(self) -> np.ndarray:
        """The longest pause, in seconds, of each worker in each step: (workers, steps).

        A worker's only long pause in a step is for its neighbours. A pause belongs to the step before it.
        """
        steps = 1 + max((event.step for event in self.events), default=-1)
        longest = np.zeros((self.workers, steps))
        last: dict[int, Event] = {}
        for event in sorted(self.events, key=lambda event: event.start):
            before = last.get(event.worker)
            if before is not None:
                pause = longest[event.worker, before.step]
                longest[event.worker, before.step] = max(pause, event.start - before.end)
            last[event.worker] = event
        return longest

    def until(self, step: int) -> "Timeline":
        """The events of the steps up to this one."""
        return Timeline(event for event in self.events if event.step <= step)

    def violations(self, graph: TaskGraph) -> list[str]:
        """Where this timeline is not a valid order of ``graph``: one sentence per fault, at most ten and a count.

        Step numbers of events are the graph's. Every task must be covered by an event, and what it depends on must
        have ended before it starts, or be part of the same pass. The values between two workers' blocks are computed
        by both; each worker is held against its own copy.
        """
        starts, ends, workers = (
            np.array([getattr(event, field) for event in self.events], kind)
            for field, kind in (("start", float), ("end", float), ("worker", int))
        )
        covering = np.full((2, len(graph.kinds)), -1)  # for each task its event, and a second one where there is a copy
        backwards = np.flatnonzero(ends < starts)
        faults = [f"event {number} ends before it starts" for number in backwards]
        for number, event in enumerate(self.events):
            for bit, kind in _KINDS.items():
                if not event.work & bit:
                    continue
                task = int(graph.task(kind, event.step, event.layer))
                first = covering[0, task]
                if task < 0:
                    faults.append(
                        f"{_NAMES[bit]} of layer {event.layer} at step {event.step} is not a task of the graph"
                    )
                elif first < 0:
                    covering[0, task] = number
                elif bit == VALUE and covering[1, task] < 0 and abs(workers[first] - event.worker) == 1:
                    covering[1, task] = number
                else:
                    faults.append(f"{graph.describe(task)} was done twice")
                if bit == UPDATE and (behind := int(graph.task(Kind.ORTHOGONALISE, event.step, event.layer))) >= 0:
                    covering[0, behind] = number  # Muon's products are a part of the update
        faults += [f"{graph.describe(int(task))} was never done" for task in np.flatnonzero(covering[0] < 0)]
        indptr, before = graph.predecessors
        after = np.repeat(np.arange(len(graph.kinds)), np.diff(indptr))
        for copies in covering:
            later = copies[after]
            known = (later >= 0) & (covering[0, before] >= 0)
            b, a, later = before[known], after[known], later[known]
            own = (covering[1, b] >= 0) & (workers[covering[1, b]] == workers[later])
            earlier = np.where(own, covering[1, b], covering[0, b])
            bad = (earlier != later) & (ends[earlier] > starts[later])
            faults += [
                f"{graph.describe(int(a[i]))} began before {graph.describe(int(b[i]))} ended"
                for i in np.flatnonzero(bad)
            ]
        return faults[:10] + ([f"… {len(faults)} faults in all"] if len(faults) > 10 else [])

    def chrome_trace(self) -> dict:
        """The timeline as Chrome's trace-event JSON (times in microseconds from the first start, of whole nanoseconds);
        opens in Perfetto, which drops a slice that overlaps another one of its thread."""
        starts, ends = self._nanoseconds()
        named = [
            {"ph": "M", "name": "thread_name", "pid": 0, "tid": worker, "args": {"name": f"worker {worker}"}}
            for worker in range(self.workers)
        ]
        return {
            "displayTimeUnit": "ns",
            "traceEvents": named
            + [
                {
                    "ph": "X",
                    "name": f"{event.name} {event.layer}",
                    "cat": event.name,
                    "pid": 0,
                    "tid": event.worker,
                    "ts": _microseconds(start),
                    "dur": _microseconds(end - start),
                    "args": {"layer": event.layer, "step": event.step},
                }
                for event, start, end in zip(self.events, starts.tolist(), ends.tolist(), strict=True)
            ],
        }

    def _nanoseconds(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ends from the first start on. One that ended when the next of its worker began still does so."""
        workers, starts, ends = (
            np.array([getattr(e, name) for e in self.events]) for name in ("worker", "start", "end")
        )
        origin = starts.min(initial=np.inf)
        whole, until = (np.rint((times - origin) * 1e9).astype(np.int64) for times in (starts, ends))
        order = np.lexsort((ends, starts, workers))
        this, following = order[:-1], order[1:]
        over = until[this] - whole[following]
        slack = max(1.0, ROUNDED * until.max(initial=0))
        touch = (workers[this] == workers[following]) & (over > 0) & (over <= slack)
        until[this[touch]] = np.maximum(whole[this], whole[following])[touch]
        return whole, until

    def save_chrome_trace(self, path: str | Path) -> None:
        """Write ``chrome_trace`` to ``path``; InputError if that cannot be written."""
        try:
            Path(path).write_text(json.dumps(self.chrome_trace()))
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from None
