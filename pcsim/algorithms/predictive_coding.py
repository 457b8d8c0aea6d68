"""PC, Z-IL and iPC: one dynamics, three calendars of weight updates (Fig. 1b of Salvatori et al. 2022).

A cycle begins with a forward pass. At each step t the errors are computed from values and weights, and from these
three the next values and, where the calendar says so, the next weights:

=======  =========================  =======================  ==========================
          steps in a cycle           values change at         W[l] changes at
=======  =========================  =======================  ==========================
iPC      no end, or steps_per_batch  every step               every step
PC       T + 1                       t < T                    t = T
Z-IL     L                           t < L - 1                t = L - 1 - l
=======  =========================  =======================  ==========================
"""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from ..checks import whole_number
from ..errors import InputError
from ..schedule.calendar import Calendar, Stage
from .common import PredictiveCoding
from .rates import Rate

# How PC, Z-IL and iPC can share their work: layers on workers; rows of all layers; samples; teams for blocks of layers,
# which split the rows inside.
SHARED = ("intra-layer", "data-parallel", "hybrid")

PC_EXECUTIONS = ("layer-parallel", *SHARED)

MOST_STEPS = 1_000_000  # of a PC's weight update


@dataclass(frozen=True)
class IPC(PredictiveCoding):
    """Incremental predictive coding: all values and all weights at every step (Algorithm 1 of the paper).

    alpha, gamma: rates of the weight and of the value updates; precision: weight of the output layer's error;
    value_momentum: share of a value update that is kept for the next. gamma and precision may be a tuple, a number for
    each step of a batch, the last for all further ones.
    """

    name: ClassVar[str] = "ipc"
    title: ClassVar[str] = "iPC"
    alpha: float = 1e-4
    gamma: Rate = 0.5
    optimizer: str = "sgd"
    precision: Rate = 1.0
    _: KW_ONLY
    value_momentum: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 0.0

    def calendar(self, depth: int, steps_per_batch: int | None = None) -> Calendar:
        """The calendar of a net of that depth."""
        return Calendar((Stage(update=tuple(range(depth)), completes=True),), repeats=steps_per_batch)


@dataclass(frozen=True)
class PC(PredictiveCoding):
    """Predictive coding: T value updates on a batch, then one weight update (Algorithm 2 of the paper)."""

    name: ClassVar[str] = "pc"
    title: ClassVar[str] = "PC"
    alpha: float = 1e-4
    gamma: Rate = 0.5
    T: int = 8
    optimizer: str = "sgd"
    precision: Rate = 1.0
    _: KW_ONLY
    value_momentum: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "T", whole_number("T", self.T))
        super().__post_init__()

    def calendar(self, depth: int, steps_per_batch: int | None = None) -> Calendar:
        """The calendar of a net of that depth."""
        if self.T > MOST_STEPS:
            raise InputError(f"a calendar has at most {MOST_STEPS:,} steps: ask for fewer steps than T = {self.T:,}")
        last = Stage(move=False, update=tuple(range(depth)), completes=True)
        return Calendar((Stage(),) * self.T + (last,))


@dataclass(frozen=True)
class ZIL(PredictiveCoding):
    """Zero-divergence inference learning: PC that equals backprop exactly (Algorithm 3; Song et al. 2020).

    Its gamma is 1, and ``W[l]`` updates at t = L - 1 - l, when the output's error first reaches it.
    """

    name: ClassVar[str] = "zil"
    title: ClassVar[str] = "Z-IL"
    alpha: float = 1e-4
    optimizer: str = "sgd"
    _: KW_ONLY
    momentum: float = 0.9
    weight_decay: float = 0.0

    @property
    def gamma(self) -> float:
        """1: a value takes its whole error in one step."""
        return 1.0

    @property
    def precision(self) -> float:
        """1: another would not be BP's gradient."""
        return 1.0

    def calendar(self, depth: int, steps_per_batch: int | None = None) -> Calendar:
        """The calendar of a net of that depth."""
        stages = [Stage(move=t < depth - 1, update=(depth - 1 - t,), completes=t == depth - 1) for t in range(depth)]
        return Calendar(tuple(stages))
