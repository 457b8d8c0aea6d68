"""Matrix products of compiled code, through the function pointers that SciPy publishes for its BLAS.

``np.dot`` inside Numba copies operands and cannot add to its result; ``gemm`` with ``beta=1`` updates weights in
place. The caller sees to it that BLAS runs one thread (``threadpoolctl``) where several workers call it at once.

Matrices are row-major and begin at index i, j, h behind pointers; ld* is the number of elements from one row to the
next. BLAS is column-major: to it every matrix here is its transpose.
"""

from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

from .compiling import njit
from .simd import offset

_N, _T = np.int8(ord("N")), np.int8(ord("T"))  # as it is, transposed


@lru_cache
def address(routine: str, dtype) -> int:
    """Address of ``routine`` ("gemm", "gemv", "ger") for float32 or float64; handed to kernels as a number, so that
    they can be cached on disk: an address compiled in would be wrong in the next process."""
    letter = {"float32": "s", "float64": "d"}[np.dtype(dtype).name]
    return int(get_cython_function_address("scipy.linalg.cython_blas", letter + routine))


@intrinsic
def _call(typing_context, address, arguments):
    """Call the Fortran routine at ``address``: pointers as they are, letters (int8) and numbers by reference, whole
    numbers as int32."""

    def generate(context, builder, signature, values):
        passed = []
        for kind, value in zip(arguments, cgutils.unpack_tuple(builder, values[1]), strict=True):
            if isinstance(kind, types.Integer) and kind.bitwidth > 8:
                value = builder.trunc(value, ir.IntType(32)) if kind.bitwidth > 32 else value
            if not isinstance(kind, types.CPointer):
                slot = cgutils.alloca_once(builder, value.type)
                builder.store(value, slot)
                value = slot
            passed.append(value)
        routine = ir.FunctionType(ir.VoidType(), [value.type for value in passed])
        builder.call(builder.inttoptr(values[0], routine.as_pointer()), passed)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), generate


@njit(nogil=True, cache=True)
def add_a_bt(gemm, rows, columns, inner, alpha, a, i, lda, b, j, ldb, beta, c, h, ldc):
    """``C = alpha * A @ B.T + beta * C``; A (rows, inner), B (columns, inner), C (rows, columns)."""
    A, B, C = offset(a, i), offset(b, j), offset(c, h)
    _call(gemm, (_T, _N, columns, rows, inner, alpha, B, ldb, A, lda, beta, C, ldc))


@njit(nogil=True, cache=True)
def add_a_b(gemm, rows, columns, inner, alpha, a, i, lda, b, j, ldb, beta, c, h, ldc):
    """``C = alpha * A @ B + beta * C``; A (rows, inner), B (inner, columns), C (rows, columns)."""
    A, B, C = offset(a, i), offset(b, j), offset(c, h)
    _call(gemm, (_N, _N, columns, rows, inner, alpha, B, ldb, A, lda, beta, C, ldc))


@njit(nogil=True, cache=True)
def add_at_b(gemm, rows, columns, inner, alpha, a, i, lda, b, j, ldb, beta, c, h, ldc):
    """``C = alpha * A.T @ B + beta * C``; A (inner, rows), B (inner, columns), C (rows, columns)."""
    A, B, C = offset(a, i), offset(b, j), offset(c, h)
    _call(gemm, (_N, _T, columns, rows, inner, alpha, B, ldb, A, lda, beta, C, ldc))


@njit(nogil=True, cache=True)
def matrix_vector(gemv, transposed, rows, columns, alpha, a, i, lda, x, j, beta, y, h):
    """``y = alpha * A @ x + beta * y``, or with ``A.T``; A (rows, columns)."""
    form = _N if transposed else _T
    _call(gemv, (form, columns, rows, alpha, offset(a, i), lda, offset(x, j), 1, beta, offset(y, h), 1))


@njit(nogil=True, cache=True)
def add_outer(ger, rows, columns, alpha, x, i, y, j, a, h, lda):
    """``A += alpha * outer(x, y)``; A (rows, columns)."""
    _call(ger, (columns, rows, alpha, offset(y, j), 1, offset(x, i), 1, offset(a, h), lda))
