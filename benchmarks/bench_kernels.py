"""The kernels alone: the fused pass and its parts by width, products of BLAS by shape, activations, hand-over."""

import numpy as np
import pytest
from numba import njit
from pcsim.kernels.layers import activations, dense
from pcsim.kernels.machine import memory
from pcsim.kernels.machine.simd import pointer
from pcsim.kernels.machine.sync import make_flags, ping_pong

from pcsim.bench.ceilings import gemm_rate, tile_rate
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
