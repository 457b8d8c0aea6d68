from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    worker: int
    work: int
    layer: int
    step: int
    start: float
    end: float


@dataclass(frozen=True)
class Timeline:
    events: list
