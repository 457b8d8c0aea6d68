"""Nets: how they are made, what they predict, what cannot be a net, and the room that they need."""

import copy
import dataclasses
import itertools
import math
import pickle
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import refusal, some

from pcsim import InputError, Network
from pcsim.net.activations import ACTIVATIONS

# What the activations are, in the words of the standard library.
BY_HAND = {
    "identity": lambda v: v,
    "tanh": math.tanh,
    "relu": lambda v: max(v, 0.0),
    "leaky_relu": lambda v: v if v > 0 else 0.01 * v,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "gelu": lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))),
}


def ones(*shapes, dtype=np.float32):
    return [np.ones(shape, dtype) for shape in shapes]


# Making nets


@some
@given(st.lists(st.integers(1, 12), min_size=2, max_size=6), st.booleans(), st.sampled_from(["float32", "float64"]))
def test_a_net_has_the_shapes_of_its_sizes(sizes, bias, dtype):
    net = Network.mlp(sizes, bias=bias, dtype=dtype)
    assert net.depth == len(sizes) - 1
    assert net.sizes == tuple(sizes)
    assert [w.shape for w in net.weights] == [(m, n) for n, m in itertools.pairwise(sizes)]
    assert net.dtype == np.dtype(dtype)
    assert all(w.dtype == np.dtype(dtype) and w.flags.c_contiguous for w in [*net.weights, *(net.biases or [])])
    assert (net.biases is not None) == bias
    if bias:
        assert [b.shape for b in net.biases] == [(m,) for m in sizes[1:]]
    weights = sum(n * m for n, m in itertools.pairwise(sizes))
    assert net.parameters == weights + (sum(sizes[1:]) if bias else 0)
    assert list(net.scale) == [1.0] * net.depth
    assert list(net.skip) == [False] * net.depth


def test_the_start_is_uniform_within_one_over_the_root_of_the_inputs():
    net = Network.mlp([400, 300, 25], bias=True, dtype=np.float64)
    for inputs, arrays in ((400, (net.weights[0], net.biases[0])), (300, (net.weights[1], net.biases[1]))):
        bound = 1 / math.sqrt(inputs)
        assert all(np.abs(array).max() <= bound for array in arrays)
        assert np.abs(arrays[0]).max() > 0.99 * bound
        assert np.std(arrays[0]) == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert abs(arrays[0].mean()) < 0.05 * bound


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_the_same_seed_gives_the_same_net_in_either_dtype(seed, bias):
    narrow, again, wide = (Network.mlp([5, 7, 3], bias=bias, seed=seed, dtype=t) for t in ("f4", "f4", "f8"))
    for a, b, c in zip(
        *([*net.weights, *(net.biases or [])] for net in (narrow, again, wide)),
        strict=True,
    ):
        assert np.array_equal(a, b)
        assert np.array_equal(a, c.astype(np.float32))
    assert not np.array_equal(wide.weights[0], wide.weights[0].astype(np.float32))  # rounding did something
    other = Network.mlp([5, 7, 3], bias=bias, seed=seed + 1)
    assert not np.array_equal(narrow.weights[0], other.weights[0])


@pytest.mark.parametrize(
    ("given_types", "expected"),
    [
        (("f8", "f8"), "f8"),
        (("f4", "f4"), "f4"),
        (("f4", "f8"), "f4"),
        (("f8", "i8"), "f4"),
        (("f2", "f2"), "f4"),
        (("i4", "u1"), "f4"),
        (("?", "?"), "f4"),
    ],
)
def test_dtypes_follow_the_weights(given_types, expected):
    weights = [np.ones(shape, kind) for shape, kind in zip([(3, 2), (1, 3)], given_types, strict=True)]
    net = Network(weights, biases=ones(3, 1, dtype=np.float64))
    assert net.dtype == np.dtype(expected)
    assert {array.dtype for array in (*net.weights, *net.biases)} == {np.dtype(expected)}
    assert {values.dtype for values in net.forward([[1, 2]])} == {np.dtype(expected)}


def test_nested_lists_are_weights_too():
    net = Network([[[0.5, 1], [2, 3]]], biases=[[1, 2]])
    assert net.dtype == np.float64
    assert np.array_equal(net.forward([[1, 1]])[1], [[2.5, 7]])


def test_what_is_passed_in_stays_as_it_is():
    weights, biases, scale, skip = ones((2, 2), (2, 2)), ones(2, 2), [1, 2], [1, 0]
    weights[1] = np.asfortranarray([[1, 2], [3, 4]])  # an order that has to be converted
    for array in (*weights, *biases):
        array.flags.writeable = False
    lists = (weights, biases, scale, skip)
    before = [list(given) for given in lists]
    net = Network(weights, "tanh", biases, scale, skip)
    x = np.ones((3, 2), np.float32)
    x.flags.writeable = False
    net.forward(x)
    assert all(
        len(a) == len(b) and all(p is q for p, q in zip(a, b, strict=True)) for a, b in zip(before, lists, strict=True)
    )
    weights.append(None)
    scale[0], skip[0] = 5, 0
    assert net.depth == 2
    assert net.scale[0] == 1.0
    assert net.skip[0] is True


def test_a_net_cannot_be_assigned_to():
    net = Network.mlp([2, 2])
    for name in ("weights", "activation", "biases", "scale", "skip"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(net, name, getattr(net, name))


def test_replace_changes_weights_and_nothing_else():
    net = Network.mlp([2, 3, 3], "gelu", bias=True, scale=[2, 3], skip=[False, True])
    before = [w.copy() for w in net.weights]
    weights, biases = [np.full_like(w, np.nan) for w in net.weights], [b + 1 for b in net.biases]
    other = net.replace(weights, biases)
    for mine, its in zip([*other.weights, *other.biases], [*weights, *biases], strict=True):
        assert np.array_equal(mine, its, equal_nan=True)
        assert not np.shares_memory(mine, its)
    assert (other.activation, other.scale, other.skip) == ("gelu", net.scale, net.skip)
    assert all(np.array_equal(a, b) for a, b in zip(net.weights, before, strict=True))
    assert net.replace(weights, None).biases is None


# Predictions


@st.composite
def layers(draw):
    """A net of two layers with everything on, and values for its second layer, which has the activation."""
    n = draw(st.integers(1, 6))
    skip = draw(st.booleans())
    m = n if skip else draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    biases = [rng.normal(size=n), rng.normal(size=m)] if draw(st.booleans()) else None
    net = Network(
        [rng.normal(size=(n, n)), rng.normal(size=(m, n))],
        draw(st.sampled_from(list(ACTIVATIONS))),
        biases,
        [0.5, draw(st.sampled_from([1.0, -0.75, 2.5, 0.0]))],
        [False, skip],
    )
    return net, rng.normal(size=(draw(st.integers(1, 4)), n)) * 2


@some
@given(layers(), st.integers(0, 1))
def test_predictions_are_the_formula_written_out(problem, l):
    net, x = problem
    f = BY_HAND[net.activation] if l else float
    expected = [
        [
            net.scale[l] * sum(f(v) * w for v, w in zip(row, weights, strict=True))
            + (net.biases[l][i] if net.biases else 0)
            + (row[i] if net.skip[l] else 0)
            for i, weights in enumerate(net.weights[l])
        ]
        for row in x
    ]
    np.testing.assert_allclose(net.predict(l, x), expected, rtol=1e-12, atol=1e-13)


@some
@given(layers())
def test_a_forward_pass_goes_from_prediction_to_prediction(problem):
    net, x = problem
    values = net.forward(x)
    assert [v.shape for v in values] == [(len(x), n) for n in net.sizes]
    assert np.array_equal(values[0], x)
    for l in range(net.depth):
        assert np.array_equal(values[l + 1], net.predict(l, values[l]))


def test_the_input_is_taken_raw_and_the_output_is_linear():
    """Values beyond 1 at both ends: no tanh touches them; the middle layer's is applied once."""
    net = Network([[[2.0]], [[100.0]]], "tanh")
    values = net.forward([[3.0]])
    assert values[1] == 6.0
    assert values[2] == pytest.approx(100 * math.tanh(6.0), rel=1e-15)


def test_an_identity_net_is_the_product_of_its_matrices():
    rng = np.random.default_rng(0)
    matrices = [rng.normal(size=shape) for shape in ((4, 3), (5, 4), (2, 5))]
    x = rng.normal(size=(6, 3))
    whole = 0.5 * matrices[2] @ matrices[1] @ matrices[0]
    net = Network(matrices, "identity", scale=[1, 0.5, 1])
    np.testing.assert_allclose(net.forward(x)[-1], x @ whole.T, rtol=1e-12)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_float32_predictions_stay_float32(name):
    net = Network.mlp([3, 4, 4], name, bias=True, scale=[1.5, 0.3], skip=[False, True])
    wide = Network.mlp([3, 4, 4], name, bias=True, scale=[1.5, 0.3], skip=[False, True], dtype=np.float64)
    values, exact = net.forward(np.ones((2, 3))), wide.forward(np.ones((2, 3)))
    assert {v.dtype for v in values} == {np.dtype(np.float32)}
    np.testing.assert_allclose(values[-1], exact[-1], rtol=1e-5, atol=1e-6)
    assert net.predict(1, np.ones((2, 4), np.float64)).dtype == np.float32


# What cannot be a net

W, V = np.ones((3, 2), np.float32), np.ones((1, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Network([]), "at least one weight matrix"),
        (lambda: Network([W], "swish"), "activation 'swish' is unknown: choose from identity, tanh, relu"),
        (lambda: Network([W], "a\nb"), "is unknown: choose from"),
        (lambda: Network([W, W]), r"weights\[1\] has 2 columns, but weights\[0\] has 3 rows"),
        (lambda: Network([W[0]]), r"weights\[0\] must be a 2-dimensional array"),
        (lambda: Network([W, V[None]]), r"weights\[1\] must be a 2-dimensional array"),
        (lambda: Network([W * 1j]), "real numbers"),
        (lambda: Network([W.astype(str)]), "real numbers"),
        (lambda: Network([np.ones((0, 2))]), r"weights\[0\] has shape \(0, 2\): every layer needs at least one unit"),
        (lambda: Network([W, np.full((1, 3), np.nan)]), r"weights\[1\] holds NaN or infinity"),
        (lambda: Network([np.full((1, 1), -np.inf)]), r"weights\[0\] holds NaN or infinity"),
        (lambda: Network([W, V], biases=ones(3)), "biases need one entry for each of the 2 layers"),
        (lambda: Network([W, V], biases=ones(3, 3)), r"biases\[1\] has shape \(3,\), expected \(1,\)"),
        (lambda: Network([W], biases=ones((3, 1))), r"biases\[0\] must be a 1-dimensional array"),
        (lambda: Network([W], biases=[[1, np.nan, 1]]), r"biases\[0\] holds NaN"),
        (lambda: Network([W, V], scale=[1.0]), "scale and skip need one entry for each of the 2 layers"),
        (lambda: Network([W, V], skip=[False] * 3), "scale and skip need one entry for each of the 2 layers"),
        (lambda: Network([W], scale=[np.nan]), "scale holds NaN or infinity"),
        (lambda: Network([W], skip=[True]), r"skip\[0\] needs as many outputs as inputs.*\(3, 2\)"),
        (lambda: Network.mlp([]), "at least an input and an output layer"),
        (lambda: Network.mlp([5]), r"sizes \[5\] need at least an input and an output layer"),
        (lambda: Network.mlp([5, 0, 2]), r"sizes \[5, 0, 2\].*at least 1"),
        (lambda: Network.mlp([5, -3]), "whole number of units"),
        (lambda: Network.mlp([5, 2.5]), "whole number of units"),
        (lambda: Network.mlp([5, True]), "whole number of units"),
        (lambda: Network.mlp("55"), "sizes must be a list of whole numbers, .* not '55'"),
        (lambda: Network.mlp([5, 2], "swish"), "activation 'swish' is unknown"),
        (lambda: Network.mlp([5, 2], dtype=np.int32), "dtype int32 is not supported: use float32 or float64"),
        (lambda: Network.mlp([5, 2], dtype="float16"), "dtype float16 is not supported: use float32 or float64"),
        (lambda: Network.mlp([5, 2], skip=[True]), r"skip\[0\] needs as many outputs as inputs"),
        (lambda: Network.mlp([5, 2], scale=[1, 2]), "one entry for each of the 1 layers"),
    ],
)
def test_one_line_says_why_this_is_no_net(call, words):
    with pytest.raises(InputError, match=words):
        call()
    refusal(call)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Network([W * np.float64(1e300), V]),
        lambda: Network([[[1, 2], [3]]]),
        lambda: Network.mlp([5, 2], seed=-1),
        lambda: Network.mlp([5, 2], seed=1.5),
        lambda: Network.mlp(np.array([2**40, 2**40])),
    ],
    ids=["too large for float32", "ragged", "seed below 0", "seed with a fraction", "sizes whose product overflows"],
)
def test_one_line_where_numpy_would_speak_first(call):
    refusal(call)


def test_sizes_may_be_numpy_integers():
    assert Network.mlp(np.array([4, 3, 2])).sizes == (4, 3, 2)


# Room


def test_a_net_larger_than_memory_is_refused_before_a_number_is_drawn(monkeypatch):
    monkeypatch.setattr(np.random, "default_rng", lambda seed: pytest.fail("began to draw the net"))
    message = refusal(lambda: Network.mlp([10**9, 10**9, 10]))
    assert message.startswith("a net of 1,000,000,010,000,000,000 weights needs ")
    assert message.endswith("make the net or the batch smaller")


def test_room_is_needed_for_the_weights_and_the_largest_matrix_in_float64(monkeypatch):
    needed = (100 * 30 + 30 * 20) * 4 + 100 * 30 * 8
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=needed, total=2**40))
    assert Network.mlp([100, 30, 20]).parameters == 3600
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=needed - 1, total=2**40))
    assert "a net of 3,600 weights" in refusal(lambda: Network.mlp([100, 30, 20]))


def test_nets_are_equal_where_their_numbers_are():
    net, same, other = Network.mlp([3, 4, 2]), Network.mlp([3, 4, 2]), Network.mlp([3, 4, 2], seed=1)
    assert net == same
    assert hash(net) == hash(same)
    assert net == Network.mlp([3, 4, 2], lazy=True)
    assert net != other
    assert net != Network.mlp([3, 4, 2], "relu")
    assert net != Network.mlp([3, 4, 2], bias=True)
    assert net != "a net"
    assert len({net, same, other}) == 2


def test_a_net_keeps_numbers_of_its_own():
    weights, biases = [np.ones((2, 3), np.float32)], [np.ones(2, np.float32)]
    net = Network(weights=weights, biases=biases)
    weights[0][:] = biases[0][:] = 7
    assert np.all(net.weights[0] == 1)
    assert np.all(net.biases[0] == 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Network.mlp([2, 2], dtype="junk"), "dtype 'junk' is unknown"),
        (lambda: Network.mlp([2, 2], dtype="float16"), "dtype float16 is not supported"),
        (lambda: Network(weights=[np.ones((2, 2), complex)]), r"weights\[0\] holds complex numbers"),
        (lambda: Network(weights=[np.ma.masked_equal(np.eye(2), 0)]), r"weights\[0\] is a masked array"),
        (lambda: Network(weights=[np.ones(2)]), r"not shape \(2,\)"),
        (lambda: pickle.dumps(Network.mlp([2, 2], lazy=True)), "save the net into a folder"),
    ],
)
def test_what_was_given_is_said(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_nets_in_memory_can_be_pickled_and_all_copied():
    net = Network.mlp([3, 4, 2], bias=True)
    assert pickle.loads(pickle.dumps(net)) == net
    assert copy.deepcopy(Network.mlp([3, 4, 2], lazy=True)) == Network.mlp([3, 4, 2])
