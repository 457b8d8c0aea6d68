"""Where iPC's gain comes from, and what the inference steps of other algorithms cost beside its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from .comparison import compared
from .fields import Row, names_of
from .files import Results
from .pairs import FUSED, best_bp, by_workers, cells, fastest, merged, quotient

SHARED = ("intra-layer", "data-parallel", "hybrid")  # executions of iPC whose workers share layers


def gains(results: Results) -> list[Row]:
    """Where iPC's gain comes from, for each cell that holds iPC unfused (three passes per layer in place of one), or,
    at larger batches, where there is nothing to fuse, iPC on one worker beside iPC whose workers share layers.

    Each holds the fields of :class:`Cell`; ``workers``, the largest number P > 1 that iPC ran on, fused and unfused if
    both did (None if neither); median seconds of ``bp_serial``, ``best_bp``, ``serial_unfused``, ``serial``,
    ``layer_parallel_unfused`` and ``layer_parallel`` (the last two on P workers; None where absent), of the backend
    that ran it unfused, ``best_bp`` of any; and three factors of ``serial_unfused`` over another, each with its
    interval ``…_low``, ``…_high``: ``fusion`` (÷ serial), ``layers`` (÷ layer_parallel_unfused: parallel layers alone)
    and ``both`` (÷ layer_parallel). The same of workers that share layers, as many as were fastest: seconds of
    ``intra_layer``, ``data_parallel`` and ``hybrid``, ``…_workers``, and the factor ``…_gain`` with its interval. At
    larger batches ``serial`` stands in the numerators, and there is no ``fusion``.
    Raises :class:`InputError` where no cell has iPC unfused.
    """
    found = []
    for cell, rows in cells(results).items():
        shared = {name.replace("-", "_"): fastest(merged(rows, "ipc", [name])) for name in SHARED}
        unfused = fastest(merged(rows, "ipc", ["serial-unfused"]))
        start = unfused
        if start is None and cell.batch > 1 and any(shared.values()):
            start = fastest(merged(rows, "ipc", ["serial"]))
        if start is None:
            continue
        own = [row for row in rows if row["backend"] == start["backend"]]
        apart, fused = (
            {count: run for count, run in by_workers(merged(own, "ipc", [execution])).items() if count > 1}
            for execution in ("layer-parallel-unfused", "layer-parallel")
        )
        P = max(apart.keys() & fused.keys() or apart.keys() | fused.keys(), default=0)
        runs = {
            "bp_serial": fastest(merged(own, "bp", ["serial"])),
            "best_bp": best_bp(results, cell.kind, rows),
            "serial_unfused": unfused,
            "serial": fastest(merged(own, "ipc", ["serial"])),
            "layer_parallel_unfused": apart.get(P),
            "layer_parallel": fused.get(P),
            **shared,
        }
        gain = {"workers": P or None} | {name: run and run["median"] for name, run in runs.items()}
        factors = {"fusion": "serial", "layers": "layer_parallel_unfused", "both": "layer_parallel"}
        factors |= {f"{name}_gain": name for name in shared}
        gain |= {f"{name}_workers": run and run["workers"] for name, run in shared.items()}
        for factor, name in factors.items():
            run = None if name == "serial" and unfused is None else runs[name]
            numbers = compared(start, run)[:3] if run else (None, None, None)
            gain |= dict(zip((factor, f"{factor}_low", f"{factor}_high"), numbers, strict=True))
        found.append(cell._asdict() | gain)
    if not found:
        raise InputError(f"{results.path}: no cell has iPC serial-unfused, so where iPC gains is not known")
    return found


def steps(results: Results) -> list[Row]:
    """What an inference step of PC, Z-IL and others costs against a step of iPC with the same execution, backend and
    workers.

    PC takes T + 1 steps for a weight update (T with a value update, and the last), Z-IL takes L (CONTRACT section 1);
    forward starts are inside their time. Each holds the fields of :class:`Cell`, ``algorithm``, ``execution``,
    ``backend``, ``workers``, ``steps`` (so many), ``seconds`` (per step), ``ipc`` (seconds of an iPC step), ``ratio``
    of the two and its interval ``low``, ``high``. Raises :class:`InputError` where no cell has both.
    """
    found = []
    for cell, rows in cells(results).items():
        known = {_runner(row): row for row in merged(rows, "ipc", FUSED)}
        for run in [run for name in names_of(rows) if name not in ("bp", "ipc") for run in merged(rows, name)]:
            ipc, count = known.get(_runner(run)), steps_of(run)
            if ipc is None or count is None:
                continue
            ratio, low, high = (quotient(number, count) for number in compared(run, ipc)[:3])
            step = {name: run[name] for name in ("algorithm", "execution", "backend", "workers")} | {"steps": count}
            step |= {"seconds": run["median"] / count, "ipc": ipc["median"]}
            found.append(cell._asdict() | step | {"ratio": ratio, "low": low, "high": high})
    if not found:
        raise InputError(f"{results.path}: no cell has PC, Z-IL or another algorithm beside iPC on the same workers")
    return found


def steps_of(run: Mapping[str, Any]) -> float | None:
    """Inference steps of a weight update; 1 of BP, which has none. Rows that do not say it are older and of pcsim's own
    algorithms (CONTRACT section 1), or it is not known."""
    if run.get("inference_steps"):
        return run["inference_steps"]
    steps = run["steps"] and run["steps"] + 1
    return {"bp": 1, "ipc": 1, "zil": run["depth"], "pc": steps or None}.get(run["algorithm"])


def _runner(run: Mapping[str, Any]) -> tuple[Any, ...]:
    return run["execution"], run["backend"], run["workers"], run.get("ranks")
