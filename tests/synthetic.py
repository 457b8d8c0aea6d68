"""Made-up results with every kind of row that a benchmark may write; no machine measured these times."""

import json
from pathlib import Path

import numpy as np

from pcsim.results.files import Results

# How many times as long as the serial BP of the cell each contender takes: at batch 1, and in larger batches.
BP = {
    "serial": (1.0, 1.0),
    "intra-layer": (0.7, 0.62),
    "blas": (1.1, 0.9),
    "pipeline": (None, 0.66),
    "data-parallel": (None, 0.58),
    "numpy": (4.0, 1.2),
    "torch": (3.0, 0.9),
    "jax": (1.4, 0.7),
}
IPC = {
    "serial": (0.5, 1.04),
    "layer-parallel": (0.3, 0.55),
    "serial-unfused": (1.2, None),
    "layer-parallel-unfused": (0.65, None),
    "jax": (1.9, 1.1),
    "pcx": (12.0, 3.0),
}
ONE_WORKER = ("serial", "blas", "serial-unfused")
VARIANTS = {"torch": "compiled", "jax": "donated", "pipeline": "4 micro-batches"}
T = 8


def samples(median, seed=0, count=9, spread=0.01):
    """Samples whose median is exactly that."""
    steps = np.sort(np.random.default_rng(seed).uniform(0, spread, count // 2))
    return [median * factor for factor in [*(1 - steps), 1.0, *(1 + steps)]]


def row(algorithm, execution, median, depth, width, batch=1, **fields):
    """A good row of the results file."""
    seconds = samples(median)
    counted = {"bp": 2 * depth - 1, "ipc": 2, "pc": 2 * T, "zil": 2 * (depth - 1)}
    return {
        "algorithm": algorithm,
        "execution": execution,
        "backend": "threads",
        "workers": 1 if execution in ONE_WORKER else 2,
        "depth": depth,
        "width": width,
        "batch": batch,
        "steps": {"bp": None, "ipc": None, "pc": T, "zil": depth - 1}[algorithm],
        "dtype": "float32",
        "activation": "tanh",
        "kind": "measured",
        "seconds": seconds,
        "median": float(np.median(seconds)),
        "ci95": [seconds[1], seconds[-2]],
        "smm": counted[algorithm],
        "warnings": [],
        "error": None,
    } | fields


def cell(depth, width, batch=1, **fields):
    """All rows of a cell."""
    serial = (1e-6 + 3 * batch * width**2 / 2e10) * depth
    late = int(batch > 1)
    found = []
    for algorithm, factors in (("bp", BP), ("ipc", IPC)):
        for execution, factor in factors.items():
            if factor[late] is not None:
                more = {"variant": VARIANTS[execution]} if execution in VARIANTS else {}
                found.append(row(algorithm, execution, serial * factor[late], depth, width, batch, **more, **fields))
    for execution, factor in IPC.items():
        if execution in ("serial", "layer-parallel"):
            ipc = serial * factor[late]
            found.append(row("pc", execution, 1.02 * (T + 1) * ipc, depth, width, batch, **fields))
            found.append(row("zil", execution, 0.98 * depth * ipc, depth, width, batch, **fields))
    chosen = next(r for r in found if (r["algorithm"], r["execution"]) == ("ipc", "layer-parallel"))
    chosen |= {"auto": True, "roofline": 0.9, "flop_rate": 3e10, "tile_rate": 5e10 if width < 1024 else None}
    chosen["gemm_rate"] = 3.5e10 if batch > 1 else None
    return found


def everything(depths=(2, 4, 8, 16, 32), widths=(32, 64, 128, 256, 512, 1024)):
    """Results over a grid at batch 1, and some cells in larger batches."""
    rows = [made for depth in depths for width in widths for made in cell(depth, width)]
    for depth, width, batch in ((32, 1024, 64), (32, 1024, 256), (6, 64, 250)):
        rows += cell(depth, width, batch)
    return Results(Path("everything.jsonl"), {"cpu_model": "Made-up CPU 2000", "cores": 2}, rows)


# Ranks: a made-up machine of two cores, on which a message takes so long and a collective call three times that.
CORES, LATENCY = 2, 1.5e-6


def rank_cell(depth, width, batch, ranks, delay=None, cores=CORES):
    """All rows of a cell that is measured with MPI on so many ranks: what one launch writes of it."""
    serial = (1e-6 + 3 * batch * width**2 / 2e10) * depth
    latency = LATENCY + 4 * batch * width / 5e9 + (delay or 0)
    shared = serial / min(ranks, cores)
    fields = {"backend": "mpi", "workers": ranks, "ranks": ranks, "hosts": 1, "delay": delay, "latency": latency}
    if ranks > cores:
        fields["warnings"] = [f"oversubscribed: {ranks} workers on {cores} cores"]
    if ranks == 1:
        fields |= {"messages": 0, "counted_messages": 0, "message_bytes": 0, "collectives": 0, "latency": None}
        bp = row("bp", "serial", serial, depth, width, batch, smm_workers=2 * depth - 1, **fields)
        return [row("ipc", "serial", 0.8 * serial, depth, width, batch, smm_workers=2 * depth - 1, **fields), bp]
    messages = 2 * (ranks - 1)
    found = []
    for algorithm, execution, time, sent, calls, extra in (
        ("ipc", "layer-parallel", 0.8 * shared + latency / 4, messages, 0, {"handover_seconds": latency / 4}),
        ("bp", "intra-layer", shared + 3 * depth * latency, 0, 2 * depth - 1, {}),
        ("bp", "pipeline", 1.3 * shared + messages * latency, 4 * messages, 0, {"variant": "4 micro-batches"}),
        ("bp", "data-parallel", shared + depth * latency, 0, depth, {}),
    ):
        if batch > 1 or execution not in ("pipeline", "data-parallel"):
            extra |= {"messages": sent, "counted_messages": sent if sent else None, "collectives": calls}
            extra |= {"message_bytes": 4 * batch * width * sent}
            extra["smm_workers"] = (2 * depth - 1) / ranks if algorithm == "ipc" else 2 * depth - 1
            found.append(row(algorithm, execution, time, depth, width, batch, **fields, **extra))
    return found


def of_ranks(cells, name):
    """Results with MPI: of each of ``cells``, which are arguments of :func:`rank_cell`, all rows."""
    rows = [made for arguments in cells for made in rank_cell(*arguments)]
    return Results(Path(name), {"cpu_model": "Made-up CPU 2000", "cores": CORES}, rows)


def strong(depths=(8, 32), widths=(64, 256, 1024), batches=(1, 64), ranks=(1, 2, 4)):
    """The same nets on more and more ranks."""
    grid = [(d, w, b, P) for b in batches for d in depths for w in widths for P in ranks]
    return of_ranks(grid, "strong.jsonl")


def weak(layers=8, widths=(64, 256), batches=(1, 64), ranks=(1, 2, 4)):
    """So many layers on every rank."""
    return of_ranks([(layers * P, w, b, P) for b in batches for w in widths for P in ranks], "weak.jsonl")


def delayed(depths=(32,), widths=(256,), batches=(64,), ranks=(1, 2), delays=(0.0, 2e-5, 1e-4, 5e-4)):
    """The same nets again and again, with latency added to every message."""
    grid = [(d, w, b, P, t) for b in batches for d in depths for w in widths for t in delays for P in ranks]
    return of_ranks(grid, "delayed.jsonl")


def store(results, path):
    """Writes results as a file."""
    lines = [{"schema": "pcsim-results/1", "context": results.context}, *results.rows]
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
