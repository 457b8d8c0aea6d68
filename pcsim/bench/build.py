"""From a contender to the engine that runs it."""

from typing import Any

from ..algorithms.predictive_coding import SHARED
from ..engines import make_engine
from ..host.topology import placement
from .case import Case
from .contenders import Contender
from .peers import PEERS


def build(
    case: Case, contender: Contender, pin: bool = False, values: list | None = None, wave: int | None = None
) -> Any:
    """The engine of a contender: a process of its own for a peer."""
    options: dict[str, Any] = {"workers": contender.workers, "values": values}
    changing = batches_of(case, contender)
    if contender.backend in PEERS:
        from .peers.process import PeerEngine

        return PeerEngine(contender.backend, case, contender.algorithm, contender.workers, placement() if pin else None)
    if contender.ranks:
        from .crew import crew

        options = {"values": values, "pin": pin, "wave": wave, "fused": contender.fused, **changing}
        if not contender.algorithm.layered or contender.execution in SHARED:
            options |= {"execution": contender.execution}
        if contender.micro_batches:
            options |= {"micro_batches": contender.micro_batches, "order": contender.order}
        threads = contender.workers // contender.ranks
        return crew().engine(case, contender.algorithm, contender.ranks, threads, **options)
    if contender.backend == "threads":
        options |= {"pin": pin, "wave": wave, "fused": contender.fused}
        if not contender.algorithm.layered or contender.execution in SHARED:
            options |= {"execution": contender.execution}
        if contender.micro_batches:
            options |= {"micro_batches": contender.micro_batches, "order": contender.order}
    net, x, y = case.problem()
    return make_engine(contender.backend, net, contender.algorithm, x, y, case.batches(), **options, **changing)


def batches_of(case: Case, contender: Contender) -> dict[str, Any]:
    """How long an engine stays on a batch, as its options; BP, whose batches are those of its updates, takes none."""
    if case.steps_per_batch is None:
        return {}
    return {"steps_per_batch": case.steps_per_batch, **({} if case.start == "forward" else {"start": case.start})}
