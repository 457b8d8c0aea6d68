"""Figures: ratios, times beside SMMs, Gantt charts, counted schedules, learning curves.

Each function turns plain data into a matplotlib ``Figure`` and touches no global state (no pyplot); matplotlib is
imported when the first figure is drawn. It must never measure, nor decide what the ratio of a cell is: pairs come
from :func:`pcsim.report.pairs`. Colours are safe for colour-blind readers; no text is smaller than 8 points.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from .comparison import FUSED, UNFUSED, best_bp, bp_executions, cells, gains, merged, sides
from .errors import InputError
from .results import ALGORITHMS, Results
from .tasks import Kind, TaskGraph
from .timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE, Event

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

_Row = Mapping[str, Any]
_INK, _GREY, _FAINT = "#222222", "#666666", "#e4e4e4"
# Okabe and Ito's palette (Color Universal Design, 2008)
_BLUE, _SKY, _GREEN, _ORANGE, _RED, _PINK = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
_STROKES: dict[str, Any] = {"measured": "-", "predicted": ":", "counted": "--"}
_STRONG, _THIN = 2.4, 1.0  # widths of lines
_Contender = tuple[str, str, str, Callable[[_Row], bool]]  # label, colour, marker, its rows
# Paul Tol's muted colours ("Colour schemes", 2021) for the many executions of BP, drawn thin
_EXECUTIONS = {
    "serial": ("#882255", "s"),
    "intra-layer": ("#999933", "v"),
    "blas": ("#44AA99", "<"),
    "pipeline": ("#AA4499", ">"),
    "data-parallel": ("#CC6677", "X"),
    "numpy": (_ORANGE, "v"),
    "torch": ("#661100", "d"),
    "jax": ("#117733", "h"),
}
_OURS: tuple[_Contender, ...] = (
    ("iPC, best workers", _BLUE, "o", lambda row: row["algorithm"] == "ipc" and row["execution"] in FUSED),
    (
        "iPC, 1 worker",
        _SKY,
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
    ("PC", _GREEN, "^", lambda row: row["algorithm"] == "pc"),
    ("Z-IL", _PINK, "P", lambda row: row["algorithm"] == "zil"),
)
_COUNTED: tuple[_Contender, ...] = (
    ("iPC", _BLUE, "o", lambda row: row["algorithm"] == "ipc"),
    ("BP", _RED, "s", lambda row: row["algorithm"] == "bp"),
    *_SLOW,
)
_GAINS: tuple[tuple[str, str, str, str, str], ...] = (  # field of a gain, label, colour, marker, stroke
    ("bp_serial", "BP serial", "#882255", "s", "-"),
    ("best_bp", "best BP", _RED, "", "-"),
    ("serial_unfused", "iPC unfused, 1 worker", _ORANGE, "^", "-"),
    ("layer_parallel_unfused", "iPC unfused, all workers", _ORANGE, "v", "--"),
    ("serial", "iPC fused, 1 worker", _SKY, "D", "-"),
    ("layer_parallel", "iPC fused, all workers", _BLUE, "o", "-"),
)
_WORK = {START: "forward start", PREDICT: "predict", BACKPROJECT: "back-project", UPDATE: "update", VALUE: "values"}
_WORK_OF = {
    Kind.START: START,
    Kind.PREDICT: PREDICT,
    Kind.BACKPROJECT: BACKPROJECT,
    Kind.VALUE: VALUE,
    Kind.UPDATE: UPDATE,
}
_WORK_COLOURS = {
    START: "#F0E442",
    PREDICT: _BLUE,
    BACKPROJECT: _ORANGE,
    UPDATE: _GREEN,
    VALUE: "#999999",
    PREDICT | BACKPROJECT: "#5D3A9B",
    PREDICT | UPDATE: _SKY,
    BACKPROJECT | UPDATE: _RED,
    PREDICT | BACKPROJECT | UPDATE: _PINK,
}
_UNITS = ((1.0, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns"))


def ratio_figure(pairs: Sequence[_Row], title: str | None = None, machine: str = "") -> Figure:
    """The ratio over depth (one line per width) and over width (one line per depth), with 95 % intervals.

    ``pairs`` are those of :func:`pcsim.report.pairs`; each batch size, type of net and delay gets panels of its own.
    Solid lines are measured, dotted ones predicted, dashed ones the counted ratio of SMMs. ``machine`` goes into the
    caption beside the denominator. Raises :class:`InputError` for no pairs and for pairs of several denominators.
    """
    named = sorted({pair["denominator"] for pair in pairs})
    if len(named) != 1:
        raise InputError(f"a figure of ratios takes pairs of one denominator, not of {len(named)}")
    first, second = sides(named[0])
    title = title or f"{first.replace('our', 'Our')} against {second}: seconds per complete weight update"
    groups = _grouped(pairs, lambda pair: (pair["batch"], pair["dtype"], pair["activation"], pair.get("delay")))
    # One point per line over width would say no more than the panel over depth: such a group takes half a row.
    wide = {group: len({pair["width"] for pair in inside}) > 1 for group, inside in groups.items()}
    places, row, column = [], 0, 0
    for group in groups:
        for over, line in (("depth", "width"), ("width", "depth"))[: 1 + wide[group]]:
            row, column = (row + 1, 0) if column == 2 or (column and wide[group] and over == "depth") else (row, column)
            places.append((group, over, line, row, column))
            column += 1
    figure = _figure(11.8 if any(place[-1] for place in places) else 6.6, 1.8 + 3.65 * (row + 1), title)
    counted = [pair["smm_ratio"] for pair in pairs if pair["smm_ratio"]]
    everything = [1, *counted, *(pair[name] for pair in pairs for name in ("ratio", "low", "high") if pair[name])]
    for group, over, line, at, column in places:
        batch, dtype, activation, delay = group
        added = "" if delay is None else f", {_scaled(delay)} added"
        name = f"over {over}, one line per {line}   (batch {batch}, {dtype}, {activation}{added})"
        axes = _panel(figure, 0.85 + 5.7 * column, 1.45 + 3.65 * (row - at), 3.85, 2.75, name)
        _log_scale(axes, "y", everything)
        _ratio_lines(axes, groups[group], over, line)
        axes.set_ylabel("" if column else f"ratio: {first} ÷ {second} (log scale)")
    there = {pair["kind"] for pair in pairs} | ({"counted"} if counted else set())
    from matplotlib.lines import Line2D

    _key(figure, [Line2D([], [], color=_INK, ls=_STROKES[kind], label=kind) for kind in _STROKES if kind in there])
    names = {
        "best-bp": "each cell's fastest BP on the same workers (best-bp)",
        "paper-style": "serial BP (paper-style)",
    }
    names["peer-ipc"] = "each cell's fastest iPC of another library (peer-ipc)"
    other = f"iPC, execution {named[0][4:]}" if named[0].startswith("ipc:") else f"BP, execution {named[0]}"
    below = names.get(named[0], other)
    _caption(figure, machine, f"denominator: {below}; bars: 95 % bootstrap intervals; counted: the ratio of SMMs")
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
    good = [run for rows in known.values() for name in ALGORITHMS for run in merged(rows, name)]
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
    timed = _timed(bp_executions(results))
    figure = _figure(0.7 + 4.25 * (len(widths) + 1), 5.95, title)
    for number, width in enumerate(widths):
        axes = _panel(figure, 0.95 + 4.25 * number, 1.3, 2.4, 3.8, f"{kind} seconds, width {width}")
        _log_scale(axes, "y", [row["median"] for row in good], lambda seconds, _: _scaled(seconds))
        _contender_lines(axes, [row for row in [*good, *best] if row["width"] == width], "median", timed)
    axes = _panel(figure, 0.95 + 4.25 * len(widths), 1.3, 2.4, 3.8, "SMMs per update, counted")
    rows = [row for row in good if row.get("smm")]
    _log_scale(axes, "y", [row["smm"] for row in rows])
    _contender_lines(axes, rows, "smm", _COUNTED)
    figure.axes[0].set_ylabel("seconds per update (log scale)")
    meaning = f"batch {batch}, {types[0]}; medians; SMMs: the longest chain of products that wait for one another"
    _caption(figure, str(results.context.get("cpu_model") or ""), meaning)
    return figure


def gains_figure(
    results: Results, batch: int | None = None, title: str = "Where the gain comes from: seconds ÷ those of the best BP"
) -> Figure:
    """iPC unfused and fused, on one worker and on all, beside serial BP: over depth, a panel for each width.

    Every time is divided by that of the cell's best BP (``best-bp``), so that what lies below 1 is faster than any BP
    on the same workers. Drawn are the gains of :func:`pcsim.comparison.gains`, of the smallest batch unless ``batch``
    says otherwise, measured ones if there are any. Raises :class:`InputError` where there are none beside a BP.
    """
    found = [gain for gain in gains(results) if gain["best_bp"]]
    kind = "measured" if any(gain["kind"] == "measured" for gain in found) else "predicted"
    batch = min((gain["batch"] for gain in found), default=1) if batch is None else batch
    found = [gain for gain in found if (gain["kind"], gain["batch"]) == (kind, batch)]
    types = sorted({f"{gain['dtype']}, {gain['activation']}" for gain in found})
    if len(types) != 1:
        why = f"several types of net ({'; '.join(types)}) need a figure each" if types else "none stands beside a BP"
        raise InputError(f"{results.path}: gains of batch {batch}: {why}")
    counts = {gain["workers"] for gain in found if gain["workers"]}
    many = f"{counts.pop()} workers" if len(counts) == 1 else "all workers"
    drawn = [(name, label.replace("all workers", many), *style) for name, label, *style in _GAINS]
    drawn = [line for line in drawn if any(gain[line[0]] for gain in found)]
    panels = _grouped(sorted(found, key=lambda gain: gain["width"]), lambda gain: gain["width"])
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure = _figure(max(7.4, 0.85 + 3.55 * across), 1.75 + 2.75 * down, title, [label for _, label, *_ in drawn])
    everything = [1, *(gain[name] / gain["best_bp"] for gain in found for name, *_ in drawn if gain[name])]
    for number, (width, inside) in enumerate(panels.items()):
        left, bottom = 0.85 + 3.55 * (number % across), 1.15 + 2.75 * (down - 1 - number // across)
        axes = _panel(figure, left, bottom, 3.0, 2.05, f"width {width}")
        _number_scale(axes, "depth", [gain["depth"] for gain in inside])
        _log_scale(axes, "y", everything)
        axes.axhspan(1, axes.get_ylim()[1], color="#f7f1ea", zorder=0)
        axes.set_ylabel("÷ best BP (log scale)" if number % across == 0 else "")
        for name, _, shade, marker, stroke in drawn:
            points = [(gain["depth"], gain[name] / gain["best_bp"]) for gain in inside if gain[name]]
            strong = name in ("best_bp", "layer_parallel")
            style: dict[str, Any] = {"color": shade, "marker": marker, "ls": stroke, "markersize": 4.5}
            axes.plot(*zip(*points, strict=True), linewidth=_STRONG if strong else 1.4, **style) if points else None
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=label, color=c, marker=m, ls=ls, markersize=4.5) for _, label, c, m, ls in drawn]
    _key(figure, handles)
    meaning = f"{kind}, batch {batch}, {types[0]}; medians; unfused: three passes per layer in place of one"
    _caption(figure, str(results.context.get("cpu_model") or ""), meaning)
    return figure


def gantt(events: Iterable[Event], title: str = "Who works when", colour: str = "kind") -> Figure:
    """One lane per worker over time, measured or simulated: events as those of :class:`pcsim.timeline.Timeline`.

    Colours show the ``"kind"`` of work or the ``"step"`` (even, odd). Numbers in the bars are layers, where they fit;
    on the right stands the part of the time that the worker works. Raises :class:`InputError` for no events.
    """
    events = sorted(events, key=lambda event: event.start)
    if not events or colour not in ("kind", "step"):
        raise InputError("a Gantt chart needs events, and a colour by 'kind' or by 'step'")
    first, last = events[0].start, max(event.end for event in events)
    span = last - first or 1e-9
    factor, unit = next((unit for unit in _UNITS if span * unit[0] >= 2), _UNITS[-1])
    workers = sorted({event.worker for event in events})
    groups = _grouped(events, lambda event: event.work if colour == "kind" else event.step % 2)
    labels = {group: _work(group) if colour == "kind" else ("even steps", "odd steps")[group] for group in groups}
    figure = _figure(11.6, 1.65 + 0.55 * len(workers), title, list(labels.values()))
    axes = _panel(figure, 0.95, 0.6, 9.75, 0.55 * len(workers))
    edge: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.5} if len(events) <= 1000 else {"linewidth": 0}
    from matplotlib.patches import Patch

    handles: list[Artist] = []
    for group, inside in sorted(groups.items()):
        shade = _WORK_COLOURS.get(group, _INK) if colour == "kind" else (_BLUE, _ORANGE)[group]
        handles.append(Patch(facecolor=shade, label=labels[group]))
        for lane, worker in enumerate(workers):
            bars = [((e.start - first) * factor, (e.end - e.start) * factor) for e in inside if e.worker == worker]
            axes.broken_barh(bars, (lane - 0.36, 0.72), facecolor=shade, **edge)
        for event in inside:
            if (event.end - event.start) / span * 9.75 * 72 > 4 + 6 * len(str(event.layer)):
                middle = ((event.start + event.end) / 2 - first) * factor
                style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "color": _ink_on(shade)}
                axes.text(middle, workers.index(event.worker), str(event.layer), **style)
    axes.set(xlim=(0, span * factor), ylim=(len(workers) - 0.5, -0.5))
    axes.set_yticks(range(len(workers)), [f"worker {worker}" for worker in workers])
    axes.grid(False, axis="y")
    axes.set_xlabel(f"{unit} since the first start{'; numbers in the bars are layers' if axes.texts else ''}")
    for lane, worker in enumerate(workers):
        busy = sum(event.end - event.start for event in events if event.worker == worker) / span
        axes.annotate(
            f"{busy:.0%} busy", (span * factor, lane), (6, 0), textcoords="offset points", va="center", size=9
        )
    _key(figure, handles)
    return figure


def schedule_figure(
    graph: TaskGraph,
    workers: int,
    until: int,
    costs: Mapping[Kind, int] | None = None,
    lanes: str = "worker",
    title: str = "Who could work when",
) -> Figure:
    """The first ``until`` MMs of ``graph.schedule(workers, costs)``: a bar is one MM; counted, nothing was measured.

    A lane for each ``"worker"``, the numbers in the bars being layers; or for each ``"layer"``, the numbers being
    weight updates, with a triangle where the weights of the lane change, hollow and pale what the first output error
    cannot have reached yet. Raises :class:`InputError` for a graph that ends earlier.
    """
    start, finish, worker = graph.schedule(workers, costs)
    if lanes not in ("worker", "layer") or not 0 < until <= finish.max():
        raise InputError(f"the graph ends after {finish.max()} MMs; draw up to that, lanes by 'worker' or 'layer'")
    by_layer, updating = lanes == "layer", graph.kinds == Kind.UPDATE
    names = [f"W[{l}]" for l in range(graph.depth)] if by_layer else [f"worker {p}" for p in range(workers)]
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    works = [_WORK_OF[kind] for kind in Kind if np.any((worker >= 0) & (graph.kinds == kind))]
    handles: list[Artist] = [Patch(facecolor=_WORK_COLOURS[work], label=_WORK[work]) for work in works]
    mark: dict[str, Any] = {"marker": "v", "color": _WORK_COLOURS[UPDATE], "ls": "", "ms": 9}
    if by_layer:
        handles.append(Line2D([], [], label="weights change", **mark))
        handles.append(Line2D([], [], label="no error yet", mfc="white", **mark))
    line: dict[str, Any] = {"color": _INK, "linewidth": 0.9, "linestyle": (0, (4, 3))}
    handles.append(Line2D([], [], label="update complete", **line))
    figure = _figure(11.6, 1.65 + 0.55 * len(names), title, [str(handle.get_label()) for handle in handles])
    axes = _panel(figure, 0.95, 0.6, 10.3, 0.55 * len(names))
    pale = ~graph.reached() & by_layer
    for task in np.flatnonzero(finish <= until):
        layer, shade = int(graph.layers[task]), _WORK_COLOURS[_WORK_OF[Kind(graph.kinds[task])]]
        if worker[task] >= 0:
            lane, number = (layer, graph.update_of[task]) if by_layer else (worker[task], layer)
            fill: dict[str, Any] = {"facecolor": shade, "edgecolor": "white", "alpha": 0.3 if pale[task] else 1}
            axes.broken_barh([(start[task], 1)], (lane - 0.36, 0.72), **fill)
            ink = _INK if pale[task] else _ink_on(shade)
            axes.text(start[task] + 0.5, lane, str(number), ha="center", va="center", fontsize=8, color=ink)
        elif by_layer and updating[task]:
            axes.plot(finish[task], layer, mfc="white" if pale[task] else shade, clip_on=False, zorder=3, **mark)
    for number in range(graph.updates):
        complete = finish[updating & (graph.update_of == number)].max()
        if complete <= until:
            axes.axvline(complete, zorder=0.5, clip_on=False, **line)
    below = len(names) - 0.5
    axes.set(xlim=(0, until), ylim=(-0.5, below) if by_layer else (below, -0.5))
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(0, until + 1, 1 + until // 25))
    axes.grid(False)
    axes.set_xlabel(f"time in MMs, counted; numbers in the bars are {'weight updates' if by_layer else 'layers'}")
    _key(figure, handles)
    return figure


def learning_figure(curves: Sequence[Mapping[str, Any]], title: str = "Training loss against what it costs") -> Figure:
    """Loss against updates, SMMs, MMs and seconds, all axes logarithmic, one line per curve.

    A curve is a mapping with ``label``, ``loss`` and, of the same length each, ``updates``, ``smm``, ``mm`` and
    ``seconds`` (None where not recorded), all cumulative. What a logarithm cannot show (0, NaN) is left out.
    Whole numbers ``colour`` and ``stroke`` may group the lines. Raises :class:`InputError` for no curves and for
    lengths that do not fit.
    """
    if not curves:
        raise InputError("a figure of learning needs at least one curve")
    from matplotlib.lines import Line2D

    figure = _figure(10.9, 8.6, title, [str(curve["label"]) for curve in curves])
    shades, strokes = [_BLUE, _RED, _GREEN, _ORANGE, _SKY, _PINK, _INK], ["-", "--", ":", "-."]
    styles: list[dict[str, Any]] = [
        {"color": shades[c.get("colour", n) % 7], "ls": strokes[c.get("stroke", n // 7) % 4]}
        for n, c in enumerate(curves)
    ]
    for n, style in enumerate(styles):
        style["linewidth"] = 2.8 - 1.6 * n / len(curves)  # a line below another shows, as later ones are thinner
    names = {"updates": "complete weight updates", "smm": "SMMs (counted)", "mm": "MMs (counted)", "seconds": "seconds"}
    for number, (name, label) in enumerate(names.items()):
        axes = _panel(figure, 0.95 + 5.05 * (number % 2), 4.55 - 3.85 * (number // 2), 4.6, 3.1)
        drawn = [(curve, style) for curve, style in zip(curves, styles, strict=True) if curve.get(name) is not None]
        _log_scale(axes, "x", [cost for curve, _ in drawn for cost in _floats(curve[name])])
        _log_scale(axes, "y", [loss for curve in curves for loss in _floats(curve["loss"])])
        axes.set(xlabel=label, ylabel="" if number % 2 else "training loss")
        for curve, style in drawn:
            place, loss = _floats(curve[name]), _floats(curve["loss"])
            if place.shape != loss.shape:
                raise InputError(f"curve {curve['label']!r}: {name} and loss must be lists of the same length")
            seen = np.isfinite(place) & np.isfinite(loss) & (place > 0) & (loss > 0)
            axes.plot(place[seen], loss[seen], **style)
        if not drawn:
            axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=_GREY)
    _key(figure, [Line2D([], [], label=str(c["label"]), **style) for c, style in zip(curves, styles, strict=True)])
    return figure


def check_suffix(path: str | Path) -> None:
    """Raises :class:`InputError` for a name that :func:`save` could not give a figure to."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: what type of figure? End the name in one of {', '.join(SUFFIXES)}")


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure as PNG (200 dots per inch), SVG or PDF, by the suffix; the same figure gives the same bytes.

    Raises :class:`InputError` for another suffix and for a place that cannot be written.
    """
    check_suffix(path)
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(Path(path).suffix.lower(), {})
    import matplotlib

    try:
        with matplotlib.rc_context({"svg.hashsalt": "pcsim"}):
            figure.savefig(path, dpi=200, metadata=metadata)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None


def _figure(width: float, height: float, title: str, labels: Sequence[str] = ()) -> Figure:
    """An empty figure of that many inches, and more where the legend's labels take more than one line."""
    from matplotlib.figure import Figure

    height += 0.21 * (-(-len(labels) // _columns(width, labels)) - 1 if labels else 0)
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.text(0.25 / width, 1 - 0.32 / height, title, fontsize=13, fontweight="bold", color=_INK, va="center")
    return figure


def _columns(width: float, labels: Sequence[str]) -> int:
    """How many of the labels go beside one another in a legend of that many inches."""
    return max(1, min(len(labels), int(width / (0.7 + 0.085 * max(map(len, labels))))))


def _panel(figure: Figure, left: float, bottom: float, width: float, height: float, title: str = "") -> Axes:
    """Axes at a place in inches: fixed, so that labels can be set without overlap before anything is drawn."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5, color=_GREY, labelcolor=_INK)
    axes.grid(True, color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=9.5, color=_INK)
    return axes


def _log_scale(axes: Axes, name: str, values: Iterable[float], text: Callable[[float, Any], str] | None = None) -> None:
    """A logarithmic axis ("x" or "y") that holds the values, its ticks written by ``text``."""
    from matplotlib.ticker import LogLocator, NullLocator

    known = [value for value in values if np.isfinite(value) and value > 0] or [1.0]
    low, high = min(known), max(known)
    axes.set(**{f"{name}scale": "log", f"{name}lim": (low / 1.4, high * 1.4)})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,), numticks=9))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(text or (lambda number, _: f"{number:g}"))


def _number_scale(axes: Axes, name: str, numbers: Iterable[int]) -> None:
    """A logarithmic horizontal axis with a tick at each number, powers of two first where they are too many."""
    known = sorted(set(numbers))
    _log_scale(axes, "x", known)
    ticks: list[int] = []
    apart = (known[-1] / known[0] * 1.96) ** 0.11
    for number in sorted(known, key=lambda number: (number & (number - 1) != 0, number)):
        if all(max(number / tick, tick / number) >= apart for tick in ticks):
            ticks.append(number)
    axes.set(xticks=ticks, xlabel=name)


def _ratio_lines(axes: Axes, pairs: Sequence[_Row], over: str, line: str) -> None:
    """The ratios as lines, with intervals, the counted ratio, and which side of 1 is whose."""
    from matplotlib import colormaps

    _number_scale(axes, over, (pair[over] for pair in pairs))
    axes.axhspan(1, axes.get_ylim()[1], color="#f7f1ea", zorder=0)
    axes.axhline(1, color=_INK, linewidth=1, zorder=1)
    first, second = sides(pairs[0]["denominator"])
    axes.text(0.015, 0.98, f"{second} faster", transform=axes.transAxes, va="top", fontsize=8.5, color=_GREY)
    axes.text(0.015, 0.02, f"{first} faster", transform=axes.transAxes, va="bottom", fontsize=8.5, color=_GREY)
    lines = _grouped(sorted(pairs, key=lambda pair: (pair[line], pair[over])), lambda pair: pair[line])
    shades = colormaps["viridis" if line == "width" else "plasma"](np.linspace(0.05, 0.8, len(lines)))
    ends = []
    for (value, inside), shade in zip(lines.items(), shades, strict=True):
        for kind, drawn in _grouped(inside, lambda pair: pair["kind"]).items():
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
        axes.plot(list(known), list(known.values()), ".--", color=_GREY, linewidth=1.3)
        ends += [(depth, ratio, "counted (SMMs)", _GREY) for depth, ratio in [*known.items()][-1:]]
    _label_ends(axes, ends)


def _timed(executions: Iterable[str]) -> list[_Contender]:
    """Who is drawn over time: the strong lines last, so that they lie above the thin ones."""

    def bp(execution: str) -> Callable[[_Row], bool]:
        return lambda row: row["algorithm"] == "bp" and row["execution"] == execution

    thin = [(f"BP {name}", *_EXECUTIONS.get(name, (_GREY, "x")), bp(name)) for name in executions]
    best: _Contender = ("BP, best", _RED, "s", lambda row: row["algorithm"] == "best-bp")
    return [*_SLOW, *thin, _PEER, _OURS[1], best, _OURS[0]]


def _contender_lines(axes: Axes, rows: Sequence[_Row], field: str, contenders: Sequence[_Contender]) -> None:
    """A line over depth for each contender: its best configuration."""
    _number_scale(axes, "depth", [row["depth"] for row in rows] or [1])
    ends = []
    for label, shade, marker, belongs in contenders:
        best = {}
        for depth, inside in sorted(_grouped(filter(belongs, rows), lambda row: row["depth"]).items()):
            best[depth] = min(row[field] for row in inside)
        if best:
            thick = {"BP, best": _STRONG, "iPC, best workers": _STRONG}.get(label, _THIN if label[:3] == "BP " else 1.4)
            style: dict[str, Any] = {"markersize": 3 if thick == _THIN else 4.5, "linewidth": thick}
            axes.plot(list(best), list(best.values()), marker=marker, color=shade, **style)
            ends.append((max(best), best[max(best)], label, shade))
    _label_ends(axes, ends)


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, Any]]) -> None:
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
        thread = {"arrowstyle": "-", "color": shade, "linewidth": 0.6, "alpha": 0.6, "relpos": (0, 0.5), "shrinkB": 4}
        axes.annotate(text, (x, y), (1.035, place), arrowprops=thread, **style)


def _key(figure: Figure, handles: Sequence[Artist]) -> None:
    """A legend below the title."""
    width, height = figure.get_size_inches()
    columns = _columns(width, [str(handle.get_label()) for handle in handles])
    corner = (0.15 / width, 1 - 0.5 / height)
    figure.legend(handles=handles, ncols=columns, frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=corner)


def _caption(figure: Figure, *lines: str) -> None:
    width, height = figure.get_size_inches()
    text = "\n".join(part for line in lines for part in wrap(line, int(width * 12), max_lines=2, placeholder=" …"))
    figure.text(0.25 / width, 0.14 / height, text, fontsize=8.5, color=_GREY, linespacing=1.5)


def _grouped(rows: Iterable[Any], group: Callable[[Any], Hashable]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for row in rows:
        found.setdefault(group(row), []).append(row)
    return found


def _floats(numbers: Any) -> np.ndarray:
    return np.asarray(numbers, dtype=float).ravel()  # None becomes NaN


def _scaled(seconds: float) -> str:
    factor, unit = next((unit for unit in _UNITS if seconds * unit[0] >= 0.9995), _UNITS[-1])
    return f"{seconds * factor:g} {unit}"


def _work(work: int) -> str:
    return " + ".join(name for bit, name in _WORK.items() if work & bit) or f"work {work}"


def _ink_on(shade: str) -> str:
    """White or black, whichever reads better on the colour."""
    red, green, blue = (int(shade[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else _INK
