"""Scores of a race's winners against what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..results.races import TUNED, Race, cost_of_update
from . import keys
from .learning import styles_of
from .page import Page
from .style import GREY, PAPER, Look, floats, with_own_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {"samples": "samples", "smm": "SMMs (counted)", "span": "span (counted)"}


@with_own_settings
def race_figure(race: Race, title: str | None = None, caption: str = "", look: Look = PAPER) -> Figure:
    """Accuracy on rows held out, or training loss, against samples, SMMs and span: of each contender the settings that
    its tuning found best for the last goal on that axis, a line for the median of the seeds. Goals are lines across.

    InputError for a race without winners.
    """
    if not race.finals:
        raise InputError("nobody has won this race yet: no settings were run from the seeds of the winners")
    names = [name for name in race.contenders if any(row["contender"] == name for row in race.finals)]
    styles = styles_of(
        [{"algorithm": race.contenders[name]["algorithm"], "stroke": _stroke(race, name)} for name in names], look
    )
    page = Page(look, len(TUNED), height=13.0)
    goal, scale = race.goals[-1], 100 if race.rising else 1
    of_axes = [[_median(race, name, goal, axis) for name in names] for axis in TUNED]
    seen = [scale * score for lines in of_axes for _, scores in lines for score in scores] + [scale * goal]
    for number, (axis, lines) in enumerate(zip(TUNED, of_axes, strict=True)):
        (axes,) = page.panels[number]
        page.decades_x(axes, [cost for costs, _ in lines for cost in costs])
        for (costs, scores), style in zip(lines, styles, strict=True):
            axes.plot(costs, scale * scores, marker="o" if len(costs) == 1 else None, **style)
        for each in race.goals:
            axes.axhline(scale * each, color=GREY, linewidth=0.6 * look.sizes.thin, zorder=1)
        if race.rising:
            axes.set_ylim(min(seen) - 2, max(seen) + 2)
        else:
            page.log_y(axes, seen)
        what = "accuracy in percent" if race.rising else "training loss"
        page.name(axes, LABELS[axis], what if page.leftmost(number) else "")
        axes.tick_params(labelleft=page.leftmost(number))
    handles = [
        keys.entry(look, name, style["color"], stroke=style["linestyle"])
        for name, style in zip(names, styles, strict=True)
    ]
    heading = f"Who reaches the goal first: {race.declared['problem']['name']}" if title is None else title
    return page.finish(heading, handles, *([caption] if caption else []))


def _stroke(race: Race, name: str) -> int:
    """Dashes tell contenders of one algorithm apart."""
    alike = [each for each, told in race.contenders.items() if told["algorithm"] == race.contenders[name]["algorithm"]]
    return alike.index(name)


def _median(race: Race, name: str, goal: float, axis: str) -> tuple[Any, Any]:
    """Costs and the median score of the seeds, until the median seed has reached the last goal: a run that has, and
    ended, keeps its score."""
    trial = race.best_trial(name, goal, axis)
    runs = [row for row in race.finals if (row["contender"], row["trial"]) == (name, trial)]
    if not runs:
        return np.empty(0), np.empty(0)
    longest = max(runs, key=lambda row: len(row["updates"]))
    most = len(longest["updates"])
    scores = np.median([floats([*row["score"], *row["score"][-1:] * (most - len(row["score"]))]) for row in runs], 0)
    costs = floats(longest["updates"]) * cost_of_update(longest, axis)
    there = scores >= race.goals[-1] if race.rising else scores <= race.goals[-1]
    until = int(there.argmax()) + 1 if there.any() else most
    seen = costs[:until] > 0
    return costs[:until][seen], scores[:until][seen]
