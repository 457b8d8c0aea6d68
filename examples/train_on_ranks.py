"""Train a net whose layers are spread over MPI ranks, and save it: no process ever holds all of it.

    mpiexec -n 4 python -m mpi4py examples/train_on_ranks.py trained/

Every rank runs this same program. The net is lazy: a rank draws the layers that it owns. Rank 0 alone reads the data,
and pcsim sends them to the ranks that need them (the inputs to the first, the targets to the last).
"""

import sys
from pathlib import Path

from mpi4py import rc

rc.thread_level = "funneled"  # one thread of a process calls MPI, which spares the library its locks
from mpi4py import MPI  # noqa: E402 - after the line above

import pcsim  # noqa: E402
from pcsim.training.data import load  # noqa: E402

comm = MPI.COMM_WORLD
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "trained")
if (folder / "network.json").exists():  # before the work, not after it
    sys.exit(f"{folder} holds a net already: name another folder" if comm.rank == 0 else 1)
data = load("fashion-mnist", samples=250) if comm.rank == 0 else None
net = pcsim.Network.mlp([784, *[256] * 7, 10], seed=0, lazy=True)
run = pcsim.train(
    net,
    pcsim.IPC(alpha=1e-3, gamma=0.5, optimizer="adam"),
    data and data.x,
    data and data.y,
    updates=50,
    backend="mpi",
    record_every=10,
)
print(f"rank {comm.rank} holds layers {run.network.owned[0]} to {run.network.owned[-1]}", flush=True)
if comm.rank == 0:
    print(f"loss {run.loss[0]:.1f} → {run.final_loss:.1f} in {run.seconds:.2f} s of training")
run.network.save(folder, wait=comm.Barrier)
