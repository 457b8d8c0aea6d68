"""Convolutions on threads against the oracle: nets of mixed layers, pools, strides, biases and skips."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pcsim
from pcsim import BP, IPC, PC, ZIL, InputError, Network, conv
from pcsim.engines import make_engine
from pcsim.net.named import named

few = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def nets(draw):
    """A float64 net of one to three convolutions and one or two dense layers."""
    image = (draw(st.integers(5, 9)), draw(st.integers(5, 9)), draw(st.integers(1, 3)))
    parts, skip, below = [], [], image
    for _ in range(draw(st.integers(1, 3))):
        kernel = draw(st.integers(1, min(3, *below[:2])))
        if draw(st.booleans()) and kernel % 2:
            part, skips = conv(below[2], kernel, padding=kernel // 2), draw(st.booleans())
        else:
            pool = draw(st.sampled_from([None, "max", "average"]))
            part, skips = conv(draw(st.integers(1, 9)), kernel, draw(st.integers(1, 2)), draw(st.integers(0, 1))), False
            if pool and min(part(below).out[:2]) >= 2:
                part = conv(*[getattr(part(below), n) for n in ("channels", "kernel", "stride", "padding")], pool)
        parts.append(part)
        skip.append(skips)
        below = part(below).out
    dense = draw(st.lists(st.integers(1, 20), min_size=1, max_size=2))
    return Network.cnn(
        image, [*parts, *dense], draw(st.sampled_from(["tanh", "relu", "sigmoid"])), bias=draw(st.booleans()),
        skip=[*skip, *[False] * len(dense)], seed=draw(st.integers(0, 99)), dtype="f8",
    )  # fmt: skip


ALGORITHMS = [IPC(0.01, 0.2), PC(0.02, 0.3, T=4), ZIL(0.01), BP(0.01), IPC(0.01, 0.1, "adam", precision=3.0)]


def engine_of(backend, net, algorithm, batch, seed=0, **options):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(3 * batch, net.sizes[0])), rng.normal(size=(3 * batch, net.sizes[-1]))
    rows = iter(np.arange(10_000 * batch).reshape(-1, batch) % (3 * batch))
    return make_engine(backend, net, algorithm, x, y, lambda: next(rows), **options)


def away(net, other):
    pairs = [(net.weights, other.weights), (net.biases or [], other.biases or [])]
    return max(np.abs(a - b).max() for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True))


def steps_of(algorithm):
    return {"steps_per_batch": 3} if isinstance(algorithm, IPC) else {}


@few
@given(nets(), st.sampled_from(ALGORITHMS), st.integers(1, 5), st.integers(1, 3))
def test_threads_are_the_oracle(net, algorithm, batch, workers):
    workers = 1 if isinstance(algorithm, BP) else min(workers, net.depth)
    oracle = engine_of("numpy", net, algorithm, batch, **steps_of(algorithm))
    found = engine_of("threads", net, algorithm, batch, workers=workers, **steps_of(algorithm))
    for updates in (1, 4):
        energies = [engine.run(updates)[1] for engine in (oracle, found)]
        assert np.isclose(*energies, rtol=1e-9)
    assert away(oracle.network, found.network) < 1e-11
    for mine, its in zip(oracle.values, found.values, strict=True):
        assert np.allclose(mine, its, rtol=1e-9, atol=1e-11)


def net_of(pool="max", bias=True, channels=(5, 7), seed=1, dtype="f8"):
    parts = [conv(channels[0], 3, padding=1, pool=pool), conv(channels[1], 2, stride=2), 12, 4]
    return Network.cnn((8, 8, 2), parts, bias=bias, seed=seed, dtype=dtype)


@pytest.mark.parametrize("execution", ["data-parallel", "pipeline"])
@pytest.mark.parametrize("pool", [None, "max", "average"])
def test_shared_backprop_is_the_oracle(pool, execution):
    net = net_of(pool)
    oracle = engine_of("numpy", net, BP(0.02), 6)
    for workers in (1, 2, 3):
        found = engine_of("threads", net, BP(0.02), 6, workers=workers, execution=execution)
        found.run(4)
        if workers == 1:
            oracle.run(4)
        assert away(oracle.network, found.network) < 1e-12


@pytest.mark.parametrize("algorithm", [IPC(0.01, 0.2), PC(0.02, 0.3, T=3)])
def test_shared_samples_are_the_oracle(algorithm):
    net = net_of(channels=(20, 33))
    oracle = engine_of("numpy", net, algorithm, 6, **steps_of(algorithm))
    oracle.run(5)
    for workers in (1, 2, 3):
        options = {"workers": workers, "execution": "data-parallel", **steps_of(algorithm)}
        found = engine_of("threads", net, algorithm, 6, **options)
        found.run(5)
        assert away(oracle.network, found.network) < 1e-12


@pytest.mark.parametrize("start", ["forward", "pipelined"])
def test_the_same_bits_for_any_number_of_workers(start):
    net, bits = net_of(dtype="f4"), []
    for workers in (1, 2, 3):
        found = engine_of("threads", net, IPC(0.01, 0.2), 5, workers=workers, steps_per_batch=4, start=start)
        found.run(11)
        bits.append(found.network)
    assert bits[0] == bits[1] == bits[2]


def test_a_pipelined_start_is_the_oracles():
    net = net_of()
    both = [engine_of(b, net, IPC(0.01, 0.2), 3, steps_per_batch=2, start="pipelined") for b in ("numpy", "threads")]
    for engine in both:
        engine.run(9)
    assert away(both[0].network, both[1].network) < 1e-12


def test_restored_it_goes_on_with_the_same_bits():
    net = net_of()
    whole = engine_of("threads", net, PC(0.01, 0.2, T=3, optimizer="adam"), 4, workers=2)
    whole.run(3)
    other = engine_of("threads", net, PC(0.01, 0.2, T=3, optimizer="adam"), 4)
    other.restore(whole.state())
    for engine in (whole, other):
        engine.run(3)
    assert whole.network == other.network


def test_zil_is_bp_on_the_papers_net():
    """Salvatori et al. 2021, arXiv:2103.03725: exact backpropagation on convolutional nets."""
    net = named("cnn-64-128-64@12x12x1", dtype="f8")
    one, other, twin = (
        engine_of("threads", net, algorithm, 4) for algorithm in (BP(0.01), ZIL(0.01), PC(0.01, 0.99, T=net.depth - 1))
    )
    for engine in (one, other, twin):
        engine.run(2)
    assert away(one.network, net) > 1e-4
    assert away(one.network, other.network) < 1e-14
    assert away(one.network, twin.network) > 1e-9


@pytest.mark.parametrize(
    ("algorithm", "options", "words"),
    [
        (BP(0.01), {"execution": "intra-layer"}, "'intra-layer' has no convolutions yet: choose serial"),
        (BP(0.01), {"execution": "pipeline", "order": "zero-bubble"}, r"'pipeline \(zero-bubble\)'"),
        (IPC(0.01), {"execution": "hybrid"}, "'hybrid' has no convolutions yet: choose layer-parallel, data-parallel"),
        (BP(0.01, "muon"), {}, "optimizer muon with convolutions so far on backend numpy alone"),
        (pcsim.AsyncBP(0.01), {}, "async BP with convolutions so far on backend numpy alone"),
        (pcsim.Local(0.01), {}, "local losses with convolutions so far on backend numpy alone"),
        (pcsim.DualProp(0.01), {}, "is for dense layers"),
    ],
)
def test_what_cannot_be_run_yet_is_one_line(algorithm, options, words):
    with pytest.raises(InputError, match=words):
        engine_of("threads", net_of(), algorithm, 4, **options)


def test_a_pool_passes_nan_on():
    """As NumPy's maximum does: a net that diverges is noticed at once."""
    net = Network.cnn((4, 4, 1), [conv(2, 1, pool="max"), 3])
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(4, n)).astype("f4") for n in (net.sizes[0], net.sizes[-1]))
    x[:, 5] = np.nan  # the last of its window, and with kernels of one pixel the only one there
    found = make_engine("threads", net, BP(0.01), x, y, lambda: np.arange(4))
    found.run(1)
    assert found.diverged == 0


def test_an_image_above_is_refused():
    net = Network.cnn((5, 5, 1), [conv(2, 3)])
    with pytest.raises(InputError, match="a dense layer above the last convolution"):
        engine_of("threads", net, BP(0.01), 2)


def test_a_broken_gather_is_seen(monkeypatch):
    """The twin of all tests above: another padding in what the kernels are told."""
    from pcsim.kernels.layers.convolution import PADDING

    from pcsim.engines import layout

    right = layout.forms_of

    def wrong(*given):
        table, room = right(*given)
        table[0, PADDING] = 0
        return table, room

    net = net_of(None)
    oracle = engine_of("numpy", net, IPC(0.01, 0.2), 3)
    monkeypatch.setattr(layout, "forms_of", wrong)
    found = engine_of("threads", net, IPC(0.01, 0.2), 3)
    for engine in (oracle, found):
        engine.run(2)
    assert away(oracle.network, found.network) > 1e-6
