"""The heart of a matrix product: some rows of a few vectors, in registers while the sum over the inner index runs.

Six rows of a 64-byte vector are twelve registers of 32 bytes, beside two for the vector that is loaded and one for the
number that is spread: nearly all of the sixteen that AVX2 has, and more sums than the eight that two units with a
latency of four cycles need. Where registers have 64 bytes, two vectors side by side make as many sums.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .settings import fuses, has, target
from .simd import Vector

MOST_ROWS = 6
VECTORS = 2 if has("avx512f", target()[2]) else 1  # side by side in a tile

# What becomes of the sums: ``factor * sum``, that plus or times what stands at another place.
STORE, ADD, TIMES = range(3)


def _multiply_add(context, builder, x, y, z):
    triple, _, features = context.codegen().magic_tuple()
    if not fuses(triple, features):
        return builder.fadd(builder.fmul(x, y), z)
    kind = x.type
    name = f"llvm.fma.v{kind.count}f{64 if isinstance(kind.element, ir.DoubleType) else 32}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [x, y, z])


@intrinsic(prefer_literal=True)
def multiply_tile(
    typing_context, rows, vectors, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart
):
    """``C[r] = factor * sum over t < count of a[i + r * across + t * along] * B[t]`` for ``rows`` rows r of
    ``vectors`` vectors (both constants); ``B[t] = b[j + t * step : …]``, ``C[r] = c[k + r * beside : …]``.

    mode: STORE, or ADD or TIMES what stands in ``base[at + r * apart : …]``. ``count`` is 1 or more.
    """
    vector, integer = Vector(a.dtype), types.intp
    signature = types.void(
        rows, vectors, integer, a, integer, integer, integer, b, integer, integer, a.dtype, c, integer, integer,
        integer, base, integer, integer,
    )  # fmt: skip

    def generate(context, builder, signature, arguments):
        _, _, count, a, i, across, along, b, j, step, factor, c, k, beside, mode, base, at, apart = arguments
        kind, height, wide = context.get_value_type(vector), rows.literal_value, vectors.literal_value
        whole, lane = ir.IntType(64), ir.IntType(32)
        bytes_of = vector.dtype.bitwidth // 8
        undefined = ir.Constant(kind, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(lane, vector.lanes), [0] * vector.lanes)

        def spread(scalar):
            first = builder.insert_element(undefined, scalar, ir.Constant(lane, 0))
            return builder.shuffle_vector(first, undefined, zeros)

        def place(pointer, index, row, distance, side=0):
            index = builder.add(index, builder.mul(distance, ir.Constant(whole, row)))
            index = builder.add(index, ir.Constant(whole, side * vector.lanes))
            return builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())

        def read(address):
            value = builder.load(address)
            value.align = 64
            return value

        starts = [builder.gep(a, [builder.add(i, builder.mul(across, ir.Constant(whole, r)))]) for r in range(height)]
        first = builder.gep(b, [j])
        before = builder.block
        loop, done = builder.append_basic_block("tile"), builder.append_basic_block("tile.end")
        builder.branch(loop)
        builder.position_at_end(loop)
        t = builder.phi(whole)
        sums = [builder.phi(kind) for _ in range(height * wide)]
        t.add_incoming(ir.Constant(whole, 0), before)
        for phi in sums:
            phi.add_incoming(ir.Constant(kind, [0.0] * vector.lanes), before)
        at_t = builder.mul(t, step)
        values = [read(place(first, at_t, 0, step, side)) for side in range(wide)]
        offset = builder.mul(t, along)
        new = []
        for row, start in enumerate(starts):
            scalar = builder.load(builder.gep(start, [offset]))
            scalar.align = bytes_of
            scalar = spread(scalar)
            for side, value in enumerate(values):
                new.append(_multiply_add(context, builder, scalar, value, sums[row * wide + side]))
        following = builder.add(t, ir.Constant(whole, 1))
        t.add_incoming(following, loop)
        for phi, value in zip(sums, new, strict=True):
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
        builder.position_at_end(done)
        by = spread(factor)

        def finish(result):
            for number, total in enumerate(new):
                row, side = divmod(number, wide)
                builder.store(result(number, total), place(c, k, row, beside, side), align=64)

        def other(number):
            row, side = divmod(number, wide)
            return read(place(base, at, row, apart, side))

        with builder.if_else(builder.icmp_signed("==", mode, ir.Constant(whole, ADD))) as (then, otherwise):
            with then:
                finish(lambda number, total: _multiply_add(context, builder, by, total, other(number)))
            with otherwise, builder.if_else(builder.icmp_signed("==", mode, ir.Constant(whole, TIMES))) as (yes, no):
                with yes:
                    finish(lambda number, total: builder.fmul(builder.fmul(by, total), other(number)))
                with no:
                    finish(lambda number, total: builder.fmul(by, total))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def transpose_four(typing_context, p, i, apart, q, k, beside):
    """``q[k + r * beside + s] = p[i + s * apart + r]`` for r, s < 4; all places multiples of 4."""
    integer = types.intp

    def generate(context, builder, signature, arguments):
        p, i, apart, q, k, beside = arguments
        scalar = context.get_value_type(signature.args[0].dtype)
        kind, lane, whole = ir.VectorType(scalar, 4), ir.IntType(32), ir.IntType(64)
        align = 4 * signature.args[0].dtype.bitwidth // 8

        def place(pointer, index, row, distance):
            index = builder.add(index, builder.mul(distance, ir.Constant(whole, row)))
            return builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())

        def shuffle(x, y, order):
            return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(lane, 4), order))

        x = []
        for row in range(4):
            x.append(builder.load(place(p, i, row, apart)))
            x[-1].align = align
        low = [shuffle(x[0], x[1], [0, 4, 1, 5]), shuffle(x[2], x[3], [0, 4, 1, 5])]
        high = [shuffle(x[0], x[1], [2, 6, 3, 7]), shuffle(x[2], x[3], [2, 6, 3, 7])]
        columns = [shuffle(*half, order) for half in (low, high) for order in ([0, 1, 4, 5], [2, 3, 6, 7])]
        for row, column in enumerate(columns):
            builder.store(column, place(q, k, row, beside), align=align)
        return context.get_dummy_value()

    return types.void(p, integer, integer, q, integer, integer), generate
