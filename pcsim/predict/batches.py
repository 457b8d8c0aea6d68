"""BP ÷ iPC for one weight update over depths and batches: counted with each product weighed by its samples, and
predicted with a worker for each layer.

Both stay on one batch. What is counted depends on the net's depth and the batch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algorithms import BP, IPC, Algorithm
from ..checks import whole_number
from ..errors import InputError
from ..schedule.in_flight import products_in_flight
from .machine import Machine
from .nets import Net
from .rivals import MICRO_BATCHES_EACH
from .simulate import Prediction, simulate

MOST = 1 << 20  # layers × samples of a batch: what is counted is gone through one by one


@dataclass(frozen=True)
class Counts:
    """Products in a row of BP ÷ those of iPC, per weight update: ``smm``, where a product counts 1 whatever its
    samples, which BP cannot split, and ``span``, weighed by them: BP sends single samples through the layers, as many
    at once as there are layers. ``formula``: 1 + (L - 1) / B, which is what ``span`` comes to in large batches.
    """

    depth: int
    batch: int
    smm: float
    span: float

    @property
    def formula(self) -> float:
        """What is easily remembered."""
        return 1 + (self.depth - 1) / self.batch


def counted(depth: int, batch: int) -> Counts:
    """From the task graphs, and of BP's single samples from their schedule. InputError for what would take too long.

    >>> counted(32, 1).span, counted(32, 1).smm, counted(32, 1024).span
    (31.5, 31.5, 1.02978515625)
    """
    L, B = whole_number("depth", depth), whole_number("batch", batch)
    if L * B > MOST:
        raise InputError(f"{L} layers and {B} samples are too many to be counted one by one: at most {MOST} together")
    bp, ipc = BP().steady_tasks(L).smm, IPC().steady_tasks(L).smm
    return Counts(L, B, bp / ipc, products_in_flight(L, B, min(L, B)) / (ipc * B))


@dataclass(frozen=True)
class Pair:
    """The fastest of BP and of iPC on no more than so many workers, and seconds of BP ÷ seconds of iPC."""

    bp: Prediction
    ipc: Prediction

    @property
    def ratio(self) -> float:
        """Above 1 iPC is faster."""
        return self.bp.seconds / self.ipc.seconds

    @property
    def mark(self) -> str:
        """What must stand beside the ratio: see ``Prediction.mark``."""
        return self.bp.mark or self.ipc.mark


def predicted(depth: int, batch: int, width: int, machine: Machine) -> Pair:
    """With a worker for each layer, as far as the machine has them, or half as many, a quarter …; everybody in the
    execution that suits it best. BP's pipeline has up to 8 micro-batches for each worker.

    InputError for a machine whose products are batched, which has no workers.
    """
    if machine.batched:
        raise InputError(f"{machine.name} has one launch for the products of all layers, and no worker for each")
    net, most = Net((width,) * (depth + 1), batch), min(depth, machine.workers or depth)
    counts = [count for count in [most, *(1 << k for k in range(1, most.bit_length()))] if 1 < count <= most]
    found: list[Prediction] = []
    for algorithm, executions in ((BP(), _OF_BP), (IPC(), _OF_IPC)):
        tried = [simulate(algorithm, net, machine, "serial", 1)]
        for count in dict.fromkeys(counts):
            tried += _on(algorithm, net, machine, executions, count)
        found.append(min(tried, key=lambda one: one.seconds))
    return Pair(*found)


_OF_BP = ("intra-layer", "data-parallel", "pipeline")
_OF_IPC = ("layer-parallel", "intra-layer", "data-parallel")


def _on(algorithm: Algorithm, net: Net, machine: Machine, executions: Sequence[str], workers: int) -> list[Prediction]:
    found = []
    for execution in executions:
        if execution == "pipeline":
            parts = sorted({min(net.batch, workers * k) for k in MICRO_BATCHES_EACH}) if net.batch > 1 else []
            found += [simulate(algorithm, net, machine, execution, workers, micro_batches=part) for part in parts]
        elif execution != "data-parallel" or net.batch > 1:
            share = min(workers, net.batch) if execution == "data-parallel" else workers
            found.append(simulate(algorithm, net, machine, execution, share))
    return found
