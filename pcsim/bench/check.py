"""A contender held against the oracle before it is timed, and against itself on one worker, step by step."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..algorithms import BP, IPC, PC, ZIL, Algorithm
from ..engines.numpy import NumpyEngine
from ..schedule.waves import LONGEST_WAVE
from .build import build
from .case import Case
from .contenders import Contender
from .oracle import hold_values, hold_weights

ALPHA = 1e-3  # divided by the batch: a rate at which two updates show

# Weights and values by what left them: an algorithm's oracle, or its engine on one worker.
References = dict[str, tuple[list[np.ndarray], list[np.ndarray]]]


def check(case: Case, contender: Contender, known: References) -> None:
    """ArithmeticError unless two updates leave the oracle's weights and values, but for rounding, and further ones the
    very bits of one worker that takes steps one by one.

    They begin with random values, so that every layer has an error. ``known`` keeps what this cell's contenders are
    held against.
    """
    algorithm = replace(contender.algorithm, alpha=ALPHA / case.batch)
    net, x, y = case.problem()
    values = None
    # Not Z-IL, whose gamma of 1 makes rounding grow from layer to layer: its start is the forward pass.
    if isinstance(algorithm, PC | IPC):
        rng = np.random.default_rng(case.seed + 2)
        values = [rng.normal(size=(case.batch, n)).astype(case.dtype) for n in net.sizes]
    if algorithm.name not in known:
        rows = np.arange(case.batch)
        oracle = NumpyEngine(net, algorithm, x, y, lambda: rows, values=values)
        oracle.run(2)
        known[algorithm.name] = list(oracle.network.weights), oracle.values
    if contender.backend == "numpy":
        return
    engine = build(case, replace(contender, algorithm=algorithm), values=values)
    try:
        engine.run(2)
        weights, last = known[algorithm.name]
        hold_weights(engine.network.weights, weights, net.weights, "two")
        if not isinstance(algorithm, ZIL):  # its last values, again, hold grown rounding; nothing is made of them
            hold_values(engine.values, last, "two")
        if not isinstance(algorithm, BP):
            _hold_one_by_one(engine, case, algorithm, known, values)
    finally:
        if contender.ranks:
            engine.close()


def _hold_one_by_one(
    engine: Any, case: Case, algorithm: Algorithm, known: References, values: list[np.ndarray] | None
) -> None:
    """After two updates: as many steps as fill two waves and more."""
    further = -(-(2 * LONGEST_WAVE + 1) // engine.steps_per_update)
    plain = f"{algorithm.name}, one by one"
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
