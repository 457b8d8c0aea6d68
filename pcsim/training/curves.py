"""Learning curves: the same net and data, one run per algorithm, loss against updates, SMMs, MMs and seconds.

What Fig. 2 (right) of Salvatori et al. 2022 shows, with every knob in the open: the picture depends on optimiser,
rate, precision, gamma and start, and a run that diverges is part of it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..algorithms import Algorithm
from ..engines.limits import flop_needed, memory_of_engine, resolve_workers
from ..errors import InputError
from ..host.memory import require
from ..net.given import check_seed, require_weights
from ..net.network import Network
from .data import Dataset
from .data_checks import check_batches
from .train import Run, train


@dataclass(frozen=True)
class Study:
    """One curve: an algorithm on a net of those sizes."""

    algorithm: Algorithm
    sizes: tuple[int, ...]
    activation: str = "tanh"
    seed: int = 0

    @property
    def label(self) -> str:
        """The curve's name in figures and messages."""
        a = self.algorithm
        return f"{a.title} T={a.T}" if hasattr(a, "T") else a.title

    @property
    def knobs(self) -> dict[str, Any]:
        """Everything that tells this curve from another, for files."""
        return {
            "algorithm": self.algorithm.name,
            **asdict(self.algorithm),
            "sizes": list(self.sizes),
            "activation": self.activation,
            "seed": self.seed,
        }


def curve(plan: Study, run: Run, settings: dict[str, Any]) -> dict[str, Any]:
    """A finished or interrupted run as a row of a curves file: SMMs and MMs in the paper's convention."""
    graph = plan.algorithm.steady_tasks(len(plan.sizes) - 1)
    return {
        **plan.knobs,
        **settings,
        "label": plan.label,
        "depth": len(plan.sizes) - 1,
        "kind": "measured",
        "updates": list(run.recorded),
        "smm": [float(n * graph.smm) for n in run.recorded],
        "mm": [float(n * graph.mm) for n in run.recorded],
        "seconds": list(run.recorded_seconds),
        "loss": list(run.loss),
        "energy": list(run.energy),
        "whole": {
            "updates": run.updates,
            "smm": float(run.updates * graph.smm),
            "mm": float(run.updates * graph.mm),
            "seconds": run.seconds,
            "loss": run.final_loss,
        },
        "diverged": run.diverged,
        "interrupted": False,
    }


# What of a row became of its run; all else is how it was made.
OUTCOME = frozenset(("updates", "smm", "mm", "seconds", "loss", "energy", "whole", "diverged", "interrupted"))

# What of train's arguments makes a curve, and what it is where it is not given.
_SETTINGS: dict[str, Any] = {
    "backend": "threads",
    "batch_size": None,
    "steps_per_batch": None,
    "record_every": 1,
    "until_loss": None,
    "seed": 0,
}


def curves(
    plans: Sequence[Study],
    data: Dataset,
    *,
    updates: int,
    done: Iterable[dict] = (),
    on_start: Callable[[int, Study, bool], None] = lambda number, plan, skipped: None,
    on_record: Callable[[Run], None] | None = None,
    workers: int | str = "auto",
    **settings: Any,
) -> Iterator[dict[str, Any]]:
    """Train every plan that ``done`` does not hold, and yield its curve when it ends.

    settings: batch_size, steps_per_batch, record_every, until_loss, backend and seed of ``train``. A curve is held if
    a row of ``done`` has everything that makes it, the data's numbers included. A run cut short by Ctrl-C is yielded
    too, marked ``interrupted``, and the interrupt raised after it.
    """
    shared = {name: settings.get(name, usual) for name, usual in _SETTINGS.items()} | settings
    shared["batch_seed"] = shared.pop("seed")  # the plan's seed is the net's
    shared |= {"until_updates": updates, "data": data.name, "samples": len(data.x), "data_digest": data.digest}
    finished = [row for row in done if not row["interrupted"]]
    check_studies(plans, data, settings.get("batch_size"), settings.get("steps_per_batch"))
    for number, plan in enumerate(plans, 1):
        count = workers
        if isinstance(workers, int):
            count = 1 if plan.algorithm.chained else min(workers, len(plan.sizes) - 1)
        count = resolve_workers(count, plan.algorithm, len(plan.sizes) - 1, shared["backend"])
        mine = {**shared, "workers": count}
        wanted = {**plan.knobs, **mine}
        skipped = any(all(name in row and row[name] == value for name, value in wanted.items()) for row in finished)
        on_start(number, plan, skipped)
        if skipped:
            continue
        net = Network.mlp(plan.sizes, plan.activation, seed=plan.seed)
        latest: list[Run] = []

        def record(run: Run, latest: list[Run] = latest) -> None:
            latest[:] = [run]
            if on_record:
                on_record(run)

        try:
            run = train(
                net,
                plan.algorithm,
                data.x,
                data.y,
                updates=updates,
                workers=count,
                on_record=record,
                **settings,
            )
        except KeyboardInterrupt:
            if latest:
                yield {**curve(plan, latest[0], mine), "interrupted": True}
            raise
        yield curve(plan, run, mine)


def check_studies(
    plans: Iterable[Study], data: Dataset, batch_size: int | None = None, steps_per_batch: int | None = None
) -> float:
    """InputError for studies that cannot be made of these data, in this machine's memory, or whose calendar breaks a
    rule; else the flop that an update of each takes, roughly and all together."""
    flop = 0.0
    for plan in plans:
        check_seed(plan.seed)
        if plan.sizes[0] != data.x.shape[1] or plan.sizes[-1] != data.y.shape[1]:
            raise InputError(
                f"sizes {list(plan.sizes)} do not fit {data.name}: {data.x.shape[1]} inputs, {data.y.shape[1]} outputs"
            )
        batch = check_batches(plan.algorithm, len(plan.sizes) - 1, len(data.x), batch_size, steps_per_batch)
        require_weights(plan.sizes)
        needed = memory_of_engine(plan.sizes, batch, 4, plan.algorithm.optimizer == "adam")
        require(needed, f"{plan.label} with {len(plan.sizes) - 1:,} layers and {batch:,} samples")
        flop += flop_needed(plan.algorithm, plan.sizes, batch)
    return flop


def latest(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One curve for each plan and setting: of a run that was interrupted and made again, the later."""
    return list({repr(sorted((k, v) for k, v in row.items() if k not in OUTCOME)): row for row in rows}.values())


_KNOBS = ("depth", "optimizer", "alpha", "gamma", "precision", "activation", "batch_size", "steps_per_batch", "seed")


def _differing(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The knobs that have several values, of those that have any."""
    return [name for name in _KNOBS if len({row[name] for row in rows if name in row}) > 1]


def for_figure(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The curves as a figure shows them: loss per sample, in the label whatever tells one curve from another, and in
    ``stroke`` a number for each setting."""
    differing = _differing(rows)
    several = {
        row["algorithm"] for row in rows if len({r.get("T") for r in rows if r["algorithm"] == row["algorithm"]}) > 1
    }
    settings = [
        (*(row.get(name) for name in differing), row.get("T") if row["algorithm"] in several else None) for row in rows
    ]
    strokes = {setting: number for number, setting in enumerate(dict.fromkeys(settings))}
    return [
        {
            **row,
            "label": ", ".join([row["label"], *(f"{name} {row[name]}" for name in differing if name in row)]),
            "stroke": strokes[setting],
            "loss": [None if loss is None else loss / row["samples"] for loss in row["loss"]],
        }
        for row, setting in zip(rows, settings, strict=True)
    ]


def conditions(rows: Sequence[dict[str, Any]]) -> str:
    """What all curves share, in words: data, batch, net, optimiser, rates. What differs stands in the labels."""
    first, differing = rows[0], _differing(rows)

    def shared(name: str) -> Any:
        values = {repr(row[name]): row[name] for row in rows if row.get(name) is not None}
        return next(iter(values.values())) if len(values) == 1 and name not in differing else None

    batch = shared("batch_size")
    parts = [f"{shared('data') or 'several data sets'}, {shared('samples') or 'several numbers of'} samples"]
    parts += [f"batch {batch}"] if batch else ["full batch"] if "batch_size" not in differing else []
    hidden = sorted({size for row in rows for size in row["sizes"][1:-1]})
    parts.append(f"{first['sizes'][0]} inputs, {'/'.join(map(str, hidden)) or 'no'} units in hidden layers")
    parts += [str(shared("activation"))] if shared("activation") else []
    parts += [f"optimiser {shared('optimizer')}"] if shared("optimizer") else []
    parts += [f"{name} {shared(name):g}" for name in ("alpha", "gamma", "precision") if shared(name) is not None]
    return "; ".join([*parts, "loss: 1/2 sum of squares per sample"])


def table(rows: Sequence[dict[str, Any]], until_loss: float | None = None) -> str:
    """The curves in words: where each began and ended, what it cost, and what became of it. Loss is per sample."""
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
        "ending",
    ]
    lines = []
    for row in rows:
        losses = [math.nan if loss is None else loss / row["samples"] for loss in row["loss"]]
        finite = [loss for loss in losses if math.isfinite(loss)]
        if row["interrupted"]:
            ending = "interrupted"
        elif row["diverged"] is not None:
            ending = f"diverged at update {row['diverged']}: try a smaller alpha, or adam"
        elif until_loss is not None and finite and finite[-1] <= until_loss:
            ending = f"loss {until_loss:g} reached"
        elif until_loss is not None:
            ending = f"loss {until_loss:g} not reached"
        else:
            ending = "all updates made"
        if not losses:
            continue
        # A run that was cut short ends at its last record, any other with its last update.
        last = {name: row[name][-1] for name in ("updates", "smm", "mm", "seconds")}
        if ending.endswith(("made", "not reached")) and row.get("whole"):
            last = row["whole"]
            if last["loss"] is not None:
                finite.append(last["loss"] / row["samples"])
        cells = [
            row["label"],
            row["depth"],
            row["optimizer"],
            f"{row['alpha']:g}",
            *(f"{last[name]:g}" for name in ("updates", "smm", "mm")),
        ]
        cells += [f"{last['seconds']:.3g}", f"{losses[0]:.4g}", f"{min(finite, default=math.nan):.4g}", ending]
        lines.append([str(cell) for cell in cells])
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [heads, *lines]]
    note = "loss: 1/2 sum of squares per sample, at the start and at its lowest; SMMs and MMs in the paper's convention"
    return "\n".join([*(line.rstrip() for line in shown), "", note])
