"""Tables of predictions: cases, crossover maps, the ladder of backprops."""

from __future__ import annotations

from collections.abc import Sequence

from ..algorithms import Algorithm
from ..predict.machine import Machine
from ..predict.rows import source
from ..predict.sweep import Map, Projection, by, title_of
from ..tables import layout, scaled, short


def ratio_of(algorithms: Sequence[Algorithm]) -> str:
    """The line that defines the ratios of these algorithms."""
    name = algorithms[0].title if len(algorithms) == 1 else "each algorithm"
    faster = name if len(algorithms) == 1 else "it"
    return f"ratio = seconds per complete weight update of {name} ÷ that of BP; below 1, {faster} is faster"


def table(cases: Sequence[Projection], machine: Machine, format: str = "text", validation: str = "") -> str:
    """A line for each case and algorithm. CSV has plain seconds, and its first lines begin with ``#``."""
    several = any(len(one.runs) > 1 for one in cases)
    known = any(run.energy is not None for one in cases for run in one.runs)
    noted = machine.calibrated is not None and any(run.mark or one.best.mark for one in cases for run in one.runs)
    factors = [name for name in ("latency", "bandwidth") if any(getattr(one, name) != 1 for one in cases)]
    plain = format == "csv"
    seconds = (lambda value: f"{value:.6g}") if plain else scaled
    ratio = (lambda value: f"{value:.6g}") if plain else short
    who = "by" if several else f"{cases[0].algorithms[0].title} by"
    nets = any(one.sizes for one in cases)
    changing = ["T", "start"] if any(one.steps_per_batch for one in cases) else []
    optimizer = ["optimizer"] if any(one.optimizer != "sgd" for one in cases) else []
    header = ["batch", *(["net"] if nets else ["depth", "width"]), *changing, *optimizer, "workers", *factors]
    header += [*(["algorithm"] if several else []), who, "seconds"]
    header += ["BP by", "seconds", "÷ best-bp", "÷ paper-style", "busy", *(["J", "J of BP"] if known else [])]
    header += ["notes"] if noted else []
    if plain:
        header[header.index("seconds", header.index("BP by"))] = "BP seconds"
    body = []
    for one in cases:
        for algorithm, run in zip(one.algorithms, one.runs, strict=True):
            net = [one.sizes or f"{one.depth} × {one.width}"] if nets else [one.depth, one.width]
            line = [one.batch, *net, *([one.steps_per_batch, one.start] if changing else [])]
            line += [*([one.optimizer] if optimizer else []), one.workers]
            line += [f"{getattr(one, name):g}" for name in factors]
            line += [title_of(algorithm)] if several else []
            line += [by(run), seconds(run.seconds), by(one.best), seconds(one.best.seconds)]
            line += [ratio(run.seconds / one.best.seconds), ratio(run.seconds / one.bps[0].seconds)]
            line += [f"{run.utilisation:.4f}" if plain else f"{run.utilisation:.0%}"]
            line += [*map(joules, (run.energy, one.best.energy))] if known else []
            line += [run.mark or one.best.mark] if noted else []
            body.append(line)
    text = f"{source(machine, validation)}\n{ratio_of(cases[0].algorithms)}"
    if plain:
        text = "\n".join(f"# {line}" for line in text.splitlines())
        return f"{text}\n{layout(header, body, format)}"
    return f"{text}\n\n{layout(header, body, format)}"


def map_table(found: Map, format: str = "text") -> str:
    """A map as a table: the ratio, and which BP is the fastest; ``*`` marks what is outside the calibrated range."""
    row, column = found.over
    header = [row, *(f"{column} {'× ' if column in ('latency', 'bandwidth') else ''}{c:g}" for c in found.columns)]
    body = []
    for r in found.rows:
        inside = [found.at.get((r, c)) for c in found.columns]
        star = [one is not None and one.mark.startswith("outside") for one in inside]
        entries = [
            "-" if one is None else f"{short(one.ratio)}{'*' * s} {one.best.execution}"
            for one, s in zip(inside, star, strict=True)
        ]
        body.append([f"{r:g}", *entries])
    title = f"# {found.title}" if format == "csv" else f"{found.title}\n"
    text = f"{title}\n{layout(header, body, format)}"
    if format != "csv" and any(one.mark.startswith("outside") for one in found.at.values()):
        text += "\n\n* outside the calibrated range"
    return text


def ladder(one: Projection, format: str = "text") -> str:
    """Every BP of a case, the fastest first."""
    header = ["BP by", "seconds", f"÷ {one.algorithms[0].title}'s", "busy", "critical path"]
    mine = one.runs[0].seconds
    body = [
        [by(bp), scaled(bp.seconds), short(bp.seconds / mine), f"{bp.utilisation:.0%}", bp.words]
        for bp in sorted(one.bps, key=lambda bp: bp.seconds)
    ]
    return layout(header, body, format)


def joules(energy: float | None) -> str:
    """With a unit; ``-`` for None."""
    if energy is None:
        return "-"
    factor, unit = next(((f, u) for f, u in ((1, "J"), (1e3, "mJ"), (1e6, "µJ")) if energy * f >= 0.9995), (1e9, "nJ"))
    return f"{short(energy * factor)} {unit}"
