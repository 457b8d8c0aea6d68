"""Times between measured points: interpolation over sizes, batches and workers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import InputError
from .prices import LOAD, PASSES, SKIPS, SPLIT, Cost, Task

BY_ELEMENT = ("values", LOAD, *PASSES, *SKIPS.values())  # work that has no weights


class Table:
    """Measured points, interpolated: between batches, widths and distances along the logarithm, in the number of rows
    along a line. Outside of what was measured the nearest holds (by the weight, and by the sample), and it is said.
    ``square``: between widths, matrices are compared that are the same share of a square one, else those of as many
    rows."""

    def __init__(self, points: Sequence[tuple], square: bool = True) -> None:
        self.square = square
        tree: dict[str, dict] = {}
        for work, workers, batch, rows, columns, distance, seconds in points:
            part = tree.setdefault(work, {}).setdefault(workers, {}).setdefault(batch, {}).setdefault(columns, {})
            part.setdefault(rows, {})[distance] = seconds
        self.tree = tree
        self.most = max((point[1] for point in points), default=1)  # workers
        self.found: dict[Task, Cost] = {}

    def cost(self, task: Task) -> Cost:
        """Seconds of a task."""
        if task not in self.found:
            self.found[task] = self._cost(task)
        return self.found[task]

    def hot(self, point: tuple) -> float:
        """Seconds of the point's task with its weights in the nearest cache that was measured."""
        work, workers, batch, rows, columns, _, _ = point
        distances = self.tree[work][workers][batch][columns][rows]
        return min(distances[min(distances)], distances[point[5]])

    def _cost(self, task: Task) -> Cost:
        works = self._known(task)
        total = [self._one(work, task) for work in works]
        seconds = sum(cost.seconds for cost in total)
        return Cost(seconds, sum(cost.memory for cost in total), all(cost.inside for cost in total))

    def _known(self, task: Task) -> list[str]:
        """Measured works that make up this one: itself, or its parts one by one."""
        split = task.work in SPLIT and not (task.work in self.tree and self._has_batch(task.work, task.batch))
        for works in (["update"],) if split else ([task.work], task.work.split("+")):
            if all(work in self.tree and self._has_batch(work, task.batch) for work in works):
                return works
        raise InputError(
            f"the machine has no measured points for {task.work!r} at batch {task.batch}: calibrate it anew"
        )

    def _has_batch(self, work: str, batch: int) -> bool:
        """A batch of one is a kernel of its own, which says nothing of larger ones."""
        return any((known == 1) == (batch == 1) for counts in self.tree[work].values() for known in counts)

    def _one(self, work: str, task: Task) -> Cost:
        counts = self.tree[work]
        below = [count for count in counts if count <= task.workers] or [min(counts)]
        inside = task.workers in counts
        batches = {b: c for b, c in counts[max(below)].items() if (b == 1) == (task.batch == 1)}
        at = [(math.log(b), *self._of_batch(columns, task, work)) for b, columns in sorted(batches.items())]
        # Seconds for each sample, as those of a product are nearly the same for all batches.
        known = sorted(batches)
        per_sample = [seconds / b for (_, seconds, _, _), b in zip(at, known, strict=True)]
        memory = [m / b for (_, _, m, _), b in zip(at, known, strict=True)]
        place = math.log(task.batch)
        x = [entry[0] for entry in at]
        inside = inside and all(entry[3] for entry in at) and known[0] <= task.batch <= known[-1]
        return Cost(
            float(np.interp(place, x, per_sample)) * task.batch, float(np.interp(place, x, memory)) * task.batch, inside
        )

    def _of_batch(self, columns: Mapping[int, dict], task: Task, work: str) -> tuple[float, float, bool]:
        known = sorted(columns)
        wide = max(task.columns, 1)
        near = sorted(
            {max([k for k in known if k <= wide] or known[:1]), min([k for k in known if k >= wide] or known[-1:])}
        )
        # For each weight (of values: for each element), which changes slowly with the width.
        found = []
        for k in near:
            rows = 1 if work in BY_ELEMENT else task.rows * k / wide if self.square else task.rows
            cold, hot = (self._of_width(columns[k], rows, d) for d in (task.distance, 0.0))
            scale = k if work in BY_ELEMENT else rows * k
            found.append((cold / scale, max(0.0, cold - hot) / scale))
        x = [math.log(k) for k in near]
        scale = task.columns if work in BY_ELEMENT else task.rows * task.columns
        seconds, memory = (float(np.interp(math.log(wide), x, [f[i] for f in found])) * scale for i in (0, 1))
        return seconds, memory, known[0] <= task.columns <= known[-1]

    def _of_width(self, rows: Mapping[int, dict], count: float, distance: float) -> float:
        known = sorted(rows)
        found = [self._of_rows(rows[k], distance) for k in known]
        if count >= known[0]:
            if count >= known[-1]:
                return found[-1] * count / known[-1]
            return float(np.interp(count, known, found))
        return found[0] * count / known[0]

    def _of_rows(self, distances: Mapping[float, float], distance: float) -> float:
        known = sorted(distances)
        return float(
            np.interp(
                math.log(max(distance, 1.0)), [math.log(max(k, 1.0)) for k in known], [distances[k] for k in known]
            )
        )
