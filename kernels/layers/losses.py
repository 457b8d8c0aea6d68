"""Losses of the output beside the squared error, whose error every product leaves."""

import math

from numba import float64

from ..machine.compiling import njit
from .activations import exponential


@njit(nogil=True, error_model="numpy", cache=True)
def softmax_errors(s, l, x, e, slot):
    """``e[l] = x[l] - softmax(mu[l])`` in place of ``x[l] - mu[l]``; returns ``-sum x[l] log softmax(mu[l])``.

    The whole prediction of each sample must be there. Padding stays as it is. NaN passes all comparisons by.
    """
    kind, units, total = type(s.one), s.sizes[l], 0.0
    for row in range(s.batch):
        at = s.value_at[l] + row * s.padded[l]
        k = slot + at
        largest = x[at] - e[k]
        weight, weighted = 0.0, 0.0
        for j in range(units):
            mu = x[at + j] - e[k + j]
            e[k + j] = mu
            weight += float64(x[at + j])
            weighted += float64(x[at + j]) * float64(mu)
            largest = mu if mu > largest else largest
        together = s.zero
        for j in range(units):
            e[k + j] = exponential(e[k + j] - largest)
            together += e[k + j]
        total += weight * (float64(largest) + math.log(float64(together))) - weighted
        share = kind(1) / together
        for j in range(units):
            e[k + j] = x[at + j] - e[k + j] * share
    return total
