"""Learning curves: the same net and data, one run per algorithm, loss against updates, SMMs, MMs and seconds.

What Fig. 2 (right) of Salvatori et al. 2022 shows, with every knob in the open: the picture depends on optimiser,
rate, precision, gamma and start, and a run that diverges is part of it.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..algorithms import Algorithm, asynchronous
from ..algorithms.common import MOMENTS
from ..engines.limits import (
    check_forms,
    check_images,
    check_run,
    check_threads,
    flop_needed,
    memory_of_engine,
    resolve_workers,
)
from ..errors import InputError
from ..host.memory import require
from ..host.mpi import world
from ..net.given import check_seed, require_weights
from ..net.named import Outline, named, outline
from ..net.network import Network
from .curve_words import OUTCOME, conditions, for_figure, latest, made_of, table
from .data import Dataset
from .data_checks import check_batches, updates_of_epochs
from .run import Progress, Run
from .seeds import train_seeds

__all__ = ["OUTCOME", "Study", "check_studies", "conditions", "curve", "curves", "for_figure", "latest", "table"]


@dataclass(frozen=True)
class Study:
    """One curve: an algorithm on a net of those sizes, or on the ``net`` of a name (``pcsim.net.named``) that has
    them."""

    algorithm: Algorithm
    sizes: tuple[int, ...]
    activation: str = "tanh"
    seed: int = 0
    loss: str = "squared"
    net: str | None = None
    parameterisation: str = "sp"

    @property
    def outline(self) -> Outline | None:
        """Of a named net."""
        return outline(self.net) if self.net else None

    @property
    def label(self) -> str:
        """The curve's name in figures and messages."""
        a = self.algorithm
        return f"{a.title} T={a.T}" if hasattr(a, "T") else getattr(a, "label", a.title)

    @property
    def knobs(self) -> dict[str, Any]:
        """Everything that tells this curve from another, for files."""
        return {
            "algorithm": self.algorithm.name,
            **{name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.algorithm).items()},
            "sizes": list(self.sizes),
            "activation": self.activation,
            "seed": self.seed,
            **({} if self.loss == "squared" else {"output_loss": self.loss}),
            **({"net": self.net} if self.net else {}),
            **({} if self.parameterisation == "sp" else {"parameterisation": self.parameterisation}),
        }


def curve(plan: Study, run: Run, settings: dict[str, Any], epoch: int = 1) -> dict[str, Any]:
    """A finished or interrupted run as a row of a curves file: SMMs and MMs in the paper's convention; an ``epoch`` has
    so many updates."""
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
        **_evaluated(run, epoch),
    }


def _evaluated(run: Run, epoch: int) -> dict[str, Any]:
    """What was seen of rows that are not trained on, where somebody looked: also in epochs, None for what is no number
    of a net that has diverged."""
    found = run.evaluations
    if not found.updates:
        return {}
    lists = {
        name: [value if math.isfinite(value) else None for value in getattr(found, name)]
        for name in ("validation_loss", "validation_accuracy", "test_accuracy")
    }
    epochs = [updates / epoch for updates in found.updates]
    return {
        "evaluations": {"updates": found.updates, "seconds": found.seconds, "epochs": epochs, **lists},
        "stopped_early": run.stopped_early,
    }


# What of train's arguments makes a curve, and what it is where it is not given.
_SETTINGS: dict[str, Any] = {
    "backend": "threads",
    "batch_size": None,
    "steps_per_batch": None,
    "record_every": 1,
    "until_loss": None,
}

# Of its other arguments, those that change nothing in a curve.
_UNTOLD = ("checkpoint_every", "resume", "seed")


def curves(
    plans: Sequence[Study],
    data: Dataset,
    *,
    updates: int | None,
    done: Iterable[dict] = (),
    on_start: Callable[[int, Study, bool], None] = lambda number, plan, skipped: None,
    on_record: Callable[[Run], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    workers: int | str = "auto",
    test: Dataset | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Iterator[dict[str, Any]]:
    """Train every plan that ``done`` does not hold, and yield its curve when it ends.

    settings: what else ``train`` takes; ``test`` is a data set. Plans that differ in their seed alone run side by side
    where cores are free. A curve is held if a row of ``done`` has everything that makes it, the data's numbers
    included. A run cut short by Ctrl-C is yielded too, marked ``interrupted``, and the interrupt raised after it.
    """
    settings = dict(settings)
    told = {name: value for name, value in settings.items() if name not in _UNTOLD}
    shared = {name: told.get(name, usual) for name, usual in _SETTINGS.items()} | told
    shared |= {"test": test.name if test else None} if test else {}
    shared |= {"until_updates": updates, "data": data.name, "samples": len(data.x), "data_digest": data.digest}
    shared |= {"ranks": world().COMM_WORLD.size} if shared["backend"] == "mpi" else {}
    finished = [made_of(row) for row in done if not row["interrupted"]]
    execution = settings.get("execution")
    plans = [as_run(plan, execution) for plan in plans]
    check_studies(plans, data, settings.get("batch_size"), settings.get("steps_per_batch"))
    rows = len(data.x) - _held_out(len(data.x), settings.get("validation"))
    check_executions(
        plans, settings.get("batch_size") or rows, shared["backend"], execution, settings.get("order", "split"), workers
    )
    order = settings.pop("seed", None)  # of the batches; else that of the net
    groups = [[plan] for plan in plans] if order is not None else seeds_of(plans)
    for number, alike in enumerate(groups, 1):
        plan = alike[0]
        seeds = {each.seed if order is None else order: each for each in alike}
        count, _ = _shared(plan, workers, shared["backend"], execution)
        epoch = epoch_of(plan, len(data.x), settings)
        wanted = {seed: {**each.knobs, **shared, "workers": count, "batch_seed": seed} for seed, each in seeds.items()}

        def held(seed: int, wanted: dict[int, dict[str, Any]] = wanted) -> bool:
            return any(row == made_of(wanted[seed]) for row in finished)

        left = [seed for seed in seeds if not held(seed)]
        on_start(number, plan, not left)
        if not left:
            continue
        latest: dict[int, Run] = {}

        def record(seed: int, run: Run, latest: dict[int, Run] = latest) -> None:
            latest[seed] = run
            if on_record:
                on_record(run)

        file = checkpoint
        if checkpoint is not None and len(groups) > 1:
            file = checkpoint_of_run(Path(checkpoint), number)
        try:
            runs = train_seeds(
                lambda seed, seeds=seeds: _net(seeds[seed]),  # type: ignore[misc]
                plan.algorithm,
                data.x,
                data.y,
                seeds=left,
                updates=updates,
                workers=count,
                on_record=record,
                on_progress=(lambda seed, progress: on_progress(progress)) if on_progress else None,
                checkpoint=file,
                test=(test.x, test.y) if test else None,
                **settings,
            )
        except KeyboardInterrupt:
            for seed in left:
                if seed in latest:
                    yield {**curve(seeds[seed], latest[seed], wanted[seed], epoch), "interrupted": True}
            raise
        for seed, run in zip(left, runs, strict=True):
            yield curve(seeds[seed], run, wanted[seed], epoch)


def epoch_of(plan: Study, rows: int, settings: dict[str, Any]) -> int:
    """Weight updates of an epoch, of so many rows less those that are held out."""
    batch, steps, out = (settings.get(name) for name in ("batch_size", "steps_per_batch", "validation"))
    rows -= _held_out(rows, out)
    repeat = settings.get("repeat", 1)
    return updates_of_epochs(plan.algorithm, len(plan.sizes) - 1, rows, batch or rows, steps, repeat)


def checkpoint_of_run(file: Path, number: int) -> Path:
    """The checkpoint of one of several runs: its number stands before the suffix."""
    return file.with_name(f"{file.stem}-{number}{file.suffix}")


def _held_out(rows: int, share: Any) -> int:
    return round(share * rows) if isinstance(share, float) and 0 < share < 1 else 0


def as_run(plan: Study, execution: str | None) -> Study:
    """The study by the name of what is trained: BP in an asynchronous pipeline is asynchronous BP."""
    return replace(plan, algorithm=asynchronous(plan.algorithm, execution)[0])


def _shared(plan: Study, workers: int | str, backend: str, execution: str | None) -> tuple[int, str | None]:
    """On how many workers, no more than it can use unless an execution is named, and in which execution."""
    depth, count = len(plan.sizes) - 1, workers
    learner, how = asynchronous(plan.algorithm, execution)
    if isinstance(workers, int) and execution is None:
        waits = learner.chained and not learner.checked_calendar(depth).overlapped
        count = 1 if waits else min(workers, depth)
    return resolve_workers(count, learner, depth, backend, how), how


def check_executions(
    plans: Iterable[Study], batch: int, backend: str, execution: str | None, order: str, workers: int | str
) -> None:
    """InputError for a study that no engine would train in this way."""
    ranks = world().COMM_WORLD.size if backend == "mpi" else 1
    for plan in plans:
        count, how = _shared(plan, workers, backend, execution)
        depth, softmax = len(plan.sizes) - 1, plan.loss != "squared"
        check_run(plan.algorithm, how, order, backend, ranks, count, depth, batch, softmax)
        if plan.outline and any(plan.outline.forms):
            check_forms(plan.algorithm, plan.outline.forms)
            if backend != "numpy":
                check_images(plan.algorithm, plan.outline.forms, how or None, order, ranks > 1)


def check_workers(plans: Iterable[Study], backend: str, execution: str | None, workers: int | str) -> None:
    """InputError, in ``train``'s words, for more workers than any study can use; others have as many as they can."""
    plans = list(plans)
    counts = [_shared(plan, workers, backend, execution)[0] for plan in plans]
    if backend == "threads" and isinstance(workers, int) and max(counts) < workers:
        plan = plans[counts.index(max(counts))]
        learner, how = asynchronous(plan.algorithm, execution)
        check_threads(learner, how, workers, len(plan.sizes) - 1, workers)


def _net(plan: Study) -> Network:
    options: dict[str, Any] = {"seed": plan.seed, "loss": plan.loss, "parameterisation": plan.parameterisation}
    if plan.net:
        return named(plan.net, plan.activation, **options)
    return Network.mlp(plan.sizes, plan.activation, **options)


def seeds_of(plans: Sequence[Study]) -> list[list[Study]]:
    """Plans in their order, those that differ in their seed alone together."""
    found: dict[Study, list[Study]] = {}
    for plan in plans:
        found.setdefault(replace(plan, seed=0), []).append(plan)
    return list(found.values())


def check_studies(
    plans: Iterable[Study],
    data: Dataset,
    batch_size: int | None = None,
    steps_per_batch: int | None = None,
    start: str = "forward",
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
        batch = check_batches(plan.algorithm, len(plan.sizes) - 1, len(data.x), batch_size, steps_per_batch, start)
        shapes = plan.outline.shapes if plan.outline else [(m, n) for n, m in pairwise(plan.sizes)]
        require_weights(shapes)
        needed = memory_of_engine(plan.sizes, batch, 4, MOMENTS[plan.algorithm.optimizer], shapes)
        require(needed, f"{plan.label} with {len(plan.sizes) - 1:,} layers and {batch:,} samples")
        times = plan.outline.multiplications if plan.outline else ()
        flop += flop_needed(plan.algorithm, plan.sizes, batch, times)
    return flop
