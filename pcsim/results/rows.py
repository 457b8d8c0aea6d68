"""Rows of a results file, from typed fields: what is measured and what is predicted, in the order of the file."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from .fields import Row


class RankFields(TypedDict, total=False):
    """What rows of ranks have beside the others; see ``results/fields.py``."""

    ranks: int
    hosts: int
    counted_messages: float | None
    delay: float | None
    latency: float | None
    messages: float
    message_bytes: float
    collectives: float


@dataclass(kw_only=True)
class _Common:
    """What every row holds first (CONTRACT section 5). Times are seconds per weight update, work is counted per weight
    update, rates are per second. Fields stand in the file in the order of the class."""

    algorithm: str
    execution: str
    backend: str
    workers: int
    depth: int
    width: int
    batch: int
    steps: int
    inference_steps: float
    dtype: str
    activation: str
    net: str | None
    steps_per_batch: int | None
    start: str
    optimizer: str
    momentum: float | None = None
    weight_decay: float | None = None
    data: str | None = None
    kind: str
    seconds: Sequence[float]
    median: float | None
    ci95: Sequence[float] | None
    mm: float
    smm: float
    mm_full: float
    smm_full: float
    smm_workers: float
    mm_starts: float
    smm_starts: float
    flops: float | None
    bytes: float | None
    flop_rate: float | None
    bandwidth: float | None

    def row(self) -> Row:
        """The row, whose lists are the very ones given. Fields of ranks are left out where nothing ran on ranks."""
        found: Row = {}
        for field in fields(self):
            value: Any = getattr(self, field.name)
            found |= (value or {}) if field.name == "on_ranks" else {field.name: value}
        return found


@dataclass(kw_only=True)
class MeasuredRow(_Common):
    """A contender in a cell, timed; ``error`` says why not, and then there are no times."""

    kind: str = "measured"
    roofline: float | None
    compile_seconds: float
    warnings: list[str]
    error: str | None
    auto: bool
    rounds: int
    updates_per_sample: int
    checked: bool
    handover_seconds: float | None
    variant: str | None
    drift: float | None
    core_distance: float | None
    gemm_rate: float | None
    tile_rate: float | None
    on_ranks: RankFields | None


@dataclass(kw_only=True)
class PredictedRow(_Common):
    """What a machine file lets one expect of a contender."""

    kind: str = "predicted"
    variant: str | None
    on_ranks: RankFields | None
    machine: str
    utilisation: float
    joules: float | None
    critical_path: str
    warnings: list[str]
    error: str | None = None
