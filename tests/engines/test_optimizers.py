"""The oracle's optimisers against closed forms and PyTorch; the compiled ones against the oracle; twins that fail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pcsim.kernels.layers.orthogonal import working_size
from pcsim.kernels.layers.weights import descend
from pcsim.kernels.machine.compiling import njit
from pcsim.kernels.machine.memory import aligned_empty

from pcsim import BP, Network
from pcsim.algorithms.common import MOMENTS, OPTIMIZERS
from pcsim.engines import optimizers
from pcsim.engines.layout import options_of, ring, rule_of
from pcsim.engines.loops.arguments import Arrays
from pcsim.engines.loops.steps import layers
from pcsim.engines.numpy import NumpyEngine
from pcsim.engines.threads import ThreadsEngine

ALPHA, T = 0.01, 7


def walked(algorithm, W, ascents, of=None):
    """W after the oracle's steps along ``ascents``."""
    optimizer = optimizers.OPTIMIZERS[of or algorithm.optimizer](W, algorithm)
    for number, ascent in enumerate(ascents, 1):
        W = W + optimizer.step(W, ascent, algorithm.alpha, number)
    return W, optimizer


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_closed_forms_for_a_gradient_that_stays(momentum):
    g, W = np.array([2.0, -1e-3]), np.array([1.0, -1.0])
    means = g * (1 - momentum ** np.arange(1, T + 1)[:, None]) / (1 - momentum)  # a geometric series
    assert np.allclose(walked(BP(ALPHA), W, [g] * T)[0], W + ALPHA * T * g)
    found = walked(BP(ALPHA, "momentum", momentum=momentum), W, [g] * T)[0]
    assert np.allclose(found, W + ALPHA * means.sum(0), rtol=1e-12)
    found = walked(BP(ALPHA, "nesterov", momentum=momentum), W, [g] * T)[0]
    assert np.allclose(found, W + ALPHA * (T * g + momentum * means.sum(0)), rtol=1e-12)
    found = walked(BP(ALPHA, "adam", momentum=momentum), W, [g] * T)[
        0
    ]  # both means are those of g once they are corrected
    assert np.allclose(found, W + ALPHA * T * g / (np.abs(g) + 1e-8), rtol=1e-12)
    kept = momentum ** np.arange(T + 2.0)  # 1, momentum, …
    steps = momentum * (1 - kept[1:-1]) / (1 - kept[2:]) + (1 - momentum) / (1 - kept[1:-1])
    found = walked(BP(ALPHA, "nadamw", momentum=momentum), W, [g] * T)[0]
    assert np.allclose(found, W + ALPHA * steps.sum() * g / (np.abs(g) + 1e-8), rtol=1e-12)


def test_closed_forms_of_weight_decay():
    W, nothing, decay = np.array([1.0, -0.5]), np.zeros(2), 0.3
    shrunk = W * (1 - ALPHA * decay) ** T
    for decoupled in ("adamw", "nadamw"):
        assert np.allclose(walked(BP(ALPHA, decoupled, weight_decay=decay), W, [nothing] * T)[0], shrunk, rtol=1e-13)
    assert np.allclose(walked(BP(ALPHA, weight_decay=decay), W, [nothing] * T)[0], shrunk, rtol=1e-13)
    first = walked(BP(ALPHA, "adam", weight_decay=decay), W, [nothing])[0]  # Adam sees a gradient, and takes its sign
    assert np.allclose(first, W - ALPHA * np.sign(W), rtol=1e-6)
    once = walked(BP(ALPHA, "momentum", momentum=0.0, weight_decay=decay), W, [nothing] * T)[0]
    assert np.allclose(once, shrunk, rtol=1e-13)


# PyTorch's NAdam has a schedule, and Muon works in half precision.
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name not in ("nadamw", "muon")])
def test_the_oracle_walks_as_pytorch_does(optimizer):
    torch = pytest.importorskip("torch")
    rng, decay, momentum = np.random.default_rng(0), 0.2, 0.8
    W, ascents = rng.normal(size=5), rng.normal(size=(T, 5))
    theirs = torch.tensor(W, requires_grad=True)
    sgd, adam = {"lr": ALPHA, "weight_decay": decay}, {"lr": ALPHA, "weight_decay": decay, "betas": (momentum, 0.999)}
    steps = {
        "sgd": lambda: torch.optim.SGD([theirs], **sgd),
        "momentum": lambda: torch.optim.SGD([theirs], momentum=momentum, **sgd),
        "nesterov": lambda: torch.optim.SGD([theirs], momentum=momentum, nesterov=True, **sgd),
        "adam": lambda: torch.optim.Adam([theirs], **adam),
        "adamw": lambda: torch.optim.AdamW([theirs], **adam),
    }[optimizer]()
    for ascent in ascents:
        theirs.grad = torch.tensor(-ascent)
        steps.step()
    mine = walked(
        BP(ALPHA, optimizer, momentum=0.9 if optimizer == "sgd" else momentum, weight_decay=decay), W, ascents
    )[0]
    assert np.allclose(mine, theirs.detach().numpy(), rtol=1e-12)


@njit(nogil=True)
def compiled_step(arrays, offsets, options, rows, alpha, number):
    descend(layers(arrays, offsets, options), 0, 0, rows, 0, alpha, number)


def compiled_walk(algorithm, W, ascents):
    """W and its moments after the compiled steps: whole vectors, any numbers, in whatever dtype W has."""
    rows, columns = W.shape
    dtype, rule = W.dtype, rule_of(algorithm)
    flat = [aligned_empty(W.size, dtype) for _ in range(4)]
    for array in flat:
        array[:] = 0
    weights, scratch, mean, square = flat
    weights[:] = W.ravel()
    panel = aligned_empty(working_size(rows, columns), dtype)
    arrays = Arrays(weights, mean, mean, mean, scratch, mean, square, mean, mean, mean, mean, panel)
    options = options_of(dtype, 1, False, False, rule, algorithm.momentum, algorithm.weight_decay)
    for number, ascent in enumerate(ascents, 1):
        scratch[:] = ascent.ravel()
        compiled_step(arrays, ring(columns, rows, 1, 1, dtype), options, rows, dtype.type(algorithm.alpha), number)
    return weights.reshape(W.shape), mean.reshape(W.shape), square.reshape(W.shape)


def problem(seed, rows, vectors, dtype):
    """Gradients of all sizes, some of them 0."""
    rng = np.random.default_rng(seed)
    shape = (T, rows, vectors * 64 // dtype.itemsize)
    ascents = rng.normal(size=shape) * 10 ** rng.uniform(-12, 4, shape) * (rng.random(shape) < 0.9)
    return rng.normal(size=shape[1:]).astype(dtype), ascents.astype(dtype)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(OPTIMIZERS), st.integers(0, 999), st.integers(1, 5), st.integers(1, 3),
    st.sampled_from((0.0, 0.5, 0.99)), st.sampled_from((0.0, 0.3)),
)  # fmt: skip
def test_compiled_steps_equal_the_oracle(optimizer, seed, rows, vectors, momentum, decay):
    algorithm = BP(ALPHA, optimizer, momentum=0.9 if optimizer == "sgd" else momentum, weight_decay=decay)
    for dtype, allowed in ((np.dtype(np.float64), 1e-12), (np.dtype(np.float32), 3e-6)):
        W, ascents = problem(seed, rows, vectors, dtype)
        mine, mean, square = compiled_walk(algorithm, W, ascents)
        oracle, moments = walked(algorithm, W, ascents)
        np.testing.assert_allclose(mine, oracle, rtol=allowed, atol=allowed)
        if MOMENTS[optimizer] > 0:
            np.testing.assert_allclose(mean, moments.mean, rtol=allowed, atol=allowed * np.abs(ascents).max())
        if MOMENTS[optimizer] > 1:
            np.testing.assert_allclose(square, moments.square, rtol=allowed)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_twins_are_told_apart(optimizer):
    """Another rule, and a decay that is left out: each is seen at once."""
    W, ascents = problem(1, 3, 1, np.dtype(np.float64))
    ascents = ascents.clip(-1, 1)
    algorithm = BP(ALPHA, optimizer, weight_decay=0.3)
    mine = compiled_walk(algorithm, W, ascents)[0]
    for other in OPTIMIZERS:
        if other != optimizer:
            assert np.abs(mine - walked(algorithm, W, ascents, of=other)[0]).max() > 1e-4
    assert np.abs(mine - walked(BP(ALPHA, optimizer), W, ascents)[0]).max() > 1e-4


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch", [1, 700])
def test_updates_equal_the_oracle_also_where_columns_go_in_parts(optimizer, batch):
    """700 samples of 150 float64 are more than the kernels keep in cache at a time; one sample is an outer product."""
    rng = np.random.default_rng(0)
    net = Network.mlp([150, 21, 3], seed=1, dtype="float64", bias=True)
    x, y = rng.normal(size=(batch, 150)), rng.normal(size=(batch, 3))
    algorithm = BP(1e-3 if "adam" in optimizer else 1e-6, optimizer, weight_decay=0.2)
    found = []
    for kind in (ThreadsEngine, NumpyEngine):
        engine = kind(net, algorithm, x, y, lambda: np.arange(batch))
        engine.run(3)
        found.append(np.concatenate([p.ravel() for p in (*engine.network.weights, *engine.network.biases)]))
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-11)
