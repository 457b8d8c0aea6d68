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


def _external(builder, name, result, arguments):
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


@intrinsic
def pointer(typing_context, array):
    """The address of the first element of ``array``; ``pointer[i]`` reads and writes scalars."""

    def generate(context, builder, signature, arguments):
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


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
        kind = context.get_value_type(vector)
        address = builder.gep(arguments[0], [arguments[1]])
        value = builder.load(builder.bitcast(address, kind.as_pointer()), typ=kind)
        value.align = VECTOR_BYTES
        return value

    return vector(pointer, types.intp), generate


@intrinsic
def store(typing_context, pointer, index, value):
    """``pointer[index : index + lanes] = value``."""

    def generate(context, builder, signature, arguments):
        kind = context.get_value_type(signature.args[2])
        address = builder.gep(arguments[0], [arguments[1]])
        builder.store(arguments[2], builder.bitcast(address, kind.as_pointer()), align=VECTOR_BYTES)
        return context.get_dummy_value()

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
    """``x * y + z`` with one rounding."""

    def generate(context, builder, signature, arguments):
        vector = signature.return_type
        kind = context.get_value_type(vector)
        name = f"llvm.fma.v{vector.lanes}f{vector.dtype.bitwidth}"
        return builder.call(_external(builder, name, kind, [kind] * 3), arguments)

    return z(x, y, z), generate


@intrinsic
def horizontal_sum(typing_context, x):
    """The sum over the lanes of ``x``, always added in the same order (a tree)."""

    def generate(context, builder, signature, arguments):
        vector = signature.args[0]
        kind, scalar = context.get_value_type(vector), context.get_value_type(vector.dtype)
        name = f"llvm.vector.reduce.fadd.v{vector.lanes}f{vector.dtype.bitwidth}"
        reduce = _external(builder, name, scalar, [scalar, kind])
        return builder.call(reduce, [ir.Constant(scalar, -0.0), arguments[0]], fastmath=("reassoc",))

    return x.dtype(x), generate


@intrinsic
def prefetch(typing_context, pointer, index):
    """Ask for the cache line of ``pointer[index]``, to be written soon; an index past the end is harmless."""

    def generate(context, builder, signature, arguments):
        address = builder.gep(arguments[0], [arguments[1]])
        integer, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        ask = _external(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, integer, integer, integer])
        write, keep, data = (ir.Constant(integer, value) for value in (1, 3, 1))
        builder.call(ask, [builder.bitcast(address, byte), write, keep, data])
        return context.get_dummy_value()

    return types.void(pointer, types.intp), generate
