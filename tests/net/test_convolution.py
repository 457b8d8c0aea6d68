"""Convolutions against their definition, finite differences and PyTorch; nets of them, made, saved, loaded, trained."""

import json

import numpy as np
import pytest
from differences import slopes
from hypothesis import given, settings
from hypothesis import strategies as st

import pcsim
from pcsim import InputError, Network, conv
from pcsim.net.convolution import Conv2d, Convolution, Image
from pcsim.net.layers import Product

some = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def forms(draw):
    """A convolution of a small image."""
    image = Image(draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 3)))
    padding = draw(st.integers(0, 2))
    kernel = draw(st.integers(1, min(image[:2]) + 2 * padding))
    channels, stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    plain = Convolution(image, channels, kernel, stride, padding)
    pool = draw(st.sampled_from([None, "max", "average"]))
    return Convolution(image, channels, kernel, stride, padding, pool, draw(st.integers(1, min(plain.out[:2]))))


@st.composite
def problems(draw):
    """A float64 layer, its arrays, values below it and errors above it."""
    form, rng = draw(forms()), np.random.default_rng(draw(st.integers(0, 2**16)))
    weights, bias = rng.normal(size=form.shape), rng.normal(size=form.channels) if draw(st.booleans()) else None
    skip = form.image == form.out and draw(st.booleans())
    name = draw(st.sampled_from(["tanh", "identity", "gelu"]))
    layer = Conv2d(
        form.image.units, form.out.units, lambda: weights, None if bias is None else lambda: bias, name,
        draw(st.sampled_from([1.0, -0.75, 2.5])), skip, form=form,
    )  # fmt: skip
    batch = draw(st.integers(1, 3))
    return layer, rng.normal(size=(batch, form.image.units)), rng.normal(size=(batch, form.out.units))


def by_definition(layer, x):
    """Channel by channel, pixel by pixel."""
    form, a = layer.form, layer.scale * layer.f(x)
    images = a.reshape(-1, *form.image)
    found = np.zeros((len(x), *form.filtered))
    weights = layer.weights.reshape(form.channels, form.kernel, form.kernel, form.image.channels)
    for row, column in np.ndindex(*form.filtered[:2]):
        for i, j in np.ndindex(form.kernel, form.kernel):
            y, z = row * form.stride + i - form.padding, column * form.stride + j - form.padding
            if 0 <= y < form.image.height and 0 <= z < form.image.width:
                found[:, row, column] += images[:, y, z] @ weights[:, i, j].T
    pooled = np.zeros((len(x), *form.out))
    q = form.window if form.pool else 1
    for row, column in np.ndindex(*form.out[:2]):
        window = found[:, row * q : (row + 1) * q, column * q : (column + 1) * q].reshape(len(x), q * q, -1)
        pooled[:, row, column] = window.max(1) if form.pool == "max" else window.mean(1)
    if layer.bias is not None:
        pooled += layer.bias
    return pooled.reshape(len(x), -1) + (x if layer.skip else 0)


@some
@given(problems())
def test_predictions_are_the_definitions(problem):
    layer, x, _ = problem
    assert np.allclose(layer.predict(x), by_definition(layer, x), rtol=1e-12, atol=1e-12)


def by_differences(layer, x, target):
    arrays = [x, layer.weights, *([] if layer.bias is None else [layer.bias])]
    return [-slopes(lambda: 0.5 * np.sum((target - layer.predict(x)) ** 2), array) for array in arrays]


def by_the_layer(layer, x, target):
    e = target - layer.predict(x)
    return [layer.pull_back(x, e), *(part for part in layer.gradient(x, e) if part is not None)]


@some
@given(problems())
def test_slopes_are_those_of_the_energy(problem):
    for found, expected in zip(by_the_layer(*problem), by_differences(*problem), strict=True):
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("broken", ["image_of", "unpooled"])
def test_a_broken_transpose_is_seen(monkeypatch, broken):
    """The twin of the test above."""
    form = Convolution(Image(5, 5, 2), 3, 2, pool="max")
    weights, rng = np.random.default_rng(0).normal(size=form.shape), np.random.default_rng(1)
    layer = Conv2d(form.image.units, form.out.units, lambda: weights, activation="tanh", form=form)
    x, target = rng.normal(size=(2, form.image.units)), rng.normal(size=(2, form.out.units))
    right = getattr(Convolution, broken)
    monkeypatch.setattr(Convolution, broken, lambda self, *given: np.roll(right(self, *given), 1, 1))
    found, expected = by_the_layer(layer, x, target)[0], by_differences(layer, x, target)[0]
    assert not np.allclose(found, expected, rtol=1e-3)


@some
@given(forms(), st.integers(0, 2**16))
def test_images_of_patches_are_the_transpose(form, seed):
    rng = np.random.default_rng(seed)
    x, p = rng.normal(size=(2, form.image.units)), rng.normal(size=(2, form.positions, form.shape[1]))
    assert np.isclose(np.sum(form.patches(x) * p), np.sum(x * form.image_of(p)), rtol=1e-10, atol=1e-10)


def test_products_have_the_shapes_of_the_layer():
    net = Network.cnn((8, 6, 3), [conv(4, 3, padding=1, pool="max"), 10])
    first, last = net.layers
    assert first.products["predict"] == Product(4, 27, 48) and first.products["pull_back"] == Product(27, 4, 48)
    assert first.products["predict"].flop == 2 * 4 * 27 * 48
    assert last.products["predict"] == Product(10, 48)


def test_a_net_says_its_sizes_and_parameters():
    net = Network.cnn((28, 28, 1), [conv(8, 5, 2, 2), conv(16, 3, pool="average"), 10], bias=True)
    assert net.sizes == (784, 14 * 14 * 8, 6 * 6 * 16, 10)
    assert net.parameters == 8 * 25 + 8 + 16 * 72 + 16 + 576 * 10 + 10
    assert isinstance(net.layers[1], Conv2d) and net.layers[1].form.image == (14, 14, 8)


@pytest.mark.parametrize("bias", [False, True])
def test_saved_and_loaded_it_is_the_same(tmp_path, bias):
    net = Network.cnn((8, 8, 2), [conv(4, 3, padding=1), conv(4, 3, 1, 1, "max"), 3], bias=bias, skip=[0, 0, 0], seed=3)
    net.save(tmp_path)
    found = Network.load(tmp_path)
    assert found == net and found.forms == net.forms
    other = Network.cnn((8, 8, 2), [conv(4, 3, padding=1), conv(4, 3, 1, 1, "average"), 3], bias=bias, seed=3)
    assert other != net


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"forms": [None]}, "forms has 1 entries; expected 2"),
        ({"forms": [{"image": [8, 8]}, None]}, r"forms\[0\]: needs image, channels, kernel"),
        (
            {"forms": [{"image": [8, 8], "channels": 4, "kernel": 3}, None]},
            "an image is its height, width and channels",
        ),
        ({"forms": 3}, "forms is 3; expected a list of null and objects"),
        ({"sizes": [128, 144, 4]}, "weights-00001.npy holds"),
        ({"sizes": [127, 144, 3]}, "those of its forms are"),
    ],
)
def test_a_broken_sheet_is_one_line(tmp_path, change, words):
    Network.cnn((8, 8, 2), [conv(4, 3), 3]).save(tmp_path)
    sheet = json.loads((tmp_path / "network.json").read_text())
    (tmp_path / "network.json").write_text(json.dumps(sheet | change))
    with pytest.raises(InputError, match=words) as error:
        Network.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Network.cnn((4, 4, 1), [conv(2, 5), 3]), "a kernel of 5 × 5 is larger than an image of 4 × 4"),
        (lambda: Network.cnn((4, 4, 1), [conv(2, 3, pool="max", window=3), 3]), "a pool of 3 × 3 is larger"),
        (lambda: Network.cnn((4, 4, 1), [conv(0, 3), 3]), "channels of a convolution must be a whole number"),
        (lambda: Network.cnn((4, 4, 1), [conv(2, 3, pool="min"), 3]), "pool must be one of max, average"),
        (lambda: Network.cnn((4, 4), [conv(2, 3), 3]), "an image is its height, width and channels"),
        (lambda: Network.cnn((4, 4, 1), [3, conv(2, 3)]), "above a dense layer, which has no image"),
        (lambda: Network.cnn((4, 4, 1), [conv(2, 3), "ten"]), r"parts\[1\] must be"),
        (lambda: Network.cnn((4, 4, 1), []), "parts must be a list"),
        (lambda: Network.cnn((4, 4, 1), [conv(2, 3), 3], skip=[True, False]), "layer 0 has 16 and 8"),
        (lambda: Network.cnn((4, 4, 1), [conv(4, 2, 2), 3], skip=[1, 0]), r"adds an image of 4x4x1 to one of 2x2x4"),
        (
            lambda: Network([np.zeros((2, 8)), np.zeros((3, 8))], forms=[Convolution((4, 4, 1), 2, 3), None]),
            r"weights\[0\] has shape \(2, 8\), but its convolution needs \(2, 9\)",
        ),
        (
            lambda: Network([np.zeros((2, 9)), np.zeros((3, 9))], forms=[Convolution((4, 4, 1), 2, 3), None]),
            r"weights\[1\] has 9 columns, but weights\[0\] has 8 units above its convolution",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(make, words):
    with pytest.raises(InputError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def chain(bias=False, pool="max", seed=0):
    """A small float64 net, images and targets."""
    parts = [conv(3, 3, padding=1), conv(3, 3, stride=2, padding=1, pool=pool), 6, 4]
    net = Network.cnn((6, 6, 2), parts, bias=bias, seed=seed, dtype="f8")
    rng = np.random.default_rng(seed + 1)
    return net, rng.normal(size=(5, 72)), rng.normal(size=(5, 4))


def trained(net, algorithm, x, y, updates=1):
    run = pcsim.train(
        net, algorithm, x, y, updates=updates, backend="numpy", workers=1, record_every=0, batch_size=len(x)
    )
    return run.network


def away(net, other):
    """How far two nets' parameters lie apart, at most."""
    pairs = [(net.weights, other.weights), (net.biases or [], other.biases or [])]
    return max(np.abs(a - b).max() for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("pool", [None, "max", "average"])
@pytest.mark.parametrize("bias", [False, True])
def test_zil_is_bp(bias, pool):
    """Salvatori et al. 2022, "Reverse Differentiation via Predictive Coding": also with convolutions."""
    net, x, y = chain(bias, pool)
    bp, zil = (trained(net, one(alpha=0.01), x, y, 2) for one in (pcsim.BP, pcsim.ZIL))
    assert away(bp, net) > 1e-4 and away(bp, zil) < 1e-14
    assert away(bp, trained(net, pcsim.PC(0.01, 0.99, T=3), x, y, 2)) > 1e-7  # its twin


def test_bp_descends_on_the_loss():
    net, x, y = chain(True)
    step = 1e-6
    moved = trained(net, pcsim.BP(alpha=step), x, y)

    def loss(weights):
        return net.loss.loss(net.replace(weights, net.biases).forward(x)[-1], y)

    for l, w in enumerate(net.weights):
        index = tuple(np.array(w.shape) // 2)
        above, below = ([v.copy() for v in net.weights] for _ in range(2))
        above[l][index] += 1e-6
        below[l][index] -= 1e-6
        slope = (loss(above) - loss(below)) / 2e-6
        assert np.isclose((w[index] - moved.weights[l][index]) / step, slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pool", [None, "max", "average"])
def test_bp_is_pytorchs(pool):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    net, x, y = chain(True, pool)
    weights = [torch.tensor(w, requires_grad=True) for w in net.weights]
    biases = [torch.tensor(b, requires_grad=True) for b in net.biases]
    h = torch.tensor(x).reshape(5, 6, 6, 2).permute(0, 3, 1, 2)
    for l, form in enumerate(net.forms):
        h = torch.tanh(h) if l else h
        if form is None:
            h = h if h.ndim == 2 else h.permute(0, 2, 3, 1).reshape(5, -1)
            h = h @ weights[l].T + biases[l]
            continue
        kernels = weights[l].reshape(form.channels, form.kernel, form.kernel, -1).permute(0, 3, 1, 2)
        h = functional.conv2d(h, kernels, biases[l], form.stride, form.padding)
        if form.pool:
            h = (functional.max_pool2d if form.pool == "max" else functional.avg_pool2d)(h, form.window)
    (0.5 * (h - torch.tensor(y)).pow(2).sum()).backward()
    moved = trained(net, pcsim.BP(alpha=1.0), x, y)
    for before, after, its in zip(net.weights, moved.weights, weights, strict=True):
        assert np.allclose(before - after, its.grad.numpy(), rtol=1e-10, atol=1e-10)
    for before, after, its in zip(net.biases, moved.biases, biases, strict=True):
        assert np.allclose(before - after, its.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "algorithm",
    [pcsim.IPC(0.01, 0.1), pcsim.PC(0.01, 0.1, T=3), pcsim.AsyncBP(0.001), pcsim.Local(0.001), pcsim.DFA(0.001)],
)
def test_other_ways_of_learning_learn(algorithm):
    net, x, y = chain(True)
    moved = trained(net, algorithm, x, y, 30)
    assert net.loss.loss(moved.forward(x)[-1], y) < net.loss.loss(net.forward(x)[-1], y)


def test_dual_propagation_says_that_it_cannot():
    net, x, y = chain()
    with pytest.raises(InputError, match="convolutions"):
        trained(net, pcsim.DualProp(0.01), x, y)
