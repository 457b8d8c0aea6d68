"""Muon's products in predictions: their flop, their price on each kind of machine, and what is refused."""

from itertools import pairwise
from pathlib import Path

import pytest
from machines import MEASURED

from pcsim import BP, IPC, AsyncBP, InputError
from pcsim.predict.machine_files import load, parse
from pcsim.predict.nets import Net
from pcsim.predict.rivals import Rivals
from pcsim.predict.simulate import simulate
from pcsim.schedule.orthogonal import multiplications

SIZES = (48, 32, 32, 64)
NET = Net(SIZES, 8)
OWN = sum(multiplications(above, below) for below, above in pairwise(SIZES))


def both(algorithm, machine, execution="serial", workers=1):
    """With Nesterov's momentum, which keeps as much, and with Muon."""
    return (
        simulate(algorithm(optimizer=name), NET, machine, execution, workers, micro_batches=2)
        for name in ("nesterov", "muon")
    )


@pytest.mark.parametrize(
    ("algorithm", "execution"),
    [(BP, "serial"), (BP, "pipeline"), (IPC, "serial"), (IPC, "layer-parallel"), (AsyncBP, "pipeline-async")],
)
def test_flop_of_an_update_are_those_of_its_products(algorithm, execution):
    workers = 1 if execution == "serial" else 2
    plain, muon = both(algorithm, load("server-64"), execution, workers)
    assert muon.flops - plain.flops == pytest.approx(2 * OWN)
    assert muon.seconds > plain.seconds


def test_one_worker_pays_for_all_products():
    """On a machine of measured points these take 1 ns for each multiplication, and three times as long far away."""
    plain, muon = both(BP, parse(MEASURED, Path("by hand")))
    assert 0.9e-9 * OWN < muon.seconds - plain.seconds < 3.1e-9 * OWN
    plain, muon = both(BP, load("ideal"))
    assert muon.seconds >= plain.seconds


def test_what_shares_out_a_layer_is_refused_and_left_out():
    machine = load("server-64")
    for algorithm, execution in ((BP, "intra-layer"), (BP, "data-parallel"), (IPC, "hybrid"), (IPC, "data-parallel")):
        with pytest.raises(InputError, match=r"^optimizer muon is predicted where .*$"):
            simulate(algorithm(optimizer="muon"), NET, machine, execution, 2)
    with pytest.raises(InputError, match="order split"):
        simulate(BP(optimizer="muon"), NET, machine, "pipeline", 2, order="zero-bubble")
    rivals = Rivals(NET, machine, optimizer="muon")
    assert [one.execution for one in rivals.backprops(4)] == ["serial", "pipeline"]
    assert rivals.layers_on_workers(IPC(optimizer="muon"), 4).execution in ("serial", "layer-parallel")
