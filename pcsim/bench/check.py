"""A contender held against the oracle before it is timed, and against itself on one worker, step by step."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..algorithms import Algorithm, PredictiveCoding
from ..algorithms.predictive_coding import SHARED
from ..algorithms.rates import per_step
from ..engines.numpy import NumpyEngine
from ..schedule.waves import LONGEST_WAVE
from .build import batches_of, build
from .case import Case
from .contenders import Contender
from .oracle import hold_values, hold_weights

MOST_CHECKED = 17  # updates: more take too long, and rounding too far

ALPHA = 1e-3  # divided by the batch: a rate at which two updates show

# Weights and values by what left them: an algorithm's oracle, or (True) its engine on one worker.
References = dict[tuple[Algorithm, bool], tuple[list[np.ndarray], list[np.ndarray]]]


def check(case: Case, contender: Contender, known: References) -> None:
    """ArithmeticError unless two updates, or those on a batch and one more, leave the oracle's weights and values, but
    for rounding, and further ones the very bits of one worker that takes steps one by one.

    They begin with random values, so that every layer has an error. ``known`` keeps what this cell's contenders are
    held against.
    """
    algorithm = replace(contender.algorithm, alpha=ALPHA / case.batch)
    net, x, y = case.problem()
    values, changing, several = None, batches_of(case, contender), updates_checked(case)
    grows = _rounding_grows(algorithm, case.depth)
    if isinstance(algorithm, PredictiveCoding) and not grows:
        rng = np.random.default_rng(case.seed + 2)
        values = [rng.normal(size=(case.batch, n)).astype(case.dtype) for n in net.sizes]
    if (algorithm, False) not in known:
        oracle = NumpyEngine(net, algorithm, x, y, case.batches(), values=values, **changing)
        oracle.run(several)
        known[algorithm, False] = list(oracle.network.weights), oracle.values
    if contender.backend == "numpy":
        return
    engine = build(case, replace(contender, algorithm=algorithm), values=values)
    try:
        engine.run(several)
        weights, last = known[algorithm, False]
        hold_weights(engine.network.weights, weights, net.weights, str(several), algorithm.optimizer)
        if not grows:  # else the last values hold grown rounding, too; nothing is made of them
            hold_values(engine.values, last, str(several))
        if algorithm.layered and contender.execution not in SHARED:  # there sums are split
            _hold_one_by_one(engine, case, algorithm, known, values, several)
    finally:
        if contender.ranks:
            engine.close()


def updates_checked(case: Case) -> int:
    """How many updates are held against the oracle: two, or as many as reach a second batch, if these are few."""
    return case.steps_per_batch + 1 if case.steps_per_batch and case.steps_per_batch < MOST_CHECKED else 2


def _rounding_grows(algorithm: Algorithm, depth: int) -> bool:
    """Whether rounding grows from layer to layer, as in Z-IL with its gamma of 1: such values must start from a forward
    pass, where there is no error to be rounded. Endless ones are held against the oracle after two updates."""
    rate = max(per_step(algorithm.gamma)) if isinstance(algorithm, PredictiveCoding) else 0.0
    return rate >= 1 and not algorithm.calendar(depth).endless


def _hold_one_by_one(
    engine: Any, case: Case, algorithm: Algorithm, known: References, values: list[np.ndarray] | None, several: int
) -> None:
    """After so many updates: as many steps as fill two waves and more."""
    further = math.ceil((2 * LONGEST_WAVE + 1) / algorithm.calendar(case.depth).steps_per_update)
    plain = algorithm, True
    if plain not in known:
        alone = build(case, Contender(algorithm, "serial", 1), values=values, wave=1)
        alone.run(several)
        alone.run(further)
        known[plain] = list(alone.network.weights), alone.values
    engine.run(further)
    weights, last = known[plain]
    for mine, its in zip([*engine.network.weights, *engine.values], [*weights, *last], strict=True):
        if not np.array_equal(mine, its, equal_nan=True):
            raise ArithmeticError("several steps in a wave, or several workers, differ from one by one")
