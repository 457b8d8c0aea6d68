"""Nets of convolutions on ranks: prints, for each way to train, a hash of the weights that it leaves."""

import hashlib

import numpy as np
from mpi4py import MPI

from pcsim import BP, IPC, PC, Network, conv
from pcsim.engines.mpi import MpiEngine
from pcsim.engines.threads import ThreadsEngine
from pcsim.net.augment import Augment
from pcsim.net.convolution import Image
from pcsim.training.batches import Batches

WAYS = {
    "ipc": (IPC(0.01, 0.2), {"steps_per_batch": 3}),
    "pipelined": (IPC(0.01, 0.2, "adam"), {"steps_per_batch": 2, "start": "pipelined"}),
    "pc": (PC(0.02, 0.3, T=3), {}),
    "bp": (BP(0.01), {"execution": "pipeline", "micro_batches": 3}),
    "changed": (IPC(0.01, 0.2), {"steps_per_batch": 2, "augment": Augment(Image(8, 8, 2), 3, True, True)}),
}


def left(kind, algorithm, options):
    """A hash of the weights after some updates."""
    parts = [conv(5, 3, padding=1, pool="max"), conv(6, 3, stride=2, pool=None), 9, 4]
    net = Network.cnn((8, 8, 2), parts, bias=True, seed=2)
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(12, n)).astype("f4") for n in (net.sizes[0], net.sizes[-1]))
    batches = Batches(12, 4, 3, augment=options.get("augment"))
    engine = kind(net, algorithm, x, y, batches, **options)
    for updates in (1, 5):
        engine.run(updates)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in engine.network.weights)).hexdigest()
    if kind is MpiEngine:
        engine.close()
    return digest


if __name__ == "__main__":
    for name, (algorithm, options) in WAYS.items():
        found = left(MpiEngine, algorithm, options)
        if MPI.COMM_WORLD.rank == 0:
            alone = options if name == "bp" else {**options, "workers": 1}
            print(name, found == left(ThreadsEngine, algorithm, alone), flush=True)
