"""A race as tables: what each contender's best settings cost until each goal, and how that compares with BP."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..results.fields import Row
from ..results.races import TUNED, Outcome, Race
from ..tables import layout, scaled

NAMES = {
    "updates": "updates", "samples": "samples", "mm": "MMs", "smm": "SMMs", "span": "span",
}  # fmt: skip

_ABOUT = (
    "samples: rows that came into training anew; MMs, SMMs: products of a batch, in all and in a row (counted)",
    "span: products in a row, each weighed by its samples (heads and feedback by their rows, too), where BP splits its",
    "batch; span@2: where no worker may keep the activations of more than 2 samples",
    "each figure: median of the seeds; a miss is infinite and stays in it (–). The settings are those that the tuning",
    "found best for that figure (of updates, MMs and bounded spans: the best of those for samples, SMMs and span)",
)


def table(race: Race, format: str = "text") -> str:
    """Everything that a race says, goal by goal; as CSV all figures in one table."""
    if format == "csv":
        return figures(race)
    lines = [conditions(race), *(f"! {fault}" for fault in race.faults())]
    for goal in race.goals:
        lines += ["", f"to {goal_in_words(race, goal)}", "", _costs(race, goal, format)]
        lines += ["", *(_verdicts(race, goal))]
        if seconds := _seconds(race, goal, format):
            lines += ["", seconds]
    lines += ["", _tuning(race, format), "", *_ABOUT]
    return "\n".join(lines)


def figures(race: Race) -> str:
    """A line for each goal, contender and axis: median (empty for a miss), seeds that reached the goal, and the ratio
    to the best BP where it is one that is tuned for."""
    body = []
    for goal in race.goals:
        for axis in race.axes:
            ratios = {one.contender: one for one in race.outcomes(goal, axis)} if axis in TUNED else {}
            for name in race.contenders:
                one = ratios.get(name) or race.outcome(name, goal, axis)
                if one is None:
                    continue
                low, high = one.interval or (None, None)
                median = one.median if math.isfinite(one.median) else None
                body.append([goal, name, axis, median, one.reached, len(one.costs), one.ratio, low, high, one.verdict])
    heads = ["goal", "contender", "axis", "median", "reached", "seeds", "ratio", "low", "high", "verdict"]
    return layout(heads, body, "csv")


def conditions(race: Race) -> str:
    """The problem and the effort, in a line."""
    told = race.declared["problem"]
    passes = told["most"] / told["rows"]
    sizes = "-".join(map(str, told["sizes"]))
    return (
        f"{told['name']}: {sizes}, {told['activation']}, {told['loss']} loss, {told['rows']:,} rows, {passes:g} passes "
        f"at most; {race.declared['trials']} trials each, {len(race.declared['seeds'])} seeds"
    )


def goal_in_words(race: Race, goal: float) -> str:
    """Such as ``80 % of the rows held out``."""
    return f"{100 * goal:g} % of the rows held out" if race.rising else f"a training loss of {goal:g} for each row"


def count(value: float) -> str:
    """A count as a reader wants it; – for what was never reached."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _title(axis: str) -> str:
    return NAMES.get(axis, axis)


def _costs(race: Race, goal: float, format: str) -> str:
    body = []
    axes = race.axes
    for name in race.contenders:
        found = {axis: race.outcome(name, goal, axis) for axis in axes}
        if all(one is None for one in found.values()):
            continue
        samples = found["samples"]
        seeds = f"{samples.reached} of {len(samples.costs)}" if samples else "-"
        body.append([name, *(count(one.median) if one else "-" for one in found.values()), seeds])
    return layout(["contender", *map(_title, axes), "seeds"], body, format)


def comparison(race: Race, goal: float, format: str = "markdown") -> str:
    """Of each contender what it cost, and its ratio to the best BP with the interval of 95 %, on the axes that are
    tuned for; the best BP of each axis has the ratio 1."""
    found = {axis: {one.contender: one for one in race.outcomes(goal, axis)} for axis in TUNED}
    best = {axis: next(iter(outcomes), None) for axis, outcomes in found.items()}
    body = []
    for name in race.contenders:
        line = [name]
        for axis in TUNED:
            one = found[axis].get(name)
            if one is None:
                line += ["-", "-"]
                continue
            told = "1" if name == best[axis] else "-"
            if one.ratio is not None and one.interval is not None:
                told = f"{one.ratio:.2g} ({one.interval[0]:.2g} to {one.interval[1]:.2g})"
            elif one.reached < len(one.costs):
                told = f"{one.reached} of {len(one.costs)} seeds"
            line += [count(one.median), told]
        body.append(line)
    return layout(["contender", *(head for axis in TUNED for head in (_title(axis), "÷ BP"))], body, format)


def _verdicts(race: Race, goal: float) -> list[str]:
    """For each axis that is tuned for, a line for each contender that is compared."""
    lines = []
    for axis in TUNED:
        outcomes = race.outcomes(goal, axis)
        if not outcomes:
            continue
        best, *rest = outcomes
        lines += [sentence(one, best, axis) for one in rest if not race.contenders[one.contender]["exact"]]
    return lines


def sentence(one: Outcome, best: Outcome, axis: str) -> str:
    """How a contender compares with the best BP on an axis."""
    who = f"{_title(axis)}: {one.contender} ÷ {best.contender}"
    if one.interval is not None and one.ratio is not None:
        low, high = one.interval
        return f"{who} {one.ratio:.3g} ({low:.3g} to {high:.3g}), {one.verdict}"
    if len(one.costs) and one.reached < len(one.costs):
        return f"{who}: reached from {one.reached} of {len(one.costs)} seeds"
    return f"{who}: {count(one.median)} and {count(best.median)}; no verdict"


def _seconds(race: Race, goal: float, format: str) -> str:
    """Seconds and joules until the goal: those of an update × updates, of the settings that need the fewest seconds."""
    rows: list[Row] = [*race.timed, *race.predicted]
    if not rows:
        return ""
    body = []
    places = race.places
    for name in race.contenders:
        line: list[str] = [name]
        for place in places:
            best = race.priced(name, goal, place)
            if best is None:
                line += ["-", *(["-"] if place else [])]
                continue
            row = next(row for row in rows if _told(row) == (name, best.trial, place))
            by = f" ({row['execution']} {row['workers']})"
            line.append(scaled(best.median) + by if math.isfinite(best.median) else "–")
            if place:
                joules = race.priced(name, goal, place, "joules")
                line.append(f"{joules.median:.3g}" if joules and math.isfinite(joules.median) else "-")
        body.append(line)
    heads = [head for place in places for head in ([f"{place}, predicted", "joules"] if place else ["measured here"])]
    return layout(["contender", *heads], body, format)


def _told(row: Row) -> tuple[str, int, str]:
    return row["contender"], row["trial"], row.get("machine", "")


def leader(outcomes: Sequence[Outcome]) -> str:
    """Who needs least, and what of the best BP, which comes first: with its interval, or from how many seeds it got
    there; – where nobody did."""
    best = min(outcomes, key=lambda one: one.median, default=None)
    if best is None or not math.isfinite(best.median):
        return "–"
    if best is outcomes[0]:
        return best.contender
    if best.interval is None:
        return f"{best.contender}, {best.reached} of {len(best.costs)} seeds"
    low, high = best.interval
    return f"{best.contender} {best.ratio:.2g} ({low:.2g} to {high:.2g})"


def _tuning(race: Race, format: str) -> str:
    """How many of the trials reached each goal, and the best settings."""
    goals: Sequence[float] = race.goals
    body = []
    for name in race.contenders:
        shares = [race.share_reached(name, goal) for goal in goals]
        trial = race.best_trial(name, goals[-1], "span")
        settings: Row = next(
            (row["settings"] for row in race.trials if (row["contender"], row["trial"]) == (name, trial)), {}
        )
        said = ", ".join(
            f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in settings.items()
        )
        body.append([name, *(f"{there} of {all_}" for there, all_ in shares), said])
    heads = [f"trials to {100 * goal:g} %" if race.rising else f"trials to {goal:g}" for goal in goals]
    return layout(["contender", *heads, "settings of the shortest span to the last goal"], body, format)
