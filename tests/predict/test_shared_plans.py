"""Plans of PC, Z-IL and iPC whose workers share layers."""

import pytest

from pcsim import IPC, PC, ZIL, InputError
from pcsim.predict import machine_files
from pcsim.predict.plans import Net
from pcsim.predict.simulate import simulate

SHARED = ("intra-layer", "hybrid", "data-parallel")
SERVER = machine_files.load("server-64")


@pytest.mark.parametrize("execution", SHARED)
@pytest.mark.parametrize("algorithm", [IPC(), PC(T=3), ZIL()])
def test_the_work_is_that_of_one_worker(execution, algorithm):
    """Flop of all workers together, on unequal layers; and as much more speed as there are workers at most."""
    net = Net((784, 192, 64, 10), 64)
    alone = simulate(algorithm, net, SERVER)
    four = simulate(algorithm, net, SERVER, execution, 4)
    assert four.flops == pytest.approx(alone.flops, rel=0.01)
    assert alone.seconds / 4.5 < four.seconds < alone.seconds / 2


def test_more_workers_than_layers_serve_ipc():
    for depth, batch in ((8, 1), (8, 64), (32, 1)):
        net = Net((1024,) * (depth + 1), batch)
        layers = simulate(IPC(), net, SERVER, "layer-parallel", depth)
        teams = simulate(IPC(), net, SERVER, "hybrid", 64)
        assert teams.seconds < layers.seconds / 1.5


def test_more_workers_than_samples_are_refused():
    with pytest.raises(InputError, match="more than the 8 samples"):
        simulate(IPC(), Net((64,) * 9, 8), SERVER, "data-parallel", 9)
