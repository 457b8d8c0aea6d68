"""BP ÷ iPC per weight update over depths and batches, as a table and as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..predict.batches import Counts, Pair
from ..results.files import Results
from ..results.pairs import HEADLINE, pairs
from ..tables import layout, short

ABOUT = (
    "BP ÷ iPC for one weight update on a batch that stays; above 1 iPC is ahead.",
    "SMM: products in a row, each counted as one (2 L - 1 and 2); span: each weighed by its samples, on a worker for",
    "each layer, where BP sends single samples through the layers (counted); 1 + (L - 1) / B: what that comes to.",
)


def measured(results: Results, width: int) -> dict[tuple[int, int], float]:
    """Of each (depth, batch) of a results file at that width: seconds of the fastest BP ÷ those of iPC."""
    found = [pair for pair in pairs(results, HEADLINE) if pair["kind"] == "measured" and pair["width"] == width]
    return {(pair["depth"], pair["batch"]): 1 / pair["ratio"] for pair in found if pair["ratio"] and not pair["net"]}


def rows(
    counts: Iterable[Counts],
    predicted: Mapping[str, Mapping[tuple[int, int], Pair]],
    measurements: Mapping[tuple[int, int], float],
) -> list[dict[str, Any]]:
    """A mapping for each depth and batch; what was not predicted or measured is None."""
    return [
        {
            "depth": one.depth, "batch": one.batch, "smm": one.smm, "span": one.span, "formula": one.formula,
            "predicted": {
                name: {
                    "ratio": pair.ratio, "mark": pair.mark, "bp": [pair.bp.execution, pair.bp.workers],
                    "ipc": [pair.ipc.execution, pair.ipc.workers],
                }
                for name, pairs_ in predicted.items()
                if (pair := pairs_.get((one.depth, one.batch))) is not None
            },
            "measured": measurements.get((one.depth, one.batch)),
        }
        for one in counts
    ]  # fmt: skip


def marks(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """What must be known of predictions, such as ``server-64: not calibrated``."""
    told = ((name, one["mark"]) for row in found for name, one in row["predicted"].items() if one["mark"])
    return [f"{name}: {mark}" for name, mark in dict.fromkeys(told)]


def table(found: Sequence[Mapping[str, Any]], format: str = "text") -> str:
    """What was counted, then what was predicted, each marked, then what was measured."""
    machines = list(dict.fromkeys(name for row in found for name in row["predicted"]))
    any_measured = any(row["measured"] for row in found)
    heads = ["depth", "batch", "SMM", "span", "1 + (L - 1) / B"]
    heads += [f"{name}, predicted" for name in machines] + (["measured"] if any_measured else [])
    body = []
    for row in found:
        told = [short(row["predicted"].get(name, {}).get("ratio")) for name in machines]
        told += [short(row["measured"])] if any_measured else []
        body.append([row["depth"], row["batch"], *(short(row[name]) for name in ("smm", "span", "formula")), *told])
    return layout(heads, body, format)
