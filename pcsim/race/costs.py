"""What a weight update of a contender costs, from its task graph: in counts that a large batch cannot flatter."""

from functools import lru_cache
from typing import Any

from ..algorithms import Algorithm, AsyncBP
from ..schedule.costs import CLASSES, costs
from ..schedule.in_flight import products_in_flight
from .problems import Problem


def cost_of_update(algorithm: Algorithm, problem: Problem, settings: dict[str, Any]) -> dict[str, Any]:
    """Of one complete weight update in the steady state:

    - ``samples``: rows that come into it anew: those of a batch ÷ the updates made on it
    - ``mm``, ``smm``: matrix products of a batch, and those in a row, forward starts included (CONTRACT section 2)
    - ``span``: products in a row with a worker for each layer, each weighed by its samples (and, of heads and feedback,
      by its size): the unit is a hidden layer's product for one sample. BP splits its batch into single samples, and
      has as many under way as keep all workers busy
    - ``held``: samples whose values the first layer's worker keeps at once meanwhile
    - ``spans``: the span where no worker may keep more than so many samples, for 1, 2, 4 and L; None where the
      algorithm cannot do with so few
    """
    batch = settings.get("batch_size") or len(problem.rows.x)
    steps = settings.get("steps_per_batch")
    visits = settings.get("repeat", 1) * _updates_on_a_batch(algorithm, problem.depth, steps)
    new = batch * getattr(algorithm, "accumulate", 1)
    return {**_counted(algorithm, problem.depth, problem.hidden, batch, steps, settings.get("start", "forward"))} | {
        "samples": new / visits if problem.batches != (None,) else float(new)
    }


def _updates_on_a_batch(algorithm: Algorithm, depth: int, steps: int | None) -> int:
    return algorithm.checked_calendar(depth, steps).period_updates


@lru_cache(maxsize=1024)
def _counted(algorithm: Algorithm, depth: int, width: int, batch: int, steps: int | None, start: str) -> dict[str, Any]:
    graph = algorithm.steady_tasks(depth, steps, start)
    found = {"mm": graph.mm_starts if steps else graph.mm, "smm": graph.smm_starts if steps else graph.smm}
    bounds = sorted({1, 2, 4, depth})
    if algorithm.name == "bp" and not isinstance(algorithm, AsyncBP):
        span = float(products_in_flight(depth, batch, min(batch, depth)))
        spans = {str(bound): float(products_in_flight(depth, batch, bound)) for bound in bounds}
        return found | {"span": span, "held": float(min(batch, depth)), "spans": spans}
    told = costs(graph, width, CLASSES)
    # Where heads or feedback are smaller than layers, chains have no forward starts: what streams has none.
    streams = algorithm.checked_calendar(depth, steps).overlapped
    span = batch * (told["span_flop"] if streams else float(found["smm"]))
    held = float(batch * told["held"])
    return found | {"span": span, "held": held, "spans": {str(b): span if held <= b else None for b in bounds}}
