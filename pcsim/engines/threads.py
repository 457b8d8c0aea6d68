"""Layers on threads: workers that run compiled loops without Python's global lock."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..algorithms import PIPELINE_ASYNC, Algorithm
from ..algorithms.rates import Schedule
from ..host.threads import in_threads
from ..net.augment import Augment
from ..net.network import Network
from .compiled import MICRO_BATCHES, CompiledEngine
from .layout import Layout
from .limits import check_threads
from .loops import asynchronous, backprop, dual, feedback, local, zero_bubble
from .loops.arguments import Arrays, Ranks
from .loops.samples import samples
from .loops.teams import teams
from .starts import PipelinedStarts

Array = np.ndarray


class ThreadTransport:
    """The transport of one process: its workers share memory, flags included."""

    place, first_core = 0, 0

    def __init__(self, workers: int, pin: bool) -> None:
        self.workers = self.all_workers = workers
        self.pin = pin
        self.below = self.above = False
        self.copies = False

    def start(self, work: Callable[[int], None], stop: Array) -> None:
        """Run ``work(worker)`` for every worker and wait for all."""
        in_threads(self.workers, work, stop, self.pin)

    def connect(self, layout: Layout, arrays: list[Arrays], execution: str | None, starts: PipelinedStarts) -> None:
        """Nothing to prepare: memory is shared."""

    def neighbours(self, layout: Layout, batches: int, first_start: int, spent: Array, *run: Any) -> Ranks:
        """Other ranks, for the compiled loops: there are none."""
        nothing = np.zeros(0, np.int64)
        return Ranks(False, False, False, False, 0, 0, (0, 0, 0), nothing, nothing, nothing, spent)

    def backprop(self, execution: str) -> tuple[Any, tuple]:
        """The compiled loop of an execution of BP, and what it is given beside the arguments of all."""
        loops = {
            "intra-layer": backprop.intra_layer,
            "data-parallel": backprop.data_parallel,
            "pipeline": backprop.pipeline,
            "zero-bubble": zero_bubble.zero_bubble,
            PIPELINE_ASYNC: asynchronous.pipeline_async,
            "local": local.local,
            "dfa": feedback.feedback,
            "dual": dual.dual,
        }
        return loops.get(execution, backprop.serial), ()

    def shared(self, execution: str, ranks: Ranks) -> tuple[Any, tuple]:
        """The compiled loop of an execution of PC, Z-IL and iPC, and what it is given beside the arguments of all."""
        return (samples if execution == "data-parallel" else teams), ()

    def together(self, seconds: float, energy: Array) -> tuple[float, float]:
        """Seconds and energy of the whole net."""
        return seconds, float(energy.sum())

    def everyone(self, mine: Any) -> list[Any]:
        """What each process gives: there is one."""
        return [mine]

    def steps_in_a_wave(self, layout: Layout, wave: int, chosen: bool) -> int:
        """How many steps to take together, on which all processes agree."""
        return wave

    def assemble(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype,
        index: Callable[[int], tuple | None],
        mine: Callable[[int], Array],
        everywhere: bool = True,
    ) -> Array | None:
        """An array of which each worker has the part ``index(place)``, ``mine(worker)``; None for nothing."""
        whole = np.empty(shape, dtype)
        for worker in range(self.workers):
            part = index(worker)
            if part is not None:
                whole[part] = mine(worker)
        return whole


class ThreadsEngine(CompiledEngine):
    """Trains a copy of ``network`` on ``x``, (N, n[0]), and ``y``, (N, n[L]), with ``workers`` threads.

    ``pin=True`` binds workers to cores (Linux), to a physical core each as far as there are (``topology.placement``).
    ``execution`` "blas" has one worker and as many BLAS threads. The other options are those of ``CompiledEngine``.

    Raises InputError where there are more workers than layers (BP: than can share the work in that way).
    """

    def __init__(
        self,
        network: Network,
        algorithm: Algorithm,
        x: Array,
        y: Array,
        batches: Callable[[], Array],
        *,
        workers: int = 1,
        steps_per_batch: int | None = None,
        values: list[Array] | None = None,
        pin: bool = False,
        wave: int | None = None,
        fused: bool = True,
        execution: str | None = None,
        micro_batches: int = MICRO_BATCHES,
        schedule: Schedule | None = None,
        start: str = "forward",
        order: str = "split",
        augment: Augment | None = None,
    ) -> None:
        first = batches()
        check_threads(algorithm, execution, workers, network.depth, len(first))
        # BLAS has threads of its own, which serve one worker.
        threads, blas_threads = (1, workers) if execution == "blas" else (workers, 1)
        super().__init__(
            network,
            algorithm,
            x,
            y,
            batches,
            ThreadTransport(threads, pin),
            first_batch=first,
            steps_per_batch=steps_per_batch,
            values=values,
            wave=wave,
            fused=fused,
            execution=execution,
            micro_batches=micro_batches,
            schedule=schedule,
            start=start,
            blas_threads=blas_threads,
            order=order,
            augment=augment,
        )
