"""Where the time of a weight update goes: BP on one worker, batches gathered from as many images as FashionMNIST has.

    python benchmarks/parts.py [784,64,64,10/64 784,512,512,10/128 …]

prints a table: microseconds of each part, and of whole updates by the engine, medians of interleaved rounds. ``gather``
fetches the rows of a batch, ``optimiser`` is what the update takes beyond its gradient's products.
"""

import itertools
import sys

import numpy as np
from pcsim.kernels.layers.step import activate_layer, layer_step
from pcsim.kernels.layers.weights import gradient
from pcsim.kernels.machine.clock import nanoseconds
from pcsim.kernels.machine.compiling import njit
from pcsim.kernels.machine.simd import pointer

from pcsim import BP, IPC, Network
from pcsim.bench.ceilings import gemm_rate
from pcsim.engines import blas_threads
from pcsim.engines.loops.backprop import predict
from pcsim.engines.loops.steps import layers, load_rows
from pcsim.engines.threads import ThreadsEngine

PARTS = ("gather", "activations", "predictions", "back-projections", "gradients", "optimiser")
IMAGES, ROUNDS, UPDATES = 60_000, 9, 40


@njit(nogil=True)
def timed(arrays, offsets, options, x, y, rows, alpha, times):
    """Nanoseconds of each part of some updates; the last is the whole weight update, gradients included."""
    s = layers(arrays, offsets, options)
    errors, L = pointer(arrays.errors), len(offsets.sizes) - 1
    for update in range(len(rows)):
        t0 = nanoseconds()
        load_rows(x, rows, update, 0, s.batch, s.padded[0], s.x, s.value_at[0])
        load_rows(y, rows, update, 0, s.batch, s.padded[L], s.x, s.value_at[L])
        times[0] += nanoseconds() - t0
        for l in range(L):
            t0 = nanoseconds()
            activate_layer(s, l)
            t1 = nanoseconds()
            predict(s, l, L, 0, s.padded[l + 1], errors)
            times[1] += t1 - t0
            times[2] += nanoseconds() - t1
        for l in range(L - 1, -1, -1):
            t0 = nanoseconds()
            if l > 0:
                layer_step(2, s, l, 0, s.padded[l + 1], s.x, errors, errors, 0, s.one, alpha, update + 1)
            t1 = nanoseconds()
            layer_step(4, s, l, 0, s.padded[l + 1], s.x, errors, errors, 0, s.one, alpha, update + 1)
            t2 = nanoseconds()
            gradient(s, l, 0, s.padded[l + 1], errors, s.value_at[l + 1], s.one, 0)
            t3 = nanoseconds()
            times[3] += t1 - t0
            times[4] += t3 - t2
            times[5] += (t2 - t1) - (t3 - t2)


def engines_of(sizes, batch):
    """An engine for each of BP and iPC with Adam."""
    rng = np.random.default_rng(0)
    x = rng.random((IMAGES, sizes[0]), dtype=np.float32)
    y = np.eye(sizes[-1], dtype=np.float32)[rng.integers(0, sizes[-1], IMAGES)]
    net = Network.mlp(sizes, seed=0)

    def draw():
        return rng.integers(0, IMAGES, batch)

    return {
        name: ThreadsEngine(net, algorithm, x, y, draw, steps_per_batch=steps)
        for name, algorithm, steps in (("BP", BP(1e-4, "adam"), None), ("iPC", IPC(1e-4, 0.1, "adam"), 8))
    }


def measure(sizes, batch):
    """One row of the table: microseconds by part, whole updates, and the share of the rate of products."""
    engines, rng, rows = engines_of(sizes, batch), np.random.default_rng(1), []
    bp, whole = engines["BP"], {name: [] for name in engines}
    for turn in range(ROUNDS + 1):
        times = np.zeros(6)
        drawn = rng.integers(0, IMAGES, (UPDATES, batch))
        with blas_threads(1):
            arguments = bp.arrays[0], bp.layout.offsets[0], bp.options
            timed(*arguments, bp.x, bp.y, drawn, np.float32(1e-4), times)
        for name, engine in engines.items():
            seconds = engine.run(UPDATES)[0] / UPDATES
            if turn:
                whole[name].append(seconds * 1e6)
        if turn:
            rows.append(times / UPDATES * 1e-3)
    flop = 2 * batch * (3 * sum(a * b for a, b in itertools.pairwise(sizes)) - sizes[0] * sizes[1])
    found = dict(zip(PARTS, np.median(rows, 0), strict=True))
    return found | {name: float(np.median(taken)) for name, taken in whole.items()} | {"Mflop": flop / 1e6}


def main(cases):
    """The table in Markdown."""
    rate = gemm_rate(1, (512, 512), np.dtype(np.float32))
    print(f"products of 512 by 512 by BLAS: {rate / 1e9:.0f} GFLOP/s\n")
    heads = None
    for case in cases:
        sizes, batch = case.split("/")
        found = measure([int(n) for n in sizes.split(",")], int(batch))
        if heads is None:
            heads = ["net / batch", *found, "BP's share of the rate"]
            print("| " + " | ".join(heads) + " |\n| " + " | ".join([":--"] + ["--:"] * (len(heads) - 1)) + " |")
        share = found["Mflop"] / found["BP"] / rate * 1e12
        print("| " + " | ".join([case, *(f"{value:,.1f}" for value in found.values()), f"{share:.2f}"]) + " |")


if __name__ == "__main__":
    main(sys.argv[1:] or ["784,64,64,10/64", "784,64,64,10/256", "784,512,512,10/128", "784,512,512,10/256"])
