"""Run on three ranks: what an engine refuses and takes, told by every rank: ``manners.py FOLDER``."""

import json
import sys
from pathlib import Path

import numpy as np

from pcsim import BP, IPC, PC, ZIL, InputError, Network, train
from pcsim.algorithms.predictive_coding import SHARED
from pcsim.engines.mpi import MpiEngine
from pcsim.host import mpi

folder = Path(sys.argv[1])
comm = mpi.world().COMM_WORLD
rng = np.random.default_rng(4)


def refused(make, *arguments, **options):
    """The message of the InputError on this rank; None if there was none."""
    try:
        make(*arguments, **options)
    except InputError as error:
        return str(error)
    return None


def everywhere(told):
    """What all ranks tell."""
    return mpi.all_to_all(comm, told)


def engine(
    algorithm=None, sizes=(5, 6, 7, 6, 5, 6, 4), batch=6, net=None, order=None, updates=2, values=None, **options
):
    """Make an engine and run it."""
    net = net or Network.mlp(sizes, options.pop("activation", "tanh"), seed=1, dtype="float64")
    algorithm = algorithm or IPC(1e-3, 0.1)
    x, y = np.ones((6, net.sizes[0])), np.ones((6, net.sizes[-1]))
    rows = order if order is not None else np.arange(batch)
    made = MpiEngine(net, algorithm, x, y, lambda: rows, values=values, **options)
    made.run(updates)
    made.close()


def plain(**options):
    """A net, as arguments of an engine."""
    return {"net": Network.mlp([5, 6, 7, 6, 5, 6, 4], **{"seed": 1, "dtype": "float64", **options})}


def biased(with_bias):
    """Nets that differ in nothing else."""
    net = Network.mlp([5, 6, 7, 6, 5, 6, 4], seed=1, dtype="float64")
    return {"net": net.replace(net.weights, [np.zeros(n) for n in net.sizes[1:]] if with_bias else None)}


start = [np.zeros((6, n)) for n in (5, 6, 7, 6, 5, 6, 4)]
pipeline = {"algorithm": BP(1e-3), "execution": "pipeline"}
unequal = {  # arguments of rank 1, and of the others
    "alpha": ({"algorithm": IPC(2e-3, 0.1)}, {"algorithm": IPC(1e-3, 0.1)}),
    "gamma": ({"algorithm": IPC(1e-3, 0.2)}, {"algorithm": IPC(1e-3, 0.1)}),
    "kind of algorithm": ({"algorithm": ZIL(1e-3)}, {"algorithm": PC(1e-3, 0.1, 5)}),
    "seed of the net": (plain(seed=2), plain(seed=1)),
    "bias": (biased(True), biased(False)),
    "width": ({"sizes": (5, 6, 8, 6, 5, 6, 4)}, {}),
    "activation": ({"activation": "relu"}, {}),
    "scale": (plain(scale=[2, 1, 1, 1, 1, 1]), plain()),
    "dtype": (plain(dtype="float32"), plain()),
    "order of batches": ({"order": np.arange(6)[::-1]}, {}),
    "size of batches": ({"batch": 5}, {}),
    "steps_per_batch": ({"steps_per_batch": 3}, {"steps_per_batch": 2}),
    "threads": ({"workers": 2}, {"workers": 1}),
    "values": ({"values": start}, {}),
    "execution": ({"algorithm": BP(1e-3), "execution": "data-parallel"}, pipeline),
    "micro_batches": ({**pipeline, "micro_batches": 3}, {**pipeline, "micro_batches": 2}),
    "wave": ({"wave": 2}, {"wave": 3}),
    "fused": ({"fused": False}, {}),
}
found = {"unequal": {}, "equal": {}, "refused": {}, "train": {}, "shared": {}}
for what, (odd, even) in unequal.items():
    found["unequal"][what] = everywhere(refused(engine, **(odd if comm.rank == 1 else even)))
    found["equal"][what] = everywhere(refused(engine, **even) or refused(engine, **odd))

x, y = rng.normal(size=(9, 7)), rng.normal(size=(9, 4))
small = Network.mlp([7, 5, 6, 5, 4], seed=1)


def training(x, y, **options):
    """Data of rank 0; the others give what nobody looks at."""
    given = (x, y) if comm.rank == 0 else (None, None)
    return train(small, IPC(0.01, 0.2), *given, updates=2, backend="mpi", **options)


spoilt = x[:6].copy()
spoilt[2, 3] = np.nan
for what, call in {
    "more ranks than layers": lambda: engine(sizes=(5, 6, 4)),
    "more threads than layers": lambda: engine(sizes=(5, 6, 4, 4, 4, 4), workers=2),
    "BP without execution": lambda: engine(BP(1e-3)),
    "BP on BLAS": lambda: engine(BP(1e-3), execution="blas"),
    "BP on threads of ranks": lambda: engine(BP(1e-3), execution="pipeline", workers=2),
    "rows on threads of ranks": lambda: engine(execution="intra-layer", workers=2),
    "teams without layers": lambda: engine(sizes=(5, 6, 4), execution="hybrid", workers=2),
    "iPC with samples for two": lambda: engine(execution="data-parallel", batch=2),
    "a pipeline for one sample": lambda: engine(BP(1e-3), execution="pipeline", batch=1),
    "more ranks than samples": lambda: engine(BP(1e-3), execution="data-parallel", batch=2),
    "NaN on rank 0": lambda: training(spoilt, y[:6]),
    "rows on rank 0": lambda: training(x[:6], y[:5]),
    "width on rank 0": lambda: training(x[:6], y[:6, :3]),
    "no data on rank 0": lambda: training(None, y[:6]),
    "batch_size": lambda: training(x[:6], y[:6], batch_size=7),
}.items():
    found["refused"][what] = everywhere(refused(call))
found["refused"]["what one rank lacks"] = everywhere(
    refused(mpi.each, comm, lambda: open("not there") if comm.rank == 1 else 5)  # noqa: SIM115
)
found["each"] = everywhere(mpi.each(comm, lambda: comm.rank))
found["None elsewhere"] = everywhere(refused(training, x[:6], y[:6]) is None)

for dtype in ("float32", "float64"):
    net = Network.mlp([7, 12, 5, 9, 4], seed=2, dtype=dtype, bias=True)
    for algorithm in (IPC(0.01, 0.2), PC(0.01, 0.2, 3), ZIL(0.01)):
        given = (x, y) if comm.rank == 0 else (None, None)
        options = {"updates": 7, "record_every": 2, "batch_size": 4, "steps_per_batch": 3, "seed": 5}
        run = train(net, algorithm, *given, backend="mpi", **options)
        arrays = [*run.network.weights, *run.network.biases, *run.values]
        fields = {name: getattr(run, name) for name in ("energy", "loss", "final_loss", "recorded", "diverged")}
        told = {"arrays": [array.tobytes().hex() for array in arrays], **fields}
        found["train"][f"{algorithm.name} {dtype}"] = everywhere(told)

for execution in SHARED:
    net, algorithm = Network.mlp([7, 12, 20, 9, 4], seed=2, dtype="float64", bias=True), IPC(0.01, 0.2, "adam")
    given = (x, y) if comm.rank == 0 else (None, None)
    options = {"record_every": 2, "batch_size": 4, "steps_per_batch": 3, "seed": 5, "backend": "mpi"}
    options |= {"execution": execution, "workers": 2 if execution == "hybrid" else 1}
    run = train(net, algorithm, *given, updates=8, **options)
    file = folder / f"{execution}.checkpoint"
    train(net, algorithm, *given, updates=4, checkpoint=file, **options)
    resumed = train(net, algorithm, *given, updates=8, checkpoint=file, resume=True, **options)
    found["shared"][execution] = everywhere(
        [[array.tobytes().hex() for array in [*run.network.weights, *run.values]] for run in (run, resumed)]
    )
wide = Network.mlp([7, 300, 300, 4], seed=2)
found["auto"] = everywhere(
    [
        [
            a.tobytes().hex()
            for a in train(wide, IPC(), *given, updates=4, backend="mpi", execution=name).network.weights
        ]
        for name in ("auto", "intra-layer")
    ]
)

whole = Network.mlp([7, 12, 5, 9, 4, 4], seed=2, bias=True, skip=[False] * 4 + [True], lazy=True)
drawn = set()


def drawing(l):
    drawn.add(l)
    return whole.weights[l]


lazy = Network.of_layers(whole.sizes, whole.dtype, drawing, whole.biases.__getitem__, skip=whole.skip)
rng = np.random.default_rng(4)
x, y = rng.normal(size=(6, 7)), rng.normal(size=(6, 4))
run = train(lazy, IPC(0.01, 0.2), *((x, y) if comm.rank == 0 else (None, None)), updates=5, backend="mpi")
run.network.save(folder / "net", wait=comm.Barrier)
owned = list(run.network.owned)
other = (owned[-1] + 1) % run.network.depth
sizes = [a * b for a, b in zip(whole.sizes[1:], whole.sizes[:-1], strict=True)]
found["lazy"] = everywhere(
    {
        "lazy": run.network.lazy,
        "owned": owned,
        "drawn": sorted(drawn),
        "sampled": [sizes.index(min(sizes))],
        "loss": run.loss,
        "another's layer": refused(lambda: run.network.weights[other]),
        "values": [list(v.shape) for v in run.values],
        "has values": owned + ([5] if owned[-1] == 4 else []),
    }
)
if comm.rank == 0:
    (folder / "told.json").write_text(json.dumps(found))
