"""What all figures look like: one colour for each algorithm, one marker for each execution, sizes, types of files.

Everything here is a table, a size or a file; where things stand on a figure is said in :mod:`pcsim.figures.page`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, wraps
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from ..errors import InputError
from ..streams import check_place, is_stream, write_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")

SUFFIXES = (".png", ".svg", ".pdf")

INK, GREY, PALE, FAINT, SHADE = "#222222", "#6a6a6a", "#9a9a9a", "#e6e6e6", "#f6f0e8"

# An algorithm has one colour in every figure. Those of iPC, BP, PC and Z-IL are Paul Tol's high-contrast scheme
# ("Colour schemes", 2021), made for colour-blind readers and for print in grey; others are of his muted scheme.
ALGORITHM_COLOURS = {
    "ipc": "#004488",
    "bp": "#BB5566",
    "pc": "#DDAA33",
    "zil": "#000000",
    "local": "#117733",
    "dfa": "#88CCEE",
    "dual": "#AA4499",
}
TITLES = {"ipc": "iPC", "bp": "BP", "pc": "PC", "zil": "Z-IL"}  # as people write them; others as they are called
OTHER_COLOURS = ("#999933", "#44AA99", "#882255", "#661100")  # algorithms from outside, in their order

# An execution has one marker in every figure, whichever algorithm it runs.
EXECUTION_MARKERS = {
    "serial": "s",
    "layer-parallel": "o",
    "serial-unfused": "D",
    "layer-parallel-unfused": "^",
    "intra-layer": "v",
    "pipeline": ">",
    "pipeline-async": "4",
    "data-parallel": "X",
    "hybrid": "P",
    "blas": "<",
    "numpy": "d",
    "torch": "p",
    "jax": "h",
    "pcx": "*",
}
OTHER_MARKER = "8"

STROKES: dict[str, Any] = {"measured": "-", "predicted": (0, (1, 1.2)), "counted": (0, (4, 2))}
UNLIMITED: Any = (0, (1, 2.5))  # what is counted for as many workers as can be used

DASHES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.5)),
    (0, (1, 1.2)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)

UNITS = ((1.0, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns"))


class Sizes(NamedTuple):
    """Of texts and lines, in points (1/72 inch); ``width``, of a figure, in inches."""

    width: float
    text: float  # labels, titles of panels, key
    small: float  # numbers at ticks, marks, caption
    heading: float
    thin: float
    strong: float
    marker: float


STYLES = {
    "paper": Sizes(width=7.0, text=7.5, small=7.0, heading=8.5, thin=0.9, strong=3.4, marker=3.4),
    "talk": Sizes(width=12.0, text=14.0, small=13.0, heading=17.0, thin=1.7, strong=6.5, marker=6.5),
}

NARROWEST, WIDEST = 2.5, 40.0  # inches


@dataclass(frozen=True)
class Look:
    """How wide a figure is, in inches (0: as its style has it), and how large what is on it.

    ``paper`` is for a journal, whose columns are about 3.4 and 7 inches wide, ``talk`` for a slide. The height follows
    from the width and from what is drawn. Raises :class:`InputError` for what cannot be drawn.
    """

    style: str = "paper"
    width: float = 0.0

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise InputError(f"style {self.style!r} is unknown: choose from {', '.join(STYLES)}")
        if self.width and not NARROWEST <= self.width <= WIDEST:
            raise InputError(f"a figure of {self.width:g} inches cannot be drawn: give {NARROWEST:g} to {WIDEST:g}")

    @property
    def sizes(self) -> Sizes:
        """Of texts and lines."""
        return STYLES[self.style]

    @property
    def points(self) -> float:
        """The width in points."""
        return 72 * float(self.width or self.sizes.width)


PAPER = Look()


def colour_of(algorithm: str, others: Iterable[str] = ()) -> str:
    """The colour of an algorithm; ``others`` are those from outside that share the figure."""
    if algorithm in ALGORITHM_COLOURS:
        return ALGORITHM_COLOURS[algorithm]
    known = [name for name in dict.fromkeys(others) if name not in ALGORITHM_COLOURS]
    return OTHER_COLOURS[known.index(algorithm) % len(OTHER_COLOURS) if algorithm in known else 0]


def title_of(algorithm: str) -> str:
    return TITLES.get(algorithm, algorithm)


def marker_of(execution: str | None) -> str:
    """The marker of an execution."""
    return EXECUTION_MARKERS.get(execution or "", OTHER_MARKER)


def paler(colour: str, share: float = 0.62) -> str:
    """The colour mixed with that share of white."""
    mixed = (round(int(colour[i : i + 2], 16) * (1 - share) + 255 * share) for i in (1, 3, 5))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def lightness(colour: str) -> float:
    """What is left of a colour in grey, 0 to 255."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def ink_on(colour: str) -> str:
    """White or black, whichever reads better on the colour."""
    return "white" if lightness(colour) < 140 else INK


# --- settings ---


@contextmanager
def own_settings() -> Iterator[None]:
    """Within, matplotlib has settings of its own, whatever the user's are: a LaTeX that is not there, a font, a grid. A
    figure is made and saved alike. Text stays text in SVG and PDF, and a dollar is a dollar."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {"svg.hashsalt": "pcsim", "svg.fonttype": "none", "pdf.fonttype": 42, "text.parse_math": False}
        )
        yield


def with_own_settings(make: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """What makes a figure, in :func:`own_settings`."""

    @wraps(make)
    def made(*given: _Given.args, **named: _Given.kwargs) -> _Made:
        with own_settings():
            return make(*given, **named)

    return made


# --- texts ---


@lru_cache(maxsize=8192)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """The width of one line in points, a little rounded up."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(
        family="DejaVu Sans", style="normal", variant="normal", stretch="normal", size=size,
        weight="bold" if bold else "normal",
    )  # fmt: skip
    return 1.03 * text_to_path.get_text_width_height_descent(text.replace("$", "S"), font, ismath=False)[0]


def wrapped(text: str, room: float, size: float, bold: bool = False, most: int = 99) -> list[str]:
    """The text in lines that are no wider than ``room`` points, no more than ``most`` of them."""
    lines: list[str] = []
    for word in filter(None, re.split(r"[ \t\n]+", text)):  # not at spaces that must not be broken
        if lines and text_width(f"{lines[-1]} {word}", size, bold) <= room:
            lines[-1] += f" {word}"
            continue
        while text_width(word, size, bold) > room and len(word) > 1:  # a word alone that is too long
            fits = next((n for n in range(len(word) - 1, 1, -1) if text_width(word[:n], size, bold) <= room), 1)
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    if len(lines) > most:
        lines = lines[:most]
        while lines[-1] and text_width(lines[-1] + " …", size, bold) > room:
            lines[-1] = lines[-1][:-1]
        lines[-1] += " …"
    return lines


def axis_seconds(seconds: float) -> str:
    factor, unit = next((unit for unit in UNITS if seconds * unit[0] >= 0.9995), UNITS[-1])
    return f"{seconds * factor:g} {unit}"


# --- data ---


def grouped(rows: Iterable[Any], group: Callable[[Any], Hashable]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for row in rows:
        found.setdefault(group(row), []).append(row)
    return found


def floats(numbers: Any) -> np.ndarray:
    return np.asarray(numbers, dtype=float).ravel()  # None becomes NaN


# --- files ---


def check_suffix(path: str | Path) -> None:
    """Raises :class:`InputError`, before work begins, for a name that :func:`save` does not accept, and for a place
    that cannot be written."""
    if is_stream(path):
        return
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: unknown type of figure; end the name in one of {', '.join(SUFFIXES)}")
    check_place(path)


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure as PNG (300 dots per inch), SVG or PDF, by the suffix; the same figure gives the same bytes.
    ``-`` is PNG to standard output.

    Text stays text in SVG and PDF, so that a publisher can edit it. Raises :class:`InputError` for another suffix and
    for a place that cannot be written.
    """
    check_suffix(path)
    suffix, drawn = ".png" if is_stream(path) else Path(path).suffix.lower(), BytesIO()
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})
    with own_settings():
        figure.savefig(drawn, format=suffix[1:], dpi=300, metadata=metadata)
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
