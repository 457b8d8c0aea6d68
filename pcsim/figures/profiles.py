"""Races together: performance profiles over problems, and how many trials of a tuning get where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..results.fields import Row
from ..results.profiles import contenders, factors, goal_name, places, steps, tried
from ..results.races import TUNED, Race
from . import keys
from .learning import styles_of
from .page import Page
from .races import LABELS
from .style import PAPER, Look, with_own_settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOTE = "medians of the winners' seeds; a miss is never within"
_FEWER = "; pale: who ran at fewer problems and goals, of which each has its share"
_SIDE = "; lines that coincide are drawn side by side"

_PALE = 0.45  # opacity of whoever ran at fewer

_SHORT = {"samples": "samples", "smm": "SMMs", "span": "span"}

_LEAST = 4.0  # how far from the best a profile is drawn at least


@with_own_settings
def profile_figure(races: Sequence[Race], title: str | None = None, caption: str = "", look: Look = PAPER) -> Figure:
    """For samples, SMMs and span: the share of problems and goals at which a contender's median cost is within a factor
    of the best one's there (Dolan and Moré 2002). A miss is never within. The key says of how many where that is not
    all.

    InputError for races that cannot be put together.
    """
    found = places(races)
    known = contenders(found)
    of_axes = {axis: factors(found, axis) for axis in TUNED}
    names = [name for name in known if any(name in ratios for ratios in of_axes.values())]
    styles = _styles({name: known[name] for name in names}, look)
    page = Page(look, len(TUNED), height=15.0)
    finite = [
        ratio for ratios in of_axes.values() for each in ratios.values() for ratio in each if math.isfinite(ratio)
    ]
    furthest = 1.15 * max(_LEAST, *finite)
    for number, (axis, ratios) in enumerate(of_axes.items()):
        (axes,) = page.panels[number]
        page.decades_x(axes, [1.0, furthest])
        for place, name in enumerate(names):
            if name in ratios:
                style = styles[name] | ({} if len(ratios[name]) == len(found) else {"alpha": _PALE})
                _rise(axes, *steps(ratios[name]), 1.0, furthest, style, _beside(place, len(names), look))
        _percent(page, axes, number, "problems and goals within that factor, %")
        page.name(axes, f"{_SHORT[axis]}, × the best", axes.get_ylabel())
    handles, fewer = [], False
    for name in names:
        there = len(of_axes[TUNED[0]][name])
        told = name if there == len(found) else f"{name} ({there} of {len(found)})"
        handles.append(keys.entry(look, told, styles[name]["color"], stroke=styles[name]["linestyle"]))
        if there < len(found):
            handles[-1].set_alpha(_PALE)
            fewer = True
    heading = "How often each is within a factor of the best" if title is None else title
    return page.finish(heading, handles, *filter(None, [caption, _NOTE + (_FEWER if fewer else "") + _SIDE]))


@with_own_settings
def sensitivity_figure(
    races: Sequence[Race], title: str | None = None, caption: str = "", look: Look = PAPER
) -> Figure:
    """The share of the trials of each tuning that had reached a goal within a cost, in samples, SMMs and span: of one
    race to every goal, of several to the last of each. Who tunes nothing is left out.
    """
    found = places(races)
    if len(races) > 1:
        found = [place for place in found if place.goal == place.race.goals[-1]]
    names = [name for name in contenders(found) if any(name in tried(place, TUNED[0]) for place in found)]
    if not names:
        raise InputError("nobody tuned anything in these races")
    known = contenders(found)
    styles = _styles({name: known[name] for name in names}, look)
    ems = look.points / look.sizes.text
    across = len(TUNED) if ems >= 15 * len(TUNED) else 1  # panels of one place side by side, or all below one another
    page = Page(look, len(TUNED) * len(found), least=ems / (across + 0.5), height=11.0)
    for line, place in enumerate(found):
        for column, axis in enumerate(TUNED):
            number = len(TUNED) * line + column
            (axes,) = page.panels[number]
            costs = tried(place, axis)
            known_costs = [cost for each in costs.values() for cost in each if math.isfinite(cost) and cost > 0]
            page.decades_x(axes, known_costs)
            low, high = axes.get_xlim()
            for at, name in enumerate(names):
                if name in costs:
                    _rise(axes, *steps(costs[name]), low, high, styles[name], _beside(at, len(names), look))
            _percent(page, axes, number, "trials that got there, %")
            page.name(axes, LABELS[axis], axes.get_ylabel())
            if not column or across == 1:
                page.title(axes, place.name if len(races) > 1 else _capital(goal_name(place.race, place.goal)))
    handles = [keys.entry(look, name, styles[name]["color"], stroke=styles[name]["linestyle"]) for name in names]
    heading = "How many trials of a tuning reach the goal within a cost" if title is None else title
    if title is None and len(races) == 1:
        heading += f": {found[0].problem}"
    return page.finish(heading, handles, *filter(None, [caption, _SIDE[2:]]))


def _styles(known: Mapping[str, Row], look: Look) -> dict[str, dict[str, Any]]:
    """Colours by algorithm; dashes tell contenders of one apart."""
    curves = []
    for name, told in known.items():
        alike = [other for other, each in known.items() if each["algorithm"] == told["algorithm"]]
        curves.append({"algorithm": told["algorithm"], "stroke": alike.index(name)})
    return dict(zip(known, styles_of(curves, look), strict=True))


def _beside(place: int, count: int, look: Look) -> float:
    """How far, in points, a line is moved up so that it does not hide another: less than its own width."""
    return 0.8 * look.sizes.thin * (place - (count - 1) / 2)


def _rise(
    axes: Axes,
    at: Sequence[float],
    shares: Sequence[float],
    first: float,
    last: float,
    style: Mapping[str, Any],
    up: float,
) -> None:
    """A line of steps from ``first`` to ``last``, in percent, moved up by so many points."""
    from matplotlib.transforms import ScaledTranslation

    figure: Any = axes.figure
    moved = axes.transData + ScaledTranslation(0, up / 72, figure.dpi_scale_trans)
    inside = [(x, 100 * share) for x, share in zip(at, shares, strict=True) if x > first]
    before = [100 * share for x, share in zip(at, shares, strict=True) if x <= first]
    x = [first, *(x for x, _ in inside), last]
    y = [before[-1] if before else 0.0, *(share for _, share in inside)]
    axes.plot(x, [*y, y[-1]], drawstyle="steps-post", transform=moved, clip_on=True, **style)


def _percent(page: Page, axes: Axes, number: int, what: str) -> None:
    axes.set_ylim(-4, 104)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.tick_params(labelleft=page.leftmost(number))
    page.name(axes, "", what if page.leftmost(number) else "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
