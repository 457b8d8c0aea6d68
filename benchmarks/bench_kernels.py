"""The kernels alone: the fused pass and its parts by width, products of BLAS and own ones by shape, optimisers,
activations, hand-over."""

import numpy as np
import pytest
from numba import njit
from pcsim.kernels.layers import activations, dense, products
from pcsim.kernels.layers.weights import descend
from pcsim.kernels.machine import blas, memory
from pcsim.kernels.machine.simd import pointer
from pcsim.kernels.machine.sync import make_flags, ping_pong

from pcsim.algorithms import BP, OPTIMIZERS
from pcsim.bench.ceilings import gemm_rate, tile_rate
from pcsim.engines import blas_threads
from pcsim.engines.layout import options_of, ring, rule_of
from pcsim.engines.loops.arguments import Arrays
from pcsim.engines.loops.steps import layers
from pcsim.host.context import usable_cores
from pcsim.host.threads import in_threads

PASSES = {
    "fused": dense.PREDICT | dense.BACKPROJECT | dense.UPDATE,
    "predict": dense.PREDICT,
    "predict-backproject": dense.PREDICT | dense.BACKPROJECT,
    "backproject-update": dense.BACKPROJECT | dense.UPDATE,
}
FLOAT = np.dtype(np.float32)


@njit(nogil=True)
def passes(work, W, width, layers, a, x, e, g, repeats):
    for _ in range(repeats):
        for l in range(layers):
            dense.layer_pass(
                work, pointer(W), l * width * width, width, width, pointer(a), 0, pointer(x), 0, pointer(e), 0,
                pointer(g), 0, W.dtype.type(1), W.dtype.type(1e-9),
            )  # fmt: skip


def filled(count):
    array = memory.aligned_empty(count, FLOAT)
    array[:] = np.random.default_rng(0).normal(size=count) / np.sqrt(count)
    return array


@pytest.mark.parametrize("work", PASSES)
@pytest.mark.parametrize("held", ["second-level cache", "memory"])
@pytest.mark.parametrize("width", [32, 64, 128, 256, 512, 1024])
def bench_pass(benchmark, width, held, work):
    size = 4 * width**2
    layers = max(1, (1 << 19 if held != "memory" else 1 << 27) // size)
    W, vectors = filled(layers * width**2), [filled(width) for _ in range(4)]
    products = bin(PASSES[work]).count("1")
    flops = 2 * products * layers * width**2
    repeats = max(1, int(5e8 / flops))
    run = (PASSES[work], W, width, layers, *vectors, repeats)
    benchmark.group = f"pass, {held}, width {width}"
    benchmark.pedantic(passes, args=run, rounds=9, warmup_rounds=1)
    benchmark.extra_info.update(flops=flops * repeats, bytes=size * layers * repeats * (1 + (PASSES[work] >= 4)))
    if benchmark.stats is not None:
        rate = flops * repeats / benchmark.stats.stats.median
        tile = tile_rate(1, width, FLOAT)
        benchmark.extra_info.update(flop_rate=rate, of_fused_tile=rate / tile)


@pytest.mark.parametrize("width", [64, 256, 1024])
@pytest.mark.parametrize("batch", [16, 64, 250])
def bench_products(benchmark, batch, width):
    benchmark.group = f"three products of a layer, batch {batch}"
    rate = benchmark.pedantic(gemm_rate, args=(1, (batch, width), FLOAT), rounds=3, warmup_rounds=1)
    benchmark.extra_info.update(flop_rate=rate)


@njit(nogil=True)
def own_products(batch, m, n, W, a, e, h, panel, repeats):
    """Prediction, back-projection and gradient of a layer (m, n); the last is added to W."""
    one, store, add = W.dtype.type(1), products.STORE, products.ADD
    tiny = W.dtype.type(1e-20)
    w, p, q, r, s = pointer(W), pointer(a), pointer(e), pointer(h), pointer(panel)
    for _ in range(repeats):
        products.times_transposed(batch, m, n, p, 0, w, 0, s, one, q, 0, m, store, q, 0)
        products.times(batch, m, n, q, 0, m, w, 0, s, one, r, 0, store, r, 0)
        products.transposed_times(m, batch, n, q, 0, m, p, 0, s, tiny, w, 0, add)


@njit(nogil=True)
def blas_products(gemm, batch, m, n, W, a, e, h, repeats):
    """The same."""
    one, tiny = W.dtype.type(1), W.dtype.type(1e-20)
    w, p, q, r = pointer(W), pointer(a), pointer(e), pointer(h)
    for _ in range(repeats):
        blas.add_a_bt(gemm, batch, m, n, one, p, 0, n, w, 0, n, one - one, q, 0, m)
        blas.add_a_b(gemm, batch, n, m, one, q, 0, m, w, 0, n, one - one, r, 0, n)
        blas.add_at_b(gemm, m, n, batch, tiny, q, 0, m, p, 0, n, one, w, 0, n)


@pytest.mark.parametrize("whose", ["own", "blas"])
@pytest.mark.parametrize("shape", [(64, 784), (64, 64), (16, 64), (512, 784), (512, 512), (1024, 1024)], ids=str)
@pytest.mark.parametrize("batch", [4, 16, 64, 128, 256])
def bench_skinny_products(benchmark, batch, shape, whose):
    m, n = shape
    W, a, e, h = filled(m * n), filled(batch * n), filled(batch * m), filled(batch * n)
    panel, flops = filled(products.panel_size(max(m, n), batch)), 6 * batch * m * n
    repeats = max(1, int(2e8 / flops))
    benchmark.group = f"products of {m} by {n}, batch {batch}"
    if whose == "own":
        benchmark.pedantic(own_products, args=(batch, m, n, W, a, e, h, panel, repeats), rounds=9, warmup_rounds=1)
    else:
        with blas_threads(1):
            run = (blas.address("gemm", FLOAT), batch, m, n, W, a, e, h, repeats)
            benchmark.pedantic(blas_products, args=run, rounds=9, warmup_rounds=1)
    if benchmark.stats is not None:
        benchmark.extra_info.update(flop_rate=flops * repeats / benchmark.stats.stats.median)


@njit(nogil=True)
def steps_of(arrays, offsets, options, rows, rate, repeats):
    s = layers(arrays, offsets, options)
    for number in range(repeats):
        descend(s, 0, 0, rows, 0, rate, number + 1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def bench_optimiser(benchmark, optimizer):
    """A gradient that lies in memory; within an update the rows come from the cache."""
    rows, columns = 64, 784
    weights, mean, square, scratch = (np.abs(filled(rows * columns)) for _ in range(4))
    arrays = [memory.aligned_empty(rows * columns, FLOAT) for _ in range(4)]
    for array, values in zip(arrays, (weights, scratch, mean, square), strict=True):
        array[:] = values
    W, gradient, m, v = arrays
    groups = Arrays(W, W, W, W, gradient, m, v, W, W, W, W, W)
    options = options_of(FLOAT, 1, False, False, rule_of(BP(optimizer=optimizer, weight_decay=1e-9)), 0.9, 1e-9)
    benchmark.group = "optimiser, 50,176 weights"
    run = (groups, ring(columns, rows, 1, 1, FLOAT), options, rows, FLOAT.type(1e-9), 100)
    benchmark.pedantic(steps_of, args=run, rounds=9, warmup_rounds=1)


@pytest.mark.parametrize("name", list(activations.CODES))
def bench_activation(benchmark, name):
    x, a, d = (filled(4096) for _ in range(3))
    benchmark.group = "activation and its slope, 4096 values"
    benchmark(activate, activations.CODES[name], x, a, d)


@njit(nogil=True)
def activate(code, x, a, d):
    activations.activate(code, pointer(x), 0, len(x), x.dtype.type(1), pointer(a), pointer(d))


@pytest.mark.skipif(len(usable_cores()) < 2, reason="hand-over needs two cores")
def bench_handover(benchmark):
    benchmark.group = "hand-over, 1000 times there and back"

    def there_and_back():
        flags, stop, times = make_flags(2), make_flags(1), np.zeros(2, np.int64)
        in_threads(2, lambda worker: ping_pong(worker, 1000, flags, stop, times), stop, pin=True)
        return float(times[1] - times[0]) / 2000

    benchmark.extra_info.update(nanoseconds_one_way=benchmark.pedantic(there_and_back, rounds=9, warmup_rounds=1))
