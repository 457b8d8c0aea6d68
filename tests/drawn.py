"""Figures under test: what is written and drawn on them, whether it can be read, and made-up pairs to draw."""

import itertools

from matplotlib.colors import to_hex
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from pcsim.figures.marks import obstacles
from pcsim.figures.style import EXECUTION_MARKERS, colour_of


def texts(figure):
    """Every text that is drawn, as matplotlib objects."""
    figure.draw_without_rendering()
    hidden = set()
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            low, high = sorted((low, high))
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                outside = not low <= tick.get_loc() <= high
                hidden |= {text for text in (tick.label1, tick.label2) if outside or not text.get_visible()}
    return [
        text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible() and text not in hidden
    ]


def said(figure):
    """What is written, lines joined."""
    return [" ".join(text.get_text().split()) for text in texts(figure)]


def key_of(figure):
    """The labels of the key."""
    return [" ".join(text.get_text().split()) for legend in figure.legends for text in legend.get_texts()]


def assert_legible(figure, smallest=7):
    """Large enough, within the figure, no text upon another or upon a line, and the key beside the panels."""
    drawn = texts(figure)
    assert min(text.get_fontsize() for text in drawn) >= smallest
    boxes = [(Text.get_window_extent(text), text.get_text()) for text in drawn]
    for box, text in boxes:
        inside = (
            figure.bbox.x0 <= box.x0
            and box.x1 <= figure.bbox.x1
            and figure.bbox.y0 <= box.y0
            and box.y1 <= figure.bbox.y1
        )
        assert inside, f"{text!r} leaves the figure"
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        up = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 0 or up <= 2, f"{first!r} and {second!r} overlap"
    for axes in figure.axes:
        lines = obstacles(axes)
        for text in axes.texts:
            box = Text.get_window_extent(text)
            core = Bbox.from_extents(box.x0 + 1, box.y0 + 2, box.x1 - 1, box.y1 - 2)
            assert not any(line.intersects_bbox(core, filled=False) for line in lines), f"{text!r} is on a line"
        for legend in figure.legends:
            assert not legend.get_window_extent().overlaps(axes.bbox), "the key is on a panel"


def data(line):
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def points(axes, algorithm="ipc"):
    """The points drawn in the colour of an algorithm, by execution, in order; hollow ones too."""
    names = {marker: name for name, marker in EXECUTION_MARKERS.items()}
    found = {}
    for line in axes.lines:
        ours = to_hex(line.get_markeredgecolor()) == colour_of(algorithm).lower()
        if (
            isinstance(line.get_marker(), str)
            and line.get_marker() in names
            and line.get_linestyle() == "None"
            and ours
        ):
            found.setdefault(names[line.get_marker()], []).extend(data(line))
    return {name: sorted(places) for name, places in found.items()}


def hollow(axes):
    """The points drawn with a white face."""
    named = set(EXECUTION_MARKERS.values())
    lines = [line for line in axes.lines if isinstance(line.get_marker(), str) and line.get_linestyle() == "None"]
    lines = [line for line in lines if line.get_marker() in named]
    return {at for line in lines if to_hex(line.get_markerfacecolor()) == "#ffffff" for at in data(line)}


def strokes(axes, colour=None):
    """The lines of more than one point, as (colour, dashed or not, width, points)."""
    found = []
    for line in axes.lines:
        if line.get_linestyle() != "None" and len(line.get_xdata()) > 1 and line.get_transform() == axes.transData:
            shade = to_hex(line.get_color())
            if colour is None or shade == colour.lower():
                found.append((shade, line.is_dashed(), line.get_linewidth(), data(line)))
    return found


def pair(depth=8, width=64, ratio=0.5, kind="measured", batch=1, spread=0.1, **fields):
    return {
        "kind": kind,
        "dtype": "float32",
        "activation": "tanh",
        "batch": batch,
        "depth": depth,
        "width": width,
        "ratio": ratio,
        "low": ratio * (1 - spread) if spread else None,
        "high": ratio * (1 + spread) if spread else None,
        "smm_ratio": 2 / (2 * depth - 1),
        "denominator": "paper-style",
    } | fields


def bars(axes):
    """(colour, lane, start, end) of every bar."""
    return [
        (to_hex(bar.get_facecolor()[0]), round(box[:, 1].mean(), 6), box[:, 0].min(), box[:, 0].max())
        for bar in axes.collections
        for box in (path.vertices[:4] for path in bar.get_paths())
    ]
