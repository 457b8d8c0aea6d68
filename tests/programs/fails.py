"""Run on ranks: rank 1 raises an exception in the middle of a training run: ``fails.py ipc|pipeline``."""

import sys
import time

import numpy as np

from pcsim import BP, IPC, Network
from pcsim.engines.mpi import MpiEngine
from pcsim.host import mpi

comm = mpi.world().COMM_WORLD
net = Network.mlp([6] * 9, seed=1, dtype="float64")
data = np.ones((4, 6))
options = {"execution": "pipeline"} if sys.argv[1] == "pipeline" else {}
algorithm = BP(1e-6) if options else IPC(1e-6, 0.1)
engine = MpiEngine(net, algorithm, data, data, lambda: np.arange(4), **options)
engine.run(10)
if comm.rank == 1:

    def breaks(worker, *arguments):
        """Fails when the other ranks are in their loops."""
        time.sleep(0.5)
        print("raised", time.time(), flush=True)
        raise RuntimeError("rank one has had enough")

    engine._backprop = engine._relaxation = lambda *arguments: breaks
engine.run(1 << 40 if not options else 1 << 20)
print("unharmed", flush=True)
