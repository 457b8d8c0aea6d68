"""What all figures share: colours, panels, scales, legends, captions, file formats."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..streams import is_stream, write_out

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SUFFIXES = (".png", ".svg", ".pdf")

INK, GREY, FAINT = "#222222", "#666666", "#e4e4e4"

# Okabe and Ito's palette (Color Universal Design, 2008)
BLUE, SKY, GREEN, ORANGE, RED, PINK = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"

STRONG, THIN = 2.4, 1.0  # widths of lines

# Paul Tol's muted colours ("Colour schemes", 2021) for the many executions of BP, drawn thin
EXECUTION_COLOURS = {
    "serial": ("#882255", "s"),
    "intra-layer": ("#999933", "v"),
    "blas": ("#44AA99", "<"),
    "pipeline": ("#AA4499", ">"),
    "data-parallel": ("#CC6677", "X"),
    "numpy": (ORANGE, "v"),
    "torch": ("#661100", "d"),
    "jax": ("#117733", "h"),
}

UNITS = ((1.0, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns"))


def check_suffix(path: str | Path) -> None:
    """Raises :class:`InputError` for a name that :func:`save` does not accept."""
    if is_stream(path):
        return
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: unknown type of figure; end the name in one of {', '.join(SUFFIXES)}")


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure as PNG (200 dots per inch), SVG or PDF, by the suffix; the same figure gives the same bytes.
    ``-`` is PNG to standard output.

    Raises :class:`InputError` for another suffix and for a place that cannot be written.
    """
    check_suffix(path)
    suffix, drawn = ".png" if is_stream(path) else Path(path).suffix.lower(), BytesIO()
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "pcsim"}):
        figure.savefig(drawn, format=suffix[1:], dpi=200, metadata=metadata)
    if is_stream(path):
        write_out(drawn.getvalue())
        return
    try:
        new = not os.path.exists(path)
        try:
            Path(path).write_bytes(drawn.getvalue())
        except OSError:
            if new:  # half a figure is none
                Path(path).unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None


def new_figure(width: float, height: float, title: str, labels: Sequence[str] = ()) -> Figure:
    """An empty figure of that many inches, and more where the legend's labels take more than one line."""
    from matplotlib.figure import Figure

    height += 0.21 * (-(-len(labels) // _columns(width, labels)) - 1 if labels else 0)
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.text(0.25 / width, 1 - 0.32 / height, title, fontsize=13, fontweight="bold", color=INK, va="center")
    return figure


def _columns(width: float, labels: Sequence[str]) -> int:
    """How many of the labels fit beside one another in a legend of that many inches."""
    return max(1, min(len(labels), int(width / (0.7 + 0.085 * max(map(len, labels))))))


def add_panel(figure: Figure, left: float, bottom: float, width: float, height: float, title: str = "") -> Axes:
    """Axes at a place in inches: fixed, so that labels can be set without overlap before anything is drawn."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5, color=GREY, labelcolor=INK)
    axes.grid(True, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=9.5, color=INK)
    return axes


def log_scale(axes: Axes, name: str, values: Iterable[float], text: Callable[[float, Any], str] | None = None) -> None:
    """A logarithmic axis ("x" or "y") that holds the values, its ticks written by ``text``."""
    from matplotlib.ticker import LogLocator, NullLocator

    known = [value for value in values if np.isfinite(value) and value > 0] or [1.0]
    low, high = min(known), max(known)
    axes.set(**{f"{name}scale": "log", f"{name}lim": (low / 1.4, high * 1.4)})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,), numticks=9))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(text or (lambda number, _: f"{number:g}"))


def number_scale(axes: Axes, name: str, numbers: Iterable[int]) -> None:
    """A logarithmic horizontal axis with a tick at each number, powers of two first where they are too many."""
    known = sorted(set(numbers))
    log_scale(axes, "x", known)
    ticks: list[int] = []
    apart = (known[-1] / known[0] * 1.96) ** 0.11
    for number in sorted(known, key=lambda number: (number & (number - 1) != 0, number)):
        if all(max(number / tick, tick / number) >= apart for tick in ticks):
            ticks.append(number)
    axes.set(xticks=ticks, xlabel=name)


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, Any]]) -> None:
    """Writes the name of each line beside its last point (x, y), pushed apart where they would overlap."""
    scale = 72 / axes.figure.dpi  # points per pixel
    gap, top = 11.5, axes.bbox.height * scale
    ends = sorted(ends, key=lambda end: end[1])
    places = np.array([(axes.transData.transform(end[:2])[1] - axes.bbox.y0) * scale for end in ends])
    for _ in range(200):
        short = np.maximum(gap - np.diff(places), 0) / 2
        places[:-1] -= short
        places[1:] += short
        places = np.clip(places, 2 + gap * np.arange(len(ends)), top - 2 - gap * np.arange(len(ends))[::-1])
    for (x, y, text, shade), place in zip(ends, places, strict=True):
        style: dict[str, Any] = {"fontsize": 9, "color": shade, "va": "center", "annotation_clip": False}
        style["textcoords"] = ("axes fraction", "axes points")
        leader = {"arrowstyle": "-", "color": shade, "linewidth": 0.6, "alpha": 0.6, "relpos": (0, 0.5), "shrinkB": 4}
        axes.annotate(text, (x, y), (1.035, place), arrowprops=leader, **style)


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """A legend below the title."""
    width, height = figure.get_size_inches()
    columns = _columns(width, [str(handle.get_label()) for handle in handles])
    corner = (0.15 / width, 1 - 0.5 / height)
    figure.legend(handles=handles, ncols=columns, frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=corner)


def caption(figure: Figure, *lines: str) -> None:
    width, height = figure.get_size_inches()
    text = "\n".join(part for line in lines for part in wrap(line, int(width * 12), max_lines=2, placeholder=" …"))
    figure.text(0.25 / width, 0.14 / height, text, fontsize=8.5, color=GREY, linespacing=1.5)


def grouped(rows: Iterable[Any], group: Callable[[Any], Hashable]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for row in rows:
        found.setdefault(group(row), []).append(row)
    return found


def floats(numbers: Any) -> np.ndarray:
    return np.asarray(numbers, dtype=float).ravel()  # None becomes NaN


def axis_seconds(seconds: float) -> str:
    factor, unit = next((unit for unit in UNITS if seconds * unit[0] >= 0.9995), UNITS[-1])
    return f"{seconds * factor:g} {unit}"


def ink_on(shade: str) -> str:
    """White or black, whichever reads better on the colour."""
    red, green, blue = (int(shade[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else INK
