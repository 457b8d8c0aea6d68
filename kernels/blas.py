"""Matrix products of compiled code, through the function pointers that SciPy publishes for its BLAS.

``np.dot`` inside Numba copies operands and cannot add to its result; ``gemm`` with ``beta=1`` updates weights in
place. The caller sees to it that BLAS runs one thread (``threadpoolctl``) where several workers call it at once.
"""

from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

_NO_TRANSPOSE, _TRANSPOSE = ord("N"), ord("T")


@lru_cache
def gemm_address(dtype) -> int:
    """Address of ``sgemm`` (float32) or ``dgemm`` (float64); handed to kernels as a number, so that they can be
    cached on disk: an address compiled in would be wrong in the next process."""
    name = {"float32": "sgemm", "float64": "dgemm"}[np.dtype(dtype).name]
    return int(get_cython_function_address("scipy.linalg.cython_blas", name))


@intrinsic
def _gemm(typing_context, address, form_a, form_b, m, n, k, alpha, a, i, lda, b, j, ldb, beta, c, h, ldc):
    """Call the Fortran routine at ``address`` on ``a + i``, ``b + j`` and ``c + h`` (column-major)."""
    integer = types.int32
    scalar = c.dtype
    signature = types.void(
        types.int64, types.int32, types.int32, integer, integer, integer, scalar,
        a, types.intp, integer, b, types.intp, integer, scalar, c, types.intp, integer,
    )  # fmt: skip

    def generate(context, builder, signature, arguments):
        int32, byte = ir.IntType(32), ir.IntType(8)
        real = context.get_value_type(signature.args[6])

        def by_reference(value):
            slot = cgutils.alloca_once(builder, value.type)
            builder.store(value, slot)
            return slot

        def data(position):
            return builder.gep(arguments[position], [arguments[position + 1]])

        pointer, character, number = real.as_pointer(), byte.as_pointer(), int32.as_pointer()
        kind = ir.FunctionType(
            ir.VoidType(),
            [
                character,
                character,
                number,
                number,
                number,
                pointer,
                pointer,
                number,
                pointer,
                number,
                pointer,
                pointer,
                number,
            ],
        )
        routine = builder.inttoptr(arguments[0], kind.as_pointer())
        forms = [by_reference(builder.trunc(arguments[p], byte)) for p in (1, 2)]
        sizes = [by_reference(arguments[p]) for p in (3, 4, 5)]
        alpha, beta = by_reference(arguments[6]), by_reference(arguments[13])
        lda, ldb, ldc = (by_reference(arguments[p]) for p in (9, 12, 16))
        builder.call(routine, [*forms, *sizes, alpha, data(7), lda, data(10), ldb, beta, data(14), ldc])
        return context.get_dummy_value()

    return signature, generate


@njit(nogil=True, cache=True)
def add_a_bt(gemm, rows, columns, inner, alpha, a, i, lda, b, j, ldb, beta, c, h, ldc):
    """Row-major ``C = alpha * A @ B.T + beta * C``; A (rows, inner), B (columns, inner), C (rows, columns).

    Matrices begin at index i, j, h behind pointers; ld* is the number of elements from one row to the next.
    """
    _gemm(gemm, _TRANSPOSE, _NO_TRANSPOSE, columns, rows, inner, alpha, b, j, ldb, a, i, lda, beta, c, h, ldc)


@njit(nogil=True, cache=True)
def add_a_b(gemm, rows, columns, inner, alpha, a, i, lda, b, j, ldb, beta, c, h, ldc):
    """Row-major ``C = alpha * A @ B + beta * C``; A (rows, inner), B (inner, columns), C (rows, columns)."""
    _gemm(gemm, _NO_TRANSPOSE, _NO_TRANSPOSE, columns, rows, inner, alpha, b, j, ldb, a, i, lda, beta, c, h, ldc)


@njit(nogil=True, cache=True)
def add_at_b(gemm, rows, columns, inner, alpha, a, i, lda, b, j, ldb, beta, c, h, ldc):
    """Row-major ``C = alpha * A.T @ B + beta * C``; A (inner, rows), B (inner, columns), C (rows, columns)."""
    _gemm(gemm, _NO_TRANSPOSE, _TRANSPOSE, columns, rows, inner, alpha, b, j, ldb, a, i, lda, beta, c, h, ldc)
