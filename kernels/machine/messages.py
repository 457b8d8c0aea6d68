"""MPI inside compiled code: the C functions of whatever library this process has loaded, called by their addresses.

A step loop that went back to Python for its messages would pay several microseconds a step. Requests and buffers are
made by mpi4py; here they are only started and tested. One thread calls MPI (``MPI_THREAD_FUNNELED``), and it never
blocks inside the library: it tests, and between tests looks at the stop flag, so that a signal can end it.
"""

import ctypes
from collections import namedtuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .compiling import njit
from .sync import load_acquire, pause, store_release, yield_core

# Addresses of C functions, and a pointer to int64 memory of SCRATCH words: [0] receives a C int, [1] the first error
# code, [2] counts messages; from STATUS on there is room for an MPI_Status of any library.
Library = namedtuple("Library", "start test all_reduce scratch")

FLAG, FAILED, COUNT, STATUS, SCRATCH = 0, 1, 2, 8, 64

TESTS = 50  # some 5 to 10 microseconds of tests before a waiting rank offers its core to others


@intrinsic
def _call(typing_context, address, arguments):
    """Call the C function at ``address`` with 64-bit arguments; its int result.

    A handle that is an int in C (MPICH) is passed like one that is a pointer (Open MPI): the function reads the lower
    half of the register. Requests, flags and statuses are passed by address.
    """

    def generate(context, builder, signature, values):
        passed = list(cgutils.unpack_tuple(builder, values[1]))
        whole = ir.IntType(64)
        routine = ir.FunctionType(ir.IntType(32), [whole] * len(passed))
        result = builder.call(builder.inttoptr(values[0], routine.as_pointer()), passed)
        return builder.sext(result, whole)

    return types.int64(types.int64, arguments), generate


@intrinsic
def address_of(typing_context, pointer, index):
    """The address of ``pointer[index]`` as a number."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(builder.gep(arguments[0], [arguments[1]]), ir.IntType(64))

    return types.int64(pointer, types.intp), generate


def functions(module_file: str) -> tuple[int, int, int]:
    """Addresses of MPI_Start, MPI_Test and MPI_Iallreduce in the library that mpi4py's module is linked to."""
    library = ctypes.CDLL(module_file)
    names = ("MPI_Start", "MPI_Test", "MPI_Iallreduce")
    return tuple(ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in names)  # type: ignore


def make_scratch() -> np.ndarray:
    """Memory for ``Library``."""
    return np.zeros(SCRATCH, np.int64)


@njit(nogil=True, cache=True)
def _checked(library, code):
    if code != 0 and library.scratch[FAILED] == 0:
        library.scratch[FAILED] = code


@njit(nogil=True, cache=True)
def start(library, request):
    """Start a persistent request, given the address of its handle."""
    _checked(library, _call(library.start, (request,)))


@njit(nogil=True, cache=True)
def send(library, request):
    """Start a request that sends, and count it."""
    start(library, request)
    library.scratch[COUNT] += 1


@njit(nogil=True, cache=True)
def done(library, request):
    """Whether a request is complete (or was never started); lets the library move whatever is under way."""
    library.scratch[FLAG] = 0
    flag, status = address_of(library.scratch, FLAG), address_of(library.scratch, STATUS)
    _checked(library, _call(library.test, (request, flag, status)))
    return load_acquire(library.scratch, FLAG) != 0


@njit(nogil=True, cache=True)
def go_on(library, tests, stop):
    """Between two tests in vain: a pause, and after many the core offered to others. False if flag 0 of ``stop`` was
    raised or a call has failed (which raises it)."""
    if tests < TESTS:
        pause()
        return True
    if library.scratch[FAILED] != 0:
        store_release(stop, 0, 1)
    if load_acquire(stop, 0) != 0:
        return False
    yield_core()
    return True


@njit(nogil=True, cache=True)
def finish(library, request, stop):
    """Wait for a request; False if flag 0 of ``stop`` was raised meanwhile."""
    tests = 0
    while not done(library, request):
        tests += 1
        if not go_on(library, tests, stop):
            return False
    return True


@njit(nogil=True, cache=True)
def sum_over_ranks(library, source, target, count, kind, operation, communicator, request):
    """Start the sum of ``count`` elements over all ranks (addresses of source, target and of an empty handle)."""
    arguments = (source, target, count, kind, operation, communicator, request)
    _checked(library, _call(library.all_reduce, arguments))
    library.scratch[COUNT] += 1
