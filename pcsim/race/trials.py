"""One trial: a training with its settings from a seed, until the last goal, the end of the budget, or divergence."""

import gc
import math
from collections.abc import Callable, Sequence
from typing import Any

from ..training.lbfgs import train_lbfgs
from ..training.run import Progress, Run
from ..training.train import train
from .contenders import LBFGS, Contender
from .costs import cost_of_update
from .problems import Problem


def run_trial(
    problem: Problem,
    contender: Contender,
    settings: dict[str, Any],
    seed: int,
    goals: Sequence[float],
    backend: str = "threads",
    on_progress: Callable[[Progress], None] | None = None,
    tested: bool = False,
) -> dict[str, Any]:
    """A row: settings, seed, what an update costs, and the score whenever somebody looked.

    ``updates`` and ``score`` are lists of the same length, ``test`` too, if ``tested``: an accuracy on rows held out
    (on test rows), or the training loss for each row. It ends when the last of ``goals`` is reached; without goals when
    the budget is used up. Nothing of the test rows is looked at before a race is decided.
    """
    algorithm, rows = contender.made(settings), problem.rows
    cost = cost_of_update(algorithm, problem, settings)
    updates = max(1, int(problem.most * settings.get("horizon", 1.0) / cost["samples"]))
    options: dict[str, Any] = {
        name: settings[name]
        for name in ("batch_size", "steps_per_batch", "repeat", "schedule", "start")
        if name in settings
    }
    last = goals[-1] if goals else None
    by_loss = problem.goal == "loss"
    if by_loss:
        options |= {"record_every": 1, "until_loss": None if last is None else last * len(rows.x)}
    else:
        visit = max(1, round((settings.get("batch_size") or len(rows.x)) / cost["samples"]))  # updates on a batch
        look = max(1, round(problem.look / (cost["samples"] * visit))) * visit
        options |= {"record_every": 0, "validation": rows.validation, "until_accuracy": last, "evaluate_every": look}
        options |= {"test": rows.test} if tested else {}
    if settings.get("solver") == LBFGS:  # an update is an evaluation of loss and gradient
        run = train_lbfgs(
            problem.net(seed), rows.x, rows.y, evaluations=updates, memory=settings["memory"],
            until_loss=options["until_loss"], blas=None if backend == "numpy" else 1, on_progress=on_progress,
        )  # fmt: skip
    else:
        run = train(
            problem.net(seed), algorithm, rows.x, rows.y, updates=updates, seed=seed, backend=backend, workers=1,
            on_progress=on_progress, **options,
        )  # fmt: skip
    found = {
        "contender": contender.name, "settings": settings, "seed": seed, "cost": cost, **_seen(run, problem, tested),
        "diverged": run.diverged, "training_seconds": run.seconds,
    }  # fmt: skip
    # An engine and its parts refer to one another: its copy of the rows would stay until Python looks for such things.
    gc.collect()
    return found


def _seen(run: Run, problem: Problem, tested: bool) -> dict[str, Any]:
    """What was looked at, None for what is no number."""
    if problem.goal == "loss":
        at = [*run.recorded, *([run.updates] if run.final_loss is not None else [])]
        losses = [*run.loss, *([run.final_loss] if run.final_loss is not None else [])]
        return {"updates": at, "score": [_number(loss / len(problem.rows.x)) for loss in losses]}
    found = run.evaluations
    seen = {"updates": list(found.updates), "score": [_number(value) for value in found.validation_accuracy]}
    return seen | ({"test": [_number(value) for value in found.test_accuracy]} if tested else {})


def _number(value: float) -> float | None:
    """Six digits of it, so that files of many trials stay small."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
