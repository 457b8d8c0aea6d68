"""A training under way: an engine driven from one moment to the next at which somebody looks, saves or stops."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engines import Engine
from ..host.mpi import from_root, on_root, world
from ..net.network import Network
from . import checkpoints
from .evaluation import Evaluations, Rows
from .run import Progress, Run

Array = np.ndarray

AT_ONCE = 1.0  # seconds of training, roughly, after which a divergence is noticed and progress shown


def forward_loss(network: Network, x: Array, y: Array) -> float:
    """The loss of an ordinary forward pass, a sum over the rows; infinite or NaN where the net has diverged."""
    with np.errstate(all="ignore"):
        return network.loss.loss(network.forward(x)[-1], y)


class Inspector:
    """What is asked of a net between updates; an engine whose layers are on several ranks answers it itself.

    looked_at: whether anybody looks at net and values before the end.
    """

    def __init__(self, engine: Engine, x: Array, y: Array, looked_at: bool) -> None:
        self.engine, self.x, self.y, self.looked_at = engine, x, y, looked_at

    def now(self, recorded: bool) -> tuple[tuple[Network, list[Array]] | None, float]:
        """Copies of net and values, if looked at, and the loss, if recorded."""
        network = self.engine.network if self.looked_at else None
        loss = 0.0
        if recorded and hasattr(self.engine, "loss"):
            loss = self.engine.loss()
        elif recorded:
            loss = forward_loss(network or self.engine.network, self.x, self.y)
        return (None if network is None else (network, self.engine.values)), loss

    def finite(self) -> bool:
        """Whether all weights are numbers."""
        if hasattr(self.engine, "finite"):
            return bool(self.engine.finite())
        return all(np.isfinite(w).all() for w in self.engine.network.weights)


@dataclass
class Plan:
    """When what happens, in weight updates: ``updates`` in all, and between two records, evaluations, checkpoints (0:
    never). ``patience``: evaluations without a lower validation loss after which the training ends (None: none does);
    ``until_accuracy``: the validation accuracy at which it does.
    """

    updates: int
    record_every: int
    evaluate_every: int = 0
    checkpoint_every: int = 0
    until_loss: float | None = None
    patience: int | None = None
    trace: bool = False
    until_accuracy: float | None = None

    def next_stop(self, at: int) -> int:
        """The first number of updates after ``at`` at which something is due."""
        cadences = (self.record_every, self.evaluate_every, self.checkpoint_every)
        return min([self.updates, *(at - at % every + every for every in cadences if every)])


class Session:
    """A run on its way through a plan.

    keep: writes a checkpoint of the parts it is given. on_ranks: whether all ranks drive at once; of these rank 0 looks
    at what is held out.
    """

    def __init__(
        self,
        run: Run,
        engine: Engine,
        net: Inspector,
        plan: Plan,
        *,
        validation: Rows | None = None,
        test: Rows | None = None,
        keep: Callable[[dict[str, dict[str, Any]]], None] | None = None,
        on_record: Callable[[Run], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_ranks: bool = False,
    ) -> None:
        self.run, self.engine, self.net, self.plan = run, engine, net, plan
        self.validation, self.test, self.keep, self.on_ranks = validation, test, keep, on_ranks
        self.validates = validation is not None
        if on_ranks:
            self.validates = from_root(world().COMM_WORLD, self.validates)
        self.on_record, self.on_progress = on_record, on_progress
        self.pace = 1  # updates that take no longer than AT_ONCE

    def go(self) -> None:
        """To the end of the plan, or of the patience, or to divergence."""
        run, plan, engine = self.run, self.plan, self.engine
        recorded = plan.record_every > 0
        begun = run.updates
        progress = Progress(run.updates, plan.updates, None, run.evaluations, first=run.updates)
        _, loss = self.net.now(recorded and run.updates < plan.updates)
        while run.updates < plan.updates and not run.stopped_early:
            at, stop = run.updates, plan.next_stop(run.updates)
            chunk = stop - at if plan.trace else min(stop - at, self.pace)
            after = at + chunk
            seconds, first_energy = engine.run(chunk, trace=plan.trace)
            self._adapt(chunk, seconds)
            at_record = recorded and at % plan.record_every == 0
            record_ends = recorded and (after % plan.record_every == 0 or after == plan.updates)
            broken = self._broken(at, [first_energy, loss] if at_record else [first_energy])
            copies, later = self.net.now(record_ends)
            # An interrupt finds a run that is whole: nothing that takes time lies between these lines.
            run.network, run.values = copies or (run.network, run.values)
            if at_record:
                run.recorded.append(at)
                run.energy.append(first_energy)
                run.loss.append(loss)
                run.recorded_seconds.append(run.seconds)
            run.updates = after
            run.seconds += seconds
            run.timeline = engine.timeline if plan.trace else None
            run.diverged = broken
            run.final_loss = later if record_ends and broken is None else None
            if self.on_record and recorded and (record_ends or broken is not None):
                self.on_record(run)
            if broken is not None:
                break
            if record_ends and plan.until_loss is not None and run.loss[-1] <= plan.until_loss:
                break
            loss = later if record_ends else loss
            self._evaluate()
            self._save()
            if at == begun:  # compilation says nothing about the pace
                progress.began, progress.first = time.monotonic(), run.updates
            if self.on_progress:
                progress.updates, progress.loss = run.updates, run.loss[-1] if run.loss else None
                self.on_progress(progress)
        # What came after the last record is seen in the weights alone.
        if run.diverged is None and not self.net.finite():
            run.diverged = run.updates
            if self.on_record and recorded:
                self.on_record(run)

    def _adapt(self, updates: int, seconds: float) -> None:
        """As many updates at a time as take half of ``AT_ONCE``, by the last ones: short runs cannot be in waves."""
        if updates == self.pace and seconds < AT_ONCE / 4:
            self.pace *= int(AT_ONCE / 2 / max(seconds, 1e-6))

    def _broken(self, at: int, seen: list[float]) -> int | None:
        """The update in which numbers were not finite, of those since ``at`` and of what was seen there."""
        found = [number for number in [getattr(self.engine, "diverged", None)] if number is not None]
        found += [] if all(map(math.isfinite, seen)) else [at]
        return min(found) if found else None

    def _evaluate(self) -> None:
        run, plan = self.run, self.plan
        ends = run.updates == plan.updates
        if not plan.evaluate_every or (run.updates % plan.evaluate_every and not ends):
            return
        network, found = self.engine.network, []
        if not self.on_ranks or world().COMM_WORLD.rank == 0:
            found = run.evaluations.look(network, self.validation, self.test)
        if self.on_ranks:
            found = from_root(world().COMM_WORLD, found)
        better = run.evaluations.add(run.updates, run.seconds, found, self.validates)
        if better and plan.patience is not None:
            run.best = network
        goal = plan.until_accuracy
        reached = goal is not None and run.evaluations.validation_accuracy[-1] >= goal
        run.stopped_early = reached or run.evaluations.exhausted(plan.patience)

    def _save(self) -> None:
        run, plan = self.run, self.plan
        ends = run.updates == plan.updates or run.stopped_early
        if self.keep and plan.checkpoint_every and (ends or run.updates % plan.checkpoint_every == 0):
            state = self.engine.state()
            self.keep({"state": state, "run": run_to_parts(run)})


def run_to_parts(run: Run) -> dict[str, Any]:
    """What of a run, beside its engine's state, a checkpoint keeps."""
    best = run.best
    return {
        **{name: getattr(run, name) for name in ("updates", "seconds", "recorded", "energy", "loss")},
        "recorded_seconds": run.recorded_seconds,
        "stopped_early": run.stopped_early,
        "final_loss": run.final_loss,
        "evaluations": vars(run.evaluations),
        "best_weights": [] if best is None else list(best.weights),
        "best_biases": [] if best is None else list(best.biases or []),
    }


def run_from_parts(run: Run, parts: dict[str, Any], network: Network) -> None:
    """Put what a checkpoint keeps back into a run."""
    for name in parts.keys() - {"evaluations", "best_weights", "best_biases"}:
        setattr(run, name, parts[name])
    run.evaluations = Evaluations(**parts["evaluations"])
    if parts["best_weights"]:
        run.best = network.replace(parts["best_weights"], parts["best_biases"] or None)


def keeper(file: Any, facts: dict[str, Any], on_ranks: bool) -> Callable[[dict[str, dict[str, Any]]], None]:
    """Writes checkpoints into a file; on ranks the first does."""

    def keep(parts: dict[str, dict[str, Any]]) -> None:
        if on_ranks:
            on_root(world().COMM_WORLD, lambda: checkpoints.write(file, facts, parts))
        else:
            checkpoints.write(file, facts, parts)

    return keep
