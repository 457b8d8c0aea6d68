"""Checks for algorithms from outside the package, to be called from their own tests.

Nothing here knows of any algorithm: what is right follows from its calendar.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .algorithms import Algorithm, PredictiveCoding
from .algorithms.rates import per_step
from .algorithms.registry import check_class
from .checks import whole_number
from .engines import make_engine
from .errors import InputError
from .net.network import Network

WIDTHS = (5, 7, 3, 9)  # of layers, in turn: none fills a vector of a processor

WIDE, DEEP, LONG = 64, 9, 100  # width and depth of a net, and updates, in which a worker that does not wait gets ahead

ROWS, BATCH = 7, 3

TOLERANCE = 1e-9  # of changes of weights, and of values, relative, in float64

Arrays = list[np.ndarray]


def check_algorithm(algorithm: Algorithm, depth: int = 4, workers: Sequence[int] = (1, 2, 3)) -> None:
    """AssertionError, in one line, unless pcsim executes ``algorithm`` as its calendar says, in nets of 1 to ``depth``
    layers.

    Held against one another, in float64: threads and the NumPy oracle, after each of several weight updates, on a full
    batch and on mini-batches, from a forward start and, where values relax, from others; the bits that each number of
    ``workers`` leaves (those above a net's depth are left out; of BP there is one), also after many updates of a wider
    net; and the order of a recorded run and the task graph, of which all counts come.
    """
    if isinstance(algorithm, type):
        raise AssertionError(f"give an algorithm, such as {algorithm.__name__}(), not its class")
    try:
        check_class(type(algorithm))
        counts = sorted({1, *(whole_number("workers", count) for count in workers)})
        for layers in sorted({1, 2, whole_number("depth", depth)}):
            _check_net(algorithm, layers, [1] if algorithm.chained else [count for count in counts if count <= layers])
        if not algorithm.chained:
            _check_long(algorithm, [count for count in counts if count <= DEEP])
    except InputError as error:
        raise AssertionError(f"{type(algorithm).__name__}: {error}") from error


def _check_net(algorithm: Algorithm, depth: int, workers: Sequence[int]) -> None:
    where = f"{algorithm.title}, {depth} layers"
    calendar = algorithm.checked_calendar(depth)
    updates = calendar.period_updates + 1
    sizes = [WIDTHS[l % len(WIDTHS)] for l in range(depth + 1)]
    net = Network.mlp(sizes, seed=depth, dtype=np.float64, bias=True)
    rng = np.random.default_rng(depth)
    x, y = rng.normal(size=(ROWS, sizes[0])), rng.normal(size=(ROWS, sizes[-1]))

    def make(backend: str, batch: int, **options: Any) -> Any:
        return make_engine(backend, net, algorithm, x, y, _rows(batch), **options)

    starts: list[tuple[str, int, dict[str, Any]]] = [("full batch", ROWS, {})]
    if not algorithm.chained and (calendar.endless or _gamma(algorithm) < 1):  # rounding of such values does not grow
        values = [rng.normal(size=(ROWS, n)) for n in sizes]
        starts.append(("values of their own", ROWS, {"values": values}))
    # An algorithm that would stay on a batch for ever is made to leave it.
    short: dict[str, Any] = {"steps_per_batch": 2} if calendar.endless else {}
    if not algorithm.checked_calendar(depth, **short).endless:
        starts.append(("mini-batches", BATCH, short))
    elif short:
        raise AssertionError(f"{where}: leaves steps_per_batch alone, and so stays on its first batch for ever")
    for start, batch, options in starts:
        oracle = make("numpy", batch, **options)
        engines = [make("threads", batch, workers=count, **options) for count in workers]
        for number in range(1, updates + 1):
            for engine in [oracle, *engines]:
                engine.run(1)
            moment = f"{where}, {start}, after {number} of its weight updates"
            _hold(engines[0], oracle, net, moment)
            for count, engine in zip(workers, engines, strict=True):
                if not all(map(_same, _arrays(engine), _arrays(engines[0]))):
                    raise AssertionError(f"{moment}: {count} workers leave other bits than {workers[0]}")
    graph = algorithm.tasks(depth, updates)
    for count in workers:
        engine = make("threads", ROWS, workers=count)
        engine.run(updates, trace=True)
        for fault in engine.timeline.violations(graph):
            raise AssertionError(f"{where}, {count} workers: against the task graph, {fault}")


def _check_long(algorithm: Algorithm, workers: Sequence[int]) -> None:
    """A worker that does not wait for its neighbours is found out when many steps follow one another."""
    net = Network.mlp([WIDE] * (DEEP + 1), bias=True, seed=0)
    x, y = np.random.default_rng(0).normal(size=(2, 1, WIDE))
    left: list[Arrays] = []
    for count in workers:
        engine = make_engine("threads", net, algorithm, x, y, lambda: np.zeros(1, np.intp), workers=count)
        with np.errstate(all="ignore"):  # with a large rate it may diverge: in the same bits
            engine.run(LONG)
        left.append(_arrays(engine))
        if not all(map(_same, left[-1], left[0])):
            where = f"{algorithm.title}, {DEEP} layers of {WIDE} units, after {LONG} weight updates"
            raise AssertionError(f"{where}: {count} workers leave other bits than {workers[0]}")


def _gamma(algorithm: Algorithm) -> float:
    return max(per_step(algorithm.gamma)) if isinstance(algorithm, PredictiveCoding) else 0.0


def _rows(batch: int) -> Callable[[], np.ndarray]:
    """The rows of one batch after another, alike for every engine."""

    def endless() -> Iterator[np.ndarray]:
        begin = 0
        while True:
            yield (np.arange(batch) + begin) % ROWS
            begin += batch

    return endless().__next__


def _arrays(engine: Any) -> Arrays:
    net = engine.network
    return [*net.weights, *net.biases, *engine.values]


def _same(mine: np.ndarray, its: np.ndarray) -> bool:
    return np.array_equal(mine, its, equal_nan=True)


def _hold(engine: Any, oracle: Any, net: Network, moment: str) -> None:
    """Weights by how much they have changed, values by how large they are."""
    mine, its = engine.network, oracle.network
    for name, left, right, before in (
        ("W", mine.weights, its.weights, net.weights),
        ("bias", mine.biases or [], its.biases or [], net.biases or []),
        ("x", engine.values, oracle.values, [np.zeros_like(x) for x in oracle.values]),
    ):
        for l, (a, b, start) in enumerate(zip(left, right, before, strict=True)):
            allowed = TOLERANCE * np.max(np.abs(b - start)) + 4 * np.finfo(b.dtype).eps * np.max(np.abs(b))
            if not np.max(np.abs(a - b)) <= allowed:
                raise AssertionError(f"{moment}: threads and the NumPy oracle differ in {name}[{l}]")
