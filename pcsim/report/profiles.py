"""Several races as tables: performance profiles, and how many trials of each tuning reach each goal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..results.profiles import Place, contenders, factors, medians, places, share_within, tried
from ..results.races import TUNED, Race
from ..tables import layout
from .races import NAMES, conditions, leader

PRICES = ("seconds", "joules")

TAUS = (1, 2, 4)

_ABOUT = (
    "fewest: the contender with the least median, and its ratio to the best BP with its interval of 95 %; a BP alone",
    "where none needs less; span@L: where no worker may keep more samples than there are layers",
    "within 2: at how many problems and goals the median cost of the winner's seeds is at most twice that of the best",
    "contender there; a miss never is (Dolan and Moré 2002). Who did not run in a race is not counted there.",
    "trials: of each tuning how many reached the goal; who tunes nothing has none",
)


def table(races: Sequence[Race], format: str = "text") -> str:
    """Profiles at a factor of 1, 2 and 4, and the tuning; as CSV a line for each place, axis and contender."""
    found = places(races)
    if format == "csv":
        return figures(found)
    lines = [f"{conditions(race)}{_faults(race)}" for race in races]
    parts = [leaders(found, format), profile(found, format), tuning(found, format)]
    return "\n".join([*lines, "", *(f"{part}\n" for part in parts), *_ABOUT])


def _faults(race: Race) -> str:
    return "".join(f"\n! {fault}" for fault in race.faults())


def leaders(found: Sequence[Place], format: str = "text") -> str:
    """Who needs least at each place, a line for each cost: everything that is counted, and seconds and joules."""
    prices = dict.fromkeys((what, there) for place in found for there in place.race.places for what in PRICES)
    body = []
    of_places = [_axes(place.race) for place in found]
    for name in dict.fromkeys(name for axes in of_places for name in axes):
        told = [
            leader(place.race.outcomes(place.goal, axes[name])) if name in axes else "-"
            for place, axes in zip(found, of_places, strict=True)
        ]
        body.append([NAMES.get(name, name), *told])
    for what, there in prices:
        outcomes = [place.race.outcomes(place.goal, what, there) for place in found]
        if any(outcomes):
            where = f"{what}, {there} (predicted)" if there else f"{what} measured here"
            body.append([where, *(leader(each) if each else "-" for each in outcomes)])
    return layout(["fewest", *(place.name for place in found)], body, format)


def _axes(race: Race) -> dict[str, str]:
    """All that is counted, by names that races of several depths share: with L samples as many as there are layers."""
    depth = len(race.declared["problem"]["sizes"]) - 1
    shared = [axis for axis in race.axes if axis != f"span@{depth}" or depth in (1, 2, 4)]
    return {axis: axis for axis in shared} | {"span@L": f"span@{depth}"}


def profile(found: Sequence[Place], format: str = "text") -> str:
    """Of everybody at how many places it is within a factor of the best, for samples, SMMs and span."""
    of_axes = {axis: factors(found, axis) for axis in TUNED}
    body = []
    for name in contenders(found):
        there = len(of_axes[TUNED[0]].get(name, ()))
        if not there:
            continue
        shares = [round(there * share_within(of_axes[axis][name], tau)) for axis in TUNED for tau in TAUS]
        body.append([name, there, *shares])
    heads = [f"{NAMES[axis]} {'best' if tau == 1 else f'within {tau}'}" for axis in TUNED for tau in TAUS]
    return layout(["contender", "ran at", *heads], body, format)


def tuning(found: Sequence[Place], format: str = "text") -> str:
    """Of everybody how many trials reached the goal, a line for each place."""
    names = [name for name in contenders(found) if any(name in tried(place, "updates") for place in found)]
    body = []
    for place in found:
        costs = tried(place, "updates")
        shares = [
            f"{sum(map(math.isfinite, costs[name]))} of {len(costs[name])}" if name in costs else "-" for name in names
        ]
        body.append([place.name, *shares])
    return layout(["trials that got there", *names], body, format)


def figures(found: Sequence[Place]) -> str:
    """Median cost (empty for a miss), factor to the best, and trials that got there."""
    body = []
    for place in found:
        for axis in TUNED:
            costs, trials = medians(place, axis), tried(place, axis)
            for name, cost in costs.items():
                mine = trials.get(name, [])
                told = [cost, factors([place], axis)[name][0]] if math.isfinite(cost) else [None, None]
                reached = sum(map(math.isfinite, mine))
                body.append([place.problem, place.goal, axis, name, *told, reached, len(mine)])
    heads = ["problem", "goal", "axis", "contender", "median", "factor", "trials_reached", "trials"]
    return layout(heads, body, "csv")
