"""The executions that compete on a machine, each on as many of its workers as suit it best, and how sensitive a ratio
is to the machine's figures.

What comes out depends on the net, the machine and the most workers alone. Looked at is every number of workers that
can be the fastest: of those who give the largest share of everything the same size, the fewest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..algorithms import BP, IPC, PIPELINE_ASYNC, Algorithm, AsyncBP, PredictiveCoding
from ..algorithms.predictive_coding import SHARED
from ..errors import InputError
from ..schedule.teams import balanced_teams
from .machine import Machine
from .plans import Net
from .simulate import OF_IMAGES, Prediction, simulate

EXECUTIONS = ("serial", "intra-layer", "pipeline", "data-parallel")  # of BP

MICRO_BATCHES_EACH = (1, 2, 4, 8)  # of a pipeline, for each of its workers: the fastest runs

_MEETINGS = ("meetings", "messages")  # of the critical path of rows on workers


def counts_to_try(net: Net, execution: str, most: int, measured: bool = False) -> list[int]:
    """The numbers of workers up to ``most`` of which one is the fastest, from 1 on.

    With more workers and no smaller share there is nothing to gain: they meet later, and more of them share the
    bandwidth. Stages of a pipeline differ in their micro-batches too, and ``measured`` products are as they are: of
    these all are looked at.

    >>> counts_to_try(Net((64,) * 33), "layer-parallel", 64)
    [1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 32]
    """
    if execution == "serial":
        return [1]
    shared = [*{net.sizes[0], *net.rows}] if execution in ("intra-layer", "data-parallel") else []
    if execution == "data-parallel":
        most = min(most, net.batch)
        shared.append(net.batch)
    if execution in ("layer-parallel", "pipeline", PIPELINE_ASYNC):
        most = min(most, net.depth)
        shared = [net.depth]
    if execution == "hybrid":  # teams are cut anew for each
        return _in_steps(range(2, most + 1))
    staged = execution in ("pipeline", PIPELINE_ASYNC)
    if measured or staged or (execution == "layer-parallel" and len(set(net.sizes)) > 1):
        return list(range(1, most + 1))
    fewest: dict[tuple[int, ...], int] = {}
    for count in range(1, min(most, max(shared)) + 1):
        fewest.setdefault(tuple(-(-size // count) for size in shared), count)
    return list(fewest.values())


def _in_steps(counts: Iterable[int]) -> list[int]:
    """Of many numbers of workers those that lie an eighth to a quarter apart: 1 … 8, 10, 12, 14, 16, 20 …"""
    return [count for count in counts if count % (1 << max(0, count.bit_length() - 3)) == 0]


def _teams_differ(net: Net, workers: int) -> bool:
    """Whether teams of so many workers are neither one team nor a worker each."""
    return 1 < len(balanced_teams(net.sizes, net.batch, workers, 64 // net.item)) < workers


@dataclass
class Rivals:
    """Who competes on a machine with one net; what was predicted once is kept."""

    net: Net
    machine: Machine
    ranks: int | None = None
    micro_batches: int | None = None  # None for the best number
    order: str = "split"
    optimizer: str = "sgd"  # of BP
    known: dict[tuple[Algorithm, str, int], Prediction] = field(default_factory=dict)

    def backprops(self, workers: int, algorithm: Algorithm | None = None) -> list[Prediction]:
        """BP in every execution that fits, each on the number of workers up to ``workers`` that suits it best: of these
        ``best-bp`` is the fastest. Serial comes first."""
        bp = algorithm or BP(1e-4, self.optimizer)
        found = [self._on(bp, "serial", 1)]
        for execution in EXECUTIONS[1:] if not self.machine.batched else ():
            if (execution != "intra-layer" and self.net.batch == 1) or (bp.orthogonal and execution in SHARED):
                continue
            if self._refused(execution):
                continue
            most = min(workers, self._here(workers)) if self.net.forms and execution == "data-parallel" else workers
            counts = counts_to_try(self.net, execution, most, self._measured)[1:]
            if counts:
                search = self._bisected if execution == "intra-layer" and not self._measured else self._fastest
                found.append(search(bp, execution, counts))
        return found

    def layers_on_workers(self, algorithm: Algorithm, workers: int) -> Prediction:
        """PC, Z-IL or iPC on the number of workers up to ``workers`` that suits it best: layers on workers, or workers
        of one host, or of several ``ranks``, who share layers (rows, samples, teams) if that is faster. Asynchronous BP
        has one execution."""
        if isinstance(algorithm, AsyncBP):
            if self.machine.batched:
                raise InputError(
                    f"{algorithm.title} has no launch on a machine whose products are batched: leave it out"
                )
            counts = counts_to_try(self.net, PIPELINE_ASYNC, workers, self._measured)
            return self._fastest(algorithm, PIPELINE_ASYNC, counts)
        most = 1 if self.machine.batched else workers
        counts = counts_to_try(self.net, "layer-parallel", most, self._measured)
        found = [self._fastest(algorithm, "layer-parallel", counts)]
        if not isinstance(algorithm, PredictiveCoding):  # this is its only execution
            return found[0]
        for execution in () if self.net.start == "pipelined" or algorithm.orthogonal else SHARED:
            if (execution == "data-parallel" and self.net.batch == 1) or self._refused(execution):
                continue
            counts = self._counts_to_share(execution, most)
            if execution != "intra-layer":
                found += self._sharing(algorithm, execution, counts, _first(found).seconds)
            elif counts:
                search = self._bisected if execution == "intra-layer" and not self._measured else self._fastest
                found.append(search(algorithm, execution, counts))
        return _first(found)

    def _refused(self, execution: str) -> bool:
        """Whether no engine runs this net so."""
        on_ranks = execution == "data-parallel" and (self.ranks or 1) > 1
        return bool(self.net.forms) and (execution not in OF_IMAGES or on_ranks)

    def _here(self, most: int) -> int:
        """Workers of one node."""
        machine = self.machine
        return machine.sockets * machine.cores if machine.cores else most

    def _counts_to_share(self, execution: str, most: int) -> list[int]:
        """The numbers of workers who may share layers: of one host, or on several ranks a thread on each, or for teams
        as many on each."""
        ranks = self.ranks or 1
        if ranks > 1 and execution == "hybrid":
            threads = range(2, most // ranks + 1 if ranks <= self.net.depth else 2)
            return [ranks * count for count in _in_steps(threads)]
        most = min(most, ranks if ranks > 1 else self._here(most))
        counts = [count for count in counts_to_try(self.net, execution, most, self._measured) if count > 1]
        return counts if execution == "intra-layer" and not self._measured else _in_steps(counts)

    def _sharing(self, algorithm: Algorithm, execution: str, counts: Sequence[int], best: float) -> list[Prediction]:
        """Samples or teams on the numbers of workers that may take less than ``best`` seconds: however they are shared,
        their workers have the products to make, and begin each of them once at least."""
        found: list[Prediction] = []
        for count in reversed(counts):
            if self._floor / count > best * (1 + 1e-9):
                break
            if execution != "hybrid" or (self.ranks or 1) > 1 or _teams_differ(self.net, count):
                found.append(self._on(algorithm, execution, count))
                best = min(best, found[-1].seconds)
        return found

    @property
    def _floor(self) -> float:
        """Seconds of the products of an update of iPC, wherever the weights are; others have more. Of measured products
        nothing is known but that they take time."""
        if self._measured:
            return 0.0
        counts = self.net.multiplications()
        flops = 2.0 * self.net.batch * (3 * sum(counts) - counts[0])
        return flops / self.machine.flop_rate + self.net.depth * self.machine.overhead

    @property
    def _measured(self) -> bool:
        return self.machine.model == "measured"

    def _on(self, algorithm: Algorithm, execution: str, workers: int) -> Prediction:
        key = algorithm, execution, workers
        if key not in self.known:
            self.known[key] = self._simulate(algorithm, execution, workers)
        return self.known[key]

    def _simulate(self, algorithm: Algorithm, execution: str, workers: int) -> Prediction:
        if execution == "layer-parallel" and workers == 1:
            execution = "serial"
        ranks = self.ranks and min(self.ranks, workers)
        if execution != "pipeline":
            return simulate(algorithm, self.net, self.machine, execution, workers, ranks=ranks)
        parts = {min(self.net.batch, workers * k) for k in MICRO_BATCHES_EACH}
        if self.micro_batches:
            parts = {self.micro_batches}
        found = [
            simulate(
                algorithm, self.net, self.machine, execution, workers, ranks=ranks, micro_batches=part, order=self.order
            )
            for part in sorted(parts)
        ]
        return _first(found)

    def _fastest(self, algorithm: Algorithm, execution: str, counts: Sequence[int]) -> Prediction:
        """The fastest of all, without those who have more to do than it takes."""
        found: list[Prediction] = []
        for count in reversed(counts):
            if found and self._least(found[-1]) / count > min(one.seconds for one in found) * (1 + 1e-9):
                break
            found.append(self._on(algorithm, execution, count))
        return _first(found[::-1])

    def _least(self, one: Prediction) -> float:
        """Seconds of work that no smaller number of workers can do without: with fewer of them weights come from
        farther away."""
        if self._measured or one.execution == "data-parallel":
            return 0.0
        return (
            one.products
            if one.execution in ("layer-parallel", "serial", PIPELINE_ASYNC)
            else one.flops / self.machine.flop_rate
        )

    def _bisected(self, algorithm: Algorithm, execution: str, counts: Sequence[int]) -> Prediction:
        """The same of rows on workers: products are shared out ever better, meetings cost ever more, and so whole
        ranges can be ruled out.

        Between two numbers of workers an update takes at least what products take with the more of them, and meetings
        with the fewer. Where products wait for a common bandwidth, the more have a larger sum of shares, as these are
        whole rows: no more than by ``uneven``.
        """
        tried = {0: self._on(algorithm, execution, counts[0])}
        tried[len(counts) - 1] = self._on(algorithm, execution, counts[-1])
        ranges, narrow = [(0, len(counts) - 1)], min(self.net.sizes)
        while ranges:
            low, high = ranges.pop()
            if high - low < 2:
                continue
            few, many = tried[low], tried[high]
            uneven = 1 + (many.workers - 1) / narrow
            least = many.seconds * (1 - _meeting(many)) / uneven + few.seconds * _meeting(few)
            if least < min(one.seconds for one in tried.values()):
                middle = (low + high) // 2
                tried[middle] = self._on(algorithm, execution, counts[middle])
                ranges += [(low, middle), (middle, high)]
        return _first([tried[place] for place in sorted(tried)])


def _meeting(one: Prediction) -> float:
    """The share of meetings in the seconds."""
    return sum(one.shares.get(name, 0.0) for name in _MEETINGS)


def _first(found: Sequence[Prediction]) -> Prediction:
    """The fastest, with the fewest workers where several are."""
    return min(found, key=lambda one: one.seconds)


def backprops(
    net: Net, machine: Machine, workers: int, ranks: int | None = None, alpha: float = 1e-4
) -> list[Prediction]:
    """See :meth:`Rivals.backprops`."""
    return Rivals(net, machine, ranks).backprops(workers, BP(alpha))


def layers_on_workers(
    algorithm: Algorithm, net: Net, machine: Machine, workers: int, ranks: int | None = None
) -> Prediction:
    """See :meth:`Rivals.layers_on_workers`."""
    return Rivals(net, machine, ranks).layers_on_workers(algorithm, workers)


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
    """iPC (or another) on no more than so many workers against every BP on no more."""
    rivals = Rivals(net, machine, ranks)
    return Comparison(rivals.layers_on_workers(algorithm or IPC(), workers), rivals.backprops(workers))


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
