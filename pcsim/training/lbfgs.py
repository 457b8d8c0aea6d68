"""L-BFGS on the full batch: SciPy's, with gradients by backprop in plain NumPy. What BP's gradient is worth with
curvature, where the batch never changes.

All numbers are float64, whatever the net's: curvature is a difference of gradients, of which float32 leaves little near
a minimum. It knows neither engines nor how work is shared.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from ..errors import InputError
from ..host.blas import blas_threads
from ..net.network import Network, with_arrays
from .evaluation import Evaluations
from .run import Progress, Run

Array = np.ndarray

MEMORY = 10  # pairs of steps and gradients that SciPy keeps unless told


class _EnoughError(Exception):
    """The budget is used up, or the goal is reached."""


def train_lbfgs(
    network: Network,
    x: Array,
    y: Array,
    *,
    evaluations: int,
    memory: int = MEMORY,
    until_loss: float | None = None,
    blas: int | None = 1,
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Minimise the loss of all rows from ``network`` on by L-BFGS-B without bounds (Zhu, Byrd, Lu and Nocedal 1997).

    An update of the run is an evaluation of loss and gradient, a forward and a backward pass as one of BP is, those of
    line searches included: ``recorded`` and ``loss`` have each point that was tried, and how many evaluations came
    before. It ends after so many ``evaluations``, at a loss of ``until_loss`` (a sum over the rows), or where SciPy
    finds no better point. ``memory``: of how many steps the curvature is kept; ``blas``: threads of NumPy's and
    SciPy's products (None: as many as outside). The net of the run is that of the last point, in float64.

    InputError for a net whose arrays are not in memory, and for rows that do not fit.
    """
    from scipy.optimize import minimize

    if not isinstance(network.weights, list):
        raise InputError("L-BFGS needs a net whose arrays are in memory")
    x, y = x.astype(np.float64), y.astype(np.float64)
    net = with_arrays(
        network,
        [w.astype(np.float64) for w in network.weights],
        network.biases and [b.astype(np.float64) for b in network.biases],
    )
    parts = [*net.weights, *(net.biases or [])]
    run = Run(net, net.forward(x))
    progress = Progress(0, evaluations, None, Evaluations())
    began = time.perf_counter()

    def tried(point: Array) -> tuple[float, Array]:
        for part, numbers in zip(parts, np.split(point, np.cumsum([part.size for part in parts])[:-1]), strict=True):
            part[...] = numbers.reshape(part.shape)
        with np.errstate(all="ignore"):
            run.values = net.forward(x)
            loss = net.loss.loss(run.values[-1], y)
        if run.updates == evaluations:
            run.final_loss = loss
            raise _EnoughError
        run.recorded.append(run.updates)
        run.loss.append(loss)
        run.energy.append(loss)
        run.recorded_seconds.append(time.perf_counter() - began)
        if until_loss is not None and loss <= until_loss:
            raise _EnoughError
        run.updates += 1
        if on_progress:
            progress.updates, progress.loss = run.updates, loss
            on_progress(progress)
        return loss, np.concatenate([part.ravel() for part in gradient(net, run.values, y)])

    first = np.concatenate([part.ravel() for part in parts])
    # Only the budget and the goal end it: the tolerances are off, and maxfun is out of reach.
    options: Any = {"maxcor": memory, "ftol": 0.0, "gtol": 0.0, "maxfun": evaluations + 1, "maxiter": evaluations + 1}
    with blas_threads(blas), suppress(_EnoughError):
        minimize(tried, first, jac=True, method="L-BFGS-B", options=options)
    run.seconds = time.perf_counter() - began
    return run


def gradient(net: Network, values: list[Array], y: Array) -> list[Any]:
    """Of the loss by all weights, then by all biases, from the values of a forward pass (Eqs. 12 and 13)."""
    L = net.depth
    with np.errstate(all="ignore"):
        e = net.loss.error(values[L], y)
        weights: list[Array] = []
        biases: list[Array] = []
        for l in reversed(range(L)):
            of_weights, of_bias = net.layers[l].gradient(values[l], e)
            weights.insert(0, -of_weights)
            if of_bias is not None:
                biases.insert(0, -of_bias)
            if l:
                e = net.layers[l].pull_back(values[l], e)
    return [*weights, *biases]
