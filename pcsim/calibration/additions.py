"""What is added to an update where batches change and optimisers keep something of each weight, measured; and to a
machine file that knows no convolutions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..predict.machine import COLUMNS
from ..predict.prices import LOAD, RULES
from ..schedule.timeline import UPDATE

MOST_BYTES = 192 << 20  # of a ring, for all workers together


def measure_loads(
    widths: Sequence[int], batches: Sequence[int], size: int, dtype: np.dtype, pin: bool
) -> list[list[Any]]:
    """Points of copying the rows of a new batch from a data set of ``size`` bytes."""
    from .rings import load_seconds

    found = []
    for width, batch in itertools.product(_some(widths), sorted({1, max(batches)})):
        seconds = _median(lambda: load_seconds(width, batch, size, dtype, pin), 3)  # noqa: B023 - called at once
        found.append([LOAD, 1, batch, 1, width, 0, float(f"{seconds:.4g}")])
    return found


def measure_rules(widths: Sequence[int], own: int, last: int, dtype: np.dtype, pin: bool) -> list[list[Any]]:
    """Points of what an optimiser adds to an update: the difference of two rings of as many bytes, in one of which it
    keeps something of each weight."""
    from ..engines import blas_threads
    from .rings import Ring

    found = []
    with blas_threads(1):
        for (moments, rule), width in itertools.product(RULES.items(), _some(widths)):
            layer = width * width * dtype.itemsize
            depths = {max(1, round(size / layer / (1 + moments))) for size in (own / 3, last / 2, last * 2)}
            for depth in sorted(depths):
                if depth * layer * (1 + moments) > MOST_BYTES:
                    continue
                plain = Ring(width, width, depth * (1 + moments), 8, 1, dtype, pin)
                kept = Ring(width, width, depth, 8, 1, dtype, pin, rule)
                times = [_median(lambda: r.seconds(UPDATE, max(1, 200 // r.depth)), 5) for r in (plain, kept)]  # noqa: B023
                more = max(times[1] - times[0], 1e-12)
                found.append([rule, 1, 1, width, width, kept.bytes, float(f"{more:.4g}")])
    return found


def convolutions(
    counts: Sequence[int],
    own: int,
    last: int,
    dtype: np.dtype,
    pin: bool,
    when: str,
    on_progress: Callable[[int, int], None] = lambda number, total: None,
) -> dict[str, Any]:
    """The part of a machine file that is of convolutions and skips, by each of so many workers; caches have ``own`` and
    ``last`` bytes."""
    from .images import measure_images

    points = measure_images(list(counts), own, last, dtype, pin, on_progress)
    source = f"measured by pcsim calibrate, {when}"
    return {"unit": "s", "source": source, "columns": list(COLUMNS), "points": points}


def _some(widths: Sequence[int]) -> list[int]:
    """Every third of many widths, and the last."""
    return sorted({*widths[:: 3 if len(widths) > 4 else 1], widths[-1]})


def _median(measure: Callable[[], float], times: int) -> float:
    measure()
    return float(np.median([measure() for _ in range(times)]))
