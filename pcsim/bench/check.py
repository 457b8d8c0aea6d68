"""A contender held against the oracle before it is timed, and against itself on one worker, step by step."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..algorithms import Algorithm, PredictiveCoding
from ..algorithms.rates import per_step
from ..engines.numpy import NumpyEngine
from ..schedule.waves import LONGEST_WAVE
from .build import build
from .case import Case
from .contenders import Contender
from .oracle import hold_values, hold_weights

ALPHA = 1e-3  # divided by the batch: a rate at which two updates show

# Weights and values by what left them: an algorithm's oracle, or (True) its engine on one worker.
References = dict[tuple[Algorithm, bool], tuple[list[np.ndarray], list[np.ndarray]]]


def check(case: Case, contender: Contender, known: References) -> None:
    """ArithmeticError unless two updates leave the oracle's weights and values, but for rounding, and further ones the
    very bits of one worker that takes steps one by one.

    They begin with random values, so that every layer has an error. ``known`` keeps what this cell's contenders are
    held against.
    """
    algorithm = replace(contender.algorithm, alpha=ALPHA / case.batch)
    net, x, y = case.problem()
    values = None
    grows = _rounding_grows(algorithm, case.depth)
    if not (algorithm.chained or grows):
        rng = np.random.default_rng(case.seed + 2)
        values = [rng.normal(size=(case.batch, n)).astype(case.dtype) for n in net.sizes]
    if (algorithm, False) not in known:
        rows = np.arange(case.batch)
        oracle = NumpyEngine(net, algorithm, x, y, lambda: rows, values=values)
        oracle.run(2)
        known[algorithm, False] = list(oracle.network.weights), oracle.values
    if contender.backend == "numpy":
        return
    engine = build(case, replace(contender, algorithm=algorithm), values=values)
    try:
        engine.run(2)
        weights, last = known[algorithm, False]
        hold_weights(engine.network.weights, weights, net.weights, "two")
        if not grows:  # else the last values hold grown rounding, too; nothing is made of them
            hold_values(engine.values, last, "two")
        if not algorithm.chained:
            _hold_one_by_one(engine, case, algorithm, known, values)
    finally:
        if contender.ranks:
            engine.close()


def _rounding_grows(algorithm: Algorithm, depth: int) -> bool:
    """Whether rounding grows from layer to layer, as in Z-IL with its gamma of 1: such values must start from a forward
    pass, where there is no error to be rounded. Endless ones are held against the oracle after two updates."""
    rate = max(per_step(algorithm.gamma)) if isinstance(algorithm, PredictiveCoding) else 0.0
    return rate >= 1 and not algorithm.calendar(depth).endless


def _hold_one_by_one(
    engine: Any, case: Case, algorithm: Algorithm, known: References, values: list[np.ndarray] | None
) -> None:
    """After two updates: as many steps as fill two waves and more."""
    further = math.ceil((2 * LONGEST_WAVE + 1) / algorithm.calendar(case.depth).steps_per_update)
    plain = algorithm, True
    if plain not in known:
        alone = build(case, Contender(algorithm, "serial", 1), values=values, wave=1)
        alone.run(2)
        alone.run(further)
        known[plain] = list(alone.network.weights), alone.values
    engine.run(further)
    weights, last = known[plain]
    for mine, its in zip([*engine.network.weights, *engine.values], [*weights, *last], strict=True):
        if not np.array_equal(mine, its, equal_nan=True):
            raise ArithmeticError("several steps in a wave, or several workers, differ from one by one")
