"""Nets under test: whether two are the same, a part of one, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim import InputError, Network

some = settings(max_examples=60, deadline=None, derandomize=True)


def refusal(call):
    """The one line with which ``call`` is refused."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    return message


def same(a, b):
    """Whether two nets are the same to the bit, and in everything else."""
    one, other = ([*net.weights, *(net.biases or [])] for net in (a, b))
    facts = [(n.sizes, n.activation, n.dtype, n.biases is None, n.scale, n.skip, n.parameters) for n in (a, b)]
    return facts[0] == facts[1] and all(
        p.dtype == q.dtype and p.shape == q.shape and p.tobytes() == q.tobytes()
        for p, q in zip(one, other, strict=True)
    )


kinds = given(
    st.lists(st.integers(1, 12), min_size=2, max_size=6),
    st.booleans(),
    st.integers(0, 2**70),
    st.sampled_from(["float32", "float64"]),
)


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
