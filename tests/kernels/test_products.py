"""Own products of skinny matrices against NumPy over odd shapes; twins that fail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pcsim.kernels.layers import products
from pcsim.kernels.layers.dense import padded
from pcsim.kernels.machine.compiling import njit
from pcsim.kernels.machine.memory import aligned_empty
from pcsim.kernels.machine.simd import pointer
from pcsim.kernels.machine.tiles import multiply_tile

ALLOWED = {"float64": 1e-13, "float32": 1e-5}


@njit(nogil=True)
def predicted(samples, rows, columns, A, W, w, panel, factor, C, beside, mode, base):
    products.times_transposed(
        samples, rows, columns, pointer(A), 0, pointer(W), w, pointer(panel), factor, pointer(C), 0, beside, mode,
        pointer(base), 0,
    )  # fmt: skip


@njit(nogil=True)
def projected(samples, rows, columns, E, wide, W, panel, factor, H, mode, base):
    products.times(
        samples, rows, columns, pointer(E), 0, wide, pointer(W), 0, pointer(panel), factor, pointer(H), 0, mode,
        pointer(base), 0,
    )  # fmt: skip


@njit(nogil=True)
def outer(rows, samples, columns, E, k, wide, A, panel, factor, C, c, mode):
    products.transposed_times(
        rows, samples, columns, pointer(E), k, wide, pointer(A), 0, pointer(panel), factor, pointer(C), c, mode
    )  # fmt: skip


class Problem:
    """A batch below and above a layer, in padded rows; padding is 0, but for what no product may touch."""

    def __init__(self, seed, samples, rows, columns, dtype):
        self.rng, self.dtype, self.samples, self.rows = np.random.default_rng(seed), np.dtype(dtype), samples, rows
        self.m, self.n = padded(rows, self.dtype), padded(columns, self.dtype)
        self.A, self.E = self.filled(samples, columns), self.filled(samples, rows)
        self.W = self.filled(rows, columns, self.m)
        self.panel = aligned_empty(products.panel_size(max(self.m, self.n), samples), self.dtype)
        self.factor = self.dtype.type(self.rng.choice([1.0, -1.0, 0.3]))

    def filled(self, height, width, whole=None):
        array = aligned_empty((whole or height) * padded(width, self.dtype), self.dtype).reshape(whole or height, -1)
        array[:] = 0
        array[:height, :width] = self.rng.normal(size=(height, width))
        return array

    def like(self, *shape):
        array = aligned_empty(int(np.prod(shape)), self.dtype).reshape(shape)
        array[:] = self.rng.normal(size=shape)
        return array

    def expected(self, product, mode, base):
        """In float64."""
        scaled = float(self.factor) * product
        return scaled if mode == products.STORE else scaled + base if mode == products.ADD else scaled * base


shapes = st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 70))
some = settings(max_examples=60, deadline=None, derandomize=True)


def near(found, expected, dtype):
    return np.abs(found - expected).max() <= ALLOWED[dtype] * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("dtype", ALLOWED)
def test_products_equal_numpy(dtype):
    @some
    @given(shapes, st.integers(0, 999), st.sampled_from([products.STORE, products.ADD, products.TIMES]))
    def check(shape, seed, mode):
        p = Problem(seed, *shape, dtype)
        A, E, W = (array.astype(float) for array in (p.A, p.E, p.W))
        C, base = p.like(p.samples, p.m), p.like(p.samples, p.m)
        predicted(
            p.samples, p.m, p.n, p.A.ravel(), p.W.ravel(), 0, p.panel, p.factor, C.ravel(), p.m, mode, base.ravel()
        )
        assert near(C, p.expected(A @ W.T, mode, base), dtype)
        H, base = p.like(p.samples, p.n), p.like(p.samples, p.n)
        projected(
            p.samples, p.rows, p.n, p.E.ravel(), p.m, p.W.ravel(), p.panel, p.factor, H.ravel(), mode, base.ravel()
        )
        assert near(H, p.expected(E @ W, mode, base), dtype)
        # The twins: a sample, a row or a column that is left out, and another factor.
        assert not near(H, p.expected(E @ W + 1, mode, base), dtype)
        less = E.copy()
        less[-1] = 0
        if p.samples > 1:
            assert not near(H, p.expected(less @ W, mode, base), dtype)
        if mode != products.TIMES:
            G = p.like(p.m, p.n)
            before = G.astype(float)
            outer(p.rows, p.samples, p.n, p.E.ravel(), 0, p.m, p.A.ravel(), p.panel, p.factor, G.ravel(), 0, mode)
            expected = p.expected(E.T @ A, mode, before)
            assert near(G[: p.rows], expected[: p.rows], dtype)
            assert np.array_equal(G[p.rows :], before[p.rows :])  # rows that are not there are left alone
            assert p.samples == 1 or not near(G[: p.rows], p.expected(less.T @ A, mode, before)[: p.rows], dtype)

    check()


@some
@given(st.tuples(st.integers(2, 40), st.integers(17, 70), st.integers(1, 70)), st.integers(0, 999))
def test_bits_depend_neither_on_the_rows_nor_on_the_samples_at_once(shape, seed):
    p = Problem(seed, *shape, "float64")
    lanes = 8
    cut, some_samples = lanes * (p.m // lanes // 2), p.samples // 2
    whole, parts = p.like(p.samples, p.m), p.like(p.samples, p.m)
    one, S = p.dtype.type(1), products.STORE
    predicted(p.samples, p.m, p.n, p.A.ravel(), p.W.ravel(), 0, p.panel, one, whole.ravel(), p.m, S, whole.ravel())
    for first, last in ((0, some_samples), (some_samples, p.samples)):
        for low, high in ((0, cut), (cut, p.m)):
            here = aligned_empty((last - first) * p.m, p.dtype)
            predicted(
                last - first, high - low, p.n, p.A[first:last].ravel(), p.W.ravel(), low * p.n, p.panel, one, here, p.m,
                S, here,
            )  # fmt: skip
            parts[first:last, low:high] = here.reshape(-1, p.m)[:, : high - low]
    assert np.array_equal(whole, parts)
    G, halves = p.like(p.m, p.n), p.like(p.m, p.n)
    outer(p.rows, p.samples, p.n, p.E.ravel(), 0, p.m, p.A.ravel(), p.panel, one, G.ravel(), 0, S)
    for low, high in ((0, cut), (cut, p.rows)):
        outer(
            high - low, p.samples, p.n, p.E.ravel(), low, p.m, p.A.ravel(), p.panel, one, halves.ravel(), low * p.n, S
        )
    assert np.array_equal(G[: p.rows], halves[: p.rows])


def test_activations_beyond_the_cache_go_in_parts():
    """A batch and a layer so large that the gradient takes the columns in several parts."""
    p = Problem(0, 700, 9, 150, "float64")
    one = p.dtype.type(1)
    assert p.samples * p.n * 8 > products.KEPT_BYTES
    G = p.like(p.m, p.n)
    outer(p.rows, p.samples, p.n, p.E.ravel(), 0, p.m, p.A.ravel(), p.panel, one, G.ravel(), 0, products.STORE)
    assert near(G[: p.rows], (p.E.T @ p.A)[: p.rows], "float64")


@njit(nogil=True)
def wide_tile(count, a, b, factor, c, mode, base):
    multiply_tile(
        3, 2, count, pointer(a), 0, count, 1, pointer(b), 0, 16, factor, pointer(c), 0, 32, mode, pointer(base), 0, 16
    )  # fmt: skip


@pytest.mark.parametrize("mode", [products.STORE, products.ADD, products.TIMES])
def test_tiles_of_two_vectors(mode):
    """What processors with 64-byte registers take; it runs on all."""
    p = Problem(0, 3, 16, 11, "float64")
    a, b, c, base = p.like(3, 7), p.like(7, 16), p.like(3, 32), p.like(3, 16)
    before = c.copy()
    wide_tile(7, a.ravel(), b.ravel(), p.factor, c.ravel(), mode, base.ravel())
    assert near(c[:, :16], p.expected(a @ b, mode, base), "float64")
    assert np.array_equal(c[:, 16:], before[:, 16:])
    assert not near(c[:, :16], p.expected(a[:, :6] @ b[:6], mode, base), "float64")
