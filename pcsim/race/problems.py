"""Problems: data, a net and a goal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..algorithms import BP
from ..errors import InputError
from ..net.named import named, outline
from ..net.network import Network
from ..training.data import Dataset, load
from ..training.train import train

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
    - ``codes``: where it is not 0 the net generates each image from its own code of so many normal numbers
    - ``before``: classes that the net has learnt before, by BP; the others are what the problem is about
    - ``of_net``: the net by its name, in place of a chain of equal layers (``{depth}`` and ``{hidden}`` in it are those
      of the problem); ``parameterisation``: of the net
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
    codes: int = 0
    before: tuple[int, ...] = ()
    of_net: str = ""
    parameterisation: str = "sp"

    @property
    def net_name(self) -> str:
        """Of a named net; else nothing."""
        return self.of_net.format(depth=self.depth, hidden=self.hidden)

    @cached_property
    def rows(self) -> Rows:
        """The data; InputError where they are not on this machine."""
        needed = None if self.samples is None else self.samples + self.held
        data = load(self.data, samples=needed)
        x, y = self._of(data)
        kept = len(x) - self.held
        validation = (x[kept:], y[kept:]) if self.held else None
        test = None
        if self.goal == "accuracy":
            test = self._of(load(self.data, samples=_OF_TEST.get(self.name), split="test", classes=data.classes))
        return Rows(x[:kept], y[:kept], validation, test, data.digest)

    def _of(self, data: Dataset, known: bool = False) -> tuple[Array, Array]:
        """Inputs and targets of the classes that are new to the net, or ``known`` to it."""
        if self.codes:
            codes = np.random.default_rng(0).standard_normal((len(data.x), self.codes), dtype=np.float32)
            return codes, data.x
        if not self.before:
            return data.x, data.y
        chosen = np.isin(data.labels, self.before) == known
        return data.x[chosen], data.y[chosen]

    @property
    def sizes(self) -> tuple[int, ...]:
        """n[0] … n[L]."""
        if self.of_net:
            return outline(self.net_name).sizes
        return self.rows.x.shape[1], *(self.hidden,) * (self.depth - 1), self.rows.y.shape[1]

    @property
    def most(self) -> int:
        """Rows that a trial may see."""
        return round(self.passes * len(self.rows.x))

    def net(self, seed: int) -> Network:
        """The net that a seed begins with, for every contender; classes ``before`` it has learnt in one pass."""
        options: dict[str, Any] = {"seed": seed, "loss": self.loss, "parameterisation": self.parameterisation}
        if self.of_net:
            return named(self.net_name, self.activation, **options)
        net = Network.mlp(list(self.sizes), self.activation, **options)
        if not self.before:
            return net
        x, y = self._of(load(self.data, samples=self.samples and self.samples + self.held), known=True)
        return train(net, BP(1e-3, "adam"), x, y, epochs=1, batch_size=16, seed=seed, workers=1, record_every=0).network

    def told(self) -> dict[str, Any]:
        """What makes it this problem, for files."""
        return {
            "name": self.name, "data": self.data, "digest": self.rows.digest, "rows": len(self.rows.x),
            "held": self.held, "sizes": list(self.sizes), "activation": self.activation, "loss": self.loss,
            "goal": self.goal, "most": self.most, "look": self.look,
            **({"codes": self.codes} if self.codes else {}), **({"before": list(self.before)} if self.before else {}),
            **({"net": self.net_name} if self.of_net else {}),
            **({"parameterisation": self.parameterisation} if self.parameterisation != "sp" else {}),
        }  # fmt: skip


# Rows of the full set.
_OF_TEST = dict.fromkeys(
    ("fashion-mlp", "fashion-online", "deep-narrow", "deep-narrow-pretrained", "fashion-cnn", "residual"), 10_000
)

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
            (0.8, 0.84, 0.86), (64, 256, 1024), 4, look=2048, held=5000, samples=55_000,
        ),
        Problem(
            "fashion-online", "one pass over FashionMNIST, sample by sample, 128 units", "fashion-mnist", 6, 128,
            "accuracy", (0.7, 0.8), (1,), 0.37, look=250, held=2000, samples=55_000,
        ),
        Problem(
            "deep-narrow", "FashionMNIST, sample by sample, in 12 layers of 32 units", "fashion-mnist", 12, 32,
            "accuracy", (0.5, 0.7), (1,), 0.37, look=250, held=2000, samples=55_000,
        ),
        Problem(
            "deep-narrow-pretrained", "the same on five classes, of a net that has learnt the other five",
            "fashion-mnist", 12, 32, "accuracy", (0.6, 0.8), (1,), 0.37, look=250, held=2000, samples=55_000,
            before=(0, 1, 2, 3, 4),
        ),
        Problem(
            "fashion-cnn", "FashionMNIST, three convolutions and two dense layers, after Table 1 of the iPC paper",
            "fashion-mnist", 5, 128, "accuracy", (0.8, 0.84, 0.88), (64, 256), 2, look=2048, held=5000, samples=55_000,
            of_net="cnn-64-128-64",
        ),
        Problem(
            "residual", "FashionMNIST, 128 layers of 128 units, those between the first and the last with skips",
            "fashion-mnist", 128, 128, "accuracy", (0.7, 0.8), (64, 256), 0.5, look=2048, held=5000, samples=55_000,
            activation="relu", of_net="residual-mlp-{depth}-{hidden}", parameterisation="mupc",
        ),
        Problem(
            "generative-100", "100 images, each generated from a code of its own, 256 units, after Fig. 2 (left)",
            "fashion-mnist", 4, 256, "loss", (10.0, 3.0), (None,), 400, samples=100, codes=256,
        ),
    )
}  # fmt: skip


def problem(
    name: str,
    depth: int | None = None,
    goals: Sequence[float] = (),
    passes: float | None = None,
    hidden: int | None = None,
) -> Problem:
    """The problem of that name, at another depth or width, with other goals or another budget where these are told."""
    if name not in PROBLEMS:
        raise InputError(f"problem {name!r} is unknown: choose from {', '.join(PROBLEMS)}")
    found = PROBLEMS[name]
    if depth is not None and depth < 2:
        raise InputError(f"a race needs a depth of at least 2, not {depth}: of one layer all learn alike")
    wanted = tuple(sorted(set(goals), reverse=found.goal == "loss")) or found.goals
    for goal in wanted:
        if not goal > 0 or (found.goal == "accuracy" and goal > 1):
            raise InputError(f"a goal of {name} is {_WHAT[found.goal]}, not {goal:g}")
    return replace(
        found,
        depth=depth or found.depth,
        hidden=hidden or found.hidden,
        goals=wanted,
        passes=passes or found.passes,
    )


_WHAT = {"accuracy": "a share of the rows held out, above 0 and at most 1", "loss": "a loss for each row above 0"}
