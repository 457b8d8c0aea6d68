"""The key of a figure: its entries, and how they fit into a room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import INK, SHADE, Look, marker_of, paler, text_width, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend


def point(look: Look, colour: str, execution: str | None, hollow: bool = False) -> dict[str, Any]:
    """How the marker of an execution is drawn."""
    sizes, marker = look.sizes, marker_of(execution)
    larger = {"*": 1.5, "s": 0.9, "D": 0.85, "X": 1.15, "p": 1.15, "h": 1.15}.get(marker, 1.0)
    style: dict[str, Any] = {"marker": marker, "markersize": larger * sizes.marker, "linestyle": ""}
    style |= {"markerfacecolor": "white" if hollow else colour, "markeredgecolor": colour}
    return style | {"markeredgewidth": 0.75 * sizes.thin}


def entry(
    look: Look,
    label: str,
    colour: str = INK,
    execution: str | None = None,
    stroke: Any = "-",
    strong: bool = False,
    hollow: bool = False,
) -> Any:
    """A line of the key: a stroke ("" for none), a marker, or both; ``strong``: a broad, pale line."""
    from matplotlib.lines import Line2D

    style: dict[str, Any] = {"color": paler(colour) if strong else colour, "label": label}
    style["linewidth"] = look.sizes.strong if strong else look.sizes.thin
    style |= {} if execution is None else point(look, colour, execution, hollow)
    return Line2D([], [], **(style | {"linestyle": stroke}))


def sign(look: Look, label: str, text: str) -> Any:
    """What a sign beside points means."""
    from matplotlib.lines import Line2D
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    path = TextPath((0, 0), text, size=1)  # the sign as a shape, since text between dollars is not read as mathematics
    middle = path.get_extents().get_points().mean(axis=0)
    centred = path.transformed(Affine2D().translate(*-middle))
    style: dict[str, Any] = {"marker": centred, "markersize": look.sizes.small, "markeredgewidth": 0.2}
    return Line2D([], [], color=INK, linestyle="", label=label, **style)


def patch(label: str, colour: str = SHADE) -> Any:
    """What an area means."""
    from matplotlib.patches import Patch

    edge: dict[str, Any] = {"edgecolor": "#cfc6ba", "linewidth": 0.4} if colour == SHADE else {"linewidth": 0}
    return Patch(facecolor=colour, label=label, **edge)


def legend(figure: Figure, look: Look, handles: Sequence[Any], columns: int) -> Legend:
    style: dict[str, Any] = {"frameon": False, "fontsize": look.sizes.text, "labelcolor": INK, "borderpad": 0}
    style |= {"handlelength": 2.4, "handletextpad": 0.6, "columnspacing": 1.2, "labelspacing": 0.35}
    made = figure.legend(handles=handles, ncols=columns, loc="upper left", borderaxespad=0, **style)
    columns_box: Any = made.get_children()[0].get_children()[1]
    columns_box.align = "top"  # where a column begins with a label of two lines
    return made


def cut(
    look: Look, handles: Sequence[Any], columns: int, room: float, labels: Sequence[str] = ()
) -> tuple[float, float]:
    """Width and height, in points, of a key in so many columns; its labels are cut to the room. ``labels``: as they
    were before any cut, since a word that was cut stays in parts."""
    em = look.sizes.text
    for handle, label in zip(handles, labels or labels_of(handles), strict=True):
        handle.set_label("\n".join(wrapped(label, room - 3.2 * em, em)))
    lines = [str(handle.get_label()).split("\n") for handle in handles]
    parts = [part for part in np.array_split(np.arange(len(handles)), columns) if len(part)]
    widths = [max(text_width(line, em) for n in part for line in lines[n]) + 3 * em for part in parts]
    heights = [sum(1.15 * em * len(lines[n]) + 0.2 * em for n in part) for part in parts]
    return sum(widths) + 1.2 * em * (len(widths) - 1), max(heights)


def labels_of(handles: Sequence[Any]) -> list[str]:
    """Each in one line."""
    return [str(handle.get_label()).replace("\n", " ") for handle in handles]


def lowest(look: Look, handles: Sequence[Any], room: float) -> int:
    """In how many columns a key of that width is lowest, cut labels counting double; labels are cut to them."""
    em, found, labels = look.sizes.text, [], labels_of(handles)
    for columns in range(1, len(handles) + 1):
        for share in (1.0, 1.15, 1.3, 1.6, columns):
            each = min(max(share * room / columns - 1.2 * em, 10 * em), room)
            width, height = cut(look, handles, columns, each, labels)
            added = sum(str(handle.get_label()).count("\n") for handle in handles)
            found += [(height + em * added, columns, each)] if width <= room or columns == 1 else []
    _, columns, each = min(found)
    cut(look, handles, columns, each, labels)
    return columns


def narrowest(look: Look, handles: Sequence[Any], room: float) -> tuple[int, float] | None:
    """The most columns that fit a room, and the height of the key; None where not even one does."""
    labels = labels_of(handles)
    for columns in range(len(handles), 0, -1):
        width, height = cut(look, handles, columns, room, labels)
        if width <= room:
            return columns, height
    for handle, label in zip(handles, labels, strict=True):
        handle.set_label(label)
    return None
