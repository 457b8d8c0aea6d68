"""Figures under test: what is written and drawn on them, whether it can be read, and made-up pairs to draw."""

import itertools

from matplotlib.colors import to_hex
from matplotlib.text import Text


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
    return [text.get_text() for text in texts(figure)]


def assert_legible(figure):
    """8 points or more, within the figure, and no text upon another."""
    drawn = texts(figure)
    assert min(text.get_fontsize() for text in drawn) >= 8
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


def data(line):
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def pair(depth=8, width=64, ratio=0.5, kind="measured", batch=1, spread=0.1):
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
    }


def lines_by_label(axes):
    """Each line's points by the label beside it, which has its colour."""
    labels = {to_hex(text.get_color()): text.get_text() for text in axes.texts}
    return {labels[to_hex(line.get_color())]: data(line) for line in axes.lines}


def bars(axes):
    """(colour, lane, start, end) of every bar."""
    return [
        (to_hex(bar.get_facecolor()[0]), round(box[:, 1].mean(), 6), box[:, 0].min(), box[:, 0].max())
        for bar in axes.collections
        for box in (path.vertices[:4] for path in bar.get_paths())
    ]
