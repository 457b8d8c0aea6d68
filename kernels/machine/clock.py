"""The monotonic clock, read inside compiled code: no Python call, no global interpreter lock, about 25 ns a read."""

import time

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .compiling import njit

_CLOCK_MONOTONIC = int(time.CLOCK_MONOTONIC)


@intrinsic
def nanoseconds(typing_context):
    """POSIX ``clock_gettime(CLOCK_MONOTONIC)`` as int64 nanoseconds: the clock of ``time.monotonic_ns``."""

    def generate(context, builder, signature, arguments):
        integer, pair = ir.IntType(64), ir.LiteralStructType([ir.IntType(64), ir.IntType(64)])
        # One stack slot in the entry block: an alloca inside a loop would grow the stack at every read.
        slot = cgutils.alloca_once(builder, pair)
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(32), pair.as_pointer()])
        read = cgutils.get_or_insert_function(builder.module, kind, "clock_gettime")
        builder.call(read, [ir.Constant(ir.IntType(32), _CLOCK_MONOTONIC), slot])
        seconds = builder.extract_value(builder.load(slot), 0)
        rest = builder.extract_value(builder.load(slot), 1)
        return builder.add(builder.mul(seconds, ir.Constant(integer, 1_000_000_000)), rest)

    return types.int64(), generate


@njit(nogil=True, cache=True)
def read_cost(count):
    """Nanoseconds that ``count`` readings take."""
    first = nanoseconds()
    last = first
    for _ in range(count):
        last = nanoseconds()
    return last - first


@njit(nogil=True, cache=True)
def spin(count):
    """A fixed piece of work in registers: ``count`` turns, each of which needs the one before (Marsaglia's xorshift,
    Journal of Statistical Software 8(14), 2003), as no compiler can fold several of them into one."""
    state = np.uint64(count) | np.uint64(1)
    for _ in range(count):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
    return state
