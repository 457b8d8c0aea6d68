"""The ratio over numbers of workers, from predicted rows: what ``simulate`` saw when it wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from ..errors import InputError
from .fields import Row
from .files import Results
from .pairs import FUSED, cells, fastest, merged, offered, within


@dataclass(frozen=True)
class WorkersPoint:
    """One net on no more than so many workers, as :class:`pcsim.predict.sweep.Projection` has it."""

    depth: int
    width: int
    batch: int
    workers: int
    ratio: float  # to the fastest BP on no more workers
    paper_style: float  # to serial BP
    best_execution: str
    mark: str
    title: str = "iPC"
    latency: float = 1.0
    bandwidth: float = 1.0
    execution: str = "layer-parallel"  # iPC's
    sizes: str | None = None  # where layers are not all ``width`` wide
    steps_per_batch: int | None = None
    start: str = "forward"


def predicted_over_workers(results: Results) -> bool:
    """Whether the file is of predictions for several numbers of workers."""
    return all(row["kind"] == "predicted" for row in results.rows) and len(_offered(results)) > 1


def _offered(results: Results) -> list[int]:
    """The numbers of workers that a sweep was asked for, as its header says, or its command. A row only says how many
    were used, which are fewer where more do not help; where there is neither, these have to do."""
    if known := offered(results):
        return known
    command = results.context.get("command") or (results.context.get("host") or {}).get("command") or []
    if "--workers" in command:
        words = [str(word) for word in command[command.index("--workers") + 1 :]]
        return sorted({int(word) for word in takewhile(str.isdecimal, words)})
    return sorted({row["workers"] for row in results.rows if row["algorithm"] == "ipc" and row["error"] is None})


def over_workers(results: Results) -> list[WorkersPoint]:
    """Of every net a point for each number of workers in the file: who does better with fewer takes fewer.

    Raises :class:`InputError` where no net has times of iPC and of serial BP.
    """
    counts, found = _offered(results), []
    for cell, rows in cells(results).items():
        ipc, bps = merged(rows, "ipc", FUSED), merged(rows, "bp")
        serial = fastest([row for row in bps if row["execution"] == "serial"])
        for count in counts:
            best, other = fastest(within(ipc, count)), fastest(within(bps, count))
            if best and other and serial:
                ratios = best["median"] / other["median"], best["median"] / serial["median"]
                marks = _mark(best) or _mark(other)
                place = cell.depth, cell.width, cell.batch, count
                changing = {"steps_per_batch": cell.steps_per_batch, "start": cell.start}
                mine = {"execution": best["execution"], "sizes": cell.net, **changing}
                found.append(WorkersPoint(*place, *ratios, other["execution"], marks, **mine))
    if not found:
        raise InputError(f"{results.path}: no net has times of both iPC and serial BP, so there is no ratio")
    return found


def _mark(row: Row) -> str:
    return row["warnings"][0] if row["warnings"] else ""
