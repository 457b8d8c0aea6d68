"""When, on a batch, layers predict, values move and weights update: the one place where an algorithm says it.

Everything else follows from a calendar: the task graph and its counts, messages and bytes, the passes of the engines,
the plan of the simulator. Nothing here knows nets, engines or machines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from ..checks import is_whole, shown
from ..errors import InputError

STARTS = ("forward", "pipelined")  # where the values of a new batch come from

# Where the error of a hidden layer comes from, in an overlapped calendar: the layer above, a head of its own, or the
# output's error and a fixed matrix.
FROM_ABOVE, FROM_HEADS, FROM_OUTPUT = "above", "heads", "output"
ERRORS = (FROM_ABOVE, FROM_HEADS, FROM_OUTPUT)


@dataclass(frozen=True)
class Stage:
    """One inference step, in which everything is computed from the values and weights with which it begins.

    predict: all predictions are made, and with them the errors; move: the hidden layers' values move along their
    errors; update: the l of each ``W[l]`` that updates from these errors; completes: with this step a weight update is
    complete, in which every layer has updated. parity: of dual propagation, a half sweep: the layers whose number has
    it (0 or 1) move, the output too, from neighbours that rest, and ``W[l]`` updates from what x[l+1] then is.
    """

    predict: bool = True
    move: bool = True
    update: tuple[int, ...] = ()
    completes: bool = False
    parity: int | None = None


@dataclass(frozen=True)
class Calendar:
    """The stages of an algorithm on one batch, which begin with a forward start.

    stages: in this order; repeats: how many rounds of them are made on a batch, each from the values that the one
    before has left (None: for ever); chained: within a stage the layers wait for one another, upwards for the
    predictions and downwards for the errors, as in backprop (values do not move then, and there is no other start);
    overlapped: chained, with a batch for each stage, of which each layer works on its own: in slot s layer l predicts
    for batch s - l and makes the rest for batch s - (2(L-1) - l), and a stage is one slot of all layers.
    errors: of an overlapped calendar, where they come from: the layer ``"above"``, as just said; a loss of its own, by
    ``"heads"``, and then a layer makes the rest for batch s - l too; or the ``"output"``, and all layers make the rest
    for batch s - (L-1).
    start: where the values of a batch come from, a forward pass when it begins ("forward"), or one that the batches
    before have made room for ("pipelined": ``W[l]`` predicts for it L - 1 - l steps before it begins).
    """

    stages: tuple[Stage, ...]
    repeats: int | None = 1
    chained: bool = False
    overlapped: bool = False
    start: str = "forward"
    errors: str = FROM_ABOVE

    @property
    def endless(self) -> bool:
        """Whether it stays on its first batch for ever."""
        return self.repeats is None

    @property
    def pipelined(self) -> bool:
        """Whether batches that are still to come start during the steps of those before."""
        return self.start == "pipelined"

    @property
    def swept(self) -> bool:
        """Whether its steps are half sweeps of dual propagation."""
        return any(stage.parity is not None for stage in self.stages)

    def lead(self, depth: int) -> int:
        """How many steps before a batch its start begins: in these ``W[0] … W[L-2]`` predict for it, one each."""
        return depth - 1 if self.pipelined else 0

    def late(self, l: int, depth: int) -> int:
        """Batches that layer l of an overlapped calendar predicts for between one of them and the update from it."""
        return {FROM_ABOVE: 2 * (depth - 1 - l), FROM_HEADS: 0, FROM_OUTPUT: depth - 1 - l}[self.errors]

    @property
    def cycle(self) -> int:
        """Steps from one forward start to the next; 0 for no other."""
        return len(self.stages) * (self.repeats or 0)

    @property
    def period(self) -> int:
        """Steps after which everything comes again, forward starts included."""
        return len(self.stages) * (self.repeats or 1)

    @property
    def period_updates(self) -> int:
        """Complete weight updates of a period."""
        return int(self.completed[-1]) * (self.repeats or 1)

    @property
    def waits(self) -> int:
        """Periods after which the waits come again: where errors come from the output, the layer below it hears of
        one, predicts, and the output follows in the next slot."""
        return 2 if self.errors == FROM_OUTPUT else 1

    @property
    def steps_per_update(self) -> int | float:
        """Inference steps per complete weight update, the mean of a round."""
        mean = Fraction(len(self.stages), int(self.completed[-1]))
        return int(mean) if mean.denominator == 1 else float(mean)

    @cached_property
    def moves(self) -> np.ndarray:
        """Of each stage, whether values move: bool, (S,)."""
        return np.array([stage.move for stage in self.stages], np.bool_)

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
        """Steps from a stage of the round on, up to and including the one that completes so many more weight updates
        (1 or more)."""
        round_, rest = divmod(int(self.completed[position]) + updates - 1, int(self.completed[-1]))
        return round_ * len(self.stages) + int(np.searchsorted(self.completed, rest + 1)) - position

    def check(self, depth: int) -> None:
        """InputError, in one line, for a calendar that breaks a rule in a net of that depth."""
        _check_stages(self.stages, depth)
        for name in ("chained", "overlapped"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} is True or False, not {shown(getattr(self, name))}")
        if self.repeats is not None and not is_whole(self.repeats):
            raise InputError(f"a calendar repeats 1 time or more, or for ever (None), not {self.repeats!r}")
        if self.errors not in ERRORS:
            raise InputError(f"errors come from one of {', '.join(ERRORS)}, not {shown(self.errors)}")
        if self.errors != FROM_ABOVE and not (self.overlapped and len(self.stages) == 1):
            raise InputError(f"errors from {self.errors} are for an overlapped calendar of one stage")
        moving = any(stage.move for stage in self.stages)
        if self.start not in STARTS:
            raise InputError(f"a start is {' or '.join(STARTS)}, not {shown(self.start)}")
        if self.pipelined and (self.chained or self.repeats is None):
            raise InputError("a pipelined start is for batches that change and values that are kept in between")
        if self.chained:
            if moving or (len(self.stages) > 1 and not self.overlapped) or self.repeats != 1:
                raise InputError("a chained calendar has one stage, which moves no values, and a batch for each round")
            return
        if self.overlapped:
            raise InputError("only a chained calendar is overlapped")
        if depth > 1 and not moving:
            raise InputError("no stage moves values, so no error ever reaches W[0]")
        if self.swept:
            if self.pipelined or any(stage.parity not in (0, 1) or not stage.move for stage in self.stages):
                raise InputError("all stages of a swept calendar move layers of one parity, from a forward start")
            return
        if self.repeats is not None and not self.pipelined:
            _check_reach(self.stages, self.repeats, depth)


def _check_stages(stages: Sequence[Stage], depth: int) -> None:
    """What holds of the stages of every calendar."""
    if not isinstance(stages, tuple) or not all(isinstance(stage, Stage) for stage in stages):
        raise InputError(f"the stages of a calendar are a tuple of Stage, not {stages!r:.60}")
    if not stages:
        raise InputError("a calendar needs at least one stage")
    layers = set(range(depth))
    waiting = set(layers)
    for number, stage in enumerate(stages):
        for name in ("predict", "move", "completes"):
            if not isinstance(getattr(stage, name), bool | np.bool_):
                raise InputError(f"stage {number}: {name} is True or False, not {shown(getattr(stage, name))}")
        if not isinstance(stage.update, tuple) or not all(is_whole(l, 0) and l < depth for l in stage.update):
            raise InputError(
                f"stage {number} updates {stage.update!r:.60}, but must name weights of the net in a tuple:"
                f" W[0] to W[{depth - 1}]"
            )
        if len(set(stage.update)) < len(stage.update):
            raise InputError(f"stage {number} updates a layer twice")
        if not stage.predict:
            if stage.move or stage.update:
                what = f"W[{min(stage.update)}]" if stage.update else "the values"
                raise InputError(f"stage {number} updates {what} before the error is known: it does not predict")
            raise InputError(f"stage {number} does nothing: it does not predict")
        waiting.difference_update(stage.update)
        if stage.completes:
            if waiting:
                raise InputError(f"stage {number} completes a weight update in which W[{min(waiting)}] was not updated")
            waiting = set(layers)
    if not any(stage.completes for stage in stages):
        raise InputError("no stage completes a weight update")
    if len(waiting) < depth:
        l = min(layers - waiting)
        raise InputError(f"W[{l}] updates after the last weight update of the round is complete")


def _check_reach(stages: Sequence[Stage], repeats: int, depth: int) -> None:
    """From a forward start the output's error comes down one layer each time that values move. A layer must not update
    only before that, where the batch lasts until then: it would never learn."""
    if repeats > depth:  # values move once in each round, or more often, and so every layer has an error in the last
        return
    first, last = [-1] * depth, [-1] * depth  # steps at which the error is known, and of the last update
    below, step = depth - 1, 0  # the lowest layer whose error is known
    for _ in range(repeats):
        for stage in stages:
            if below >= 0 and first[below] < 0:
                first[below] = step
            for l in stage.update:
                last[l] = step
            below -= stage.move
            step += 1
    for l in reversed(range(depth)):
        if 0 <= last[l] < first[l]:
            raise InputError(
                f"W[{l}] updates for the last time at step {last[l]} of a batch,"
                f" before its error is known at step {first[l]}"
            )
