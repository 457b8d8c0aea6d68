"""Several races together: how far from the best each contender is over problems and goals, and how many trials of its
tuning reach a goal at what cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from .fields import Row
from .races import Race, cost_to


@dataclass(frozen=True)
class Place:
    """A problem and one of its goals, where contenders are compared."""

    race: Race
    problem: str
    goal: float

    @property
    def name(self) -> str:
        """Such as ``fashion-250, 6 layers, to a loss of 0.02``."""
        return f"{self.problem}, {goal_name(self.race, self.goal)}"


def goal_name(race: Race, goal: float) -> str:
    """Such as ``to 80 %``."""
    return f"to {100 * goal:g} %" if race.rising else f"to a loss of {goal:g}"


def places(races: Sequence[Race]) -> list[Place]:
    """Every problem and goal of the races, in their order. InputError for a race without winners, and where two are of
    one problem, which would count twice."""
    found: list[Place] = []
    names: list[str] = []
    for number, race in enumerate(races):
        told = race.declared["problem"]
        name = f"{told['name']}, {len(told['sizes']) - 1} layers"
        if not race.finals:
            raise InputError(
                f"{name}: nobody has won this race yet: no settings were run from the seeds of the winners"
            )
        if any(told == other.declared["problem"] for other in races[:number]):
            raise InputError(f"{name}: two of the races are in this problem, which counts once: leave one of them out")
        names.append(name)
        title = f"{name} ({names.count(name)})" if names.count(name) > 1 else name
        found += [Place(race, title, goal) for goal in race.goals]
    return found


def contenders(found: Sequence[Place]) -> dict[str, Row]:
    """Who takes part anywhere, and what was declared of them; InputError where one name has two algorithms."""
    known: dict[str, Row] = {}
    for one in found:
        for name, told in one.race.contenders.items():
            before = known.setdefault(name, told)
            if before["algorithm"] != told["algorithm"]:
                raise InputError(
                    f"contender {name} is {before['algorithm']} in one race, {told['algorithm']} in another"
                )
    return known


def medians(place: Place, axis: str) -> dict[str, float]:
    """Of everybody whose winner was run there: the median cost of its seeds, infinite for a miss."""
    outcomes = {name: place.race.outcome(name, place.goal, axis) for name in place.race.contenders}
    return {name: one.median for name, one in outcomes.items() if one is not None}


def factors(found: Sequence[Place], axis: str) -> dict[str, list[float]]:
    """Of everybody, for each place where it ran, its median cost ÷ that of the best there: 1 for the best, infinite for
    a miss. Dolan and Moré, "Benchmarking optimization software with performance profiles", 2002.
    """
    known: dict[str, list[float]] = {name: [] for name in contenders(found)}
    for place in found:
        costs = medians(place, axis)
        best = min(costs.values(), default=math.inf)
        for name, cost in costs.items():
            known[name].append(math.inf if cost == math.inf else 1.0 if cost == best else cost / best)
    return {name: list_ for name, list_ in known.items() if list_}


def share_within(ratios: Sequence[float], tau: float) -> float:
    """The share of the places at which a contender is within a factor of the best; a miss never is."""
    return sum(math.isfinite(ratio) and ratio <= tau for ratio in ratios) / len(ratios)


def steps(costs: Sequence[float]) -> tuple[list[float], list[float]]:
    """Where the share of what is within a cost rises, and to what: a line of steps. Misses are in the share alone."""
    rising = sorted(cost for cost in costs if math.isfinite(cost))
    at = sorted(set(rising))
    return at, [sum(cost <= one for cost in rising) / len(costs) for one in at]


def tried(place: Place, axis: str) -> dict[str, list[float]]:
    """Of everybody who tunes anything: what each trial had cost when it reached the goal, infinite where it did not."""
    race = place.race
    return {
        name: costs
        for name, told in race.contenders.items()
        if told["space"]
        and (costs := [cost_to(row, place.goal, axis, race.rising) for row in race.trials if row["contender"] == name])
    }
