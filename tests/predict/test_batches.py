"""BP ÷ iPC over depths and batches: against closed forms."""

import pytest

from pcsim.errors import InputError
from pcsim.predict import batches, machine_files
from pcsim.predict.nets import Net
from pcsim.predict.rivals import Rivals
from pcsim.schedule.in_flight import products_in_flight

LINEAR = machine_files.load("ideal-linear")
SERVER = machine_files.load("server-64")


@pytest.mark.parametrize("depth", [1, 2, 3, 7, 32])
@pytest.mark.parametrize("batch", [1, 2, 5, 32, 250])
def test_counts_have_closed_forms(depth, batch):
    """The last of B samples begins after two products of each before it; then come L products up and L - 1 down."""
    found = batches.counted(depth, batch)
    assert found.smm == pytest.approx((2 * depth - 1) / 2 if depth > 1 else 1 / found_ipc(1))
    assert found.span == pytest.approx((2 * (batch + depth) - 3) / (2 * batch) if depth > 1 else 1 / found_ipc(1))
    assert found.formula == 1 + (depth - 1) / batch
    if depth > 1:
        assert 0 < found.formula - found.span <= 0.5 / batch + 1e-12


def found_ipc(depth):
    return batches.IPC().steady_tasks(depth).smm


def test_the_twin_without_splitting_is_the_smm():
    """One sample at a time is what SMMs count; that BP may have more under way is the difference."""
    L, B = 16, 64
    assert products_in_flight(L, B, 1) / (2 * B) == batches.counted(L, B).smm
    assert batches.counted(L, B).span < 1.3 < batches.counted(L, B).smm


def test_what_would_take_hours_is_refused():
    with pytest.raises(InputError, match="too many to be counted one by one"):
        batches.counted(1 << 11, 1 << 11)


def test_where_a_product_costs_its_samples_only_small_batches_help():
    """One sample cannot be split, and as many as there are workers can be shared out."""
    for depth in (4, 16):
        assert batches.predicted(depth, 1, 64, LINEAR).ratio == pytest.approx((2 * depth - 1) / 2)
        whole = batches.predicted(depth, 16 * depth, 64, LINEAR)
        assert whole.ratio == pytest.approx(1.0) and whole.bp.execution == "data-parallel"
        assert 1 <= batches.predicted(depth, 4, 64, LINEAR).ratio < (2 * depth - 1) / 2


@pytest.mark.parametrize(("depth", "batch"), [(2, 1), (8, 1), (8, 16)])
def test_predictions_are_those_of_the_best_executions(depth, batch):
    found, rivals = batches.predicted(depth, batch, 64, SERVER), Rivals(Net((64,) * (depth + 1), batch), SERVER)
    best = min(one.seconds for one in rivals.backprops(depth))
    assert (
        best * (1 - 1e-9) <= found.bp.seconds <= 1.05 * best
    )  # there of all numbers of workers, here of powers of two
    ipc = rivals.layers_on_workers(batches.IPC(), depth).seconds
    assert ipc * (1 - 1e-9) <= found.ipc.seconds <= 1.05 * ipc
    assert max(found.bp.workers, found.ipc.workers) <= depth


def test_no_more_workers_than_the_machine_has():
    assert batches.predicted(128, 1, 64, SERVER).ipc.workers <= 64


def test_a_machine_without_workers_is_refused():
    with pytest.raises(InputError, match="no worker for each"):
        batches.predicted(4, 1, 64, machine_files.load("gpu-batched"))
