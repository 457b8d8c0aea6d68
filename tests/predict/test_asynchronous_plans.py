"""Plans of asynchronous BP, and of the pipeline whose waits are filled with weight products."""

import numpy as np
import pytest
from pcsim.kernels.graphs import plans
from simulated import constant, square

from pcsim import BP, IPC, AsyncBP, InputError
from pcsim.predict import rows as rows_of
from pcsim.predict import sweep
from pcsim.predict.asynchronous import asynchronous_plan
from pcsim.predict.machine_files import load
from pcsim.predict.plans import Net
from pcsim.predict.simulate import simulate
from pcsim.schedule.pipelines import make_pipeline
from pcsim.schedule.timeline import BACKPROJECT, PREDICT, UPDATE

SERVER = load("server-64")


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("wave", [1, 2, 3, 4])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_slot_takes_what_its_slowest_worker_has_to_do(workers, wave, batch):
    """Products of a second each: nobody waits for a chain, whatever the depth, as in iPC."""
    net, machine = Net((8, 9, 7, 6, 5, 8), batch), constant()
    plan = asynchronous_plan(AsyncBP(), net, workers, wave)
    order = np.empty(len(plan), np.int32)
    assert plans.runnable_order(plan.workers, plan.worker, plan.at, plan.before, plan.lag, order) == len(plan)
    for bit, layers in ((PREDICT, 5), (BACKPROJECT, 4), (UPDATE, 5)):
        assert np.sum(plan.work & bit != 0) == layers * plan.updates
    found = simulate(AsyncBP(), net, machine, "pipeline-async", workers, wave=wave)
    # Blocks are cut by weights: of 5 layers the first two are the larger half.
    slowest = {1: 14, 2: 9, 5: 3}[workers]
    assert found.seconds == pytest.approx(slowest)
    assert found.seconds == pytest.approx(simulate(BP(), net, machine, "pipeline-async", workers, wave=wave).seconds)


def test_with_one_layer_it_is_backprop():
    net, machine = square(1), constant()
    assert simulate(AsyncBP(), net, machine, "pipeline-async").seconds == simulate(BP(), net, machine).seconds == 2


def test_it_never_stands_for_the_best_bp():
    how = sweep.How((IPC(), AsyncBP()))
    one = sweep.case(SERVER, square(8, 256), 4, how)
    ipc, late = one.runs
    assert (late.execution, ipc.execution in ("layer-parallel", "intra-layer")) == ("pipeline-async", True)
    assert late.seconds < one.best.seconds
    assert all(bp.execution != "pipeline-async" for bp in one.bps)
    rows = [row for row in rows_of.rows([one]) if row["execution"] == "pipeline-async"]
    assert [(row["algorithm"], row["workers"], row["smm"]) for row in rows] == [("bp", late.workers, 2)]


@pytest.mark.parametrize("options", [{"weights": "stashed"}, {"accumulate": 3}, {"weight_prediction": True}])
def test_versions_of_the_weights_are_not_predicted(options):
    with pytest.raises(InputError, match="current weights"):
        simulate(AsyncBP(**options), square(3), SERVER, "pipeline-async", 2)


@pytest.mark.parametrize(("depth", "workers", "parts"), [(8, 4, 4), (8, 4, 16), (6, 3, 5), (4, 2, 1)])
def test_the_zero_bubble_order_is_that_of_its_turns(depth, workers, parts):
    """With products in proportion to their samples, a plan takes as long as the turns of the stages say."""
    net = square(depth, 64, 240)
    rate = constant(serial_batch=True)
    for order in ("split", "zero-bubble"):
        found = simulate(BP(), net, rate, "pipeline", workers, micro_batches=parts, order=order)
        wanted = make_pipeline(order, tuple(net.weights()), workers, parts).span(full=True)
        assert found.seconds / net.batch == pytest.approx(float(wanted)), order
        assert found.flops == pytest.approx(2 * 240 * (3 * depth - 1) * 64 * 64)
    split, filled = (
        simulate(BP(), net, rate, "pipeline", workers, micro_batches=parts, order=order).seconds
        for order in ("split", "zero-bubble")
    )
    assert filled <= split
