"""Learning curves in words: what tells them apart, labels, what they share, and their table."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .image_sets import SYNTHETIC

# What of a row became of its run; all else is how it was made.
OUTCOME = frozenset(
    ("updates", "smm", "mm", "seconds", "loss", "energy", "whole", "diverged", "interrupted", "evaluations")
) | {"stopped_early"}

FOLLOWING = frozenset(("label", "depth", "kind"))  # from the rest


# What of ``train``'s arguments a row leaves out where it is as usual, so that older curves are found again.
USUAL: dict[str, Any] = {
    "epochs": None, "schedule": "constant", "warmup": 0, "floor": 0.0, "validation": None, "evaluate_every": None,
    "patience": None, "checkpoint_every": None, "start": "forward", "execution": None, "order": "split",
    "until_accuracy": None, "repeat": 1, "augment": None,
}  # fmt: skip

# The same of what makes a net, of data to test on, and of ranks.
UNSAID: dict[str, Any] = USUAL | {"output_loss": "squared", "test": None, "ranks": None}
UNSAID |= {"net": None, "parameterisation": "sp"}


def made_of(row: dict[str, Any]) -> dict[str, Any]:
    """Everything that makes a curve, also what its row leaves out."""
    return UNSAID | {name: value for name, value in row.items() if name not in OUTCOME | FOLLOWING}


def latest(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One curve for each plan and setting: of a run that was interrupted and made again, the later."""
    return list({repr(sorted(made_of(row).items())): row for row in rows}.values())


# Fields in the order in which labels say them, each as words for its value; fields of other algorithms follow.
_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "depth": lambda row: f"depth {row['depth']}",
    "sizes": lambda row: _hidden(row["sizes"]),
    "net": lambda row: str(row["net"]),
    "parameterisation": lambda row: str(row["parameterisation"]),
    "activation": lambda row: str(row["activation"]),
    "optimizer": lambda row: f"optimizer {row['optimizer']}",
    "alpha": lambda row: f"alpha {row['alpha']}",
    "gamma": lambda row: f"gamma {_rate(row['gamma'])}",
    "precision": lambda row: f"precision {_rate(row['precision'])}",
    "output_loss": lambda row: "squared error" if row["output_loss"] == "squared" else str(row["output_loss"]),
    "execution": lambda row: row["execution"] or "usual execution",
    "data": lambda row: str(row["data"]),
    "samples": lambda row: f"{row['samples']} samples",
    "data_digest": lambda row: f"data {row['data_digest'][:6]}",
    "batch_size": lambda row: f"batch {row['batch_size']}" if row["batch_size"] else "full batch",
    "augment": lambda row: f"images by {' and '.join(row['augment'])}" if row["augment"] else "images as they are",
    "steps_per_batch": lambda row: f"{row['steps_per_batch'] or 'all'} updates a batch",
    "seed": lambda row: f"seed {row['seed']}",
    "batch_seed": lambda row: f"batches by seed {row['batch_seed']}",
    "until_updates": lambda row: f"up to {row['until_updates']} updates",
    "until_loss": lambda row: (
        "any loss" if row["until_loss"] is None else f"until {row['until_loss'] / row['samples']:g}"
    ),
    "record_every": lambda row: f"a record in {row['record_every']}",
    "backend": lambda row: f"on {row['backend']}",
    "workers": lambda row: f"{row['workers']} workers",
}


def _rate(rate: float | Sequence[float]) -> str:
    """A rate, or one for each step of a batch, in words."""
    return ", ".join(f"{value:g}" for value in rate) if isinstance(rate, list | tuple) else f"{rate:g}"


def _plain(name: str, value: Any) -> str:
    return f"no {name}" if value is None else f"{name} {value}"


def _hidden(sizes: Sequence[int]) -> str:
    """The hidden layers of a net in words."""
    return f"hidden {'-'.join(map(str, sizes[1:-1] if len(set(sizes[1:-1])) > 1 else sizes[1:2]))}"


def _known(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what some of them leave out and others tell."""
    rows = list(rows)
    told = {name: usual for name, usual in UNSAID.items() if any(name in row for row in rows)}
    return [told | row for row in rows]


def _several(rows: Iterable[dict[str, Any]], *names: str) -> bool:
    """Whether, of rows that have them, these fields together have several values."""
    return len({repr([row[name] for name in names]) for row in rows if all(name in row for name in names)}) > 1


def _differing(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The fields that tell rows apart: all that have several values, but for what others among them say already."""
    rows = _known(rows)
    told = {name: None for row in rows for name in row if name not in OUTCOME}
    known = [*_WORDS, *(name for name in told if name not in _WORDS)]
    found = [n for n in known if n not in ("algorithm", "label", "kind", "T") and _several(rows, n)]
    if "depth" in found and not any(_several(alike, "sizes") for alike in _grouped(rows, "depth")):
        found = [name for name in found if name != "sizes"]
    if not any(_several(alike, "data_digest") for alike in _grouped(rows, "data", "samples")):
        found = [name for name in found if name != "data_digest"]
    if all(row.get("batch_seed") == row.get("seed") for row in rows):
        found = [name for name in found if name != "batch_seed"]
    if not any(_several(alike, "workers") for alike in _grouped(rows, "label", "depth")):  # how many can be used
        found = [name for name in found if name != "workers"]
    return found


def _grouped(rows: Iterable[dict[str, Any]], *names: str) -> list[list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(repr([row.get(name) for name in names]), []).append(row)
    return list(groups.values())


def _labels(rows: Sequence[dict[str, Any]], fields: Sequence[str], beside: Sequence[str] = ()) -> list[str]:
    """The rows' names with what is in those of the fields that each has, but for those ``beside`` the names; a number
    where rows are alike even so, as those of another version of pcsim may be, which wrote other fields."""

    def words(row: dict[str, Any], names: Iterable[str]) -> list[str]:
        return [_WORDS[name](row) if name in _WORDS else _plain(name, row[name]) for name in names if name in row]

    rows = _known(rows)
    met: Counter[str] = Counter()
    found = []
    for row in rows:
        met[key := repr([row["label"], words(row, fields)])] += 1
        number = [f"run {met[key]}"] if met[key] > 1 else []
        found.append(", ".join([row["label"], *words(row, (n for n in fields if n not in beside)), *number]))
    return found


def for_figure(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The curves as a figure shows them, with the loss after the last update: loss per sample, in the label whatever
    tells one curve from another, and in ``stroke`` a number for each setting."""
    differing = _differing(rows)
    several = {rows_of[0]["algorithm"] for rows_of in _grouped(rows, "algorithm") if _several(rows_of, "T")}
    settings = [
        repr([*(row.get(name) for name in differing), row.get("T") if row["algorithm"] in several else None])
        for row in _known(rows)
    ]
    strokes = {setting: number for number, setting in enumerate(dict.fromkeys(settings))}
    shown = []
    for row, setting, label in zip(rows, settings, _labels(rows, differing), strict=True):
        last = row.get("whole") or {}
        ends = last if last.get("loss") is not None and row["updates"] and last["updates"] > row["updates"][-1] else {}
        axes = {name: [*row[name], *([ends[name]] if ends else [])] for name in ("updates", "smm", "mm", "seconds")}
        losses = [*row["loss"], *([ends["loss"]] if ends else [])]
        shown.append(
            {
                **row,
                **axes,
                "label": label,
                "stroke": strokes[setting],
                "loss": [None if loss is None else loss / row["samples"] for loss in losses],
            }
        )
    return shown


def conditions(rows: Sequence[dict[str, Any]]) -> str:
    """What all curves share, in words: data, batch, net, optimiser, rates. What differs stands in the labels."""
    first, differing = rows[0], _differing(rows)

    def shared(name: str) -> Any:
        values = {repr(row[name]): row[name] for row in rows if row.get(name) is not None}
        return next(iter(values.values())) if len(values) == 1 and name not in differing else None

    batch = shared("batch_size")
    parts = [f"{shared('data') or 'several data sets'}, {shared('samples') or 'several numbers of'} samples"]
    parts += [f"batch {batch}"] if batch else ["full batch"] if "batch_size" not in differing else []
    parts += [f"images by {' and '.join(shared('augment'))}"] if shared("augment") else []
    hidden = sorted({size for row in rows for size in row["sizes"][1:-1]})
    parts.append(f"{first['sizes'][0]} inputs, {'/'.join(map(str, hidden)) or 'no'} units in hidden layers")
    parts += [str(shared("activation"))] if shared("activation") else []
    parts += [f"optimiser {shared('optimizer')}"] if shared("optimizer") else []
    parts += [f"{name} {_rate(shared(name))}" for name in ("alpha", "gamma", "precision") if shared(name) is not None]
    return "; ".join([*parts, f"loss: {_losses(rows)} per sample"])


def _losses(rows: Sequence[dict[str, Any]]) -> str:
    """What the losses are."""
    found = {row.get("output_loss", "squared") for row in rows}
    return " or ".join(["1/2 sum of squares"] * ("squared" in found) + ["cross-entropy"] * ("cross-entropy" in found))


def _last_of(row: dict[str, Any], name: str) -> str:
    """The last accuracy in percent."""
    found = row.get("evaluations", {}).get(name)
    return f"{100 * found[-1]:.2f} %" if found and found[-1] is not None else "-"


def table(rows: Sequence[dict[str, Any]], until_loss: float | None = None) -> str:
    """The curves in words: what tells them apart, where each began and ended, what it cost, and what became of it. Loss
    is per sample."""
    looked = {"validation_accuracy": "validation", "test_accuracy": "test"}
    accuracies = {
        name: head for name, head in looked.items() if any(row.get("evaluations", {}).get(name) for row in rows)
    }
    heads = [
        "algorithm",
        "depth",
        "optimizer",
        "alpha",
        "updates",
        "SMMs",
        "MMs",
        "seconds",
        "loss",
        "lowest",
        *accuracies.values(),
        "ending",
    ]
    lines = []
    # Depth, optimiser and rate have columns of their own.
    labels = _labels(rows, _differing(rows), beside=("depth", "optimizer", "alpha"))
    for row, label in zip(rows, labels, strict=True):
        losses = [math.nan if loss is None else loss / row["samples"] for loss in row["loss"]]
        finite = [loss for loss in losses if math.isfinite(loss)]
        if not losses:
            continue
        whole = row.get("whole")
        # A run that was cut short, or has reached its aim, ends at its last record, any other with its last update.
        last = {name: row[name][-1] for name in ("updates", "smm", "mm", "seconds")}
        at_record = until_loss is not None and bool(finite) and finite[-1] <= until_loss
        if whole and not (row["interrupted"] or row["diverged"] is not None or at_record):
            last = whole
            if whole["loss"] is not None and math.isfinite(whole["loss"]):
                finite.append(whole["loss"] / row["samples"])
        if row["interrupted"]:
            ending = "interrupted"
        elif row["diverged"] is not None:
            ending = f"diverged at update {row['diverged']}: try a smaller alpha"
            ending += ", or adam" if row["optimizer"] in ("sgd", "momentum", "nesterov") else ""
        elif row.get("stopped_early"):
            ending = "stopped early"
        elif until_loss is None:
            ending = "all updates made"
        else:
            ending = f"loss {until_loss:g} {'' if finite and finite[-1] <= until_loss else 'not '}reached"
        cells = [
            label,
            row["depth"],
            row["optimizer"],
            f"{row['alpha']:.10g}",
            *(f"{last[name]:g}" for name in ("updates", "smm", "mm")),
        ]
        cells += [f"{last['seconds']:.3g}", f"{losses[0]:.4g}", f"{min(finite, default=math.nan):.4g}"]
        cells += [_last_of(row, name) for name in accuracies]
        lines.append([str(cell) for cell in [*cells, ending]])
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [heads, *lines]]
    note = f"loss: {_losses(rows)} per sample, at the start and at its lowest; SMMs and MMs in the paper's convention"
    made_here = any(str(row.get("data")).startswith(SYNTHETIC) for row in rows)
    marks = ["synthetic images: random numbers, for speed and smoke tests; no accuracy means anything"] * made_here
    return "\n".join([*(line.rstrip() for line in shown), "", note, *marks])
