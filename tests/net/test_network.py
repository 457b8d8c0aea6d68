"""Nets against formulas by hand, slopes against differences, and one clear line for every net that cannot be."""

import dataclasses
import doctest
import itertools
import json
import math
import os
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim import InputError, Network
from pcsim.host import memory
from pcsim.host.memory import require
from pcsim.net import network
from pcsim.net.activations import ACTIVATIONS
from pcsim.net.lazy import LazyArrays

some = settings(max_examples=60, deadline=None, derandomize=True)

# What the activations are, in the words of the standard library.
BY_HAND = {
    "identity": lambda v: v,
    "tanh": math.tanh,
    "relu": lambda v: max(v, 0.0),
    "leaky_relu": lambda v: v if v > 0 else 0.01 * v,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "gelu": lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))),
}


def refusal(call):
    """The one line with which ``call`` is refused."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    return message


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
    assert all(a is b for a, b in zip(other.weights, weights, strict=True))
    assert all(a is b for a, b in zip(other.biases, biases, strict=True))
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


# Activations


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_are_what_their_names_say(name):
    x = np.concatenate([np.linspace(-8, 8, 401), [-30.0, 30.0, 1e-9]])
    np.testing.assert_allclose(ACTIVATIONS[name][0](x), [BY_HAND[name](v) for v in x], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_slopes_by_central_differences(name):
    step = 1e-5
    x = np.linspace(-6.05, 6.05, 122)  # no point nearer to a kink at 0 than the step
    assert np.abs(x).min() > step
    f, slope = ACTIVATIONS[name]
    np.testing.assert_allclose(slope(x), (f(x + step) - f(x - step)) / (2 * step), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_bear_large_values_without_a_warning(name):
    f, slope = ACTIVATIONS[name]
    x = np.array([-1e4, 1e4], np.float32)
    assert np.isfinite(f(x)).all()
    assert np.isfinite(slope(x)).all()


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
        (lambda: Network.mlp("55"), "whole number of units"),
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


# Nets that are not in memory


def same(a, b):
    """Whether two nets are the same to the bit, and in everything else."""
    one, other = ([*net.weights, *(net.biases or [])] for net in (a, b))
    facts = [(n.sizes, n.activation, n.dtype, n.biases is None, n.scale, n.skip, n.parameters) for n in (a, b)]
    return facts[0] == facts[1] and all(
        p.dtype == q.dtype and p.shape == q.shape and p.tobytes() == q.tobytes()
        for p, q in zip(one, other, strict=True)
    )


def in_one_go(sizes, bias, seed, dtype):
    """A net's arrays, drawn one after another."""
    rng = np.random.default_rng(seed)
    for n, m in itertools.pairwise(sizes):
        for shape in [(m, n), (m,)][: 1 + bias]:
            yield rng.uniform(-1 / np.sqrt(n), 1 / np.sqrt(n), shape).astype(dtype)


kinds = given(
    st.lists(st.integers(1, 12), min_size=2, max_size=6),
    st.booleans(),
    st.integers(0, 2**70),
    st.sampled_from(["float32", "float64"]),
)


@some
@kinds
def test_a_lazy_net_is_the_eager_one_to_the_bit(sizes, bias, seed, dtype):
    eager = Network.mlp(sizes, bias=bias, seed=seed, dtype=dtype)
    lazy = Network.mlp(sizes, bias=bias, seed=seed, dtype=dtype, lazy=True)
    assert (lazy.lazy, eager.lazy) == (True, False)
    assert lazy.owned == eager.owned == range(lazy.depth)
    assert same(lazy, eager)
    drawn = list(in_one_go(sizes, bias, seed, dtype))
    arrays = [a for pair in zip(lazy.weights, lazy.biases, strict=True) for a in pair] if bias else list(lazy.weights)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, drawn, strict=True))
    for l in reversed(range(lazy.depth)):  # in any order, and again
        assert np.array_equal(lazy.weights[l], eager.weights[l])
        assert np.array_equal(lazy.weights[l - lazy.depth], eager.weights[l])
    x = np.random.default_rng(0).normal(size=(3, sizes[0]))
    assert all(np.array_equal(a, b) for a, b in zip(lazy.forward(x), eager.forward(x), strict=True))


def test_the_lazy_net_would_differ_if_one_number_were_skipped(monkeypatch):
    class Ahead(np.random.PCG64):
        def advance(self, steps):
            return super().advance(steps + 1)

    eager = Network.mlp([3, 4, 2], bias=True)
    lazy = Network.mlp([3, 4, 2], bias=True, lazy=True)
    assert same(lazy, eager)
    monkeypatch.setattr(np.random, "PCG64", Ahead)
    assert not same(lazy, eager)


def test_nothing_of_a_lazy_net_is_drawn_before_it_is_asked_for(monkeypatch):
    begun = []
    draw = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: begun.append(seed) or draw(seed))
    net = Network.mlp([5, 7, 7, 3], "gelu", bias=True, scale=[1, 2, 3], skip=[0, 1, 0], lazy=True)
    assert (net.depth, net.sizes, net.dtype, net.parameters) == (3, (5, 7, 7, 3), np.float32, 105 + 17)
    assert (list(net.scale), list(net.skip), net.owned) == ([1, 2, 3], [False, True, False], range(3))
    assert len(net.weights) == len(net.biases) == 3
    assert not begun
    first = net.weights[1]
    assert len(begun) == 1
    assert net.weights[1] is not first  # nothing is kept
    net.predict(1, np.ones((2, 7)))
    assert len(begun) == 4


def test_layers_are_a_sequence():
    made = []
    net = Network.of_layers([2, 3, 4], "f8", lambda l: made.append(l) or np.full((3 + l, 2 + l), float(l)))
    assert isinstance(net.weights, LazyArrays)
    assert [w[0, 0] for w in reversed(net.weights)] == [1, 0]
    assert [w[0, 0] for w in net.weights[1:]] == [1]
    assert made == [1, 0, 1]
    for l in (2, -3):
        with pytest.raises(IndexError):
            net.weights[l]


def test_replacing_the_layers_of_a_lazy_net():
    eager, lazy = Network.mlp([2, 3, 3], bias=True), Network.mlp([2, 3, 3], bias=True, lazy=True)
    given = lazy.replace(eager.weights, eager.biases)
    assert not given.lazy
    assert all(a is b for a, b in zip(given.weights, eager.weights, strict=True))
    assert same(given, eager)
    other = eager.replace(lazy.weights, lazy.biases)
    assert other.weights is lazy.weights
    assert other.lazy
    assert same(other, eager)
    assert lazy.replace(lazy.weights, None).parameters == 15


def test_a_lazy_net_needs_room_for_its_largest_layer_alone(monkeypatch):
    needed = 100 * 30 * (4 + 8)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=needed))
    assert "a net of" in refusal(lambda: Network.mlp([100, 30, 30, 20]))
    assert Network.mlp([100, 30, 30, 20], lazy=True).parameters == 4500
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=needed - 1))
    refusal(lambda: Network.mlp([100, 30, 30, 20], lazy=True))


def part_of(net, owned, holding=None):
    """The net as a process holds it that has these layers alone."""
    holding = owned if holding is None else holding

    def held(arrays):
        return lambda l: arrays[l] if l in holding else pytest.fail(f"asked for layer {l}")

    biases = None if net.biases is None else held(net.biases)
    return Network.of_layers(
        net.sizes,
        net.dtype,
        held(net.weights),
        biases,
        net.activation,
        scale=net.scale,
        skip=net.skip,
        owned=owned,
    )


def test_a_part_of_a_net_knows_the_whole_but_gives_its_own_layers_only():
    whole = Network.mlp([4, 5, 5, 3], bias=True, skip=[0, 1, 0])
    part = part_of(whole, range(1, 3))
    assert (part.sizes, part.dtype, part.parameters) == (whole.sizes, whole.dtype, whole.parameters)
    assert (part.depth, part.owned, part.lazy) == (3, range(1, 3), True)
    assert part.weights[1] is whole.weights[1]
    assert part.biases[-1] is whole.biases[2]
    x = np.ones((2, 5))
    assert np.array_equal(part.predict(1, x), whole.predict(1, x))
    line = "layer 0 is not held by this process: it holds layers 1 to 2"
    for call in (
        lambda: part.weights[0],
        lambda: part.biases[-3],
        lambda: list(part.weights),
        lambda: part.weights[:],
        lambda: part.forward(np.ones((1, 4))),
    ):
        assert refusal(call) == line
    nothing = part_of(whole, range(3, 3))
    assert refusal(lambda: nothing.weights[1]) == "layer 1 is not held by this process: it holds none"


@pytest.mark.parametrize("owned", [range(-1, 2), range(4), range(0, 3, 2), range(2, -1, -1)])
def test_what_is_held_must_be_a_block_of_the_layers(owned):
    words = refusal(lambda: part_of(Network.mlp([2, 2, 2, 2]), owned))
    assert words == f"owned {owned} is no block of the 3 layers"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda make: Network.of_layers([3], "f4", make), "at least one weight matrix"),
        (lambda make: Network.of_layers([3, 0], "f4", make), r"every layer needs at least one unit"),
        (lambda make: Network.of_layers([3, 2], "f2", make), "dtype float16 is not supported: use float32 or float64"),
        (lambda make: Network.of_layers([3, 2], "f4", make, None, "swish"), "activation 'swish' is unknown"),
        (lambda make: Network.of_layers([3, 2], "f4", make, scale=[1, 2]), "one entry for each of the 1 layers"),
        (lambda make: Network.of_layers([3, 2], "f4", make, skip=[True]), r"skip\[0\] needs as many outputs"),
        (
            lambda make: Network(LazyArrays([(3, 2), (2, 2)], "f4", make)),
            r"weights\[1\] has 2 columns, but weights\[0\]",
        ),
        (
            lambda make: Network(LazyArrays([(3, 2)], "f4", make), biases=LazyArrays([(3,)], "f8", make)),
            "differ in dtype",
        ),
        (
            lambda make: Network(LazyArrays([(3, 2)], "f4", make), biases=LazyArrays([(3,)], "f4", make, range(0))),
            "differ .* in the layers that are held",
        ),
        (
            lambda make: Network(LazyArrays([(3, 2)], "f4", make), biases=LazyArrays([(2,)], "f4", make)),
            r"biases\[0\] has shape \(2,\), expected \(3,\)",
        ),
        (lambda make: Network.mlp([5, 2], "swish", lazy=True), "activation 'swish' is unknown"),
        (lambda make: Network.mlp([5, 2], dtype="float16", lazy=True), "dtype float16 is not supported"),
        (lambda make: Network.mlp([5, 0], lazy=True), "at least 1"),
        (lambda make: Network.mlp([5, 2], skip=[True], lazy=True), r"skip\[0\] needs as many outputs"),
        (lambda make: Network.mlp([5, 2], scale=[np.inf], lazy=True), "scale holds NaN or infinity"),
        (lambda make: Network.mlp([5, 2], seed=-1, lazy=True), "seed must be a whole number"),
    ],
)
def test_one_line_says_why_these_layers_are_no_net(call, words):
    def make(l):
        pytest.fail("a layer was made")

    with pytest.raises(InputError, match=words):
        call(make)
    refusal(lambda: call(make))


# Nets on disk


@some
@kinds
def test_a_saved_net_is_loaded_to_the_bit(sizes, bias, seed, dtype):
    skip = [n == m for n, m in itertools.pairwise(sizes)]
    scale = np.random.default_rng(seed).normal(size=len(skip))
    activation = list(ACTIVATIONS)[seed % len(ACTIVATIONS)]
    net = Network.mlp(sizes, activation, bias=bias, seed=seed, dtype=dtype, scale=scale, skip=skip)
    with tempfile.TemporaryDirectory() as folder:
        net.save(folder)
        names = [f"{kind}-{l:05}.npy" for kind in ["weights", "biases"][: 1 + bias] for l in range(net.depth)]
        assert sorted(os.listdir(folder)) == sorted([*names, "network.json"])
        loaded = Network.load(folder)
        assert loaded.lazy
        assert loaded.owned == range(net.depth)
        assert same(loaded, net)
        assert all(a.flags.c_contiguous and a.flags.writeable for a in (*loaded.weights, *(loaded.biases or [])))
        loaded.save(Path(folder) / "a" / "copy")  # the lazy net again, into folders that are made
        assert same(Network.load(os.fspath(Path(folder) / "a" / "copy")), net)
        file = Path(folder) / "weights-00000.npy"
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        assert not same(loaded, net)  # one bit on the disk would be noticed


def test_what_is_written_for_a_net(tmp_path):
    Network.mlp([3, 2, 2], "relu", bias=True, scale=[0.5, 3], skip=[0, 1]).save(tmp_path)
    assert json.loads((tmp_path / "network.json").read_text()) == {
        "schema": "pcsim-network/1",
        "sizes": [3, 2, 2],
        "activation": "relu",
        "dtype": "float32",
        "bias": True,
        "scale": [0.5, 3.0],
        "skip": [False, True],
    }


def test_a_diverged_net_is_saved_and_loaded(tmp_path):
    net = Network.mlp([3, 2, 2])
    net = net.replace([np.full((2, 3), np.nan, np.float32), np.full((2, 2), -np.inf, np.float32)], None)
    net.save(tmp_path)
    assert same(Network.load(tmp_path), net)


def test_arrays_in_another_order_or_of_another_dtype_are_saved_as_the_net_has_them(tmp_path):
    wide = Network.mlp([4, 3, 5], dtype="f8")
    net = wide.replace([np.asfortranarray(wide.weights[0]), wide.weights[1].astype(np.float32)[::-1]], None)
    net.save(tmp_path / "saved")
    loaded = Network.load(tmp_path / "saved")
    assert all(np.array_equal(a, b) for a, b in zip(loaded.weights, net.weights, strict=True))
    np.save(tmp_path / "saved" / "weights-00000.npy", np.asfortranarray(wide.weights[0]))  # by somebody else
    assert loaded.weights[0].flags.c_contiguous
    assert np.array_equal(loaded.weights[0], wide.weights[0])


def test_a_loaded_net_reads_a_layer_when_it_is_asked_for(tmp_path, monkeypatch):
    net = Network.mlp([3, 4, 2])
    net.save(tmp_path / "net")
    read = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda file, **rest: read.append((file.name, rest)) or load(file, **rest))
    monkeypatch.chdir(tmp_path)
    loaded = Network.load("net")
    assert (loaded.sizes, loaded.dtype, loaded.parameters) == (net.sizes, net.dtype, net.parameters)
    assert not read
    monkeypatch.chdir("/")
    assert np.array_equal(loaded.weights[1], net.weights[1])
    assert read == [("weights-00001.npy", {"allow_pickle": False})]


@pytest.mark.parametrize("bias", [False, True])
def test_parts_saved_to_one_folder_load_as_the_whole(tmp_path, bias):
    whole = Network.mlp([4, 5, 5, 5, 3], "gelu", bias=bias, scale=[1, 2, 3, 4], skip=[0, 1, 1, 0])
    barrier = threading.Barrier(3, timeout=60)
    parts = [part_of(whole, owned) for owned in (range(2), range(2, 4), range(4, 4))]
    sheets = []

    def wait():
        sheets.append((tmp_path / "net" / "network.json").exists())
        barrier.wait()

    threads = [threading.Thread(target=part.save, args=(tmp_path / "net", wait)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sheets == [False] * 3  # network.json comes last
    assert same(Network.load(tmp_path / "net"), whole)
    assert not list((tmp_path / "net").glob("*.part"))


def test_without_a_barrier_the_holder_of_layer_0_saves_last(tmp_path):
    whole = Network.mlp([4, 5, 5, 3])
    first, last = part_of(whole, range(2)), part_of(whole, range(2, 3))
    last.save(tmp_path / "right")
    assert "network.json is missing" in refusal(lambda: Network.load(tmp_path / "right"))
    first.save(tmp_path / "right")
    assert same(Network.load(tmp_path / "right"), whole)
    first.save(tmp_path / "wrong")
    assert "weights-00002.npy is missing" in refusal(lambda: Network.load(tmp_path / "wrong"))
    assert "network.json is there already" in refusal(lambda: last.save(tmp_path / "wrong"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_saved_net_is_not_written_over(tmp_path):
    Network.mlp([3, 2, 2]).save(tmp_path)
    before = contents(tmp_path)
    message = refusal(lambda: Network.mlp([3, 2, 2], seed=1).save(tmp_path))
    assert message.startswith(f"{tmp_path}/network.json is there already: ")
    assert contents(tmp_path) == before


def test_an_interrupted_save_leaves_no_net_and_can_be_done_again(tmp_path):
    net = Network.mlp([3, 2, 2, 2])

    def interrupted(l):
        if l == 2:
            raise KeyboardInterrupt
        return net.weights[l]

    with pytest.raises(KeyboardInterrupt):
        Network.of_layers(net.sizes, net.dtype, interrupted).save(tmp_path)
    assert sorted(contents(tmp_path)) == ["weights-00000.npy", "weights-00001.npy"]
    assert "network.json is missing" in refusal(lambda: Network.load(tmp_path))
    net.save(tmp_path)
    assert same(Network.load(tmp_path), net)


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(file, array, **rest):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    message = refusal(lambda: Network.mlp([3, 2]).save(tmp_path))
    assert message == f"{tmp_path}/weights-00000.npy cannot be written: No space left on device"
    assert not contents(tmp_path)


def test_one_line_where_no_folder_can_be(tmp_path):
    net = Network.mlp([3, 2])
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "under", "/dev/null/net", "/proc/net-of-mine", "nul\0"):
        with pytest.raises(InputError, match="cannot be written: ") as caught:
            net.save(folder)
        assert len(str(caught.value).splitlines()) == 1
    assert (tmp_path / "file").read_text() == "x"
    (tmp_path / "net" / "weights-00000.npy").mkdir(parents=True)
    assert "weights-00000.npy cannot be written: " in refusal(lambda: net.save(tmp_path / "net"))
    assert os.listdir(tmp_path / "net") == ["weights-00000.npy"]


def test_a_layer_alone_is_in_memory_while_a_net_is_saved(tmp_path):
    alive = set()

    class Counted(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    def make(l):
        assert not alive, "the layer before is still there"
        array = np.zeros((50, 50), np.float32).view(Counted)
        alive.add(id(array))
        return array

    net = Network.of_layers([50] * 6, np.float32, make)
    net.save(tmp_path)
    with pytest.raises(AssertionError, match="still there"):
        list(net.weights)


SHEET = {
    "schema": "pcsim-network/1",
    "sizes": [3, 2, 2],
    "activation": "relu",
    "dtype": "float32",
    "bias": True,
    "scale": [1.0, 2.0],
    "skip": [False, True],
}


@pytest.fixture
def saved(tmp_path):
    Network.mlp([3, 2, 2], "relu", bias=True, scale=[1, 2], skip=[False, True]).save(tmp_path)
    assert json.loads((tmp_path / "network.json").read_text()) == SHEET
    return tmp_path


@pytest.mark.parametrize(
    ("field", "values"),
    {
        "schema": ["pcsim-network/2", None, 1, ["pcsim-network/1"]],
        "sizes": [[3], [], [3, 0, 2], [3, 2.0, 2], [3, True, 2], [3, "2", 2], "322", None, 5, {"3": 2, "2": 2}],
        "activation": ["swish", None, [], ["relu", "relu"], ["swish"], [None], {}],
        "dtype": ["float16", "f4", None, ["float32"], 4],
        "bias": [None, 1, "true"],
        "scale": [[], [1.0], [1, 2, 3], [1, math.nan], [1, math.inf], [1, 10**400], [1, True], [1, "2"], 2, None],
        "skip": [[], [False], [False, 1], [False, None], "no", None],
    }.items(),
)
def test_one_line_names_the_field_that_is_wrong(saved, field, values):
    for value in values:
        (saved / "network.json").write_text(json.dumps({**SHEET, field: value}))
        message = refusal(lambda: Network.load(saved))
        assert message.startswith(f"{saved}/network.json: {field} ")
    (saved / "network.json").write_text(json.dumps({k: v for k, v in SHEET.items() if k != field}))
    message = refusal(lambda: Network.load(saved))
    assert f"{field} is missing" in message


def test_one_line_names_a_field_that_is_not_known(saved):
    for name in ("seed", "a\nb", ""):
        (saved / "network.json").write_text(json.dumps({**SHEET, name: 1}))
        assert refusal(lambda: Network.load(saved)) == f"{saved}/network.json: field {name!r} is unknown"


def test_a_skip_that_does_not_fit_names_the_file(saved):
    (saved / "network.json").write_text(json.dumps({**SHEET, "skip": [True, True]}))
    assert refusal(lambda: Network.load(saved)).startswith(f"{saved}/network.json: skip[0] needs as many outputs")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b"[]", b"3", b"null", b"{}"])
def test_one_line_where_network_json_is_none(saved, data):
    (saved / "network.json").write_bytes(data)
    assert refusal(lambda: Network.load(saved)).startswith(f"{saved}/network.json")


def test_one_line_where_nothing_was_saved(tmp_path):
    (tmp_path / "folder" / "network.json").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    for folder, words in (
        (tmp_path, "is missing"),
        (tmp_path / "no", "is missing"),
        (tmp_path / "file", "cannot be read"),
        (tmp_path / "folder", "cannot be read"),
    ):
        message = refusal(lambda folder=folder: Network.load(folder))
        assert message.startswith(f"{folder}/network.json {words}: ")
    with pytest.raises(InputError, match=r"network\.json cannot be read: "):
        Network.load("nul\0")


def header_of(shape, dtype="'<f4'", order="False"):
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("name", ["weights-00001.npy", "biases-00000.npy"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.unlink(), "is missing"),
        (lambda file: np.save(file, np.ones((3, 3), np.float32)), "holds (3, 3) of float32"),
        (lambda file: np.save(file, np.ones(4, np.float32)), "holds (4,) of float32"),
        (lambda file: np.save(file, np.load(file).astype(np.float64)), "of float64"),
        (lambda file: np.save(file, np.load(file).astype(">f4")), "of >f4;"),
        (lambda file: np.save(file, np.load(file).astype("i4")), "of int32"),
        (lambda file: np.save(file, np.array([None] * 2)), "cannot be read: "),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "cannot be read: "),
        (lambda file: file.write_bytes(file.read_bytes()[:50]), "cannot be read: "),
        (lambda file: file.write_bytes(b""), "cannot be read: "),
        (lambda file: file.write_bytes(b"PK\x03\x04" + b"\0" * 100), "cannot be read: "),
        (lambda file: file.write_bytes(b"\x80\x04K\x01."), "cannot be read: "),  # a pickle of 1
        (lambda file: file.write_bytes(header_of("(2**3, 2)")), "cannot be read: "),
        (lambda file: file.write_bytes(header_of("(" * 90)), "cannot be read: "),
        (lambda file: file.write_bytes(header_of(f"({10**30}, 2)")), "cannot be read: "),
        (lambda file: (file.unlink(), file.mkdir()), "cannot be read: Is a directory"),
    ],
)
def test_one_line_names_the_file_that_does_not_fit(saved, name, spoil, words):
    loaded = Network.load(saved)
    spoil(saved / name)
    kind, l = name.removesuffix(".npy").split("-")
    # At loading, and when a layer is asked for whose file was exchanged since.
    for call in (lambda: Network.load(saved), lambda: getattr(loaded, kind)[int(l)]):
        message = refusal(call)
        assert message.startswith(f"{saved / name} ")
        assert words in message


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=4))
@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
def test_a_spoilt_header_is_refused_or_harmless(changes):
    with tempfile.TemporaryDirectory() as folder:
        Network.mlp([3, 2]).save(folder)
        file = Path(folder) / "weights-00000.npy"
        data = bytearray(file.read_bytes())
        for place, byte in changes:
            data[place] = byte
        file.write_bytes(data)
        message = ""
        try:
            array = Network.load(folder).weights[0]
            harmless = array.shape == (2, 3) and array.dtype == np.float32
        except InputError as error:
            message, harmless = str(error), True
    assert harmless
    assert len(message.splitlines()) <= 1


# Room


def test_a_net_larger_than_memory_is_refused_before_a_number_is_drawn(monkeypatch):
    monkeypatch.setattr(np.random, "default_rng", lambda seed: pytest.fail("began to draw the net"))
    message = refusal(lambda: Network.mlp([10**9, 10**9, 10]))
    assert message.startswith("a net of 1,000,000,010,000,000,000 weights needs ")
    assert message.endswith("make the net or the batch smaller")


def test_room_is_needed_for_the_weights_and_the_largest_matrix_in_float64(monkeypatch):
    needed = (100 * 30 + 30 * 20) * 4 + 100 * 30 * 8
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=needed))
    assert Network.mlp([100, 30, 20]).parameters == 3600
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=needed - 1))
    assert "a net of 3,600 weights" in refusal(lambda: Network.mlp([100, 30, 20]))


def test_require_says_what_is_needed_and_what_is_there(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3 * 2**29))
    require(3 * 2**29, "all of it")
    assert refusal(lambda: require(2**32, "a thing")) == (
        "a thing needs 4.0 GiB, but only 1.5 GiB are available: make the net or the batch smaller"
    )


def test_docstring_examples():
    results = doctest.testmod(network)
    assert results.failed == 0
    assert results.attempted > 0
    assert doctest.testmod(memory).failed == 0
