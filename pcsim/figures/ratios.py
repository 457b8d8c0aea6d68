"""Figures of ratios, of times beside SMMs, and of where the gain comes from.

Each function turns plain data into a matplotlib ``Figure`` and touches no global state (no pyplot); matplotlib is
imported when the first figure is drawn. It must never measure, nor decide what the ratio of a cell is: pairs come
from :func:`pcsim.results.pairs.pairs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..results.comparison import interval
from ..results.fields import names_of
from ..results.files import Results
from ..results.gains import gains
from ..results.origin import intervals, machine_and_versions
from ..results.pairs import FUSED, UNFUSED, best_bp, bp_executions, cells, merged, sides
from ..results.verdicts import NEITHER, WITHIN, undecided
from ..tables import conditions
from . import keys
from .page import Page
from .style import (
    GREY,
    PALE,
    PAPER,
    STROKES,
    UNLIMITED,
    Look,
    axis_seconds,
    colour_of,
    grouped,
    title_of,
    with_own_settings,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_Row = Mapping[str, Any]

_IPC, _BP = colour_of("ipc"), colour_of("bp")

_GAINS = (  # field of a gain, algorithm, execution, label, whether it is on several workers
    ("bp_serial", "bp", "serial", "BP serial"),
    ("serial_unfused", "ipc", "serial-unfused", "iPC unfused, 1 worker"),
    ("layer_parallel_unfused", "ipc", "layer-parallel-unfused", "iPC unfused, all workers"),
    ("serial", "ipc", "serial", "iPC fused, 1 worker"),
    ("layer_parallel", "ipc", "layer-parallel", "iPC fused, all workers"),
    ("intra_layer", "ipc", "intra-layer", "iPC, rows of layers"),
    ("data_parallel", "ipc", "data-parallel", "iPC, samples"),
    ("hybrid", "ipc", "hybrid", "iPC, teams"),
)


@with_own_settings
def ratio_figure(pairs: Sequence[_Row], title: str | None = None, machine: str = "", look: Look = PAPER) -> Figure:
    """The ratio over depth, a panel for each width (over width where there is one depth), with intervals.

    ``pairs`` are those of :func:`pcsim.results.pairs.pairs`; each batch size, type of net and delay gets panels of its
    own. Solid lines are measured, dotted ones predicted; the marker of a point is that of the execution it is divided
    by. Dashed: the ratio counted for the workers that were there; faint: for as many as there are layers, which does
    not set the scale. ``~``, ``!`` and ``‡`` stand at points where no side is called faster, with an unsteady time,
    and with two modes; ticks are the ratios in each process.
    ``machine`` goes into the caption. Raises :class:`InputError` for no pairs and for pairs of several denominators.
    """
    named = sorted({pair["denominator"] for pair in pairs})
    if len(named) != 1:
        raise InputError(f"a figure of ratios takes pairs of one denominator, not of {len(named)}")
    first, second = sides(named[0], pairs[0].get("algorithm", "ipc"))
    over, line = ("width", "depth") if len({pair["depth"] for pair in pairs}) == 1 else ("depth", "width")
    groups = grouped(
        sorted(pairs, key=lambda pair: (pair["batch"], pair[line])),
        lambda pair: (
            pair["batch"],
            pair["dtype"],
            pair["activation"],
            pair.get("delay"),
            conditions(pair),
            pair.get("net") or f"{line} {pair[line]}",
        ),
    )
    page = Page(look, len(groups))
    shared = [pair[name] for pair in pairs for name in ("ratio", "low", "high", "counted") if pair.get(name)]
    shared += [ratio for pair in pairs for ratio in pair.get("each") or ()]
    varied = [len({group[place] for group in groups}) > 1 for place in range(5)]
    for number, (group, inside) in enumerate(groups.items()):
        (axes,) = page.panels[number]
        page.log_x(axes, sorted({pair[over] for pair in pairs}))
        page.log_y(axes, [1, *shared])
        page.ratio(axes)
        page.title(axes, ", ".join([group[5], *_group_words(group, varied)]))
        page.name(axes, over if page.lowest(number) else "", f"{first} ÷ {second}" if page.leftmost(number) else "")
        axes.tick_params(labelbottom=page.lowest(number), labelleft=page.leftmost(number))
        _ratio_lines(page, axes, sorted(inside, key=lambda pair: pair[over]), over)
    apart = ", ".join(_group_words(next(iter(groups)), [not one for one in varied]))
    title = f"{first.replace('our', 'Our')} against {second}: seconds per weight update" if title is None else title
    measured = any(pair["kind"] == "measured" for pair in pairs)
    note = f"{apart}; ratio of medians" + (f"; {_bars(pairs)}" if measured else "")
    least = min((pair["smm_ratio"] for pair in pairs if pair.get("smm_ratio")), default=1)
    if second == "BP" and least < 1:
        note += f"; counted: SMMs on as many workers as were measured, or on one for each layer (down to {least:.2g})"
    return page.finish(title, _ratio_key(page, pairs, named[0]), machine, f"{note}; denominator: {_words(named[0])}")


def _bars(pairs: Sequence[_Row]) -> str:
    """What the bars are of."""
    known = dict.fromkeys(pair.get("basis") or WITHIN for pair in pairs if pair["low"] is not None)
    words = [basis if basis == WITHIN else f"for a re-run, {basis}" for basis in known]
    ticks = "; ticks: processes" if any(pair.get("each") for pair in pairs) else ""
    return f"bars: intervals {' or '.join(words)}{ticks}"


def _group_words(group: Sequence[Any], wanted: Sequence[bool]) -> list[str]:
    batch, dtype, activation, delay, more, *_ = group
    latency = "" if delay is None else f"{axis_seconds(delay)} latency added"
    words = [f"batch {batch}", dtype, activation, latency, more.removeprefix(", ")]
    return [word for word, one in zip(words, wanted, strict=True) if one and word]


def _words(denominator: str) -> str:
    names = {
        "best-bp": "each cell's fastest BP on the same workers (best-bp)",
        "paper-style": "serial BP (paper-style)",
        "peer-ipc": "each cell's fastest iPC of another library (peer-ipc)",
    }
    other = f"iPC, execution {denominator[4:]}" if denominator.startswith("ipc:") else f"BP, execution {denominator}"
    return names.get(denominator, other)


def _ratio_lines(page: Page, axes: Axes, pairs: Sequence[_Row], over: str) -> None:
    thin = page.look.sizes.thin
    lines = (("smm_ratio", UNLIMITED, PALE), ("counted", STROKES["counted"], GREY))
    for field, stroke, shade in lines if sides(pairs[0]["denominator"])[1] == "BP" else ():
        known = {pair[over]: pair[field] for pair in pairs if pair.get(field)}
        axes.plot(list(known), list(known.values()), linestyle=stroke, color=shade, linewidth=thin, zorder=2)
    for kind, drawn in grouped(pairs, lambda pair: pair["kind"]).items():
        points = [(p[over], p["ratio"], p["low"], p["high"], _against(p), False) for p in drawn]
        page.curve(axes, points, _IPC, STROKES[kind])
        for pair in drawn:
            page.strip(axes, pair[over], pair.get("each") or (), _IPC)
            signs = "".join(sign for sign, holds in _signs(pair).items() if holds)
            if signs and kind == "measured":
                ends = [pair[name] for name in ("ratio", "low", "high") if pair[name]]
                page.mark(axes, pair[over], min(ends), max(ends), signs)


def _signs(pair: _Row) -> dict[str, bool]:
    """What may stand at a point: no side is called faster, an unsteady time, a time with two modes."""
    doubtful = "verdict" in pair and undecided(pair["verdict"])
    return {"~": doubtful, "!": bool(pair.get("unsteady")), "‡": bool(pair.get("modes") or pair.get("other_modes"))}


def _against(pair: _Row) -> str:
    """The execution of the denominator."""
    named = {"paper-style": "serial"}.get(pair["denominator"], pair["denominator"].removeprefix("ipc:"))
    return pair.get("other_execution") or named


def _ratio_key(page: Page, pairs: Sequence[_Row], denominator: str) -> list[Any]:
    first, second = sides(denominator, pairs[0].get("algorithm", "ipc"))
    kinds = [kind for kind in ("measured", "predicted") if any(pair["kind"] == kind for pair in pairs)]
    handles = [keys.entry(page.look, f"{kind}: {first} ÷ {second}", _IPC, stroke=STROKES[kind]) for kind in kinds]
    name = "÷ {}" if second != "BP" else "÷ BP {}"
    for execution in dict.fromkeys(_against(pair) for pair in pairs):
        handles.append(keys.entry(page.look, name.format(execution), _IPC, execution, stroke=""))
    if second == "BP" and any(pair.get("counted") for pair in pairs):
        handles.append(keys.entry(page.look, "counted, same workers", GREY, stroke=STROKES["counted"]))
    if second == "BP" and any(pair.get("smm_ratio") for pair in pairs):
        handles.append(keys.entry(page.look, "counted, unlimited", PALE, stroke=UNLIMITED))
    measured = [_signs(pair) for pair in pairs if pair["kind"] == "measured"]
    meanings = {"~": NEITHER, "!": "unsteady time", "‡": "two modes"}
    handles += [keys.sign(page.look, text, sign) for sign, text in meanings.items() if any(m[sign] for m in measured)]
    return [*handles, keys.patch(f"{second} faster")]


@with_own_settings
def times_figure(
    results: Results,
    widths: Sequence[int] | None = None,
    batch: int | None = None,
    title: str | None = None,
    look: Look = PAPER,
) -> Figure:
    """Median seconds over depth, a panel for each of ``widths`` (default: all), with intervals, beside SMMs.

    The broad lines are the fastest iPC and the fastest BP (``best-bp``) of each cell; every execution has a thin one.
    Drawn are rows of the smallest batch unless ``batch`` says otherwise, measured ones if there are any, else
    predicted ones, marked; without added latency, if there are any, and of those with one optimiser and way in which
    batches change. An unequal net has a panel of its own. Raises :class:`InputError` where no row fits.
    """
    known = cells(results)
    delay = min(((cell.delay is not None, cell.delay) for cell in known), default=(False, None))[1]
    more = min(conditions(cell._asdict()) for cell in known)
    known = {cell: rows for cell, rows in known.items() if (cell.delay, conditions(cell._asdict())) == (delay, more)}
    good = [run for rows in known.values() for name in names_of(rows) for run in merged(rows, name)]
    kind = "measured" if any(row["kind"] == "measured" for row in good) else "predicted"
    batch = min((row["batch"] for row in good), default=1) if batch is None else batch
    good = [row for row in good if (row["kind"], row["batch"]) == (kind, batch)]
    there = sorted({row["width"] for row in good})
    chosen = there if widths is None else sorted(set(widths))
    good = [row for row in good if row["width"] in chosen]
    if not good or not set(chosen) <= set(there):
        raise InputError(f"{results.path}: no times of batch {batch} and widths {chosen}; there are widths {there}")
    nets = list(dict.fromkeys(_net(row) for row in sorted(good, key=lambda row: (row["width"], row.get("net") or ""))))
    types = sorted({f"{row['dtype']}, {row['activation']}" for row in good})
    if len(types) > 1:
        raise InputError(f"{results.path}: times of several types of net ({'; '.join(types)}) need a figure each")
    best = [run for cell, rows in known.items() if (run := best_bp(results, cell.kind, rows))]
    best = [row for row in best if (row["kind"], row["batch"]) == (kind, batch)]
    page = Page(look, len(nets) + 1)
    lines = _lines(results, good)
    depths = sorted({row["depth"] for row in good})
    for number, net in enumerate(nets):
        (axes,) = page.panels[number]
        inside = [row for row in good if _net(row) == net]
        page.log_x(axes, depths)
        page.log_y(axes, [end for row in inside for end in (row["median"], *(interval(row) or ()))], axis_seconds)
        page.title(axes, net)
        name = "seconds per update" if kind == "measured" else f"seconds per update, {kind}"
        page.name(axes, "depth" if page.lowest(number) else "", name if page.leftmost(number) else "")
        fused = [row for row in inside if row["algorithm"] == "ipc" and row["execution"] in FUSED]
        fastest_bp = [row for row in best if _net(row) == net]
        for rows, colour in ((fastest_bp, _BP), (fused, _IPC)):
            ends = _fastest(rows)
            page.broad(axes, [end[0] for end in ends], [end[1] for end in ends], colour)
        for name, executions, colour, _ in lines:
            drawn = [row for row in inside if row["algorithm"] == name and row["execution"] in executions]
            page.curve(axes, _fastest(drawn), colour, STROKES[kind])
        for rows in (fused, fastest_bp):
            for row in _fastest_rows(rows):
                processes = row["medians"].values() if row["launches"] > 1 else ()
                page.strip(axes, row["depth"], processes, colour_of(row["algorithm"]))
    (axes,) = page.panels[-1]
    counted = [row for row in good if row.get("smm")]
    page.log_x(axes, depths)
    page.log_y(axes, [row["smm"] for row in counted])
    page.title(axes, "SMMs per update, counted")
    page.name(axes, "depth")
    for name in names_of(counted):
        smms = dict(sorted((row["depth"], row["smm"]) for row in counted if row["algorithm"] == name))
        style = {"color": colour_of(name, names_of(good)), "linestyle": STROKES["counted"]}
        axes.plot(list(smms), list(smms.values()), linewidth=1.4 * look.sizes.thin, **style)
    handles = (
        [keys.entry(page.look, "iPC, fastest", _IPC, strong=True)]
        if any(row["algorithm"] == "ipc" for row in good)
        else []
    )
    handles += [keys.entry(page.look, "BP, fastest", _BP, strong=True)] if best else []
    for _, executions, colour, label in lines:
        one = executions[0] if len(executions) == 1 else "layer-parallel"
        handles.append(keys.entry(page.look, label, colour, one, stroke=STROKES[kind]))
    handles.append(keys.entry(page.look, "counted (SMMs)", GREY, stroke=STROKES["counted"]))
    bars = f"; bars: intervals {intervals(results.rows)}" if any(row["ci95"] for row in good) else ""
    bars += "; ticks: processes" if any(row["launches"] > 1 for row in good) else ""
    meaning = f"{kind}, batch {batch}, {types[0]}{more}; medians{bars}; "
    meaning += "SMMs: the longest chain of products that wait in a row"
    title = "Seconds and SMMs per weight update" if title is None else title
    return page.finish(title, handles, machine_and_versions(results.context), meaning)


def _net(row: _Row) -> str:
    """What a panel is of."""
    return row.get("net") or f"width {row['width']}"


def _lines(results: Results, rows: Sequence[_Row]) -> list[tuple[str, list[str], str, str]]:
    """What has a thin line: algorithm, its executions, colour, label. PC, Z-IL and others have one of all of theirs."""
    found = []
    names = [name for name in names_of(rows) if any(row["algorithm"] == name for row in rows)]
    for name in sorted(names, key=lambda name: ("ipc", "bp").index(name) if name in ("ipc", "bp") else 2):
        there = list(dict.fromkeys(row["execution"] for row in rows if row["algorithm"] == name))
        colour, title = colour_of(name, names), title_of(name)
        if name == "bp":
            there = [execution for execution in bp_executions(results) if execution in there]
        if name in ("ipc", "bp"):
            kept = [execution for execution in there if execution not in UNFUSED]
            found += [(name, [execution], colour, f"{title} {execution}") for execution in kept]
        else:
            found.append((name, there, colour, title))
    return found


def _fastest(rows: Iterable[_Row]) -> list[tuple[Any, ...]]:
    """The fastest row of each depth as a point of a curve."""
    ends = [(row, interval(row) or (None, None)) for row in _fastest_rows(rows)]
    return [(row["depth"], row["median"], low, high, row["execution"], False) for row, (low, high) in ends]


def _fastest_rows(rows: Iterable[_Row]) -> list[_Row]:
    """The fastest of each depth."""
    depths = grouped(rows, lambda row: row["depth"])
    return [min(inside, key=lambda row: row["median"]) for _, inside in sorted(depths.items())]


@with_own_settings
def gains_figure(results: Results, batch: int | None = None, title: str | None = None, look: Look = PAPER) -> Figure:
    """iPC unfused and fused, on one worker and on all, beside serial BP: over depth, a panel for each width.

    Every time is divided by that of the cell's best BP (``best-bp``), so that what lies below 1 is faster than any BP
    on the same workers. Drawn are the gains of :func:`pcsim.results.gains.gains`, of the smallest batch unless
    ``batch`` says otherwise, measured ones if there are any. Raises :class:`InputError` where none has a
    BP beside it.
    """
    found = [gain for gain in gains(results) if gain["best_bp"]]
    kind = "measured" if any(gain["kind"] == "measured" for gain in found) else "predicted"
    batch = min((gain["batch"] for gain in found), default=1) if batch is None else batch
    found = [gain for gain in found if (gain["kind"], gain["batch"]) == (kind, batch)]
    types = sorted({f"{gain['dtype']}, {gain['activation']}{conditions(gain)}" for gain in found})
    if len(types) != 1:
        why = f"several types of net ({'; '.join(types)}) need a figure each" if types else "none has a BP beside it"
        raise InputError(f"{results.path}: gains of batch {batch}: {why}")
    counts = {gain["workers"] for gain in found if gain["workers"]}
    many = f"{counts.pop()} workers" if len(counts) == 1 else "all workers"
    lines = [line for line in _GAINS if any(gain[line[0]] for gain in found)]
    panels = grouped(sorted(found, key=lambda gain: (gain["width"], gain["depth"])), _net)
    page = Page(look, len(panels))
    everything = [1, *(gain[name] / gain["best_bp"] for gain in found for name, *_ in lines if gain[name])]
    for number, (net, inside) in enumerate(panels.items()):
        (axes,) = page.panels[number]
        page.log_x(axes, sorted({gain["depth"] for gain in found}))
        page.log_y(axes, everything)
        page.ratio(axes)
        page.title(axes, net)
        page.name(axes, "depth" if page.lowest(number) else "", "÷ fastest BP" if page.leftmost(number) else "")
        axes.tick_params(labelbottom=page.lowest(number), labelleft=page.leftmost(number))
        at = [gain["depth"] for gain in inside]
        page.broad(axes, [at[0], at[-1]], [1, 1], _BP)
        for name, algorithm, execution, _ in lines:
            points = [(g["depth"], g[name] / g["best_bp"], None, None, execution, False) for g in inside if g[name]]
            page.curve(axes, points, colour_of(algorithm), strong=name == "layer_parallel")
    handles = [keys.entry(page.look, "BP, fastest (1)", _BP, strong=True)]
    for _, algorithm, execution, label in lines:
        handles.append(keys.entry(page.look, label.replace("all workers", many), colour_of(algorithm), execution))
    meaning = f"{kind}, batch {batch}, {types[0]}; medians; unfused: three passes per layer in place of one"
    title = "Where the gain comes from: seconds ÷ those of the fastest BP" if title is None else title
    return page.finish(title, handles, machine_and_versions(results.context), meaning)
