"""The algorithms: names, calendars, task graphs, and the knobs that are refused."""

import dataclasses
import math

import numpy as np
import pytest
from nets import refusal

from pcsim import BP, DFA, IPC, PC, ZIL, AsyncBP, DualProp, Local
from pcsim.algorithms import ALGORITHMS, Algorithm, PredictiveCoding
from pcsim.schedule.calendar import Calendar, Stage

ALL = [BP(0.01), PC(0.01, 0.2, T=3), ZIL(0.01), IPC(0.01, 0.2)]


def test_the_algorithms_and_their_names():
    others = {"bp-async": AsyncBP, "local": Local, "dfa": DFA, "dual": DualProp}
    assert {"bp": BP, "pc": PC, "zil": ZIL, "ipc": IPC, **others} == ALGORITHMS
    assert [algorithm.title for algorithm in ALGORITHMS.values()] == [
        "BP", "PC", "Z-IL", "iPC", "async BP", "local losses", "DFA", "dual propagation",
    ]  # fmt: skip
    assert all(isinstance(algorithm, Algorithm) for algorithm in ALL)
    assert [isinstance(algorithm, PredictiveCoding) for algorithm in ALL] == [False, True, True, True]
    assert (BP().alpha, PC().T, PC().gamma, IPC().gamma, IPC().optimizer, IPC().precision) == (
        1e-4, 8, 0.5, 0.5, "sgd", 1.0,
    )  # fmt: skip
    assert (ZIL().gamma, ZIL().precision) == (1.0, 1.0)


def test_calendars_are_those_of_the_contract():
    every, move = Stage(update=(0, 1, 2), completes=True), Stage()
    assert IPC().calendar(3) == Calendar((every,), None)
    assert IPC().calendar(3, steps_per_batch=5) == Calendar((every,), 5)
    assert PC(T=4).calendar(3) == Calendar(
        (move, move, move, move, Stage(move=False, update=(0, 1, 2), completes=True))
    )
    early = [Stage(update=(l,)) for l in (3, 2, 1)]
    assert ZIL().calendar(4) == Calendar((*early, Stage(move=False, update=(0,), completes=True)))


@pytest.mark.parametrize("depth", [2, 5])
def test_task_graphs_are_those_of_the_algorithm(depth):
    counts = {a.name: (graph.mm, graph.smm) for a in (BP(), PC(T=3), ZIL(), IPC()) for graph in [a.tasks(depth, 3)]}
    one = 2 * depth - 1
    assert counts == {
        "bp": (one, one),
        "pc": (3 * one, 6),
        "zil": (one * (depth - 1), 2 * (depth - 1)),
        "ipc": (one, 2),
    }
    assert [a.tasks(depth).updates for a in ALL] == [8] * 4
    assert [a.tasks(depth, 2).algorithm for a in ALL] == ["bp", "pc", "zil", "ipc"]


def test_algorithms_cannot_be_assigned_to():
    for algorithm in ALL:
        with pytest.raises(dataclasses.FrozenInstanceError):
            algorithm.alpha = 1.0


@pytest.mark.parametrize("kind", ALGORITHMS.values())
@pytest.mark.parametrize("bad", [0, -1e-4, math.inf, math.nan, "0.1", None, True])
def test_rates_must_be_finite_and_positive(kind, bad):
    names = {"alpha"} | {"gamma", "precision"} & set(kind.__dataclass_fields__)
    for name in names:
        message = refusal(lambda name=name: kind(**{name: bad}))
        assert message == f"{name} must be a finite number above 0, not {bad!r}"


@pytest.mark.parametrize("kind", ALGORITHMS.values())
def test_optimizers_are_known_by_name(kind):
    assert kind(optimizer="adam").optimizer == "adam"
    known = "choose from sgd, momentum, nesterov, adam, adamw, nadamw, muon"
    assert refusal(lambda: kind(optimizer="lion")) == f"optimizer 'lion' is unknown: {known}"


@pytest.mark.parametrize("kind", ALGORITHMS.values())
def test_momentum_and_weight_decay_are_checked(kind):
    assert (kind().momentum, kind().weight_decay) == (0.9, 0.0)
    assert type(kind(optimizer="nesterov", momentum=np.float32(0.5)).momentum) is float
    for bad in (1.0, -0.1, math.nan, "0.9", True):
        said = f"momentum must be a finite number of at least 0 and below 1, not {bad!r}"
        assert refusal(lambda bad=bad: kind(optimizer="nesterov", momentum=bad)) == said
    for bad in (math.inf, -0.1, None):
        said = f"weight_decay must be a finite number of at least 0, not {bad!r}"
        assert refusal(lambda bad=bad: kind(weight_decay=bad)) == said
    assert refusal(lambda: kind(momentum=0.99)) == "optimizer 'sgd' has no momentum: choose momentum or nesterov"


@dataclasses.dataclass(frozen=True)
class Mine(PredictiveCoding):
    """From outside: nothing but fields and a calendar."""

    name, title = "mine", "Mine"
    alpha: float = 1e-3
    gamma: float = 0.1
    precision: float = 1.0
    optimizer: str = "sgd"
    order: object = None

    def calendar(self, depth, steps_per_batch=None):
        return IPC().calendar(depth, steps_per_batch)


@dataclasses.dataclass(frozen=True)
class Silent(Mine):
    def __post_init__(self):
        """Without the checks of the class above."""


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        (
            {"optimizer": "Adam"},
            "optimizer 'Adam' is unknown: choose from sgd, momentum, nesterov, adam, adamw, nadamw, muon",
        ),
        ({"alpha": -1.0}, "alpha must be a finite number above 0, not -1.0"),
        ({"gamma": math.nan}, "gamma must be a finite number above 0, not nan"),
        ({"order": (2, 1)}, "Mine: order must be a number, a text, a truth value or None, not (2, 1)"),
    ],
)
def test_knobs_of_an_algorithm_from_outside_are_checked_too(knobs, said):
    assert refusal(lambda: Mine(**knobs)) == said
    assert refusal(lambda: Silent(**knobs).tasks(3)) == said
    assert Mine(order="2 1").tasks(3).smm == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "must give a pcsim.Calendar, not None"),
        ("oops", "must give a pcsim.Calendar, not 'oops'"),
        (ZeroDivisionError("division by zero"), "at depth 3: ZeroDivisionError: division by zero"),
    ],
)
def test_a_calendar_that_cannot_be_had_is_refused_in_one_line(given, said):
    class Broken(Mine):
        def calendar(self, depth, steps_per_batch=None):
            if isinstance(given, Exception):
                raise given
            return given

    assert refusal(lambda: Broken().tasks(3)).endswith(said)
    assert refusal(lambda: Broken().chained).endswith(said.replace("depth 3", "depth 1"))


@pytest.mark.parametrize("bad", [0, -3, 2.0, "8", None, True])
def test_pc_needs_a_whole_number_of_steps(bad):
    assert refusal(lambda: PC(T=bad)) == f"T must be a whole number of at least 1, not {bad!r}"
