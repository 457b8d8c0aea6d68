"""A layer of dual propagation: two values from a prediction and what came down, and a fused pass for a batch of one.

The letters are those of ``step.py``, but ``a[l]`` is the scaled mean of the two activations, ``e[l]`` their difference,
and ``h[l] = e[l+1] @ W[l]`` what the layer above has sent back, whose scale is still to come.

The pass takes some rows after the other (a panel, which stays in the second-level cache): their predictions, their two
values, and then back-projection and update from the difference of these, while the next panel is fetched. So weights
are read from memory once, and written once, as in iPC's pass. Panels of the few rows that the first-level cache holds
took 1.2 to 1.9 times as long (24 × 208 and 32 × 1024, float32, AVX2), as each waits for its activations.
"""

from ..machine.compiling import ONE, ZERO, folded, inner, njit
from ..machine.simd import lanes, offset, splat
from .activations import activate as activate_part
from .dense import BACKPROJECT, FORWARD, OFFSET, PREDICT, UPDATE, predict_4, sweep_4
from .step import start_offsets
from .vectors import add_rows

PANEL_VECTORS, FEWEST_ROWS = 4096, 16  # of a panel: 256 KB, unless so many rows are more


@njit(nogil=True, cache=True)
def _split(code, x, at, rows, units, scale, share, a, d, e, h, slot):
    """The two values of some rows of one sample, of which so many are ``units`` and the rest is padding."""
    one = type(share)(1)
    up, down, rest = scale * (one - share), scale * share, one - share
    for j in range(at, at + rows):
        e[j], d[j] = x[j] + up * h[j], x[j] - down * h[j]
    lowered, slopes = offset(e, slot), offset(h, slot)
    activate_part(code, e, at, units, one, a, slopes)
    activate_part(code, d, at, units, one, lowered, slopes)
    for j in range(at, at + rows):
        high, low = a[j], lowered[j]
        a[j], e[j] = scale * (share * high + rest * low), high - low


@inner
def split_layer(s, l, share, e, h, slot):
    """The two values of a hidden layer, ``raised = x[l] + (1 - share) fb`` and ``lowered = x[l] - share fb``, where
    ``fb = scale[l] h[l]`` and x[l] is its prediction: ``a[l]`` and ``e[l]``. (Their mean is x[l] again.) What begins at
    ``slot`` of e and h is memory to work in, and so is ``d[l]``."""
    for row in range(s.batch):
        at = s.value_at[l] + row * s.padded[l]
        _split(s.activations[l], s.x, at, s.padded[l], s.sizes[l], s.scale[l], share, s.a, s.d, e, h, slot)


# Two functions, as in ``dense.py``: a branch inside one loop kept the compiler from using its registers well.
@njit(nogil=True, cache=True)
def _all(
    work, W, w, rows, columns, panel, units, code, scale, share, i, at, x, a, d, e, h, slot, one, rate
):  # fmt: skip
    """All three products."""
    zero = splat(one - one)
    for top in range(0, rows, panel):
        end = min(top + panel, rows)
        for row in range(top, end, 4):
            predict_4(work, W, w + row * columns, columns, a, i, x, at + row, x, at + row, zero)
        _split(code, x, at + top, end - top, units - top, scale, share, a, d, e, h, slot)
        for row in range(top, end, 4):
            ahead = panel * columns if row + panel < rows else 0
            sweep_4(BACKPROJECT | UPDATE, W, w + row * columns, columns, a, i, e, at + row, h, i, one, rate, ahead)


@njit(nogil=True, cache=True)
def _some(
    work, W, w, rows, columns, panel, units, code, scale, share, i, at, x, a, d, e, h, slot, one, rate
):  # fmt: skip
    """Without back-projection, without update, or both."""
    zero = splat(one - one)
    for top in range(0, rows, panel):
        end = min(top + panel, rows)
        for row in range(top, end, 4):
            predict_4(work, W, w + row * columns, columns, a, i, x, at + row, x, at + row, zero)
        _split(code, x, at + top, end - top, units - top, scale, share, a, d, e, h, slot)
        for row in range(top, end, 4):
            ahead = panel * columns if row + panel < rows else 0
            sweep_4(work, W, w + row * columns, columns, a, i, e, at + row, h, i, one, rate, ahead)


@folded
def dual_step(work, s, l, share, e, h, slot, rate):
    """The products of ``W[l]`` below a hidden layer that moves, for a batch of one, by the weights as they were before:
    ``x[l+1]`` becomes its prediction, it takes its two values (see ``split_layer``), and with BACKPROJECT in ``work``
    ``h[l] = e[l+1] @ W[l]``; with UPDATE ``W[l]`` and its biases ascend along ``rate * outer(e[l+1], a[l])``."""
    rows, columns, at, i = s.padded[l + 1], s.padded[l], s.value_at[l + 1], s.value_at[l]
    if work & BACKPROJECT:
        for j in range(i, i + columns):
            h[j] = 0
    begins = OFFSET if start_offsets(s, l, ZERO, rows, s.x, at) else ZERO
    work = (work & (BACKPROJECT | UPDATE)) | PREDICT | FORWARD | begins
    panel = max(FEWEST_ROWS, PANEL_VECTORS * lanes(s.W) // columns // FEWEST_ROWS * FEWEST_ROWS)
    w, units, code, scale = s.weight_at[l], s.sizes[l + 1], s.activations[l + 1], s.scale[l + 1]
    if work & BACKPROJECT and work & UPDATE:
        _all(
            work, s.W, w, rows, columns, panel, units, code, scale, share, i, at, s.x, s.a, s.d, e, h, slot, s.one,
            rate,
        )  # fmt: skip
    else:
        _some(
            work, s.W, w, rows, columns, panel, units, code, scale, share, i, at, s.x, s.a, s.d, e, h, slot, s.one,
            rate,
        )  # fmt: skip
    if work & UPDATE and s.has_bias:
        add_rows(ONE, rows, rows, rate, e, at, s.W, s.bias_at[l])


@njit(nogil=True, cache=True)
def multiply_part(p, at, count, factor):
    """``p[at : at + count] *= factor``."""
    for j in range(at, at + count):
        p[j] *= factor
