"""Nets that are not in memory: layers drawn when they are asked for, and parts of a net."""

import itertools
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from nets import kinds, part_of, refusal, same, some

from pcsim import InputError, Network
from pcsim.net.lazy import LazyArrays


def in_one_go(sizes, bias, seed, dtype):
    """A net's arrays, drawn one after another."""
    rng = np.random.default_rng(seed)
    for n, m in itertools.pairwise(sizes):
        for shape in [(m, n), (m,)][: 1 + bias]:
            yield rng.uniform(-1 / np.sqrt(n), 1 / np.sqrt(n), shape).astype(dtype)


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
    assert same(given, eager)
    other = eager.replace(lazy.weights, lazy.biases)
    assert other.weights is lazy.weights
    assert other.lazy
    assert same(other, eager)
    assert lazy.replace(lazy.weights, None).parameters == 15


def test_a_lazy_net_needs_room_for_its_largest_layer_alone(monkeypatch):
    needed = 100 * 30 * (4 + 8)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=needed, total=2**40))
    assert "a net of" in refusal(lambda: Network.mlp([100, 30, 30, 20]))
    assert Network.mlp([100, 30, 30, 20], lazy=True).parameters == 4500
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=needed - 1, total=2**40))
    refusal(lambda: Network.mlp([100, 30, 30, 20], lazy=True))


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
    assert words == f"owned {owned} is not a block of the 3 layers"


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
