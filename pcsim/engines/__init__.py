"""Who executes: the NumPy oracle, layers on threads, and on MPI ranks. Compiled engines are imported when asked for."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from ..algorithms import BP, Algorithm
from ..errors import InputError
from ..host.context import usable_cores
from ..net.network import Network
from ..schedule.timeline import Timeline

BACKENDS = ("numpy", "threads", "mpi")


class Engine(Protocol):
    """What every engine offers: a net in training."""

    timeline: Timeline | None

    @property
    def network(self) -> Network:
        """The net as it stands."""

    @property
    def values(self) -> list[np.ndarray]:
        """Values of all layers, L + 1 arrays (B, n[l])."""

    def run(self, updates: int, trace: bool = False) -> tuple[float, float]:
        """Make ``updates`` complete weight updates; seconds taken, and the energy F before the first of them."""


def blas_threads(count: int) -> AbstractContextManager[Any]:
    """Within this context the BLAS libraries of this process use ``count`` threads."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas").limit(limits=count)


def resolve_workers(
    workers: int | str, algorithm: Algorithm, depth: int, backend: str, execution: str | None = None
) -> int:
    """The number of workers that ``workers``, a number or "auto", stands for; InputError if it cannot be had.

    ``execution`` is BP's (None: serial); whether that many can share its work so, the engine says.
    """
    serial = isinstance(algorithm, BP) and execution in (None, "serial")
    limit = 1 if serial or backend == "numpy" else depth
    if workers == "auto" and backend == "mpi":
        return 1  # of each rank: who starts ranks says with that how many workers there are
    if workers == "auto":
        return min(limit, len(usable_cores()))
    if isinstance(workers, bool) or not isinstance(workers, int | np.integer) or workers < 1:
        raise InputError(f'workers must be a whole number of at least 1, or "auto", not {workers!r}')
    if backend == "numpy":
        return 1
    if backend == "mpi":
        return int(workers)
    if serial and workers > 1:
        raise InputError(
            "BP's layers wait for one another: it runs with workers=1, unless its execution says how to share the work"
        )
    if workers > limit and not isinstance(algorithm, BP):
        raise InputError(f"{workers} workers are more than the {depth} layers of the net: use at most {depth}")
    return int(workers)


def make_engine(
    backend: str,
    network: Network,
    algorithm: Algorithm,
    x: np.ndarray,
    y: np.ndarray,
    batches: Callable[[], np.ndarray],
    **options: Any,
) -> Engine:
    """An engine of that ``backend``; options as in ``ThreadsEngine``. InputError if there is no such backend."""
    if backend == "numpy":
        from .numpy import NumpyEngine

        return NumpyEngine(network, algorithm, x, y, batches, **options)
    if backend == "threads":
        from .threads import ThreadsEngine

        return ThreadsEngine(network, algorithm, x, y, batches, **options)
    if backend == "mpi":
        from .mpi import MpiEngine

        return MpiEngine(network, algorithm, x, y, batches, **options)
    raise InputError(f"backend {backend!r} is unknown: choose from {', '.join(BACKENDS)}")
