"""Problems: data, a net and a goal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InputError
from ..net.network import Network
from ..training.data import load

Array = np.ndarray

GOALS = ("accuracy", "loss")


@dataclass(frozen=True)
class Rows:
    """What is trained on, what decides, and what is reported; the last two may lack."""

    x: Array
    y: Array
    validation: tuple[Array, Array] | None
    test: tuple[Array, Array] | None
    digest: str


@dataclass(frozen=True)
class Problem:
    """A net of ``depth`` weight matrices with ``hidden`` units in each hidden layer, and when it has learnt.

    - ``goal``: ``"accuracy"`` on ``held`` rows, the last of the training split, which nobody trains on; or ``"loss"``,
      the training loss for each row, with the full batch
    - ``goals``: what is to be reached, set before anybody is tried; in the order in which they are reached
    - ``batches``: the sizes that every contender may choose from; None is the full batch
    - ``samples``: rows trained on, all but those held where it is None; ``passes``: over them, at most, for each trial
    - ``look``: rows, counted once for each time that their batch comes, between two looks at the goal
    """

    name: str
    about: str
    data: str
    depth: int
    hidden: int
    goal: str
    goals: tuple[float, ...]
    batches: tuple[int | None, ...]
    passes: float
    look: int = 0
    held: int = 0
    samples: int | None = None
    activation: str = "tanh"
    loss: str = "squared"

    @cached_property
    def rows(self) -> Rows:
        """The data; InputError where they are not on this machine."""
        needed = None if self.samples is None else self.samples + self.held
        data = load(self.data, samples=needed)
        kept = len(data.x) - self.held
        validation = (data.x[kept:], data.y[kept:]) if self.held else None
        test = None
        if self.goal == "accuracy":
            told = load(self.data, samples=_OF_TEST.get(self.name), split="test", classes=data.classes)
            test = told.x, told.y
        return Rows(data.x[:kept], data.y[:kept], validation, test, data.digest)

    @property
    def sizes(self) -> tuple[int, ...]:
        """n[0] … n[L]."""
        return self.rows.x.shape[1], *(self.hidden,) * (self.depth - 1), self.rows.y.shape[1]

    @property
    def most(self) -> int:
        """Rows that a trial may see."""
        return round(self.passes * len(self.rows.x))

    def net(self, seed: int) -> Network:
        """The net that a seed begins with, for every contender."""
        return Network.mlp(list(self.sizes), self.activation, seed=seed, loss=self.loss)

    def told(self) -> dict[str, Any]:
        """What makes it this problem, for files."""
        return {
            "name": self.name, "data": self.data, "digest": self.rows.digest, "rows": len(self.rows.x),
            "held": self.held, "sizes": list(self.sizes), "activation": self.activation, "loss": self.loss,
            "goal": self.goal, "most": self.most, "look": self.look,
        }  # fmt: skip


_OF_TEST = {"fashion-mlp": 10_000, "fashion-online": 10_000, "deep-narrow": 10_000}  # rows of the full set

PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem(
            "digits", "8 × 8 digits, 1,200 of them, 32 units: seconds", "digits", 3, 32, "accuracy", (0.8, 0.9),
            (16, 64), 12, look=240, held=237,
        ),
        Problem(
            "fashion-250", "the full batch of Fig. 2 of the iPC paper: 250 images, 64 units", "fashion-mnist", 6, 64,
            "loss", (0.1, 0.02), (None,), 400, samples=250,
        ),
        Problem(
            "fashion-mlp", "FashionMNIST, 128 units, batches of any size", "fashion-mnist", 3, 128, "accuracy",
            (0.8, 0.84, 0.86), (64, 256, 1024), 12, look=2048, held=5000, samples=55_000,
        ),
        Problem(
            "fashion-online", "one pass over FashionMNIST, sample by sample, 128 units", "fashion-mnist", 6, 128,
            "accuracy", (0.7, 0.8), (1,), 0.37, look=250, held=2000, samples=55_000,
        ),
        Problem(
            "deep-narrow", "FashionMNIST, sample by sample, in 12 layers of 32 units", "fashion-mnist", 12, 32,
            "accuracy", (0.5, 0.7), (1,), 0.37, look=250, held=2000, samples=55_000,
        ),
    )
}  # fmt: skip


def problem(name: str, depth: int | None = None, goals: Sequence[float] = (), passes: float | None = None) -> Problem:
    """The problem of that name, at another depth, with other goals or another budget where these are told."""
    if name not in PROBLEMS:
        raise InputError(f"problem {name!r} is unknown: choose from {', '.join(PROBLEMS)}")
    found = PROBLEMS[name]
    if depth is not None and depth < 2:
        raise InputError(f"a race needs a depth of at least 2, not {depth}: of one layer all learn alike")
    wanted = tuple(sorted(set(goals), reverse=found.goal == "loss")) or found.goals
    for goal in wanted:
        if not goal > 0 or (found.goal == "accuracy" and goal > 1):
            raise InputError(f"a goal of {name} is {_WHAT[found.goal]}, not {goal:g}")
    return replace(found, depth=depth or found.depth, goals=wanted, passes=passes or found.passes)


_WHAT = {"accuracy": "a share of the rows held out, above 0 and at most 1", "loss": "a loss for each row above 0"}
