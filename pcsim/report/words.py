"""Words that several tables share: machine, definition of the ratio, teams, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..results import origin
from ..results.files import Results
from ..results.pairs import HEADLINE, RANKS, Cell, peers, sides, subject
from ..tables import between, conditions, scaled, short
from ..tables import case as plain_case
from ..tables import place as plain_place


def machine(results: Results) -> str:
    """Where the results come from: CPU model, usable cores, pcsim's version, as far as the file says."""
    return origin.machine(results.context)


def definition(denominator: str = HEADLINE, results: Results | None = None, algorithm: str = "ipc") -> str:
    """The line that defines the ratios of a table; ``results`` name the peers where they are the denominator, and the
    algorithm whose ratio it is."""
    names = {"best-bp": "best-bp: the fastest of each cell on the same workers", "paper-style": "serial: paper-style"}
    other = f"BP (execution {names.get(denominator, denominator)})"
    if denominator == "peer-ipc":
        known = f" ({', '.join(peers(results))})" if results else ""
        other = f"the fastest peer's iPC{known} on the same workers"
    elif denominator.startswith("ipc:"):
        execution = denominator[4:]
        other = f"iPC by {execution}" if results and execution in peers(results) else f"iPC (execution {execution})"
    first = sides(denominator, subject(results) if results else algorithm)[0]
    own = (
        f"{first} is the fastest of each cell, too"
        if denominator == HEADLINE
        else f"{first} is the fastest of each cell"
    )
    rule = f"{first} ÷ that of {other}; below 1, {first} is faster"
    return f"ratio = seconds per complete weight update of {rule}; {own}"


def case_cells(row: Mapping[str, Any]) -> list[Any]:
    """The cell of a row for :func:`listing`, with its delay beside the type."""
    kind, type_, *sizes = plain_case(row)
    return [kind, type_ + latency_words(row.get("delay")), *sizes]


def place_words(row: Mapping[str, Any]) -> str:
    return plain_place(row) + latency_words(row.get("delay"))


def table_words(cell: Cell) -> str:
    """What the cells of a table share."""
    more = conditions(cell._asdict()) + latency_words(cell.delay)
    return f"{cell.kind}, batch {cell.batch}, {cell.dtype}, {cell.activation}{more}"


def grid_of(
    inside: Sequence[Cell], widths: Sequence[int] | None = None
) -> tuple[str, list[str], list[tuple[Any, list[Cell]]]]:
    """How the cells of a table are laid out: what its first column is, the others, and for each line what stands first
    and its cells. Depth goes down and width across; unequal nets have a line each. ``widths``: columns for all."""
    if inside[0].net is None or widths is not None:
        across = widths or sorted({cell.width for cell in inside})
        down = dict.fromkeys((cell.depth, cell.net) for cell in sorted(inside, key=lambda cell: cell.place))
        lines = [
            (depth, [inside[0]._replace(depth=depth, width=width, net=net) for width in across]) for depth, net in down
        ]
        return "depth", [f"width {width}" for width in across], lines
    return "net", ["ratio"], [(cell.net, [cell]) for cell in inside]


def latency_words(delay: float | None) -> str:
    return "" if delay is None else f", {scaled(delay) if delay else 'no'} latency added"


def team(row: Mapping[str, Any], prefix: str = "") -> str:
    """The workers of a row or of a side of a pair: ``"2"`` threads, ``"2 ranks"``, ``"2 ranks × 4"`` threads each."""
    workers, backend, ranks = (row.get(prefix + name) for name in ("workers", "backend", "ranks"))
    if backend != RANKS or workers is None:
        return str(workers)
    ranks = ranks or workers
    return f"{ranks} rank{'s' if ranks > 1 else ''}" + (f" × {workers // ranks}" if workers > ranks else "")


def by_whom(execution: str, team: str, variant: str | None = None) -> str:
    return f"{execution} on {team}" + (f" ({variant})" if variant else "")


def factor(found: Mapping[str, Any], name: str, prefix: str | None = None) -> tuple[str, str]:
    """A number and its interval, whose ends have the number's name as their prefix unless another is given."""
    prefix = f"{name}_" if prefix is None else prefix
    return short(found[name]), between(found[f"{prefix}low"], found[f"{prefix}high"])


def notes_of(row: Mapping[str, Any]) -> str:
    texts = [*([] if row["error"] is None else [f"error: {row['error']}"]), *row["warnings"]]
    return "; ".join(" ".join(text.split()) for text in texts)


def who(row: Mapping[str, Any]) -> str:
    return f"{row['algorithm']} {row['execution']} at {place_words(row)}"


def first_few(texts: list[str]) -> str:
    more = f"; and {len(texts) - 3} more" if len(texts) > 3 else ""
    return "; ".join(texts[:3]) + more
