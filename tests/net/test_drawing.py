"""How nets begin: parameterisations and starts."""

import numpy as np
import pytest

from pcsim import InputError, Network, conv


def test_the_standard_one_is_as_ever():
    """A change of it would change every committed number."""
    net = Network.mlp([3, 4, 2], bias=True, seed=5)
    rng = np.random.default_rng(5)
    for l, (n, m) in enumerate([(3, 4), (4, 2)]):
        bound = 1 / np.sqrt(n)
        assert np.array_equal(net.weights[l], rng.uniform(-bound, bound, (m, n)).astype("f4"))
        assert np.array_equal(net.biases[l], rng.uniform(-bound, bound, m).astype("f4"))


def test_kernels_begin_in_the_bounds_of_pytorch():
    net = Network.cnn((8, 8, 3), [conv(16, 3), 10], seed=1)
    for w in net.weights:
        bound = 1 / np.sqrt(w.shape[1])
        assert 0.9 * bound < np.abs(w).max() <= bound


@pytest.mark.parametrize(
    ("parameterisation", "skip", "scale"),
    [
        ("ntp", (0, 0, 0, 0), [1 / 3, 1 / 4, 1 / 4, 1 / 4]),
        ("mupc", (0, 0, 0, 0), [1 / 3, 1 / 4, 1 / 4, 1 / 16]),
        ("mupc", (0, 1, 1, 0), [1 / 3, 1 / 8, 1 / 8, 1 / 16]),
    ],
)
def test_scales(parameterisation, skip, scale):
    """Innocenti et al., arXiv:2505.13124: 1 / sqrt(n0) below, 1 / sqrt(N L) inside with skips, 1 / N above."""
    net = Network.mlp([9, 16, 16, 16, 2], skip=skip, parameterisation=parameterisation, bias=True)
    assert np.allclose(net.scale, scale)
    assert all(not b.any() for b in net.biases)


@pytest.mark.parametrize(("start", "variance"), [("kaiming", 2 / 400), (None, 1 / (3 * 400))])
def test_variances(start, variance):
    net = Network.mlp([400, 300], start=start, seed=2)
    assert np.isclose(net.weights[0].var(), variance, rtol=0.02)
    other = Network.mlp([400, 300], parameterisation="mupc", seed=2)
    assert np.isclose(other.weights[0].var(), 1, rtol=0.02)


@pytest.mark.parametrize("sizes", [[12, 7], [7, 12], [5, 5]])
def test_an_orthogonal_start(sizes):
    (w,) = Network.mlp(sizes, start="orthogonal", dtype="f8").weights
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    assert np.allclose(small, np.eye(min(sizes)), atol=1e-12)


def test_an_activation_keeps_its_size_with_depth():
    """What mupc is for: at 64 layers the standard parameterisation has lost the input."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 32))
    sizes, skip = [32] + [64] * 64 + [10], [False, *[True] * 63, False]
    mupc, sp = (
        Network.mlp(sizes, "tanh", parameterisation=how, skip=skip if how == "mupc" else ()) for how in ("mupc", "sp")
    )
    assert 0.3 < mupc.forward(x)[-2].std() < 3
    assert sp.forward(x)[-2].std() < 1e-6


def test_lazy_or_not_the_same():
    for how in ({"parameterisation": "mupc"}, {"start": "orthogonal"}):
        assert Network.mlp([4, 6, 3], lazy=True, seed=1, **how) == Network.mlp([4, 6, 3], seed=1, **how)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parameterisation": "mup"}, "parameterisation 'mup' is unknown: choose from sp, ntp, mupc"),
        ({"start": "zero"}, "start 'zero' is unknown: choose from uniform, kaiming, orthogonal"),
        ({"parameterisation": "ntp", "start": "kaiming"}, "ntp begins with normal weights of variance 1"),
        ({"parameterisation": "mupc", "scale": [1, 2]}, "mupc sets the scale of every layer"),
    ],
)
def test_what_does_not_fit_is_one_line(options, words):
    with pytest.raises(InputError, match=words):
        Network.mlp([3, 4, 2], **options)
