"""Kernels against NumPy: activations, one pass over the weights, matrix products, flags and clock."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from pcsim.kernels.layers import activations, dense
from pcsim.kernels.machine import blas, ceilings, clock, memory, sync
from pcsim.kernels.machine.simd import pointer

from pcsim.net.activations import ACTIVATIONS

TYPES = (np.float32, np.float64)
PRECISION = {np.float32: 3e-7, np.float64: 1e-15}
some = settings(max_examples=40, deadline=None, derandomize=True)


def filled(values, dtype):
    array = memory.aligned_empty(max(1, len(values)), dtype)
    array[: len(values)] = values
    return array


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_and_slopes(name, dtype):
    x = np.concatenate([np.linspace(-30, 30, 6001), np.logspace(-12, 1, 200), -np.logspace(-12, 1, 200), [0.0]]).astype(
        dtype
    )
    a, d = np.full_like(x, 9), np.full_like(x, 9)
    activations.activate(activations.CODES[name], x, 3, len(x) - 7, dtype(1.5), a, d)
    f, slope = ACTIVATIONS[name]
    inside = slice(3, len(x) - 4)
    with np.errstate(all="ignore"):
        for mine, exact in ((a, f(x.astype(np.float64))), (d, slope(x.astype(np.float64)))):
            np.testing.assert_allclose(mine[inside], 1.5 * exact[inside], rtol=0, atol=4 * PRECISION[dtype] * 30)
            small = np.abs(x[inside]) < 0.3  # relative to a value that is 0 nowhere but at 0
            np.testing.assert_allclose(
                mine[inside][small], 1.5 * exact[inside][small], rtol=8 * PRECISION[dtype], atol=1e-30
            )
    assert np.all(a[:3] == 9)
    assert np.all(d[-4:] == 9)  # nothing written outside


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_at_the_ends_of_the_number_line(name, dtype):
    big = dtype(1e30)
    x = np.array([np.nan, np.inf, big, -big, 0.0], dtype)
    a, d = np.empty_like(x), np.empty_like(x)
    activations.activate(activations.CODES[name], x, 0, len(x), dtype(1), a, d)
    assert np.isnan(a[0])  # divergence must not be hidden
    limit = {"tanh": 1, "sigmoid": 1}.get(name, np.inf)
    assert a[1] == limit
    assert np.isfinite(a[2:]).all()


@njit(nogil=True)
def run_pass(work, W, rows, columns, a, x, e, g, precision, rate):
    dense.layer_pass(
        work, pointer(W), 0, rows, columns, pointer(a), 0, pointer(x), 0, pointer(e), 0, pointer(g), 0, precision, rate
    )


@some
@given(
    st.integers(1, 150),
    st.one_of(st.integers(1, 150), st.sampled_from([193, 400, 512, 530, 1000])),  # short, middle and long rows
    st.sampled_from(TYPES),
    st.lists(
        st.sampled_from([dense.PREDICT, dense.BACKPROJECT, dense.UPDATE, dense.FORWARD, dense.OFFSET]), unique=True
    ),
    st.integers(0, 1000),
)
def test_one_pass_does_what_it_is_told(m, n, dtype, parts, seed):
    work = sum(parts)
    rng = np.random.default_rng(seed)
    rows, columns = dense.padded(m, dtype), dense.padded(n, dtype)
    whole = np.zeros((rows, columns), dtype)
    whole[:m, :n] = rng.normal(size=(m, n))
    W = filled(whole.ravel(), dtype)
    a, x, e, g = (
        filled(np.pad(rng.normal(size=size), (0, wide - size)), dtype)
        for size, wide in ((n, columns), (m, rows), (m, rows), (n, columns))
    )
    exact = whole[:m, :n].astype(np.float64)
    before = [array.copy() for array in (e, g)]
    run_pass(work, W, rows, columns, a, x, e, g, dtype(1.5), dtype(0.01))
    error = before[0][:m].astype(np.float64)
    if work & dense.PREDICT:
        mu = exact @ a[:n].astype(np.float64) + (error if work & dense.OFFSET else 0)
        error = mu if work & dense.FORWARD else x[:m] - mu
    # Rounding goes with the size of what is summed: some 1e3 at most in these sums.
    tolerance = {"rtol": 3e-6, "atol": 3e-4} if dtype is np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(e[:m], error, **tolerance)
    drive = 1.5 * error @ exact if work & dense.BACKPROJECT else before[1][:n]
    np.testing.assert_allclose(g[:n], drive, **tolerance)
    after = exact + 0.01 * np.outer(error, a[:n]) if work & dense.UPDATE else exact
    now = W.reshape(rows, columns)
    np.testing.assert_allclose(now[:m, :n], after, **tolerance)
    assert not now[m:].any()  # padding stays zero: no loop may need a remainder
    assert not now[:, n:].any()


@njit
def products(gemm, rows, columns, inner, alpha, beta, a, b, c, d, e, f):
    blas.add_a_b(
        gemm, rows, columns, inner, alpha, pointer(a), 0, inner, pointer(b), 0, columns, beta, pointer(c), 0, columns
    )
    blas.add_a_bt(
        gemm, rows, columns, inner, alpha, pointer(a), 0, inner, pointer(d), 0, inner, beta, pointer(e), 0, columns
    )
    blas.add_at_b(
        gemm, inner, columns, rows, alpha, pointer(a), 0, inner, pointer(e), 0, columns, beta, pointer(f), 0, columns
    )


@some
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30), st.sampled_from(TYPES), st.integers(0, 99))
def test_matrix_products_in_every_form(m, n, k, dtype, seed):
    rng = np.random.default_rng(seed)
    a, b, c, d, e, f = (rng.normal(size=s).astype(dtype) for s in ((m, k), (k, n), (m, n), (n, k), (m, n), (k, n)))
    ab, abt = 2 * a @ b + 3 * c, 2 * a @ d.T + 3 * e
    products(
        blas.address("gemm", dtype),
        m,
        n,
        k,
        dtype(2),
        dtype(3),
        *(array.ravel() for array in (a, b, c, d)),
        e.ravel(),
        f.ravel(),
    )
    tolerance = {"rtol": 1e-4, "atol": 1e-3} if dtype is np.float32 else {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_allclose(c, ab, **tolerance)
    np.testing.assert_allclose(e, abt, **tolerance)
    assert not np.allclose(f, 0)


def test_transposed_product():
    rng = np.random.default_rng(0)
    a, e, f = rng.normal(size=(5, 4)), rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    expected = 2 * a.T @ e + f
    transposed(blas.address("gemm", np.float64), a.ravel(), e.ravel(), f.ravel())
    np.testing.assert_allclose(f, expected, rtol=1e-12)


@njit
def transposed(gemm, a, e, f):
    blas.add_at_b(gemm, 4, 3, 5, 2.0, pointer(a), 0, 4, pointer(e), 0, 3, 1.0, pointer(f), 0, 3)


@njit(nogil=True)
def read_clock():
    return clock.nanoseconds()


@njit(nogil=True)
def wait_for(flags, worker, value, stop):
    return sync.wait(pointer(flags), worker, value, pointer(stop))


@njit(nogil=True)
def tell(flags, worker, value):
    sync.publish(pointer(flags), worker, value)


def test_the_clock_is_the_monotonic_one():
    read_clock()
    before = time.monotonic_ns()
    now = read_clock()
    assert before <= now <= time.monotonic_ns()
    reads = [read_clock() for _ in range(1000)]
    assert reads == sorted(reads)


def test_a_waiting_worker_sees_the_flag_and_gives_up_on_stop():
    flags, stop = sync.make_flags(3), sync.make_flags(1)
    assert flags.ctypes.data % 128 == 0
    tell(flags, 2, 5)
    assert wait_for(flags, 2, 5, stop)
    answers = []
    for raise_it in (lambda: tell(flags, 1, 1), lambda: stop.__setitem__(0, 1)):
        thread = threading.Thread(target=lambda: answers.append(wait_for(flags, 1, 1 + len(answers), stop)))
        thread.start()
        time.sleep(0.05)
        assert thread.is_alive()
        raise_it()
        thread.join(10)
    assert answers == [True, False]


def test_memory_sweeps_leave_values_as_they_are():
    array, scratch = memory.aligned_empty(1024, np.float32), memory.aligned_empty(64, np.float32)
    array[:] = np.arange(1024)
    for writes in (False, True):
        times = np.zeros((1, 16), np.int64)
        ceilings.sweep_memory(0, 1, array, scratch, writes, 3, sync.make_flags(1), sync.make_flags(1), times)
        assert times[0, 1] > times[0, 0] > 0
    assert np.array_equal(array, np.arange(1024, dtype=np.float32))


def test_traces_and_kernels_name_work_by_the_same_bits():
    from pcsim.schedule import timeline

    for name in ("PREDICT", "BACKPROJECT", "UPDATE"):
        assert getattr(dense, name) == getattr(timeline, name)
