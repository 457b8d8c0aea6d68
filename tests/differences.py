"""Slopes by finite differences, which what is computed is held against."""

import numpy as np


def slopes(function, array):
    """Of a number by each element of ``array``, by central differences."""
    found, step = np.zeros_like(array), 1e-6
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = function()
        array[index] = kept - step
        below = function()
        array[index] = kept
        found[index] = (above - below) / (2 * step)
    return found
