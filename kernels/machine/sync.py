"""Hand-over between threads: one flag per worker, written with release and read with acquire ordering.

A flag is an int64 on a cache line of its own. A worker that has written its results publishes a growing number;
its neighbours wait until the number is high enough. There is no barrier over all workers and no lock.
Flags are named by a pointer to the first (``simd.pointer``), for the reason given there.
"""

import platform

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .clock import nanoseconds
from .compiling import njit
from .simd import pointer

FLAG_STRIDE = 16  # int64 values between two flags: 128 bytes, as neighbouring lines are fetched in pairs

SPINS = 300  # some 5 to 10 microseconds of spinning before a waiting worker offers its core to others


def make_flags(count: int) -> np.ndarray:
    """An array for ``count`` flags, all 0; flag ``i`` lies at ``i * FLAG_STRIDE``."""
    raw = np.zeros((count + 1) * FLAG_STRIDE, np.int64)
    offset = (-raw.ctypes.data // 8) % FLAG_STRIDE
    return raw[offset : offset + count * FLAG_STRIDE]


@intrinsic
def load_acquire(typing_context, flags, index):
    """``flags[index]``; nothing after it is read before it. A plain read would be hoisted out of the loop."""

    def generate(context, builder, signature, arguments):
        address = builder.gep(arguments[0], [arguments[1]])
        return builder.load_atomic(address, "acquire", 8, typ=ir.IntType(64))

    return types.int64(flags, types.intp), generate


@intrinsic
def store_release(typing_context, flags, index, value):
    """``flags[index] = value``; everything written before it is seen by whoever reads the new value."""

    def generate(context, builder, signature, arguments):
        builder.store_atomic(arguments[2], builder.gep(arguments[0], [arguments[1]]), "release", 8)
        return context.get_dummy_value()

    return types.void(flags, types.intp, types.int64), generate


@intrinsic
def pause(typing_context):
    """Tell the core that this is a spin loop (x86); elsewhere nothing."""

    def generate(context, builder, signature, arguments):
        if platform.machine() in ("x86_64", "AMD64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def yield_core(typing_context):
    """POSIX ``sched_yield``: without it, more workers than cores would each spin for a whole time slice."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


@njit(nogil=True, cache=True)
def publish(flags, worker, value):
    """Let others see that ``worker`` has reached ``value``."""
    store_release(flags, worker * FLAG_STRIDE, value)


@njit(nogil=True, cache=True)
def reached(flags, worker):
    """The number that ``worker`` has published."""
    return load_acquire(flags, worker * FLAG_STRIDE)


@njit(nogil=True, cache=True)
def wait(flags, worker, value, stop):
    """Wait until ``worker`` has published at least ``value``; False if flag 0 of ``stop`` was raised meanwhile."""
    spins = 0
    while load_acquire(flags, worker * FLAG_STRIDE) < value:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            if load_acquire(stop, 0) != 0:
                return False
            yield_core()
    return True


@njit(nogil=True, cache=True)
def meet(worker, workers, ready, stop):
    """A common start: True when all have come, False if flag 0 of ``stop`` was raised meanwhile."""
    publish(ready, worker, 1)
    for other in range(workers):  # noqa: SIM110 - compiled code has no generators
        if not wait(ready, other, 1, stop):
            return False
    return True


@njit(nogil=True, cache=True)
def ping_pong(worker, rounds, flags, stop, times):
    """Two workers answer each other ``rounds`` times; worker 0 writes start and end in nanoseconds into ``times``."""
    mine, end = pointer(flags), pointer(stop)
    if not meet(worker, 2, mine, end):
        return
    begin = nanoseconds()
    for turn in range(2, rounds + 2):
        if worker == 0:
            publish(mine, 0, turn)
        if not wait(mine, 1 - worker, turn, end):
            return
        if worker == 1:
            publish(mine, 1, turn)
    if worker == 0:
        times[0], times[1] = begin, nanoseconds()
