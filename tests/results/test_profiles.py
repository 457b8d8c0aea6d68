"""Races together: against counts made by hand."""

import math

import pytest
from races import race_of

from pcsim.errors import InputError
from pcsim.results import profiles

NEVER = (None,) * 5


def at(updates):
    """From every seed alike."""
    return (updates,) * 5


def on(name, costs, depth=2):
    """A race in another problem: of each contender updates to the goal, and the span of one."""
    race = race_of({one: (seeds, span) for one, (seeds, span) in costs.items()})
    race.declared["problem"] |= {"name": name, "sizes": [4] * (depth + 1)}
    return race


@pytest.fixture
def three():
    """Samples: bp 20, 10, 10; ipc 10, 40, never; local ran in the last alone."""
    return [
        on("one", {"bp": (at(20), 1.0), "ipc": (at(10), 4.0)}),
        on("two", {"bp": (at(10), 1.0), "ipc": (at(40), 1.0)}),
        on("three", {"bp": (at(10), 1.0), "ipc": (NEVER, 1.0), "local": (at(5), 1.0)}),
    ]


def test_factors_are_to_the_best_of_each_place(three):
    found = profiles.places(three)
    assert profiles.factors(found, "samples") == {"bp": [2.0, 1.0, 2.0], "ipc": [1.0, 4.0, math.inf], "local": [1.0]}
    assert profiles.factors(found, "span") == {"bp": [1.0, 1.0, 2.0], "ipc": [2.0, 4.0, math.inf], "local": [1.0]}


def test_shares_within_a_factor(three):
    ratios = profiles.factors(profiles.places(three), "samples")
    shares = {name: [profiles.share_within(each, tau) for tau in (1, 2, 4, 1e9)] for name, each in ratios.items()}
    assert shares["bp"] == [1 / 3, 1, 1, 1]
    assert shares["ipc"] == [1 / 3, 1 / 3, 2 / 3, 2 / 3]  # its miss is no place within any factor


def test_the_twin_a_miss_that_counts_is_told_apart(three):
    """The largest cost of all in place of a miss would be within some factor."""
    ratios = profiles.factors(profiles.places(three), "samples")["ipc"]
    wrong = [ratio if math.isfinite(ratio) else 4.0 for ratio in ratios]
    assert profiles.share_within(wrong, 4) != profiles.share_within(ratios, 4)


def test_where_nobody_arrives_nobody_is_the_best():
    found = profiles.places([on("one", {"bp": (NEVER, 1.0), "ipc": (NEVER, 1.0)})])
    assert profiles.factors(found, "smm") == {"bp": [math.inf], "ipc": [math.inf]}


def test_a_median_with_misses_is_a_miss():
    found = profiles.places(
        [on("one", {"bp": ((10, 10, None, None, None), 1.0), "ipc": ((10, 30, 30, None, 30), 1.0)})]
    )
    assert profiles.factors(found, "samples") == {"bp": [math.inf], "ipc": [1.0]}


def test_every_goal_is_a_place():
    race = race_of({"bp": (at(10), 1.0), "ipc": (at(10), 1.0)}, goals=(0.5, 0.8))
    names = [place.name for place in profiles.places([race])]
    assert names == ["x, 2 layers, to 50 %", "x, 2 layers, to 80 %"]


def test_steps_rise_to_the_share_that_arrived():
    assert profiles.steps([3.0, math.inf, 1.0, 3.0]) == ([1.0, 3.0], [0.25, 0.75])
    assert profiles.steps([math.inf]) == ([], [])


def test_trials_that_got_there():
    race = on("one", {"bp": ((10, None, 20, 20, None), 2.0), "ipc": (NEVER, 1.0)})
    race.contenders["ipc"]["space"].clear()
    (place,) = profiles.places([race])
    assert profiles.tried(place, "span") == {"bp": [20, math.inf, 40, 40, math.inf]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda races: races[0].finals.clear(), "one, 2 layers: nobody has won this race yet"),
        (lambda races: races[1].declared["problem"].update(name="one"), "two of the races are in this problem"),
    ],
)
def test_races_that_cannot_be_put_together(three, change, message):
    change(three)
    with pytest.raises(InputError, match=message):
        profiles.places(three)


def test_one_name_for_two_algorithms_is_refused(three):
    three[1].contenders["ipc"]["algorithm"] = "pc"
    with pytest.raises(InputError, match="contender ipc is ipc in one race, pc in another"):
        profiles.contenders(profiles.places(three))


def test_problems_of_one_name_are_told_apart(three):
    three[1].declared["problem"] |= {"name": "one", "most": 7}
    assert [place.problem for place in profiles.places(three)] == [
        "one, 2 layers",
        "one, 2 layers (2)",
        "three, 2 layers",
    ]
