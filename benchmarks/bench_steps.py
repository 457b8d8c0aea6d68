"""One complete weight update of each algorithm, in each execution, and a whole epoch with its records.

The time of a round of updates here includes the start of the threads; ``pcsim bench`` leaves it out.
"""

import os

import numpy as np
import pytest

import pcsim
from pcsim.algorithms import BP, IPC, PC, ZIL
from pcsim.bench.build import build
from pcsim.bench.case import Case
from pcsim.bench.contenders import OWN_BASELINES, candidates
from pcsim.host.context import usable_cores
from pcsim.host.threads import settle
from pcsim.training.data import load

CORES = len(usable_cores())
ALGORITHMS = (IPC(1e-7), PC(1e-7, 0.5, 8), ZIL(1e-7), BP(1e-7))
CASES = (Case(4, 64), Case(32, 64), Case(32, 256), Case(32, 1024), Case(6, 64, 250), Case(8, 512, 64))
ROUND = 0.02  # seconds of a round, at least


def runners():
    """Every contender of every case; who shares BP's work has all cores, and a pipeline its most micro-batches."""
    for case in CASES:
        groups = candidates(case, ALGORITHMS, sorted({1, CORES}), OWN_BASELINES)
        for contender in (one for group in groups for one in list(group.values())[-1]):
            name = f"{case.depth}x{case.width}-b{case.batch}"
            label = f"{name}-{contender.algorithm.name}-{contender.execution}-{contender.workers}"
            yield pytest.param(case, contender, f"update {name}", id=label)


@pytest.mark.parametrize(("case", "contender", "group"), list(runners()))
def bench_update(benchmark, describe, case, contender, group):
    benchmark.group = group
    engine = build(case, contender, pin=True)
    updates = max(1, round(ROUND / (engine.run(3)[0] / 3)))
    settle()
    benchmark.pedantic(engine.run, args=(updates,), rounds=9, warmup_rounds=1)
    describe(case, contender, updates)
    settle()


@pytest.mark.parametrize("algorithm", [IPC(1e-5), BP(1e-5)], ids=lambda a: a.name)
@pytest.mark.parametrize("depth", [3, 6])
def bench_epoch(benchmark, algorithm, depth):
    """Full batch: an epoch is one update. What a user waits for, so with the start of the threads and the record."""
    data = load("fashion-mnist", samples=250)
    net = pcsim.Network.mlp([784, *[64] * (depth - 1), 10], seed=0)
    benchmark.group = f"epoch, 250 images, depth {depth}"
    benchmark.extra_info.update(updates=20, samples=250, threads=os.cpu_count())
    run = benchmark.pedantic(
        pcsim.train, args=(net, algorithm, data.x, data.y), kwargs={"updates": 20, "workers": "auto"}, rounds=9,
        warmup_rounds=1,
    )  # fmt: skip
    assert np.isfinite(run.final_loss)
