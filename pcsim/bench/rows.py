"""Rows of a results file from what was measured in a cell."""

from dataclasses import dataclass, field
from typing import Any

from .contenders import Contender

SAMPLE_SECONDS = 6e-3  # a sample lasts at least so long; shorter ones show the start of a second core too much

DRIFT = 0.05  # a change of its time above which a cell's rows are marked

MOVED = 1.5  # the same for the distance of two cores

UNSTEADY = 0.15  # half the interval ÷ median: above this a row is marked


@dataclass
class Entry:
    """A contender in its cell, while it is measured."""

    contender: Contender
    engine: Any = None
    updates: int = 1
    seconds: list[float] = field(default_factory=list)
    error: str | None = None
    handover: float | None = None
