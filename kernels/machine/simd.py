"""Explicit 64-byte vectors for Numba: the few operations that the dense kernels are written in.

Why not leave it to the compiler: its automatic vectorisation of the fused pass checks at run time, for every
block of rows, that no two arrays overlap, and it keeps too few sums in flight; written with these vectors the same
pass ran 1.5 to 2 times as fast (one core, widths 64 to 1024). LLVM splits the 64-byte vectors on machines whose
registers are narrower, so nothing here is specific to one processor.

Memory is named by pointers (``pointer(array)``), not arrays: Numba counts references of arrays at every call of one
compiled function by another, and such a count costs as much as a short row. Pointers must be 64-byte aligned at the
indices used, and the caller keeps the array alive.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from .settings import fuses

VECTOR_BYTES = 64


class Vector(types.Type):
    """A vector of 16 float32 or 8 float64, held in one register where the machine has such."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        scalar = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(scalar, vector.lanes))


class Quad(Vector):
    """A vector of four elements."""

    def __init__(self, dtype):
        super().__init__(dtype)
        self.lanes = 4
        types.Type.__init__(self, name=f"Quad({dtype})")


register_model(Quad)(_VectorModel)


def _load(context, builder, vector, arguments):
    """Code that reads a vector behind a pointer, at an index."""
    kind = context.get_value_type(vector)
    address = builder.gep(arguments[0], [arguments[1]])
    value = builder.load(builder.bitcast(address, kind.as_pointer()), typ=kind)
    value.align = vector.lanes * vector.dtype.bitwidth // 8
    return value


def _store(context, builder, vector, arguments):
    """Code that writes a vector behind a pointer, at an index."""
    kind = context.get_value_type(vector)
    address = builder.gep(arguments[0], [arguments[1]])
    builder.store(
        arguments[2], builder.bitcast(address, kind.as_pointer()), align=vector.lanes * vector.dtype.bitwidth // 8
    )
    return context.get_dummy_value()


def _external(builder, name, result, arguments):
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


@intrinsic
def pointer(typing_context, array):
    """The address of the first element of ``array``; ``pointer[i]`` reads and writes scalars."""

    def generate(context, builder, signature, arguments):
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


@intrinsic
def offset(typing_context, pointer, index):
    """The pointer to ``pointer[index]``."""

    def generate(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.intp), generate


@intrinsic
def lanes(typing_context, pointer):
    """Elements of the pointer's type in one vector, known at compile time."""
    count = Vector(pointer.dtype).lanes

    def generate(context, builder, signature, arguments):
        return ir.Constant(ir.IntType(64), count)

    return types.intp(pointer), generate


@intrinsic
def load(typing_context, pointer, index):
    """``pointer[index : index + lanes]`` as a vector."""
    vector = Vector(pointer.dtype)

    def generate(context, builder, signature, arguments):
        return _load(context, builder, vector, arguments)

    return vector(pointer, types.intp), generate


@intrinsic
def store(typing_context, pointer, index, value):
    """``pointer[index : index + lanes] = value``."""

    def generate(context, builder, signature, arguments):
        return _store(context, builder, signature.args[2], arguments)

    return types.void(pointer, types.intp, value), generate


@intrinsic
def splat(typing_context, scalar):
    """A vector with ``scalar`` in every lane."""
    vector = Vector(scalar)

    def generate(context, builder, signature, arguments):
        kind = context.get_value_type(vector)
        index = ir.IntType(32)
        undefined = ir.Constant(kind, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(index, 0))
        zeros = ir.Constant(ir.VectorType(index, vector.lanes), [0] * vector.lanes)
        return builder.shuffle_vector(first, undefined, zeros)

    return vector(scalar), generate


@intrinsic
def multiply_add(typing_context, x, y, z):
    """``x * y + z`` with one rounding; with two where the processor has no such instruction, as LLVM would call the C
    library for every lane."""

    def generate(context, builder, signature, arguments):
        triple, _, features = context.codegen().magic_tuple()
        if not fuses(triple, features):
            return builder.fadd(builder.fmul(*arguments[:2]), arguments[2])
        vector = signature.return_type
        kind = context.get_value_type(vector)
        name = f"llvm.fma.v{vector.lanes}f{vector.dtype.bitwidth}"
        return builder.call(_external(builder, name, kind, [kind] * 3), arguments)

    return z(x, y, z), generate


@intrinsic
def multiply(typing_context, x, y):
    """``x * y``, lane by lane."""

    def generate(context, builder, signature, arguments):
        return builder.fmul(*arguments)

    return x(x, y), generate


@intrinsic
def add(typing_context, x, y):
    """``x + y``, lane by lane, of vectors and of Quads."""

    def generate(context, builder, signature, arguments):
        return builder.fadd(*arguments)

    return x(x, y), generate


@intrinsic
def divide(typing_context, x, y):
    """``x / y``, lane by lane, rounded as IEEE 754 says."""

    def generate(context, builder, signature, arguments):
        return builder.fdiv(*arguments)

    return x(x, y), generate


@intrinsic
def square_root(typing_context, x):
    """The square root of each lane, rounded as IEEE 754 says."""

    def generate(context, builder, signature, arguments):
        kind = arguments[0].type
        name = f"llvm.sqrt.v{signature.return_type.lanes}f{signature.return_type.dtype.bitwidth}"
        return builder.call(_external(builder, name, kind, [kind]), arguments)

    return x(x), generate


@intrinsic
def four_sums(typing_context, x0, x1, x2, x3):
    """The sums over the lanes of four vectors, as a Quad, each added in the same order (a tree)."""

    def generate(context, builder, signature, arguments):
        index, lanes = ir.IntType(32), signature.args[0].lanes

        def shuffle(x, y, order):
            return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(index, len(order)), order))

        def merge(x, y, group):
            """Add halves of x and of y: of each ``2 * group`` lanes of both, ``group`` lanes of x, then of y."""
            whole = range(0, lanes, 2 * group)
            first = [k for at in whole for k in (*range(at, at + group), *range(lanes + at, lanes + at + group))]
            return builder.fadd(shuffle(x, y, first), shuffle(x, y, [k + group for k in first]))

        sums = merge(merge(arguments[0], arguments[1], 1), merge(arguments[2], arguments[3], 1), 2)
        while lanes > 4:  # by now four lanes after four lanes hold parts of the four sums
            lanes //= 2
            undefined = ir.Constant(sums.type, ir.Undefined)
            low, high = (shuffle(sums, undefined, list(range(at, at + lanes))) for at in (0, lanes))
            sums = builder.fadd(low, high)
        return sums

    return Quad(x0.dtype)(x0, x1, x2, x3), generate


@intrinsic
def load_four(typing_context, pointer, index):
    """``pointer[index : index + 4]``; index a multiple of 4."""
    quad = Quad(pointer.dtype)

    def generate(context, builder, signature, arguments):
        return _load(context, builder, quad, arguments)

    return quad(pointer, types.intp), generate


@intrinsic
def store_four(typing_context, pointer, index, value):
    """``pointer[index : index + 4] = value``; index a multiple of 4."""

    def generate(context, builder, signature, arguments):
        return _store(context, builder, signature.args[2], arguments)

    return types.void(pointer, types.intp, value), generate


@intrinsic
def subtract_four(typing_context, x, y):
    """``x - y`` of two Quads."""

    def generate(context, builder, signature, arguments):
        return builder.fsub(*arguments)

    return x(x, y), generate


@intrinsic(prefer_literal=True)
def spread(typing_context, x, lane, factor):
    """A vector with ``factor * x[lane]`` in every lane; x a Quad, ``lane`` a constant."""
    vector = Vector(x.dtype)

    def generate(context, builder, signature, arguments):
        index, kind = ir.IntType(32), context.get_value_type(vector)
        scaled = builder.fmul(
            builder.extract_element(arguments[0], ir.Constant(index, lane.literal_value)), arguments[2]
        )
        undefined = ir.Constant(kind, ir.Undefined)
        first = builder.insert_element(undefined, scaled, ir.Constant(index, 0))
        zeros = ir.Constant(ir.VectorType(index, vector.lanes), [0] * vector.lanes)
        return builder.shuffle_vector(first, undefined, zeros)

    return vector(x, lane, factor), generate


def _prefetch(writing):
    """Code that asks for a cache line, also ``writing`` to it."""

    def generate(context, builder, signature, arguments):
        address = builder.gep(arguments[0], [arguments[1]])
        integer, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        ask = _external(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, integer, integer, integer])
        write, keep, data = (ir.Constant(integer, value) for value in (writing, 3, 1))
        builder.call(ask, [builder.bitcast(address, byte), write, keep, data])
        return context.get_dummy_value()

    return generate


@intrinsic
def prefetch(typing_context, pointer, index):
    """Ask for the cache line of ``pointer[index]``; an index past the end is harmless."""
    return types.void(pointer, types.intp), _prefetch(0)


@intrinsic
def prefetch_to_write(typing_context, pointer, index):
    """The same for a line that is about to be written: others' copies of it are given up meanwhile."""
    return types.void(pointer, types.intp), _prefetch(1)
