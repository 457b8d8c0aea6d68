"""Who executes: the NumPy oracle, layers on threads, and on MPI ranks. Compiled engines are imported when asked for."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..algorithms import BP, DFA, PIPELINE_ASYNC, Algorithm, DualProp, Local, PredictiveCoding, asynchronous
from ..errors import InputError
from ..host.blas import blas_threads
from ..net.network import Network
from ..schedule.timeline import Timeline
from .limits import check_backend, check_forms

__all__ = ["BACKENDS", "Engine", "blas_threads", "make_engine"]

BACKENDS = ("numpy", "threads", "mpi")


class Engine(Protocol):
    """What every engine offers: a net in training."""

    timeline: Timeline | None
    diverged: int | None  # the first weight update before which the output's error was not finite

    @property
    def network(self) -> Network:
        """The net as it stands."""

    @property
    def values(self) -> list[np.ndarray]:
        """Values of all layers, L + 1 arrays (B, n[l])."""

    def run(self, updates: int, trace: bool = False) -> tuple[float, float]:
        """Make ``updates`` complete weight updates; seconds taken, and the energy F before the first of them."""

    def state(self) -> dict[str, Any]:
        """All that a training needs to go on from here, on any engine."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state``; the engine must be fresh."""


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
    if backend in BACKENDS:
        check_backend(algorithm, backend)
        check_forms(algorithm, network.forms)
    if not isinstance(algorithm, BP | PredictiveCoding | Local | DFA | DualProp):
        raise InputError(f"engines execute what derives from pcsim.BP or pcsim.PredictiveCoding, not {algorithm!r}")
    algorithm, execution = asynchronous(algorithm, options.get("execution"))
    if execution == PIPELINE_ASYNC and backend != "numpy":
        options["execution"] = execution
    elif execution == PIPELINE_ASYNC:  # the oracle has one way, which the algorithm says
        options.pop("execution", None)
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
