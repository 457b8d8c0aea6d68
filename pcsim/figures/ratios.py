"""Figures of ratios, of times beside SMMs, and of where the gain comes from.

Each function turns plain data into a matplotlib ``Figure`` and touches no global state (no pyplot); matplotlib is
imported when the first figure is drawn. It must never measure, nor decide what the ratio of a cell is: pairs come
from :func:`pcsim.results.pairs.pairs`. Colours are safe for colour-blind readers; no text is smaller than 8 points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..results.fields import ALGORITHMS, names_of
from ..results.files import Results
from ..results.pairs import FUSED, UNFUSED, best_bp, bp_executions, cells, gains, merged, sides
from .style import (
    BLUE,
    EXECUTION_COLOURS,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PINK,
    RED,
    SKY,
    STRONG,
    THIN,
    add_panel,
    axis_seconds,
    caption,
    grouped,
    label_ends,
    legend,
    log_scale,
    new_figure,
    number_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_Row = Mapping[str, Any]

_STROKES: dict[str, Any] = {"measured": "-", "predicted": ":", "counted": "--"}

_Contender = tuple[str, str, str, Callable[[_Row], bool]]  # label, colour, marker, its rows

_OURS: tuple[_Contender, ...] = (
    ("iPC, best workers", BLUE, "o", lambda row: row["algorithm"] == "ipc" and row["execution"] in FUSED),
    (
        "iPC, 1 worker",
        SKY,
        "D",
        lambda row: row["algorithm"] == "ipc" and row["execution"] in FUSED and row["workers"] == 1,
    ),
)

_PEER: _Contender = (
    "iPC, best peer",
    "#332288",
    "*",
    lambda row: row["algorithm"] == "ipc" and row["execution"] not in (*FUSED, *UNFUSED),
)

_SLOW: tuple[_Contender, ...] = (
    ("PC", GREEN, "^", lambda row: row["algorithm"] == "pc"),
    ("Z-IL", PINK, "P", lambda row: row["algorithm"] == "zil"),
)

_COUNTED: tuple[_Contender, ...] = (
    ("iPC", BLUE, "o", lambda row: row["algorithm"] == "ipc"),
    ("BP", RED, "s", lambda row: row["algorithm"] == "bp"),
    *_SLOW,
)

_GAINS: tuple[tuple[str, str, str, str, str], ...] = (  # field of a gain, label, colour, marker, stroke
    ("bp_serial", "BP serial", "#882255", "s", "-"),
    ("best_bp", "best BP", RED, "", "-"),
    ("serial_unfused", "iPC unfused, 1 worker", ORANGE, "^", "-"),
    ("layer_parallel_unfused", "iPC unfused, all workers", ORANGE, "v", "--"),
    ("serial", "iPC fused, 1 worker", SKY, "D", "-"),
    ("layer_parallel", "iPC fused, all workers", BLUE, "o", "-"),
)


def ratio_figure(pairs: Sequence[_Row], title: str | None = None, machine: str = "") -> Figure:
    """The ratio over depth (one line per width) and over width (one line per depth), with 95 % intervals.

    ``pairs`` are those of :func:`pcsim.results.pairs.pairs`; each batch size, type of net and delay gets panels of its
    own. Solid lines are measured, dotted ones predicted, dashed ones the counted ratio of SMMs. ``machine`` goes into
    the caption beside the denominator. Raises :class:`InputError` for no pairs and for pairs of several denominators.
    """
    named = sorted({pair["denominator"] for pair in pairs})
    if len(named) != 1:
        raise InputError(f"a figure of ratios takes pairs of one denominator, not of {len(named)}")
    first, second = sides(named[0])
    title = title or f"{first.replace('our', 'Our')} against {second}: seconds per complete weight update"
    groups = grouped(pairs, lambda pair: (pair["batch"], pair["dtype"], pair["activation"], pair.get("delay")))
    # One point per line over width would say no more than the panel over depth: such a group takes half a row.
    wide = {group: len({pair["width"] for pair in inside}) > 1 for group, inside in groups.items()}
    places, row, column = [], 0, 0
    for group in groups:
        for over, line in (("depth", "width"), ("width", "depth"))[: 1 + wide[group]]:
            row, column = (row + 1, 0) if column == 2 or (column and wide[group] and over == "depth") else (row, column)
            places.append((group, over, line, row, column))
            column += 1
    figure = new_figure(11.8 if any(place[-1] for place in places) else 6.6, 1.8 + 3.65 * (row + 1), title)
    counted = [pair["smm_ratio"] for pair in pairs if pair["smm_ratio"]]
    everything = [1, *counted, *(pair[name] for pair in pairs for name in ("ratio", "low", "high") if pair[name])]
    for group, over, line, at, column in places:
        batch, dtype, activation, delay = group
        added = "" if delay is None else f", {axis_seconds(delay)} added"
        name = f"over {over}, one line per {line}   (batch {batch}, {dtype}, {activation}{added})"
        axes = add_panel(figure, 0.85 + 5.7 * column, 1.45 + 3.65 * (row - at), 3.85, 2.75, name)
        log_scale(axes, "y", everything)
        _ratio_lines(axes, groups[group], over, line)
        axes.set_ylabel("" if column else f"ratio: {first} ÷ {second} (log scale)")
    there = {pair["kind"] for pair in pairs} | ({"counted"} if counted else set())
    from matplotlib.lines import Line2D

    legend(figure, [Line2D([], [], color=INK, ls=_STROKES[kind], label=kind) for kind in _STROKES if kind in there])
    names = {
        "best-bp": "each cell's fastest BP on the same workers (best-bp)",
        "paper-style": "serial BP (paper-style)",
    }
    names["peer-ipc"] = "each cell's fastest iPC of another library (peer-ipc)"
    other = f"iPC, execution {named[0][4:]}" if named[0].startswith("ipc:") else f"BP, execution {named[0]}"
    below = names.get(named[0], other)
    caption(figure, machine, f"denominator: {below}; bars: 95 % bootstrap intervals; counted: the ratio of SMMs")
    return figure


def times_figure(
    results: Results,
    widths: Sequence[int] | None = None,
    batch: int | None = None,
    title: str = "Seconds and SMMs per complete weight update",
) -> Figure:
    """Median seconds over depth, a panel for each of ``widths`` (default: smallest, middle, largest), beside SMMs.

    The strong lines are iPC and the best BP (``best-bp``) of each cell; every execution of BP has a thin one.
    Drawn are rows of the smallest batch unless ``batch`` says otherwise, measured ones if there are any, else
    predicted ones, marked; without added latency, if there are any. Raises :class:`InputError` where no row fits.
    """
    known = cells(results)
    delay = min(((cell.delay is not None, cell.delay) for cell in known), default=(False, None))[1]
    known = {cell: rows for cell, rows in known.items() if cell.delay == delay}
    good = [run for rows in known.values() for name in names_of(rows) for run in merged(rows, name)]
    kind = "measured" if any(row["kind"] == "measured" for row in good) else "predicted"
    batch = min((row["batch"] for row in good), default=1) if batch is None else batch
    good = [row for row in good if (row["kind"], row["batch"]) == (kind, batch)]
    there = sorted({row["width"] for row in good})
    widths = sorted({*there[:1], *there[len(there) // 2 :][:1], *there[-1:]} if widths is None else set(widths))
    good = [row for row in good if row["width"] in widths]
    if not good or not set(widths) <= set(there):
        raise InputError(f"{results.path}: no times of batch {batch} and widths {widths}; there are widths {there}")
    types = sorted({f"{row['dtype']}, {row['activation']}" for row in good})
    if len(types) > 1:
        raise InputError(f"{results.path}: times of several types of net ({'; '.join(types)}) need a figure each")
    best = [run for cell, rows in known.items() if (run := best_bp(results, cell.kind, rows))]
    best = [row | {"algorithm": "best-bp"} for row in best if (row["kind"], row["batch"]) == (kind, batch)]
    others = _others(good)
    timed = [*others, *_timed(bp_executions(results))]
    figure = new_figure(0.7 + 4.25 * (len(widths) + 1), 5.95, title)
    for number, width in enumerate(widths):
        axes = add_panel(figure, 0.95 + 4.25 * number, 1.3, 2.4, 3.8, f"{kind} seconds, width {width}")
        log_scale(axes, "y", [row["median"] for row in good], lambda seconds, _: axis_seconds(seconds))
        _contender_lines(axes, [row for row in [*good, *best] if row["width"] == width], "median", timed)
    axes = add_panel(figure, 0.95 + 4.25 * len(widths), 1.3, 2.4, 3.8, "SMMs per update, counted")
    rows = [row for row in good if row.get("smm")]
    log_scale(axes, "y", [row["smm"] for row in rows])
    _contender_lines(axes, rows, "smm", [*_COUNTED, *others])
    figure.axes[0].set_ylabel("seconds per update (log scale)")
    meaning = f"batch {batch}, {types[0]}; medians; SMMs: the longest chain of products that wait for one another"
    caption(figure, str(results.context.get("cpu_model") or ""), meaning)
    return figure


def gains_figure(
    results: Results, batch: int | None = None, title: str = "Where the gain comes from: seconds ÷ those of the best BP"
) -> Figure:
    """iPC unfused and fused, on one worker and on all, beside serial BP: over depth, a panel for each width.

    Every time is divided by that of the cell's best BP (``best-bp``), so that what lies below 1 is faster than any BP
    on the same workers. Drawn are the gains of :func:`pcsim.results.pairs.gains`, of the smallest batch unless
    ``batch`` says otherwise, measured ones if there are any. Raises :class:`InputError` where none has a
    BP beside it.
    """
    found = [gain for gain in gains(results) if gain["best_bp"]]
    kind = "measured" if any(gain["kind"] == "measured" for gain in found) else "predicted"
    batch = min((gain["batch"] for gain in found), default=1) if batch is None else batch
    found = [gain for gain in found if (gain["kind"], gain["batch"]) == (kind, batch)]
    types = sorted({f"{gain['dtype']}, {gain['activation']}" for gain in found})
    if len(types) != 1:
        why = f"several types of net ({'; '.join(types)}) need a figure each" if types else "none has a BP beside it"
        raise InputError(f"{results.path}: gains of batch {batch}: {why}")
    counts = {gain["workers"] for gain in found if gain["workers"]}
    many = f"{counts.pop()} workers" if len(counts) == 1 else "all workers"
    drawn = [(name, label.replace("all workers", many), *style) for name, label, *style in _GAINS]
    drawn = [line for line in drawn if any(gain[line[0]] for gain in found)]
    panels = grouped(sorted(found, key=lambda gain: gain["width"]), lambda gain: gain["width"])
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure = new_figure(max(7.4, 0.85 + 3.55 * across), 1.75 + 2.75 * down, title, [label for _, label, *_ in drawn])
    everything = [1, *(gain[name] / gain["best_bp"] for gain in found for name, *_ in drawn if gain[name])]
    for number, (width, inside) in enumerate(panels.items()):
        left, bottom = 0.85 + 3.55 * (number % across), 1.15 + 2.75 * (down - 1 - number // across)
        axes = add_panel(figure, left, bottom, 3.0, 2.05, f"width {width}")
        number_scale(axes, "depth", [gain["depth"] for gain in inside])
        log_scale(axes, "y", everything)
        axes.axhspan(1, axes.get_ylim()[1], color="#f7f1ea", zorder=0)
        axes.set_ylabel("÷ best BP (log scale)" if number % across == 0 else "")
        for name, _, shade, marker, stroke in drawn:
            points = [(gain["depth"], gain[name] / gain["best_bp"]) for gain in inside if gain[name]]
            strong = name in ("best_bp", "layer_parallel")
            style: dict[str, Any] = {"color": shade, "marker": marker, "ls": stroke, "markersize": 4.5}
            axes.plot(*zip(*points, strict=True), linewidth=STRONG if strong else 1.4, **style) if points else None
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=label, color=c, marker=m, ls=ls, markersize=4.5) for _, label, c, m, ls in drawn]
    legend(figure, handles)
    meaning = f"{kind}, batch {batch}, {types[0]}; medians; unfused: three passes per layer in place of one"
    caption(figure, str(results.context.get("cpu_model") or ""), meaning)
    return figure


def _ratio_lines(axes: Axes, pairs: Sequence[_Row], over: str, line: str) -> None:
    """The ratios as lines, with intervals, the counted ratio, and which side of 1 is whose."""
    from matplotlib import colormaps

    number_scale(axes, over, (pair[over] for pair in pairs))
    axes.axhspan(1, axes.get_ylim()[1], color="#f7f1ea", zorder=0)
    axes.axhline(1, color=INK, linewidth=1, zorder=1)
    first, second = sides(pairs[0]["denominator"])
    axes.text(0.015, 0.98, f"{second} faster", transform=axes.transAxes, va="top", fontsize=8.5, color=GREY)
    axes.text(0.015, 0.02, f"{first} faster", transform=axes.transAxes, va="bottom", fontsize=8.5, color=GREY)
    lines = grouped(sorted(pairs, key=lambda pair: (pair[line], pair[over])), lambda pair: pair[line])
    shades = colormaps["viridis" if line == "width" else "plasma"](np.linspace(0.05, 0.8, len(lines)))
    ends = []
    for (value, inside), shade in zip(lines.items(), shades, strict=True):
        for kind, drawn in grouped(inside, lambda pair: pair["kind"]).items():
            ratios = [pair["ratio"] for pair in drawn]
            bars = [[pair["ratio"] - (pair["low"] or pair["ratio"]) for pair in drawn]]
            bars += [[(pair["high"] or pair["ratio"]) - pair["ratio"] for pair in drawn]]
            style: dict[str, Any] = {
                "linestyle": _STROKES[kind],
                "linewidth": 1.7,
                "marker": "o",
                "markersize": 4,
                "capsize": 2.5,
            }
            face = shade if kind == "measured" else "white"
            axes.errorbar([pair[over] for pair in drawn], ratios, np.maximum(bars, 0), color=shade, mfc=face, **style)
        ends.append((drawn[-1][over], ratios[-1], f"{line} {value}", shade))
        if over == "width":
            counted = {pair["width"]: pair["smm_ratio"] for pair in inside if pair["smm_ratio"]}
            axes.plot(list(counted), list(counted.values()), ".--", color=shade, linewidth=1.2)
    if over == "depth":
        known = dict(sorted((pair["depth"], pair["smm_ratio"]) for pair in pairs if pair["smm_ratio"]))
        axes.plot(list(known), list(known.values()), ".--", color=GREY, linewidth=1.3)
        ends += [(depth, ratio, "counted (SMMs)", GREY) for depth, ratio in [*known.items()][-1:]]
    label_ends(axes, ends)


def _timed(executions: Iterable[str]) -> list[_Contender]:
    """The contenders drawn: strong lines last, so that they lie above the thin ones."""

    def bp(execution: str) -> Callable[[_Row], bool]:
        return lambda row: row["algorithm"] == "bp" and row["execution"] == execution

    thin = [(f"BP {name}", *EXECUTION_COLOURS.get(name, (GREY, "x")), bp(name)) for name in executions]
    best: _Contender = ("BP, best", RED, "s", lambda row: row["algorithm"] == "best-bp")
    return [*_SLOW, *thin, _PEER, _OURS[1], best, _OURS[0]]


def _others(rows: Iterable[_Row]) -> list[_Contender]:
    """Algorithms from outside the package, by name."""

    def rows_of(name: str) -> Callable[[_Row], bool]:
        return lambda row: row["algorithm"] == name

    names = names_of(rows)[len(ALGORITHMS) :]
    return [(name, INK, "v<>hX"[n % 5], rows_of(name)) for n, name in enumerate(names)]


def _contender_lines(axes: Axes, rows: Sequence[_Row], field: str, contenders: Sequence[_Contender]) -> None:
    """A line over depth for each contender: its best configuration."""
    number_scale(axes, "depth", [row["depth"] for row in rows] or [1])
    ends = []
    for label, shade, marker, belongs in contenders:
        best = {}
        for depth, inside in sorted(grouped(filter(belongs, rows), lambda row: row["depth"]).items()):
            best[depth] = min(row[field] for row in inside)
        if best:
            thick = {"BP, best": STRONG, "iPC, best workers": STRONG}.get(label, THIN if label[:3] == "BP " else 1.4)
            style: dict[str, Any] = {"markersize": 3 if thick == THIN else 4.5, "linewidth": thick}
            axes.plot(list(best), list(best.values()), marker=marker, color=shade, **style)
            ends.append((max(best), best[max(best)], label, shade))
    label_ends(axes, ends)
