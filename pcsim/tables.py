"""Tables as text, Markdown or CSV, and numbers as a reader wants them. It must never know what the numbers mean."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .errors import InputError

FORMATS = ("text", "markdown", "csv")

_LEFT = {
    "kind",
    "type",
    "algorithm",
    "execution",
    "verdict",
    "notes",
    "iPC by",
    "BP by",
    "by",
    "figure",
    "cell",
    "critical path",
    "interval of",
    "claim",
    "source",
    "what it says",
    "contender",
    "settings of the shortest span to the last goal",
}


def layout(header: Sequence[str], body: Iterable[Sequence[Any]], format: str) -> str:
    """A table as aligned text, Markdown or CSV; raises :class:`InputError` for another format."""
    lines = [["" if entry is None else str(entry) for entry in line] for line in (header, *body)]
    if format == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(lines)
        return out.getvalue().rstrip("\n")
    if format not in FORMATS:
        raise InputError(f"no format {format!r}; choose one of {', '.join(FORMATS)}")
    signs = ["<" if name in _LEFT else ">" for name in header]
    if format == "markdown":
        lines = [[entry.replace("|", "\\|") for entry in line] for line in lines]
        lines.insert(1, [":--" if sign == "<" else "--:" for sign in signs])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    sizes = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = ([f"{e:{sign}{size}}" for e, sign, size in zip(line, signs, sizes, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def records(found: Sequence[Mapping[str, Any]]) -> str:
    """CSV of mappings that have the same names."""
    return layout(list(found[0]), [list(record.values()) for record in found], "csv")


def case(row: Mapping[str, Any]) -> list[Any]:
    """The cell of a row, as :func:`listing` wants it; an unequal net stands in place of its width."""
    type_ = f"{row['dtype']} {row['activation']}{conditions(row)}"
    return [row["kind"], type_, row["batch"], row["depth"], row.get("net") or row["width"]]


def conditions(row: Mapping[str, Any]) -> str:
    """What of a cell is not usual, in words, a comma before each: optimiser, data, batches that change, their start."""
    words = [row.get("optimizer") or "sgd"] if row.get("optimizer") not in (None, "sgd") else []
    words += [f"momentum {row['momentum']:g}"] if row.get("momentum") not in (None, 0.9) else []
    words += [f"weight decay {row['weight_decay']:g}"] if row.get("weight_decay") else []
    words += [row["data"]] if row.get("data") not in (None, "random") else []
    if row.get("steps_per_batch"):
        words.append(f"a new batch every {row['steps_per_batch']} steps")
        words += ["pipelined start"] if row.get("start") == "pipelined" else []
    return "".join(f", {word}" for word in words)


def listing(header: Sequence[str], body: Sequence[Sequence[Any]], format: str) -> str:
    """A table whose lines begin with a :func:`case`; kind and type are said once where all lines share them."""
    header = ["kind", "type", "batch", "depth", "width", *header]
    if len({(line[0], line[1]) for line in body}) > 1:
        return layout(header, body, format)
    return f"{body[0][0]}, {body[0][1]}\n\n{layout(header[2:], [line[2:] for line in body], format)}"


def scaled(seconds: float | None) -> str:
    """Seconds with three digits and a fitting unit: ``scaled(5.213e-3)`` is ``"5.21 ms"``; ``-`` for None."""
    if seconds is None:
        return "-"
    factor, unit = next(((f, u) for f, u in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if seconds * f >= 0.9995), (1e9, "ns"))
    return f"{short(seconds * factor)} {unit}"


def short(number: float | None, whole: bool = False) -> str:
    """Three digits, as in 0.0431, 0.431, 4.31, 43.1, 431; counts as they are; ``-`` for None."""
    if number is None:
        return "-"
    return f"{number:g}" if whole else f"{number:.0f}" if number >= 999.5 else f"{number:#.3g}".rstrip(".")


def between(low: float | None, high: float | None) -> str:
    """An interval; ``-`` for None."""
    return "-" if low is None else f"{short(low)} to {short(high)}"


def place(row: Mapping[str, Any]) -> str:
    """The cell of a row in words."""
    net = row.get("net") or f"depth {row['depth']} × width {row['width']}"
    return f"{net}, batch {row['batch']}{conditions(row)}"
