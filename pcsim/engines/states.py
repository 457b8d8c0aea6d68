"""What the state of a training consists of, and whether one fits an engine."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..algorithms import DFA, Algorithm, AsyncBP, DualProp, Local, PredictiveCoding
from ..algorithms.common import MOMENTS
from ..checks import is_whole, shown
from ..errors import InputError
from ..net.extras import FEEDBACK, HEADS, shapes_of_extras
from ..net.network import Network
from ..schedule.calendar import Calendar

FIELDS = ("weights", "biases", "values", "mean", "square", "step", "updates", "batches", "given", "velocity")

# Of asynchronous BP, from the first update on, where the next batch is t: ``under_way``, of each layer's values x[l],
# l = 1 … L - 1, the values in the batches t … t + 2(L-l) - 1; ``stashed``, of each layer but the last its weights for
# the batches t … t + 2(L-1-l) - 1, then biases, where weights are stashed; ``before``, the weights before the last
# update, then biases, where they are used. (Rows of the data are drawn anew, as for every engine.)
FLIGHTS = ("under_way", "stashed", "before")

# Of local losses ``heads``; of direct feedback alignment ``feedback`` and ``under_way``, of each layer's values x[l],
# l = 1 … L - 1, those in the next L - l batches; of dual propagation ``dual``: means, differences, what was sent back.

MOST = 10**15  # steps, updates or batches: more than anybody waits for, and a number that compiled code can hold


def check_state(
    state: Any, network: Network, algorithm: Algorithm, calendar: Calendar | None, batch: int | None, begun: int
) -> None:
    """InputError unless an engine that has ``begun`` so many batches can go on from ``state``.

    ``calendar``: None for BP. ``batch``: rows of a batch, None if the engine does not know them yet.
    """
    if begun:
        raise InputError("restore needs a fresh engine, as batches cannot be taken back: this one has run already")
    if not isinstance(state, Mapping) or not all(key in state for key in FIELDS):
        raise InputError(f"a state must be a dict with the fields {', '.join(FIELDS)}, as state() gives it")
    sizes = network.sizes
    weights: list[tuple[int, ...]] = [layer.weight_shape for layer in network.layers]
    biases: list[tuple[int, ...]] = [shape[:1] for shape in weights]
    if (state["biases"] is None) != (network.biases is None):
        raise InputError("the state and the engine's net differ in whether there are biases")
    biases = [] if network.biases is None else biases
    heads = shapes_of_extras(HEADS, sizes) if isinstance(algorithm, Local) else []
    kept, moments = MOMENTS[algorithm.optimizer], [*weights, *biases, *heads]
    _check_arrays("weights", state["weights"], weights)
    _check_arrays("biases", state["biases"] or [], biases)
    if heads:
        _check_arrays("heads", state.get("heads", []), [*heads])
    _check_arrays("mean", state["mean"], moments if kept > 0 else [])
    _check_arrays("square", state["square"], moments if kept > 1 else [])
    for key in ("step", "updates", "batches"):
        if not is_whole(state[key], 0) or state[key] > MOST:
            raise InputError(f"{key} of a state must be a whole number from 0 to {MOST:,}, not {shown(state[key])}")
    if calendar and calendar.cycle and state["step"] >= calendar.cycle:
        raise InputError(f"step {state['step']} of the state is beyond the {calendar.cycle} steps of a batch")
    if not isinstance(state["given"], bool):
        raise InputError(f"given of a state must be True or False, not {shown(state['given'])}")
    # Before its first run an engine may have no values: the first batch gives them.
    if len(_listed("values", state["values"])) or state["step"] or state["given"]:
        rows = batch if batch is not None else len(_array("values[0]", state["values"][0])) if state["values"] else 0
        _check_arrays("values", state["values"], [(rows, units) for units in sizes])
        momentum = isinstance(algorithm, PredictiveCoding) and algorithm.value_momentum > 0
        if len(_listed("velocity", state["velocity"])) or (momentum and state["step"]):
            _check_arrays("velocity", state["velocity"], [(rows, units) for units in sizes[1:-1] if momentum])

    if isinstance(algorithm, AsyncBP):
        _check_flights(state, network, algorithm)
    if isinstance(algorithm, DFA):
        _check_feedback(state, network)
    if isinstance(algorithm, DualProp):
        _check_dual(state, network)
    for k, values in enumerate(_listed("starts", state.get("starts", []))):  # of pipelined starts, from x[0] on
        if not 0 < len(_listed(f"starts[{k}]", values)) < len(sizes):
            raise InputError(f"starts[{k}] of the state has {len(values)} arrays; expected 1 to {len(sizes) - 1}")
        rows = len(_array("starts[0][0]", state["starts"][0][0]))
        _check_arrays(f"starts[{k}]", values, [(rows, units) for units in sizes[: len(values)]])


def _check_flights(state: Any, network: Network, algorithm: AsyncBP) -> None:
    """The same of what is in flight."""
    sizes, L, made = network.sizes, network.depth, state["updates"] > 0
    if made and not all(name in state for name in FLIGHTS):
        raise InputError(f"a state of asynchronous BP has the batches under way: {', '.join(FLIGHTS)}")
    expected = made * (state["updates"] * algorithm.accumulate + 2 * (L - 1))
    if state["batches"] != expected:
        raise InputError(f"{state['batches']} batches of the state are not the {expected} of its updates")
    rows = len(_array("values[0]", state["values"][0])) if made and state["values"] else 0
    weights: list[tuple[int, ...]] = [(above, below) for below, above in itertools.pairwise(sizes)]
    parts = weights if network.biases is None else weights + [shape[:1] for shape in weights]
    kept = [(algorithm.lag(i % L, L), *shape) for i, shape in enumerate(parts) if i % L < L - 1]
    shapes: dict[str, list[tuple[int, ...]]] = {
        "under_way": [(2 * (L - l), rows, sizes[l]) for l in range(1, L)],
        "stashed": kept if algorithm.weights == "stashed" else [],
        "before": parts if algorithm.keeps_before else [],
    }
    for name in FLIGHTS:
        _check_arrays(name, state.get(name, []), shapes[name] if made else [])


def _check_feedback(state: Any, network: Network) -> None:
    """The same of direct feedback alignment: its matrices, and the batches under way."""
    sizes, L, made = network.sizes, network.depth, state["updates"]
    _check_arrays("feedback", state.get("feedback", []), [*shapes_of_extras(FEEDBACK, sizes)])
    expected = made + L - 1 if made else 0
    if state["batches"] != expected:
        raise InputError(f"{state['batches']} batches of the state are not the {expected} of its updates")
    rows = len(_array("values[0]", state["values"][0])) if made and state["values"] else 0
    _check_arrays("under_way", state.get("under_way", []), [(L - l, rows, sizes[l]) for l in range(1, L) if made])


def _check_dual(state: Any, network: Network) -> None:
    """The same of dual propagation: what each layer keeps on a batch."""
    sizes, given = network.sizes, _listed("dual", state.get("dual", []))
    if not given and not state["step"]:
        return
    rows = len(_array("values[0]", state["values"][0])) if state["values"] else 0
    _check_arrays("dual", given, [(rows, units) for units in (*sizes[:-1], *sizes, *sizes)])


def _listed(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{name} of a state must be a list of arrays, not {type(value).__name__}")
    return list(value)


def _array(name: str, value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or not value.ndim or np.ma.is_masked(value):
        raise InputError(f"{name} of a state must be an array of real numbers, not {shown(value)}")
    return value


def _check_arrays(name: str, given: Any, shapes: list[tuple[int, ...]]) -> None:
    arrays = _listed(name, given)
    if len(arrays) != len(shapes):
        raise InputError(f"{name} of the state has {len(arrays)} arrays; expected {len(shapes)}")
    for l, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
        found = _array(f"{name}[{l}]", array).shape
        if found != shape:
            raise InputError(f"{name}[{l}] of the state has shape {found}; expected {shape}")
