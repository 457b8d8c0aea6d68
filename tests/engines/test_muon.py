"""Muon: the oracle against its definition, the compiled update against the oracle, and twins that fail."""

import numpy as np
import pytest

from pcsim import BP, DFA, IPC, PC, ZIL, AsyncBP, DualProp, InputError, Local, Network
from pcsim.engines import optimizers
from pcsim.engines.limits import check_ranks
from pcsim.engines.numpy import NumpyEngine
from pcsim.engines.optimizers import orthogonalised
from pcsim.engines.threads import ThreadsEngine
from pcsim.schedule.tasks import Kind
from pcsim.schedule.timeline import Timeline

SHAPES = [(6, 6), (4, 9), (9, 4), (1, 5), (5, 1)]


def matrix(shape, seed=0, condition=5.0):
    """A random matrix whose singular values span so much."""
    rng, k = np.random.default_rng(seed), min(shape)
    left, right = (np.linalg.qr(rng.normal(size=(n, k)))[0] for n in shape)
    return left * np.geomspace(1, 1 / condition, k) @ right.T


def plain(d, coefficients=(3.4445, -4.7750, 2.0315)):
    """What five iterations make of each singular value, without a product of matrices."""
    left, values, right = np.linalg.svd(d, full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    a, b, c = coefficients
    for _ in range(5):
        values = a * values + b * values**3 + c * values**5
    return left * values @ right


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_one(shape):
    values = np.linalg.svd(orthogonalised(matrix(shape)))[1]
    assert values.min() > 0.65
    assert values.max() < 1.2


@pytest.mark.parametrize("shape", SHAPES)
def test_iterations_act_on_singular_values_alone(shape):
    d = matrix(shape) * 1e3
    np.testing.assert_allclose(orthogonalised(d), plain(d), atol=1e-12)
    assert np.abs(orthogonalised(d) - plain(d, (3.4445, -4.7750, 2.0))).max() > 1e-3  # the twin


@pytest.mark.parametrize("shape", SHAPES)
def test_rotations_pass_through(shape):
    d = matrix(shape)
    P, Q = (np.linalg.qr(np.random.default_rng(n).normal(size=(n, n)))[0] for n in shape)
    np.testing.assert_allclose(orthogonalised(P @ d @ Q), P @ orthogonalised(d) @ Q, atol=1e-12)
    P[0] *= 1.1  # the twin: no rotation
    assert np.abs(orthogonalised(P @ d @ Q) - P @ orthogonalised(d) @ Q).max() > 1e-3


def test_nothing_stays_nothing():
    for shape in ((3, 2), (3,)):
        assert not orthogonalised(np.zeros(shape, np.float32)).any()


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (7,)])
def test_updates_are_those_of_a_plain_implementation(shape):
    """As the authors' code has it: the mean is a moving average there, which the norm divides out."""
    rng, m, alpha, decay = np.random.default_rng(1), 0.8, 0.1, 0.3
    W = theirs = rng.normal(size=shape)
    algorithm, mean = BP(alpha, "muon", momentum=m, weight_decay=decay), np.zeros(shape)
    muon = optimizers.Muon(W, algorithm)
    for number in range(1, 5):
        g = rng.normal(size=shape)
        W = W + muon.step(W, g, alpha, number)
        mean = m * mean + (1 - m) * g
        d = (1 - m) * g + m * mean
        rows, columns = (*shape, 1)[:2]
        X = plain(d) if len(shape) == 2 else d / np.linalg.norm(d)
        theirs = theirs - alpha * decay * theirs + alpha * max(1, rows / columns) ** 0.5 * X
        np.testing.assert_allclose(W, theirs, atol=1e-12)


# Widths around vectors, more rows than columns and fewer; with and without biases.
SIZES = [5, 19, 8, 8, 21, 3]

LAYERED = {
    "ipc": IPC(1e-2, 0.3, optimizer="muon", weight_decay=0.1),
    "pc": PC(1e-2, 0.3, T=4, optimizer="muon", momentum=0.5),
    "zil": ZIL(1e-2, optimizer="muon"),
    "bp-async": AsyncBP(1e-2, "muon"),
    "bp-async, sums": AsyncBP(1e-2, "muon", accumulate=2, weights="stashed"),
    "local": Local(1e-2, "muon"),
    "dfa": DFA(1e-2, "muon"),
    "dual": DualProp(1e-2, "muon"),
}
CHAINED = {
    "serial": {},
    "blas": {"execution": "blas"},
    "pipeline": {"execution": "pipeline", "workers": 2},
    "zero-bubble": {"execution": "pipeline", "order": "zero-bubble", "workers": 3},
}


def trained(kind, algorithm, batch, bias=True, updates=3, dtype="float64", **options):
    """Weights, biases and values after some updates."""
    net = Network.mlp(SIZES, seed=2, dtype=dtype, bias=bias)
    rng = np.random.default_rng(3)
    x, y = (rng.normal(size=(batch, n)).astype(dtype) for n in (SIZES[0], SIZES[-1]))
    engine = kind(net, algorithm, x, y, lambda: np.arange(batch), **options)
    engine.run(updates)
    net = engine.network
    return [*net.weights, *(net.biases or []), *(net.heads or []), *engine.values]


def engine_of(algorithm, batch, **options):
    """On threads, which has run and noted it."""
    net = Network.mlp(SIZES, seed=2, dtype="float64")
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(batch, SIZES[0])), rng.normal(size=(batch, SIZES[-1]))
    engine = ThreadsEngine(net, algorithm, x, y, lambda: np.arange(batch), **options)
    engine.run(3, trace=True)
    return engine


@pytest.mark.parametrize("algorithm", [LAYERED["ipc"], LAYERED["pc"], BP(1e-2, "muon")])
def test_a_trace_is_an_order_of_the_graph_with_its_products(algorithm):
    timeline, graph = engine_of(algorithm, 7).timeline, algorithm.tasks(len(SIZES) - 1, 3)
    assert timeline.violations(graph) == []
    fewer = Timeline(event for event in timeline.events if (event.layer, event.step) != (1, 2))
    assert any(fault.startswith("ORTHOGONALISE of layer 1") for fault in fewer.violations(graph)) is bool(
        graph.task(Kind.ORTHOGONALISE, 2, 1) >= 0
    )


def hold(mine, its, allowed=1e-9):
    for a, b in zip(mine, its, strict=True):
        np.testing.assert_allclose(a, b, rtol=allowed, atol=allowed)


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("name", LAYERED)
def test_layers_on_workers_equal_the_oracle_and_one_another(name, batch):
    algorithm = LAYERED[name]
    how = {"execution": "pipeline-async"} if isinstance(algorithm, AsyncBP) else {}
    one, *others = (trained(ThreadsEngine, algorithm, batch, workers=workers, **how) for workers in (1, 2, 5))
    hold(one, trained(NumpyEngine, algorithm, batch))
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CHAINED)
def test_backprop_equals_the_oracle(name, bias, batch):
    if batch == 1 and "pipeline" in CHAINED[name].values():
        return
    algorithm = BP(1e-2, "muon", weight_decay=0.2)
    mine = trained(ThreadsEngine, algorithm, batch, bias, **CHAINED[name])
    hold(mine, trained(NumpyEngine, algorithm, batch, bias))


def test_twins_differ():
    mine = trained(ThreadsEngine, BP(1e-2, "muon"), 7)
    for other in (BP(1e-2, "muon", momentum=0.89), BP(1e-2, "muon", weight_decay=1e-3), BP(1e-2, "nesterov")):
        with pytest.raises(AssertionError):
            hold(mine, trained(NumpyEngine, other, 7))


def test_single_precision_is_near_the_oracle():
    algorithm = IPC(1e-2, 0.3, optimizer="muon")
    hold(*(trained(kind, algorithm, 7, dtype="float32") for kind in (ThreadsEngine, NumpyEngine)), allowed=2e-4)


@pytest.mark.parametrize("execution", ["intra-layer", "data-parallel", "hybrid"])
@pytest.mark.parametrize("algorithm", [BP(1e-2, "muon"), IPC(1e-2, 0.3, optimizer="muon")])
def test_executions_that_share_out_a_layer_are_refused(algorithm, execution):
    with pytest.raises(InputError, match=r"^optimizer muon needs the whole gradient of a layer, .*$") as caught:
        trained(ThreadsEngine, algorithm, 7, workers=2, execution=execution)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"^optimizer muon needs"):
        check_ranks(algorithm, execution, 2, 1, len(SIZES) - 1, 7)
