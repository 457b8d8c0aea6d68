"""A worker's view of its layers: pointers into flat arrays, and where each layer begins."""

from collections import namedtuple

from ..machine.compiling import njit

# Where a worker finds everything: pointers into flat arrays, and for each layer where its part begins. The batch may be
# a part of one, and the weights a part of the rows, if the offsets say so. ``rule`` is one of ``weights.py``, and says
# whether there are ``scratch`` (of the worker), ``mean`` and ``square``, and what ``numbers`` are; ``own``: whether
# products of a batch are own kernels, which need ``panel``, or those of BLAS; ``gemv`` and ``ger`` are 0 where a batch
# of one takes the fused pass; ``softmax``: whether the loss is the cross-entropy. ``forms``: of convolutions, see
# ``convolution.py``, with ``choices`` of their pools beside the values, if these are kept (``keeps``); else None.
LayersView = namedtuple(
    "LayersView",
    "batch sizes padded weight_at bias_at value_at scale skip activations has_bias rule numbers own gemm gemv "
    "ger one zero W x a d scratch mean square panel softmax forms choices keeps",
)


@njit(nogil=True, cache=True)
def part_of_batch(s, batch, value_at):
    """The same layers for a part of the batch, whose values begin at ``value_at``."""
    return LayersView(
        batch, s.sizes, s.padded, s.weight_at, s.bias_at, value_at, s.scale, s.skip, s.activations, s.has_bias,
        s.rule, s.numbers, s.own, s.gemm, s.gemv, s.ger, s.one, s.zero, s.W, s.x, s.a, s.d, s.scratch,
        s.mean, s.square, s.panel, s.softmax, s.forms, s.choices, s.keeps,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def with_weights(s, W, rule, scratch):
    """The same layers with other weights, what becomes of their gradients, and where these lie."""
    return LayersView(
        s.batch, s.sizes, s.padded, s.weight_at, s.bias_at, s.value_at, s.scale, s.skip, s.activations, s.has_bias,
        rule, s.numbers, s.own, s.gemm, s.gemv, s.ger, s.one, s.zero, W, s.x, s.a, s.d, scratch, s.mean,
        s.square, s.panel, s.softmax, s.forms, s.choices, s.keeps,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def with_values(s, value_at, x, a, d):
    """The same layers with other values, which begin at ``value_at``; choices of pools are not kept."""
    return LayersView(
        s.batch, s.sizes, s.padded, s.weight_at, s.bias_at, value_at, s.scale, s.skip, s.activations, s.has_bias,
        s.rule, s.numbers, s.own, s.gemm, s.gemv, s.ger, s.one, s.zero, s.W, x, a, d, s.scratch,
        s.mean, s.square, s.panel, s.softmax, s.forms, s.choices, False,
    )  # fmt: skip
