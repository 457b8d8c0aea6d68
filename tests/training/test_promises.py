"""What train promises of bits: for every algorithm and execution, at the same number of workers and at others."""

import itertools

import numpy as np
import pytest

import pcsim
from pcsim import BP, IPC, PC, ZIL, Network, train
from pcsim.algorithms.backprop import BP_EXECUTIONS

pytestmark = pytest.mark.slow

# Executions in which one worker forms each layer's sums, in one order; and those that split them.
WHOLE = [(PC(0.01, 0.2, T=3), None), (ZIL(0.01), None), (IPC(0.01, 0.2), None), (BP(0.01), "pipeline")]
SPLIT = [(BP(0.01), execution) for execution in ("intra-layer", "data-parallel", "blas")]
SERIAL = [(BP(0.01), "serial")]


def run(algorithm, execution, workers, rows=12):
    rng = np.random.default_rng(0)
    net = Network.mlp([40, 33, 20, 7], bias=True, seed=1)
    x, y = rng.normal(size=(rows, 40)), rng.normal(size=(rows, 7))
    return train(net, algorithm, x, y, updates=5, workers=workers, execution=execution)


def bits(run):
    arrays = [*run.network.weights, *run.network.biases, *run.values]
    return [array.tobytes() for array in arrays], run.loss, run.energy, run.final_loss


def test_every_execution_is_promised_something():
    assert {execution for _, execution in WHOLE + SPLIT + SERIAL if execution} == set(BP_EXECUTIONS)


@pytest.mark.parametrize(("algorithm", "execution"), WHOLE + SPLIT + SERIAL, ids=lambda a: getattr(a, "name", str(a)))
def test_the_same_call_gives_the_same_bits(algorithm, execution):
    for workers in (1,) if execution == "serial" else (1, 2, 3):
        first, *others = (bits(run(algorithm, execution, workers)) for _ in range(3))
        assert others == [first, first]


@pytest.mark.parametrize(("algorithm", "execution"), WHOLE, ids=lambda a: getattr(a, "name", str(a)))
def test_whole_layers_have_the_same_bits_on_any_number_of_workers(algorithm, execution):
    first, *others = (bits(run(algorithm, execution, workers)) for workers in (1, 2, 3))
    assert others == [first, first]


def test_split_sums_differ_by_rounding_alone():
    """Between numbers of workers, and between executions: no bits are promised, but these few digits are."""
    runs = [run(algorithm, execution, n) for (algorithm, execution), n in itertools.product(SPLIT, (1, 2, 3))]
    serial = run(*SERIAL[0], 1)
    for other in runs:
        for mine, its in zip(other.network.weights, serial.network.weights, strict=True):
            assert np.abs(mine - its).max() < 1e-5
        np.testing.assert_allclose(other.loss, serial.loss, rtol=1e-5)
    assert len({bits(other)[0][0] for other in runs}) > 1  # as train says


def test_the_promise_is_what_train_says():
    said = " ".join(pcsim.train.__doc__.split())
    whole, split = said.split("The same call gives the same bits")[1].split(";")[:2]
    for name in ("PC, Z-IL and iPC", '"pipeline"', "any number of workers"):
        assert name in whole
    for _, execution in SPLIT:
        assert f'"{execution}"' in split
        assert execution not in whole
    assert "rounding" in split
