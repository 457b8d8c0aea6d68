"""Predictions as rows of a results file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from ..algorithms import BP, PIPELINE_ASYNC, Algorithm
from ..errors import InputError
from ..host.context import capture
from ..results.fields import Row
from ..results.rows import PredictedRow, RankFields
from ..schedule.tasks import TaskGraph
from .machine import Machine
from .simulate import Prediction
from .sweep import Projection

_ITEMS = {4: "float32", 8: "float64"}

# What is shown


def source(machine: Machine, validation: str = "") -> str:
    """The line that stands over every table and under every figure: machine, mark, report card."""
    text = f"machine {machine.name} ({_state(machine)}), predicted"
    return f"{text}; {_card(machine, validation)}" if validation else text


def _as_measured(machine: Machine) -> bool:
    """Whether the machine is that of its file, not scaled in cores and with its own figures."""
    return machine.name == machine.source.get("name", machine.name)


def _state(machine: Machine) -> str:
    if not machine.calibrated:
        return "not calibrated"
    return "calibrated" if _as_measured(machine) else "calibrated, then changed"


def _card(machine: Machine, validation: str) -> str:
    return validation if _as_measured(machine) else f"{validation}, of the machine as it was measured"


# Rows of a results file


def context(
    machine: Machine, validation: str = "", command: Sequence[str] | None = None, workers: Sequence[int] = ()
) -> dict[str, Any]:
    """For the header of a results file. What the file is of is the machine that was predicted, not this host, which
    stands under ``host``; ``workers``: the numbers of them that were asked for."""
    host = capture(list(command) if command else None)
    card = _card(machine, validation) if validation else None
    return {
        **{name: host[name] for name in ("time", "versions", "commit", "command") if name in host},
        "cpu_model": f"machine {machine.name}, predicted, {_state(machine)}",
        "cores": machine.workers,
        "note": card,
        **({"offered": sorted(set(workers))} if workers else {}),
        "machine": machine.name,
        "model": machine.model,
        "calibrated": dict(machine.calibrated) if machine.calibrated else None,
        "validation": card,
        "host": host,
    }


def rows(cases: Iterable[Projection]) -> Iterator[Row]:
    """The predictions of a sweep as rows of ``pcsim-results/1``, each once. InputError for several machines: their
    rows could not be distinguished."""
    seen: set[tuple] = set()
    for one in cases:
        if (one.latency, one.bandwidth) != (1, 1):
            raise InputError("a results file is of one machine: change its figures with --set, a file for each")
        everybody = [
            *zip(one.algorithms, one.runs, strict=True),
            *((BP(optimizer=one.optimizer), bp) for bp in one.bps),
        ]
        for algorithm, run in everybody:
            key = (algorithm, run.execution, run.workers, run.ranks, one.net)
            if key not in seen:
                seen.add(key)
                yield _row(one, algorithm, run)


@lru_cache(maxsize=64)
def _graph(algorithm: Algorithm, depth: int, steps_per_batch: int | None, start: str) -> TaskGraph:
    return algorithm.steady_tasks(depth, steps_per_batch, start)


def _row(one: Projection, algorithm: Algorithm, run: Prediction) -> Row:
    graph = _graph(algorithm, one.depth, one.steps_per_batch, one.start)
    on_ranks: RankFields | None = None
    if run.ranks and run.ranks > 1:
        on_ranks = {"ranks": run.ranks, "messages": run.messages}
    return PredictedRow(
        algorithm="bp" if run.execution == PIPELINE_ASYNC else run.algorithm,
        execution=run.execution,
        backend="mpi" if on_ranks else "threads",
        workers=run.workers,
        depth=one.depth,
        width=one.width,
        batch=one.batch,
        steps=algorithm.steps,
        inference_steps=algorithm.calendar(one.depth, one.steps_per_batch).steps_per_update,
        dtype=_ITEMS.get(one.net.item, f"{one.net.item} bytes"),
        activation="tanh",
        net=one.sizes,
        steps_per_batch=one.steps_per_batch,
        start=one.start,
        optimizer=algorithm.optimizer,
        seconds=[],
        median=run.seconds,
        ci95=None,
        mm=graph.mm,
        smm=graph.smm,
        mm_full=graph.mm_full,
        smm_full=graph.smm_full,
        smm_workers=graph.makespan(run.workers if run.execution in ("layer-parallel", PIPELINE_ASYNC) else 1),
        mm_starts=graph.mm_starts,
        smm_starts=graph.smm_starts,
        flops=run.flops,
        bytes=run.bytes,
        flop_rate=run.flops / run.seconds,
        bandwidth=run.bytes / run.seconds,
        variant=f"{run.micro_batches} parts" if run.micro_batches else None,
        on_ranks=on_ranks,
        machine=run.machine,
        utilisation=run.utilisation,
        joules=run.energy,
        critical_path=run.words,
        warnings=[run.mark] if run.mark else [],
    ).row()
