"""Problems under test: random nets with data, and how far two trained nets are apart."""

import itertools

import numpy as np
from hypothesis import strategies as st

from pcsim import Network
from pcsim.net.activations import ACTIVATIONS

EXACT = 1e-12


@st.composite
def nets(draw, max_depth=8, max_width=37, plain=False):
    """A random float64 net: unequal widths, any activation, with and without bias, scale and skips; and its seed."""
    depth = draw(st.integers(1, max_depth))
    widths = draw(st.lists(st.integers(1, max_width), min_size=depth + 1, max_size=depth + 1))
    if draw(st.booleans()) and depth > 2:
        widths[1 : depth // 2 + 2] = [widths[1]] * (depth // 2 + 1)  # somewhere for skips to be
    seed = draw(st.integers(0, 2**16))
    net = Network.mlp(
        widths,
        draw(st.sampled_from(list(ACTIVATIONS))),
        bias=draw(st.booleans()),
        seed=seed,
        dtype=np.float64,
        scale=() if plain else list(np.random.default_rng(seed).uniform(0.5, 1.5, depth)),
        skip=() if plain else [a == b and draw(st.booleans()) for a, b in itertools.pairwise(widths)],
    )
    return net, seed


@st.composite
def problems(draw, max_depth=8, max_width=37, max_batch=17, plain=False):
    """A random float64 net with data."""
    net, seed = draw(nets(max_depth, max_width, plain))
    batch, rng = draw(st.integers(1, max_batch)), np.random.default_rng(seed + 1)
    x, y = rng.normal(size=(batch, net.sizes[0])), rng.normal(size=(batch, net.sizes[-1]))
    return net, x, y


def distance(a, b):
    """Largest difference of two nets or lists, relative to the largest number of each array (at least 1e-3)."""
    if isinstance(a, Network):
        a, b = [*a.weights, *(a.biases or [])], [*b.weights, *(b.biases or [])]
    return max(float(np.max(np.abs(p - q))) / max(1e-3, float(np.max(np.abs(q)))) for p, q in zip(a, b, strict=True))
