"""The executions that compete on a machine, and how sensitive a ratio is to its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..algorithms import BP, IPC, Algorithm
from .machine import Machine
from .plans import Net
from .simulate import Prediction, simulate


def backprops(
    net: Net, machine: Machine, workers: int, ranks: int | None = None, alpha: float = 1e-4
) -> list[Prediction]:
    """BP in every execution that fits, on so many workers: of these ``best-bp`` is the fastest."""
    bp = BP(alpha)
    found = [simulate(bp, net, machine, "serial", 1)]
    if workers > 1 and not machine.batched:
        found.append(simulate(bp, net, machine, "intra-layer", workers, ranks=ranks))
    if net.batch > 1 and not machine.batched:
        stages = min(workers, net.depth)
        if stages > 1:
            parts = sorted({min(net.batch, stages * k) for k in (1, 2, 4, 8)})
            choice = [
                simulate(bp, net, machine, "pipeline", stages, ranks=ranks and min(ranks, stages), micro_batches=part)
                for part in parts
            ]
            found.append(min(choice, key=lambda p: p.seconds))
        several = min(workers, net.batch)
        if several > 1:
            found.append(simulate(bp, net, machine, "data-parallel", several, ranks=ranks and min(ranks, several)))
    return found


def layers_on_workers(
    algorithm: Algorithm, net: Net, machine: Machine, workers: int, ranks: int | None = None
) -> Prediction:
    """PC, Z-IL or iPC with as many workers as there are layers to share out among them."""
    count = min(workers, net.depth)
    execution = "layer-parallel" if count > 1 else "serial"
    return simulate(algorithm, net, machine, execution, count, ranks=ranks and min(ranks, count))


@dataclass(frozen=True)
class Comparison:
    """iPC against BP on one machine: ``ratio`` is seconds of iPC ÷ seconds of ``bp``, the fastest BP of that case."""

    ipc: Prediction
    bps: Sequence[Prediction]

    @property
    def bp(self) -> Prediction:
        """The fastest."""
        return min(self.bps, key=lambda p: p.seconds)

    @property
    def ratio(self) -> float:
        """Against ``best-bp``; below 1, iPC is faster."""
        return self.ipc.seconds / self.bp.seconds

    @property
    def paper_style(self) -> float:
        """Against BP on one worker, the paper's setting."""
        return self.ipc.seconds / next(p.seconds for p in self.bps if p.execution in ("serial", "batched"))

    @property
    def mark(self) -> str:
        """As of its predictions."""
        return next((p.mark for p in (self.ipc, *self.bps) if p.mark), "")


def compare(
    net: Net, machine: Machine, workers: int, algorithm: Algorithm | None = None, ranks: int | None = None
) -> Comparison:
    """iPC (or another) on so many workers against every BP on as many."""
    return Comparison(
        layers_on_workers(algorithm or IPC(), net, machine, workers, ranks), backprops(net, machine, workers, ranks)
    )


def sensitivity(
    net: Net, machine: Machine, workers: int, factor: float = 2.0, **options: Any
) -> list[tuple[str, float]]:
    """(figure, ratio with the figure times ``factor`` ÷ ratio as it is), what moves the ratio most first."""
    from .what_if import FIGURES, with_figure

    base = compare(net, machine, workers, **options).ratio
    found = [
        (name, compare(net, with_figure(machine, name, factor), workers, **options).ratio / base) for name in FIGURES
    ]
    return sorted(found, key=lambda item: -abs(math.log(item[1])))
