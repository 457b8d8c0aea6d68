"""When, on a batch, layers predict, values move and weights update: the one place where an algorithm says it.

Everything else follows from a calendar: the task graph and its counts, messages and bytes, the passes of the engines,
the plan of the simulator. Nothing here knows nets, engines or machines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import InputError


@dataclass(frozen=True)
class Stage:
    """One inference step, in which everything is computed from the values and weights with which it begins.

    predict: all predictions are made, and with them the errors; move: the hidden layers' values move along their
    errors; update: the l of each ``W[l]`` that updates from these errors; completes: with this step a weight update is
    complete, in which every layer has updated.
    """

    predict: bool = True
    move: bool = True
    update: tuple[int, ...] = ()
    completes: bool = False


@dataclass(frozen=True)
class Calendar:
    """The stages of an algorithm on one batch, which begin with a forward start.

    stages: in this order; repeats: how many rounds of them are made on a batch, each from the values that the one
    before has left (None: for ever); chained: within a stage the layers wait for one another, upwards for the
    predictions and downwards for the errors, as in backprop (values do not move then, and there is no other start).
    """

    stages: tuple[Stage, ...]
    repeats: int | None = 1
    chained: bool = False

    @property
    def endless(self) -> bool:
        """Whether it stays on its first batch for ever."""
        return self.repeats is None

    @property
    def cycle(self) -> int:
        """Steps from one forward start to the next; 0 for no other."""
        return len(self.stages) * (self.repeats or 0)

    @cached_property
    def moves(self) -> np.ndarray:
        """Of each stage, whether values move: bool, (S,)."""
        return np.array([stage.move for stage in self.stages])

    @cached_property
    def completed(self) -> np.ndarray:
        """How many weight updates are complete before each stage of a round, and after the last: int, (S + 1,)."""
        return np.concatenate([[0], np.cumsum([stage.completes for stage in self.stages])])

    def updates(self, depth: int) -> np.ndarray:
        """Of each stage and layer, whether ``W[l]`` updates: bool, (S, depth)."""
        found = np.zeros((len(self.stages), depth), np.bool_)
        for row, stage in zip(found, self.stages, strict=True):
            row[list(stage.update)] = True
        return found

    def steps(self, updates: int, position: int = 0) -> int:
        """Steps until so many more weight updates are complete, from a stage of the round on."""
        round_, rest = divmod(int(self.completed[position]) + updates, int(self.completed[-1]))
        last = int(np.searchsorted(self.completed, rest)) if rest else 0
        return round_ * len(self.stages) + last - position

    def check(self, depth: int) -> None:
        """InputError, in one line, for a calendar that breaks a rule in a net of that depth."""
        _check_stages(self.stages, depth)
        if self.repeats is not None and (isinstance(self.repeats, bool) or self.repeats < 1):
            raise InputError(f"a calendar repeats 1 time or more, or for ever (None), not {self.repeats!r}")
        if self.chained:
            if any(stage.move for stage in self.stages) or len(self.stages) > 1 or self.repeats != 1:
                raise InputError("a chained calendar has one stage, which moves no values, and a batch for each round")
            return
        if self.repeats is not None:
            _check_reach(self.stages, self.repeats, depth)


def _check_stages(stages: Sequence[Stage], depth: int) -> None:
    """What holds of the stages of every calendar."""
    if not stages:
        raise InputError("a calendar needs at least one stage")
    waiting: set[int] = set(range(depth))
    for number, stage in enumerate(stages):
        unknown = [l for l in stage.update if not 0 <= l < depth]
        if unknown:
            raise InputError(f"stage {number} updates W[{unknown[0]}], but the net has W[0] to W[{depth - 1}]")
        if len(set(stage.update)) < len(stage.update):
            raise InputError(f"stage {number} updates a layer twice")
        if not stage.predict and (stage.move or stage.update):
            what = f"W[{min(stage.update)}]" if stage.update else "the values"
            raise InputError(f"stage {number} updates {what} before the error is known: it does not predict")
        waiting -= set(stage.update)
        if stage.completes:
            if waiting:
                raise InputError(f"stage {number} completes a weight update in which W[{min(waiting)}] was not updated")
            waiting = set(range(depth))
    if not any(stage.completes for stage in stages):
        raise InputError("no stage completes a weight update")
    if len(waiting) < depth:
        l = min(set(range(depth)) - waiting)
        raise InputError(f"W[{l}] updates after the last weight update of the round is complete")


def _check_reach(stages: Sequence[Stage], repeats: int, depth: int) -> None:
    """From a forward start the output's error comes down one layer each time that values move. A layer must not update
    only before that, where the batch lasts until then: it would never learn."""
    first, last = np.full(depth, -1), np.full(depth, -1)  # when the error is known, and the last update
    below, step = depth - 1, 0
    for _ in range(min(repeats, depth)):
        for stage in stages:
            if stage.predict and below >= 0:
                known = np.arange(depth) >= below
                first[known & (first < 0)] = step
            last[list(stage.update)] = step
            below -= stage.move
            step += 1
    late = np.flatnonzero((first >= 0) & (last < first))
    if late.size and repeats <= depth:
        l = int(late[-1])
        raise InputError(
            f"W[{l}] updates for the last time at step {last[l]} of a batch,"
            f" before its error is known at step {first[l]}"
        )
