"""Nets whose hidden layers have activations of their own: threads and ranks against the oracle, to the same bits."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from ranks import on_ranks, require_ranks

from pcsim import BP, IPC, PC, ZIL, Network, train

EXACT = 1e-12
NAMES, SWAPPED = ["tanh", "relu", "identity", "gelu"], ["relu", "tanh", "identity", "gelu"]
ALGORITHMS = [IPC(0.004, 0.3), PC(0.004, 0.2, 4), ZIL(0.004), BP(0.004), IPC(0.004, 0.3, "adam")]
SPLIT = ["intra-layer", "blas", "pipeline", "data-parallel"]


def problem(names, dtype="float64", batch=5):
    net = Network.mlp(
        [4, 7, 7, 20, 6, 3], names, bias=True, seed=2, dtype=dtype, scale=[1, 0.8, 1.2, 1, 0.9], skip=[0, 1, 0, 0, 0]
    )
    rng = np.random.default_rng(3)
    return net, rng.normal(size=(batch, 4)).astype(dtype), rng.normal(size=(batch, 3)).astype(dtype)


def trained(names, algorithm, dtype="float64", batch=5, updates=3, **options):
    net, x, y = problem(names, dtype, batch)
    run = train(net, algorithm, x, y, updates=updates, record_every=0, **options)
    return [*run.network.weights, *run.network.biases, *run.values]


def distance(mine, its):
    return max(
        float(np.max(np.abs(a - b))) / max(1e-3, float(np.max(np.abs(b)))) for a, b in zip(mine, its, strict=True)
    )


def digest(arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: f"{a.name}-{a.optimizer}")
def test_threads_equal_the_oracle_for_any_number_of_workers(algorithm, batch):
    updates = 1 if algorithm.optimizer == "adam" else 3
    oracle = trained(NAMES, algorithm, batch=batch, updates=updates, backend="numpy")
    counts = [1] if isinstance(algorithm, BP) else [1, 2, 3]
    found = [trained(NAMES, algorithm, batch=batch, updates=updates, workers=count) for count in counts]
    assert distance(found[0], oracle) < (1e-9 if algorithm.optimizer == "adam" else EXACT)
    assert {digest(arrays) for arrays in found} == {digest(found[0])}


@pytest.mark.parametrize("execution", SPLIT)
def test_every_execution_equals_the_oracle(execution):
    oracle = trained(NAMES, BP(0.004), backend="numpy")
    assert distance(trained(NAMES, BP(0.004), workers=2, execution=execution), oracle) < EXACT


@pytest.mark.parametrize("algorithm", ALGORITHMS[:4], ids=lambda a: a.name)
def test_twin_two_activations_swapped_are_told_apart(algorithm):
    oracle = trained(NAMES, algorithm, backend="numpy")
    assert distance(trained(SWAPPED, algorithm, backend="numpy"), oracle) > 1e-6
    assert distance(trained(SWAPPED, algorithm), oracle) > 1e-6


ON_RANKS = """
import sys
sys.path[:0] = {folders}
from test_mixed_activations import ALGORITHMS, BP, NAMES, SWAPPED, digest, trained
from mpi4py import MPI
for names in (NAMES, SWAPPED):
    for algorithm in ALGORITHMS[:4]:
        execution = {{"execution": "pipeline"}} if isinstance(algorithm, BP) else {{}}
        found = digest(trained(names, algorithm, backend="mpi", **execution))
        if MPI.COMM_WORLD.rank == 0:
            print(found, flush=True)
"""


def test_two_ranks_have_the_bits_of_threads_and_a_swapped_twin_has_not():
    require_ranks()
    here = Path(__file__).parent
    answer = on_ranks(2, ON_RANKS.format(folders=[str(here), str(here.parent)]))
    assert answer.returncode == 0, answer.stderr
    executions = [{"execution": "pipeline"} if isinstance(a, BP) else {} for a in ALGORITHMS[:4]]
    threads = [digest(trained(NAMES, a, workers=2, **e)) for a, e in zip(ALGORITHMS[:4], executions, strict=True)]
    lines = answer.stdout.split()
    assert lines[:4] == threads
    assert len(lines) == 8
    assert all(twin != own for twin, own in zip(lines[4:], threads, strict=True))


REFUSED = """
from mpi4py import MPI
from pcsim import IPC, InputError, Network, train
names = ["tanh", "relu"] if MPI.COMM_WORLD.rank == 0 else ["relu", "tanh"]
try:
    train(Network.mlp([2, 3, 3, 1], names), IPC(), [[0, 1]], [[1]], updates=1, backend="mpi")
except InputError as error:
    print(error, flush=True)
"""


def test_ranks_with_different_activations_are_refused():
    require_ranks()
    answer = on_ranks(2, REFUSED)
    assert answer.stdout.count("rank 1 differs from rank 0 in activation: ") == 2, answer.stderr
