"""What a weight update of a contender costs, from its task graph: in counts that a large batch cannot flatter."""

from functools import lru_cache
from typing import Any

from ..algorithms import Algorithm, AsyncBP
from ..bench.case import Case
from ..schedule.costs import CLASSES, costs_of
from ..schedule.in_flight import products_in_flight
from ..schedule.sizes import LayerSizes
from ..schedule.steady import steady_chain
from ..schedule.tasks import PAPER_COSTS, STARTS_COSTS
from .problems import Problem


def cost_of_update(algorithm: Algorithm, problem: Problem, settings: dict[str, Any]) -> dict[str, Any]:
    """Of one complete weight update in the steady state:

    - ``samples``: rows that come into it anew: those of a batch ÷ the updates made on it
    - ``mm``, ``smm``: matrix products of a batch, and those in a row, forward starts included (CONTRACT section 2)
    - ``span``: products in a row with a worker for each layer, each weighed by its samples (and, of heads and feedback,
      and in a net of unequal layers, by its size): the unit is a hidden layer's product for one sample, in an unequal
      net that of its average layer. BP splits its batch into single samples, and
      has as many under way as keep all workers busy
    - ``held``: samples whose values the first layer's worker keeps at once meanwhile
    - ``spans``: the span where no worker may keep more than so many samples, for 1, 2, 4 and L; None where the
      algorithm cannot do with so few
    """
    batch = settings.get("batch_size") or len(problem.rows.x)
    steps = settings.get("steps_per_batch")
    visits = settings.get("repeat", 1) * _updates_on_a_batch(algorithm, problem.depth, steps)
    new = batch * getattr(algorithm, "accumulate", 1)
    return {**_counted(algorithm, _sizes(problem), batch, steps, settings.get("start", "forward"))} | {
        "samples": new / visits if problem.batches != (None,) else float(new)
    }


def _updates_on_a_batch(algorithm: Algorithm, depth: int, steps: int | None) -> int:
    return algorithm.checked_calendar(depth, steps).period_updates


def _sizes(problem: Problem) -> LayerSizes:
    """Of a named net its own; in a chain of hidden layers the first and the last count as these do."""
    if not problem.of_net:
        return LayerSizes.equal(problem.depth, problem.hidden, CLASSES)
    return Case.of_net(problem.net_name).layer_sizes


@lru_cache(maxsize=1024)
def _counted(algorithm: Algorithm, sizes: LayerSizes, batch: int, steps: int | None, start: str) -> dict[str, Any]:
    depth, mean = sizes.depth, float(sizes.mean)
    graph = algorithm.steady_tasks(depth, steps, start)
    found = {"mm": graph.mm_starts if steps else graph.mm, "smm": graph.smm_starts if steps else graph.smm}
    bounds = sorted({1, 2, 4, depth})
    if algorithm.name == "bp" and not isinstance(algorithm, AsyncBP):
        lengths, unit = ((), 1.0) if sizes.alike else (sizes.multiplications, mean)
        span = products_in_flight(depth, batch, min(batch, depth), lengths) / unit
        spans = {str(bound): products_in_flight(depth, batch, bound, lengths) / unit for bound in bounds}
        return found | {"span": span, "held": float(min(batch, depth)), "spans": spans}
    told = costs_of(graph, sizes)
    # Where heads or feedback are smaller than layers, chains have no forward starts: what streams has none.
    streams = algorithm.checked_calendar(depth, steps).overlapped
    row = float(found["smm"])
    if not sizes.alike:
        counted, products = STARTS_COSTS if steps else PAPER_COSTS, sizes.of_products()
        row = steady_chain(graph, {kind: products[kind] for kind in counted if kind in products}) / mean
    span = batch * (told["span_flop"] if streams else row)
    held = float(batch * told["held"])
    return found | {"span": span, "held": held, "spans": {str(b): span if held <= b else None for b in bounds}}
