"""What keeps Numba's work small, which is most of a first run."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import config

from .cache import KernelCache

if config.DISABLE_JIT:
    raise ImportError("pcsim's kernels exist only as compiled code: unset NUMBA_DISABLE_JIT")

# For calls. To Numba a bare 0 is a type of its own: it compiles the called function, and all that this one calls in
# turn, once more for that number alone. With a NumPy scalar in its place there is one version for all numbers.
ZERO, ONE = np.int64(0), np.int64(1)

TRUE, FALSE = np.bool_(True), np.bool_(False)  # for the same reason


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable], Any]:
    """``numba.njit``, whose code is kept by a :class:`.cache.KernelCache` where ``cache`` is set. A function that does
    not say ``forceinline`` would be as the one is from which it is compiled first: all below a folded one folded."""

    def compiled(function: Callable) -> Any:
        dispatcher = numba.njit(**{"forceinline": False} | options)(function)
        if cache:
            dispatcher._cache = KernelCache(function)
        return dispatcher

    return compiled


# In place of ``njit`` for functions that take pointers, which nothing but compiled code has: without an entry from
# Python, which unpacks every field of every tuple.
inner = njit(nogil=True, cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# The same where a call is as long as what it does: every field of every tuple is handed over at a call.
folded = njit(nogil=True, cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)
