"""Who waits for whom: the products of a task graph as bars in lanes of layers, and arrows between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..schedule.sizes import SMALL
from ..schedule.tasks import STARTS_COSTS, Kind, TaskGraph
from ..schedule.waits import turns, updates_of, waits
from . import keys
from .page import Page
from .schedules import COLOURS, NAMES
from .style import INK, PAPER, Look, ink_on, text_width, with_own_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UP, _DOWN, _DASHES = INK, "#CC3311", (0, (3, 1.5))
_HALF = 0.27  # of the height of a bar; between two lanes there is room for arrows


@with_own_settings
def waits_figure(
    graph: TaskGraph, after: int, until: int, parts: int = 3, title: str | None = None, look: Look = PAPER
) -> Figure:
    """``until`` products' time of a graph in which every layer has a worker, from the completion of update ``after``
    (the first has number 1; 0: from the beginning); products of heads and of feedback take ``1 / parts`` of a layer's.

    A bar is a product, and its number the weight update of its layer that it is for; an arrow leads from a product to
    one of another layer that waits for it; an upright line stands where weights change. All of it follows from
    the task graph: counted. Raises :class:`InputError` for a graph that ends earlier.
    """
    costs = {kind: cost if kind in SMALL else cost * parts for kind, cost in STARTS_COSTS.items()}
    start, finish = turns(graph, costs)
    updating = graph.kinds == Kind.UPDATE
    begin = int(finish[updating & (graph.update_of < after)].max(initial=0))
    end = begin + until * parts
    if until < 1 or end > finish[updating].max():
        raise InputError(f"the graph ends after {finish[updating].max() / parts:g} products; draw up to that")
    products = np.isin(graph.kinds, list(costs))
    drawn = set(np.flatnonzero(products & (start >= begin) & (finish <= end)).tolist())
    page = Page(look, 1, height=2.9 * graph.depth)
    ((axes,),) = page.panels
    axes.set(xlim=(0, until), ylim=(-0.5, graph.depth - 0.5))
    axes.set_yticks(range(graph.depth), [f"layer {l}" for l in range(graph.depth)])
    axes.set_xticks(range(0, until + 1, 1 + int(until * 2.2 * look.sizes.small // (0.85 * look.points))))
    axes.grid(False)
    numbers = updates_of(graph)
    numbers += 1 - numbers[sorted(drawn)].min()
    seen = np.flatnonzero(products & (finish > begin) & (start < end)).tolist()  # some of them in part
    bars = [(task, Kind(graph.kinds[task]), int(graph.layers[task])) for task in seen]
    for task, kind, layer in bars:
        style: dict[str, Any] = {"facecolor": COLOURS[kind], "edgecolor": "white", "linewidth": 0.5}
        place = (start[task] - begin) / parts, costs[kind] / parts
        axes.broken_barh([place], (layer - _HALF, 2 * _HALF), **style)
    for earlier, later in waits(graph):
        below, above = int(graph.layers[earlier]), int(graph.layers[later])
        if below == above or not drawn.issuperset((earlier, later)):
            continue
        side = _HALF if above > below else -_HALF
        places = (
            ((finish[earlier] - begin) / parts - 0.1, below + side),
            ((start[later] - begin) / parts + 0.1, above - side),
        )
        arrow: dict[str, Any] = {"color": _UP} if above > below else {"color": _DOWN, "linestyle": _DASHES}
        arrow |= {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "linewidth": look.sizes.thin, "mutation_scale": 6}
        axes.annotate("", places[1], places[0], arrowprops=arrow)
    mark: dict[str, Any] = {"color": COLOURS[Kind.UPDATE], "linewidth": 2.4 * look.sizes.thin}
    for task in np.flatnonzero(updating & (finish > begin) & (finish <= end)).tolist():
        x, layer = (finish[task] - begin) / parts, int(graph.layers[task])
        axes.plot([x, x], [layer - 1.25 * _HALF, layer + 1.25 * _HALF], clip_on=False, zorder=3, **mark)
    from matplotlib.lines import Line2D

    em, kinds = look.sizes.text, {kind for _, kind, _ in bars}
    handles: list[Any] = [keys.patch(NAMES[kind], COLOURS[kind]) for kind in sorted(kinds)]
    handles += [
        keys.entry(look, "the layer above waits", _UP),
        keys.entry(look, "a layer below waits", _DOWN, stroke=_DASHES),
        Line2D(
            [], [], label="weights change", color=mark["color"], marker="|", ls="", ms=1.2 * em, mew=mark["linewidth"]
        ),
    ]
    small = f"; head and feedback drawn as 1/{parts} of one" if kinds & SMALL else ""
    page.name(axes, f"time in products of a layer{small}; counted; numbers: weight updates")
    figure = page.finish("Who waits for whom" if title is None else title, handles)
    unit = axes.bbox.width * 72 / figure.dpi / until  # points
    for task, kind, layer in bars:
        wide, number = costs[kind] / parts, str(numbers[task])
        if task in drawn and text_width(number, look.sizes.small) < wide * unit:
            ink: dict[str, Any] = {"fontsize": look.sizes.small, "color": ink_on(COLOURS[kind])}
            middle = (start[task] - begin) / parts + wide / 2
            axes.text(middle, layer, number, ha="center", va="center_baseline", **ink)
    return figure
