"""The figure of MPI ranks: how time and ratio change with more of them, and with latency added between them.

It turns points of :mod:`pcsim.results.ranks` into panels, in the style and with the colours of
:mod:`pcsim.figures.style`. It must never decide what is compared with what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError
from ..results.fields import USUAL
from ..results.files import Results
from ..results.origin import intervals, machine_and_versions
from ..results.pairs import HEADLINE
from ..results.ranks import delays, exchanges, rank_scaling, weak_scaling
from ..tables import conditions
from . import keys
from .page import Page
from .scales import limits
from .style import GREY, INK, PAPER, STROKES, Look, axis_seconds, colour_of, grouped, with_own_settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_Point = Mapping[str, Any]

_IPC, _BP = colour_of("ipc"), colour_of("bp")

_IDEAL: Any = (0, (1, 2.5))

_BEYOND = 4.0  # at most this factor further than points on cores of their own an axis goes for those that share a core

_NET = ("kind", "dtype", "activation", "batch", "width", *USUAL)


class _Panel(NamedTuple):
    """A pair of panels, seconds above and the ratio below: what they show, over what."""

    name: str
    points: list[_Point]
    over: str  # a field of the points
    ideal: Callable[[float, float, float], float] | None  # of seconds at the first place: first, place → seconds


@with_own_settings
def ranks_figure(results: Results, title: str | None = None, look: Look = PAPER) -> Figure:
    """Strong scaling, weak scaling and the effect of added latency, as far as the file has them.

    A pair of panels for each net: seconds per weight update of iPC and of every execution of BP above, the ratio below,
    iPC ÷ each BP on as many workers, and ÷ the fastest BP on no more (``best-bp``), the broad line, with their
    intervals. Of nets that differ in depth alone the deepest is drawn, for strong scaling without added latency if it
    was measured so; over latency its largest number of ranks that fit the cores. Hollow points had more workers than
    cores; they do not set the scale, and may lie beyond it. Raises :class:`InputError` where there is none of them.
    """
    panels = [*_strong(results), *_weak(results), *_delayed(results)]
    if not panels:
        raise InputError(f"{results.path}: neither ranks nor depths nor latencies to draw; measure with --backend mpi")
    points = [point for panel in panels for point in panel.points]
    kinds = sorted({point["kind"] for point in points})
    types = sorted({f"{point['dtype']}, {point['activation']}" for point in points})
    page = Page(look, len(panels), stacked=2)
    for number, panel in enumerate(panels):
        first = panel.points[0]
        name = panel.name + (f", {first['kind']}" if len(kinds) > 1 else "")
        name += f", {first['dtype']}, {first['activation']}" if len(types) > 1 else ""
        times, ratios = page.panels[number]
        page.title(times, name)
        _times(page, times, panel)
        _ratios(page, ratios, panel)
        left = page.leftmost(number)
        page.name(times, y="seconds" if left else "")
        page.name(ratios, "added latency" if panel.over == "delay" else "ranks", "iPC ÷ BP" if left else "")
        times.tick_params(labelbottom=False)
    title = "iPC and BP on MPI ranks: seconds per weight update, and their ratio" if title is None else title
    bars = f"; bars: intervals {intervals(results.rows)}" if any(point["ratio_low"] for point in points) else ""
    meaning = f"{'; '.join(types)}; {', '.join(kinds)}; medians{bars}; fastest BP: on no more workers"
    latency = "; latency is added to each message, one way" if any(panel.over == "delay" for panel in panels) else ""
    beyond = "; arrowheads: points beyond the axis" if any(point["oversubscribed"] for point in points) else ""
    return page.finish(title, _key(page, panels), machine_and_versions(results.context), meaning + latency + beyond)


def _key(page: Page, panels: Sequence[_Panel]) -> list[Any]:
    points = [point for panel in panels for point in panel.points]
    stroke = STROKES["predicted"] if all(point["kind"] == "predicted" for point in points) else "-"
    handles = []
    for algorithm, colour in (("ipc", _IPC), ("bp", _BP)):
        title = {"ipc": "iPC", "bp": "BP"}[algorithm]
        for execution in dict.fromkeys(point["execution"] for point in points if point["algorithm"] == algorithm):
            handles.append(keys.entry(page.look, f"{title} {execution}", colour, execution, stroke=stroke))
    if any(point["ratio"] and point["algorithm"] == "ipc" for point in points):
        handles.append(keys.entry(page.look, "iPC ÷ fastest BP", _IPC, strong=True))
    if any(point["ratio"] and point["algorithm"] == "bp" for point in points):
        handles.append(keys.entry(page.look, "iPC ÷ that BP", _IPC, stroke=stroke))
    if any(panel.ideal for panel in panels):
        handles.append(keys.entry(page.look, "iPC, perfect scaling", GREY, stroke=_IDEAL))
    if any(point["oversubscribed"] for point in points):
        handles.append(keys.entry(page.look, "more workers than cores", INK, "layer-parallel", hollow=True, stroke=""))
    return [*handles, keys.patch("BP faster")]


def _points(source: Callable[[Results], list[dict[str, Any]]], results: Results) -> list[dict[str, Any]]:
    """The points of iPC and BP, if there are any."""
    try:
        return [point for point in source(results) if point["algorithm"] in ("ipc", "bp")]
    except InputError:  # says only that the file has nothing of the kind
        return []


def _net(point: _Point) -> tuple[Any, ...]:
    return tuple(point[name] for name in _NET)


def _size(depth: Any, point: _Point) -> str:
    """The net in words, which are broken after a comma only."""
    net = point["net"] or f"{depth} × {point['width']}"
    return f"{net}, batch {point['batch']}{conditions(point)}".replace(" ", "\N{NO-BREAK SPACE}").replace(",\xa0", ", ")


def _strong(results: Results) -> list[_Panel]:
    panels = []
    for inside in grouped(_points(rank_scaling, results), _net).values():
        plain = min((point["delay"] is not None, point["delay"]) for point in inside)[1]
        alike = [point for point in inside if point["delay"] == plain]
        depth = max(point["depth"] for point in alike)
        drawn = [point for point in alike if point["depth"] == depth]
        name = f"strong: {_size(depth, drawn[0])}"
        panel = _Panel(name, drawn, "ranks", lambda seconds, first, place: seconds * first / place)
        if any(len(points) > 1 for points in _curves(panel).values()):
            panels.append(panel)
    return panels


def _weak(results: Results) -> list[_Panel]:
    """Nets that grow through all the ranks that were used: in a file of strong scaling some depths may happen to."""
    panels, every = [], _points(exchanges, results)
    for net, inside in grouped(_points(weak_scaling, results), _net).items():
        plain = min((point["delay"] is not None, point["delay"]) for point in inside)[1]
        alike = [point for point in inside if point["delay"] == plain]
        groups = grouped(alike, lambda point: (point["layers"], point["threads"]))
        counts = {group: {point["ranks"] for point in points} for group, points in groups.items()}
        layers, threads = max(groups, key=lambda group: (len(counts[group]), group))
        if not counts[layers, threads] >= {point["ranks"] for point in every if _net(point) == net}:
            continue
        drawn = groups[layers, threads]
        name = f"weak: {_size(f'{layers} per rank', drawn[0])}"
        panels.append(_Panel(name, drawn, "ranks", lambda seconds, first, place: seconds))
    return panels


def _delayed(results: Results) -> list[_Panel]:
    panels = []
    for inside in grouped(_points(delays, results), _net).values():
        depth = max(point["depth"] for point in inside)
        deep = [point for point in inside if point["depth"] == depth]
        fitting = [point for point in deep if not point["oversubscribed"]] or deep
        ranks = max(point["ranks"] for point in fitting)
        drawn = [point | {"delay": point["delay"] or 0.0} for point in deep if point["ranks"] == ranks]
        name = f"latency: {_size(depth, drawn[0])}, {ranks}\N{NO-BREAK SPACE}ranks"
        panels.append(_Panel(name, drawn, "delay", None))
    return panels


def _place(panel: _Panel) -> Callable[[float], float]:
    """The position of a point on the logarithmic axis: no added latency stands before the first, beyond a break."""
    there = sorted({point[panel.over] for point in panel.points})
    if panel.over != "delay" or there[0] > 0:
        return lambda place: place
    first = there[1] / 10 if len(there) > 1 else 1e-6
    return lambda place: place or first


def _axis(page: Page, axes: Axes, panel: _Panel) -> None:
    there, place = sorted({point[panel.over] for point in panel.points}), _place(panel)
    if panel.over == "ranks":
        page.log_x(axes, there)
        return
    page.log_x(axes, {place(value): axis_seconds(value) if value else "none" for value in there}, [place(there[0])])
    if not there[0] and len(there) > 1:
        page.broken_x(axes, place(there[0]), place(there[1]))


def _curves(panel: _Panel) -> dict[str, list[_Point]]:
    """iPC's points, and those of each execution of BP: at each place the fastest, in order."""
    found = {}
    name = lambda point: "iPC" if point["algorithm"] == "ipc" else point["execution"]  # noqa: E731
    for label, inside in grouped(panel.points, name).items():
        places = grouped(inside, lambda point: point[panel.over])
        found[label] = [min(places[place], key=lambda point: point["median"]) for place in sorted(places)]
    return found


def _scale(panel: _Panel, fields: Sequence[str], others: Sequence[float] = ()) -> list[float]:
    """What an axis holds: all points on cores of their own, and of the others what is not far from them."""
    known = [(point[field], point["oversubscribed"]) for point in panel.points for field in fields if point[field]]
    own = [*others, *(value for value, shared in known if not shared)]
    if not any(not shared for _, shared in known):
        return [*others, *(value for value, _ in known)]
    low, high = limits(own)
    return [*own, *(min(max(value, low / _BEYOND), high * _BEYOND) for value, shared in known if shared)]


def _times(page: Page, axes: Axes, panel: _Panel) -> None:
    place, curves = _place(panel), _curves(panel)
    _axis(page, axes, panel)
    ideal: list[float] = []
    if panel.ideal and "iPC" in curves:
        start, last = curves["iPC"][0], curves["iPC"][-1]
        at = [start[panel.over], last[panel.over]]
        lines = [panel.ideal(start["median"], at[0], where) for where in at]
        axes.plot(at, lines, color=GREY, linestyle=_IDEAL, linewidth=page.look.sizes.thin, zorder=1.2)
        fits = [point[panel.over] for point in curves["iPC"] if not point["oversubscribed"]]
        ideal = [panel.ideal(start["median"], at[0], max(fits))] if fits else []
    page.log_y(axes, _scale(panel, ("median", "low", "high"), ideal), axis_seconds)
    for label, points in curves.items():
        drawn = [(place(p[panel.over]), p["median"], p["low"], p["high"], _drawn(p)) for p in points]
        _line(page, axes, panel, drawn, _IPC if label == "iPC" else _BP)


def _ratios(page: Page, axes: Axes, panel: _Panel) -> None:
    place, curves = _place(panel), _curves(panel)
    _axis(page, axes, panel)
    found = {label: [point for point in points if point["ratio"]] for label, points in curves.items()}
    page.log_y(axes, [1, *_scale(panel, ("ratio", "ratio_low", "ratio_high"), [1])])
    page.ratio(axes)
    for points in found.values():
        best = bool(points) and points[0]["denominator"] == HEADLINE
        drawn = [(place(p[panel.over]), p["ratio"], p["ratio_low"], p["ratio_high"], _drawn(p)) for p in points]
        if best:  # what is divided by has markers of its own
            named = [(*one[:4], (p["other_execution"], one[4][1])) for one, p in zip(drawn, points, strict=True)]
            _line(page, axes, panel, named, _IPC, strong=True)
        elif points:
            _line(page, axes, panel, drawn, _IPC)


def _drawn(point: _Point) -> tuple[str, bool]:
    return point["execution"], bool(point["oversubscribed"])


def _line(
    page: Page, axes: Axes, panel: _Panel, points: Sequence[tuple[Any, ...]], colour: str, strong: bool = False
) -> None:
    """A curve, which does not pass a break of the axis."""
    flat = [(*point[:4], *point[4]) for point in points]
    none = panel.over == "delay" and min(point["delay"] for point in panel.points) == 0
    apart = [point for point in flat if none and point[0] == _place(panel)(0.0)]
    for part in (apart, [point for point in flat if point not in apart]):
        if part:
            page.curve(axes, part, colour, _stroke(panel), strong=strong)


def _stroke(panel: _Panel) -> Any:
    return STROKES.get(panel.points[0]["kind"], "-")
