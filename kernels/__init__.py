"""Compiled kernels: arrays in, arrays filled, nothing returned; they know no nets, no algorithms, no files."""

import os


def _number(name: str, usual: int) -> int:
    try:
        return int(os.environ.get(name, usual))
    except ValueError:  # Numba warns of it, and goes on as if it were not set
        return usual


if _number("NUMBA_DISABLE_JIT", 0):
    raise ImportError("pcsim's kernels exist only as compiled code: unset NUMBA_DISABLE_JIT")
if _number("NUMBA_NUM_THREADS", 1) < 1:
    raise ImportError("Numba refuses to start without threads, which pcsim does not use: unset NUMBA_NUM_THREADS")
