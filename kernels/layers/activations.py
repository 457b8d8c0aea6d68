"""Activation functions and their derivatives, elementwise, in loops that the compiler turns into vector code.

The exponential is our own: the C library's is called once per element (14.8 ns each for ``tanh``), which at width
64 is most of a step. This one is a Taylor polynomial after the usual reduction ``exp(y) = 2**k * exp(r)``,
``|r| <= ln(2) / 2``, carried to the precision of the type (degree 7 for float32, 13 for float64).
"""

import math

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic, overload, register_jitable

from ..machine.compiling import njit

IDENTITY, TANH, RELU, LEAKY_RELU, SIGMOID, GELU = range(6)

CODES = {
    "identity": IDENTITY,
    "tanh": TANH,
    "relu": RELU,
    "leaky_relu": LEAKY_RELU,
    "sigmoid": SIGMOID,
    "gelu": GELU,
}

LEAK = 0.01  # slope of leaky_relu below 0

# ln 2 in two parts: the first has so few digits that k times it is exact; the second is the rest of ln 2, to which
# the rounding error of math.log(2) belongs.
_LN2_HIGH = {32: 0.693145751953125, 64: 0.6931471803691238}

_LN2_ROUNDING = 2.3190468138462996e-17


@intrinsic
def _power_of_two(typing_context, shifted):
    """``2**k`` from ``k + 1.5 * 2**(mantissa bits)``: the last bits of that sum are k, moved into the exponent."""

    def generate(context, builder, signature, arguments):
        double = signature.return_type.bitwidth == 64
        integer = ir.IntType(64 if double else 32)
        mantissa, bias = (52, 1023) if double else (23, 127)
        bits = builder.bitcast(arguments[0], integer)
        bits = builder.shl(bits, ir.Constant(integer, mantissa))
        bits = builder.add(bits, ir.Constant(integer, bias << mantissa))
        return builder.bitcast(bits, context.get_value_type(signature.return_type))

    return shifted(shifted), generate


def _exponential(y):
    """``(s, p)`` with ``exp(y) = s * (1 + p)``, s a power of two; y within the range of its type. Compiled only."""


@overload(_exponential)
def _compile_exponential(y):
    single = y.bitwidth == 32
    kind = np.float32 if single else np.float64
    shift = kind(1.5 * 2.0 ** (23 if single else 52))
    log2_e = kind(math.log2(math.e))
    high, low = kind(_LN2_HIGH[y.bitwidth]), kind(math.log(2) - _LN2_HIGH[y.bitwidth] + _LN2_ROUNDING)
    one = kind(1)
    c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13 = (kind(1 / math.factorial(n)) for n in range(2, 14))

    def implementation(y):
        shifted = y * log2_e + shift
        k = shifted - shift
        r = (y - k * high) - k * low
        if single:
            q = c2 + r * (c3 + r * (c4 + r * (c5 + r * (c6 + r * c7))))
        else:
            q = c8 + r * (c9 + r * (c10 + r * (c11 + r * (c12 + r * c13))))
            q = c2 + r * (c3 + r * (c4 + r * (c5 + r * (c6 + r * (c7 + r * q)))))
        return _power_of_two(shifted), r * (one + r * q)

    return implementation


@register_jitable
def _tanh(x):
    """Through ``expm1(2 |x|)``, so that nothing cancels near 0. NaN fails the comparison and stays NaN."""
    kind = type(x)
    y = abs(x) + abs(x)
    if y > kind(40):  # tanh(20) is 1 to the last bit of float64
        y = kind(40)
    s, p = _exponential(y)
    less_one = s * p + (s - kind(1))
    t = less_one / (less_one + kind(2))
    return -t if x < kind(0) else t


@register_jitable
def _sigmoid(x):
    kind = type(x)
    y = -x
    if y > kind(87):
        y = kind(87)
    if y < kind(-87):
        y = kind(-87)
    s, p = _exponential(y)
    return kind(1) / (kind(1) + (s + s * p))


@register_jitable
def exponential(y):
    """``exp(y)`` for y of at most 0; of anything below -87 what it is there, 1.6e-38."""
    kind = type(y)
    if y < kind(-87):
        y = kind(-87)
    s, p = _exponential(y)
    return s + s * p


@njit(nogil=True, error_model="numpy", cache=True)
def activate(code, x, i, count, scale, a, d):
    """``a = scale * f(x)`` and ``d = scale * f'(x)`` for ``count`` elements from index i of the flat arrays x, a, d.

    ``code`` is one of CODES. GELU is the exact one, x times the normal distribution function (Hendrycks and Gimpel,
    arXiv:1606.08415, Eq. 1); its ``erf`` comes from the C library and is not vectorised.
    """
    kind = type(scale)
    one = kind(1)
    if code == IDENTITY:
        for j in range(i, i + count):
            a[j] = scale * x[j]
            d[j] = scale
    elif code == TANH:
        for j in range(i, i + count):
            t = _tanh(x[j])
            a[j] = scale * t
            d[j] = scale * (one - t * t)
    elif code == RELU:
        for j in range(i, i + count):
            slope = scale if x[j] > 0 else kind(0)
            # slope * x would turn an infinite x below 0 into NaN
            a[j] = kind(0) if x[j] <= 0 else scale * x[j]
            d[j] = slope
    elif code == LEAKY_RELU:
        for j in range(i, i + count):
            slope = scale if x[j] > 0 else scale * kind(LEAK)
            a[j] = slope * x[j]
            d[j] = slope
    elif code == SIGMOID:
        for j in range(i, i + count):
            t = _sigmoid(x[j])
            a[j] = scale * t
            d[j] = scale * (t * (one - t))
    else:
        for j in range(i, i + count):
            v = x[j]
            distribution = kind(0.5) * math.erfc(-v * kind(math.sqrt(0.5)))
            density = kind(1 / math.sqrt(2 * math.pi)) * math.exp(kind(-0.5) * v * v)
            a[j] = scale * v * distribution
            d[j] = scale * (distribution + v * density)
