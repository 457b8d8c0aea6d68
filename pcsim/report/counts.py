"""Tables of counts in words: products, what they leave out, sizes and bytes of nets. Rows are those of
``schedule.counts``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..algorithms.registry import find
from ..schedule.scan import Scan
from ..tables import layout, short

_COSTS = {
    "smm": "SMM", "span_flop": "span", "delay": "delay", "held": "held", "messages_up": "up", "messages_down": "down",
}  # fmt: skip


def products(rows: Sequence[dict[str, Any]], changing: bool, filling: bool) -> str:
    """Products per update: in all, in a row, and as long as they take so many workers."""
    counts = {"mm": "MM", "smm": "SMM", **({"smm_starts": "SMM with starts"} if changing else {})}
    counts |= {"mm_full": "MM full", "smm_full": "SMM full", **({"first": "first SMM"} if filling else {})}
    heads = [*counts.values(), *_workers(rows[0]["smm_workers"])]
    words = [
        "Matrix products per complete weight update, counted on the task graphs (paper convention: Table 4;",
        "full: with weight gradients and forward start). Right: makespan in products on that many workers.",
    ]
    words += ["first SMM: of the first update, for which a pipeline has to fill."] if filling else []
    words += _of_muon(
        rows, "Muon: five Newton-Schulz iterations of three products, all in a row behind each gradient (full)."
    )
    return _table(words, rows, heads, lambda row: [*(row[name] for name in counts), *row["smm_workers"].values()])


def _workers(numbers: Iterable[int]) -> list[str]:
    """Heads of columns."""
    return [f"{P} worker{'s' if P > 1 else ''}" for P in numbers]


def _of_muon(rows: Sequence[dict[str, Any]], *words: str) -> list[str]:
    """Words for rows of muon alone."""
    return [*words] if any(row["optimizer"] == "muon" for row in rows) else []


def costs(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What products in a row leave out: of nets by name in three tables."""
    nets, first = "net" in rows[0], rows[0]
    words = ["What else a weight update costs, counted on the same graphs, for as many workers as can be used."]
    if nets:
        words += [
            "The sizes are the nets' own; heads and feedback have as many rows as the output.", "",
            "span: products in a row as SMM, each weighed by its flop; the unit is the average layer's product, so",
            "that a product with each layer makes as many as there are layers",
            "on P: the same on P workers, each with a block of layers (BP and iPC may share out the samples of a",
            "batch instead, which makes a P-th of what they have on 1)",
        ]  # fmt: skip
    else:
        width, classes = first["width"], first["classes"]
        words += [
            f"Layers are {width} x {width}, heads and feedback {classes} x {width}.", "",
            "span: products in a row as SMM, each weighed by its flop; the unit is the product of a hidden layer",
        ]  # fmt: skip
    words += [
        "delay: updates that are made between the first layer's prediction for a batch and its update from it",
        "held: batches whose values the first layer has to keep at once",
        "up, down: messages to layers above and below, each on its own worker, for each pair of neighbours",
        "flop: of all products, with weight gradients and forward start, for one sample",
    ]
    words += _of_muon(
        rows,
        "Muon: its products, and the gradients before them, stand in span; they are made once for a batch,",
        f"here of {first['batch']}, and flop has a sample's share of them",
    )
    if not nets:
        heads = [*_COSTS.values(), "flop"]
        return [_table(words, rows, heads, lambda row: [*(round(row[n], 2) for n in _COSTS), round(row["flops"])])]
    heads = [
        *list(_COSTS.values())[:2],
        *(f"on {P}" for P in first["span_workers"]),
        *list(_COSTS.values())[2:],
        "Mflop",
    ]

    def cells(row: dict[str, Any]) -> list[Any]:
        spans = [row["span_flop"], *row["span_workers"].values()]
        rest = [round(row[name], 2) for name in list(_COSTS)[2:]]
        return [row["smm"], *(round(float(span), 2) for span in spans), *rest, short(row["flops"] / 1e6)]

    return [_sizes(rows), _table(words, rows, heads, cells), _bytes(rows)]


def _sizes(rows: Sequence[dict[str, Any]]) -> str:
    """The nets."""
    body = []
    for row in {row["net"]: row for row in rows}.values():
        each = row["multiplications"]
        weights = sum(rows * columns for rows, columns in row["shapes"])
        mean = sum(each) / len(each)
        largest = max(range(len(each)), key=each.__getitem__)
        body.append([
            row["net"], row["depth"], f"{weights:,}", short(2 * mean / 1e6), f"W[{largest}]",
            f"{max(each) / mean:.3g}", f"{min(each) / mean:.2g}", sum(row["skips"]) or "",
        ])  # fmt: skip
    words = [
        "The nets: flop of the average layer's product for one sample, and what the largest and the smallest take of",
        "that. A skip adds its layer's input to its prediction: no product, and no message, as both are one worker's.",
    ]
    heads = ["net", "layers", "weights", "Mflop", "largest", "takes", "smallest", "skips"]
    return "\n".join([*words, "", layout(heads, body, "text")])


def _bytes(rows: Sequence[dict[str, Any]]) -> str:
    """What is read, sent and kept, of float32."""
    words = [
        "Bytes of float32 per weight update, in thousands.", "",
        "weights: that products read, each those of its layer, for the whole batch; kernels that make several",
        "products in one pass read less",
        "up, down: of all messages between layers, each on its own worker, for one sample",
        "kept: of the values below it, by the layer that has to keep most, for one sample",
    ]  # fmt: skip
    names = ("weight_bytes", "up_bytes", "down_bytes", "held_bytes")

    def cells(row: dict[str, Any]) -> list[Any]:
        return [_written(round(row[name] / 1000, 1 if row[name] < 1e5 else None)) for name in names]

    return _table(words, rows, ["weights", "up", "down", "kept"], cells)


def _table(
    words: list[str],
    rows: Sequence[dict[str, Any]],
    heads: list[str],
    cells: Callable[[dict[str, Any]], list[Any]],
) -> str:
    """Words, a blank line, and a line for each row."""
    changing = any(row["steps_per_batch"] for row in rows)
    named = "net" in rows[0]
    heads = ["algorithm", "net" if named else "depth", "T", *(["steps per batch", "start"] if changing else []), *heads]
    body = []
    for row in rows:
        name = row["algorithm"]
        about = [
            Scan.title if name == Scan.name else find(name).title,
            row["net" if named else "depth"],
            row["steps"] or "",
        ]
        if changing:
            about += [row["steps_per_batch"], row["start"]] if row["steps_per_batch"] else ["", ""]
        body.append([_written(cell) for cell in about + cells(row)])
    return "\n".join([*words, "", layout(heads, body, "text")])


def _written(cell: Any) -> str:
    return f"{cell:g}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)
