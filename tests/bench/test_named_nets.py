"""Cells of nets that have a name: convolutions and residual nets."""

import math

import numpy as np
import pytest

from pcsim import BP, IPC, InputError
from pcsim.bench.case import Case
from pcsim.bench.ceilings import Products, update_rate
from pcsim.bench.contenders import candidates
from pcsim.bench.grid import grid
from pcsim.bench.rows import arithmetic_rates
from pcsim.bench.sweep import Sweep
from pcsim.bench.work import products_of, work_per_update
from pcsim.cli.main import main
from pcsim.net.network import Network

SMALL = "cnn-8-16-8@8x8x1"  # 8 × 8 × 1, pooled to 4, 2 and 1


def contenders_of(case, baselines):
    groups = candidates(case, [IPC(), BP()], [1, 2], baselines)
    return {(one.row_name, one.execution) for group in groups for one in group}


def test_a_cell_knows_its_shapes():
    case = Case.of_net(SMALL, 4)
    net = case.problem()[0]
    assert case.sizes == net.sizes == (64, 128, 64, 8, 128, 10) and case.depth == 5 and case.width == 128
    assert case.shapes == tuple(w.shape for w in net.weights) and case.weights == net.parameters
    assert case.convolves and case.name == f"{SMALL}, batch 4"
    assert case.multiplications == (64 * 8 * 9, 16 * 16 * 72, 4 * 8 * 144, 8 * 128, 128 * 10)
    assert Case.of_net("64-32-10").outline is None


def test_a_residual_net_is_dense():
    case = Case.of_net("residual-mlp-4-16", 2)
    assert not case.convolves and case.problem()[0].skip == [False, True, True, False]
    assert ("bp", "intra-layer") in contenders_of(case, ["serial", "intra-layer"])


def test_executions_without_convolutions_are_left_out():
    found = contenders_of(
        Case.of_net(SMALL, 4), ["serial", "intra-layer", "blas", "pipeline", "data-parallel", "shared"]
    )
    assert found == {
        ("ipc", "serial"), ("ipc", "layer-parallel"), ("ipc", "data-parallel"), ("bp", "serial"), ("bp", "pipeline"),
        ("bp", "data-parallel"),
    }  # fmt: skip


def test_work_counts_every_position():
    case = Case.of_net(SMALL, 4)
    group = candidates(case, [BP()], [1], ["serial"])[0]
    flops = work_per_update(next(iter(group)), case)["flops"]
    assert flops == 2 * 4 * (3 * sum(case.multiplications) - case.multiplications[0])


def test_a_cell_is_measured():
    case = Case.of_net(SMALL, 4, steps_per_batch=3)
    sweep = Sweep(
        [case], [IPC(1e-6, 0.1, "adam"), BP(1e-6, "adam")], [1, 2], ["serial", "data-parallel", "shared"], 0.2
    )
    rows = list(sweep.run(sweep.ceilings()))
    assert all(row["error"] is None and row["median"] > 0 and row["net"] == SMALL for row in rows)
    assert {row["execution"] for row in rows} == {"serial", "layer-parallel", "data-parallel"}


def test_the_grid_takes_names():
    assert [case.net for case in grid(None, None, [4], [SMALL, "64-32-10"])] == [SMALL, "64-32-10"]
    with pytest.raises(InputError, match="or is one of cnn-64-128-64"):
        grid(None, None, [4], ["vgg9"])


def test_predictions_know_convolutions(capsys):
    command = ["simulate", "server-64", "--nets", SMALL, "residual-mlp-4-16", "--batches", "8", "--workers", "2"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert SMALL in shown and "residual-mlp-4-16" in shown
    assert main([*command, "--algorithms", "local"]) == 2
    assert "local losses with convolutions is not predicted" in capsys.readouterr().err.lower()


def test_the_problem_is_the_named_net():
    assert isinstance(Case.of_net(SMALL, 2, dtype="float64").problem()[0], Network)


def test_products_of_an_update_have_its_flop():
    """Rows of the products: all patches of a batch, some samples at a time, and no back-projection to the input."""
    for net in (SMALL, "vgg5@32x32x3", "784-64-10", "residual-mlp-4-16"):
        case = Case.of_net(net, 32)
        flops = work_per_update(next(iter(candidates(case, [BP()], [1], ["serial"])[0])), case)["flops"]
        assert sum(one.flops for one in products_of(case)) == pytest.approx(flops)
    first, second = products_of(Case.of_net("vgg5@32x32x3", 128))[:2]
    assert not first.back and second.back
    assert (first.above, first.below, second.above, second.below) == (128, 27, 256, 1152)
    assert second.rows % 256 == 0 and second.rows * second.times == 128 * 256  # pooled from 32 × 32 to 16 × 16


def test_the_rate_of_products_is_theirs_all_together(monkeypatch):
    """Of two layers the slow one counts by its time; whoever averaged rates would find 55."""
    rates = {64: 100.0, 10: 10.0}
    monkeypatch.setattr("pcsim.bench.ceilings.products_rate", lambda workers, shape, *rest: rates[shape.above])
    layers = [Products(8, 64, 25, back=False), Products(8, 10, 64)]
    one, other = (layer.flops for layer in layers)
    found = update_rate(1, layers, np.dtype("f4"))
    assert found == pytest.approx((one + other) / (one / 100 + other / 10)) and abs(found - 55) > 10


def test_rows_of_convolutions_have_the_rate_of_their_products():
    found = arithmetic_rates(Case.of_net(SMALL, 4), [1, 2], False)
    assert set(found) == {1, 2} and all(0 < found[count]["gemm_rate"] < math.inf for count in found)
    assert arithmetic_rates(Case.of_net(SMALL, 1), [1], False) == {}
