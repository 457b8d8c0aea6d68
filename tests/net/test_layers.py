"""Layers against closed forms and finite differences; an activation for each hidden layer, made, saved and loaded."""

import json
import pickle

import numpy as np
import pytest
from differences import slopes
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim import InputError, Network
from pcsim.net.activations import ACTIVATIONS
from pcsim.net.layers import Dense, Product

some = settings(max_examples=60, deadline=None, derandomize=True)

SMOOTH = [name for name in ACTIVATIONS if name not in ("relu", "leaky_relu")]  # differences need them


@st.composite
def problems(draw, names=tuple(ACTIVATIONS)):
    """A float64 layer, its arrays, values below it and errors above it."""
    n = draw(st.integers(1, 5))
    skip = draw(st.booleans())
    m = n if skip else draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    weights, bias = rng.normal(size=(m, n)), rng.normal(size=m) if draw(st.booleans()) else None
    scale, name = draw(st.sampled_from([1.0, -0.75, 2.5])), draw(st.sampled_from(names))
    layer = Dense(n, m, lambda: weights, None if bias is None else lambda: bias, name, scale, skip)
    batch = draw(st.integers(1, 4))
    return layer, rng.normal(size=(batch, n)), rng.normal(size=(batch, m))


def energy_of_errors(layer, x, target):
    return 0.5 * np.sum((target - layer.predict(x)) ** 2)


def by_differences(layer, x, target):
    """Minus the gradients of the energy by the values below, the weights and the bias."""
    arrays = [x, layer.weights, *([] if layer.bias is None else [layer.bias])]
    return [-slopes(lambda: energy_of_errors(layer, x, target), array) for array in arrays]


def by_the_layer(layer, x, target):
    e = target - layer.predict(x)
    return [layer.pull_back(x, e), *(part for part in layer.gradient(x, e) if part is not None)]


def furthest(mine, its):
    assert [a.shape for a in mine] == [b.shape for b in its]
    return max(
        float(np.max(np.abs(a - b))) / max(1.0, float(np.max(np.abs(b)))) for a, b in zip(mine, its, strict=True)
    )


@some
@given(problems(names=SMOOTH))
def test_pull_back_and_gradient_are_slopes_of_the_energy(problem):
    layer, x, target = problem
    assert furthest(by_the_layer(layer, x, target), by_differences(layer, x, target)) < 1e-6


@pytest.mark.parametrize("skip", [False, True])
def test_twin_another_slope_scale_or_skip_is_told_apart(skip):
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(3, 3)), rng.normal(size=3)
    x, target = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    right = Dense(3, 3, lambda: weights, lambda: bias, "tanh", 0.5, skip)
    numeric = by_differences(right, x, target)
    assert furthest(by_the_layer(right, x, target), numeric) < 1e-6
    for wrong in (("sigmoid", 0.5, skip), ("tanh", 0.5001, skip), ("tanh", 0.5, not skip)):
        other = Dense(3, 3, lambda: weights, lambda: bias, *wrong)
        e = target - right.predict(x)
        assert furthest([other.pull_back(x, e)], numeric[:1]) > 1e-6


@some
@given(problems())
def test_each_operation_is_its_equation_written_out(problem):
    layer, x, e = problem
    f, slope = ACTIVATIONS[layer.activation]
    W, b, s = layer.weights, layer.bias, layer.scale
    m, n, B = layer.outputs, layer.inputs, len(x)
    a, d = s * f(x), s * slope(x)
    same = x if layer.skip else np.zeros((B, m))
    through = e if layer.skip else np.zeros((B, n))
    mu = [
        [sum(W[i, j] * a[k, j] for j in range(n)) + (0 if b is None else b[i]) + same[k, i] for i in range(m)]
        for k in range(B)
    ]
    back = [[d[k, j] * sum(W[i, j] * e[k, i] for i in range(m)) + through[k, j] for j in range(n)] for k in range(B)]
    ascent = [[sum(e[k, i] * a[k, j] for k in range(B)) for j in range(n)] for i in range(m)]
    np.testing.assert_allclose(layer.predict(x), mu, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(layer.pull_back(x, e), back, rtol=1e-12, atol=1e-13)
    weights, bias = layer.gradient(x, e)
    np.testing.assert_allclose(weights, ascent, rtol=1e-12, atol=1e-13)
    assert (bias is None) == (b is None)
    if bias is not None:
        np.testing.assert_allclose(bias, sum(e), rtol=1e-12, atol=1e-13)


def test_products_have_the_shapes_of_the_arrays():
    W, x, e = np.ones((2, 5)), np.ones((1, 5)), np.ones((1, 2))
    layer = Dense(5, 2, lambda: W)
    assert layer.products == {"predict": Product(2, 5), "pull_back": Product(5, 2), "gradient": Product(2, 5)}
    assert {product.flop for product in layer.products.values()} == {20}
    assert layer.predict(x).shape == (1, layer.products["predict"].rows)
    assert layer.pull_back(x, e).shape == (1, layer.products["pull_back"].rows)
    assert layer.gradient(x, e)[0].shape == layer.products["gradient"][:2]


# Layers of nets


@pytest.mark.parametrize("lazy", [False, True])
def test_a_net_has_its_layers(lazy):
    names = ["relu", "tanh"]
    net = Network.mlp([3, 4, 4, 2], names, bias=True, scale=[1, 0.5, 2], skip=[0, 1, 0], lazy=lazy, dtype="f8")
    assert [(layer.inputs, layer.outputs) for layer in net.layers] == [(3, 4), (4, 4), (4, 2)]
    assert [layer.activation for layer in net.layers] == ["identity", *names] == list(net.activations)
    assert ([layer.scale for layer in net.layers], [layer.skip for layer in net.layers]) == (net.scale, net.skip)
    values = net.forward(np.random.default_rng(0).normal(size=(2, 3)))
    for l, layer in enumerate(net.layers):
        assert np.array_equal(layer.weights, net.weights[l])
        assert np.array_equal(layer.bias, net.biases[l])
        assert np.array_equal(values[l + 1], layer.predict(values[l]))
    middle = 0.5 * np.maximum(values[1], 0) @ net.weights[1].T + net.biases[1] + values[1]
    np.testing.assert_allclose(values[2], middle, rtol=1e-13)
    np.testing.assert_allclose(values[3], 2 * np.tanh(values[2]) @ net.weights[2].T + net.biases[2], rtol=1e-13)


def test_layers_make_no_arrays_before_they_are_asked():
    made = []
    net = Network.of_layers([2, 3, 4], "f8", lambda l: made.append(l) or np.full((3 + l, 2 + l), float(l)))
    assert [layer.products["predict"] for layer in net.layers] == [Product(3, 2), Product(4, 3)]
    assert made == []
    assert net.layers[1].weights[0, 0] == 1
    assert made == [1]


def test_layers_of_a_copy_are_its_own():
    net = Network.mlp([2, 3, 1])
    assert net.layers[0].weights is net.weights[0]
    other = net.replace([w + 1 for w in net.weights], None)
    assert other.layers[0].weights is other.weights[0]
    assert net.layers[0].weights is net.weights[0]
    again = pickle.loads(pickle.dumps(net))
    assert np.array_equal(again.layers[1].weights, net.weights[1])


# An activation for each hidden layer


def test_equal_names_are_one():
    assert Network.mlp([2, 3, 3, 1], ["gelu", "gelu"]).activation == "gelu"
    assert Network.mlp([2, 3, 3, 1], ("gelu", "relu")).activation == ["gelu", "relu"]
    assert Network.mlp([2, 1], []).activations == ("identity",)
    one, many = Network.mlp([2, 3, 3, 1], "relu"), Network.mlp([2, 3, 3, 1], ["relu"] * 2)
    assert one.activations == many.activations == ("identity", "relu", "relu")


def test_names_that_are_passed_in_stay_as_they_are():
    names = ["tanh", "relu"]
    net = Network.mlp([2, 3, 3, 1], names)
    names[0] = "gelu"
    assert net.activation == ["tanh", "relu"]
    assert net.replace(net.weights, None).activation == ["tanh", "relu"]


@pytest.mark.parametrize(
    ("activation", "words"),
    [
        (["tanh"], "activation lists 1 names, but the net has 2 hidden layers: give one for each, or a single name"),
        (["tanh"] * 3, "activation lists 3 names, but the net has 2 hidden layers"),
        ([], "activation lists 0 names"),
        (["tanh", "swish"], r"activation\[1\] 'swish' is unknown: choose from identity, tanh"),
        (["a\nb", "tanh"], r"activation\[0\] 'a\\nb' is unknown"),
        ([["tanh"], "tanh"], r"activation\[0\] \['tanh'\] is unknown"),
        ([None, "tanh"], r"activation\[0\] None is unknown"),
        ({}, "activation must be a name or a list of names, not of type dict"),
        (None, "activation must be a name or a list of names, not of type NoneType"),
    ],
)
def test_one_line_where_activations_do_not_fit(activation, words):
    made = Network.mlp([2, 3, 3, 1])
    for call in (
        lambda: Network(made.weights, activation),
        lambda: Network.mlp([2, 3, 3, 1], activation),
        lambda: Network.of_layers(made.sizes, "f4", lambda l: made.weights[l], None, activation),
    ):
        with pytest.raises(InputError, match=words) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1


def test_activations_are_saved_and_loaded(tmp_path):
    net = Network.mlp([2, 3, 3, 1], ["tanh", "identity"], bias=True)
    net.save(tmp_path)
    assert json.loads((tmp_path / "network.json").read_text())["activation"] == ["tanh", "identity"]
    loaded, x = Network.load(tmp_path), np.ones((1, 2), np.float32)
    assert loaded.activation == net.activation
    assert all(np.array_equal(a, b) for a, b in zip(loaded.forward(x), net.forward(x), strict=True))


@pytest.mark.parametrize("wrong", [["tanh"], ["tanh", "swish"], [None, "tanh"], [["tanh"], "tanh"], []])
def test_one_line_where_saved_activations_do_not_fit(tmp_path, wrong):
    Network.mlp([2, 3, 3, 1], ["tanh", "identity"]).save(tmp_path)
    sheet = json.loads((tmp_path / "network.json").read_text())
    (tmp_path / "network.json").write_text(json.dumps({**sheet, "activation": wrong}))
    with pytest.raises(InputError) as caught:
        Network.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/network.json: activation ")
    assert len(str(caught.value).splitlines()) == 1
